"""Corners of the background, and where they are in other frames (Lucas-Kanade, with a backward check)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from .alignment import BRIGHT, DARK, Grey
from .exr import FloatImage
from .masks import Mask

#: Fewer pixels tell nothing of the light; less of a change is none.
_TOO_FEW, _SAME = 24, 0.03


@dataclass(frozen=True)
class Anchor:
    """A frame that others are compared with: ``image``, and where the background is ``seen`` in it."""

    image: Grey
    seen: Mask

    @cached_property
    def corners(self) -> FloatImage:
        """Corners of the background, (n, 1, 2)."""
        corners = cv2.goodFeaturesToTrack(self.image, 1200, 0.003, 5, mask=np.where(self.seen, 255, 0).astype(np.uint8))
        return corners if corners is not None else np.zeros((0, 1, 2), np.float32)


def grey(rgb: FloatImage) -> Grey:
    """Display-referred RGB as 8-bit luma."""
    return np.clip(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) * 255 + 0.5, 0, 255).astype(np.uint8)


def follow(anchor: Anchor, image: Grey, excluded: Mask) -> tuple[FloatImage, FloatImage]:
    """Where the anchor's corners are in ``image``: pairs of (n, 2) positions, there and here."""
    if not len(anchor.corners):
        return anchor.corners.reshape(-1, 2), anchor.corners.reshape(-1, 2)
    image = as_bright(image, anchor.image, ~excluded)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 0.003)
    there, status, _ = cv2.calcOpticalFlowPyrLK(
        anchor.image, image, anchor.corners, None, winSize=(17, 17), maxLevel=4, criteria=criteria
    )
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(
        image, anchor.image, there, None, winSize=(17, 17), maxLevel=4, criteria=criteria
    )
    good = (status.ravel() > 0) & (found_back.ravel() > 0)
    good &= np.linalg.norm((back - anchor.corners).reshape(-1, 2), axis=1) < 0.4
    there = there.reshape(-1, 2)
    height, width = image.shape
    x, y = np.round(there).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    good &= inside
    good[inside] &= ~excluded[y[inside], x[inside]]
    return anchor.corners.reshape(-1, 2)[good], there[good]


def as_bright(image: Grey, other: Grey, seen: Mask) -> Grey:
    """``image`` as bright as the other: where the light fades, corners would slip."""
    compared = seen & (other > DARK) & (other < BRIGHT)
    if np.count_nonzero(compared) < _TOO_FEW:
        return image
    gain = float(np.median(other[compared] / np.maximum(image[compared], 1.0)))
    return image if abs(gain - 1) < _SAME else cv2.convertScaleAbs(image, alpha=gain)
