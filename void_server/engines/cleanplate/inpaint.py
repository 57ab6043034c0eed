"""Filling what no frame shows."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ...imaging.exr import FloatImage

#: Holes are filled at this many pixels at most; the fill has no detail that a larger size could show.
_LARGEST = 512 * 512


def inpaint(image: FloatImage, hole: NDArray[np.bool_], known: NDArray[np.bool_]) -> FloatImage:
    """Fill ``hole`` from the ``known`` pixels around it; (height, width, 3) in and out.

    Telea's fast marching (An Image Inpainting Technique Based on the Fast Marching Method, 2004), at a reduced size
    where the image is large, so that it stays quick and smooth.
    """
    if not hole.any():
        return image
    height, width = hole.shape
    scale = min(1.0, (_LARGEST / (height * width)) ** 0.5)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    weight = cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    small = cv2.resize(image * known[..., None], size, interpolation=cv2.INTER_AREA)
    missing = (weight < 0.5).astype(np.uint8)
    small = np.where(missing[..., None] > 0, 0, small / np.maximum(weight, 0.5)[..., None]).astype(np.float32)
    planes = [cv2.inpaint(plane, missing, 4, cv2.INPAINT_TELEA) for plane in cv2.split(small)]
    filled = cv2.resize(
        cv2.merge(planes), (width, height), interpolation=cv2.INTER_CUBIC if scale < 1 else cv2.INTER_NEAREST
    )
    return np.where(hole[..., None], filled, image)
