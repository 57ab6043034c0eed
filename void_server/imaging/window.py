"""Rectangles of pixels, in the coordinates of EXR's data and display windows."""

from __future__ import annotations

from typing import NamedTuple


class Window(NamedTuple):
    """A rectangle of pixels: its left and top pixel, which may be negative, and its size."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """The first column to the right of the window."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """The first row below the window."""
        return self.y + self.height

    @property
    def empty(self) -> bool:
        """Whether there is no pixel in the window."""
        return self.width <= 0 or self.height <= 0

    def intersection(self, other: Window) -> Window:
        """The pixels in both windows; of width or height 0 where there are none."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        width, height = min(self.right, other.right) - x, min(self.bottom, other.bottom) - y
        return Window(x, y, max(width, 0), max(height, 0))

    def union(self, other: Window) -> Window:
        """The smallest window that holds both."""
        if self.empty:
            return other
        if other.empty:
            return self
        x, y = min(self.x, other.x), min(self.y, other.y)
        return Window(x, y, max(self.right, other.right) - x, max(self.bottom, other.bottom) - y)

    def grown(self, pixels: int) -> Window:
        """The window with ``pixels`` more on each side."""
        return Window(self.x - pixels, self.y - pixels, self.width + 2 * pixels, self.height + 2 * pixels)

    def slices(self, inner: Window) -> tuple[slice, slice]:
        """Where ``inner``, which lies in this window, is in an array of this window's pixels: rows, columns."""
        x, y = inner.x - self.x, inner.y - self.y
        return slice(y, y + inner.height), slice(x, x + inner.width)
