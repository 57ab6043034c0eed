"""What changes from frame to frame: along motion, and otherwise than in the truth."""

from __future__ import annotations

import cv2
import numpy as np

from ..imaging.exr import FloatImage


def flow(now: FloatImage, before: FloatImage) -> FloatImage:
    """The way (height, width, 2) in pixels from each place in a grey frame to the same thing in the one ``before``.

    By dense inverse search (Kroeger et al., 2016).
    """
    one, other = (np.round(image * 255).astype(np.uint8) for image in (now, before))
    return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(one, other, None)


def moved(image: FloatImage, way: FloatImage) -> FloatImage:
    """``image`` seen at each place plus ``way``."""
    y, x = np.indices(way.shape[:2], np.float32)
    return cv2.remap(image, x + way[..., 0], y + way[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def warp_error(now: FloatImage, before: FloatImage, way: FloatImage) -> FloatImage:
    """How much a grey frame differs from the one before it, brought along ``way`` (Lai et al., 2018).

    Grain and noise are in it, so that the truth has one too.
    """
    return np.abs(now - moved(before, way))


def flicker(now: FloatImage, before: FloatImage, true: FloatImage, true_before: FloatImage) -> FloatImage:
    """How much the change from one frame to the next departs from the truth's, the mean of the channels."""
    return np.abs((now - before) - (true - true_before)).mean(axis=-1, dtype=np.float32)
