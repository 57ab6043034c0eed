"""A shot as if its camera stood still: what moves then moves by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...imaging.alignment import Homography, corners_at
from ...imaging.camera import Camera
from ...imaging.colour import Curve
from ...imaging.exr import FloatImage
from ...imaging.footage import Footage
from ...imaging.masks import Mask, Masks
from ...imaging.parallax import slip, turns
from ...imaging.runs import runs
from ...imaging.sequence import spread

#: A picture that holds all frames is so many times as large as one of them at most: a camera held by hand, or one that
#: turns. Any other shows near things before ever other places, however well most of the scene lies on itself.
_LARGEST, _LARGEST_TURNED = 1.25, 2.0
#: So many frames at most are tried as the one that all others are moved to, and so many compared with it.
_CANDIDATES, _COMPARED = 24, 6
#: Where most of the background slips farther than this, in pixels, no one homography holds it still.
_MOST_SLIP = 0.6


class Steady:
    """The frames of a shot, each moved to where one of them sees the scene, in pixels of the analysed size.

    Frames of a camera at rest are never resampled. Those of a camera that leaves its place stay as they are;
    ``rests`` says whether the scene does rest in these pictures. ``size`` is their height and width; ``hidden`` says,
    frame by frame, where the object hides the scene; ``slip``, how far most of it still moves, in pixels.
    """

    def __init__(self, footage: Footage, hidden: Sequence[Mask], camera: Camera) -> None:
        self._footage = footage
        self._to_scene: list[Homography] | None = None
        self.size: tuple[int, int] = footage.small_size
        self.rests, self.slip = camera.at_rest, 0.0
        self.hidden: Sequence[Mask] = hidden
        if not self.rests:
            self._hold_still(camera)

    def _hold_still(self, camera: Camera) -> None:
        height, width = self.size
        count = len(self._footage.frames)

        def extent(anchor: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            places = [corners_at(camera.between(index, anchor), self.size) for index in range(count)]
            return np.min(places, axis=(0, 1, 2)), np.max(places, axis=(0, 1, 2))

        def area(low: NDArray[np.float64], high: NDArray[np.float64]) -> float:
            return float(np.prod(high - low))

        anchor = min(spread(count, _CANDIDATES), key=lambda index: area(*extent(index)))
        low, high = extent(anchor)
        share = area(low, high) / (width * height)
        if not (share <= _LARGEST or (share <= _LARGEST_TURNED and turns(self._footage, self.hidden, camera))):
            return
        left, top = (int(side) for side in np.floor(low))
        right, bottom = (int(side) for side in np.ceil(high))
        offset = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]], np.float64)
        as_they_are = self.hidden
        self.rests, self.size = True, (bottom - top, right - left)
        self._to_scene = [offset @ camera.between(index, anchor) for index in range(count)]
        self.hidden = Masks.of(self._moved(mask, index, cv2.INTER_NEAREST) for index, mask in enumerate(as_they_are))
        compared = [index for index in spread(count, _COMPARED) if index != anchor]
        slips = [slip(self.rgb(anchor), self.rgb(i), ~(self._well_seen(anchor) & self._well_seen(i))) for i in compared]
        self.slip = float(np.median(slips))
        if self.slip > _MOST_SLIP:
            self.rests, self.size, self._to_scene = False, (height, width), None
            self.hidden = as_they_are

    def _well_seen(self, index: int) -> Mask:
        """Where the scene is seen, and not just beside its edge."""
        return cv2.erode(self.seen(index).astype(np.uint8), np.ones((9, 9), np.uint8), borderValue=0) > 0

    @property
    def resampled(self) -> bool:
        """Whether the pictures are not the frames themselves."""
        return self._to_scene is not None

    @property
    def count(self) -> int:
        """The number of frames."""
        return len(self._footage.frames)

    @property
    def runs(self) -> list[range]:
        """The runs of its frames between gaps, by index."""
        return runs(self._footage.frames)

    @property
    def curve(self) -> Curve:
        """The curve of :meth:`rgb`."""
        return self._footage.even_curve

    def rgb(self, index: int) -> FloatImage:
        """The picture of frame ``index``, (height, width, 3), display-referred and evenly exposed."""
        return self._moved(self._footage.evenly_exposed(index), index, cv2.INTER_CUBIC)

    def linear(self, index: int) -> FloatImage:
        """The same picture, scene-linear."""
        if self.resampled:
            return self.curve.to_linear(self.rgb(index))
        return self._footage.small_linear(index, self._footage.exposure)

    def roto(self, index: int) -> Mask:
        """Where the object is."""
        return self._moved(self._footage.small_roto(index) >= 0.5, index, cv2.INTER_NEAREST)

    def inside(self, index: int) -> Mask:
        """Which pixels of the picture the frame holds."""
        return self._moved(np.ones(self._footage.small_size, bool), index, cv2.INTER_NEAREST)

    def seen(self, index: int) -> Mask:
        """Where the scene is seen."""
        return self.inside(index) & ~self.hidden[index]

    def in_frame(self, index: int, picture: NDArray[Any]) -> NDArray[Any]:
        """What lies in a picture of frame ``index``, in its own pixels; the nearest, so that codes stay codes."""
        if self._to_scene is None:
            return picture
        height, width = self._footage.small_size
        values = picture.astype(np.uint8) if picture.dtype == bool else picture
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        return cv2.warpPerspective(values, self._to_scene[index], (width, height), flags=flags).astype(picture.dtype)

    def _moved(self, frame: NDArray[Any], index: int, interpolation: int) -> NDArray[Any]:
        if self._to_scene is None:
            return frame
        values = frame.astype(np.uint8) if frame.dtype == bool else frame
        moved = cv2.warpPerspective(values, self._to_scene[index], self.size[::-1], flags=interpolation)
        return moved.astype(frame.dtype)
