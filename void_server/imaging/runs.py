"""The runs of a shot's frames between its gaps, such as the two of 1001-1010,1020-1030.

What follows in a run follows in time; on the other side of a gap, things and the camera may be anywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise


def runs(frames: Sequence[int]) -> list[range]:
    """The runs among frame numbers, by index: 1001-1010,1020-1030 is two; 1001-1031x2 is one, at half the rate.

    A gap is larger than the commonest step between frames, and differs from a step beside it: what goes on at its own
    steady rate is a run, too.
    """
    steps = [after - before for before, after in pairwise(frames)]
    often = Counter(steps)
    own = min(often, key=lambda step: (-often[step], step), default=1)
    beside = [{*steps[max(0, index - 1) : index + 2]} for index in range(len(steps))]
    cuts = [index for index, step in enumerate(steps, 1) if step > own and beside[index - 1] != {step}]
    return [range(start, end) for start, end in pairwise([0, *cuts, len(frames)])]


def run_of(index: int, runs: Sequence[range]) -> range:
    """The one of these runs that the frame of ``index`` is in."""
    return next(run for run in runs if index in run)


def neighbour(frames: Sequence[int], index: int) -> int | None:
    """The index of the frame after the one of ``index``, or before it at the end of a run; None where it is alone."""
    run = run_of(index, runs(frames))
    return next((beside for beside in (index + 1, index - 1) if beside in run), None)
