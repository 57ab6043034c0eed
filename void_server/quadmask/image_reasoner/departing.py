"""Where a frame departs from the background by more than noise."""

from __future__ import annotations

import cv2
import numpy as np

from ...imaging.exr import FloatImage
from ...imaging.masks import Mask
from .background import SCALES, Background, Look, departure

#: The least departure that counts, display-referred, at each scale; and how many times the noise it must be.
_LEAST = (0.015, 0.011)
_ABOVE_NOISE = 4.0


def over_noise(model: Background, scale: int) -> FloatImage:
    """The departure from which it is none of noise, at scale number ``scale``: (height, width)."""
    return np.maximum(np.float32(_LEAST[scale]), _ABOVE_NOISE * model.noise[scale])


def beyond_noise(look: Look, model: Background) -> FloatImage:
    """How many times what noise explains a frame departs from the background: (height, width), 0 where unknown."""
    visible = look.visible & model.known
    times = np.zeros(visible.shape, np.float32)
    for number, scale in enumerate(SCALES):
        # what was found at a finer scale would spread
        rest = visible & (times <= 1)
        found = departure(look.rgb, model.plate, rest, scale) / over_noise(model, number)
        times = np.where(rest, np.maximum(times, found), times)
    return times


def departing(times: FloatImage, visible: Mask) -> Mask:
    """Where a frame departs from the background by more than noise, of what is :func:`beyond_noise`."""
    tidy = cv2.morphologyEx((times > 1).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    tidy = cv2.morphologyEx(tidy, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    return tidy.astype(bool) & visible
