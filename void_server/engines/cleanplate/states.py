"""Places behind which something passes for most of the time in which they are seen: which of their states is the scene?

A median is what most frames show. Where few frames show a place at all, that may be somebody who walks by, of whom a
ghost would stand still in the result. There each pixel has a few states, and the one is taken that goes on from what
is sure around it, and while which nothing moves there (after Granados et al., Background Inpainting for Videos, 2012).
What fits best is found by loopy belief propagation (Felzenszwalb and Huttenlocher, 2006), at the analysed size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ...imaging.channels import largest
from ...imaging.exr import FloatImage
from ...imaging.masks import Mask, grown
from ...imaging.runs import run_of
from ...imaging.sequence import spread
from ...imaging.temporal import median
from .living import Living
from .passing import Passing
from .resting import Resting
from .sampling import lookup

#: Looks that differ by no more, display-referred, show one state.
_SAME = 0.06
#: A place that is seen for less of the shot may show something else for most of that.
_SELDOM = 0.75
#: It is in doubt where a smaller share of its looks shows one state, and these few have most of its looks.
_AGREED, _STATES, _MOST = 0.8, 3, 0.5
#: So many looks at most tell the states, of so many pixels at once.
_LOOKS, _PIECE = 48, 2048
#: What a state costs that hardly any look shows, the most that motion around it costs, or two neighbours that do not
#: fit, and what one costs that there is not.
_RARE, _CUT, _NEVER = 0.03, 0.3, 1e3
#: Motion counts within so many pixels.
_AROUND = (7, 7)
#: An artist is told where so much of what is hidden in a frame was in doubt.
_NOTABLE = 0.03
#: Neighbours tell each other what they know so many times, and so reach as far.
_ROUNDS = 200
#: Right, left, down, up; each beside its opposite.
_STEPS = ((0, 1), (0, -1), (1, 0), (-1, 0))


class Settled(NamedTuple):
    """The scene, (height, width, 3) of the analysed size, display-referred, where that was in ``doubt``.

    ``shares`` says of each frame which part of what is hidden in it was in doubt.
    """

    scene: FloatImage
    doubt: Mask
    shares: FloatImage

    @classmethod
    def none(cls, size: tuple[int, int], frames: int) -> Settled:
        """Nothing is in doubt."""
        return cls(np.zeros((*size, 3), np.float32), np.zeros(size, bool), np.zeros(frames, np.float32))

    def showing(self, at: FloatImage, samples: FloatImage, seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which of the ``samples`` (frames, pixels, 3) that are ``seen`` (frames, pixels) show the scene: those nearest
        to it, where it was in doubt. ``at`` (pixels, 2) says where the pixels lie, in analysed ones.
        """
        doubtful = np.flatnonzero(lookup(self.doubt.astype(np.float32), at) > 0)
        usable, shown = seen.copy(), seen[:, doubtful]
        away = largest(np.abs(samples[:, doubtful] - lookup(self.scene, at[doubtful])))
        away[~shown] = np.inf
        usable[:, doubtful] = shown & (away <= np.maximum(away.min(axis=0) + _SAME / 2, _SAME))
        return usable


def settle(shot: Resting, passing: Passing, lively: Living) -> Settled:
    """Find the places in doubt behind what is hidden, and what the scene is there."""
    indices = spread(len(shot.hidden), _LOOKS)
    free = np.stack([~grown(_unseen(shot, passing, index), 1) for index in indices])
    ever, hidden = free.any(axis=0), np.logical_or.reduce(list(shot.hidden))
    # what never rests has no states
    still = np.ones_like(ever) if not len(lively.places) else lively.lively == 0
    doubt = hidden & still & ever & (free.mean(axis=0) < _SELDOM)
    rows, columns = np.nonzero(doubt)
    looks = np.stack([shot.plate(index)[doubt] for index in indices])
    seen = free[:, doubt]
    doubtful = np.flatnonzero(agreement(looks, seen, shot.rest[doubt]) < _AGREED)
    if not len(doubtful):
        return Settled.none(shot.rest.shape[:2], len(shot.hidden))
    rows, columns = rows[doubtful], columns[doubtful]
    colours, shares, moving = states(
        looks[:, doubtful], seen[:, doubtful], np.stack([_motion(shot, index)[rows, columns] for index in indices])
    )
    resting = shares.sum(axis=1) >= _MOST
    at = rows[resting], columns[resting]
    doubt[:] = False
    doubt[at] = True
    costs = _RARE * (1 - shares) + np.minimum(moving, _CUT) + np.where(shares > 0, 0, _NEVER)
    chosen = fitting(shot.rest, (ever | ~hidden) & still & ~doubt, at, colours[resting], costs[resting])
    scene = shot.rest.copy()
    scene[at] = colours[resting][np.arange(len(chosen)), chosen]
    parts = [doubt[mask].mean() if mask.any() else 0 for mask in shot.hidden]
    return Settled(scene, doubt, np.array(parts, np.float32))


def _motion(shot: Resting, index: int) -> FloatImage:
    """How much changes around each pixel of a frame, to the frame before or after, where that is less."""
    plate, found = shot.plate(index), []
    for other in {index - 1, index + 1} & set(run_of(index, shot.runs)):
        both = (~(shot.hidden[index] | shot.hidden[other])).astype(np.float32)
        change = cv2.blur(largest(np.abs(shot.plate(other) - plate)) * both, _AROUND)
        found.append(change / np.maximum(cv2.blur(both, _AROUND), 1e-3))
    return np.minimum.reduce(found) if found else np.zeros(plate.shape[:2], np.float32)


def warnings(shares: FloatImage, frames: Sequence[int]) -> list[str]:
    """A warning where enough was in doubt to be looked at; ``shares`` as of :class:`Settled`, by ``frames``."""
    worst = int(shares.argmax())
    if shares[worst] < _NOTABLE:
        return []
    return [
        f"Something that passes behind the object stands before {shares[worst]:.0%} of what is rewritten in frame "
        f"{frames[worst]} for much of the time that this is seen at all, so what lies there is not sure. Look for "
        "parts of it that stand still, and paint them out in the patch."
    ]


def _unseen(shot: Resting, passing: Passing, index: int) -> Mask:
    """Where a frame does not show the scene: it is hidden, or something that is known to pass is before it."""
    return np.logical_or.reduce([shot.hidden[index], *(layer.covers(index) for layer in passing.layers)])


def agreement(looks: FloatImage, seen: NDArray[np.bool_], scene: FloatImage) -> FloatImage:
    """Which share of the looks (frames, pixels, 3) ``seen``, (frames, pixels), shows the ``scene``, (pixels, 3)."""
    same = seen & (largest(np.abs(looks - scene)) <= _SAME)
    return np.asarray(same.sum(axis=0) / np.maximum(seen.sum(axis=0), 1), np.float32)


def states(looks: FloatImage, seen: NDArray[np.bool_], motion: FloatImage) -> tuple[FloatImage, FloatImage, FloatImage]:
    """The most frequent states of each pixel, (pixels, states, 3); their shares of what is seen, and how much moves
    around the pixel while it is in them, (pixels, states).

    ``looks`` (frames, pixels, 3) are ``seen`` or not, and have so much ``motion`` around, (frames, pixels). Where there
    are fewer states, their share is 0.
    """
    count = seen.shape[1]
    colours, shares = np.zeros((count, _STATES, 3), np.float32), np.zeros((count, _STATES), np.float32)
    moving = np.zeros_like(shares)
    for begin in range(0, count, _PIECE):
        piece = slice(begin, begin + _PIECE)
        shown, left = looks[:, piece], seen[:, piece].copy()
        every = np.arange(shown.shape[1])
        # of each look, with which it agrees
        same = largest(np.abs(shown[:, None] - shown[None])) <= _SAME
        total = np.maximum(left.sum(axis=0), 1)
        for state in range(_STATES):
            best = np.where(left, (same & left).sum(axis=1), 0).argmax(axis=0)
            taken = same[best, :, every].T & left
            colours[piece, state] = median(shown, taken)
            shares[piece, state] = taken.sum(axis=0) / total
            moving[piece, state] = (motion[:, piece] * taken).sum(axis=0) / np.maximum(taken.sum(axis=0), 1)
            left &= ~taken
    return colours, shares, moving


def fitting(
    plate: FloatImage, sure: Mask, at: tuple[NDArray[np.intp], NDArray[np.intp]], colours: FloatImage, costs: FloatImage
) -> NDArray[np.intp]:
    """Which state each pixel has so that neighbours fit, (pixels,), by min-sum belief propagation.

    The pixels are ``at`` rows and columns of the ``plate`` (height, width, 3), of which others are ``sure``.
    ``colours`` (pixels, states, 3) are their states, and ``costs`` (pixels, states) what each costs by itself.
    """
    rows, columns = at
    number = np.full(sure.shape, -1)
    number[at] = np.arange(len(rows))
    alone, beside = costs.astype(np.float32), []
    for down, across in _STEPS:
        y, x = np.clip(rows + down, 0, sure.shape[0] - 1), np.clip(columns + across, 0, sure.shape[1] - 1)
        known = sure[y, x]
        alone[known] += _seam(colours[known], plate[y, x][known][:, None])[..., 0]
        one = np.flatnonzero((number[y, x] >= 0) & (number[y, x] != number[at]))
        other = number[y, x][one]
        beside.append((one, other, _seam(colours[one], colours[other])))
    heard = np.zeros((len(_STEPS), *alone.shape), np.float32)
    for _ in range(_ROUNDS):
        believed, news = alone + heard.sum(axis=0), np.zeros_like(heard)
        for step, (one, other, seam) in enumerate(beside):
            # what a neighbour holds without what it was told from here
            held = believed[other] - heard[step ^ 1][other]
            said = (held[:, None] + seam).min(axis=-1)
            news[step][one] = said - said.min(axis=-1, keepdims=True)
        heard = (heard + news) / 2
    return np.asarray((alone + heard.sum(axis=0)).argmin(axis=-1))


def _seam(colours: FloatImage, others: FloatImage) -> FloatImage:
    """What it costs that neighbours have these states: (n, states, others) of (n, states, 3) and (n, others, 3)."""
    return np.minimum(largest(np.abs(colours[:, :, None] - others[:, None])), _CUT)
