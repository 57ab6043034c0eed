"""Choose the frames that the model makes, cut long shots into independent pieces of them, and join what was made.

The model's windows are blended at every step, which no two machines can share. Pieces can run anywhere; frames that
two of them share cross-fade from one to the other.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ...imaging.exr import FloatImage
from ...imaging.runs import runs
from .between import between

#: Frames that neighbouring pieces share.
SHARED = 16
#: Frames of a latent frame. Pieces begin where one does, so that frames they share begin with the same noise.
STRIDE = 4

# A run of fewer frames is not one latent frame beside its first.
_SHORT = 1 + STRIDE


class Planned(NamedTuple):
    """The frames that the model makes, by their ``indices`` in the shot, and the ``pieces`` in which it makes them.

    Pieces count in the frames that are made.
    """

    indices: list[int]
    pieces: tuple[range, ...]


def planned(frames: Sequence[int], step: int, most: int) -> Planned:
    """What the model makes of a shot's ``frames``, by their numbers: every ``step``-th, in pieces of ``most``.

    Each run of frames is for itself: to the model, what follows in a piece follows in time.
    """
    indices: list[int] = []
    pieces: list[range] = []
    for run in runs(frames):
        own, before = made(run, step), len(indices)
        pieces += [range(before + piece.start, before + piece.stop) for piece in cut(len(own), most)]
        indices += own
    return Planned(indices, tuple(pieces))


def between_gaps(frames: Sequence[int]) -> list[int]:
    """The numbers of the frames in runs so short that the model sees hardly any motion; none where there is one run."""
    found = runs(frames)
    return [frames[index] for run in found if len(run) < _SHORT for index in run] if len(found) > 1 else []


def made(run: range, step: int) -> list[int]:
    """The indices of the frames that the model makes of a run: every ``step``-th, and both ends."""
    return sorted({*run[::step], run[-1]})


def sources(index: int, indices: Sequence[int]) -> range:
    """The numbers of the frames, of those ``indices`` that are made, out of which comes the frame ``index``: 1 or 2."""
    after = bisect_left(indices, index)
    return range(after if indices[after] == index else after - 1, after + 1)


def at(index: int, indices: Sequence[int], read: Callable[[int], FloatImage]) -> FloatImage:
    """The frame ``index`` of a shot, of whose frames ``indices`` were made; ``read`` gives those by their number."""
    first, *last = sources(index, indices)
    if not last:
        return read(first)
    share = (index - indices[first]) / (indices[last[0]] - indices[first])
    return between(read(first), read(last[0]), share)


def cut(count: int, most: int) -> tuple[range, ...]:
    """The numbers of the frames of each piece, of ``count`` that the model makes.

    Pieces have about equally many, and ``most`` at most; 0 for one piece. Raises ValueError where ``most`` leaves
    little beside what pieces share.
    """
    if not most or count <= most:
        return (range(count),)
    if most < 3 * SHARED:
        raise ValueError(f"pieces of {most} frames are hardly longer than the {SHARED} frames they share")
    number = math.ceil((count - SHARED) / (most - SHARED - STRIDE))
    starts = [STRIDE * round(piece * (count - SHARED) / number / STRIDE) for piece in range(number)]
    return tuple(range(start, end + SHARED) for start, end in zip(starts, [*starts[1:], count - SHARED], strict=True))


def faded(pieces: Sequence[range], index: int, read: Callable[[int, int], FloatImage]) -> FloatImage:
    """The frame of number ``index``; ``read`` gives a piece's frame by the piece's number and its index in there."""
    numbers = [number for number, piece in enumerate(pieces) if index in piece]
    first = read(numbers[0], index - pieces[numbers[0]].start)
    if len(numbers) == 1:
        return first
    start = pieces[numbers[1]].start
    share = (index - start + 1) / (SHARED + 1)
    return (1 - share) * first + share * read(numbers[1], index - start)
