"""Faint mirror images away from the object, as in the edge of a frame.

Too thin or too weak to be followed, they tell of the object only by lasting: where nothing moves by itself, what
departs for some frames on end comes from it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from ...imaging.exr import FloatImage
from ...imaging.framefile import FrameFile
from ...imaging.masks import Mask
from .departures import Departures
from .following import GLINT

#: Nothing moves by itself where no more than this share of what the object causes departs besides.
_BESIDES = 0.025
#: A glint has so many pixels, departs by no more than so many times what noise explains, and lasts so many frames.
_SMALLEST, _FAINT, _LASTS = 12, 3.0, 6


def alone(affected: FrameFile, departures: Departures, count: int) -> bool:
    """Whether nothing but the object and what it causes moves in so many frames: ``affected`` is that, by kind."""
    caused = besides = 0
    for index in range(count):
        effect = affected[index] > 0
        caused += np.count_nonzero(effect)
        besides += np.count_nonzero(departures.at(index) & ~effect)
    return besides <= _BESIDES * caused


def added(
    affected: FrameFile, departures: Departures, count: int, begins: Collection[int]
) -> Iterator[NDArray[np.uint8]]:
    """The kinds of what is ``affected`` in so many frames, with the glints; ``begins`` are the first after gaps."""

    def candidates(index: int) -> Mask:
        return faint(departures.certainty(index), departures.compared(index) & (affected[index] == 0))

    for index, glints in enumerate(lasting(map(candidates, range(count)), begins)):
        yield np.where(glints, np.uint8(GLINT), affected[index])


def faint(certainty: FloatImage, wanted: Mask) -> Mask:
    """The regions of ``wanted`` pixels that depart by little more than noise, specks left out."""
    departing = ((certainty > 0) & wanted).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(departing, connectivity=8)
    strong = np.bincount(labels[certainty > 1 - 1 / _FAINT], minlength=count) > 0
    chosen = (stats[:, cv2.CC_STAT_AREA] >= _SMALLEST) & ~strong
    chosen[0] = False
    return np.asarray(chosen[labels])


def lasting(frames: Iterable[Mask], begins: Collection[int]) -> Iterator[Mask]:
    """Which regions of each of the ``frames`` are there for some frames on end, sharing pixels from one to the next."""
    held: deque[tuple[Mask, Mask]] = deque()
    for index, regions in enumerate(frames):
        if index in begins:
            yield from (lasts for _, lasts in held)
            held.clear()
            age = np.zeros(regions.shape, np.uint8)
        age = _aged(regions, age)
        lasts = later = age >= _LASTS
        for earlier, lasted in reversed(held):
            later = _aged(earlier, later.astype(np.uint8)) > 1
            lasted |= later
        held.append((regions, lasts))
        if len(held) == _LASTS:
            yield held.popleft()[1]
    yield from (lasts for _, lasts in held)


def _aged(regions: Mask, age: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One more than the most of ``age`` that each region shares pixels with."""
    count, labels = cv2.connectedComponents(regions.astype(np.uint8), connectivity=8)
    most = np.zeros(count, np.uint8)
    np.maximum.at(most, labels[regions], age[regions])
    return np.where(regions, np.minimum(most, 254)[labels] + 1, 0).astype(np.uint8)
