"""What the scene looks like when the object is far away, as one of the shot's frames sees it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np

from ...imaging.channels import largest, least
from ...imaging.exr import FloatImage
from ...imaging.fill import smooth_fill
from ...imaging.light import Light, LitScene
from ...imaging.masks import Mask
from ...imaging.parallel import for_each, results
from ...imaging.runs import run_of
from ...imaging.sequence import spread
from ...imaging.temporal import median, weighted_median, weighted_medians
from ...imaging.trajectories import Trajectories
from ...imaging.window import Window
from . import passersby
from .steady import Steady

#: So many frames at most make the background of a camera at rest.
_SAMPLES = 48
#: Frames before and after, for a moving camera: near ones lie exactly on each other, far ones see behind the object.
_OFFSETS = (2, 4, 6, 9, 12, 16, 21, 27)
#: A frame this far away in time counts half, as its path is less sure.
_SURE = 10
#: Noise varies over a picture, with brightness and texture, up to so many times the typical one.
_LOUDEST = 4
#: A pixel whose change from look to look is usually so many times the typical noise never rests: water, leaves.
_LIVELY = 8.0
#: A picture without noise has no typical one: what changes by less than this, display-referred, rests.
_STIRS = 0.005
#: What passes changes a pixel by twice the range of what it shows, there and back; what has life by more.
_ONCE = 2.1
#: Fewer changes tell nothing of that; they count as so much, beside those around, within about so many pixels.
_FEW_CHANGES, _LITTLE_SAID, _NEARBY = 5, 0.02, 6.0
#: What it shows at times is so much farther from the usual than noise would be.
_RESTLESS = 1.7
#: A look of a camera at rest counts half where so much changes on average in a square of so many pixels, or as much as
#: usually changes anywhere, if that is more; it counts at least so much, also where its neighbours in time are hidden.
_MOVES, _AROUND, _HARDLY = 0.005, (13, 13), 1e-3
#: The object is far where it is so much of the greatest distance away, from which the place is seen.
_FAR = 0.5
#: Rows that are worked on at once.
_BAND = 32
#: From this share of the diagonal, the object is far enough for a look to count in full: at rest, what passes by itself
#: is outvoted by many looks; a moving camera has few that see a place.
_ENOUGH_AT_REST, _ENOUGH_MOVING = 0.2, 0.5
#: So many looks with the object farthest away say together what a place at rest looks like, if it has its square.
_FEW = 3
#: What a look beside the object counts under a moving camera, in the same measure.
_NEAREST = np.float32(0.02)
#: Departures are looked for at these scales, in pixels: edges and textures, and faint broad shadows.
SCALES = (1.2, 4.0)
#: Trajectories under a moving camera are sure to about so many pixels, a camera that is held still to no fewer than
#: so many.
_SLIP, _STEADY_SLIP = 0.5, 0.15
#: Pixels nearer to the object than this share of the diagonal say nothing about noise.
_NEAR = 0.3


class Look(NamedTuple):
    """One frame as the anchor sees it: its index, RGB, where it shows the scene, and how far off the object is.

    The distance is a share of the frame's diagonal, 0 on the object.
    """

    frame: int
    rgb: FloatImage
    visible: Mask
    distance: FloatImage


@dataclass
class Background:
    """The scene without the object as seen from one frame.

    ``plate`` is (height, width, 3), display-referred; ``known`` where any frame shows it; ``noise`` the usual departure
    from it at each of the :data:`SCALES`; ``looks`` what it was made from; ``light``, where that changes over the shot.
    """

    plate: FloatImage
    known: Mask
    noise: list[FloatImage]
    looks: list[Look]
    light: LitScene | None = None

    def in_mean_light(self, look: Look) -> Look:
        """The look as it would be in the light that the background is seen in."""
        if self.light is None:
            return same_exposure(look, self.plate, self.known)
        return look._replace(rgb=self.light.in_mean_light(look.frame, look.rgb))


def distance_from(hidden: Mask) -> FloatImage:
    """How far each pixel is from the hidden ones, as a share of the diagonal; 1 where nothing is hidden."""
    if not hidden.any():
        return np.ones(hidden.shape, np.float32)
    pixels = cv2.distanceTransform((~hidden).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    return pixels / np.float32(np.hypot(*hidden.shape))


def departure(rgb: FloatImage, plate: FloatImage, visible: Mask, scale: float) -> FloatImage:
    """How far a frame departs from the background around each pixel, leaving out what is not visible: (height, width).

    The largest of the channels' weighted mean differences under a Gaussian of ``scale`` pixels.
    """
    weight = visible.astype(np.float32)
    size = (2 * int(3 * scale) + 1,) * 2
    mean = cv2.GaussianBlur((rgb - plate) * weight[..., None], size, scale)
    total = np.maximum(cv2.GaussianBlur(weight, size, scale), 1e-3)
    return largest(np.abs(mean)) / total


def look_at(shot: Steady, index: int) -> Look:
    """Frame ``index`` as it is."""
    return Look(index, shot.rgb(index), shot.seen(index), distance_from(shot.hidden[index]))


def _looks_around(shot: Steady, paths: Trajectories, anchor: int, indices: Collection[int]) -> list[Look]:
    """Frames of a moving camera as frame ``anchor`` sees them."""
    height, width = shot.size
    looks = []
    for direction in (-1, 1):
        ahead = {index for index in indices if (index - anchor) * direction > 0}
        for index, positions, seen in paths.walk(anchor, Window(0, 0, width, height), direction):
            if not ahead:
                break
            if index in ahead:
                pictures = shot.rgb(index), distance_from(shot.hidden[index])
                rgb, distance = (
                    cv2.remap(picture, positions, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
                    for picture in pictures
                )
                looks.append(Look(index, rgb, seen, distance))
                ahead.discard(index)
    return sorted(looks, key=lambda look: look.frame)


def same_exposure(look: Look, plate: FloatImage, known: Mask) -> Look:
    """The look with its exposure changed to the background's, where it differs."""
    compared = look.visible & known & (look.distance > _NEAR) & (least(plate) > 0.05)
    if np.count_nonzero(compared) < 500:
        return look
    where = np.flatnonzero(compared)
    here, there = (picture.reshape(-1, 3).take(where, axis=0) for picture in (look.rgb, plate))
    # each channel by itself in memory, as NumPy takes far longer across them
    gain = np.median(np.ascontiguousarray((here / there).T), axis=-1)
    if np.abs(gain - 1).max() < 0.004 or gain.min() <= 0.2:
        return look
    return look._replace(rgb=look.rgb / gain.astype(np.float32))


def _far_median(looks: Sequence[Look], sureness: FloatImage, *, rests: bool) -> FloatImage:
    """The median over time in which a frame counts the more, the farther away the object is then, and the surer it is.

    ``sureness`` is (looks, height, width), or (looks, 1, 1) where all pixels of a look are equally sure.
    """
    height, width = looks[0].visible.shape
    plate = np.empty((height, width, 3), np.float32)
    counts = [count * sure for count, sure in zip(_counts(looks, rests=rests), sureness, strict=True)]

    def band(top: int) -> None:
        rows = slice(top, top + _BAND)
        samples = np.stack([look.rgb[rows].reshape(-1, 3) for look in looks])
        weights = np.stack([count[rows].ravel() for count in counts])
        plate[rows] = weighted_median(samples, weights.astype(np.float32)).reshape(-1, width, 3)

    for_each(band, range(0, height, _BAND))
    return plate


def _stillness(looks: Sequence[Look]) -> FloatImage:
    """How far each pixel of each look counts by how still it is there: (looks, height, width), up to 1.

    What moves, compared with the look before and the one after, passes before the scene, also where it does so for most
    of the shot, as a slow reflection may. Where all looks move alike, as water does, all count alike.
    """
    changes = results(lambda pair: _motion(*pair), pairwise(looks))
    unknown = np.full(looks[0].visible.shape, np.inf, np.float32)
    motion = [np.minimum(*around) for around in pairwise([unknown, *changes, unknown])]
    known = np.concatenate([found[np.isfinite(found)] for found in motion])
    usual = np.float32(max(float(np.median(known)) if len(known) else 0.0, _MOVES))
    still = results(lambda found: np.maximum(1 / (1 + np.square(found / usual)), np.float32(_HARDLY)), motion)
    return np.stack(list(still))


def _motion(one: Look, other: Look) -> FloatImage:
    """How much changes around each pixel from look to look: (height, width), infinite where not both see it."""
    both = one.visible & other.visible
    change = cv2.blur(largest(np.abs(other.rgb - one.rgb)) * both, _AROUND)
    return np.where(both, change / np.maximum(cv2.blur(both.astype(np.float32), _AROUND), 1e-3), np.float32(np.inf))


def _usual(values: FloatImage, seen: Sequence[Mask], still: FloatImage | None) -> list[FloatImage]:
    """The medians of what looks say of each pixel: (height, width) of (looks, height, width), one for each of the masks
    ``seen``, (looks, height, width), which tell where the looks count.

    Each counts as far as it is ``still``, if that is given. 0 where none counts.
    """
    count, height, width = values.shape
    usual = [np.empty((height, width), np.float32) for _ in seen]

    def band(top: int) -> None:
        rows = slice(top, top + _BAND)
        samples, told = values[:, rows].reshape(count, -1, 1), [mask[:, rows].reshape(count, -1) for mask in seen]
        if still is None:
            found = [median(samples, mask) for mask in told]
        else:
            weight = still[:, rows].reshape(count, -1)
            found = weighted_medians(samples, [mask * weight for mask in told])
        for result, mask, middle in zip(usual, told, found, strict=True):
            result[rows] = np.where(mask.any(axis=0), middle[:, 0], np.float32(0)).reshape(-1, width)

    for_each(band, range(0, height, _BAND))
    return usual


def _noise(looks: Sequence[Look], plate: FloatImage, scale: float, still: FloatImage | None) -> FloatImage:
    """The usual departure at each pixel while the object is far, at least that of its surroundings.

    ``still``, as of :func:`_stillness`, is that of looks that lie exactly on each other; None where they do not.
    """
    values = np.stack(list(results(lambda look: departure(look.rgb, plate, look.visible, scale), looks)))
    far = np.stack([look.visible & (look.distance > _NEAR) for look in looks])
    (usual,) = _usual(values, [far], still)
    measured: Mask = np.asarray(far.any(axis=0))
    typical = float(np.median(usual[measured])) if measured.any() else 0.0
    # where it is known nearby it may be less: one part of a picture is water, another a floor
    nearby = smooth_fill(usual[..., None], measured)[..., 0] if measured.any() else usual
    usual = np.where(measured, usual, np.minimum(nearby, typical)).astype(np.float32)
    usual = np.maximum(usual, cv2.blur(usual, (7, 7)))
    # where the background is wrong, everything departs from it: that is no noise, unless it never comes to rest
    capped = np.minimum(usual, _LOUDEST * typical)
    if still is None:
        # looks that do not lie exactly on each other change everywhere
        return capped
    # where half the frame is water, the quieter places tell
    quiet = float(np.quantile(usual[measured], 0.2)) if measured.any() else 0.0
    change = _change(looks, scale, still)
    lively = _returns(looks, scale, change > max(_LIVELY * quiet, _STIRS))
    # two states that it rests in, before and after, are no noise either
    capped = np.minimum(capped, np.maximum(change, typical))
    if not lively.any():
        return capped
    (always,) = _usual(values, [np.stack([look.visible for look in looks])], still)
    return np.where(lively, _RESTLESS * np.maximum(usual, cv2.blur(always, (7, 7))), capped)


def _change(looks: Sequence[Look], scale: float, still: FloatImage) -> FloatImage:
    """How much each pixel usually changes from one look to the next: (height, width); 0 where it is not seen twice.

    What usually rests while the object is far has no life: a shadow comes near. Nor has what rests for most of the
    shot: something passes while the object is far. Looks count as far as they are ``still``.
    """
    pairs, farthest = list(pairwise(looks)), _farthest(looks)
    if not pairs:
        return np.zeros(looks[0].visible.shape, np.float32)
    seen = np.stack([one.visible & other.visible for one, other in pairs])
    far = np.stack([look.distance > _FAR * farthest for look in looks])
    compared = results(
        lambda index: departure(pairs[index][1].rgb, pairs[index][0].rgb, seen[index], scale), range(len(pairs))
    )
    values, both = np.stack(list(compared)), still[1:] * still[:-1]
    change = np.minimum(*_usual(values, [seen, seen & far[1:] & far[:-1]], both))
    # a shadow that comes near while a place is seen for the last time is no water: the places around tell
    sure = np.where(seen.sum(axis=0) >= _FEW_CHANGES, np.float32(1), np.float32(_LITTLE_SAID))
    around, weight = (cv2.GaussianBlur(image, (0, 0), _NEARBY) for image in (change * sure, sure))
    return np.where(sure == 1, change, around / weight)


def _returns(looks: Sequence[Look], scale: float, wanted: Mask) -> Mask:
    """Which ``wanted`` pixels come back to what they showed more than once: water does, a passing shadow does not."""
    x, y, width, height = cv2.boundingRect(wanted.astype(np.uint8))
    part, shape = np.s_[y : y + height, x : x + width], (height, width, 3)
    result = np.zeros_like(wanted)
    way, lowest, highest = np.zeros(shape, np.float32), np.full(shape, np.inf, np.float32), np.zeros(shape, np.float32)
    before, known = np.zeros(shape, np.float32), np.zeros(shape[:2], bool)
    for look in looks if width else ():
        soft, visible = cv2.GaussianBlur(look.rgb[part], (0, 0), scale), look.visible[part]
        seen = visible[..., None]
        way += np.abs(soft - before) * (seen & known[..., None])
        before, known = np.where(seen, soft, before), known | visible
        lowest = np.where(seen, np.minimum(lowest, soft), lowest)
        highest = np.where(seen, np.maximum(highest, soft), highest)
    result[part] = way.sum(axis=-1) > _ONCE * np.maximum(highest - lowest, 0).sum(axis=-1)
    return result & wanted


def _build(looks: list[Look], sureness: FloatImage, *, rests: bool) -> Background:
    """The background by looks of which each is so sure: by how still it is where the camera rests."""
    known = np.logical_or.reduce([look.visible for look in looks])
    plate = _far_median(looks, sureness, rests=rests)
    even = list(results(lambda look: same_exposure(look, plate, known), looks))
    if any(one is not other for one, other in zip(even, looks, strict=True)):
        looks, plate = even, _far_median(even, sureness, rests=rests)
    still = sureness if rests else None
    return Background(plate, known, [_noise(looks, plate, scale, still) for scale in SCALES], looks)


def at_rest(shot: Steady, unlit: Callable[[int], Mask] | None = None) -> Background:
    """The background of a camera that does not move, for all frames.

    ``unlit`` gives, by frame index, where the light is not the scene's own, as in the object's shadow; without it, what
    the object hides.
    """

    def own(index: int) -> Mask:
        return shot.seen(index) if unlit is None else shot.seen(index) & ~unlit(index)

    def frame(index: int) -> tuple[FloatImage, Mask]:
        return shot.linear(index), own(index)

    light = Light.measure(shot.count, frame)
    looks = list(results(lambda index: look_at(shot, index), spread(shot.count, _SAMPLES)))
    lit = None
    if light.changes:
        # frames in which the object is far away count the most
        counts = _counts([look._replace(visible=own(look.frame)) for look in looks], rests=True)
        indices, pictures = [look.frame for look in looks], [look.rgb for look in looks]
        lit = LitScene.fitted(light, shot.curve, indices, pictures, counts)
        looks = [look._replace(rgb=lit.in_mean_light(look.frame, look.rgb)) for look in looks]
    passes = passersby.passing([look.rgb for look in looks], [look.visible for look in looks])
    scene = [look._replace(visible=look.visible & ~mask) for look, mask in zip(looks, passes, strict=True)]
    model = _build(scene, _stillness(looks), rests=True)
    model.looks = [even._replace(visible=look.visible) for even, look in zip(model.looks, looks, strict=True)]
    model.light = lit
    if shot.resampled:
        _allow_slip(model, max(shot.slip, _STEADY_SLIP))
    return model


def _counts(looks: Sequence[Look], *, rests: bool) -> list[FloatImage]:
    """How much each look counts at each pixel, by how far away the object is.

    At rest, where the object never is far, the farthest few count in full, and the more than others, the nearer it is:
    a few looks before the object came outvote the many in which it stays beside the pixel with the edge of its shadow,
    but one alone does not, which may show the shadow that it throws ahead. Of a moving camera, a few looks may be the
    ones that do not lie exactly on the others.
    """
    if not rests:
        return [look.visible * (_NEAREST + np.minimum(look.distance, np.float32(_ENOUGH_MOVING))) for look in looks]
    many = sum(look.visible.astype(np.uint8) for look in looks) >= _FEW**2
    full = np.clip(np.where(many, _farthest(looks, _FEW), _farthest(looks)), 1e-3, _ENOUGH_AT_REST).astype(np.float32)
    slope = (_ENOUGH_AT_REST / full) ** 2
    return list(results(lambda look: look.visible * np.minimum(look.distance / full, 1) ** slope, looks))


def _farthest(looks: Sequence[Look], number: int = 1) -> FloatImage:
    """How far away the object is in the look of so high a ``number`` from the farthest that shows each pixel."""
    farthest = [np.zeros(looks[0].visible.shape, np.float32)] * number
    for look in looks:
        distance = look.distance * look.visible
        for place, known in enumerate(farthest):
            farthest[place], distance = np.maximum(known, distance), np.minimum(known, distance)
    return farthest[-1]


def around_frame(shot: Steady, paths: Trajectories, anchor: int) -> Background:
    """The background that frame ``anchor`` of a moving camera sees, by frames of its own run.

    Of two frames equally far in time, the earlier counts double: what the object did to the scene is seen later.
    Nothing is known of a frame that is a run by itself.
    """
    run = run_of(anchor, shot.runs)
    chosen = {anchor + offset for step in _OFFSETS for offset in (-step, step)} & set(run)
    # of three frames, the middle one has none of these
    chosen = chosen or set(run) - {anchor}
    if not chosen:
        nothing = np.zeros(shot.size, np.float32)
        return Background(shot.rgb(anchor), nothing > 0, [nothing for _ in SCALES], [])
    looks = _looks_around(shot, paths, anchor, chosen)
    sureness = [(1 + (look.frame < anchor)) / (1 + abs(look.frame - anchor) / _SURE) for look in looks]
    model = _build(looks, np.array(sureness, np.float32)[:, None, None], rests=False)
    _allow_slip(model, _SLIP)
    return model


def _allow_slip(model: Background, pixels: float) -> None:
    """Take what looks depart from the background, where they slip by so many pixels, as noise."""
    model.noise = [n + pixels * _slope(model.plate, s) for n, s in zip(model.noise, SCALES, strict=True)]


def _slope(plate: FloatImage, scale: float) -> FloatImage:
    """How much a departure at this scale changes when the background slips by a pixel."""
    soft = cv2.GaussianBlur(plate, (0, 0), scale)
    x, y = (cv2.Sobel(soft, -1, dx, 1 - dx, ksize=3, scale=1 / 8) for dx in (1, 0))
    return largest(np.sqrt(x * x + y * y))
