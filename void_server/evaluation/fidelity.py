"""How far pixels are from the truth."""

from __future__ import annotations

import numpy as np

from ..imaging.exr import FloatImage

#: The least mean square that is told apart from none: 120 dB.
_LEAST = 1e-12


def squares(image: FloatImage, true: FloatImage) -> FloatImage:
    """The squared error at each pixel, (height, width), the mean of the channels of (height, width, 3)."""
    return np.square(image - true).mean(axis=-1, dtype=np.float32)


def psnr(mean_square: float) -> float:
    """The peak signal-to-noise ratio in dB of values 0..1, at most 120."""
    return float(-10 * np.log10(max(mean_square, _LEAST)))
