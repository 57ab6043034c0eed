"""Corrections of a quadmask by the cells of a grid: eight along the frame's short side, and about square."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional

from .errors import SettingError

ALONG_SHORT_SIDE = 8
AFFECTED, KEEP = "affected", "keep"

_EDIT = re.compile(r"(?:(-?\d+)(?:-(-?\d+))?:)?r(\d+)c(\d+)=(affected|keep)")


def counts(width: float, height: float) -> tuple[int, int]:
    """Rows and columns of the grid of a frame, as in the published masks: 8 x 14 at 7:4 and at 16:9."""
    # halves are rounded up, as in Nuke's expressions
    rows, columns = (int(ALONG_SHORT_SIDE * share + 0.5) for share in (height / width, width / height))
    return max(ALONG_SHORT_SIDE, rows), max(ALONG_SHORT_SIDE, columns)


@dataclass(frozen=True)
class CellEdit:
    """A cell (row and column from the top left, from 0) becomes affected or keep from ``first`` to ``last``.

    Without ``first`` and ``last`` it does so in all frames.
    """

    row: int
    column: int
    what: str
    first: Optional[int] = None
    last: Optional[int] = None

    @classmethod
    def parse(cls, text: str) -> CellEdit:
        """An edit such as ``1001-1040:r5c7=affected``. Raises :class:`SettingError`."""
        match = _EDIT.fullmatch(text.replace(" ", ""))
        if not match:
            raise SettingError(f"{text!r} is not a cell edit; write it like 1001-1040:r5c7=affected, or r5c7=keep.")
        first = int(match[1]) if match[1] else None
        return cls(int(match[3]), int(match[4]), match[5], first, int(match[2]) if match[2] else first)

    def __str__(self) -> str:
        frames = "" if self.first is None else f"{self.first}-{self.last}:"
        return f"{frames}r{self.row}c{self.column}={self.what}"

    def applies(self, frame: int) -> bool:
        """Whether the edit is meant for a frame."""
        return self.first is None or self.last is None or self.first <= frame <= self.last
