"""The camera's motion over a shot, as homographies that follow the background.

Corners of the background are tracked from frame to frame (Lucas-Kanade with a backward check), a homography is fitted
to them robustly (MAGSAC), and the homographies are chained. A pair of frames between which nothing moves gets the
identity, so that a locked-off shot is never resampled.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from .exr import FloatImage

Homography = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Motion below this many pixels of the analysed size counts as a camera at rest.
_AT_REST = 0.06


def _tracks(before: NDArray[np.uint8], after: NDArray[np.uint8], excluded: Mask) -> tuple[FloatImage, FloatImage]:
    """Corners of ``before`` outside ``excluded`` and where they are in ``after``, each (n, 2)."""
    free = np.where(excluded, 0, 255).astype(np.uint8)
    corners = cv2.goodFeaturesToTrack(before, 1200, 0.003, 5, mask=free)
    if corners is None:
        return np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 0.003)
    options = {"winSize": (17, 17), "maxLevel": 4, "criteria": criteria}
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, after, corners, None, **options)
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(after, before, there, None, **options)
    distance = np.linalg.norm((back - corners).reshape(-1, 2), axis=1)
    good = (found.ravel() > 0) & (found_back.ravel() > 0) & (distance < 0.4)
    return corners.reshape(-1, 2)[good], there.reshape(-1, 2)[good]


def _fit(source: FloatImage, target: FloatImage) -> Homography:
    """The homography that takes ``source`` points to ``target`` points; simpler motion where there are too few."""
    if len(source) < 4:
        return np.eye(3)
    if np.median(np.linalg.norm(target - source, axis=1)) < _AT_REST:
        return np.eye(3)
    if len(source) >= 16:
        matrix, inliers = cv2.findHomography(source, target, cv2.USAC_MAGSAC, 0.8, maxIters=5000, confidence=0.999)
        if matrix is not None and inliers.sum() >= 12:
            return np.asarray(matrix, np.float64)
    matrix = np.eye(3)
    matrix[:2, 2] = np.median(target - source, axis=0)
    return matrix


class Camera:
    """Homographies between any two frames of a shot, in pixels of the size that was analysed.

    ``steps`` holds, for each frame but the first, the homography from the frame before to it.
    """

    def __init__(self, steps: Iterable[Homography]) -> None:
        self._from_first = [np.eye(3)]
        for step in steps:
            self._from_first.append(step @ self._from_first[-1])

    @classmethod
    def track(cls, frames: Iterable[tuple[FloatImage, Mask]]) -> Camera:
        """Follow the background through ``frames``, pairs of display-referred RGB and what to leave out of account."""
        steps = []
        previous: tuple[NDArray[np.uint8], Mask] | None = None
        for rgb, excluded in frames:
            grey = np.clip(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) * 255, 0, 255).astype(np.uint8)
            if previous is not None:
                steps.append(_fit(*_tracks(previous[0], grey, previous[1] | excluded)))
            previous = grey, excluded
        return cls(steps)

    @property
    def at_rest(self) -> bool:
        """Whether the camera does not move at all."""
        return all(np.array_equal(m, np.eye(3)) for m in self._from_first)

    def between(self, source: int, target: int, scale: float = 1.0) -> Homography:
        """The homography from frame index ``source`` to frame index ``target``.

        ``scale`` is the size of the pixels' image relative to the analysed one.
        """
        if source == target:
            return np.eye(3)
        matrix = self._from_first[target] @ np.linalg.inv(self._from_first[source])
        # pixel centres lie at half coordinates, so a change of scale moves them
        sizing = np.array([[scale, 0, scale / 2 - 0.5], [0, scale, scale / 2 - 0.5], [0, 0, 1]])
        matrix = sizing @ matrix @ np.linalg.inv(sizing)
        return np.asarray(matrix / matrix[2, 2])
