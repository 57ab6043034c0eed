"""Whether structure is the truth's: structural similarity, and how much detail there is."""

from __future__ import annotations

import cv2
import numpy as np

from ..imaging.exr import FloatImage

#: The constants of Wang et al. for values 0..1: (0.01)^2 and (0.03)^2.
_C1, _C2 = 1e-4, 9e-4
#: Their window: Gaussian weights of standard deviation 1.5 over 11 x 11 pixels.
_WINDOW, _DEVIATION = (11, 11), 1.5


def ssim(a: FloatImage, b: FloatImage) -> FloatImage:
    """Structural similarity of two grey images (0..1) at each pixel (Wang et al., 2004, "Image quality assessment")."""

    def mean(image: FloatImage) -> FloatImage:
        return cv2.GaussianBlur(image, _WINDOW, _DEVIATION)

    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b, both = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2, mean(a * b) - mean_a * mean_b
    top = (2 * mean_a * mean_b + _C1) * (2 * both + _C2)
    return (top / ((mean_a**2 + mean_b**2 + _C1) * (var_a + var_b + _C2))).astype(np.float32)


def slope(image: FloatImage) -> FloatImage:
    """The length of the gradient of a grey image at each pixel."""
    x, y = (cv2.Sobel(image, cv2.CV_32F, dx, 1 - dx, ksize=3, scale=1 / 8) for dx in (1, 0))
    return np.hypot(x, y)
