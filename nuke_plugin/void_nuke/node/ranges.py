"""Lists of frames as runs of an even step: for artists, the server, and Nuke's expressions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence


@dataclass(frozen=True)
class Run:
    """Frames from ``first`` to ``last``, ``step`` apart."""

    first: int
    last: int
    step: int

    def __str__(self) -> str:
        if self.first == self.last:
            return str(self.first)
        return f"{self.first}-{self.last}" + (f"x{self.step}" if self.step > 1 else "")

    @property
    def expression(self) -> str:
        """True in these frames, as an expression of Nuke's."""
        if self.first == self.last:
            return f"frame == {self.first}"
        within = f"frame >= {self.first} && frame <= {self.last}"
        return f"{within} && fmod(frame - {self.first}, {self.step}) == 0" if self.step > 1 else within


def runs(frames: Sequence[int]) -> list[Run]:
    """Frames in rising order, split where the step changes."""
    found: list[Run] = []
    for frame in frames:
        last = found[-1] if found else None
        if last and last.first == last.last:
            found[-1] = Run(last.first, frame, frame - last.last)
        elif last and frame - last.last == last.step:
            found[-1] = Run(last.first, frame, last.step)
        else:
            found.append(Run(frame, frame, 1))
    # two frames far apart are no run
    return [one for run in found for one in _apart(run)]


def _apart(run: Run) -> list[Run]:
    if run.step > 1 and run.last == run.first + run.step:
        return [Run(run.first, run.first, 1), Run(run.last, run.last, 1)]
    return [run]


def text(frames: Sequence[int], between: str = ",") -> str:
    """The frames as artists write them, such as 1001-1040 or 1001-1009x2,1012."""
    return between.join(map(str, runs(frames)))


def expression(frames: Sequence[int]) -> str:
    """True in the frames, as an expression of Nuke's."""
    return " || ".join(f"({run.expression})" for run in runs(frames)) or "0"
