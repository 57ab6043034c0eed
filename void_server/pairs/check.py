"""Finding pairs that nobody should learn from, and saying why."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..api.errors import InputError
from ..imaging import exr
from ..imaging.exr import FloatImage
from ..imaging.sequence import format_frames
from ..quadmask import classes
from .layout import CHANGE, EFFECTS, GRID, PLATE, QUADMASK, ROTO, TRUTH, PairFolder
from .masks import FLOOR, VISIBLE

#: The masks that every pair has, in every frame of the plate.
_MASKS = (ROTO, CHANGE, QUADMASK, EFFECTS)
#: The share of the frame that an object must cover to be seen, and of the frames in which it must be.
SEEN, SEEN_FRAMES = 0.0008, 0.25
#: The share that it may cover at most, in any frame.
_TOO_LARGE = 0.7
#: The share of pixels that must differ between plate and truth, in the frame where most do.
CHANGES = 0.001
#: Metres, and metres a second, beyond which nothing of ours goes.
_FARTHEST, _FASTEST, _DEEPEST = 40.0, 30.0, -1.0
#: A firefly is so many times brighter than all around it, and at least so bright.
_FIREFLY, _FIREFLY_LEAST = 6.0, 2.0
_FIREFLIES = 3
#: What plate and truth may differ by on average where nothing is said to change, as a share of the level: less than
#: what counts as a change.
_LEAK = 0.7 * VISIBLE
_DARKEST = 0.004
#: The share of a plate that may be brighter than display white.
_BRIGHTEST = 0.06


@dataclass(frozen=True)
class Frame:
    """One frame of a pair, read: pictures (height, width, 3), mattes (height, width)."""

    number: int
    plate: FloatImage
    truth: FloatImage
    roto: NDArray[np.float32]
    change: NDArray[np.float32]


def faults(pair: PairFolder) -> list[str]:
    """What is wrong with a pair, a sentence each; none where it is good."""
    try:
        facts = pair.facts()
        if lacking := [name for name in (PLATE, TRUTH, *_MASKS) if not pair.has(name)]:
            return [f"It has no {', '.join(lacking)}."]
        plate = pair.sequence(PLATE)
        # what only a mask has, the plate lacks
        frames = sorted({*plate.frames, *(frame for name in _MASKS for frame in pair.sequence(name).frames)})
        for frame in frames:
            plate.path(frame)
        paths = (facts.model_extra or {}).get("paths", {})
        _check_codes(pair, frames)
        return [*_of_paths(paths, facts.fps), *_of_frames(list(_read(pair, frames)))]
    except InputError as error:
        return [str(error)]


def _read(pair: PairFolder, frames: Sequence[int]) -> Iterator[Frame]:
    """All frames, which a pair has few of, and small. Raises :class:`InputError` for what cannot be read."""
    plates, truths = pair.sequence(PLATE), pair.sequence(TRUTH)
    rotos, changes = pair.sequence(ROTO), pair.sequence(CHANGE)
    single = truths.frames[0] if len(truths.frames) == 1 else None
    for frame in frames:
        window = exr.windows(plates.path(frame))[1]
        yield Frame(
            frame,
            exr.read_rgb(plates.path(frame)),
            exr.read_rgb(truths.path(frame if single is None else single)),
            exr.read_matte(rotos.path(frame), window),
            exr.read_matte(changes.path(frame), window),
        )


def _check_codes(pair: PairFolder, frames: Sequence[int]) -> None:
    """Raise :class:`InputError` where a quadmask holds anything but codes."""
    for name in (QUADMASK, EFFECTS, *([GRID] if pair.has(GRID) else [])):
        found = pair.sequence(name)
        for frame in frames:
            classes.read(found.path(frame), exr.windows(found.path(frame))[1])


def _of_frames(frames: Sequence[Frame]) -> list[str]:
    found = []
    pictures = [
        (f"{name} {one.number}", image)
        for one in frames
        for name, image in (("plate", one.plate), ("truth", one.truth))
    ]
    if broken := [name for name, image in pictures if not np.isfinite(image).all()]:
        return [f"Pixels of {broken[0]} are no numbers."]
    cover = [float((one.roto >= 0.5).mean()) for one in frames]
    seen = sum(share >= SEEN for share in cover) / len(cover)
    if seen < SEEN_FRAMES:
        found.append(
            f"The object is not seen: it is there in {seen:.0%} of the frames, and covers {max(cover):.2%} at most."
        )
    if max(cover) > _TOO_LARGE:
        found.append(f"The object covers {max(cover):.0%} of a frame.")
    changes = [float(((one.change >= 0.5) | _differs(one)).mean()) for one in frames]
    if max(changes) < CHANGES:
        found.append(f"Nothing changes: plate and truth differ in {max(changes):.2%} of the pixels at most.")
    leaks = [one.number for one in frames if leak(one) > _LEAK]
    if leaks:
        found.append(f"Plate and truth differ where no mask says so, in frame {format_frames(leaks)}.")
    sparks = [one.number for one in frames if max(fireflies(one.plate), fireflies(one.truth)) >= _FIREFLIES]
    if sparks:
        found.append(f"There are fireflies, in frame {format_frames(sparks)}; render with more samples.")
    if np.mean([image.mean() for _, image in pictures]) < _DARKEST:
        found.append("It is too dark to see anything.")
    bright = float(np.mean([(one.plate.max(axis=-1) > 1).mean() for one in frames]))
    if bright > _BRIGHTEST:
        found.append(f"It is too bright: {bright:.0%} of the plate is above display white.")
    return found


def _differs(frame: Frame) -> NDArray[np.bool_]:
    """Where plate and truth differ on the object itself."""
    step = np.abs(frame.plate - frame.truth).max(axis=-1)
    return np.asarray((frame.roto >= 0.5) & (step > 0.02))


def leak(frame: Frame) -> float:
    """How much plate and truth differ outside the masks, as a share of the level."""
    masked = ((frame.roto > 0) | (frame.change >= 0.5)).astype(np.uint8)
    rest = cv2.dilate(masked, np.ones((5, 5), np.uint8)) == 0
    if not rest.any():
        return 0.0
    # of each pixel, or a lamp would count for more than all that it lights
    level = (frame.plate[rest] + frame.truth[rest]) / 2
    return float((np.abs(frame.plate[rest] - frame.truth[rest]) / (level + FLOOR)).mean())


def fireflies(image: FloatImage) -> int:
    """How many lone pixels are far brighter than all around them."""
    level = image.max(axis=-1)
    ring = np.ones((5, 5), np.uint8)
    ring[1:4, 1:4] = 0
    around = cv2.dilate(level, ring)
    return int(((level > _FIREFLY * around) & (level > _FIREFLY_LEAST)).sum())


def _of_paths(paths: Mapping[str, Mapping[str, Sequence[Sequence[float]]]], fps: float) -> list[str]:
    """What flies off, falls through the floor, or is faster than anything of ours."""
    for state, bodies in paths.items():
        for name, path in bodies.items():
            if wrong := _gone_wrong(path, fps):
                return [f"The physics of the {state} has exploded: {name} {wrong}."]
    return []


def _gone_wrong(path: Sequence[Sequence[float]], fps: float) -> str:
    places: list[Any] = [pose[:3] for pose in path]
    if not all(math.isfinite(c) for place in places for c in place):
        return "is nowhere"
    if any(math.dist(place, (0, 0, 0)) > _FARTHEST for place in places):
        return f"is more than {_FARTHEST:g} m away"
    if any(place[2] < _DEEPEST for place in places):
        return "falls through the floor"
    fastest = max((math.dist(a, b) * fps for a, b in pairwise(places)), default=0.0)
    # of a cloth, how far its points have gone in all
    gone = [pose[7] for pose in path if len(pose) > 7]
    fastest = max((fastest, *((b - a) * fps for a, b in pairwise(gone))))
    return f"moves at {fastest:.0f} m/s" if fastest > _FASTEST else ""
