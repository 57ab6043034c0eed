"""How far a job is: its stages, the share of the time that each usually takes, and how long each took."""

from __future__ import annotations

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


@dataclass
class Course:
    """Tells how far the job is, and how long each stage took."""

    report: Report
    stages: tuple[str, ...]
    timings: dict[str, float] = field(default_factory=dict)
    _stage: str = ""
    _done: float = 0.0
    _begin: float = field(default_factory=time.monotonic)

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
        elapsed = time.monotonic() - self._begin
        left = elapsed / fraction - elapsed if fraction > 0.05 else None
        self.report(Progress(self._stage, frame, fraction, left))

    def _share(self, stage: str) -> float:
        return _WEIGHTS[stage] / sum(_WEIGHTS[name] for name in self.stages)
