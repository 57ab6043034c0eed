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
from ...imaging.window import Window
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

_NAME = "set in motion time and again"
_WHY = "what the object makes depart again and again moves otherwise in between as well"


def find(shot: Steady, camera: Camera, departures: Departures, affected: FrameFile, confidence: float) -> list[Region]:
    """The bodies that are ``affected``, by the codes of :data:`following.EFFECTS`, at least twice with a rest between.

    In each frame from the first in which it moves to the last each is one rectangle, as it may be too plain in parts to
    show that it moves.
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
    count, things, boxes, _ = cv2.connectedComponentsWithStats((times > 0).astype(np.uint8), connectivity=8)

    def areas(mask: Mask) -> NDArray[np.intp]:
        return np.bincount(things[mask], minlength=count)

    area, by_frame = areas(times > 0), np.stack([areas(moving(index)) for index in range(shot.count)])
    no_shade = sum(areas(at_anchor(index, effects(index) & departures.solid(index))) for index in range(shot.count))
    wanted = (by_frame.max(axis=0) > _AT_ONCE * area) & (area > _SMALLEST * times.size)
    wanted &= no_shade > _NO_SHADE * by_frame.sum(axis=0)
    parts = [({int(thing)}, Window(*map(int, boxes[thing, :4]))) for thing in np.flatnonzero(wanted)]
    bodies = [np.isin(things, list(members)) for members, _ in _bodies(parts)]

    def region(body: Mask) -> Region:
        first = next(index for index in range(shot.count) if (moving(index) & body).any())

        def rectangle(index: int) -> Mask:
            result = np.zeros(body.shape, bool)
            if index >= first:
                x, y, width, height = cv2.boundingRect(_laid(body, camera, anchor, index).astype(np.uint8))
                result[y : y + height, x : x + width] = True
            return result

        return Region(_NAME, OBJECT, _WHY, "the pixels alone, as a rectangle", confidence, rectangle)

    return [region(body) for body in bodies if np.count_nonzero(body & (times > 1)) > _AGAIN * np.count_nonzero(body)]


def _bodies(parts: list[tuple[set[int], Window]]) -> list[tuple[set[int], Window]]:
    """Numbered parts, each in its window, with those in one that are parts of one body."""
    for one, other in combinations(parts, 2):
        both = one[1].union(other[1])
        if _area(one[1]) + _area(other[1]) > _FILLED * _area(both):
            return _bodies([*(part for part in parts if part not in (one, other)), (one[0] | other[0], both)])
    return parts


def _area(window: Window) -> int:
    return window.width * window.height


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
