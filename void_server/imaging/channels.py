"""The largest and the least of each pixel's channels.

Over so short an axis, NumPy's own maximum takes many times as long.
"""

from __future__ import annotations

from functools import reduce

import numpy as np
from numpy.typing import NDArray


def largest(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The largest channel of each of ``pixels``, (...), of (..., channels)."""
    return reduce(np.maximum, np.moveaxis(pixels, -1, 0))


def least(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The least channel of each of ``pixels``, (...), of (..., channels)."""
    return reduce(np.minimum, np.moveaxis(pixels, -1, 0))
