"""Fill an image's unknown pixels smoothly from the known ones."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .exr import FloatImage


def smooth_fill(image: FloatImage, known: NDArray[np.bool_] | FloatImage) -> FloatImage:
    """Continue ``image``, (height, width, channels), from its ``known`` pixels into all others.

    ``known`` may also say how far each pixel is, 0..1.

    Push-pull: averages of ever larger neighbourhoods, each level used only where the finer one has no data (Gortler
    et al., The Lumigraph, 1996). Without any known pixel the result is 0.
    """
    weight = known.astype(np.float32)
    return _pull(image * weight[..., None], weight)[0]


def _pull(sums: FloatImage, weight: FloatImage) -> tuple[FloatImage, FloatImage]:
    height, width = weight.shape
    if min(height, width) > 1:
        size = (width + 1) // 2, (height + 1) // 2
        coarse, _ = _pull(
            *(_channels(cv2.resize(a, size, interpolation=cv2.INTER_AREA), a.ndim) for a in (sums, weight))
        )
        below = _channels(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), 3)
    else:
        total = float(weight.sum())
        below = np.broadcast_to(sums.sum(axis=(0, 1)) / total if total else np.float32(0), sums.shape)
    sure = np.minimum(weight, 1)[..., None]
    mean = sums / np.maximum(weight, 1e-6)[..., None]
    return (mean * sure + below * (1 - sure)).astype(np.float32), weight


def _channels(image: FloatImage, dimensions: int) -> FloatImage:
    # OpenCV drops the last axis of a single channel
    return image[..., None] if image.ndim < dimensions else image
