"""The report of a job: a contact sheet and a page, for whoever looks at the result first."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .contact_sheet import Thumbnail, contact_sheet
from .page import page

__all__ = ["Thumbnail", "write_report"]


def write_report(folder: Path, manifest: Mapping[str, Any], thumbnails: Sequence[Thumbnail]) -> None:
    """Write ``report/contact_sheet.png`` and ``report/report.html`` below the version ``folder``.

    ``manifest`` is what job.json will hold; ``thumbnails`` a few frames of the shot, all of one size.
    """
    target = folder / "report"
    target.mkdir(parents=True, exist_ok=True)
    sheet = contact_sheet(thumbnails)
    _replace(target / "contact_sheet.png", sheet)
    _replace(target / "report.html", page(manifest, sheet).encode())


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(content)
    os.replace(temporary, path)
