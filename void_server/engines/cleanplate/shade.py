"""Surfaces that are never seen but in the shade of what is removed: the plate shows them, in less light.

Their texture is the plate's own, frame by frame. How much light is missing is what a fill from the surroundings tells
once both are seen softly: together along the border, where a shadow is as deep at the same distance; finer where the
surface has little texture of its own that would be taken for light.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...imaging.channels import largest, least, mean, typical
from ...imaging.colour import Curve
from ...imaging.exr import FloatImage
from ...imaging.fill import smooth_fill
from ...imaging.masks import Mask
from ...imaging.window import Window
from ...quadmask.classes import is_removed
from ..clip import Clip
from .texture import complete

#: In analysed pixels: how far along the border the shade is alike, and how much farther with each pixel from it; the
#: finest shade that is told from texture; and around how much that is judged.
_ALONG, _WIDER, _FINE, _JUDGED = 6.0, 0.1, 2.0, 8.0
#: The border's distances are told apart by so many steps, the nearest the finest.
_STEPS = 12
#: Darker than this share of the picture's median, linear, noise is larger than the light.
_DARKEST = 0.03
#: Light that is missing has nearly the colour of the light: channels differ by this share of what is missing at most,
#: and by so much more, as the fill is not the truth; nor is it brighter by more than that.
_COLOURED, _SPARE, _BRIGHTER = 0.3, 0.1, 0.15
#: Nor is there less light than this share: what is darker is black.
_DIMMEST = 0.1
#: In full light, its texture is that of the surroundings: finer than this many analysed pixels it is as strong, to this
#: ratio of variances; a logarithm that is softer than the last is noise.
_TEXTURE, _AS_STRONG, _NOISE = 4.0, 4.0, 0.015
#: A region of which less than this looks shaded is something else: a thing that is gone once the object is.
_SHADED = 0.6
#: From so much on, a pixel is taken from the shade and not from the fill.
_SURE = 0.5
#: Display-referred: a shade that is off by more, softly seen, is not that of this frame.
_SAME = 0.04
#: The object's edge mixes with the surface, in analysed pixels.
_EDGE = 2.0


@dataclass(frozen=True)
class Shade:
    """How much light is missing: ``light`` (height, width, 3), 1 for none, in linear light; ``share`` (height, width),
    where it is known: 1, and 0 where a surface is something else, or the object's.
    """

    light: FloatImage
    share: FloatImage

    @classmethod
    def none(cls) -> Shade:
        """No shade."""
        return cls(np.zeros((0, 0, 3), np.float32), np.zeros((0, 0), np.float32))

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]]) -> Shade:
        """That which :meth:`arrays` describes."""
        return cls(arrays["shade_light"], arrays["shade_share"])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that :meth:`load` needs."""
        return {f"shade_{name}": value for name, value in vars(self).items()}

    @property
    def empty(self) -> bool:
        """Whether nothing is known to be shaded."""
        return not self.share.any()

    def cut(self, part: tuple[slice, slice]) -> Shade:
        """The shade of a part of the picture."""
        return Shade(self.light[part], self.share[part])


def shown(clip: Clip, index: int, window: Window) -> Mask:
    """Which rewritten pixels in ``window`` of a frame show the scene, changed by the object, and not the object."""
    codes, roto = clip.codes(index, window), clip.footage.read_roto(clip.footage.frames[index], window)
    size = 2 * int(np.ceil(_EDGE / clip.footage.scale)) + 1
    own = (is_removed(codes) | (roto > 0)).astype(np.uint8)
    return clip.rewritten(index, window) & (cv2.dilate(own, np.ones((size, size), np.uint8)) == 0)


def measure(clip: Clip, plate: FloatImage, fill: FloatImage, hole: Mask, surface: Mask) -> Shade:
    """Compare the ``surface`` in the ``hole`` of a ``plate`` with its ``fill`` from the surroundings.

    Both are (height, width, 3), display-referred; the result is as large.
    """
    if not surface.any():
        return Shade.none()
    height, width = hole.shape
    scale = clip.footage.scale
    size = max(8, round(width * scale)), max(8, round(height * scale))
    here, there = (
        clip.footage.curve.to_linear(cv2.resize(image, size, interpolation=cv2.INTER_AREA)) for image in (plate, fill)
    )
    inside, shaded = (
        cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5 for mask in (hole, surface)
    )
    # where nothing lies beside it, nothing tells how bright it is
    if not shaded.any() or inside.all():
        return Shade.none()
    dark = _DARKEST * typical(there)
    texture = np.log(np.maximum(there, 0) + dark)
    missing = _missing(np.log(np.maximum(here, 0) + dark) - texture, texture, inside, shaded)
    # of the sums with the dark, what share of the light itself
    level = _mean(there, shaded.astype(np.float32), _ALONG)
    light = np.exp(smooth_fill(missing, shaded))
    light = np.maximum(light - (1 - light) * dark / np.maximum(level, dark), 0)
    lifted = np.log(np.maximum(_lit(here, light), 0) + dark)
    lit = _of_regions(shaded, _of_light(light, shaded), _texture(lifted, shaded), _texture(texture, shaded))
    return Shade(
        cv2.resize(np.minimum(light, 1), (width, height), interpolation=cv2.INTER_LINEAR),
        cv2.resize(lit, (width, height), interpolation=cv2.INTER_LINEAR) * surface,
    )


def fill_and_lift(clip: Clip, plate: FloatImage, hole: Mask, usable: Mask, surface: Mask) -> tuple[FloatImage, Shade]:
    """Fill the ``hole`` of a ``plate`` from what is ``usable``; the ``surface`` in it keeps its texture, in full light.

    See :func:`~.texture.complete`; what is lifted is usable for what is still hidden.
    """
    filled = complete(plate, hole, usable)
    shade = measure(clip, plate, filled, hole, surface)
    if shade.empty:
        return filled, shade
    share = shade.share[..., None]
    lifted = np.where(hole[..., None], filled + (lift(clip, plate, shade.light) - filled) * share, plate)
    lifted = lifted.astype(np.float32, copy=False)
    rest = hole & (shade.share < _SURE)
    if not rest.any():
        return lifted, shade
    # the texture beside what is left is the nearest to it
    return complete(lifted, rest, ~rest), shade


def lay_over(
    clip: Clip, index: int, window: Window, shade: Shade, plate: FloatImage, rgb: FloatImage, grain: FloatImage
) -> Mask:
    """Take what a frame shows in the ``shade`` of ``window`` from its own ``plate`` there, in place; where that was
    done.

    ``rgb`` (height, width, 3) is the filled scene, display-referred, and decides how bright it is: where the shade has
    moved, the fill stays. ``grain``, (height, width), follows.
    """
    share = shade.share * shown(clip, index, window)
    x, y, width, height = cv2.boundingRect((share > 0).astype(np.uint8))
    if width:
        part = np.s_[y : y + height, x : x + width]
        here, inside = rgb[part], share[part]
        lifted = lift(clip, plate[part], shade.light[part])
        inside *= np.clip(2 - _off(lifted - here, inside, clip.footage.scale) / np.float32(_SAME), 0, 1)
        here += (lifted - here) * inside[..., None]
    own = share > _SURE
    # what is seen in the shade has the plate's own grain
    grain[own] = share[own]
    return own


def _off(difference: FloatImage, weight: FloatImage, scale: float) -> FloatImage:
    """The largest channel of a ``difference``, (height, width, 3), softly seen: at the analysed size, so many times
    ``scale``.
    """
    height, width = weight.shape
    size = max(1, round(width * scale)), max(1, round(height * scale))
    sums, total = (
        cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in (difference * weight[..., None], weight)
    )
    sums, total = (cv2.GaussianBlur(image, (0, 0), _ALONG) for image in (sums, total))
    off = largest(np.abs(sums / np.maximum(total, np.float32(1e-4))[..., None]))
    return cv2.resize(off, (width, height), interpolation=cv2.INTER_LINEAR)


def lift(clip: Clip, plate: FloatImage, light: FloatImage) -> FloatImage:
    """Display-referred pixels, (..., 3), as they are in full light, of which they got the share ``light``."""
    curve: Curve = clip.footage.curve
    return curve.to_display(_lit(curve.to_linear(plate), light))


def _lit(linear: FloatImage, light: FloatImage) -> FloatImage:
    """Linear pixels, of which they got the share ``light``, in full light."""
    return linear / np.maximum(light, np.float32(0.05))


def _missing(departs: FloatImage, texture: FloatImage, hole: Mask, shaded: Mask) -> FloatImage:
    """The logarithm of the light of each pixel, from noisy logarithms of what it is darker than its surroundings."""
    weight = shaded.astype(np.float32)
    distance = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    broad = _along_border(departs, weight, distance)
    fine = _mean(departs - broad, weight, _FINE)
    # what texture alone would make of the finer shade (Wiener, 1949)
    variance: FloatImage = (texture - cv2.GaussianBlur(texture, (0, 0), _JUDGED)) ** 2
    own: FloatImage = mean(cv2.GaussianBlur(variance, (0, 0), _JUDGED))
    power = mean(_mean(fine**2, weight, _JUDGED))
    sure = np.clip(1 - own / np.maximum(power, np.float32(1e-6)), 0, 1)
    return broad + sure[..., None] * fine


def _along_border(values: FloatImage, weight: FloatImage, distance: FloatImage) -> FloatImage:
    """The mean of values around each pixel that are about as far from the border."""
    steps = np.linspace(0, np.sqrt(max(float(distance.max()), 1.0)), _STEPS) ** 2
    result, total = np.zeros_like(values), np.zeros(distance.shape, np.float32)
    for number, middle in enumerate(steps):
        lower, upper = steps[max(number - 1, 0)], steps[min(number + 1, _STEPS - 1)]
        rising = (distance - lower) / (middle - lower) if number else np.ones_like(distance)
        falling = (upper - distance) / (upper - middle) if number < _STEPS - 1 else np.ones_like(distance)
        near = np.clip(np.minimum(rising, falling), 0, 1).astype(np.float32)
        result += near[..., None] * _mean(values, near * weight, _ALONG * (1 + _WIDER * middle))
        total += near
    return result / np.maximum(total, np.float32(1e-6))[..., None]


def _mean(values: FloatImage, weight: FloatImage, softness: float) -> FloatImage:
    """The weighted mean of values, (height, width, channels), around each pixel."""
    total = np.maximum(cv2.GaussianBlur(weight, (0, 0), softness), np.float32(1e-4))
    return cv2.GaussianBlur(values * weight[..., None], (0, 0), softness) / total[..., None]


def _texture(values: FloatImage, weight: Mask) -> FloatImage:
    """How strong the fine texture of logarithms, (height, width, channels), is at each pixel: its variance."""
    return mean((values - _mean(values, weight.astype(np.float32), _TEXTURE)) ** 2)


def _of_light(light: FloatImage, shaded: Mask) -> Mask:
    """The pixels, (height, width), that less light explains."""
    darkest, lightest = least(light), largest(light)
    plausible = (lightest < 1 + _BRIGHTER) & (lightest > _DIMMEST)
    return shaded & plausible & (lightest - darkest < _COLOURED * (1 - darkest) + _SPARE)


def _of_regions(shaded: Mask, fits: Mask, texture: FloatImage, expected: FloatImage) -> FloatImage:
    """1 for the pixels, (height, width), of regions of which enough ``fits`` and whose texture, in full light, is as
    strong as expected, else 0.
    """
    count, regions = cv2.connectedComponents(shaded.astype(np.uint8), connectivity=8)
    # where a region begins, the light's own edge is no texture
    inside = cv2.erode(shaded.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    area, explained, inner = (np.bincount(regions[mask], minlength=count) for mask in (shaded, fits, inside))
    strong, usual = (
        np.bincount(regions[inside], values[inside], minlength=count) / np.maximum(inner, 1) + _NOISE**2
        for values in (texture, expected)
    )
    wanted = (explained > _SHADED * area) & (strong < _AS_STRONG * usual) & (usual < _AS_STRONG * strong)
    wanted[0] = False
    return wanted[regions].astype(np.float32)
