"""Whether the object touches something, and when first: the picture close around it changes far more than usual."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..imaging.camera import Camera
from ..imaging.channels import mean
from ..imaging.exr import FloatImage
from ..imaging.footage import Footage
from ..imaging.masks import Mask
from ..imaging.runs import runs

# Shares of the short side: the edge around an object in which it moves itself, and what is close to it. A contact
# changes what is close so many times as much as usual, and by no less than that.
_EDGE, _NEAR = 0.02, 0.1
_STRIKING, _LEAST = 6.0, 0.004
# What touches something throughout changes what is close to it so many times as much as the rest, in such a share of
# the frames that show it, and in so many at least.
_BESIDE, _OFTEN, _FEWEST = 1.5, 0.25, 3


def first_contact(footage: Footage, rotos: Sequence[Mask]) -> int | None:
    """The first frame in which the picture close around the object changes far more than usual; None if there is none.

    What it touches begins to move there, and what it moves, touches. The picture further away says what is usual, so
    that a moving camera, or flicker, is no contact.
    """
    found = _changes(footage, rotos)
    if not len(found.frames):
        return None
    changes = found.close - found.far
    middle = float(np.median(changes))
    usual = float(np.median(np.abs(changes - middle)))
    striking = found.frames[changes > middle + max(_STRIKING * usual, _LEAST)]
    return int(striking[0]) if len(striking) else None


def lasting_contact(footage: Footage, rotos: Sequence[Mask], camera: Camera) -> int | None:
    """The first frame that shows the object touch something, where it does so time and again; None where it does not.

    No such frame is striking among the others. The motion of the camera is no change.
    """
    height, width = footage.small_size

    def as_next_sees(index: int) -> FloatImage:
        matrix = camera.between(index, min(index + 1, len(rotos) - 1))
        return cv2.warpPerspective(
            footage.evenly_exposed(index),
            matrix,
            (width, height),
            flags=cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        )

    found = _changes(footage, rotos, as_next_sees)
    touching = found.frames[(found.close > _BESIDE * found.far) & (found.close > found.far + _LEAST)]
    return int(touching[0]) if len(touching) >= max(_OFTEN * len(found.frames), _FEWEST) else None


class _Changes(NamedTuple):
    """How much ``frames``, by index, change since the one before each: ``close`` to the object, and ``far`` from it."""

    frames: NDArray[np.intp]
    close: NDArray[np.float64]
    far: NDArray[np.float64]


def _changes(footage: Footage, rotos: Sequence[Mask], before: Callable[[int], FloatImage] | None = None) -> _Changes:
    """The changes of all frames that show the object, as the one before does, and something close to it and far away.

    That it comes or goes is no contact. Nothing is compared across a gap. ``before`` gives the frame before; as it is,
    if not given.
    """
    before = before or footage.evenly_exposed
    short = min(rotos[0].shape)
    inner, outer = (np.ones((2 * round(share * short) + 1,) * 2, np.uint8) for share in (_EDGE, _NEAR))
    frames, changes = [], []
    for index in chain.from_iterable(run[1:] for run in runs(footage.frames)):
        if not (rotos[index - 1].any() and rotos[index].any()):
            continue
        both = (rotos[index - 1] | rotos[index]).astype(np.uint8)
        edge, near = cv2.dilate(both, inner) > 0, cv2.dilate(both, outer) > 0
        close, far = near & ~edge, ~near
        if close.any() and far.any():
            change = mean(np.abs(footage.evenly_exposed(index) - before(index - 1)))
            frames.append(index)
            changes.append((change[close].mean(), change[far].mean()))
    return _Changes(np.array(frames, np.intp), *np.array(changes, np.float64).reshape(-1, 2).T)
