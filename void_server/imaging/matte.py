"""Decide which channels of a sequence hold its matte, once for the whole sequence, from a few frames.

Compositors write a matte into the alpha; paint programs write it as white on black under an alpha that is solid or
empty. So the first channels with something drawn in them are used, and a note tells of any choice but the obvious one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..api.errors import ImageError, SequenceError
from . import exr, movie
from .channels import largest, least
from .exr import FloatImage
from .sequence import Sequence, spread
from .window import Window

#: From this value on a pixel is object.
OBJECT = 0.5
# The number of frames to read; more if nothing is drawn in them.
_FEW, _MORE = 5, 24
# Codecs change even areas by less.
_EVEN = 0.02
# An alpha more opaque than this counts as solid with a frayed edge.
_SOLID = 0.98
_THINNED = 1 << 18
# Black and white as codecs leave them; a matte has little in between, a picture little else.
_BLACK, _WHITE, _PICTURE = 0.006, 0.98, 0.8

#: Says in words that follow "holds" why values (0..1, any number of them) are not the matte; empty if they may be.
Wrong = Callable[[FloatImage], str]


def picture(values: FloatImage) -> str:
    """Why values are not a roto's, in words; empty if they may be."""
    between = np.mean((values > _BLACK) & (values < _WHITE))
    return "a picture, not a matte; are plate and roto swapped?" if between > _PICTURE else ""


def black_and_white(pixels: FloatImage) -> bool:
    """Whether an image, (height, width, channels), is all black and white areas, as a matte is."""
    black, white = np.all(np.abs(pixels) < _BLACK, axis=-1), np.all(np.abs(pixels - 1) < 1 - _WHITE, axis=-1)
    return bool(black.any() and white.any() and np.mean(black | white) > _SOLID)


def empty(what: str, sequence: Sequence, count: int, highest: float) -> SequenceError:
    """The error for a matte with no pixel that counts as object."""
    if highest > _EVEN:
        return SequenceError(
            f"The {what} {sequence.name} marks nothing: the highest value of its matte is {highest:.2g}, and from "
            f"{OBJECT:g} on a pixel counts; draw it at full opacity."
        )
    return SequenceError(
        f"The {what} {sequence.name} is empty in all {count} frames; draw what to remove, into its alpha."
    )


def choose(
    sequence: Sequence,
    what: str,
    frames: tuple[int, ...],
    wrong: Wrong = picture,
    *,
    alpha_counts: bool = True,
    may_be_empty: bool = False,
) -> Sequence:
    """The sequence with the channels that hold its matte, and a note where they are not the obvious ones.

    A few of ``frames`` are read. Where ``alpha_counts``, as in a roto, an alpha in which something is drawn is taken
    whatever the colours hold, and pixels beyond a frame's data window are 0. Raises :class:`ImageError` if no channels
    qualify, or several do; :class:`SequenceError` if nothing is drawn in any frame, unless ``may_be_empty``.
    """
    look = _Look(sequence, what, wrong)
    done = 0
    for seen in _looked_at(sequence, frames, whole=alpha_counts):
        look.add(*seen)
        done += 1
        if done >= min(_FEW, len(frames)) and look.decided:
            break
    channels = look.taken(alpha_counts, done == len(frames))
    highest = look.highest(channels)
    if highest < OBJECT and done == len(frames) and not may_be_empty:
        raise empty(what, sequence, done, highest)
    note = look.note(channels)
    return replace(sequence, channels=channels).noting(*[note] if note else [])


def _looked_at(
    sequence: Sequence, frames: tuple[int, ...], *, whole: bool
) -> Iterator[tuple[tuple[str, ...], FloatImage | NDArray[np.uint8]]]:
    """Channels and pixels of a few frames spread over the sequence, then of more; a movie's first frames."""
    if sequence.movie:
        for picture_ in islice(movie.read_frames(sequence.movie), min(_MORE, len(frames))):
            yield exr.RGB, picture_
        return
    order = [*spread(len(frames), _FEW), *spread(len(frames), _MORE)]
    for index in dict.fromkeys(order):
        path = sequence.path(frames[index])
        names = exr.channel_names(path)
        needed = tuple(dict.fromkeys(name for group in exr.matte_channels(path, names) for name in group))
        data, display = exr.windows(path)
        yield needed, exr.read_channels(path, needed, data.union(display) if whole else data)


class _Look:
    """Statistics of each group of channels that may hold the matte, over the frames read."""

    def __init__(self, sequence: Sequence, what: str, wrong: Wrong) -> None:
        self._sequence, self._what, self._wrong = sequence, what, wrong
        self._names: tuple[str, ...] = ()
        self._low: NDArray[np.float32] = np.zeros(0, np.float32)
        self._high: NDArray[np.float32] = np.zeros(0, np.float32)
        self._thin: list[FloatImage] = []

    def add(self, names: tuple[str, ...], pixels: FloatImage | NDArray[np.uint8]) -> None:
        """Add one more frame, (height, width, channels), of 0..1 or of 8 bits."""
        if self._names and names != self._names:
            raise ImageError(
                f"The frames of the {self._what} {self._sequence.name} have different channels "
                f"({', '.join(self._names)}, and {', '.join(names)}); write them all alike."
            )
        # over all pixels, as an object may be small; row by row, which is many times faster
        low, high = (_finite(most.reduce(most.reduce(pixels, axis=0), axis=0)) for most in (np.fmin, np.fmax))
        first = not self._names
        self._names = names
        self._low = low if first else np.minimum(self._low, low)
        self._high = high if first else np.maximum(self._high, high)
        step = max(1, int((pixels.shape[0] * pixels.shape[1] / _THINNED) ** 0.5))
        self._thin.append(_finite(pixels[::step, ::step]).reshape(-1, len(names)))

    @property
    def _groups(self) -> list[tuple[str, ...]]:
        return exr.matte_channels(next(iter(self._sequence.files.values())), self._names)

    def _drawn(self, group: tuple[str, ...]) -> tuple[str, ...]:
        """Those channels of a group that are not the same everywhere."""
        indices = [self._names.index(name) for name in group]
        return tuple(self._names[i] for i in indices if self._high[i] - self._low[i] > _EVEN)

    def _values(self, channels: tuple[str, ...]) -> FloatImage:
        indices = [self._names.index(name) for name in channels]
        return np.concatenate([pixels[:, indices] for pixels in self._thin])

    @property
    def decided(self) -> bool:
        """Whether more frames would show nothing new."""
        drawn = [channels for group in self._groups if (channels := self._drawn(group))]
        return len(drawn) == len(self._groups) or any(
            self.highest(channels) >= OBJECT and not self._fault(channels) for channels in drawn
        )

    def highest(self, channels: tuple[str, ...]) -> float:
        """The highest value in any of the channels."""
        return max(float(self._high[self._names.index(name)]) for name in channels)

    def _solid(self, channels: tuple[str, ...]) -> bool:
        at = self._names.index(channels[0])
        return all(float(np.mean(pixels[:, at] >= OBJECT)) >= _SOLID for pixels in self._thin)

    def _fault(self, channels: tuple[str, ...]) -> str:
        """What is wrong with a matte in these channels, all of which are drawn in."""
        values = self._values(channels)
        if not _one_matte(values):
            return "different pictures; write the one that you mean into the alpha"
        return self._wrong(values.max(axis=-1))

    def taken(self, alpha_counts: bool, all_seen: bool) -> tuple[str, ...]:
        """The channels that hold the matte; what is empty may still be drawn in, where not all frames were seen."""
        groups = self._groups
        drawn = {group: channels for group in groups if (channels := self._drawn(group))}
        late = groups[0] not in drawn and not all_seen and alpha_counts and self.highest(groups[0]) < OBJECT
        if not drawn or late:
            usable = [channels for channels in drawn.values() if not self._fault(channels)]
            return usable[0] if usable else groups[0]
        faults = {group: self._fault(channels) for group, channels in drawn.items()}
        good = [group for group, fault in faults.items() if not fault]
        if not good:
            reasons = [*self._evenly(groups), *(_holds(drawn[group], fault) for group, fault in faults.items())]
            end = "" if reasons[-1].endswith("?") else "."
            raise ImageError(f"The {self._what} {self._sequence.name} cannot be used: {', and '.join(reasons)}{end}")
        if alpha_counts and len(good) > 1 and self._solid(good[0]):
            good = good[1:]
        if not alpha_counts and any(not _one_matte(self._values((*good[0], *other))) for other in good[1:]):
            both = " and ".join(_words(group) for group in good)
            raise ImageError(
                f"The {self._what} {self._sequence.name} is not clear: {both} hold different ones; write it into one."
            )
        return drawn[good[0]]

    def _evenly(self, groups: list[tuple[str, ...]]) -> list[str]:
        return [
            f"{_words(group)} is {self._high[self._names.index(group[0])]:.2g} everywhere"
            for group in groups
            if not self._drawn(group)
        ]

    def note(self, taken: tuple[str, ...]) -> str:
        """A note for the artist about the choice, unless it is the obvious one."""
        first = self._groups[0]
        if set(taken) <= set(first) and (len(first) == 1 or len(taken) == len(first)):
            return ""
        if set(taken) <= set(first):
            why = "nothing is drawn in the others"
        elif not (drawn := self._drawn(first)):
            why = self._evenly([first])[0]
        elif fault := self._fault(drawn):
            why = _holds(drawn, fault.partition(";")[0])
        else:
            why = f"{_words(first)} leaves next to nothing open"
        return f"The matte of the {self._what} {self._sequence.name} was read from {_words(taken)}: {why}."


def _finite(values: NDArray[Any]) -> FloatImage:
    """Values of 0..1 or of 8 bits as finite ones of 0..1."""
    scaled = values / np.float32(255) if values.dtype == np.uint8 else values
    return np.nan_to_num(scaled, nan=0.0, posinf=1.0, neginf=0.0).astype(np.float32)


def _words(channels: tuple[str, ...]) -> str:
    if channels == ("A",):
        return "alpha"
    return f"{', '.join(channels[:-1])} and {channels[-1]}" if len(channels) > 1 else channels[0]


def _holds(channels: tuple[str, ...], what: str) -> str:
    return f"{_words(channels)} {'hold' if len(channels) > 1 else 'holds'} {what}"


def _one_matte(values: FloatImage) -> bool:
    """Whether all columns hold the same matte: equal, or one shape in a colour."""
    low, high = least(values), largest(values)
    if np.mean(high - low > 0.02 + 0.1 * np.abs(high)) < 0.01:
        return True
    most = values.max(axis=0)
    inside = values >= 0.5 * most
    between = (values > 0.05 * most) & (values < 0.95 * most)
    return bool(np.mean(inside.any(axis=-1) != inside.all(axis=-1)) < 0.005 and between.mean() < 0.2)


def check_format(what: str, sequence: Sequence, frames: tuple[int, ...], display: Window, like: str = "plate") -> None:
    """Raise :class:`SequenceError` where a frame has another format than ``display``, that of what it is for."""
    for frame in frames[:1] if sequence.movie else frames:
        if sequence.movie:
            width, height = movie.size(sequence.movie)
        else:
            width, height = exr.windows(sequence.path(frame))[1][2:]
        if (width, height) != display[2:]:
            raise SequenceError(
                f"Frame {frame} of the {what} {sequence.name} is {width}x{height}, the {like} "
                f"{display.width}x{display.height}; write both in the same format."
            )
