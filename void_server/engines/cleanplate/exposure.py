"""Bringing new pixels to the brightness that the plate has around them in the same frame."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ...imaging.exr import FloatImage
from ...imaging.fill import smooth_fill

#: Display-referred: a border that differs by less is taken for as bright as the new pixels.
_SAME = 0.006
_SOFTNESS = 12.0
_FEWEST = 200


def match(rgb: FloatImage, plate: FloatImage, border: NDArray[np.bool_]) -> FloatImage:
    """New pixels ``rgb``, (height, width, 3), shifted smoothly so that they meet the plate at ``border``.

    ``border`` is where both show the scene. Nothing changes where the light has not: the border's median difference
    decides, so that a remaining shadow at one place of it does not pull all the rest down.
    """
    if np.count_nonzero(border) < _FEWEST:
        return rgb
    difference = plate - rgb
    if np.abs(np.median(difference[border], axis=0)).max() < _SAME:
        return rgb
    weight = border.astype(np.float32)
    near = cv2.GaussianBlur(weight, (0, 0), _SOFTNESS)
    mean = cv2.GaussianBlur(difference * weight[..., None], (0, 0), _SOFTNESS) / np.maximum(near, 1e-3)[..., None]
    return rgb + smooth_fill(mean, near > 0.02)
