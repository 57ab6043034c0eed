"""Register a rigid thing in one frame to its place in another: moved, turned and scaled.

Directly on the pixels, by Gauss-Newton steps from coarse to fine (Lucas and Kanade, 1981; Baker and Matthews, 2004),
with weights that leave out what does not fit (Black and Anandan, 1996), such as what stands before the thing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ...imaging.channels import largest
from ...imaging.exr import FloatImage
from ...imaging.masks import Mask

#: Takes positions (x, y, 1) of one frame to another: (2, 3).
Pose = NDArray[np.float64]

#: Blurs from coarse to fine, in pixels, and the steps at each.
_SCALES, _STEPS = (4.0, 2.0, 0.8), 10
#: Display-referred: a pixel that is farther off than this does not fit.
_FITS = 0.08
_MOST = 1500


class Registered(NamedTuple):
    """Where a thing is, how far its pixels are off there (the mean, display-referred), and how much of it is seen."""

    pose: Pose
    error: float
    seen: float


def register(thing: FloatImage, weight: FloatImage, image: FloatImage, visible: Mask, start: Pose) -> Registered:
    """Find a thing, the pixels of a frame (height, width, 3) that have ``weight``, in ``image``, near ``start``."""
    rows, columns = np.nonzero(weight > 0.05)
    step = max(1, len(rows) // _MOST)
    rows, columns = rows[::step], columns[::step]
    here = np.stack([columns, rows], axis=-1).astype(np.float64)
    weights = weight[rows, columns].astype(np.float64)
    middle, size = here.mean(axis=0), max(float(np.ptp(here, axis=0).max()) / 2, 4.0)
    around = (here - middle) / size
    # moved by (x, y), scaled and turned, all in pixels at the thing's edge
    there = start @ np.append(middle, 1)
    # no farther around than it can move
    margin = 4 * _SCALES[0] + 0.5 * size
    thing, corner = _cut(thing, here.min(axis=0) - margin, here.max(axis=0) + margin)
    rows, columns = rows - corner[1], columns - corner[0]
    reach = (size * np.hypot(*start[:, 0])) * 1.5 + margin
    image, origin = _cut(image, there - reach, there + reach)
    visible, _ = _cut(visible, there - reach, there + reach)
    there = there - origin
    motion = np.array([there[0], there[1], start[0, 0] * size, start[1, 0] * size])
    seen = error = 0.0
    for blur in _SCALES:
        ours = cv2.GaussianBlur(thing, (0, 0), blur)[rows, columns]
        theirs = cv2.GaussianBlur(image, (0, 0), blur)
        slopes = [cv2.Sobel(theirs, cv2.CV_32F, dx, 1 - dx, ksize=3, scale=1 / 8) for dx in (1, 0)]
        reach = 2 * round(blur) + 1
        free = cv2.erode(visible.astype(np.uint8), np.ones((reach, reach), np.uint8), borderValue=0).astype(np.float32)
        for _ in range(_STEPS):
            x = motion[0] + around[:, 0] * motion[2] - around[:, 1] * motion[3]
            y = motion[1] + around[:, 0] * motion[3] + around[:, 1] * motion[2]
            at = np.stack([x, y], axis=-1).astype(np.float32)[None]
            off = (cv2.remap(theirs, at, None, cv2.INTER_LINEAR)[0] - ours).astype(np.float64)
            shown = weights * cv2.remap(free, at, None, cv2.INTER_LINEAR, borderValue=0)[0]
            far = largest(np.abs(off))
            counted = shown / (1 + (far / _FITS) ** 2) ** 2
            seen, total = float(shown.sum() / weights.sum()), float(shown.sum())
            error = float((shown * far).sum() / total) if total > 0 else 1.0
            if counted.sum() < 20:
                break
            dx, dy = (cv2.remap(slope, at, None, cv2.INTER_LINEAR)[0].astype(np.float64) for slope in slopes)
            along, across = around[:, :1], around[:, 1:]
            jacobian = np.stack([dx, dy, dx * along + dy * across, dy * along - dx * across], axis=-1)
            normal = np.einsum("p,pci,pcj->ij", counted, jacobian, jacobian)
            normal += np.diag(np.full(4, 1e-4 * np.trace(normal) + 1e-9))
            change = -np.linalg.solve(normal, np.einsum("p,pci,pc->i", counted, jacobian, off))
            longest = float(np.abs(change).max())
            motion = motion + change * min(1.0, 2 * blur / max(longest, 1e-9))
            if longest < 0.01:
                break
    scale, turn = motion[2] / size, motion[3] / size
    linear = np.array([[scale, -turn], [turn, scale]])
    return Registered(np.column_stack([linear, motion[:2] + origin - linear @ middle]), error, seen)


def _cut(
    image: NDArray[Any], low: NDArray[np.float64], high: NDArray[np.float64]
) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """The part of a picture between two corners (x, y), and where it begins."""
    size = np.array(image.shape[1::-1])
    first = np.clip(np.floor(low), 0, size - 2).astype(np.intp)
    last = np.clip(np.ceil(high), first + 2, size).astype(np.intp)
    return image[first[1] : last[1], first[0] : last[0]], first
