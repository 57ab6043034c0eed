"""The report of a job: a contact sheet and a page, for whoever looks at the result first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...api.files import write_atomically
from ...api.version import VersionFolder
from .contact_sheet import Cells, Sheet, Thumbnail, contact_sheet, peaks
from .page import page

__all__ = ["Cells", "Sheet", "Thumbnail", "peaks", "write_report"]


def write_report(
    version: VersionFolder,
    manifest: Mapping[str, Any],
    sheet: Sheet,
    regions: Sequence[Mapping[str, Any]],
    disclosed: Mapping[str, Any],
) -> None:
    """Write the contact sheet and the page of a version.

    ``manifest`` is what job.json will hold; ``regions`` are those of reasoning.json, and ``disclosed`` is what
    disclosure.json holds.
    """
    picture = contact_sheet(sheet)
    write_atomically(version.contact_sheet, picture, parents=True)
    write_atomically(version.report, page(manifest, picture, regions, disclosed))
