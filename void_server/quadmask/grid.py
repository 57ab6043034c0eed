"""The grid in which the VOID model was shown what is affected: eight cells along the frame's short side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..api.cells import counts
from ..imaging.window import Window

# A cell of which less is affected is left alone: noise, or an edge's rounding to pixels, must not claim a whole one.
_LEAST = 0.06


@dataclass(frozen=True)
class Grid:
    """The cells of a frame, whose pixels are ``pixel_aspect`` wide: all of one size, to the pixel, and about square."""

    frame: Window
    pixel_aspect: float = 1.0

    @property
    def rows(self) -> int:
        """How many cells there are downwards."""
        return counts(self.frame.width * self.pixel_aspect, self.frame.height)[0]

    @property
    def columns(self) -> int:
        """How many cells there are across."""
        return counts(self.frame.width * self.pixel_aspect, self.frame.height)[1]

    def cell(self, row: int, column: int) -> Window:
        """The pixels of a cell, counted from the top left, from 0."""
        left, right = (_border(n, self.columns, self.frame.width) for n in (column, column + 1))
        top, bottom = (_border(n, self.rows, self.frame.height) for n in (row, row + 1))
        return Window(self.frame.x + left, self.frame.y + top, right - left, bottom - top)

    def block(self, window: Window) -> tuple[int, int, int, int] | None:
        """The first and last row, and the first and last column, of the cells that ``window`` touches."""
        places = [(row, column) for row in range(self.rows) for column in range(self.columns)]
        touched = [place for place in places if not self.cell(*place).intersection(window).empty]
        return (touched[0][0], touched[-1][0], touched[0][1], touched[-1][1]) if touched else None

    def whole(self, mask: NDArray[np.bool_], window: Window) -> NDArray[np.bool_]:
        """``mask``, which covers ``window``, with every cell it touches filled, within ``window``."""
        full = np.zeros_like(mask)
        for row in range(self.rows):
            for column in range(self.columns):
                cell = self.cell(row, column).intersection(window)
                if not cell.empty and mask[window.slices(cell)].mean() >= _LEAST:
                    full[window.slices(cell)] = True
        # what lies beyond the frame, in overscan, has no cells
        beyond = np.ones_like(mask)
        inside = window.intersection(self.frame)
        if not inside.empty:
            beyond[window.slices(inside)] = False
        return full | (mask & beyond)


def _border(number: int, cells: int, pixels: int) -> int:
    """The first pixel of a cell: that whose centre lies beyond the border, as in Nuke's expressions."""
    return (2 * number * pixels + cells) // (2 * cells)
