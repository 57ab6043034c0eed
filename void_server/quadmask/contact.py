"""When the object first touches something: the picture close around it changes far more than usual."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ..imaging.camera import Mask
from ..imaging.footage import Footage

# Shares of the short side: the edge around an object in which it moves itself, and what is close to it. A contact
# changes what is close so many times as much as usual, and by no less than that.
_EDGE, _NEAR = 0.02, 0.1
_STRIKING, _LEAST = 6.0, 0.004


def first_contact(footage: Footage, rotos: Sequence[Mask]) -> int | None:
    """The first frame in which the picture close around the object changes far more than usual; None if there is none.

    What it touches begins to move there, and what it moves, touches. The picture further away says what is usual, so
    that a moving camera, or flicker, is no contact.
    """
    short = min(footage.small_size)
    inner, outer = (np.ones((2 * round(share * short) + 1,) * 2, np.uint8) for share in (_EDGE, _NEAR))
    changes: list[float] = []
    before = footage.small_plate(0)
    for index in range(1, len(rotos)):
        now, both = footage.small_plate(index), (rotos[index - 1] | rotos[index]).astype(np.uint8)
        edge, near = cv2.dilate(both, inner) > 0, cv2.dilate(both, outer) > 0
        change = np.abs(now - before).mean(axis=-1)
        close, far = near & ~edge, ~near
        changes.append(float(change[close].mean() - change[far].mean()) if close.any() and far.any() else 0.0)
        before = now
    if not changes:
        return None
    middle = float(np.median(changes))
    usual = float(np.median(np.abs(np.array(changes) - middle)))
    striking = [index for index, change in enumerate(changes, 1) if change > middle + max(_STRIKING * usual, _LEAST)]
    return striking[0] if striking else None
