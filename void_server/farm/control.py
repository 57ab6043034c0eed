"""Stopping jobs on a farm, and handing them over again."""

from __future__ import annotations

from contextlib import suppress

from ..api.errors import JobFailed, SettingError, VoidError
from . import failures, notices
from .job import FarmJob
from .schedulers.base import Submission, find
from .site import Site
from .submit import check_limits, hand_over, note_stopped, note_withdrawn, submitted


def cancel(job: FarmJob, site: Site) -> None:
    """Stop a job; its finished frames stay. Raises VoidError where the scheduler cannot be asked, or refuses."""
    handed = submitted(job)
    scheduler = find(handed.scheduler)
    if scheduler.gives_numbers and not handed.ids:
        raise SettingError(
            f"{handed.scheduler} gave no number to {job.folder}, so it cannot be stopped from here; where it did not "
            f"take the job, go on with: void farm again {job.folder}"
        )
    scheduler.cancel(handed.ids, site)
    note_stopped(job)


def withdraw(job: FarmJob, site: Site, scheduler: str = "") -> None:
    """Make a job ready for :func:`again`: stopped where it still waits or runs, its failures forgotten.

    Of several jobs all are withdrawn before the first is handed over: by an old failure of one that follows, the first
    would take their batch for ended. Raises VoidError; nothing is stopped where the scheduler would not take the job.
    """
    before = submitted(job)
    # before what is there is stopped
    check_limits(find(scheduler or before.scheduler), job, site)
    if before.ids:
        with suppress(VoidError):
            # what waits or runs there still would do the same work beside it
            find(before.scheduler).cancel(before.ids, site)
    note_withdrawn(job)
    for stage in job.stages:
        for task in range(stage.tasks):
            failures.forget(job.folder, stage.name, task)
    notices.forget(job)


def again(job: FarmJob, site: Site, scheduler: str = "") -> Submission:
    """Hand a job over again that was withdrawn, to another scheduler if one is named; what is finished stays.

    Raises VoidError.
    """
    submission = Submission()
    hand_over(job, submission, site, scheduler or submitted(job).scheduler, job.title)
    return submission


def note_left(job: FarmJob) -> None:
    """Count a job as failed that was withdrawn and then not handed over, because that was refused or interrupted.

    So whoever asks for it, and for its batch, hears of it, and ``void farm again`` takes it. By its record: a job that
    a scheduler took is none, whatever went wrong then. Raises :class:`SettingError` where there is no record.
    """
    if not submitted(job).taken and not failures.any_in(job.folder):
        why = JobFailed(f"It was withdrawn, and not handed over again; use: void farm again {job.folder}")
        failures.note(job.folder, job.stages[0].name, 0, why)
