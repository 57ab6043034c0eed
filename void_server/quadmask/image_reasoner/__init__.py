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
from numpy.typing import NDArray

from ...imaging.camera import Camera, Mask
from ...imaging.exr import FloatImage
from ...imaging.footage import Footage
from ...imaging.framefile import FrameFile
from ...imaging.parallel import in_order
from ...imaging.trajectories import Trajectories
from ...imaging.window import Window
from ..reasoning import UNKNOWN, Reasoning, Region
from .background import Look, around_frame, at_rest, distance_from
from .causes import STALE, aged, around, effects
from .departing import departing
from .first_state import restore
from .movers import Thing, follow, is_companion

#: A bystander's edge, in pixels: where it is followed while hidden, it is not known more exactly.
_BYSTANDERS_EDGE = 4
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
    departures = _Departures(footage, paths, scratch / "departing.raw", lambda share: report(0.3 + 0.6 * share))
    affected.write(_follow(footage, paths, departures, lambda share: report(0.9 + 0.1 * share)))
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


class _Departures:
    """For each frame what departs from the background, what of that is darkened, and where it can be compared."""

    def __init__(self, footage: Footage, paths: Trajectories, file: Path, report: Callable[[float], None]) -> None:
        self._file = FrameFile(file, footage.small_size, np.uint8)
        self._file.write(_compare(footage, paths, report))

    def at(self, index: int) -> Mask:
        """The departing pixels."""
        return self._file[index] & _DEPARTS > 0

    def darkened(self, index: int) -> Mask:
        """Those that show the background in less light."""
        return self._file[index] & _DARKENED > 0

    def compared(self, index: int) -> Mask:
        """Where the background is known and not hidden."""
        return self._file[index] & _COMPARED > 0


_DEPARTS, _DARKENED, _COMPARED = 1, 2, 4


def _compare(footage: Footage, paths: Trajectories, report: Callable[[float], None]) -> Iterator[NDArray[np.uint8]]:
    still = at_rest(footage, paths) if paths.camera.at_rest else None
    if still:
        restore(still)
        still.looks.clear()

    def work(index: int) -> NDArray[np.uint8]:
        model = still or around_frame(footage, paths, index)
        look = Look(index, footage.small_plate(index), ~paths.hidden[index], distance_from(paths.hidden[index]))
        look = model.in_mean_light(look)
        departs = departing(look, model)
        darkened = departs & _darkened(look.rgb, model.plate)
        return (
            departs * np.uint8(_DEPARTS)
            | darkened * np.uint8(_DARKENED)
            | ((look.visible & model.known) * np.uint8(_COMPARED))
        )

    for index, result in in_order(work, range(len(footage.frames))):
        report((index + 1) / len(footage.frames))
        yield result


def _darkened(rgb: FloatImage, plate: FloatImage) -> Mask:
    """Where a frame shows the background in less light of nearly the same colour."""
    here, there = (cv2.blur(image, (3, 3)) + np.float32(0.02) for image in (rgb, plate))
    share = here / there
    darkest, lightest = share.min(axis=-1), share.max(axis=-1)
    return (lightest < 0.98) & (lightest - darkest < 0.3 * (1.05 - darkest))


def _follow(
    footage: Footage, paths: Trajectories, departures: _Departures, report: Callable[[float], None]
) -> Iterator[Mask]:
    """The effects in every frame, in order."""
    height, width = footage.small_size
    count = len(footage.frames)
    # under a moving camera, things that rest move too
    companions, bystanders = _things(footage, paths, departures) if paths.camera.at_rest else ([], [])
    everywhere = Window(0, 0, width, height)
    effect, age = np.zeros((height, width), bool), np.zeros((height, width), np.uint8)
    for index in range(count):
        if index and not paths.camera.at_rest:
            _, positions, _ = next(paths.walk(index, everywhere, -1))
            moved = cv2.remap(np.dstack([effect, age]).astype(np.uint8), positions, None, cv2.INTER_NEAREST)
            effect, age = moved[..., 0] > 0, moved[..., 1]
        others, own = (_covered(things, index, (height, width)) for things in (bystanders, companions))
        departs = departures.at(index) & ~_grown(others, _BYSTANDERS_EDGE)
        causes = around(paths.hidden[index]) | effect | own
        effect = effects(departs, causes, (age >= STALE) & ~own)
        age = aged(age, departures.compared(index), departs & ~effect)
        report((index + 1) / count)
        yield effect


def _things(footage: Footage, paths: Trajectories, departures: _Departures) -> tuple[list[Thing], list[Thing]]:
    """The companions of the object, and the bystanders."""

    def roto(index: int) -> Mask:
        return footage.small_roto(index) >= 0.5

    companions, bystanders = [], []
    for thing in follow(len(footage.frames), departures.at, paths.hidden):
        if is_companion(thing, roto, footage.small_plate, departures.darkened):
            companions.append(thing)
        elif thing.own:
            bystanders.append(thing)
    return companions, bystanders


def _covered(things: list[Thing], index: int, shape: tuple[int, int]) -> Mask:
    masks = [thing.sightings[index].whole(shape) for thing in things if index in thing.sightings]
    return np.logical_or.reduce(masks) if masks else np.zeros(shape, bool)


def _grown(mask: Mask, pixels: int) -> Mask:
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * pixels + 1,) * 2, np.uint8)) > 0
