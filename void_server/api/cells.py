"""Corrections of a quadmask by the cells of a grid: eight along the frame's short side, and about square."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional

from .errors import SettingError

ALONG_SHORT_SIDE = 8
AFFECTED, KEEP = "affected", "keep"

_EDIT = re.compile(
    r"(?:(?P<first>-?\d+)(?:-(?P<last>-?\d+))?:)?r(?P<row>\d+)c(?P<column>\d+)"
    r"(?:-r(?P<last_row>\d+)c(?P<last_column>\d+))?=(?P<what>affected|keep)"
)


def counts(width: float, height: float) -> tuple[int, int]:
    """Rows and columns of the grid of a frame, as in the published masks: 8 x 14 at 7:4 and at 16:9."""
    # halves are rounded up, as in Nuke's expressions
    rows, columns = (int(ALONG_SHORT_SIDE * share + 0.5) for share in (height / width, width / height))
    return max(ALONG_SHORT_SIDE, rows), max(ALONG_SHORT_SIDE, columns)


@dataclass(frozen=True)
class CellEdit:
    """A block of cells becomes affected or keep from frame ``first`` to ``last``; without these, in all frames.

    The block reaches from ``row`` and ``column``, counted from the top left, from 0, to ``last_row`` and
    ``last_column``, both included.
    """

    row: int
    column: int
    last_row: int
    last_column: int
    what: str
    first: Optional[int] = None
    last: Optional[int] = None

    @classmethod
    def parse(cls, text: str) -> CellEdit:
        """An edit such as ``1001-1040:r5c7=affected`` or ``r2c0-r4c3=keep``. Raises :class:`SettingError`."""
        match = _EDIT.fullmatch(text.replace(" ", ""))
        if not match:
            raise SettingError(
                f"{text!r} is not a cell edit; write it like 1001-1040:r5c7=affected, r5c7=keep or r2c0-r4c3=keep."
            )
        row, column = int(match["row"]), int(match["column"])
        last_row, last_column = int(match["last_row"] or row), int(match["last_column"] or column)
        if last_row < row or last_column < column:
            raise SettingError(f"{text!r} ends before it begins; name the top left cell first, as in r2c0-r4c3=keep.")
        first = int(match["first"]) if match["first"] else None
        last = int(match["last"]) if match["last"] else first
        return cls(row, column, last_row, last_column, match["what"], first, last)

    def __str__(self) -> str:
        frames = "" if self.first is None else f"{self.first}-{self.last}:"
        single = (self.row, self.column) == (self.last_row, self.last_column)
        block = "" if single else f"-r{self.last_row}c{self.last_column}"
        return f"{frames}r{self.row}c{self.column}{block}={self.what}"

    def applies(self, frame: int) -> bool:
        """Whether the edit is meant for a frame."""
        return self.first is None or self.last is None or self.first <= frame <= self.last
