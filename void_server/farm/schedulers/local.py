"""The scheduler ``local``: this machine does all tasks, one after the other; for trying."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from ...api.errors import JobFailed, SettingError
from ...interruption import Interrupted
from ..failures import STOPPED
from ..job import FarmJob
from ..site import Site
from .base import Scheduler, Submission, task_command


class Local(Scheduler):
    """Runs the very commands that a farm would run."""

    runs_here = True
    gives_numbers = False

    def submit(self, job: FarmJob, site: Site, group: str, made: Submission, *, dry_run: bool) -> None:
        """See :class:`void_server.farm.schedulers.base.Scheduler`; returns when all is done."""
        made.commands.extend(
            task_command(site, job.file, stage, str(task), "plain", retries=job.fields.retries)
            for stage, task in _tasks(job)
        )
        try:
            for (stage, task), command in [] if dry_run else zip(_tasks(job), made.commands, strict=True):
                if code := _logged(command, job.log(stage, task)):
                    what = "was stopped" if code == STOPPED else "failed, see above"
                    raise JobFailed(f"A task {what}; continue with: void farm again {job.folder}")
        except Interrupted as stop:
            raise stop.saying(f"Stopped; continue with: void farm again {job.folder}") from None

    def log(self, job: FarmJob, ids: Mapping[str, str], stage: str, task: int) -> str:
        """A file beside the version."""
        return str(job.log(stage, task))

    def cancel(self, ids: Mapping[str, str], site: Site) -> None:
        """There is nothing to ask."""
        raise SettingError("A local job is stopped with Ctrl-C where it runs.")


def _tasks(job: FarmJob) -> list[tuple[str, int]]:
    return [(stage.name, task) for stage in job.stages for task in range(stage.tasks)]


def _logged(command: list[str], log: Path) -> int:
    """Run a task, its words on the terminal and in its log; the exit code."""
    log.parent.mkdir(exist_ok=True)
    running = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace"
    )
    with open(log, "w", encoding="utf-8") as file, running:
        assert running.stdout is not None
        try:
            for line in running.stdout:
                file.write(line)
                file.flush()
                sys.stderr.write(line)
            return running.wait()
        except BaseException:
            running.kill()
            raise
