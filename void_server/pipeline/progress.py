"""A job's progress: its stages, the share of time each usually takes, and how long each took."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..api.job import Progress, Report
from ..api.shot import PLATE, ROTO, Shot
from .inputs import to_be_segmented

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
    if settings.until == ROTO:
        return (*first_stages(shot), REPORTING)
    rewriting = (REWRITING,) if settings.until == PLATE else ()
    return (*first_stages(shot), REASONING, *rewriting, REPORTING)


class Remaining:
    """Seconds left, from the recent speed of the work.

    It never rises, as nobody believes a number that does: if the work slows down, it holds until it is right again.
    It is None too early, in the quick stages, or while a resumed job skips finished work.
    """

    _WINDOW = 5.0
    _EARLY = 0.25

    def __init__(self, now: float) -> None:
        self._begin = now
        self._seen = deque([(now, 0.0)])
        self._told: float | None = None

    def at(self, fraction: float, now: float) -> float | None:
        """At time ``now`` the fraction is done; None where it is too early to tell."""
        elapsed = now - self._begin
        # longer the longer the job takes, as stages differ
        window = max(self._WINDOW, 0.3 * elapsed)
        if now - self._seen[-1][0] > window / 50:
            self._seen.append((now, fraction))
        while len(self._seen) > 1 and self._seen[1][0] <= now - window:
            self._seen.popleft()
        when, before = self._seen[0]
        if elapsed > 2 * self._WINDOW and fraction > max(self._EARLY, before):
            left = (1.0 - fraction) * (now - when) / (fraction - before)
            self._told = left if self._told is None else min(self._told, left)
        return self._told


@dataclass
class ProgressTracker:
    """Reports how far the job is, and how long each stage took."""

    report: Report
    stages: tuple[str, ...]
    timings: dict[str, float] = field(default_factory=dict)
    _stage: str = ""
    _done: float = 0.0
    _sending: str = ""
    _remaining: Remaining = field(default_factory=lambda: Remaining(time.monotonic()))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Run the block as a stage; its share is done when the block ends."""
        self._stage, begin = name, time.monotonic()
        self.at(0.0)
        yield
        self._done += self._share(name)
        self.timings[name] = round(time.monotonic() - begin, 3)

    def at(self, share: float, frame: int | None = None, sending: str = "") -> None:
        """Report the fraction of the stage that is done, and what is about to be sent to a service."""
        self._sending = sending or self._sending
        fraction = min(self._done + share * self._share(self._stage), 1.0)
        left = self._remaining.at(fraction, time.monotonic())
        self.report(Progress(self._stage, frame, fraction, left, self._sending))

    def _share(self, stage: str) -> float:
        return _WEIGHTS[stage] / sum(_WEIGHTS[name] for name in self.stages)
