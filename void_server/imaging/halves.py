"""Functions of half floats, as tables of a value for each: a fraction of the time of computing them."""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value", np.float32, np.uint8)

#: All half floats, in the order of their bits; and the same with 0 for what is not finite.
ALL: NDArray[np.float32] = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)
FINITE: NDArray[np.float32] = np.where(np.isfinite(ALL), ALL, np.float32(0))


def look_up(table: NDArray[Value], halves: NDArray[np.float16]) -> NDArray[Value]:
    """The value that ``table`` has for each of ``halves``, of any shape but a single number, by its bits."""
    if not halves.size:
        return np.zeros(halves.shape, table.dtype)
    # a third of the time of indexing; OpenCV's own idea of axes of length 1 differs from version to version
    return np.asarray(cv2.LUT(halves.view(np.uint16), table), table.dtype).reshape(halves.shape)
