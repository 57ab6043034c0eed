"""Frames between two that the model made, along the motion between them."""

from __future__ import annotations

import cv2
import numpy as np

from ...imaging.exr import FloatImage


def between(first: FloatImage, last: FloatImage, share: float) -> FloatImage:
    """The frame after ``share`` of the way from ``first`` to ``last``, display-referred, (height, width, 3).

    Both are seen along the optical flow between them (DIS: Kroeger et al., arXiv 1603.03590) from the moment between,
    and mixed by nearness.
    """
    # what moves from first to last is, at the moment between, that share of the way behind
    from_first, from_last = _seen(first, -share * _flow(first, last)), _seen(last, -(1 - share) * _flow(last, first))
    return ((1 - share) * from_first + share * from_last).astype(np.float32)


def _flow(one: FloatImage, other: FloatImage) -> FloatImage:
    """The way (height, width, 2), in pixels, from each place of ``one`` to ``other``."""
    grey, grey_other = (np.round(cv2.cvtColor(i, cv2.COLOR_RGB2GRAY) * 255).astype(np.uint8) for i in (one, other))
    return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(grey, grey_other, None)


def _seen(image: FloatImage, way: FloatImage) -> FloatImage:
    """``image`` seen at each place plus ``way``."""
    y, x = np.indices(image.shape[:2], np.float32)
    return cv2.remap(image, x + way[..., 0], y + way[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
