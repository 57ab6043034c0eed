"""Which departures from the background the object causes."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ...imaging.masks import Mask, grown

#: So many pixels must two regions share to be the same one a frame later.
_SHARED = 12
#: Of a shadow, so much shows the background in less light of its colour; light from what throws it tints the rest.
_SHADED = 0.3
#: What departed in one place of the scene for so many frames without a cause has none.
STALE = 5
#: A region is taken to touch the object from this distance, in pixels.
_REACH = 3


def around(hidden: Mask) -> Mask:
    """The object's pixels and those from which a region is taken to touch it."""
    return grown(hidden, _REACH)


def effects(departing: Mask, causes: Mask, stale: Mask | None = None) -> Mask:
    """The regions of ``departing`` that something causes.

    A region is an effect where it shares pixels with ``causes``: the object's surroundings, or what was an effect a
    frame earlier. One that lies mostly in ``stale``, where the frames before departed without any cause, is none: it is
    an error of the background.
    """
    count, labels = cv2.connectedComponents(departing.astype(np.uint8), connectivity=8)
    area, caused = (np.bincount(labels[mask], minlength=count) for mask in (departing, causes))
    wanted = caused >= np.minimum(_SHARED, area)
    if stale is not None:
        wanted &= np.bincount(labels[stale], minlength=count) <= area / 2
    wanted[0] = False
    return wanted[labels]


def shadows(departing: Mask, darkened: Mask) -> Mask:
    """The regions of ``departing`` that may be shadows, by what of them is ``darkened``; specks left out."""
    count, labels = cv2.connectedComponents(departing.astype(np.uint8), connectivity=8)
    area, dark = (np.bincount(labels[mask], minlength=count) for mask in (departing, departing & darkened))
    wanted = (area >= _SHARED) & (dark > _SHADED * area)
    wanted[0] = False
    return wanted[labels]


def aged(age: NDArray[np.uint8], visible: Mask, uncaused: Mask) -> NDArray[np.uint8]:
    """For how many frames on end each pixel of the scene departed without a cause; hidden ones keep their count."""
    counted = np.where(uncaused, np.minimum(age, 254) + 1, 0)
    return np.where(visible, counted, age).astype(np.uint8)
