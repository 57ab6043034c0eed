"""The object's shadow where it is seen more often than light, or never leaves.

A place that is lit at times is in the object's shade where all shade that falls there is in touch with the object. An
object that moves by less than its shadow is long hides what it shades: seen from it, its shadow lies always in the same
place, and what it leaves is lit. That tells it from what is dark by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ...imaging.channels import largest, least, mean
from ...imaging.exr import FloatImage
from ...imaging.masks import Mask
from ...imaging.parallel import for_each, in_order, results
from ...imaging.temporal import median
from .background import SCALES, Background, Look
from .causes import around, effects
from .departing import over_noise

#: Less than this share of the most light that a pixel is seen in is shade.
_SHADE = 0.95
#: Seen from the object, so much of what is lit at times is in the shade there, in so many looks.
_ALWAYS, _LOOKS = 0.75, 4
#: So many looks show a pixel in its full light: of one alone, something bright may just pass there.
_LIT = 2
#: So much of the shade that falls on a place is in touch with the object; that of two lamps comes and goes twice.
_IN_TOUCH, _COMES_AND_GOES = 0.9, 4
#: A shadow is no larger than so many times the object.
_LARGEST = 6.0
#: Rows that are worked on at once.
_BAND = 32
#: Darker than this, noise is more than the light; less light leaves the channels' shares apart by so much at most.
_LEAST, _COLOURED = np.float32(0.02), 0.45


class _Soft(NamedTuple):
    """A look, and its picture softly seen, (height, width, 3)."""

    look: Look
    picture: FloatImage


class _Placed(NamedTuple):
    """A look with the object's place in it, x and y of its middle."""

    soft: _Soft
    x: int
    y: int

    def seen_from_object(self, canvas: NDArray[np.float32]) -> NDArray[np.float32]:
        """The part of a canvas of twice the frame's size, with the object in its middle, that the look shows."""
        height, width = self.soft.look.visible.shape
        return canvas[height - self.y : 2 * height - self.y, width - self.x : 2 * width - self.x]


def lift(model: Background) -> None:
    """Give back to ``model`` the light that the object takes from it for so long that the shade counts as the scene."""
    looks = list(results(lambda look: _Soft(look, _soft(look.rgb)), model.looks))
    _show_lit(model, looks)
    _take_off(model, looks)


def _show_lit(model: Background, looks: Sequence[_Soft]) -> None:
    """Take what is seen in full light where all shade that falls there is in touch with the object, and passes."""
    shape = model.known.shape
    shaded, touching, changes = np.zeros((3, *shape), np.uint8)
    before, full = np.zeros(shape, bool), []
    _, shades = _shades(model, looks)

    def touch(number: int) -> Mask:
        thing = model.looks[number].distance == 0
        own = effects(shades[number], around(thing))
        # what reaches farther is water, whose darker parts touch each other
        return own & (np.count_nonzero(own) <= _LARGEST * np.count_nonzero(thing))

    for number, effect in in_order(touch, range(len(shades))):
        look, shade = model.looks[number], shades[number]
        shaded += shade
        touching += effect
        now = np.where(look.visible, shade, before)
        changes += (now != before) & (number > 0)
        before = now
        full.append(look.visible & ~shade)
    lit = sum(seen.astype(np.uint8) for seen in full)
    passes = (shaded > 0) & (touching >= _IN_TOUCH * shaded) & (lit >= _LIT) & (changes <= _COMES_AND_GOES)
    if not passes.any():
        return
    plate = model.plate.copy()
    plate[passes] = median(np.stack([look.rgb[passes] for look in model.looks]), np.stack([f[passes] for f in full]))
    _replace(model, passes & _darker(_soft(model.plate), _soft(plate)), plate)


def _replace(model: Background, where: Mask, plate: FloatImage) -> None:
    model.plate[where] = plate[where]
    for level in model.noise:
        level[where] = np.minimum(level[where], np.median(level))


def _take_off(model: Background, looks: Sequence[_Soft]) -> None:
    """Take a shadow that lies always in the same place beside the object off what it shades."""
    placed = [place for soft in looks if (place := _placed(soft)) is not None]
    if len(placed) < _LOOKS:
        return
    left = _light_left(model, placed)
    if left is None:
        return
    ever = np.logical_or.reduce([place.seen_from_object(left) < 1 for place in placed]) & model.known
    samples, lit, visible = [], [], []
    for place in placed:
        share = place.seen_from_object(left)[ever]
        look = place.soft.look
        samples.append(look.rgb[ever] / np.maximum(share, _LEAST)[:, None])
        visible.append(look.visible[ever] & (share > _LEAST))
        lit.append((share == 1) & visible[-1])
    # what is seen in full light is better than what is made of the shade
    told = np.logical_or.reduce(lit)
    plate = model.plate.copy()
    used = np.where(told, np.stack(lit), np.stack(visible))
    plate[ever] = np.where(np.any(used, axis=0, keepdims=True).T, median(np.stack(samples), used), plate[ever])
    _replace(model, ever & _darker(_soft(model.plate), _soft(plate)), plate)


def _placed(soft: _Soft) -> _Placed | None:
    """A look with the object whole in the frame; None where it is not."""
    hidden = (soft.look.distance == 0).astype(np.uint8)
    x, y, width, height = cv2.boundingRect(hidden)
    tall, wide = hidden.shape
    if not width or x == 0 or x + width == wide or y + height == tall:
        return None
    rows, columns = np.nonzero(hidden)
    return _Placed(soft, round(float(np.median(columns))), round(float(np.median(rows))))


def _light_left(model: Background, placed: Sequence[_Placed]) -> NDArray[np.float32] | None:
    """The light that the shadow leaves, seen from the object, in a canvas of twice the frame's size; 1 beside it.

    None where there is no shadow that goes with the object.
    """
    height, width = model.known.shape
    brightest, shades = _shades(model, [place.soft for place in placed])
    at_times = np.logical_or.reduce(shades)
    dark, told, light, objects = np.zeros((4, 2 * height, 2 * width), np.float32)
    for place, shade in zip(placed, shades, strict=True):
        look, picture = place.soft
        share = mean(picture / np.maximum(brightest, _LEAST))
        place.seen_from_object(dark)[...] += shade
        place.seen_from_object(told)[...] += look.visible & at_times
        place.seen_from_object(light)[...] += np.where(shade, share, 0)
        place.seen_from_object(objects)[...] += look.distance == 0
    always = ((dark > _ALWAYS * told) & (told >= _LOOKS)).astype(np.uint8)
    always = cv2.morphologyEx(always, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    always = cv2.morphologyEx(always, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    outline = objects > len(placed) / 2
    shadow = effects(always > 0, around(outline))
    if not shadow.any() or np.count_nonzero(shadow) > _LARGEST * np.count_nonzero(outline):
        return None
    share = light / np.maximum(dark, 1)
    usual = share[shadow & (dark > 0)].mean()
    return np.where(shadow, np.where(dark > 0, share, usual), np.float32(1)).astype(np.float32)


def _shades(model: Background, looks: Sequence[_Soft]) -> tuple[FloatImage, list[Mask]]:
    """The most light of each pixel, and where each look shows it in less."""
    brightest = _lit(looks)
    # where the shadow comes and goes it was taken for noise
    noise = float(np.median(over_noise(model, 0)))

    def shaded(soft: _Soft) -> Mask:
        darker = _darker(soft.picture, brightest)
        return soft.look.visible & (largest(brightest - soft.picture) > noise) & darker

    return brightest, list(results(shaded, looks))


def _lit(looks: Sequence[_Soft]) -> FloatImage:
    """The most light in which :data:`_LIT` looks show each pixel."""
    brightest = np.empty_like(looks[0].picture)

    def band(top: int) -> None:
        rows = slice(top, top + _BAND)
        highest = [np.zeros_like(brightest[rows])] * _LIT
        for look, picture in looks:
            seen = picture[rows] * look.visible[rows][..., None]
            for number, known in enumerate(highest):
                highest[number], seen = np.maximum(known, seen), np.minimum(known, seen)
        brightest[rows] = highest[-1]

    for_each(band, range(0, len(brightest), _BAND))
    return brightest


def _darker(here: FloatImage, there: FloatImage) -> Mask:
    """Where one picture shows another in less light of nearly the same colour."""
    share = (here + _LEAST) / (there + _LEAST)
    darkest, lightest = least(share), largest(share)
    alike = lightest - darkest < _COLOURED * (1.05 - darkest)
    return (lightest < _SHADE + 0.05) & (mean(share) < _SHADE) & alike


def _soft(picture: FloatImage) -> FloatImage:
    return cv2.GaussianBlur(picture, (0, 0), SCALES[0])
