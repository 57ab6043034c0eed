"""Changes of a quadmask by the cells of a grid, as Nuke's expressions."""

from __future__ import annotations

from void_server.api.cells import AFFECTED, ALONG_SHORT_SIDE, CellEdit, counts
from void_server.api.errors import SettingError

from . import lists

# Columns and rows as Nuke's expressions, as void_server.api.cells.counts; Nuke's y goes up.
_ACROSS, _DOWN = (
    f"(max({ALONG_SHORT_SIDE}, int({ALONG_SHORT_SIDE} * {share} + 0.5)))"
    for share in ("width / height", "height / width")
)
#: 1 on the lines between cells, which are thicker in large pictures.
LINES = " || ".join(
    f"floor(-{at} * {count} / {side}) != floor((max(1, height / 540) - {at}) * {count} / {side})"
    for at, count, side in (("(x + 0.5)", _ACROSS, "width"), ("(height - 0.5 - y)", _DOWN, "height"))
)


def _where(edit: CellEdit) -> str:
    """True inside the cells and their frames, as an expression of Nuke's."""
    inside = [
        f"(x + 0.5) * {_ACROSS} > {edit.column} * width",
        f"(x + 0.5) * {_ACROSS} <= {edit.last_column + 1} * width",
        f"(height - 0.5 - y) * {_DOWN} > {edit.row} * height",
        f"(height - 0.5 - y) * {_DOWN} <= {edit.last_row + 1} * height",
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
    rows, columns = counts(width, height)
    if not (0 <= x < width and 0 <= y < height):
        raise SettingError(f"The cell's handle is at {x:g}, {y:g}, outside the frame; put it on the cell to change.")
    return int((height - y) * rows / height), int(x * columns / width)
