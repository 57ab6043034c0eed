"""The report of a job: a contact sheet and a page, for whoever looks at the result first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..api.files import write_atomically
from .contact_sheet import Thumbnail, contact_sheet
from .page import page

__all__ = ["Thumbnail", "write_report"]


def write_report(
    folder: Path,
    manifest: Mapping[str, Any],
    thumbnails: Sequence[Thumbnail],
    regions: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write ``report/contact_sheet.png`` and ``report/report.html`` below the version ``folder``.

    ``manifest`` is what job.json will hold; ``thumbnails`` a few frames of the shot, all of one size;
    ``regions`` those of reasoning.json.
    """
    target = folder / "report"
    target.mkdir(parents=True, exist_ok=True)
    sheet = contact_sheet(thumbnails)
    write_atomically(target / "contact_sheet.png", sheet)
    write_atomically(target / "report.html", page(manifest, sheet, regions))
