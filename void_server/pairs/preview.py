"""Pictures of a pair to look at: plate, roto, truth and difference of some frames beneath each other."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..imaging import exr, jpeg
from ..imaging.colour import Curve
from ..imaging.exr import FloatImage
from ..imaging.sequence import spread
from .layout import CHANGE, PLATE, QUADMASK, ROTO, TRUTH, PairFolder

Picture = NDArray[np.uint8]

_COLUMNS, _WIDTH = 4, 320
_STRONGER = 2.5
# highlights stay apart up to here
_DISPLAY = Curve(16.0)
_MAGENTA = (255, 0, 255)


def picture(pair: PairFolder, frames: int, first: int) -> bytes:
    """A JPEG with some frames of the pair."""
    columns = [_column(pair, first + index, first) for index in spread(frames, _COLUMNS)]
    return encoded(np.hstack(columns))


def encoded(image: Picture) -> bytes:
    """An RGB picture as JPEG."""
    return jpeg.encoded(image, 88)


def _column(pair: PairFolder, frame: int, first: int) -> Picture:
    truth_file = pair.frame(TRUTH, frame)
    plate = exr.read_rgb(pair.frame(PLATE, frame))
    truth = exr.read_rgb(truth_file if truth_file.is_file() else pair.frame(TRUTH, first))
    height, width = plate.shape[:2]
    window = exr.windows(pair.frame(PLATE, frame))[1]
    roto, codes = (exr.read_matte(pair.frame(name, frame), window) for name in (ROTO, QUADMASK))
    difference = np.abs(_DISPLAY.to_display(plate) - _DISPLAY.to_display(truth)) * _STRONGER
    size = (_WIDTH, round(_WIDTH * height / width))
    rows = [
        shown(plate, size),
        shown(truth, size),
        _small(difference, size),
        _small(np.dstack([roto, codes, codes]), size),
    ]
    change = cv2.resize(exr.read_matte(pair.frame(CHANGE, frame), window), size, interpolation=cv2.INTER_NEAREST)
    outlines, _ = cv2.findContours((change > 0.5).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    marked: Any = rows[2]
    cv2.drawContours(marked, outlines, -1, _MAGENTA, 1)
    cv2.putText(
        rows[0], f"{pair.name} {frame}", (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (255, 255, 255), 1, cv2.LINE_AA
    )
    return np.vstack(rows)


def shown(linear: FloatImage, size: tuple[int, int]) -> Picture:
    """A picture of a scene-linear image, highlights and all, at this width and height."""
    return _small(_DISPLAY.to_display(linear), size)


def _small(image: NDArray[Any], size: tuple[int, int]) -> Picture:
    picture = np.clip(np.rint(255 * image), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
