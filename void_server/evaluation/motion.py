"""What changes from frame to frame: along motion, and otherwise than in the truth."""

from __future__ import annotations

import numpy as np

from ..imaging.exr import FloatImage
from ..imaging.flow import seen


def warp_error(now: FloatImage, before: FloatImage, way: FloatImage) -> FloatImage:
    """How much a grey frame differs from the one before it, brought along ``way`` (Lai et al., 2018).

    Grain and noise are in it, so that the truth has one too.
    """
    return np.abs(now - seen(before, way))


def flicker(now: FloatImage, before: FloatImage, true: FloatImage, true_before: FloatImage) -> FloatImage:
    """How much the change from one frame to the next departs from the truth's, the mean of the channels."""
    return np.abs((now - before) - (true - true_before)).mean(axis=-1, dtype=np.float32)
