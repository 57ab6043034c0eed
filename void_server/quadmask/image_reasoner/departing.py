"""Where a frame departs from the background by more than noise."""

from __future__ import annotations

import cv2
import numpy as np

from ...imaging.camera import Mask
from ...imaging.exr import FloatImage
from .background import SCALES, Background, Look, departure

#: The least departure that counts, display-referred, at each scale; and how many times the noise it must be.
_LEAST = (0.015, 0.011)
_ABOVE_NOISE = 4.0


def over_noise(model: Background, scale: int) -> FloatImage:
    """The departure from which it is none of noise, at scale number ``scale``: (height, width)."""
    return np.maximum(np.float32(_LEAST[scale]), _ABOVE_NOISE * model.noise[scale])


def departing(look: Look, model: Background) -> Mask:
    """Where a frame departs from the background by more than noise."""
    visible = look.visible & model.known
    found = np.zeros(visible.shape, bool)
    for number, scale in enumerate(SCALES):
        found |= departure(look.rgb, model.plate, visible, scale) > over_noise(model, number)
    tidy = cv2.morphologyEx((found & visible).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    tidy = cv2.morphologyEx(tidy, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    return tidy.astype(bool) & visible
