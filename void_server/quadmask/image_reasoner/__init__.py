"""Find what a removal affects from the pixels alone.

The camera's motion is removed, the scene without the object is modelled per pixel over time, and what departs from it
is tracked through the shot. A departure that touches the object at some time is its effect: a shadow, a reflection, a
thing it set in motion. An effect comes after its cause: what lay still before the object touched it belongs to the
scene, and what is affected is that it is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from ...imaging.camera import Camera, Mask
from ...imaging.exr import FloatImage
from ...imaging.footage import Footage
from ...imaging.framefile import FrameFile
from ...imaging.parallel import in_order
from ...imaging.temporal import median
from ...imaging.trajectories import Trajectories
from ...imaging.window import Window
from ..reasoning import UNKNOWN, Reasoning, Region
from .background import SCALES, Background, Look, around_frame, at_rest, departure, distance_from, same_exposure
from .causes import STALE, aged, around, effects

#: The least departure that counts, display-referred, at each scale; and how many times the noise it must be.
_LEAST = (0.015, 0.011)
_ABOVE_NOISE = 4.0
#: An object of which so much stays in one place of the scene stands.
_STANDS = 0.65

_STANDING = (
    "The object hardly moves, so its shadow, its reflection and what it carries or holds up cannot be told "
    "apart from the background: check the quadmask and paint what should change. What would fall or move "
    "without the object is not simulated."
)
_NOTHING = "Only the object itself changes; paint the quadmask if anything else should."


def reason(footage: Footage, scratch: Path, report: Callable[[float], None]) -> Reasoning:
    """Find what the removal affects in every frame of ``footage``.

    ``scratch`` is a folder for data too large for memory. ``report`` takes the fraction done.
    """
    count = len(footage.frames)
    hidden = [_hidden(footage.small_roto(index)) for index in range(count)]
    camera = Camera.track(
        (footage.small_plate(i), cv2.dilate(hidden[i].astype(np.uint8), np.ones((9, 9))) > 0) for i in range(count)
    )
    if _stands(hidden, camera):
        # what moves near a stationary object moves by itself
        return Reasoning(warnings=[_STANDING])
    paths = Trajectories(footage, hidden, camera, scratch / "reasoner_paths.raw")
    report(0.3)
    affected = FrameFile(scratch / "affected.raw", footage.small_size, bool)
    affected.write(_follow(footage, paths, lambda share: report(0.3 + 0.7 * share)))
    if not any(affected[index].any() for index in range(count)):
        return Reasoning(warnings=[_NOTHING])
    effects = Region(
        "effects of the object",
        UNKNOWN,
        "it differs from the background, and touches the object or what touched it before",
        "the pixels alone",
        None,
        lambda index: _closed(affected[index], hidden[index]),
    )
    return Reasoning([effects])


def _stands(hidden: list[Mask], camera: Camera) -> bool:
    """Whether the object stays in its place of the scene throughout."""
    height, width = hidden[0].shape
    ever, always = np.zeros((height, width), bool), np.ones((height, width), bool)
    for index, mask in enumerate(hidden):
        if mask.any():
            matrix = camera.between(index, 0)
            there = cv2.warpPerspective(mask.astype(np.uint8), matrix, (width, height), flags=cv2.INTER_NEAREST) > 0
            ever |= there
            always &= there
    return bool(always.sum() > _STANDS * ever.sum())


def _hidden(roto: FloatImage) -> Mask:
    return cv2.dilate((roto > 0.02).astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)


def _closed(affected: Mask, hidden: Mask) -> Mask:
    """The affected pixels with those under the object's own edge that they reach."""
    reached = cv2.dilate(affected.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
    return affected | (reached & hidden)


def _departing(look: Look, model: Background) -> Mask:
    """Where a frame departs from the background by more than noise."""
    visible = look.visible & model.known
    departing = np.zeros(visible.shape, bool)
    for scale, least, usual in zip(SCALES, _LEAST, model.noise, strict=True):
        departing |= departure(look.rgb, model.plate, visible, scale) > np.maximum(least, _ABOVE_NOISE * usual)
    tidy = cv2.morphologyEx((departing & visible).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    tidy = cv2.morphologyEx(tidy, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    return tidy.astype(bool) & visible


def _restore(model: Background) -> None:
    """Give back to the background what lay still in it until the object came.

    Where a thing departs from the background from the first look on and becomes an effect only later, the background
    has taken the scene's later state for the scene: its look until then is the true one.
    """
    looks = model.looks
    effect = np.zeros(model.known.shape, bool)
    still = np.ones(model.known.shape, bool)
    seen = np.zeros(model.known.shape, int)
    for time, look in enumerate(looks):
        visible = look.visible & model.known
        departing = _departing(look, model)
        before = effect
        effect = effects(departing, around(~look.visible) | before, np.zeros_like(before))
        lay_still = still & (seen >= 2)
        if (effect & ~before & lay_still).any():
            # a thing is whole, also where the object hides it just now, or where it looks like what lies behind it
            _, things = cv2.connectedComponents(lay_still.astype(np.uint8), connectivity=8)
            lay_still &= np.isin(things, things[effect & ~before & lay_still])
            whole = cv2.morphologyEx(lay_still.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((15, 15), np.uint8))
            lay_still = (whole > 0) & (seen >= 2)
            samples = np.stack([earlier.rgb[lay_still] for earlier in looks[:time]])
            shown = np.stack([earlier.visible[lay_still] for earlier in looks[:time]])
            model.plate[lay_still] = median(samples, shown)
        still &= ~visible | (departing & ~effect)
        seen += visible


def _departures(footage: Footage, paths: Trajectories) -> Iterator[tuple[Mask, Mask]]:
    """For each frame what departs from the background, and where the background can be compared."""

    def depart(index: int, model: Background) -> tuple[Mask, Mask]:
        look = Look(index, footage.small_plate(index), ~paths.hidden[index], distance_from(paths.hidden[index]))
        look = same_exposure(look, model.plate, model.known)
        return _departing(look, model), look.visible & model.known

    still = at_rest(footage, paths) if paths.camera.at_rest else None
    if still:
        _restore(still)
        still.looks.clear()

    def work(index: int) -> tuple[Mask, Mask]:
        return depart(index, still or around_frame(footage, paths, index))

    for _, result in in_order(work, range(len(footage.frames))):
        yield result


def _follow(footage: Footage, paths: Trajectories, report: Callable[[float], None]) -> Iterator[Mask]:
    """The effects in every frame, in order."""
    height, width = footage.small_size
    everywhere = Window(0, 0, width, height)
    effect, age = np.zeros((height, width), bool), np.zeros((height, width), np.uint8)
    for index, (departing, visible) in enumerate(_departures(footage, paths)):
        if index and not paths.camera.at_rest:
            _, positions, _ = next(paths.walk(index, everywhere, -1))
            moved = cv2.remap(np.dstack([effect, age]).astype(np.uint8), positions, None, cv2.INTER_NEAREST)
            effect, age = moved[..., 0] > 0, moved[..., 1]
        effect = effects(departing, around(paths.hidden[index]) | effect, age >= STALE)
        age = aged(age, visible, departing & ~effect)
        report((index + 1) / len(footage.frames))
        yield effect
