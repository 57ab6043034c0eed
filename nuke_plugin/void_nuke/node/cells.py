"""Changes of a quadmask by the cells of a grid, as Nuke's expressions."""

from __future__ import annotations

from void_server.api.cells import AFFECTED, ALONG_SHORT_SIDE, CellEdit
from void_server.api.errors import SettingError

from . import lists


def _where(edit: CellEdit) -> str:
    """True inside the cell and its frames, as an expression of Nuke's, whose y goes up."""
    size = f"(min(width, height) / {ALONG_SHORT_SIDE})"
    inside = [
        f"x >= {edit.column} * {size}",
        f"x < {edit.column + 1} * {size}",
        f"height - 1 - y >= {edit.row} * {size}",
        f"height - 1 - y < {edit.row + 1} * {size}",
    ]
    if edit.first is not None:
        inside += [f"frame >= {edit.first}", f"frame <= {edit.last}"]
    return " && ".join(inside)


def parse(text: str) -> list[CellEdit]:
    """The edits in ``text``, one per line; text after # is a remark. Raises :class:`SettingError` naming the line."""
    return lists.parse(text, "cell edits", CellEdit.parse)


def expression(edits: list[CellEdit]) -> str:
    """1 where the edits make a pixel affected, -1 where they keep it, 0 elsewhere; later ones win."""
    text = "0"
    for edit in edits:
        text = f"{_where(edit)} ? {1 if edit.what == AFFECTED else -1} : ({text})"
    return text


def cell_at(x: float, y: float, width: int, height: int) -> tuple[int, int]:
    """Row and column of the cell under a point of Nuke's picture, whose y goes up."""
    size = min(width, height) / ALONG_SHORT_SIDE
    if not (0 <= x < width and 0 <= y < height):
        raise SettingError(f"The cell's handle is at {x:g}, {y:g}, outside the frame; put it on the cell to change.")
    return int((height - y) / size), int(x / size)
