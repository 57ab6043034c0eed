"""Whether one sees where new pixels begin."""

from __future__ import annotations

import cv2
import numpy as np

from ..imaging.exr import FloatImage
from ..imaging.masks import Mask

#: The border is so many pixels wide to both sides; what it is compared with begins and ends so far from it.
_BORDER, _NEAR, _FAR = 1, 4, 12


def bands(region: Mask) -> tuple[Mask, Mask]:
    """The border of a region, and the pixels near it on both sides that it is compared with."""
    distance = np.where(region, _to(~region), _to(region))
    return distance <= _BORDER, (distance >= _NEAR) & (distance <= _FAR)


def _to(mask: Mask) -> FloatImage:
    """How far each pixel is from the nearest of ``mask``."""
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
