"""Fill what no frame shows."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from ...api.errors import SequenceError
from ...imaging.exr import FloatImage
from ...imaging.fill import smooth_fill
from ...imaging.sequence import format_frames

#: Steps at each size, and the spectral radius that is assumed of one without acceleration.
_STEPS, _LEFT = 16, 0.985
_SMALLEST = 16
#: By this much a correction falls back to 0 in each pixel.
_SCREEN = 4e-3
_NEIGHBOURS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32) / 4


def nothing_to_fill_from(frames: Iterable[int]) -> SequenceError:
    """The error for ``frames``, by number, that are rewritten wholly while no frame shows what lies behind."""
    return SequenceError(
        f"All of the picture is to be rewritten in {format_frames(frames)}, and no frame from which the motion can be "
        "followed there shows what lies behind; keep part of the picture there, in roto and quadmask, or leave these "
        "frames out of the frame range."
    )


def inpaint(image: FloatImage, hole: NDArray[np.bool_]) -> FloatImage:
    """Fill ``hole`` of ``image``, (height, width, 3), as smoothly as its border allows: the harmonic membrane.

    Laplace's equation with the border's values, by relaxation from coarse to fine, accelerated (Golub and Varga,
    Chebyshev semi-iterative methods, 1961). It invents no texture, and is closer to the truth than fast marching on the
    shots that were measured.
    """
    if not hole.any():
        return image
    x, y, width, height = cv2.boundingRect(hole.astype(np.uint8))
    rows = slice(max(y - 2, 0), y + height + 2)
    columns = slice(max(x - 2, 0), x + width + 2)
    result = image.copy()
    result[rows, columns] = _membrane(image[rows, columns], hole[rows, columns])
    return result


def correction(bend: FloatImage, hole: NDArray[np.bool_]) -> FloatImage:
    """What is 0 outside ``hole`` and in it exceeds the mean of its neighbours by ``bend`` / 4, (height, width, 3).

    The screened Poisson equation, by relaxation from coarse to fine: far from what bends it, it falls back to 0.
    """
    return _membrane(np.zeros_like(bend), hole, bend, _SCREEN)


def _membrane(
    image: FloatImage, hole: NDArray[np.bool_], bend: FloatImage | None = None, screen: float = 0.0
) -> FloatImage:
    height, width = hole.shape
    if min(height, width) > 2 * _SMALLEST:
        size = (width + 1) // 2, (height + 1) // 2
        known = cv2.resize((~hole).astype(np.float32), size, interpolation=cv2.INTER_AREA)
        small = cv2.resize(image * ~hole[..., None], size, interpolation=cv2.INTER_AREA)
        # the distance between pixels doubles, so what it does to them is four times as much
        coarse_bend = None if bend is None else 4 * cv2.resize(bend, size, interpolation=cv2.INTER_AREA)
        coarse = _membrane(small / np.maximum(known, 1e-3)[..., None], known < 0.5, coarse_bend, 4 * screen)
        start = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    else:
        start = smooth_fill(image, ~hole)
    inside = hole.astype(np.uint8)
    filled = cv2.copyTo(start, inside, image.astype(np.float32))
    before, mean, ahead = filled.copy(), np.empty_like(filled), 1.0
    for step in range(_STEPS):
        cv2.filter2D(filled, -1, _NEIGHBOURS, mean, borderType=cv2.BORDER_REPLICATE)
        if bend is not None:
            cv2.addWeighted(mean, 1 / (1 + screen), bend, 1 / 4 / (1 + screen), 0, mean)
        if step:
            ahead = 1 / (1 - _LEFT**2 * ahead / (2 if step == 1 else 4))
            cv2.addWeighted(mean, ahead, before, 1 - ahead, 0, mean)
        filled, before = cv2.copyTo(mean, inside, before), filled
    return filled
