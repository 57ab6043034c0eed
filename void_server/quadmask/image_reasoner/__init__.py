"""Find what a removal affects from the pixels alone.

The camera's motion is removed (one held by hand is held still), the scene without the object is modelled per pixel over
time, and what departs from it is tracked through the shot. A departure that touches the object at some time is its
effect: a shadow, a reflection, a thing it set in motion. An effect comes after its cause: what lay still before the
object touched it belongs to the scene, and what is affected is that it is gone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ...imaging.camera import Camera, Mask
from ...imaging.channels import largest, least
from ...imaging.exr import FloatImage
from ...imaging.footage import Footage
from ...imaging.framefile import FrameFile
from ...imaging.parallel import in_order
from ...imaging.sequence import spread
from ...imaging.trajectories import Trajectories
from ...imaging.window import Window
from ..contact import first_contact, lasting_contact
from ..reasoning import ARTEFACT, UNKNOWN, Reasoning, Region
from . import cast, shade
from .background import Background, around_frame, at_rest, look_at
from .causes import STALE, aged, around, effects, shadows
from .departing import beyond_noise, departing
from .first_state import restore
from .movers import Thing, came_by_itself, follow, is_companion, looks_alike
from .standing import contact_of, stands
from .steady import Steady

#: A bystander's edge, in pixels: where it is followed while hidden, it is not known more exactly.
_BYSTANDERS_EDGE = 4
#: The edge of a shadow, in pixels, beyond where it departs from the background.
_SOFT = 4
#: A shadow runs so many frames ahead of what throws it.
_AHEAD = 4

_STANDING = (
    "The object hardly moves, so its shadow, its reflection and what it carries or holds up cannot be told "
    "apart from the background: check the quadmask and paint what should change. What would fall or move "
    "without the object is not simulated."
)
_STANDING_IN_SHADOW = (
    "The object hardly moves. A shadow was found on the ground that begins at its feet; its reflection, and what it "
    "carries or holds up, cannot be told apart from the background: check the quadmask and paint what is missing or "
    "too much. What would fall or move without the object is not simulated."
)
#: So many frames tell how the shadow of an object that stands falls.
_LOOKS = 3
#: The kinds of effects: name, kind of region, and why it is in.
_MOVED, _SHADOW, _ALONG = 1, 2, 3
_EFFECTS = {
    _MOVED: (
        "moved or touched",
        UNKNOWN,
        "it differs from the background, and touches the object or what touched it before",
    ),
    _SHADOW: ("shadow", ARTEFACT, "it is the background in less light, and touches the object"),
    _ALONG: ("reflection or far shadow", ARTEFACT, "it goes along with the object and looks like it, or darkens"),
}
#: Less than this share of the object's size in so many frames after a contact is little.
_LITTLE, _AFTER = 0.1, 8
#: Where an object touches something time and again, little is found in no more than this share of the frames.
_SELDOM = 1 / 3

#: An effect of less than this share of the object's size over the shot is hardly any: a shadow alone is more.
_HARDLY = 0.15
#: Where fewer of the corners that are followed agree on the camera's motion, it may be that of something else.
_SURE_OF_CAMERA = 0.75

_NOTHING = (
    "Beside the object nothing was found that it changes. A weak shadow or reflection may not have been told from the "
    "background: paint the quadmask if anything else should change."
)


def reason(footage: Footage, scratch: Path, report: Callable[[float], None]) -> Reasoning:
    """Find what the removal affects in every frame of ``footage``.

    ``scratch`` is a folder for data too large for memory. ``report`` takes the fraction done.
    """
    count = len(footage.frames)
    hidden = [_hidden(footage.small_roto(index)) for index in range(count)]
    camera = Camera.track(
        (footage.evenly_exposed(i), cv2.dilate(hidden[i].astype(np.uint8), np.ones((9, 9))) > 0) for i in range(count)
    )
    rotos = [footage.small_roto(index) >= 0.5 for index in range(count)]
    if stands(hidden, camera):
        # what moves near a stationary object moves by itself
        found = _of_standing(footage, rotos, camera)
        found.warnings += _unsure(camera)
        return found
    shot = Steady(footage, hidden, camera)
    paths = None if shot.rests else Trajectories(footage, hidden, camera, scratch / "reasoner_paths.raw")
    report(0.3)
    affected = FrameFile(scratch / "affected.raw", shot.size, np.uint8)
    departures = _Departures(shot, paths, scratch / "departing.raw", lambda share: report(0.3 + 0.6 * share))
    affected.write(_follow(shot, paths, departures, lambda share: report(0.9 + 0.1 * share)))
    certainties = _certainties(affected, departures, count)
    regions = [
        Region(name, kind, why, "the pixels alone", certainties[of], _of_kind(shot, affected, hidden, of))
        for of, (name, kind, why) in _EFFECTS.items()
        if of in certainties
    ]
    found = Reasoning(regions, [] if regions else [_NOTHING])
    found.warnings += _unsure(camera) + (_little(footage, rotos, camera, found) or _hardly(rotos, found))
    return found


def _of_standing(footage: Footage, rotos: Sequence[Mask], camera: Camera) -> Reasoning:
    """What can be known of an object that stands: the shadow that it casts on the ground, where that is plain."""
    contact = contact_of(rotos)
    if contact is None:
        # a shadow begins where the frame has cut the object off
        return Reasoning(warnings=[_STANDING])
    seen = [index for index, roto in enumerate(rotos) if roto.any()]
    chosen = [seen[position] for position in spread(len(seen), _LOOKS)]
    pictures = [footage.even_curve.to_linear(footage.evenly_exposed(index)) for index in chosen]
    found = cast.find(pictures, [rotos[index] for index in chosen])
    if found is None:
        return Reasoning(warnings=[_STANDING], contact=contact)
    name, kind, _ = _EFFECTS[_SHADOW]
    why = "a band of the ground that begins at the object's feet has less light than the ground on both sides"
    looks = dict(zip(chosen, found.masks, strict=True))

    def mask(index: int) -> Mask:
        return _laid(looks, index, rotos[index], camera)

    shadow = Region(name, kind, why, "a few frames' pixels", found.certainty, mask)
    return Reasoning([shadow], [_STANDING_IN_SHADOW], contact=contact)


def _laid(looks: Mapping[int, Mask], index: int, roto: Mask, camera: Camera) -> Mask:
    """Where a shadow on the ground is in a frame, as most of the frames that were looked at show it."""
    if not roto.any():
        return np.zeros_like(roto)
    there = [
        cv2.warpPerspective(mask.astype(np.float32), camera.between(look, index), roto.shape[::-1])
        for look, mask in looks.items()
    ]
    return (np.mean(there, axis=0) >= 0.5) & ~roto


def _certainties(affected: FrameFile, departures: _Departures, count: int) -> dict[int, float]:
    """How sure the effects of each kind that there is are: the mean of their pixels in all frames."""
    totals, pixels = np.zeros((2, 1 + max(_EFFECTS)))
    for index in range(count):
        kinds = affected[index].ravel()
        totals += np.bincount(kinds, departures.certainty(index).ravel(), minlength=len(totals))
        pixels += np.bincount(kinds, minlength=len(pixels))
    return {of: round(float(totals[of] / pixels[of]), 2) for of in _EFFECTS if pixels[of]}


def _of_kind(shot: Steady, affected: FrameFile, hidden: Sequence[Mask], of: int) -> Callable[[int], Mask]:
    return lambda index: _closed(shot.in_frame(index, affected[index]) == of, hidden[index])


def _little(footage: Footage, rotos: Sequence[Mask], camera: Camera, found: Reasoning) -> list[str]:
    """A warning where something changes close to the object, and hardly anything was found from then on."""
    contact = first_contact(footage, rotos)
    again = None if contact is not None else lasting_contact(footage, rotos, camera)
    first = contact if contact is not None else again
    if first is None:
        return []
    masks = [found.affected(index) for index in range(first, len(rotos))]
    objects = np.array([np.count_nonzero(roto) for roto in rotos[first:]])
    beside = np.array(
        [0 if mask is None else np.count_nonzero(mask & ~roto) for mask, roto in zip(masks, rotos[first:], strict=True)]
    )
    shown = objects > 0
    if again is not None and np.mean(beside[shown] < _LITTLE * objects[shown]) > _SELDOM:
        return [
            f"From frame {footage.frames[first]} on the object touches something time and again, but beside it "
            "something was found in some frames only: what it set in motion may move on in the others, and all of it "
            "would move otherwise without the object. Check the quadmask, and add cells or a matte, or ask a "
            "language model."
        ]
    share = float(beside[:_AFTER].sum()) / max(float(objects[:_AFTER].sum()), 1.0)
    if share >= _LITTLE:
        return []
    return [
        f"From frame {footage.frames[first]} on something moves close to the object, but what was found beside it "
        f"there has only {share:.0%} of its size: check the quadmask, and add cells or a matte, or "
        "ask a language model."
    ]


def _hardly(rotos: Sequence[Mask], found: Reasoning) -> list[str]:
    """A warning where over the shot next to nothing was found beside the object."""
    masks = [found.affected(index) for index in range(len(rotos))]
    beside = sum(np.count_nonzero(mask & ~roto) for mask, roto in zip(masks, rotos, strict=True) if mask is not None)
    share = beside / max(sum(np.count_nonzero(roto) for roto in rotos), 1)
    if not found.regions or share >= _HARDLY:
        return []
    return [
        f"What was found beside the object has only {share:.0%} of its size over the shot; its shadow or reflection "
        "may not have been told from the background: check the quadmask, and add cells or a matte, or ask a language "
        "model."
    ]


def _unsure(camera: Camera) -> list[str]:
    """A warning where the motion that was taken for the camera's is that of part of the picture."""
    if camera.agreement >= _SURE_OF_CAMERA:
        return []
    return [
        f"The camera's motion is in doubt: only {camera.agreement:.0%} of what was followed outside the object moves "
        "alike. Things that move, or along with which the camera travels, may count as the background, and the "
        "background as affected; strong grain over a soft picture does the same: check the quadmask, and paint what it "
        "should be."
    ]


def _hidden(roto: FloatImage) -> Mask:
    return cv2.dilate((roto > 0.02).astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)


def _closed(affected: Mask, hidden: Mask) -> Mask:
    """The affected pixels with those under the object's own edge that they reach."""
    reached = cv2.dilate(affected.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
    return affected | (reached & hidden)


class _Departures:
    """For each frame what departs from the background, what of that is darkened, and where it can be compared."""

    def __init__(self, shot: Steady, paths: Trajectories | None, file: Path, report: Callable[[float], None]) -> None:
        self._file = FrameFile(file, (*shot.size, 2), np.uint8)
        self._file.write(_compare(shot, paths, report))

    def at(self, index: int) -> Mask:
        """The departing pixels."""
        return self._file[index][..., 0] & _DEPARTS > 0

    def solid(self, index: int) -> Mask:
        """Those that are no shade."""
        solid = (self.at(index) & ~self.darkened(index)).astype(np.uint8)
        return cv2.morphologyEx(solid, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0

    def darkened(self, index: int) -> Mask:
        """Those that show the background in less light."""
        return self._file[index][..., 0] & _DARKENED > 0

    def compared(self, index: int) -> Mask:
        """Where the background is known and not hidden."""
        return self._file[index][..., 0] & _COMPARED > 0

    def certainty(self, index: int) -> FloatImage:
        """How sure each pixel departs: 0 for what noise may be, towards 1 the further it is beyond that."""
        return self._file[index][..., 1].astype(np.float32) / np.float32(255)


_DEPARTS, _DARKENED, _COMPARED = 1, 2, 4


def _compare(shot: Steady, paths: Trajectories | None, report: Callable[[float], None]) -> Iterator[NDArray[np.uint8]]:
    if paths is None:
        still = at_rest(shot)
        if still.light:
            # the light is measured again, without the shadows that it was taken to make
            still = at_rest(shot, _unlit(shot, still))
        shade.lift(still)
        restore(still)
        still.looks.clear()

    def work(index: int) -> NDArray[np.uint8]:
        model = still if paths is None else around_frame(shot, paths, index)
        look = model.in_mean_light(look_at(shot, index))
        compared, times = look.visible & model.known, beyond_noise(look, model)
        departs = departing(times, compared)
        darkened = _darkened(look.rgb, model.plate, departs)
        marks = departs * np.uint8(_DEPARTS) | darkened * np.uint8(_DARKENED) | compared * np.uint8(_COMPARED)
        return np.dstack([marks, np.round(255 * (1 - 1 / np.maximum(times, 1))).astype(np.uint8)])

    for index, result in in_order(work, range(shot.count)):
        report((index + 1) / shot.count)
        yield result


def _unlit(shot: Steady, model: Background) -> Callable[[int], Mask]:
    """Where each frame shows the object, or departs from ``model`` in touch with it."""

    def work(index: int) -> Mask:
        hidden = shot.hidden[index]
        look = model.in_mean_light(look_at(shot, index))
        departs = departing(beyond_noise(look, model), look.visible & model.known)
        return hidden | _grown(effects(departs, around(hidden), np.zeros_like(hidden)), _SOFT)

    masks = [mask for _, mask in in_order(work, range(shot.count))]
    return masks.__getitem__


def _darkened(rgb: FloatImage, plate: FloatImage, wanted: Mask) -> Mask:
    """Which ``wanted`` pixels of a frame show the background in less light of nearly the same colour."""
    x, y, width, height = cv2.boundingRect(wanted.astype(np.uint8))
    part = np.s_[max(y - 1, 0) : y + height + 1, max(x - 1, 0) : x + width + 1]
    result = np.zeros_like(wanted)
    if width:
        here, there = (cv2.blur(image[part], (3, 3)) + np.float32(0.02) for image in (rgb, plate))
        share = here / there
        darkest, lightest = least(share), largest(share)
        result[part] = wanted[part] & (lightest < 0.98) & (lightest - darkest < 0.3 * (1.05 - darkest))
    return result


class _Found(NamedTuple):
    """What was found in a frame: its effects, which of them go along with the object, and other shadows so far."""

    frame: int
    effect: Mask
    along: Mask
    others: Mask


def _follow(
    shot: Steady, paths: Trajectories | None, departures: _Departures, report: Callable[[float], None]
) -> Iterator[NDArray[np.uint8]]:
    """The effects in every frame, in order, by their kinds."""
    found = _effects(shot, paths, departures)
    # pixels of a moving camera are not those of the frame before
    for index, effect, along, _ in _foretold(found, _begins(shot)) if paths is None else found:
        report((index + 1) / shot.count)
        yield _kinds(effect, along, departures.darkened(index), departures.certainty(index))


def _effects(shot: Steady, paths: Trajectories | None, departures: _Departures) -> Iterator[_Found]:
    """What the object causes, frame by frame, from its first touch on."""
    height, width = shot.size
    # under a moving camera, things that rest move too
    companions, bystanders = _things(shot, departures) if paths is None else ([], [])
    everywhere = Window(0, 0, width, height)
    effect, age = np.zeros((height, width), bool), np.zeros((height, width), np.uint8)
    begins = _begins(shot)
    for index in range(shot.count):
        if paths is not None and index in begins:
            effect, age = np.zeros_like(effect), np.zeros_like(age)
        elif paths is not None:
            _, positions, _ = next(paths.walk(index, everywhere, -1))
            moved = cv2.remap(np.dstack([effect, age]).astype(np.uint8), positions, None, cv2.INTER_NEAREST)
            effect, age = moved[..., 0] > 0, moved[..., 1]
        others, own = (_covered(things, index, (height, width)) for things in (bystanders, companions))
        # a companion may be found in parts, of which one looks otherwise
        departs = departures.at(index) & (own | ~_grown(others, _BYSTANDERS_EDGE))
        causes = around(shot.hidden[index]) | effect | own
        effect = effects(departs, causes, (age >= STALE) & ~own)
        age = aged(age, departures.compared(index), departs & ~effect)
        others = shadows(departs & ~effect & (age < STALE), departures.darkened(index))
        yield _Found(index, effect, own, others)


def _begins(shot: Steady) -> set[int]:
    """The frames that follow no other in time: the first, and those after gaps."""
    return {run.start for run in shot.runs}


def _foretold(frames: Iterable[_Found], begins: Collection[int]) -> Iterator[_Found]:
    """The same with the shadows that run ahead of what throws them: what they touch is an effect soon after."""
    held: deque[_Found] = deque()
    for found in frames:
        if found.frame in begins:
            yield from held
            held.clear()
        later = found.effect
        for earlier in reversed(held):
            later = effects(earlier.others, later, np.zeros_like(later))
            if not later.any():
                break
            np.logical_or(earlier.effect, later, out=earlier.effect)
        held.append(found)
        if len(held) > _AHEAD:
            yield held.popleft()
    yield from held


def _kinds(effect: Mask, along: Mask, darkened: Mask, certainty: FloatImage) -> NDArray[np.uint8]:
    """The kind of each connected effect, by what most of it is, its surest pixels before all."""
    count, parts = cv2.connectedComponents(effect.astype(np.uint8), connectivity=8)
    sure = certainty + np.float32(0.01)
    area, goes_along, dark = (
        np.bincount(parts[mask], sure[mask], minlength=count) for mask in (effect, along & effect, darkened & effect)
    )
    kinds = np.where(2 * goes_along > area, _ALONG, np.where(2 * dark > area, _SHADOW, _MOVED)).astype(np.uint8)
    kinds[0] = 0
    return np.asarray(kinds[parts])


def _things(shot: Steady, departures: _Departures) -> tuple[list[Thing], list[Thing]]:
    """The companions of the object, and the bystanders."""
    companions, bystanders = [], []
    for run in shot.runs:
        for thing in follow(run, departures.at, shot.hidden, shot.inside):
            if is_companion(thing, shot.roto, shot.rgb, departures.darkened):
                companions.append(thing)
            elif thing.own:
                bystanders.append(thing)
        # who is free of the object only later was there before; and shadows that meet join those who throw them
        ways = ((run[::-1], departures.at), (run, departures.solid), (run[::-1], departures.solid))
        bystanders += [
            thing
            for thing in chain.from_iterable(follow(way, seen, shot.hidden, shot.inside) for way, seen in ways)
            if came_by_itself(thing, run, shot.roto)
            and not looks_alike(thing, shot.roto, shot.rgb, departures.darkened)
        ]
    return companions, bystanders


def _covered(things: list[Thing], index: int, shape: tuple[int, int]) -> Mask:
    masks = [thing.sightings[index].whole(shape) for thing in things if index in thing.sightings]
    return np.logical_or.reduce(masks) if masks else np.zeros(shape, bool)


def _grown(mask: Mask, pixels: int) -> Mask:
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * pixels + 1,) * 2, np.uint8)) > 0
