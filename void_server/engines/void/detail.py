"""Bring the model's small frames to full size: they decide what is there, the shot's own pixels supply the detail."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from ...imaging.exr import FloatImage

# The reach, in pixels of the small frame, within which the model's frame is explained by the clean plate.
_REACH = 4.0
# Variance below which a clean plate has no detail to give: about one code value in a hundred.
_FLAT = 1e-4


def enlarged(small: FloatImage, width: int, height: int) -> FloatImage:
    """A small frame at another size, by Lanczos."""
    shrinking = width < small.shape[1]
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LANCZOS4)


class Restored(NamedTuple):
    """A frame with its detail, and the ``gain`` of the clean plate in it, both (height, width, 3)."""

    rgb: FloatImage
    gain: FloatImage


def restored(small: FloatImage, clean: FloatImage) -> Restored:
    """The model's frame at the size of ``clean``, which shows the same crop out of the shot's own pixels.

    Guided upsampling (He and Sun, Fast Guided Filter, arXiv 1505.00996): around each pixel the model's frame is taken
    for a multiple of the clean plate plus a constant, fitted at the model's size and applied at full size. Where both
    show the same, that is the clean plate; where the model is darker or of another colour, the clean plate graded to
    match. What the fit leaves unexplained is other content of the model's frame, and is enlarged as it is.
    No pixel is darker or brighter than all that both show around it. All display-referred, (h, w, 3).
    """
    height, width = clean.shape[:2]
    seen = cv2.resize(clean, (small.shape[1], small.shape[0]), interpolation=cv2.INTER_AREA)
    mean, mean_seen = _around(small), _around(seen)
    gain = (_around(small * seen) - mean * mean_seen) / (_around(seen * seen) - mean_seen**2 + _FLAT)
    offset = mean - gain * mean_seen
    unexplained = small - (gain * seen + offset)
    gain = enlarged_smoothly(gain, width, height)
    graded = gain * clean + enlarged_smoothly(offset, width, height)
    whole = graded + enlarged(unexplained, width, height)
    return Restored(np.clip(whole, *_limits(small, clean)).astype(np.float32), gain)


def _limits(small: FloatImage, clean: FloatImage) -> tuple[FloatImage, FloatImage]:
    """The least and the largest value that model and clean plate show within a pixel of the model's of each pixel."""
    height, width = clean.shape[:2]
    reach = 2 * -(-height // small.shape[0]) + 1
    window, around = np.ones((reach, reach), np.uint8), np.ones((3, 3), np.uint8)
    least = np.minimum(cv2.erode(clean, window), enlarged_smoothly(cv2.erode(small, around), width, height))
    largest = np.maximum(cv2.dilate(clean, window), enlarged_smoothly(cv2.dilate(small, around), width, height))
    return least, largest


def _around(image: FloatImage) -> FloatImage:
    return cv2.GaussianBlur(image, (0, 0), _REACH)


def enlarged_smoothly(small: FloatImage, width: int, height: int) -> FloatImage:
    """Enlarge without the ringing of Lanczos, for data that is not a picture."""
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)
