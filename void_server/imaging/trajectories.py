"""The trajectories of background points through a shot with a moving camera, even behind foreground objects.

The homographies of the camera carry one plane of the scene; what lies before or behind it deviates a little from
them between frames. That residual is measured between neighbouring frames (Kroeger et al., Fast Optical Flow using
Dense Inverse Search, 2016), where it is small and hardly ever ambiguous, continued smoothly into what is rewritten, and
chained: a distant frame is reached by many small steps, not by one leap that repetitive texture misleads. A camera that
only turns leaves no residual: what would be measured is noise, and the motion of things that move by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..api.files import replacing
from .alignment import Grey
from .camera import Camera
from .corners import grey
from .exr import FloatImage
from .fill import smooth_fill
from .footage import Footage
from .masks import Mask
from .parallax import turns
from .parallel import in_order
from .window import Window

# Around rewritten pixels, the flow's window includes the object.
_CONTAMINATED = 9
#: The flow of a pixel is found by the patch around it, so many pixels wide; it counts half where its standard error is
#: so many pixels: on flat or noisy ground it is arbitrary.
_PATCH, _UNSURE = 8, 0.25
#: The least variance of the difference of two frames, each off by a level of 255: what is fainter need not be of the
#: scene, but may stay where it is while the camera moves, as the steps of rounding and a lens's falloff do.
_LEAST_VARIANCE = 2.0
#: The variance of what is normally distributed, over the median of its squares.
_MEDIAN_TO_VARIANCE = 1.4826**2
#: A motion explains a patch worse where the mean square of what is left is larger by so many times the noise's.
_WORSE = 2.0


class Trajectories:
    """Where the background at a pixel of one frame lies in others, in analysis-size pixels.

    ``hidden`` says, frame by frame, where no background is seen. The motion is kept in ``file``, where it may have been
    ``measured`` already.
    """

    def __init__(
        self, footage: Footage, hidden: Sequence[Mask], camera: Camera, file: Path, *, measured: bool = False
    ) -> None:
        self._footage, self.hidden, self.camera, self._file = footage, hidden, camera, file
        self._height, self._width = footage.small_size
        if not (camera.at_rest or measured):
            self._measure()
        self._step = lru_cache(maxsize=64)(self._read)

    def _measure(self) -> None:
        nothing = np.zeros((self._height, self._width, 2), np.float16)
        turned = turns(self._footage, self.hidden, self.camera)

        def residuals(pair: tuple[int, int]) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
            return (nothing, nothing) if turned else (self._residual(*pair), self._residual(*pair[::-1]))

        pairs = [(i, i + 1) for i in range(len(self.hidden) - 1)]
        with replacing(self._file) as temporary, open(temporary, "wb") as file:
            for _, (forth, back) in in_order(residuals, pairs):
                file.write(forth.tobytes())
                file.write(back.tobytes())

    def _residual(self, source: int, target: int) -> NDArray[np.float16]:
        """The motion from frame ``source`` to its neighbour ``target`` that the homography leaves."""
        size = (self._width, self._height)
        here = grey(self._footage.evenly_exposed(source))
        back = self.camera.between(target, source)
        there = cv2.warpPerspective(grey(self._footage.evenly_exposed(target)), back, size, flags=cv2.INTER_CUBIC)
        hidden = self.hidden[target].astype(np.uint8)
        # beyond the other frame's border nothing is known either
        hidden = cv2.warpPerspective(hidden, back, size, flags=cv2.INTER_NEAREST, borderValue=1).astype(bool)
        hidden |= self.hidden[source]
        there[hidden] = here[hidden]
        flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(here, there, None)
        kernel = np.ones((2 * _CONTAMINATED + 1,) * 2, np.uint8)
        known = cv2.dilate(hidden.astype(np.uint8), kernel) == 0
        return _plausible(here, there, flow, known).astype(np.float16)

    def _read(self, source: int, target: int) -> FloatImage:
        if self.camera.at_rest:
            return np.zeros((self._height, self._width, 2), np.float32)
        count = self._height * self._width * 2
        number = 2 * min(source, target) + (target < source)
        raw = np.fromfile(self._file, np.float16, count, offset=number * count * 2)
        return raw.reshape(self._height, self._width, 2).astype(np.float32)

    def walk(self, index: int, window: Window, direction: int) -> Iterator[tuple[int, FloatImage, Mask]]:
        """Follow what lies behind ``window`` of frame ``index`` through the frames after it (1) or before it (-1).

        Yields, nearest first, (frame index, positions, seen): positions as (height, width, 2) x and y, and whether the
        background is seen there, inside the frame and not rewritten.
        """
        columns, rows = np.meshgrid(
            np.arange(window.x, window.right, dtype=np.float32), np.arange(window.y, window.bottom, dtype=np.float32)
        )
        here = np.stack([columns, rows], axis=-1)
        while 0 <= index + direction < len(self.hidden):
            here = self.step(index, index + direction, here)
            index += direction
            yield index, here, self.seen(index, here)

    def step(self, source: int, target: int, positions: FloatImage) -> FloatImage:
        """Where ``positions``, (height, width, 2), of frame ``source`` lie in its neighbour ``target``."""
        residual = self._step(source, target)
        moved = positions + cv2.remap(residual, positions, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return cv2.perspectiveTransform(moved, self.camera.between(source, target))

    def seen(self, index: int, positions: FloatImage) -> Mask:
        """Whether the background is seen at ``positions`` of frame ``index``."""
        visible = (~self.hidden[index]).astype(np.uint8)
        return cv2.remap(visible, positions, None, cv2.INTER_NEAREST, borderValue=0).astype(bool)


def _plausible(here: Grey, there: Grey, flow: FloatImage, known: Mask) -> FloatImage:
    """The ``flow`` from ``here`` to ``there``, (height, width, 2), where ``known`` and sure, and its continuation.

    On ground that tells little, the surroundings' motion counts, unless it explains the frames worse than the ground's
    own: a plain column shows by its outline alone that it lies before the wall.
    """
    off = _squared_difference(here, there, flow)
    noise = max(_MEDIAN_TO_VARIANCE * float(np.median(off[known])), _LEAST_VARIANCE) if known.any() else _LEAST_VARIANCE
    certainty = known * _certainty(here, noise)
    continued = smooth_fill(flow, certainty)
    worse = _over_patch(_squared_difference(here, there, continued) - off) > _WORSE * noise
    # behind what is hidden, the surroundings tell: a column beside it does not go on there
    return np.where(known[..., None], smooth_fill(flow, np.where(worse, known, certainty)), continued)


def _squared_difference(here: Grey, there: Grey, flow: FloatImage) -> FloatImage:
    """Of each pixel of ``here`` to where the flow takes it: (height, width)."""
    height, width = here.shape
    at = flow + np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
    moved = cv2.remap(there.astype(np.float32), at, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.square(here - moved)


def _over_patch(image: FloatImage) -> FloatImage:
    """The mean of the patch around each pixel."""
    return np.asarray(cv2.blur(image, (_PATCH, _PATCH)), np.float32)


def _certainty(here: Grey, noise: float) -> FloatImage:
    """How far the flow from a frame can be trusted, 0..1: (height, width).

    By its variance as least squares have it (Shi and Tomasi, Good Features to Track, 1994): the ``noise``, the variance
    of two frames' difference, over the lesser eigenvalue of the patch's gradients, without what it adds to those.
    """
    x, y = (cv2.Sobel(here, cv2.CV_32F, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))
    # a frame has half of the noise; the squared weights of Sobel's operator add up to 12 / 64
    xx, xy, yy = (_over_patch(product) for product in (x * x, x * y, y * y))
    least = (xx + yy) / 2 - np.hypot((xx - yy) / 2, xy) - noise / 2 * 12 / 64
    information = _PATCH**2 * np.maximum(least, 0) / noise
    return np.asarray(information / (information + 1 / _UNSURE**2), np.float32)
