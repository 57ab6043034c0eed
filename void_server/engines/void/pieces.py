"""Choose the frames that the model makes, cut long shots into independent pieces of them, and join what was made.

The model's windows are blended at every step, which no two machines can share. Pieces can run anywhere; frames that
two of them share cross-fade from one to the other.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence

from ...imaging.exr import FloatImage
from .between import between

#: Frames that neighbouring pieces share.
SHARED = 16
#: Frames of a latent frame. Pieces begin where one does, so that frames they share begin with the same noise.
STRIDE = 4


def made(count: int, step: int) -> list[int]:
    """The indices of the frames that the model makes, of a shot of ``count``: every ``step``-th, and both ends."""
    return sorted({*range(0, count, step), count - 1})


def at(index: int, indices: Sequence[int], read: Callable[[int], FloatImage]) -> FloatImage:
    """The frame ``index`` of a shot, of whose frames ``indices`` were made; ``read`` gives those by their number."""
    after = bisect_left(indices, index)
    if indices[after] == index:
        return read(after)
    share = (index - indices[after - 1]) / (indices[after] - indices[after - 1])
    return between(read(after - 1), read(after), share)


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
