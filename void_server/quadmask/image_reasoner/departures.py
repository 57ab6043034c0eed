"""What departs from the background in each frame of a shot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ...imaging.channels import largest, least
from ...imaging.exr import FloatImage
from ...imaging.framefile import FrameFile
from ...imaging.masks import Mask, grown
from ...imaging.parallel import in_order, results
from ...imaging.trajectories import Trajectories
from . import shade
from .background import Background, around_frame, at_rest, look_at
from .causes import around, effects
from .departing import beyond_noise, departing
from .first_state import restore
from .steady import Steady

#: The edge of a shadow, in pixels, beyond where it departs from the background.
_SOFT = 4
#: Bits of what is kept of each pixel.
_DEPARTS, _DARKENED, _COMPARED = 1, 2, 4


class Departures:
    """For each frame what departs from the background, what of that is darkened, and where it can be compared.

    All are (height, width), as :class:`Steady` shows the frames, and are kept in ``file``. ``paths`` are those of a
    camera that moves, None where the scene rests. ``report`` takes the fraction done.
    """

    def __init__(self, shot: Steady, paths: Trajectories | None, file: Path, report: Callable[[float], None]) -> None:
        self._file = FrameFile(file, (*shot.size, 2), np.uint8)
        self._file.write(_compare(shot, paths, report))

    def at(self, index: int) -> Mask:
        """The departing pixels."""
        return self._file[index][..., 0] & _DEPARTS > 0

    def solid(self, index: int) -> Mask:
        """Those that are no shade."""
        solid = (self.at(index) & ~self.darkened(index)).astype(np.uint8)
        return cv2.morphologyEx(solid, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0

    def darkened(self, index: int) -> Mask:
        """Those that show the background in less light."""
        return self._file[index][..., 0] & _DARKENED > 0

    def compared(self, index: int) -> Mask:
        """Where the background is known and not hidden."""
        return self._file[index][..., 0] & _COMPARED > 0

    def certainty(self, index: int) -> FloatImage:
        """How sure each pixel departs: 0 for what noise may be, towards 1 the further it is beyond that."""
        return self._file[index][..., 1].astype(np.float32) / np.float32(255)


def _compare(shot: Steady, paths: Trajectories | None, report: Callable[[float], None]) -> Iterator[NDArray[np.uint8]]:
    if paths is None:
        still = at_rest(shot)
        if still.light:
            # the light is measured again, without the shadows that it was taken to make
            still = at_rest(shot, _unlit(shot, still))
        shade.lift(still)
        restore(still)
        still.looks.clear()

    def work(index: int) -> NDArray[np.uint8]:
        model = still if paths is None else around_frame(shot, paths, index)
        look = model.in_mean_light(look_at(shot, index))
        compared, times = look.visible & model.known, beyond_noise(look, model)
        departs = departing(times, compared)
        darkened = _darkened(look.rgb, model.plate, departs)
        marks = departs * np.uint8(_DEPARTS) | darkened * np.uint8(_DARKENED) | compared * np.uint8(_COMPARED)
        return np.dstack([marks, np.round(255 * (1 - 1 / np.maximum(times, 1))).astype(np.uint8)])

    for index, result in in_order(work, range(shot.count)):
        report((index + 1) / shot.count)
        yield result


def _unlit(shot: Steady, model: Background) -> Callable[[int], Mask]:
    """Where each frame shows the object, or departs from ``model`` in touch with it."""

    def work(index: int) -> Mask:
        hidden = shot.hidden[index]
        look = model.in_mean_light(look_at(shot, index))
        departs = departing(beyond_noise(look, model), look.visible & model.known)
        return hidden | grown(effects(departs, around(hidden)), _SOFT)

    masks = list(results(work, range(shot.count)))
    return masks.__getitem__


def _darkened(rgb: FloatImage, plate: FloatImage, wanted: Mask) -> Mask:
    """Which ``wanted`` pixels of a frame show the background in less light of nearly the same colour."""
    x, y, width, height = cv2.boundingRect(wanted.astype(np.uint8))
    part = np.s_[max(y - 1, 0) : y + height + 1, max(x - 1, 0) : x + width + 1]
    result = np.zeros_like(wanted)
    if width:
        here, there = (cv2.blur(image[part], (3, 3)) + np.float32(0.02) for image in (rgb, plate))
        share = here / there
        darkest, lightest = least(share), largest(share)
        result[part] = wanted[part] & (lightest < 0.98) & (lightest - darkest < 0.3 * (1.05 - darkest))
    return result
