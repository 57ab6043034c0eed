"""How a job on a farm stands: by the files of its version, and by what its scheduler says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..api.errors import VoidError
from . import failures
from .job import FarmJob
from .schedulers.base import find
from .submit import Submitted, submitted
from .tasks.run import state

DONE, FAILED, STOPPED, RUNNING, WAITING = "done", "failed", "stopped", "running", "waiting"
#: In the order in which a list begins with what wants attention.
STATES = (FAILED, STOPPED, RUNNING, WAITING, DONE)
#: How much of a log is looked at for its last lines.
_TAIL, _LINES = 8192, 6


@dataclass(frozen=True)
class Failed:
    """A task that failed: what it said, on which host, and where its log is, empty where only the scheduler knows.

    ``stage`` is empty where the scheduler gave the job up without a task that could say why.
    """

    stage: str
    task: int
    host: str
    message: str
    log: str

    def last_lines(self) -> list[str]:
        """The end of the log, where it is a file that can be read here."""
        try:
            with open(self.log, "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return []
        return [line for line in text.splitlines() if line.strip()][-_LINES:]


@dataclass(frozen=True)
class Standing:
    """A job's state, its stages with tasks done and in all, the scheduler's words for each, and what has failed.

    ``wrong`` is why the scheduler could not be asked.
    """

    job: FarmJob
    state: str
    stages: dict[str, tuple[int, int]]
    said: dict[str, str]
    failed: tuple[Failed, ...]
    wrong: str = ""

    @property
    def tasks(self) -> tuple[int, int]:
        """How many tasks are done, and of how many."""
        return sum(done for done, _ in self.stages.values()), sum(of for _, of in self.stages.values())

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for programs."""
        done, of = self.tasks
        return {
            "folder": str(self.job.folder),
            "name": self.job.title,
            "shot": self.job.fields.shot,
            "state": self.state,
            "tasks": {"done": done, "failed": len(self.failed), "of": of},
            "stages": {
                name: {"done": done, "of": of, "scheduler": self.said.get(name, "")}
                for name, (done, of) in self.stages.items()
            },
            "failed": [asdict(one) for one in self.failed],
        }


def of(job: FarmJob) -> Standing:
    """How the job stands. A scheduler that cannot be asked is no error: files tell most of it."""
    stages = state(job)
    if all(done == tasks for done, tasks in stages.values()):
        return Standing(job, DONE, stages, {}, ())
    handed, said, ended, lost, wrong = Submitted(""), {}, False, False, ""
    try:
        handed = submitted(job)
        scheduler = find(handed.scheduler)
        said = scheduler.states(handed.ids) if handed.ids else {}
        ended = bool(said) and scheduler.ended(said)
        lost = scheduler.gives_numbers and handed.lost
    except VoidError as error:
        wrong = str(error)
    # once more, after the scheduler was asked: what has left its queue meanwhile is told by its files
    stages = state(job)
    failed = _failed(job, handed)
    if all(done == tasks for done, tasks in stages.values()):
        return Standing(job, DONE, stages, said, ())
    if not failed and lost and not handed.stopped:
        why = f"{handed.scheduler} does not have the job; hand it over with: void farm again {job.folder}"
        failed = (Failed("", 0, "", why, ""),)
    elif not failed and ended and not handed.stopped:
        undone = next(name for name, (done, tasks) in stages.items() if done < tasks)
        why = f"{handed.scheduler} has ended the job without finishing {undone}; its log says why"
        failed = (Failed("", 0, "", f"{why}.", _log(job, handed, undone, 0)),)
    return Standing(job, _state(stages, said, failed, handed), stages, said, failed, wrong)


def _state(
    stages: Mapping[str, tuple[int, int]], said: Mapping[str, str], failed: tuple[Failed, ...], handed: Submitted
) -> str:
    if handed.stopped:
        return STOPPED
    if failed:
        return FAILED
    begun = any(done for done, _ in stages.values()) or any(RUNNING in words.lower() for words in said.values())
    return RUNNING if begun else WAITING


def _failed(job: FarmJob, handed: Submitted) -> tuple[Failed, ...]:
    told = failures.told(job.folder, {stage.name: stage.tasks for stage in job.stages})
    return tuple(
        Failed(stage, task, why.host, why.message, _log(job, handed, stage, task))
        for stage, of_stage in told.items()
        for task, why in of_stage.items()
    )


def _log(job: FarmJob, handed: Submitted, stage: str, task: int) -> str:
    if not handed.scheduler:
        return ""
    try:
        return find(handed.scheduler).log(job, handed.ids, stage, task)
    except VoidError:
        # it is asked for how the job stands, too, and that says why it does not answer
        return ""
