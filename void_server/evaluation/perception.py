"""Errors as a viewer sees them: FLIP, and HDR-FLIP over the exposures that a picture may be graded to.

Both come from flip-evaluator, NVIDIA's own implementation, and are left out where it is not installed.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import cv2
import numpy as np

from .. import plugins
from ..imaging.exr import FloatImage
from ..imaging.masks import Mask
from ..imaging.sequence import spread
from ..imaging.window import Window

#: How far, in pixels, what is around a pixel counts in any of the measures.
REACH = 24
#: FLIP's own filters, at its 67 pixels a degree, reach so far; it is looked at in tiles of so many pixels.
_FILTERS, _TILE = 10, 128
#: Of so many pixels of a frame FLIP is taken, of those that are evenly spread where there are more.
MOST = 2**20
#: How the threads of OpenMP wait.
_WAITING = "OMP_WAIT_POLICY"
#: What is not brighter is black to FLIP, whose least luminance is 1.2e-7.
_BLACK = 1e-6
#: Luminance of linear Rec.709.
_LUMINANCE = np.array([0.2126729, 0.7151522, 0.0721750], np.float32)
#: FLIP's names of what it derives from a truth.
_EXPOSURES = ("startExposure", "stopExposure", "numExposures")


def available() -> bool:
    """Whether flip-evaluator is installed."""
    return plugins.installed("flip_evaluator")


def flip(image: FloatImage, true: FloatImage, where: Mask) -> FloatImage:
    """FLIP's error (0..1) of display-referred sRGB, 0..1, at the pixels of ``where`` (Andersson et al., 2020)."""
    return _tiled(image, true, where, lambda one, other: _evaluated(one, other, "LDR", inputsRGB=True)[0])


def hdr_flip(image: FloatImage, true: FloatImage, where: Mask) -> FloatImage:
    """HDR-FLIP's error (0..1) of scene-linear Rec.709 at the pixels of ``where`` (Andersson et al., 2021).

    The greatest over the exposures that it derives from all of ``true``; where that is black, at exposure 0.
    """
    image, true = np.maximum(image, 0), np.maximum(true, 0)
    options = {"inputsRGB": False, "parameters": _exposures(true)}
    return _tiled(image, true, where, lambda one, other: _evaluated(one, other, "HDR", **options)[0])


def _exposures(true: FloatImage) -> dict[str, float]:
    """The exposures that FLIP derives from a picture, which are made of its largest and its median luminance alone."""
    luminance = true @ _LUMINANCE
    # it derives none from black, and ends the process
    if luminance.max(initial=0) <= _BLACK:
        return dict(zip(_EXPOSURES, (0.0, 0.0, 2), strict=True))
    alike = np.full((8, 8, 3), np.median(luminance), np.float32)
    alike[0, 0] = luminance.max()
    found = _evaluated(alike, alike, "HDR", inputsRGB=False)[1]
    return {name: found[name] for name in _EXPOSURES}


def _tiled(
    image: FloatImage, true: FloatImage, where: Mask, error: Callable[[FloatImage, FloatImage], FloatImage]
) -> FloatImage:
    """The error at the pixels of ``where``, NaN at others, which FLIP would take seconds a million for.

    Where there are too many, of tiles that are evenly spread among all.
    """
    frame = Window(0, 0, where.shape[1], where.shape[0])
    tiles = list(_tiles(where))
    pixels = sum(tile.width * tile.height for tile in tiles)
    found = np.full(where.shape, np.nan, np.float32)
    for index in spread(len(tiles), max(1, len(tiles) * MOST // max(pixels, MOST))):
        outer = tiles[index].grown(_FILTERS).intersection(frame)
        part = frame.slices(outer)
        found[frame.slices(tiles[index])] = error(image[part], true[part])[outer.slices(tiles[index])]
    return found


def _tiles(where: Mask) -> Iterator[Window]:
    """Parts of a frame, not larger than a tile, that hold all pixels of ``where``."""
    for top in range(0, where.shape[0], _TILE):
        for left in range(0, where.shape[1], _TILE):
            x, y, width, height = cv2.boundingRect(where[top : top + _TILE, left : left + _TILE].astype(np.uint8))
            if width:
                yield Window(left + x, top + y, width, height)


def _evaluated(image: FloatImage, true: FloatImage, kind: str, **options: Any) -> tuple[FloatImage, dict[str, Any]]:
    # copies: it takes no arrays that may not be written to
    pictures = (np.array(picture, np.float32, order="C") for picture in (true, image))
    found = _evaluator().evaluate(*pictures, kind, applyMagma=False, computeMeanError=False, **options)
    return np.asarray(found[0][..., 0], np.float32), found[2]


@cache
def _evaluator() -> Any:
    """flip-evaluator, with threads that sleep while they wait.

    They would spin otherwise: of a tile, on a machine that is busy, that is most of the time.
    """
    wanted = os.environ.get(_WAITING)
    os.environ[_WAITING] = "passive"
    try:
        return importlib.import_module("flip_evaluator")
    finally:
        # it is read once, as the library is loaded
        if wanted is None:
            del os.environ[_WAITING]
        else:
            os.environ[_WAITING] = wanted
