"""What the object sets in motion time and again, as the bed of a trampoline.

Without the object it would rest, and with it, it moves on while nothing touches it, even where it looks as at rest.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from ...imaging.camera import Camera
from ...imaging.framefile import FrameFile
from ...imaging.masks import Mask
from ..reasoning import OBJECT, Region
from .departures import Departures
from .following import MOVED, SHADOW
from .steady import Steady

#: A place is set in motion again after so many frames in which it was seen to rest.
_RESTED = 3
#: Most of a thing is set in motion again, and most of it at once, as a shadow that comes and goes moves from place to
#: place; and it has such a share of the frame's pixels.
_AGAIN, _AT_ONCE, _SMALLEST = 0.5, 0.5, 0.002
#: Of a shadow that comes and goes in one place, no larger share is other than the background in less light.
_NO_SHADE = 0.02
#: Parts are one body where they fill such a share of the rectangle around them.
_FILLED = 0.5


def find(shot: Steady, camera: Camera, departures: Departures, affected: FrameFile, confidence: float) -> Region | None:
    """What is ``affected``, by the codes of :data:`following.EFFECTS`, at least twice with a rest between; None where
    nothing is.

    In each frame from the first in which it moves to the last each body is one rectangle, as it may be too plain in
    parts to show that it moves.
    """

    def effects(index: int) -> Mask:
        return np.isin(affected[index], (MOVED, SHADOW))

    anchor = max(range(shot.count), key=lambda index: np.count_nonzero(effects(index)))

    def at_anchor(index: int, mask: Mask) -> Mask:
        return _laid(shot.in_frame(index, mask), camera, index, anchor)

    def moving(index: int) -> Mask:
        return at_anchor(index, effects(index))

    def departs(index: int) -> Mask:
        return at_anchor(index, departures.at(index))

    times = _times_moved(shot.count, moving, departs, lambda index: at_anchor(index, shot.seen(index)))
    count, things = cv2.connectedComponents((times > 0).astype(np.uint8), connectivity=8)

    def areas(mask: Mask) -> NDArray[np.intp]:
        return np.bincount(things[mask], minlength=count)

    area, by_frame = areas(times > 0), np.stack([areas(moving(index)) for index in range(shot.count)])
    no_shade = sum(areas(at_anchor(index, effects(index) & departures.solid(index))) for index in range(shot.count))
    wanted = (areas(times > 1) > _AGAIN * area) & (by_frame.max(axis=0) > _AT_ONCE * area)
    wanted &= (no_shade > _NO_SHADE * by_frame.sum(axis=0)) & (area > _SMALLEST * times.size)
    if not wanted.any():
        return None
    bodies = _bodies([things == thing for thing in np.flatnonzero(wanted)])
    first = [next(index for index in range(shot.count) if (moving(index) & body).any()) for body in bodies]

    def rectangles(index: int) -> Mask:
        result = np.zeros(things.shape, bool)
        for body, begins in zip(bodies, first, strict=True):
            if index >= begins:
                x, y, width, height = _rectangle(_laid(body, camera, anchor, index))
                result[y : y + height, x : x + width] = True
        return result

    name = "set in motion time and again"
    why = "what the object makes depart again and again moves otherwise in between as well"
    return Region(name, OBJECT, why, "the pixels alone, as rectangles", confidence, rectangles)


def _bodies(parts: list[Mask]) -> list[Mask]:
    """The same, with those in one that are parts of one body."""
    for one, other in combinations(range(len(parts)), 2):
        both = parts[one] | parts[other]
        areas = [width * height for *_, width, height in map(_rectangle, (parts[one], parts[other], both))]
        if areas[0] + areas[1] > _FILLED * areas[2]:
            return _bodies([*(part for number, part in enumerate(parts) if number not in (one, other)), both])
    return parts


def _rectangle(mask: Mask) -> cv2.typing.Rect:
    """What is around a mask: x, y, width and height, 0 where it is empty."""
    return cv2.boundingRect(mask.astype(np.uint8))


def _laid(mask: Mask, camera: Camera, source: int, target: int) -> Mask:
    """What is in ``mask`` in frame index ``source`` as frame ``target`` sees it."""
    if camera.at_rest:
        return mask
    size = mask.shape[::-1]
    matrix = camera.between(source, target)
    return cv2.warpPerspective(mask.astype(np.uint8), matrix, size, flags=cv2.INTER_NEAREST) > 0


def _times_moved(
    count: int, moving: Callable[[int], Mask], departs: Callable[[int], Mask], seen: Callable[[int], Mask]
) -> NDArray[np.intp]:
    """How many times each pixel began to move after a rest, in so many frames: (height, width).

    What departs from the background without the object does not rest.
    """
    times = np.zeros(moving(0).shape, np.intp)
    rested = np.full(times.shape, _RESTED)
    for index in range(count):
        times += moving(index) & (rested == _RESTED)
        rested = np.where(departs(index), 0, np.minimum(rested + seen(index), _RESTED))
    return times
