"""How far a job is: its stages, the share of the time that each usually takes, and how long each took."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from .api.job import Progress, Report
from .api.shot import Shot
from .source import to_be_segmented

READING, SEGMENTING, REASONING = "Reading the shot", "Finding the object", "Finding what is affected"
REWRITING, REPORTING = "Rewriting", "Reporting"
# how long they usually take, one beside the other
_WEIGHTS = {READING: 0.15, SEGMENTING: 0.6, REASONING: 0.3, REWRITING: 0.5, REPORTING: 0.05}


def first_stages(shot: Shot) -> tuple[str, ...]:
    """The stages in which a shot is read, and its object found where that has to be."""
    return (READING, SEGMENTING) if to_be_segmented(shot) else (READING,)


def all_stages(shot: Shot) -> tuple[str, ...]:
    """The stages of a whole job, in order."""
    settings = shot.settings
    if settings.only_roto:
        return (*first_stages(shot), REPORTING)
    rewriting = () if settings.only_quadmask else (REWRITING,)
    return (*first_stages(shot), REASONING, *rewriting, REPORTING)


class Remaining:
    """Seconds to go, from how fast the work went lately.

    It never rises, as nobody believes a number that does: where the work slows down it stays until it is right again.
    Nothing is said in the first seconds, when a resumed job skips what it has.
    """

    _SILENT = 5.0
    _STEP = 0.25

    def __init__(self, now: float) -> None:
        self._begin = self._when = now
        self._fraction = 0.0
        self._speed: float | None = None
        self._told: float | None = None

    def at(self, fraction: float, now: float) -> float | None:
        """At time ``now`` the fraction is done; None where it is too early to tell."""
        elapsed, passed = now - self._begin, now - self._when
        if passed >= self._STEP:
            speed = (fraction - self._fraction) / passed
            # over a longer time the longer the job takes, as stages differ
            share = 1.0 - math.exp(-passed / max(self._SILENT, 0.3 * elapsed))
            self._speed = speed if self._speed is None else self._speed + share * (speed - self._speed)
            self._when, self._fraction = now, fraction
        if elapsed >= self._SILENT and self._speed:
            left = (1.0 - fraction) / self._speed
            self._told = left if self._told is None else min(self._told, left)
        return self._told


@dataclass
class Course:
    """Tells how far the job is, and how long each stage took."""

    report: Report
    stages: tuple[str, ...]
    timings: dict[str, float] = field(default_factory=dict)
    _stage: str = ""
    _done: float = 0.0
    _remaining: Remaining = field(default_factory=lambda: Remaining(time.monotonic()))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A stage begins; it has taken its share when the block ends."""
        self._stage, begin = name, time.monotonic()
        self.at(0.0)
        yield
        self._done += self._share(name)
        self.timings[name] = round(time.monotonic() - begin, 3)

    def at(self, share: float, frame: int | None = None) -> None:
        """So much of the stage is done."""
        fraction = min(self._done + share * self._share(self._stage), 1.0)
        left = self._remaining.at(fraction, time.monotonic())
        self.report(Progress(self._stage, frame, fraction, left))

    def _share(self, stage: str) -> float:
        return _WEIGHTS[stage] / sum(_WEIGHTS[name] for name in self.stages)
