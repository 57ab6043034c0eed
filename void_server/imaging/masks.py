"""Masks of pixels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

#: Which pixels, (height, width).
Mask = NDArray[np.bool_]


def grown(mask: Mask, pixels: int) -> Mask:
    """The mask and so many pixels around it, in a square."""
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * pixels + 1,) * 2, np.uint8)) > 0
