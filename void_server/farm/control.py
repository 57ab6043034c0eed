"""Stopping jobs on a farm, and handing them over again."""

from __future__ import annotations

from contextlib import suppress

from ..api.errors import VoidError
from . import failures, notices
from .job import FarmJob
from .schedulers.base import Submission, find
from .site import Site
from .submit import check_limits, hand_over, note_stopped, submitted


def cancel(job: FarmJob, site: Site) -> None:
    """Stop a job; its finished frames stay. Raises VoidError where the scheduler cannot be asked, or refuses."""
    handed = submitted(job)
    find(handed.scheduler).cancel(handed.ids, site)
    note_stopped(job)


def again(job: FarmJob, site: Site, scheduler: str = "") -> Submission:
    """Hand a job over again, to another scheduler if one is named; what is finished is not made again.

    Raises VoidError; nothing is stopped where the scheduler would not take it.
    """
    before = submitted(job)
    name = scheduler or before.scheduler
    # before what is there is stopped
    check_limits(find(name), job, site)
    with suppress(VoidError):
        # what waits or runs there still would do the same work beside it
        find(before.scheduler).cancel(before.ids, site)
    for stage in job.stages:
        for task in range(stage.tasks):
            failures.forget(job.folder, stage.name, task)
    notices.forget(job)
    submission = Submission()
    hand_over(job, submission, site, name, job.title)
    return submission
