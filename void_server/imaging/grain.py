"""Grain: measured in the plate around new pixels, and added to them where they have too little.

What varies from pixel to pixel is measured with a filter that is blind to edges and slopes (Immerkær, Fast Noise
Variance Estimation, 1996), in the flattest blocks, separately for dark and bright ones. New grain is seeded by job and
frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .exr import FloatImage

_FILTER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
_BLOCK = 8
#: Grain is measured in this many steps of brightness.
_STEPS = 6
#: Of all blocks of one brightness, this share is taken to hold no texture.
_FLAT = 0.25
#: Film and sensors with a Bayer pattern correlate neighbouring pixels about as much as this blur does.
_SOFTNESS = 0.55


@dataclass(frozen=True)
class Grain:
    """How much pixels vary, per step of brightness and channel: (steps, 3), display-referred."""

    level: FloatImage

    def at(self, brightness: FloatImage) -> FloatImage:
        """The level at each pixel's brightness (height, width): (height, width, 3)."""
        steps = (np.arange(_STEPS) + 0.5) / _STEPS
        return np.stack([np.interp(brightness, steps, self.level[:, c]) for c in range(3)], axis=-1).astype(np.float32)


def measure(rgb: FloatImage, where: NDArray[np.bool_]) -> Grain:
    """The grain of display-referred ``rgb``, (height, width, 3), in the blocks that lie wholly in ``where``."""
    detail = cv2.filter2D(rgb, -1, _FILTER)
    rows, columns = (n // _BLOCK for n in where.shape)
    level = np.full((_STEPS, 3), np.nan, np.float32)
    if rows and columns:

        def blocks(image: NDArray[Any]) -> NDArray[Any]:
            cut = image[: rows * _BLOCK, : columns * _BLOCK]
            return cut.reshape(rows, _BLOCK, columns, _BLOCK, *image.shape[2:])

        whole = blocks(where).all(axis=(1, 3))
        spread = np.sqrt((blocks(detail) ** 2).mean(axis=(1, 3)))[whole]
        brightness = blocks(rgb).mean(axis=(1, 3))[whole].mean(axis=-1)
        step = np.clip((brightness * _STEPS).astype(int), 0, _STEPS - 1)
        for number in range(_STEPS):
            if np.count_nonzero(step == number) >= 8:
                level[number] = np.quantile(spread[step == number], _FLAT, axis=0)
    return Grain(_without_gaps(level))


def _without_gaps(level: FloatImage) -> FloatImage:
    """The levels with those that were not measured taken from their neighbours; 0 where none was."""
    known = np.flatnonzero(~np.isnan(level[:, 0]))
    if not len(known):
        return np.zeros_like(level)
    steps = np.arange(len(level))
    return np.stack([np.interp(steps, known, level[known, c]) for c in range(3)], axis=-1).astype(np.float32)


def add(rgb: FloatImage, where: NDArray[np.bool_], target: Grain, seed: tuple[int, ...]) -> FloatImage:
    """Display-referred ``rgb`` with grain added in ``where``, so that it has as much as ``target``."""
    present = measure(rgb, where)
    missing = Grain(np.sqrt(np.maximum(target.level**2 - present.level**2, 0)))
    if not missing.level.any():
        return rgb
    noise = np.random.default_rng(seed).standard_normal(rgb.shape, np.float32)
    noise = cv2.GaussianBlur(noise, (5, 5), _SOFTNESS)
    noise /= max(float(cv2.filter2D(noise, -1, _FILTER).std()), 1e-6)
    brightness = cv2.GaussianBlur(rgb.mean(axis=-1), (0, 0), 2)
    return np.where(where[..., None], rgb + noise * missing.at(brightness), rgb).astype(np.float32)
