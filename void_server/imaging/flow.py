"""Optical flow between two frames, and pictures seen along it."""

from __future__ import annotations

import cv2
import numpy as np

from .exr import FloatImage


def luma(image: FloatImage) -> FloatImage:
    """Luma of display-referred RGB, (height, width) of (height, width, 3)."""
    return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)


def flow(one: FloatImage, other: FloatImage) -> FloatImage:
    """The way (height, width, 2), in pixels, from each place in a grey frame (0..1) to the same thing in the other.

    By dense inverse search (Kroeger et al., 2016, arXiv 1603.03590).
    """
    grey, grey_other = (np.round(image * 255).astype(np.uint8) for image in (one, other))
    return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(grey, grey_other, None)


def seen(image: FloatImage, way: FloatImage) -> FloatImage:
    """``image`` seen at each place plus ``way``."""
    y, x = np.indices(way.shape[:2], np.float32)
    return cv2.remap(image, x + way[..., 0], y + way[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
