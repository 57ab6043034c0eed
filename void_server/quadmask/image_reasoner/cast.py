"""The shadow that a standing object casts, by what a few frames show of it.

It begins at the object's feet and lies on the ground along one direction of the picture: a band that is darker, in the
light's colour, than the ground on both sides of it, section by section, and far more than any band along another
direction. Texture makes bands, too: so little of the ground beside it may be as dark. What of the ground belongs to the
shadow is told by its light against that of the surroundings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ...imaging.channels import largest, least, mean, typical
from ...imaging.exr import FloatImage
from ...imaging.fill import smooth_fill
from ...imaging.masks import Mask

Angles = NDArray[np.float64]
Table = NDArray[np.float64]

#: The object is so many pixels high at most where its shadow is looked for, and at least, to tell sections of a band
#: apart. Lengths are shares of its height.
_HEIGHT, _SMALLEST = 96, 24
#: Directions, in degrees above the picture's horizontal. Steeper up, a band lies on what stands behind the object.
_LOWEST, _STEEPEST, _STEP = -42, 27, 3
#: Half the widths of bands, and how far aside of the middle of the feet they may lie.
_HALVES, _ASIDE = (0.03, 0.05, 0.08, 0.12), (-0.06, -0.03, 0.0, 0.03, 0.06)
#: Of half a band's width, what is surely inside and where the sides begin; and how wide these are at least.
_INSIDE, _BESIDE, _SIDE = 0.8, 1.5, 0.06
#: A band is compared in sections this long, so many of them; a shadow fills so many at least and is judged by so many
#: at most; and at most so many are hidden before it comes into sight.
_SECTION, _SECTIONS, _FEWEST, _MOST, _HIDDEN = 0.1, 20, 4, 12, 4
#: A section counts where this share of it and of its sides is seen, as do bands where this share of the sections do.
_SEEN, _COMPARED = 0.5, 0.9
#: By so many deviations of its sections a band counts as less dark, and less still where it is shorter than so many.
_UNEVEN, _LONG = 0.7, 8
#: A shadow is darker by this logarithm at least, and by so many times what other directions, this far off, show.
_DARKER, _STANDS_OUT, _OTHER = 0.22, 1.75, np.deg2rad(20)
#: One side is lighter than the other by so many times what the darker is at most: else it is the edge of something.
_ONE_SIDED = 2.2
#: Of the ground to the left and right, this far, no more than so much is as dark as the band's median, and as its
#: darker four fifths.
_AROUND, _AS_DARK, _NEARLY_AS_DARK = 2.0, 0.12, 0.25
#: Less light leaves channels apart by this share of what is missing at most, and by so much more for what is uneven;
#: and seldom is what lights a shadow redder than what casts it, by more than this.
_COLOURED, _SPARE, _REDDER = 0.3, 0.15, 0.2
#: Darker than this share of the picture's median, noise is larger than the light.
_DARKEST = 0.02
#: The shadow lies within so many times the band's width, and so much, and ends at most so far beyond it.
_WITHIN, _MARGIN, _BEYOND = 2.0, 0.04, 0.8
#: What is darker than its surroundings by this share of the band's darkness, softly seen, is shadow; so is its edge.
_SHARE, _SOFT, _EDGE = 0.35, 0.01, 0.02


class Band(NamedTuple):
    """Where a shadow lies: its direction, radians anticlockwise from the right; the rest in the object's heights."""

    direction: float
    half: float
    aside: float
    start: float
    end: float


class Cast(NamedTuple):
    """The shadow of an object that stands: in each frame, its pixels; and how sure it is, 0 to 1."""

    masks: list[Mask]
    certainty: float


def find(pictures: Sequence[FloatImage], rotos: Sequence[Mask]) -> Cast | None:
    """The shadow in all these frames, linear, (height, width, 3), without the object; None where that is not sure.

    Every roto shows some of the object.
    """
    if min(int(roto.any(axis=1).sum()) for roto in rotos) < _SMALLEST:
        return None
    grounds = [_Ground(picture, roto) for picture, roto in zip(pictures, rotos, strict=True)]
    # what is not compared in one frame is in none
    contrasts = np.mean([ground.contrasts() for ground in grounds], axis=0)
    found = _darkest(contrasts)
    if found is None:
        return None
    band, certainty = found
    as_dark = np.mean([ground.as_dark(band) for ground in grounds], axis=0)
    if as_dark[0] > _AS_DARK or as_dark[1] > _NEARLY_AS_DARK:
        return None
    masks = [ground.shadow(band) for ground in grounds]
    return Cast(masks, certainty) if any(mask.any() for mask in masks) else None


def _directions() -> Angles:
    right = np.arange(_LOWEST, _STEEPEST + 1, _STEP)
    return np.deg2rad(np.concatenate([right, 180 - right]))


def _darkest(contrasts: FloatImage) -> tuple[Band, float] | None:
    """The band that is surely darker than its sides, and how sure; None where there is none.

    ``contrasts`` as :meth:`_Ground.contrasts` gives them.
    """
    darkness, lengths = _darkness(mean(contrasts).min(axis=-1))
    which = np.unravel_index(int(np.argmax(darkness)), darkness.shape)
    direction, half, aside = (int(index) for index in which)
    directions, deepest = _directions(), float(darkness[which])
    if deepest < _DARKER:
        return None
    apart = np.abs(np.angle(np.exp(1j * (directions - directions[direction]))))
    others = max(float(darkness[apart > _OTHER].max()), 0.0)
    first = int(np.isfinite(contrasts[which]).all(axis=(1, 2)).argmax())
    sections = contrasts[which][first : first + int(lengths[which])]
    sides = np.nanmean(sections, axis=(0, 2))
    if deepest < _STANDS_OUT * others or sides.max() > _ONE_SIDED * sides.min():
        return None
    light = np.exp(-np.nanmean(sections, axis=(0, 1)))
    if not _is_light(light) or light[0] > light[2] + _REDDER:
        return None
    start, end = first * _SECTION, (first + len(sections)) * _SECTION
    return Band(float(directions[direction]), _HALVES[half], _ASIDE[aside], start, end), 1 - others / deepest


def _darkness(sections: Table) -> tuple[Table, NDArray[np.intp]]:
    """How much darker than its sides each band is, along all of what is best of it, and how many sections that is.

    ``sections``, (..., sections), is nan where it is hidden; a band that is hidden has -inf.
    """
    seen = np.isfinite(sections)
    first = np.where(seen.any(axis=-1), seen.argmax(axis=-1), _SECTIONS)
    values = np.where(seen, sections, 0)
    sums = np.stack([np.cumsum(part, axis=-1) for part in (seen, values, values**2)], axis=-1)
    sums = np.concatenate([np.zeros_like(sums[..., :1, :]), sums], axis=-2)
    best, lengths = np.full(first.shape, -np.inf), np.zeros(first.shape, np.intp)
    for length in range(_FEWEST, _MOST + 1):
        end = first + length
        start, stop = (np.minimum(at, _SECTIONS)[..., None, None] for at in (first, end))
        within = np.take_along_axis(sums, stop, axis=-2) - np.take_along_axis(sums, start, axis=-2)
        count, total, squares = np.moveaxis(within[..., 0, :], -1, 0)
        middle = total / np.maximum(count, 1)
        deviation = np.sqrt(np.maximum(squares / np.maximum(count, 1) - middle**2, 0))
        even = (middle - _UNEVEN * deviation) * np.sqrt(min(length / _LONG, 1))
        better = (first <= _HIDDEN) & (end <= _SECTIONS) & (count >= _COMPARED * length) & (even > best)
        best[better], lengths[better] = even[better], length
    return best, lengths


def _is_light(light: FloatImage) -> Mask:
    """Where a share of the light, (..., 3), is left that is as good as the same in all channels."""
    darkest = least(light)
    return np.asarray(largest(light) - darkest <= _COLOURED * (1 - darkest) + _SPARE)


class _Ground:
    """A frame at the size at which the shadow is looked for, and the feet of the object in it."""

    def __init__(self, picture: FloatImage, roto: Mask) -> None:
        self._roto = roto
        scale = min(1.0, _HEIGHT / int(roto.any(axis=1).sum()))
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        own = cv2.resize(roto.astype(np.float32), small.shape[1::-1], interpolation=cv2.INTER_AREA) > 0.02
        level = _DARKEST * typical(small)
        self._light: FloatImage = np.log(np.maximum(small, 0) + level)
        self._free: Mask = cv2.dilate(own.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0
        self._seen: FloatImage = np.dstack([self._light * self._free[..., None], self._free.astype(np.float32)])
        rows = np.flatnonzero(own.any(axis=1))
        self._height = height = int(rows[-1] + 1 - rows[0])
        lowest = int(rows[-1]) + 1
        feet = np.flatnonzero(own[lowest - max(1, round(0.06 * height)) : lowest].any(axis=0))
        self._x = float(feet[0] + feet[-1]) / 2
        # the middle of what it stands on is behind its lowest line
        self._y = lowest - float(np.clip(0.15 * (feet[-1] + 1 - feet[0]), 0.03 * height, 0.08 * height))

    def _strip(self, direction: float, along: Angles, across: Angles) -> FloatImage:
        """The logarithm of the light where it is not hidden, else 0, and whether it is not.

        (across, along, 4), at so many pixels from the feet along the direction, and across it, positive to its right.
        """
        ahead, aside = np.cos(direction), np.sin(direction)
        x = self._x + ahead * along[None] + aside * across[:, None]
        y = self._y - aside * along[None] + ahead * across[:, None]
        return cv2.remap(self._seen, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR)

    def contrasts(self) -> FloatImage:
        """How much lighter the sides of every band are, as a logarithm, in each section; nan where that is hidden.

        (directions, halves, asides, sections, 2 sides, 3 channels).
        """
        height = self._height
        # every other pixel along tells enough
        along = np.arange(0, _SECTIONS * _SECTION * height, 2)
        widest = max(_ASIDE) + (_BESIDE + 1) * max(_HALVES)
        across = np.arange(-np.ceil(widest * height), np.ceil(widest * height) + 1)
        section = np.minimum((along / height / _SECTION).astype(int), _SECTIONS - 1)
        begins = np.searchsorted(section, np.arange(_SECTIONS))
        long = np.bincount(section, minlength=_SECTIONS)
        bands = []
        for direction in _directions():
            sums = np.add.reduceat(self._strip(direction, along, across), begins, axis=1)
            sums = np.concatenate([np.zeros_like(sums[:1]), np.cumsum(sums, axis=0)])
            for half in _HALVES:
                for aside in _ASIDE:
                    inner, near, far = _INSIDE * half, _BESIDE * half, _BESIDE * half + max(half, _SIDE)
                    spans = [(-inner, inner), (-far, -near), (near, far)]
                    edges = np.round((np.array(spans) + aside) * height - across[0]).astype(int)
                    bands.append(_lighter(sums, edges, long))
        return np.stack(bands).reshape(len(_directions()), len(_HALVES), len(_ASIDE), _SECTIONS, 2, 3)

    def as_dark(self, band: Band) -> tuple[float, float]:
        """How much of the ground to the left and right is as dark as a band's median, and as its darker four fifths."""
        light = cv2.GaussianBlur(mean(self._light), (0, 0), max(0.8, _SOFT * self._height))
        along, across, rows, columns = self._places(band)
        inside = self._free & (np.abs(across) < _INSIDE * band.half) & (along > band.start) & (along < band.end)
        if not inside.any():
            return 1.0, 1.0
        own = (np.abs(across) < 2 * _INSIDE * band.half) & (along > -0.2) & (along < band.end + 0.2)
        seen = np.flatnonzero(inside.any(axis=1))
        level = (rows >= seen[0] - 0.05 * self._height) & (rows <= seen[-1] + 0.05 * self._height)
        around = self._free & ~own & level & (np.abs(columns - self._x) < _AROUND * self._height)
        median, upper = np.quantile(light[inside], (0.5, 0.8))
        return float(np.mean(light[around] < median)), float(np.mean(light[around] < upper))

    def _places(self, band: Band) -> tuple[Angles, Angles, Angles, Angles]:
        """For every pixel how far it is along a band and across, as shares of the height; and its row and column."""
        rows, columns = np.mgrid[: self._free.shape[0], : self._free.shape[1]].astype(np.float64)
        x, y = (columns - self._x) / self._height, (rows - self._y) / self._height
        ahead, aside = np.cos(band.direction), np.sin(band.direction)
        return ahead * x - aside * y, aside * x + ahead * y - band.aside, rows, columns

    def shadow(self, band: Band) -> Mask:
        """What of the frame is the shadow that lies along a band, its soft edge with it, without the object."""
        height = self._height
        reach = 2 * _WITHIN * band.half + 0.14 + abs(band.aside)
        ends = band.end + _BEYOND
        along, across = np.arange(0, ends * height), np.arange(-reach * height, reach * height)
        strip = self._strip(band.direction, along, across)
        soft = cv2.GaussianBlur(strip, (0, 0), sigmaX=max(3 * _SOFT * height, 0.5), sigmaY=max(_SOFT * height, 0.5))
        light = soft[..., :3] / np.maximum(soft[..., 3:], np.float32(1e-3))
        known = strip[..., 3] > 0.5
        off, far = np.abs(across / height - band.aside)[:, None], along[None] / height
        zone = np.broadcast_to(off < _WITHIN * band.half + _MARGIN, known.shape)
        missing = smooth_fill(light, known & ~zone) - light
        core = known & (off < _INSIDE * band.half) & (far > band.start) & (far < band.end)
        if not core.any():
            return np.zeros_like(self._roto)
        darker = mean(missing)
        shaded = known & zone & (darker > _SHARE * np.median(darker[core])) & _is_light(np.exp(-missing))
        laid = self._from_strip(_touching(shaded, core), band.direction, along, across)
        width = 2 * round(_EDGE * height) + 1
        laid = cv2.dilate(laid, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width)))
        size = self._roto.shape[::-1]
        return (cv2.resize(laid, size, interpolation=cv2.INTER_LINEAR) > 0.4) & ~self._roto

    def _from_strip(self, strip: Mask, direction: float, along: Angles, across: Angles) -> FloatImage:
        """A strip as it lies in the frame, 0 beside it."""
        places = self._places(Band(direction, 0, 0, 0, 0))
        x, y = (place * self._height - first for place, first in zip(places[:2], (along[0], across[0]), strict=True))
        return cv2.remap(strip.astype(np.float32), x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR)


def _lighter(sums: FloatImage, edges: NDArray[np.intp], long: NDArray[np.intp]) -> FloatImage:
    """How much lighter both sides are than the inside, (sections, 2, 3), from cumulated sums across the strip.

    ``edges`` has the ends of the inside and of the sides; ``long`` the length of each section.
    """
    means = []
    for start, stop in edges:
        part = sums[stop] - sums[start]
        few = part[:, 3] < _SEEN * np.maximum((stop - start) * long, 1)
        means.append(np.where(few[:, None], np.nan, part[:, :3] / np.maximum(part[:, 3:], np.float32(1e-6))))
    inside, left, right = means
    return np.stack([left - inside, right - inside], axis=1)


def _touching(mask: Mask, core: Mask) -> Mask:
    """The connected regions of a mask that reach into ``core``."""
    _, regions = cv2.connectedComponents(mask.astype(np.uint8))
    return mask & np.isin(regions, np.unique(regions[core & mask]))
