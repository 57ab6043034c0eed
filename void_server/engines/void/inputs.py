"""The clip as the model sees it: plates and quadmasks at its size, made once per job on any machine; needs no torch."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ...imaging.exr import FloatImage
from ...imaging.framefile import FrameFile
from ...imaging.parallel import in_order, results
from ...quadmask.classes import Quadmask, nearest, unaffected
from ..clip import Clip
from .detail import enlarged
from .fit import Fit


class Inputs:
    """Plates (height, width, 3) and quadmasks (height, width) of one clip, in ``clip.kept``."""

    def __init__(self, clip: Clip, fit: Fit) -> None:
        self._clip, self._fit = clip, fit
        #: Display-referred, 0..1.
        self.plates = FrameFile(clip.kept / "void_plates.raw", (*fit.size, 3), np.float32)
        self._codes = FrameFile(clip.kept / "void_codes.raw", fit.size, np.uint8)

    def write(self, report: Callable[[float], None]) -> None:
        """Make those that are missing."""
        count = len(self._clip)
        if not self._codes.whole:
            self._codes.write(results(self._small_codes, range(count)))
        if not self.plates.whole:
            with self.plates.writing() as append:
                for index, plate in in_order(self._small_plate, range(count)):
                    append(plate)
                    report((index + 1) / count)

    def codes(self, index: int, *, first: bool) -> Quadmask:
        """The quadmask of a frame; ``first`` of those that the model sees together.

        The model was trained without affected pixels on the first frame; a quadmask that was given stays as it is.
        """
        codes: Quadmask = self._codes[index]
        return unaffected(codes) if first and not self._clip.quadmask_given else codes

    def _small_plate(self, index: int) -> FloatImage:
        height, width = self._fit.size
        small = enlarged(self._clip.plate(index, self._fit.crop), width, height)
        return np.clip(small, 0, 1).astype(np.float32)

    def _small_codes(self, index: int) -> Quadmask:
        return small_codes(self._clip.codes(index, self._fit.crop), self._fit.size)


def small_codes(codes: Quadmask, size: tuple[int, int]) -> Quadmask:
    """A quadmask at the model's size, as the published loader makes it: the mean of each area, to the nearest class."""
    height, width = size
    mean = cv2.resize(codes.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return nearest(mean)
