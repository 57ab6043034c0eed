"""What tests of the farm do with jobs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from void_server.api.job import Progress
from void_server.api.version import VersionFolder
from void_server.farm import site
from void_server.farm.job import FarmJob
from void_server.farm.schedulers.base import Scheduler, find
from void_server.farm.submit import Wanted, submit, submitted
from void_server.farm.tasks import run

Make = Callable[..., Wanted]


def results_of(job: FarmJob) -> VersionFolder:
    return VersionFolder(job.folder)


def planned(wanted: Wanted, chosen: site.Site, scheduler: str = "openjd") -> FarmJob:
    ((job, _),) = submit([wanted], chosen, scheduler, dry_run=True)
    return job


def handed(job: FarmJob) -> tuple[Scheduler, dict[str, str]]:
    there = submitted(job)
    return find(there.scheduler), there.ids


def until(condition: Callable[[], bool], logs: Path | None = None) -> None:
    """Wait for what a farm does; where it does not come, show its logs."""
    end = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < end, [path.read_text() for path in sorted(logs.glob("*log"))] if logs else "too late"
        time.sleep(0.2)


def as_it_is(path: str) -> str:
    """A path that has the same name everywhere."""
    return path


def do(job: FarmJob, stage: str, task: int = 0) -> list[Progress]:
    told: list[Progress] = []
    run.run_tasks(job, stage, (task,), as_it_is, told.append)
    return told
