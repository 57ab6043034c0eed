"""Find the things that pass behind what is removed, and follow them; see :mod:`.passing` for what they are then.

Each is registered rigidly from frame to frame on both sides of the object. A layer counts only if it predicts the
frames in which the thing is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, groupby

import cv2
import numpy as np
from numpy.typing import NDArray

from ...imaging.channels import largest, least, mean
from ...imaging.exr import FloatImage
from ...imaging.fill import smooth_fill
from ...imaging.masks import Mask, grown
from ...imaging.runs import run_of
from ...imaging.sequence import spread
from ...imaging.temporal import median
from ...imaging.window import Window
from ...quadmask.image_reasoner.movers import Sighting, Thing, follow
from .passing import REACH, Layer, Passing
from .registration import Pose, register
from .resting import Resting
from .sampling import lookup

#: A thing's edge departs less than the thing: so many analysed pixels around it belong to it.
_EDGE = 3
#: A thing that nothing shows any more goes on for so many frames.
_LOST = 6
#: So many frames at most tell how a thing looks; it is all that departs in so much of them.
_LOOKS, _USUAL = 12, 0.4
#: A shadow leaves the scene so much of its light, and its channels not farther apart.
_DARKEST, _LIGHTEST, _TINT = 0.06, 1.06, 0.25
#: To register a thing, this share of it must be seen, so many analysed pixels, and be off by no more, display-referred.
_SEEN, _FEWEST, _OFF = 0.12, 40, 0.07
#: Where less of it is seen, its place is that between the frames around.
_CLEARLY = 0.6
#: Its size changes by no more from frame to frame; after so many frames it may look different.
_GROWS, _RENEWED = 0.05, 4
#: A thing counts if it is predicted, from as far away in time as it is hidden, with this share of the error without it.
_SURE = 0.6
_DARK = np.float32(0.01)


def find(shot: Resting) -> Passing:
    """Find the things that pass behind what is hidden in a shot, and follow them; what rests is seen without them."""
    things = [thing for thing in _things(shot) if _passes(shot, thing)]
    if things:
        shot.leave_out(lambda index: _covered(things, index, shot.rest.shape[:2]))
    layers: list[Layer] = []
    for thing in things:
        # a thing that was lost meanwhile is found twice
        layer = None if _among(thing, layers) else _layer(shot, thing)
        if layer is not None:
            layers.append(layer)
    return Passing(layers, shot.hidden, shot.lit)


def _things(shot: Resting) -> list[Thing]:
    """All that moves apart from the object for a while, before it is hidden or afterwards, in each run for itself."""
    found = (follow(ahead, shot.departs, shot.removed) for run in shot.runs for ahead in (run, run[::-1]))
    return list(chain.from_iterable(found))


def _among(thing: Thing, layers: Sequence[Layer]) -> bool:
    """Whether one of the layers is that thing."""

    def shared(layer: Layer) -> float:
        masks = {index: sighting.whole(layer.opaque.shape) for index, sighting in thing.free()}
        return float(np.median([layer.covers(index)[mask].mean() for index, mask in masks.items()]))

    return any(shared(layer) > 0.5 for layer in layers)


def _passes(shot: Resting, thing: Thing) -> bool:
    """Whether part of a thing is hidden in some frame, or would be soon after it was lost if it went on in its run."""
    known = [index for index, _ in thing.free()]
    run = run_of(known[0], shot.runs)
    placed = {index: sighting for index, sighting in thing.sightings.items() if not sighting.free}
    for end, step in ((known[0], -1), (known[-1], 1)):
        near = known[:_LOST] if step < 0 else known[-_LOST:]
        speed = np.polyfit(near, [thing.sightings[index].centre for index in near], 1)[0]
        for index in range(end + step, end + step * (_LOST + 1), step):
            if index in run and index not in thing.sightings:
                placed[index] = thing.sightings[end].moved(speed * (index - end))
    shape = shot.rest.shape[:2]
    return any((sighting.whole(shape) & shot.hidden[index]).any() for index, sighting in placed.items())


def _covered(things: Sequence[Thing], index: int, shape: tuple[int, int]) -> Mask:
    masks = [thing.sightings[index].whole(shape) for thing in things if index in thing.sightings]
    return grown(np.logical_or.reduce([np.zeros(shape, bool), *masks]), _EDGE)


def _layer(shot: Resting, thing: Thing) -> Layer | None:
    """The thing as a layer, None where it is not sure how it looks or moves."""
    free = [(index, sighting) for index, sighting in thing.free() if _whole_in_frame(sighting.window, shot.rest.shape)]
    if not free:
        return None
    shape = shot.rest.shape[:2]
    # the last that show all of it are the most like what is hidden
    whole = [(index, seen) for index, seen in free if not (grown(seen.whole(shape), _EDGE) & shot.hidden[index]).any()]
    reference, sighting = min(whole or free, key=lambda pair: _away(shot, *pair))
    mask = grown(sighting.whole(shape), _EDGE)
    strength = largest(np.abs(shot.plate(reference) - shot.rest))
    weight = (np.clip(strength / 0.15, 0, 1) * mask).astype(np.float32)
    layer = None
    # once more when it is known which pixels are its own
    for _ in range(2):
        poses, seen = _tracked(shot, thing, reference, weight)
        clear = [index for index in range(len(seen)) if seen[index] > 0.85]
        if len(clear) < 3:
            return None
        looks = [clear[number] for number in spread(len(clear), _LOOKS)]
        layer = Layer(_filled(poses, seen), *_appearance(shot, poses, looks, mask))
        weight = layer.opaque if layer.opaque.sum() > 0.2 * weight.sum() else weight
    return layer if layer is not None and _predicts(shot, layer, seen) else None


def _away(shot: Resting, index: int, sighting: Sighting) -> float:
    """How far a thing is from what is hidden in a frame, in analysed pixels."""
    seen = (~shot.hidden[index]).astype(np.uint8)
    distance = cv2.distanceTransform(seen, cv2.DIST_L2, cv2.DIST_MASK_5)
    return float(distance[sighting.whole(seen.shape)].min(initial=np.inf))


def _whole_in_frame(window: Window, shape: tuple[int, ...]) -> bool:
    return window.x > 1 and window.y > 1 and window.right < shape[1] - 1 and window.bottom < shape[0] - 1


def _tracked(
    shot: Resting, thing: Thing, reference: int, weight: FloatImage
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The pose of a thing in each frame, NaN where unknown, and how much of it is seen there."""
    count = len(shot.hidden)
    run = run_of(reference, shot.runs)
    poses, seen = np.full((count, 2, 3), np.nan), np.zeros(count)
    poses[reference], seen[reference] = np.eye(2, 3), 1
    middle = thing.sightings[reference].centre
    fewest = max(_SEEN, _FEWEST / max(float(weight.sum()), 1.0))
    for direction in (-1, 1):
        known = [reference]
        key, look, own = reference, shot.plate(reference), weight
        for index in range(reference + direction, run.start - 1 if direction < 0 else run.stop, direction):
            if abs(index - known[-1]) > REACH:
                break
            sighting = thing.sightings.get(index)
            starts = [_extrapolated(poses, known[-4:], index)]
            if sighting is not None and sighting.free:
                starts.append(np.column_stack([np.eye(2), sighting.centre - middle]))
            image = shot.plate(index)
            # from the frame that tells how the thing looks now
            from_key = cv2.invertAffineTransform(poses[key])
            tried = [register(look, own, image, ~shot.hidden[index], _after(from_key, start)) for start in starts]
            found = min(tried, key=lambda result: result.error)
            pose = _after(poses[key], found.pose)
            growth = abs(np.hypot(*pose[:, 0]) / np.hypot(*poses[known[-1]][:, 0]) - 1)
            if found.seen < fewest or found.error > _OFF or growth > _GROWS * abs(index - known[-1]):
                continue
            poses[index], seen[index] = pose, found.seen
            known.append(index)
            if abs(index - key) >= _RENEWED and found.seen > 0.97:
                key, look = index, image
                own = cv2.warpAffine(weight, pose, weight.shape[::-1])
    return poses, seen


def _after(first: Pose, then: Pose) -> Pose:
    """One pose after another."""
    linear = then[:, :2] @ first[:, :2]
    return np.column_stack([linear, then[:, :2] @ first[:, 2] + then[:, 2]])


def _extrapolated(poses: NDArray[np.float64], known: Sequence[int], index: int) -> Pose:
    last = poses[known[-1]]
    if len(known) < 2:
        return last
    result: Pose = last + (last - poses[known[0]]) * ((index - known[-1]) / (known[-1] - known[0]))
    return result


def _filled(poses: NDArray[np.float64], seen: NDArray[np.float64]) -> NDArray[np.float64]:
    """The poses with those in between continued smoothly, of frames in which little or nothing of the thing is seen.

    What stopped meanwhile is not found again where it was expected, so there is no frame to continue to.
    """
    result, sure = poses.copy(), np.flatnonzero(seen > 0)
    for index in range(int(sure[0]), int(sure[-1]) + 1):
        if seen[index] < _CLEARLY:
            result[index] = _between(poses, seen, index)
    return result


def _between(poses: NDArray[np.float64], seen: NDArray[np.float64], index: int) -> Pose:
    """What the poses of the frames around say of one: a parabola through them."""
    known = np.flatnonzero(seen > 0)
    away = np.abs(known - index)
    before, after = known[known <= index], known[known >= index]
    gap = max(index - before[-1] if len(before) else 0, after[0] - index if len(after) else 0)
    near = away <= gap + 4
    times = (known[near] - index) / (gap + 4.0)
    weights = seen[known[near]] ** 2 * np.exp(-(times**2))
    values = poses[known[near]].reshape(-1, 6)
    return np.polyfit(times, values, min(2, len(times) - 1), w=weights)[-1].reshape(2, 3)


def _appearance(
    shot: Resting, poses: NDArray[np.float64], clear: Sequence[int], mask: Mask
) -> tuple[FloatImage, FloatImage]:
    """The matte of a thing and the light it leaves to what it does not cover, as its reference frame shows it, where it
    is the ``mask``.

    What keeps its colour as the thing moves on is the thing; what keeps its ratio to the scene is its shadow.
    """
    curve, shape = shot.footage.curve, shot.rest.shape[:2]
    departs = np.stack([_carried(shot.departs(index).astype(np.float32), poses[index]) for index in clear])
    seen = np.stack([_carried((~shot.hidden[index]).astype(np.float32), poses[index], 0) > 0.99 for index in clear])
    usual = (departs * seen).sum(axis=0) > _USUAL * np.maximum(seen.sum(axis=0), 1)
    # what lies apart, such as the shadow of what floats, need not move alike
    rows, columns = np.nonzero(grown(_touching(_closed(usual), mask), _EDGE))
    where = seen[:, rows, columns]
    samples = np.stack([_carried(shot.plate(index), poses[index])[rows, columns] for index in clear])
    scene = curve.to_linear(np.stack([_carried(shot.rest, poses[index])[rows, columns] for index in clear])) + _DARK
    colour = median(samples, where)
    share = median((curve.to_linear(samples) + _DARK) / scene, where)
    shown = np.maximum(where.sum(axis=0), 1)

    def error(expected: FloatImage) -> FloatImage:
        image = np.zeros(shape, np.float32)
        image[rows, columns] = (mean(np.abs(samples - expected)) * where).sum(axis=0) / shown
        return cv2.GaussianBlur(image, (0, 0), 1)[rows, columns]

    in_shadow = error(curve.to_display(share * scene - _DARK))
    darkest, lightest = least(share), largest(share)
    shadow = (lightest < _LIGHTEST) & (darkest > _DARKEST) & (lightest - darkest < _TINT) & (in_shadow <= error(colour))
    opaque, shade = np.zeros(shape, bool), np.ones((*shape, 3), np.float32)
    opaque[rows, columns] = ~shadow
    opaque = cv2.morphologyEx(_closed(opaque).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    shade[rows, columns] = np.clip(share, _DARKEST, 1)
    # beside the thing, what its edge hides of its shadow is like what lies next to it
    beside = ~grown(opaque, 1)
    shade = np.where(beside[..., None], shade, smooth_fill(shade, beside))
    return cv2.GaussianBlur(opaque.astype(np.float32), (0, 0), 0.7), cv2.GaussianBlur(shade, (0, 0), 1)


def _carried(image: FloatImage, pose: Pose, border: int | None = None) -> FloatImage:
    """A frame's picture as the reference frame of a thing sees it."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    mode = cv2.BORDER_REPLICATE if border is None else cv2.BORDER_CONSTANT
    return cv2.warpAffine(image, pose, image.shape[1::-1], flags=flags, borderMode=mode, borderValue=border or 0)


def _closed(mask: Mask) -> Mask:
    """The mask without gaps."""
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8)) > 0


def _touching(regions: Mask, mask: Mask) -> Mask:
    """The regions that share some of the mask."""
    _, labels = cv2.connectedComponents(regions.astype(np.uint8), connectivity=8)
    return np.isin(labels, np.unique(labels[mask & regions])) & regions


def _predicts(shot: Resting, layer: Layer, seen: NDArray[np.float64]) -> bool:
    """Whether the layer tells what the frames show of a thing, from as far away in time as it is hidden elsewhere."""
    passing = Passing([layer], shot.hidden, None)
    known = np.flatnonzero(seen > 0)
    span = seen[known[0] : known[-1] + 1] < _CLEARLY
    longest = max((len(list(run)) for low, run in groupby(span) if low), default=0)
    away = 1 + longest // 2
    clear = np.flatnonzero(seen > 0.95)
    clear = clear[(clear >= known[0] + away) & (clear <= known[-1] - away)] if longest else clear
    if not len(clear):
        clear = np.flatnonzero(seen > 0.85)

    def sampler(source: int, there: FloatImage) -> tuple[FloatImage, Mask]:
        return lookup(shot.plate(source), there), np.ones(len(there), bool)

    better = []
    for index in clear[spread(len(clear), _LOOKS)]:
        rows, columns = np.nonzero(layer.covers(index) & ~shot.hidden[index])
        if not len(rows):
            continue
        truth, rest = shot.plate(index)[rows, columns], shot.rest[rows, columns]
        guess, at = rest.copy(), np.stack([columns, rows], axis=-1).astype(np.float32)
        unused = np.zeros(len(at), np.float32)
        passing.over(layer, int(index), at, guess, unused, shot.footage.curve, sampler, away)
        better.append(np.abs(guess - truth).mean() / max(float(np.abs(rest - truth).mean()), 1e-4))
    return bool(better) and bool(np.median(better) < _SURE)
