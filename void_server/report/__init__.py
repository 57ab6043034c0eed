"""The report of a job: a contact sheet and a page, for whoever looks at the result first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..api.files import write_atomically
from .contact_sheet import Cells, Sheet, Thumbnail, contact_sheet, peaks
from .page import page

__all__ = ["Cells", "Sheet", "Thumbnail", "peaks", "write_report"]


def write_report(
    folder: Path,
    manifest: Mapping[str, Any],
    sheet: Sheet,
    settings: Mapping[str, Any],
    regions: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write ``report/contact_sheet.png`` and ``report/report.html`` below the version ``folder``.

    ``manifest`` is what job.json will hold, ``settings`` those of its settings that counted; ``regions`` are those of
    reasoning.json.
    """
    target = folder / "report"
    target.mkdir(parents=True, exist_ok=True)
    picture = contact_sheet(sheet)
    write_atomically(target / "contact_sheet.png", picture)
    write_atomically(target / "report.html", page(manifest, picture, settings, regions))
