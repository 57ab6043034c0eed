"""Things that move by themselves: followed through the shot, and told apart by how they move and look.

A *bystander* moved before the object came near and keeps its motion afterwards: it belongs to the scene, also where the
object passes before it. A *companion* never needs to touch the object and still goes with it: a reflection in a mirror,
a shadow on a far wall.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ...imaging.exr import FloatImage
from ...imaging.masks import Mask
from ...imaging.window import Window
from .causes import around

#: A thing has at least this share of the frame's pixels.
_SMALLEST = 0.0006
#: So many frames must a thing move without touching the object, so far (a share of the diagonal).
_FREE, _MOVED = 4, 0.012
#: One frame later, a thing's area changes by no more than this factor.
_GROWS = 1.7
#: A thing that passes behind the object goes on where so much of what should be visible of it departs; less than such a
#: share of it tells nothing, as its outline may change.
_STILL_THERE, _TOLD = 0.6, 0.25
#: A thing of which so much is not before or behind the object is seen.
_IN_SIGHT = 0.6
#: Hidden for so many frames, a thing is lost.
_PATIENCE = 40
#: A companion's path follows the object's: so much of it is explained, so far it goes along per pixel of the object.
_EXPLAINED, _ALONG = 0.9, 0.15
#: A reflection shares so much of the object's colours; so much of a shadow is a darkened background.
_SAME_COLOURS, _DARKENED = 0.58, 0.7
_BINS = 24
_RIM = 3
#: The speed of a thing is that of so many frames.
_MEMORY = 6


class Sighting(NamedTuple):
    """A thing in one frame: its pixels in ``window``.

    ``free`` says whether it stands free of the object there, ``cut_off``, whether the frame's border cuts it off.
    """

    window: Window
    mask: Mask
    free: bool
    cut_off: bool

    def whole(self, shape: tuple[int, ...]) -> Mask:
        """The mask of the whole frame."""
        result = np.zeros(shape, bool)
        inside = self.window.intersection(Window(0, 0, shape[1], shape[0]))
        rows, columns = self.window.slices(inside)
        result[inside.y : inside.bottom, inside.x : inside.right] = self.mask[rows, columns]
        return result

    @property
    def centre(self) -> NDArray[np.float64]:
        """The middle of its box, x and y."""
        window = self.window
        return np.array([window.x + window.width / 2, window.y + window.height / 2])

    def moved(self, by: NDArray[np.floating]) -> Sighting:
        """The same thing elsewhere."""
        x, y = (round(float(side)) for side in by)
        window = self.window
        return Sighting(Window(window.x + x, window.y + y, window.width, window.height), self.mask, False, False)


@dataclass
class Thing:
    """Something followed through the shot, by frame index. ``own`` says that nothing set it in motion."""

    own: bool
    sightings: dict[int, Sighting] = field(default_factory=dict)

    def free(self) -> list[tuple[int, Sighting]]:
        """The sightings in which it touches nothing of the object."""
        return [(index, sighting) for index, sighting in self.sightings.items() if sighting.free]

    @property
    def speed(self) -> NDArray[np.float64]:
        """Its motion from one frame to the next."""
        recent = self.free()[-_MEMORY:]
        (first, earlier), (last, later) = recent[0], recent[-1]
        return _shift(earlier, later) / (last - first) if len(recent) > 1 else np.zeros(2)

    def travelled(self) -> float:
        """How far it moved while it was free and whole in the frame, in pixels; growing to one side is none."""
        windows = [sighting.window for _, sighting in self.free() if not sighting.cut_off]
        if not windows:
            return 0.0
        first, last = windows[0], windows[-1]
        sides = [(last.x - first.x, last.right - first.right), (last.y - first.y, last.bottom - first.bottom)]
        across, down = (min(map(abs, pair)) if min(pair) * max(pair) > 0 else 0 for pair in sides)
        return math.hypot(across, down)


def follow(
    run: range, departing: Callable[[int], Mask], hidden: Sequence[Mask], inside: Callable[[int], Mask] | None = None
) -> list[Thing]:
    """Follow all things that stand out from the background and apart from the object for some time, and move.

    By the frame indices of ``run``, which may go back in time, ``departing`` is what stands out, ``hidden`` is the
    object, and ``inside`` what the frame holds, all without it.
    """
    done: list[Thing] = []
    active: list[Thing] = []
    touched = np.zeros(hidden[0].shape, bool)
    for index in run:
        now = departing(index)
        near = around(hidden[index])
        within = np.ones(touched.shape, bool) if inside is None else inside(index)
        regions = list(_regions(now, near, within))
        taken: set[int] = set()
        going_on = []
        for thing in active:
            sighting = _next(thing, index, regions, taken, now, within & ~hidden[index])
            if sighting is None:
                done.append(thing)
            else:
                thing.sightings[index] = sighting
                going_on.append(thing)
        active = list(going_on)
        for number, region in enumerate(regions):
            if region.free and number not in taken and not _known(region, going_on, index):
                # what comes off the object, or off what touched it, was set in motion by it
                own = not (region.whole(now.shape) & touched).any()
                active.append(Thing(own, {index: region}))
        before, touched = touched, near.copy()
        for region in regions:
            whole = region.whole(now.shape)
            if (not region.free or (whole & before).any()) and not _known(region, going_on, index):
                touched |= whole
    least = _MOVED * math.hypot(*touched.shape)
    found = [thing for thing in done + active if len(thing.free()) >= _FREE and thing.travelled() >= least]
    return [Thing(thing.own, dict(sorted(thing.sightings.items()))) for thing in found]


def came_by_itself(thing: Thing, run: range, rotos: Callable[[int], Mask]) -> bool:
    """Whether a thing that was followed back in time to the first frame, and is seen there, moves unlike the object.

    What the object sets in motion is not where it would come from, and what it carries or casts goes along with it.
    What comes out from behind it may have been let go.
    """
    if not thing.own or min(thing.sightings) > run.start:
        return False
    begun, hidden = thing.sightings[run.start], rotos(run.start)
    whole = begun.whole(hidden.shape)
    if np.count_nonzero(whole & ~hidden) < _IN_SIGHT * np.count_nonzero(begun.mask):
        return False
    both = [(sighting.centre, rotos(index)) for index, sighting in thing.sightings.items()]
    places = np.array([(centre, _centre(roto)) for centre, roto in both if roto.any()])
    if len(places) < _FREE:
        return False
    own, master = places[-1] - places[0]
    return math.hypot(*(own - master)) > math.hypot(*master)


def _regions(departing: Mask, near: Mask, inside: Mask) -> Iterator[Sighting]:
    edge = cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0) == 0
    count, labels, stats, _ = cv2.connectedComponentsWithStats(departing.astype(np.uint8), connectivity=8)
    for number in range(1, count):
        x, y, width, height, area = (int(value) for value in stats[number])
        if area < _SMALLEST * departing.size:
            continue
        box = np.s_[y : y + height, x : x + width]
        mask = labels[box] == number
        free, cut_off = (not (mask & near[box]).any()), bool((mask & edge[box]).any())
        yield Sighting(Window(x, y, width, height), mask, free, cut_off)


def _shift(one: Sighting, other: Sighting) -> NDArray[np.float64]:
    """How far, x and y, the first sighting must move to share the most with the other; where many do, the least far."""
    width, height = one.mask.shape[::-1]
    there = cv2.copyMakeBorder(other.mask.astype(np.float32), height, height, width, width, cv2.BORDER_CONSTANT)
    shared = cv2.matchTemplate(there, one.mask.astype(np.float32), cv2.TM_CCORR)
    x = np.arange(shared.shape[1]) - width + other.window.x - one.window.x
    y = np.arange(shared.shape[0]) - height + other.window.y - one.window.y
    row, column = np.unravel_index(int((shared - np.hypot(x, y[:, None])).argmax()), shared.shape)
    return np.array([x[column], y[row]], np.float64)


def _united(sightings: Sequence[Sighting]) -> Sighting:
    """All that a thing covers in one of the sightings: its limbs swing, also while it is not seen free."""
    left, top = np.min([(sighting.window.x, sighting.window.y) for sighting in sightings], axis=0).tolist()
    right, bottom = np.max([(sighting.window.right, sighting.window.bottom) for sighting in sightings], axis=0).tolist()
    window = Window(left, top, right - left, bottom - top)
    mask = np.zeros((window.height, window.width), bool)
    for sighting in sightings:
        mask[window.slices(sighting.window)] |= sighting.mask
    return Sighting(window, mask, False, False)


def _known(region: Sighting, things: list[Thing], index: int) -> bool:
    """Whether a region is mostly what some thing is expected to cover."""
    for thing in things:
        sighting = thing.sightings.get(index)
        if sighting is not None and _shared(region, sighting) > 0.5 * np.count_nonzero(region.mask):
            return True
    return False


def _shared(one: Sighting, other: Sighting) -> int:
    both = one.window.intersection(other.window)
    if both.empty:
        return 0
    return int(np.count_nonzero(one.mask[one.window.slices(both)] & other.mask[other.window.slices(both)]))


def _next(
    thing: Thing, index: int, regions: list[Sighting], taken: set[int], departing: Mask, seen: Mask
) -> Sighting | None:
    """Where a thing is a frame later; None where it is lost."""
    since, reference = thing.free()[-1]
    speed = thing.speed
    expected = reference.moved(speed * (index - since))
    area = np.count_nonzero(reference.mask)
    for number, region in enumerate(regions):
        size = np.count_nonzero(region.mask)
        fits = area / _GROWS < size < area * _GROWS or region.cut_off
        if region.free and number not in taken and fits and _shared(region, expected) > 0.3 * min(size, area):
            taken.add(number)
            return region
    if len(thing.free()) < _FREE or abs(index - since) > _PATIENCE:
        return None
    there = expected.whole(departing.shape)
    visible = there & seen
    missing, least = np.count_nonzero(visible & ~departing), (1 - _STILL_THERE) * np.count_nonzero(visible)
    if not there.any() or missing > max(least, _TOLD * area):
        return None
    return _united([sighting.moved(speed * (index - known)) for known, sighting in thing.free()[-_MEMORY:]])


def is_companion(
    thing: Thing,
    rotos: Callable[[int], Mask],
    rgb: Callable[[int], FloatImage],
    darkened: Callable[[int], Mask],
) -> bool:
    """Whether a thing goes with the object over time, and is its reflection or its shadow by its looks."""
    seen = _beside(thing, rotos)
    if len(seen) < _FREE:
        return False
    places = np.array([sighting.centre for _, sighting, _ in seen])
    masters = np.array([_centre(roto) for *_, roto in seen])
    along, explained = _goes_with(places, masters)
    return along >= _ALONG and explained >= _EXPLAINED and _alike(seen, rgb, darkened)


def looks_alike(
    thing: Thing,
    rotos: Callable[[int], Mask],
    rgb: Callable[[int], FloatImage],
    darkened: Callable[[int], Mask],
) -> bool:
    """Whether a thing has the object's colours, as its reflection does, or only darkens the background."""
    return _alike(_beside(thing, rotos), rgb, darkened)


def _alike(
    seen: Sequence[tuple[int, Sighting, Mask]], rgb: Callable[[int], FloatImage], darkened: Callable[[int], Mask]
) -> bool:
    colours, dark = [], []
    for index, sighting, roto in seen:
        mask = _core(sighting.whole(roto.shape))
        picture = rgb(index)
        colours.append(float(np.minimum(_colours(picture[roto]), _colours(picture[mask])).sum()))
        dark.append(float(darkened(index)[mask].mean()))
    if not colours:
        return False
    return bool(np.median(colours) >= _SAME_COLOURS or np.median(dark) >= _DARKENED)


def _beside(thing: Thing, rotos: Callable[[int], Mask]) -> list[tuple[int, Sighting, Mask]]:
    """The free sightings of a thing in frames that show the object, with their index and the object."""
    both = ((index, sighting, rotos(index)) for index, sighting in thing.free())
    return [(index, sighting, roto) for index, sighting, roto in both if roto.any()]


def _core(mask: Mask) -> Mask:
    """The mask without its rim, which departs beyond a thing's edge; whole if nothing else is left."""
    inner = cv2.erode(mask.astype(np.uint8), np.ones((2 * _RIM + 1,) * 2, np.uint8)) > 0
    return inner if inner.any() else mask


def _centre(mask: Mask) -> tuple[float, float]:
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return x + width / 2, y + height / 2


def _goes_with(places: NDArray[np.float64], masters: NDArray[np.float64]) -> tuple[float, float]:
    """How far the places go along the masters' way, for each of their pixels, and how much of their motion that is."""
    places, masters = places - places.mean(axis=0), masters - masters.mean(axis=0)
    way = np.linalg.svd(masters, full_matrices=False)[2][0]
    walked = masters @ way
    if not walked.any() or not places.any():
        return 0.0, 0.0
    slope = walked @ places / (walked @ walked)
    left = places - walked[:, None] * slope
    return float(slope @ way), 1 - float((left**2).sum() / (places**2).sum())


def _colours(pixels: FloatImage) -> FloatImage:
    """The distribution of chromaticities among pixels (n, 3)."""
    total = pixels.sum(axis=-1) + np.float32(0.02)
    red, green = pixels[:, 0] / total, pixels[:, 1] / total
    counts = np.histogram2d(red, green, bins=_BINS, range=((0.05, 0.65), (0.05, 0.65)))[0].astype(np.float32)
    smooth = cv2.GaussianBlur(counts, (0, 0), 1)
    return smooth / np.maximum(smooth.sum(), np.float32(1))
