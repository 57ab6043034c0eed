"""Masks of pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import overload

import cv2
import numpy as np
from numpy.typing import NDArray

#: Which pixels, (height, width).
Mask = NDArray[np.bool_]


class Masks(Sequence[Mask]):
    """The masks of a shot's frames, which are ``width`` wide, with eight pixels of a row to the byte.

    ``packed`` is (frames, height, bytes).
    """

    def __init__(self, packed: NDArray[np.uint8], width: int) -> None:
        self.packed, self._width = packed, width

    @classmethod
    def of(cls, masks: Iterable[Mask]) -> Masks:
        """Of one mask or more, all of one size."""
        width, packed = 0, []
        for mask in masks:
            width = mask.shape[1]
            packed.append(packed_rows(mask))
        return cls(np.stack(packed), width)

    def __len__(self) -> int:
        return len(self.packed)

    @overload
    def __getitem__(self, index: int) -> Mask: ...
    @overload
    def __getitem__(self, index: slice) -> Masks: ...
    def __getitem__(self, index: int | slice) -> Mask | Masks:
        if isinstance(index, slice):
            return Masks(self.packed[index], self._width)
        return unpacked_rows(self.packed[index], self._width)


def packed_rows(mask: Mask) -> NDArray[np.uint8]:
    """A mask with eight pixels of a row to the byte: (height, bytes)."""
    return np.packbits(mask, axis=1)


def unpacked_rows(packed: NDArray[np.uint8], width: int) -> Mask:
    """The mask, so wide, of :func:`packed_rows`."""
    return np.unpackbits(packed, axis=1, count=width).view(bool)


def grown(mask: Mask, pixels: int) -> Mask:
    """The mask and so many pixels around it, in a square."""
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * pixels + 1,) * 2, np.uint8)) > 0
