"""Who passes by while the object is far away: a look with somebody before a place does not say what the place is like.

What differs from looks before and from looks after passes; at the shot's ends, what differs from the very next ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from ...imaging.channels import largest
from ...imaging.exr import FloatImage
from ...imaging.masks import Mask, grown
from ...imaging.parallel import for_each, results
from ...imaging.temporal import median

#: Looks are compared with those so many before and after: what is broad and plain changes slowly.
_APART = (1, 2, 4, 7)
#: At the shot's ends nothing tells what came from what went: only the next so many count, of so many looks one.
_NEXT, _OF = 2, 12
#: Looks that differ by more, display-referred, under a Gaussian of so many pixels, show something else: by so many
#: times what usually changes there, which is noise where a place rests, between these limits.
_USUAL, _SAME, _NOISIEST, _SCALE = 2.0, 0.03, 0.08, 1.2
#: What passes is whole: gaps of so many pixels in it are closed, and its edge is as wide.
_WHOLE, _EDGE = 17, 2
#: A place rests where so many looks without anything that passes agree.
_RESTING = 3
_ALIKE, _DIFFERS = 1, 2


def passing(pictures: Sequence[FloatImage], seen: Sequence[Mask]) -> list[Mask]:
    """Where each picture shows something that passes before a place that rests otherwise.

    The pictures (height, width, 3) are display-referred, in the order of time; ``seen`` tells where each shows the
    scene.
    """
    if len(pictures) < 2:
        return [np.zeros_like(mask) for mask in seen]
    soft, indices = np.empty((len(pictures), *pictures[0].shape), np.float32), range(len(pictures))

    def soften(index: int) -> None:
        soft[index] = cv2.GaussianBlur(pictures[index], (0, 0), _SCALE)

    for_each(soften, indices)
    same = _same(soft, seen)
    changes = {apart: _changes(soft, seen, apart, same) for apart in _APART}
    following = min(_NEXT, max(1, len(soft) // _OF))
    passes = list(results(lambda index: seen[index] & _moving(changes, index, following, same.shape), indices))
    height, width = seen[0].shape
    resting = np.stack([mask & ~moves for mask, moves in zip(seen, passes, strict=True)])
    count = resting.sum(axis=0)
    usual = median(soft.reshape(len(soft), -1, 3), resting.reshape(len(soft), -1)).reshape(height, width, 3)
    away = sum(results(lambda index: largest(np.abs(soft[index] - usual)) * resting[index], indices))
    agree = (count >= _RESTING) & (away < _SAME * count)
    return [moves & agree for moves in passes]


def _same(pictures: FloatImage, seen: Sequence[Mask]) -> FloatImage:
    """Up to what difference two pictures show the same at each place: (height, width)."""
    both = np.stack([one & other for one, other in pairwise(seen)])
    change = np.stack(list(results(lambda pair: largest(np.abs(pair[1] - pair[0])), pairwise(pictures))))
    usual = median(change.reshape(len(both), -1, 1), both.reshape(len(both), -1)).reshape(both.shape[1:])
    return np.clip(np.float32(_USUAL) * usual, _SAME, _NOISIEST)


def _changes(pictures: FloatImage, seen: Sequence[Mask], apart: int, same: FloatImage) -> list[NDArray[np.uint8]]:
    """Whether each picture and the one so many later are the ``same``: 0 where one of them does not show the scene."""

    def work(index: int) -> NDArray[np.uint8]:
        differs = largest(np.abs(pictures[index + apart] - pictures[index])) > same
        return np.where(seen[index] & seen[index + apart], np.where(differs, _DIFFERS, _ALIKE), 0).astype(np.uint8)

    return list(results(work, range(len(pictures) - apart)))


def _moving(
    changes: Mapping[int, Sequence[NDArray[np.uint8]]], index: int, following: int, shape: tuple[int, ...]
) -> Mask:
    """Where something moves through a picture, by the :func:`_changes` between pictures so far apart.

    Changes to one side alone count only among so many that are ``following``.
    """
    moves = np.zeros(shape, bool)
    for apart, pairs in changes.items():
        sides = [pairs[first] for first in (index - apart, index) if 0 <= first < len(pairs)]
        if len(sides) == 2 or (sides and apart <= following):
            moves |= np.bitwise_or.reduce(sides) == _DIFFERS
    tidy = cv2.morphologyEx(moves.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    tidy = cv2.morphologyEx(tidy, cv2.MORPH_CLOSE, np.ones((_WHOLE, _WHOLE), np.uint8))
    return grown(tidy > 0, _EDGE)
