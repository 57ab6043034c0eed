"""Which pixels a quadmask and its roto give up, and how softly the new ones are laid over the plate."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ..imaging.exr import FloatImage
from .classes import KEEP, Quadmask

# A roto below this is its artist's rounding; above it the object's soft or motion-blurred edge is in the pixel.
_FAINTEST_EDGE = 0.02


def rewritten(codes: Quadmask, roto: FloatImage) -> NDArray[np.bool_]:
    """The pixels to replace wholly: every class but keep, the roto's soft edge, and one pixel around.

    That pixel is what the antialiasing of a hard mask leaves outside.
    """
    given_up = ((codes != KEEP) | (roto > _FAINTEST_EDGE)).astype(np.uint8)
    return cv2.dilate(given_up, np.ones((3, 3), np.uint8)).astype(bool)


def blend(given_up: NDArray[np.bool_], feather: float) -> FloatImage:
    """1 on rewritten pixels, falling smoothly to 0 over ``feather`` pixels outwards, exactly 0 beyond.

    Rounded to half floats: all that is made with it agrees with what the files say.
    """
    if not given_up.any():
        return np.zeros(given_up.shape, np.float32)
    distance = cv2.distanceTransform((~given_up).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    ramp = np.clip(1 - distance / (feather + 1), 0, 1)
    return (ramp * ramp * (3 - 2 * ramp)).astype(np.float16).astype(np.float32)
