"""Fit a shot to the model: its crop of the frame, its size, and its number of frames."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...imaging.window import Window

#: The published working size is 384 x 672.
ASPECT = 672 / 384
#: The model's sizes are multiples of this.
STEP = 16
#: The shortest clip that the model was trained for; shorter ones are mirrored in time.
SHORTEST = 85
#: Latent frames of a window, those of the shortest clip.
WINDOW = 22
# Context around what changes, as a share of its size on each side.
_CONTEXT = 0.5


@dataclass(frozen=True)
class Fit:
    """The part of the canvas that the model sees, and its size there, height and width."""

    crop: Window
    size: tuple[int, int]


def around(region: Window, canvas: Window, pixel_aspect: float, height: int) -> Window:
    """A crop around ``region`` with context, for a model that works at about ``height`` x 7/4 of it.

    It is no smaller than that, so a small object gets all of the model's resolution and is not enlarged, and no larger
    than the canvas.
    """
    return _grown(region, canvas, height * ASPECT / pixel_aspect, height)


def fit(crop: Window, pixel_aspect: float, height: int) -> Fit:
    """The crop with a working size of its aspect and the area of ``height`` x 7/4 of it.

    Pixels that are not square are squared by the resize.
    """
    area = height * height * ASPECT
    aspect = crop.width * pixel_aspect / crop.height
    return Fit(crop, (_multiple(math.sqrt(area / aspect)), _multiple(math.sqrt(area * aspect))))


def _grown(region: Window, canvas: Window, least_width: float, least_height: float) -> Window:
    x, width = _interval(region.x, region.width, canvas.x, canvas.width, least_width)
    y, height = _interval(region.y, region.height, canvas.y, canvas.height, least_height)
    return Window(x, y, width, height)


def _interval(start: int, length: int, first: int, whole: int, least: float) -> tuple[int, int]:
    """An interval with its context, moved to lie inside the whole one."""
    size = min(whole, max(math.ceil(least), math.ceil(length * (1 + 2 * _CONTEXT))))
    begin = start + length // 2 - size // 2
    return max(first, min(begin, first + whole - size)), size


def _multiple(size: float) -> int:
    return max(STEP, round(size / STEP) * STEP)


def clip_length(frames: int) -> int:
    """The model's length for so many frames: 8k + 5, as it takes an even number of latent frames, and 85 at least."""
    return max(SHORTEST, 8 * math.ceil((frames - 5) / 8) + 5)


def mirrored(frames: int, length: int) -> list[int]:
    """The frames of a clip of ``length``: all of them, then back and forth."""
    if frames == 1:
        return [0] * length
    there_and_back = [*range(frames), *range(frames - 2, 0, -1)]
    return [there_and_back[index % len(there_and_back)] for index in range(length)]
