"""What every farm engine's translator offers, and what they share."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ...api.errors import JobFailed, SettingError
from ..fields import Fields
from ..job import GPU, NUKE, FarmJob, Stage
from ..site import Site

# what decides where footage may go must hold on every machine; keys are never passed on
_ALWAYS = (
    *("VOID_NO_CLOUD", "VOID_GEMINI_URL", "VOID_GEMINI_MODEL"),
    *("VOID_LOCAL_URL", "VOID_LOCAL_MODEL", "VOID_LOCAL_BOXES"),
)

#: The fields that need nothing of an engine: ``farm.json`` and the tasks themselves know them.
EVERY = frozenset(
    (*("name", "comment", "user", "show", "shot", "department"), "frames_per_task", "frames_per_piece", "retries")
)
#: What is asked of the machine of a task.
MACHINE = frozenset(("cores", "memory_gb", "gpus", "gpu_memory_gb", "gpu_task_memory_gb"))


@dataclass(frozen=True)
class Submission:
    """What became of a submission: the engine's number of each stage, and the commands that were, or would be, run."""

    ids: dict[str, str] = field(default_factory=dict)
    commands: list[list[str]] = field(default_factory=list)


class FarmEngine(Protocol):
    """A translator to one engine. It raises SettingError for what is missing or cannot be expressed."""

    #: The fields that the engine has something for; any other must be left as it is.
    expresses: frozenset[str]

    def submit(self, job: FarmJob, site: Site, group: str, made: Submission, *, dry_run: bool) -> None:
        """Hand a job over, as one of a ``group``, and note in ``made`` what was done as it is done.

        With ``dry_run`` only the files are written, and the commands noted.
        """

    def cancel(self, ids: Mapping[str, str], site: Site) -> None:
        """Stop a job, or the part of it that was handed over."""

    def states(self, ids: Mapping[str, str]) -> dict[str, str]:
        """The engine's own words for how the stages stand; empty where it cannot be asked."""


def check_fields(engine: str, expresses: frozenset[str], fields: Fields) -> None:
    """Raise :class:`SettingError` naming the first field that is set and that the engine knows nothing of."""
    for name in inexpressible(expresses, fields):
        said = f"the field {name.replace('_', ' ')}, which is {getattr(fields, name)!r}"
        raise SettingError(f"{engine} has nothing for {said}; leave it empty, or take another engine.")


def inexpressible(expresses: frozenset[str], fields: Fields) -> list[str]:
    """The fields that are set and that an engine knows nothing of."""
    default = Fields()
    return [
        name for name, value in fields.__dict__.items() if name not in expresses and value != getattr(default, name)
    ]


def task_command(
    site: Site, job_file: Path | str, stage: str, task: str, progress: str, *, retries: int = 0, path_map: str = ""
) -> list[str]:
    """The command of one task; ``job_file``, ``task`` and ``path_map`` may be an engine's own words for them."""
    words = [*site.command, "farm", "run", "--job", str(job_file), "--stage", stage, "--task", task]
    words += ["--path-map", path_map] if path_map else []
    words += ["--retries", str(retries)] if retries else []
    return [*words, "--progress", progress]


def limits(job: FarmJob, stage: Stage, site: Site) -> dict[str, int]:
    """The licences, by name and number, that a task of the stage takes."""
    return {GPU: job.fields.limits, NUKE: site.nuke_limits}.get(stage.kind, {})


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
    """Run an engine's client and return what it says. Raises :class:`JobFailed` with its last words."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, **options)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
        raise JobFailed(f"{what} refused: {said[-1]}", done.stderr + done.stdout)
    return done.stdout
