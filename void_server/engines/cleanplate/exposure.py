"""Match new pixels to the brightness of the plate around them in the same frame."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ...imaging.exr import FloatImage
from ...imaging.fill import smooth_fill
from .. import NewPixels
from ..clip import Clip

#: Display-referred: a smaller difference at the border counts as equal brightness.
_SAME = 0.006
_SOFTNESS = 12.0
_FEWEST = 200


def matched(clip: Clip, new: NewPixels, plate: FloatImage) -> NewPixels:
    """New pixels that meet the ``plate`` of their window, (height, width, 3), where both show the scene."""
    border = (clip.blend(new.index, new.window) > 0) & ~clip.rewritten(new.index, new.window)
    return replace(new, rgb=match(new.rgb, plate, border))


def match(rgb: FloatImage, plate: FloatImage, border: NDArray[np.bool_]) -> FloatImage:
    """New pixels ``rgb``, (height, width, 3), shifted smoothly so that they meet the plate at ``border``.

    ``border`` is where both show the scene. The border's median difference decides whether the light has changed, so
    that a shadow left at one place of it does not darken the rest.
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
