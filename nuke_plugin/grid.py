"""Changes of a quadmask by the cells of a grid: square cells, eight along the frame's short side."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional

from void_server.api.errors import SettingError

CELLS_ALONG_SHORT_SIDE = 8
AFFECTED, KEEP = "affected", "keep"

_LINE = re.compile(r"(?:(-?\d+)(?:-(-?\d+))?:)?r(\d+)c(\d+)=(affected|keep)")


@dataclass(frozen=True)
class CellEdit:
    """A cell (row and column from the top left, from 0) becomes affected or keep from ``first`` to ``last``."""

    row: int
    column: int
    what: str
    first: Optional[int] = None
    last: Optional[int] = None

    def __str__(self) -> str:
        frames = "" if self.first is None else f"{self.first}-{self.last}:"
        return f"{frames}r{self.row}c{self.column}={self.what}"

    @property
    def where(self) -> str:
        """True inside the cell and its frames, as an expression of Nuke's, whose y goes up."""
        size = f"(min(width, height) / {CELLS_ALONG_SHORT_SIDE})"
        inside = [
            f"x >= {self.column} * {size}",
            f"x < {self.column + 1} * {size}",
            f"height - 1 - y >= {self.row} * {size}",
            f"height - 1 - y < {self.row + 1} * {size}",
        ]
        if self.first is not None:
            inside += [f"frame >= {self.first}", f"frame <= {self.last}"]
        return " && ".join(inside)


def parse(text: str) -> list[CellEdit]:
    """The edits in ``text``, one per line; text after # is a remark. Raises :class:`SettingError` naming the line."""
    edits = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].strip()
        if not words:
            continue
        match = _LINE.fullmatch(words.replace(" ", ""))
        if not match:
            raise SettingError(f"Line {number} of the cells, {words!r}, is not like 1001-1040:r5c7=affected.")
        first = int(match[1]) if match[1] else None
        last = int(match[2]) if match[2] else first
        edits.append(CellEdit(int(match[3]), int(match[4]), match[5], first, last))
    return edits


def expression(edits: list[CellEdit]) -> str:
    """1 where the edits make a pixel affected, -1 where they keep it, 0 elsewhere; later ones win."""
    text = "0"
    for edit in edits:
        text = f"{edit.where} ? {1 if edit.what == AFFECTED else -1} : ({text})"
    return text


def cell_at(x: float, y: float, width: int, height: int) -> tuple[int, int]:
    """Row and column of the cell under a point of Nuke's picture, whose y goes up."""
    size = min(width, height) / CELLS_ALONG_SHORT_SIDE
    if not (0 <= x < width and 0 <= y < height):
        raise SettingError(f"The cell's handle is at {x:g}, {y:g}, outside the frame; put it on the cell to change.")
    return int((height - y) / size), int(x / size)
