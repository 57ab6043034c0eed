"""What the object causes, followed through the shot: its effects in every frame, and of which kind each is."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain, islice
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ...imaging.exr import FloatImage
from ...imaging.masks import Mask, grown
from ...imaging.parallel import results
from ...imaging.trajectories import Trajectories
from ...imaging.window import Window
from ..reasoning import ARTEFACT, UNKNOWN
from .causes import STALE, aged, around, effects, shadows
from .departures import Departures
from .movers import Thing, came_by_itself, follow, is_companion, looks_alike
from .steady import Steady

#: A bystander's edge, in pixels: where it is followed while hidden, it is not known more exactly.
_BYSTANDERS_EDGE = 4
#: A shadow runs so many frames ahead of what throws it.
_AHEAD = 4
#: Where nothing comes after, a shadow that has just come up so near an effect, as a share of the diagonal, is one.
_NEAR = 0.05
#: The kinds of effects: name, kind of region, and why it is in.
MOVED, SHADOW, ALONG, GLINT = 1, 2, 3, 4
EFFECTS = {
    MOVED: (
        "moved or touched",
        UNKNOWN,
        "it differs from the background, and touches the object or what touched it before",
    ),
    SHADOW: ("shadow", ARTEFACT, "it is the background in less light, and touches the object"),
    ALONG: ("reflection or far shadow", ARTEFACT, "it goes along with the object and looks like it, or darkens"),
    GLINT: (
        "glint",
        ARTEFACT,
        "it is faint, comes and goes, and nothing moves in the shot but the object and what it causes",
    ),
}


class Found(NamedTuple):
    """What was found in a frame: its effects, which of them go along with the object, and other shadows so far."""

    frame: int
    effect: Mask
    along: Mask
    others: Mask


def effects_of(
    shot: Steady, paths: Trajectories | None, departures: Departures, report: Callable[[float], None]
) -> Iterator[NDArray[np.uint8]]:
    """The effects in every frame of the ``shot``, in order: (height, width), :data:`MOVED`, :data:`SHADOW` or
    :data:`ALONG`, 0 where there is none.

    ``paths`` are those of a camera that moves, None where the scene rests. ``report`` takes the fraction done.
    """
    found = _effects(shot, paths, departures)
    # pixels of a moving camera are not those of the frame before
    for index, effect, along, _ in foretold(found, begins_of(shot)) if paths is None else found:
        report((index + 1) / shot.count)
        yield _kinds(effect, along, departures.darkened(index), departures.certainty(index))


def _effects(shot: Steady, paths: Trajectories | None, departures: Departures) -> Iterator[Found]:
    """What the object causes, frame by frame, from its first touch on."""
    height, width = shot.size
    # under a moving camera, things that rest move too
    companions, bystanders = _things(shot, departures) if paths is None else ([], [])
    everywhere = Window(0, 0, width, height)
    effect, age = np.zeros((height, width), bool), np.zeros((height, width), np.uint8)
    begins = begins_of(shot)
    for index in range(shot.count):
        if paths is not None and index in begins:
            effect, age = np.zeros_like(effect), np.zeros_like(age)
        elif paths is not None:
            _, positions, _ = next(paths.walk(index, everywhere, -1))
            moved = cv2.remap(np.dstack([effect, age]).astype(np.uint8), positions, None, cv2.INTER_NEAREST)
            effect, age = moved[..., 0] > 0, moved[..., 1]
        others, own = (_covered(things, index, (height, width)) for things in (bystanders, companions))
        # a companion may be found in parts, of which one looks otherwise
        departs = departures.at(index) & (own | ~grown(others, _BYSTANDERS_EDGE))
        causes = around(shot.hidden[index]) | effect | own
        effect = effects(departs, causes, (age >= STALE) & ~own)
        age = aged(age, departures.compared(index), departs & ~effect)
        others = shadows(departs & ~effect & (age < STALE), departures.darkened(index))
        yield Found(index, effect, own, others)


def begins_of(shot: Steady) -> set[int]:
    """The frames that follow no other in time: the first, and those after gaps."""
    return {run.start for run in shot.runs}


def foretold(frames: Iterable[Found], begins: Collection[int]) -> Iterator[Found]:
    """The same with the shadows that run ahead of what throws them: what they touch is an effect soon after."""
    held: deque[Found] = deque()
    for found in frames:
        if found.frame in begins:
            yield from _ended(held)
            held.clear()
        _caused_later(held, found.effect)
        held.append(found)
        if len(held) > _AHEAD + 1:
            yield held.popleft()
    yield from _ended(held)


def _caused_later(held: deque[Found], later: Mask) -> None:
    """Make effects of the shadows in frames one after the other that lead to what is an effect after them."""
    for earlier in islice(reversed(held), _AHEAD):
        later = effects(earlier.others, later)
        if not later.any():
            break
        np.logical_or(earlier.effect, later, out=earlier.effect)


def _ended(held: deque[Found]) -> deque[Found]:
    """The last frames of a run: what a shadow touches after them is not seen. One is an effect that has just come up
    near another.
    """
    if len(held) > _AHEAD:
        before, *_, last = held
        reach = round(_NEAR * math.hypot(*last.others.shape))
        since = last.others & ~effects(last.others, before.others)
        _caused_later(held, effects(since, grown(last.effect, reach)))
    return held


def _kinds(effect: Mask, along: Mask, darkened: Mask, certainty: FloatImage) -> NDArray[np.uint8]:
    """The kind of each connected effect, by what most of it is, its surest pixels before all."""
    count, parts = cv2.connectedComponents(effect.astype(np.uint8), connectivity=8)
    sure = certainty + np.float32(0.01)
    area, goes_along, dark = (
        np.bincount(parts[mask], sure[mask], minlength=count) for mask in (effect, along & effect, darkened & effect)
    )
    kinds = np.where(2 * goes_along > area, ALONG, np.where(2 * dark > area, SHADOW, MOVED)).astype(np.uint8)
    kinds[0] = 0
    return np.asarray(kinds[parts])


def _things(shot: Steady, departures: Departures) -> tuple[list[Thing], list[Thing]]:
    """The companions of the object, and the bystanders."""
    companions, bystanders = [], []
    for run in shot.runs:
        # who is free of the object only later was there before; and shadows that meet join those who throw them
        ways = (
            (run, departures.at),
            (run[::-1], departures.at),
            (run, departures.solid),
            (run[::-1], departures.solid),
        )
        forth, *others = results(lambda way: follow(*way, shot.hidden, shot.inside), ways)
        for thing in forth:
            if is_companion(thing, shot.roto, shot.rgb, departures.darkened):
                companions.append(thing)
            elif thing.own:
                bystanders.append(thing)
        bystanders += [
            thing
            for thing in chain.from_iterable(others)
            if came_by_itself(thing, run, shot.roto)
            and not looks_alike(thing, shot.roto, shot.rgb, departures.darkened)
        ]
    return companions, bystanders


def _covered(things: list[Thing], index: int, shape: tuple[int, int]) -> Mask:
    masks = [thing.sightings[index].whole(shape) for thing in things if index in thing.sightings]
    return np.logical_or.reduce(masks) if masks else np.zeros(shape, bool)
