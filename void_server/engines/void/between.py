"""Frames between two that the model made, along the motion between them."""

from __future__ import annotations

import numpy as np

from ...imaging.exr import FloatImage
from ...imaging.flow import flow, luma, seen


def between(first: FloatImage, last: FloatImage, share: float) -> FloatImage:
    """The frame after ``share`` of the way from ``first`` to ``last``, display-referred, (height, width, 3).

    Both are seen along the optical flow between them from the moment between, and mixed by nearness.
    """
    # what moves from first to last is, at the moment between, that share of the way behind
    grey, grey_last = luma(first), luma(last)
    from_first = seen(first, -share * flow(grey, grey_last))
    from_last = seen(last, -(1 - share) * flow(grey_last, grey))
    return ((1 - share) * from_first + share * from_last).astype(np.float32)
