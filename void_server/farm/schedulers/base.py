"""The base class of all schedulers, and what they share."""

from __future__ import annotations

import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ... import plugins
from ...api import policy
from ...api.errors import JobFailed, SettingError
from ..fields import Fields
from ..job import GPU, NUKE, FarmJob, Stage
from ..site import Options, Site

# what decides what may be done, and where footage may go, must hold on every machine; keys are never passed on
_ALWAYS = (
    policy.ENVIRONMENT,
    *("VOID_NO_CLOUD", "VOID_ALLOWED_HOSTS", "VOID_GEMINI_URL", "VOID_GEMINI_MODEL"),
    *("VOID_REASONER_REQUESTS", "VOID_REASONER_TOKENS", "VOID_REASONER_SECONDS"),
    *("VOID_LOCAL_URL", "VOID_LOCAL_MODEL", "VOID_LOCAL_BOXES"),
)

#: The fields that need nothing of a scheduler: ``farm.json`` and the tasks themselves know them.
EVERY = frozenset(
    (
        *("name", "comment", "user", "show", "shot", "department", "retries"),
        *("frames_per_task", "frames_per_piece", "frames_per_export"),
    )
)
#: What is asked of the machine of a task.
MACHINE = frozenset(("cores", "memory_gb", "gpus", "gpu_memory_gb", "gpu_task_memory_gb"))


@dataclass(frozen=True)
class Submission:
    """What became of a submission: the scheduler's id of each stage, and the commands that were, or would be, run."""

    ids: dict[str, str] = field(default_factory=dict)
    commands: list[list[str]] = field(default_factory=list)


class Scheduler(ABC):
    """Hands jobs over to one kind of farm. Constructed without arguments; found by its entry point.

    :meth:`submit` is all that it must have. Its methods raise :class:`SettingError` for what is missing or cannot be
    expressed, :class:`~void_server.api.errors.JobFailed` for what the farm refuses.
    """

    #: The fields that it can express; any other must be left at its default.
    expresses: ClassVar[frozenset[str]] = EVERY
    #: What the site's settings may say for it alone, under its name in ``options``.
    options: ClassVar[type[Options]] = Options
    #: Whether :meth:`submit` itself does the work, on this machine, and returns when all is done.
    runs_here: ClassVar[bool] = False
    #: Whether a job that was handed over has a number there, by which it can be asked about and stopped. One whose
    #: submission failed, and that has none, counts as failed then.
    gives_numbers: ClassVar[bool] = True

    @abstractmethod
    def submit(self, job: FarmJob, site: Site, group: str, made: Submission, *, dry_run: bool) -> None:
        """Hand a job over, as one of a ``group``, and note in ``made`` what was done as it is done.

        With ``dry_run`` only the files are written, and the commands noted.
        """

    def check_limits(self, taken: Mapping[str, int]) -> None:  # noqa: B027 - a hook, most have nothing to check
        """Raise :class:`SettingError` where tasks cannot take these limits, by name and number.

        Called for every job of a submission before any is handed over.
        """

    def cancel(self, ids: Mapping[str, str], site: Site) -> None:
        """Stop a job, or the part of it that was handed over."""
        raise SettingError("The job is stopped where it runs; this scheduler cannot be asked from here.")

    def states(self, ids: Mapping[str, str]) -> dict[str, str]:
        """The scheduler's own words for how the stages stand; empty where it cannot be asked."""
        return {}

    def ended(self, states: Mapping[str, str]) -> bool:
        """Whether, by its own words for the stages, nothing of a job waits or runs any more, well done or not."""
        return False

    def log(self, job: FarmJob, ids: Mapping[str, str], stage: str, task: int) -> str:
        """Where the log of a task is: a path, a URL or a command; empty where only the scheduler itself knows."""
        return ""


def find(name: str) -> Scheduler:
    """The scheduler of that name. Raises :class:`SettingError` where there is none."""
    scheduler = plugins.find(plugins.SCHEDULERS, name)
    if not isinstance(scheduler, Scheduler):
        raise SettingError(f"The scheduler {name!r} is no {Scheduler.__module__}.Scheduler; reinstall or mend it.")
    return scheduler


def check_fields(name: str, scheduler: Scheduler, fields: Fields) -> None:
    """Raise :class:`SettingError` naming the first field that is set and that the scheduler cannot express."""
    for wrong in inexpressible(scheduler, fields):
        said = f"the field {wrong.replace('_', ' ')}, which is {getattr(fields, wrong)!r}"
        raise SettingError(f"{name} has nothing for {said}; leave it empty, or take another scheduler.")


def check_one_of_each(what: str, taken: Mapping[str, int]) -> None:
    """Raise :class:`SettingError` where a task takes more than one of a limit, for schedulers that count no further."""
    for limit, count in taken.items():
        if count != 1:
            raise SettingError(f"{what} takes one of a limit for each task, and {limit} is {count}; write {limit}=1.")


def inexpressible(scheduler: Scheduler, fields: Fields) -> list[str]:
    """The fields that are set and that a scheduler cannot express."""
    default = Fields()
    return [
        name
        for name, value in fields.__dict__.items()
        if name not in scheduler.expresses and value != getattr(default, name)
    ]


def task_command(
    site: Site, job_file: Path | str, stage: str, task: str, progress: str, *, retries: int = 0, path_map: str = ""
) -> list[str]:
    """The command of one task; ``job_file``, ``task`` and ``path_map`` may be a scheduler's own words for them."""
    words = [*site.command, "farm", "run", "--job", str(job_file), "--stage", stage, "--task", task]
    words += ["--path-map", path_map] if path_map else []
    words += ["--retries", str(retries)] if retries else []
    return [*words, "--progress", progress]


def limits(fields: Fields, stage: Stage, site: Site) -> dict[str, int]:
    """The licences, by name and number, that a task of the stage takes."""
    return {GPU: fields.limits, NUKE: site.nuke_limits}.get(stage.kind, {})


def where(job: FarmJob, stage: Stage) -> tuple[str, str]:
    """The pool and the group for a stage's tasks, empty for any."""
    fields = job.fields
    if stage.kind == GPU:
        return fields.gpu_pool or fields.pool, fields.gpu_group or fields.group
    return fields.pool, fields.group


def memory_gb(job: FarmJob, stage: Stage) -> int:
    """The memory that a stage's task asks for, in gigabytes; a model passes through it on its way to the GPU."""
    return job.fields.gpu_task_memory_gb if stage.kind == GPU else job.fields.memory_gb


def environment(site: Site) -> dict[str, str]:
    """The variables of this machine that tasks need on theirs."""
    return {name: os.environ[name] for name in (*site.environment, *_ALWAYS) if name in os.environ}


def program(name: str, what: str) -> str:
    """Where a program is. Raises :class:`SettingError` where it is not."""
    found = shutil.which(name)
    if not found:
        raise SettingError(
            f"{name} is not on this machine's PATH, so nothing can be handed to {what}; install its client."
        )
    return found


def ask(command: Sequence[str], what: str, **options: Any) -> str:
    """Run a scheduler's client and return what it says. Raises :class:`JobFailed` with its last words."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, **options)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
        raise JobFailed(f"{what} refused: {said[-1]}", done.stderr + done.stdout)
    return done.stdout
