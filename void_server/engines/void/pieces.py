"""Cut long shots into independent pieces, and join their frames.

The model's windows are blended at every step, which no two machines can share. Pieces can run anywhere; frames that
two of them share cross-fade from one to the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ...imaging.exr import FloatImage

#: Frames that neighbouring pieces share.
SHARED = 16
#: Frames of a latent frame. Pieces begin where one does, so that frames they share begin with the same noise.
STRIDE = 4


def cut(count: int, most: int) -> tuple[range, ...]:
    """The frame indices of each piece of ``count`` frames: about equally many, and ``most`` at most; 0 for one piece.

    Raises ValueError where ``most`` leaves little beside what pieces share.
    """
    if not most or count <= most:
        return (range(count),)
    if most < 3 * SHARED:
        raise ValueError(f"pieces of {most} frames are hardly longer than the {SHARED} frames they share")
    number = math.ceil((count - SHARED) / (most - SHARED - STRIDE))
    starts = [STRIDE * round(piece * (count - SHARED) / number / STRIDE) for piece in range(number)]
    return tuple(range(start, end + SHARED) for start, end in zip(starts, [*starts[1:], count - SHARED], strict=True))


def faded(pieces: Sequence[range], index: int, read: Callable[[int, int], FloatImage]) -> FloatImage:
    """The frame ``index`` of the shot; ``read`` gives a piece's frame by the piece's number and its index in there."""
    numbers = [number for number, piece in enumerate(pieces) if index in piece]
    first = read(numbers[0], index - pieces[numbers[0]].start)
    if len(numbers) == 1:
        return first
    start = pieces[numbers[1]].start
    share = (index - start + 1) / (SHARED + 1)
    return (1 - share) * first + share * read(numbers[1], index - start)
