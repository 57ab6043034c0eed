"""From the model's small frames to full size: they say what is there, the plate's own pixels how it looks."""

from __future__ import annotations

import cv2
import numpy as np

from ...imaging.exr import FloatImage

# Display-referred difference at which a clean plate and the model are no longer taken to show the same.
_AGREEMENT = 0.06
# Cells of the small frame over which that is judged, and over which the clean plate takes the model's brightness.
_JUDGED = 1.5
_BRIGHTNESS = 3.0


def enlarged(small: FloatImage, width: int, height: int) -> FloatImage:
    """A small frame at another size, by Lanczos."""
    shrinking = width < small.shape[1]
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LANCZOS4)


def restored(small: FloatImage, clean: FloatImage) -> FloatImage:
    """The model's frame at the size of ``clean``, which shows the same crop out of the shot's own pixels.

    Where both agree at the model's resolution, the clean plate is taken, with the model's brightness and colour at
    large; where they differ, the model is right: something else is there. All display-referred, (h, w, 3).
    """
    height, width = clean.shape[:2]
    seen = cv2.resize(clean, (small.shape[1], small.shape[0]), interpolation=cv2.INTER_AREA)
    difference = small - seen
    disagreement = cv2.GaussianBlur(np.abs(difference).max(axis=-1), (0, 0), _JUDGED)
    trust = np.exp(-((disagreement / _AGREEMENT) ** 2))
    trust = enlarged_smoothly(trust, width, height)[..., None]
    shift = enlarged_smoothly(cv2.GaussianBlur(difference, (0, 0), _BRIGHTNESS), width, height)
    return (trust * (clean + shift) + (1 - trust) * enlarged(small, width, height)).astype(np.float32)


def enlarged_smoothly(small: FloatImage, width: int, height: int) -> FloatImage:
    """Without the ringing of Lanczos, for what is no picture."""
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)
