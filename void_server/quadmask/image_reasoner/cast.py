"""The shadow that a standing object casts on the ground, by what one frame shows of it.

It has the object's outline, laid down from its feet: every height of it is moved sideways and up or down the picture by
so much for each pixel that it stands above the ground. Of all such ways the one is taken along which the ground is
darker inside the outline than on both sides of it, if it is so all the way, in the light's colour, and far more than
along any other way: texture and things beside the object make it darker here and there. A shadow that would lie so flat
that it is a few rows of pixels is not told from a dark thing at the feet, and not taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ...imaging.camera import Mask
from ...imaging.exr import FloatImage

#: The object is so many pixels high at most where its shadow is looked for, and told apart at so many heights.
_HEIGHT, _HEIGHTS = 48, 8
#: Ways that are tried: by so much sideways, and up the picture (down: negative), for each pixel of height.
_SIDEWAYS = np.arange(-24, 25) / 10
_UPWARDS = np.concatenate([np.arange(-14, 0), np.arange(1, 18)]) / 20
#: Ways as near as this, in steps of both, show the same shadow.
_NEAR = 5
#: At so many heights at least it is compared, and at this share of them it is as dark as is said.
_FEWEST, _MOST = 4, 0.7
#: Laid flatter than this, an outline is a few rows of pixels, and so is any dark thing at the feet; and where so few of
#: the ways are seen, none stands out.
_FLATTEST, _SEEN = 0.15, 0.25
#: Laid up the picture more steeply than this, it lies on what stands behind the object, and what is dark there is
#: seldom its shadow.
_STEEPEST = 0.45
#: A shadow is darker by this logarithm at least, and by so many times what any other way shows.
_DARKER, _STANDS_OUT = 0.25, 1.75
#: Less light leaves channels apart by this share of what is missing at most, and by so much more for what is uneven.
_COLOURED, _SPARE = 0.3, 0.15
#: Darker than this share of the picture's median, noise is larger than the light.
_DARKEST = 0.02
#: The soft edge of a shadow beyond its outline, as a share of the object's height.
_SOFT = 0.05


class Cast(NamedTuple):
    """How a shadow falls: sideways and up the picture for each pixel of height, and how sure that is, 0 to 1."""

    sideways: float
    upwards: float
    certainty: float

    def over(self, roto: Mask) -> Mask:
        """Where the shadow of the object lies, its soft edge with it, without the object."""
        if not roto.any():
            return np.zeros_like(roto)
        rows = np.flatnonzero(roto.any(axis=1))
        ground = float(rows[-1])
        matrix = np.array(
            [[1, -self.sideways, self.sideways * ground], [0, self.upwards, ground * (1 - self.upwards)]], np.float64
        )
        laid = cv2.warpAffine(roto.astype(np.float32), matrix, roto.shape[::-1]) > 0.3
        edge = 2 * max(1, round(_SOFT * len(rows))) + 1
        around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (edge, edge))
        return (cv2.dilate(laid.astype(np.uint8), around) > 0) & ~roto


def find(pictures: Sequence[FloatImage], rotos: Sequence[Mask]) -> Cast | None:
    """How the shadow falls in all these frames, linear, (height, width, 3); None where that is not sure."""
    outlines = [_Outline(picture, roto) for picture, roto in zip(pictures, rotos, strict=True) if roto.any()]
    if not outlines:
        return None
    # what is not compared in one frame is in none
    depths = np.mean([list(outline.depths()) for outline in outlines], axis=0).reshape(len(_SIDEWAYS), -1)
    if np.mean(np.isfinite(depths)) < _SEEN:
        return None
    across, up = np.unravel_index(int(np.nanargmax(depths)), depths.shape)
    deepest = float(depths[across, up])
    others = depths.copy()
    others[max(0, across - _NEAR) : across + _NEAR + 1, max(0, up - _NEAR) : up + _NEAR + 1] = np.nan
    next_best = 0.0 if np.isnan(others).all() else max(float(np.nanmax(others)), 0.0)
    way = float(_SIDEWAYS[across]), float(_UPWARDS[up])
    light = np.exp(-np.mean([outline.darker(*way) for outline in outlines], axis=0))
    coloured = light.max() - light.min() > _COLOURED * (1 - light.min()) + _SPARE
    flat, steep = abs(way[1]) < _FLATTEST, way[1] > _STEEPEST
    if deepest < _DARKER or deepest < _STANDS_OUT * next_best or coloured or flat or steep:
        return None
    return Cast(*way, 1 - next_best / deepest)


class _Outline:
    """A frame around an object at the size at which its shadow is looked for, and what of it is compared."""

    def __init__(self, picture: FloatImage, roto: Mask) -> None:
        scale = min(1.0, _HEIGHT / int(roto.any(axis=1).sum()))
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        size = small.shape[1], small.shape[0]
        covered = cv2.resize(roto.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        # what is thinner than a pixel covers none as much
        own = covered > min(0.3, float(covered.max()) / 2)
        level = _DARKEST * np.float32(max(float(np.median(small)), 1e-6))
        self._light = np.log(np.maximum(small, 0) + level)
        free = cv2.dilate(own.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0
        self._grey = np.dstack([self._light.mean(axis=-1), free.astype(np.float32)])
        x, y, width, height = cv2.boundingRect(own.astype(np.uint8))
        beside = max(width, 12)
        outline = np.zeros((height, width + 2 * beside), np.uint8)
        outline[:, beside : beside + width] = own[y : y + height, x : x + width]
        columns, rows = np.meshgrid(np.arange(outline.shape[1]), np.arange(height))
        self._x, self._ground, self._above = columns + x - beside, y + height - 1, height - 1 - rows
        self._bins = np.minimum(self._above * _HEIGHTS // height, _HEIGHTS - 1)
        ring = (cv2.dilate(outline, np.ones((1, 21), np.uint8)) > cv2.dilate(outline, np.ones((1, 7), np.uint8))) > 0
        middle = (outline * columns).sum(axis=1) / np.maximum(outline.sum(axis=1), 1)
        to_left = columns < middle[:, None]
        inside = cv2.erode(outline, np.ones((1, 3), np.uint8)) > 0
        self._parts = inside, ring & to_left, ring & ~to_left

    def _laid(self, image: FloatImage, sideways: float, upwards: float) -> FloatImage:
        """``image`` where the outline lies, 0 beyond it."""
        x = (self._x + sideways * self._above).astype(np.float32)
        y = (self._ground - upwards * self._above).astype(np.float32)
        return cv2.remap(image, x, y, cv2.INTER_LINEAR)

    def depths(self) -> Iterator[float]:
        """How much darker it is inside than on either side, as a logarithm, for every way; nan where that is hidden."""
        for sideways in _SIDEWAYS:
            for upwards in _UPWARDS:
                grey, free = np.moveaxis(self._laid(self._grey, sideways, upwards), -1, 0)
                means, counts = self._means(grey, free > 0.99)
                seen = (counts > (5, 3, 3)).all(axis=1)
                if np.count_nonzero(seen) < _FEWEST:
                    yield np.nan
                    continue
                darker = np.minimum(means[:, 1], means[:, 2]) - means[:, 0]
                yield float(np.quantile(darker[seen], 1 - _MOST))

    def _means(self, values: FloatImage, seen: Mask) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The means of values inside, left and right at each height, (heights, 3), and of how many pixels."""
        wanted = [part & seen for part in self._parts]
        counts = np.stack([np.bincount(self._bins[mask], minlength=_HEIGHTS) for mask in wanted], axis=-1)
        sums = [np.bincount(self._bins[mask], values[mask], minlength=_HEIGHTS) for mask in wanted]
        return np.stack(sums, axis=-1) / np.maximum(counts, 1), counts

    def darker(self, sideways: float, upwards: float) -> NDArray[np.float64]:
        """How much darker each channel is inside, as a logarithm."""
        light = self._laid(self._light, sideways, upwards)
        seen = self._laid(self._grey, sideways, upwards)[..., 1] > 0.99
        inside, left, right = (part & seen for part in self._parts)
        return np.asarray(light[left | right].mean(axis=0) - light[inside].mean(axis=0))
