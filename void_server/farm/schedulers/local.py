"""The scheduler ``local``: this machine does all tasks, one after the other; for trying."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

from ...api.errors import JobFailed, SettingError
from ...interruption import Interrupted
from ..failures import STOPPED
from ..job import FarmJob
from ..site import Site
from .base import Scheduler, Submission, task_command


class Local(Scheduler):
    """Runs the very commands that a farm would run."""

    runs_here = True

    def submit(self, job: FarmJob, site: Site, group: str, made: Submission, *, dry_run: bool) -> None:
        """See :class:`void_server.farm.schedulers.base.Scheduler`; returns when all is done."""
        made.commands.extend(
            task_command(site, job.file, stage.name, str(task), "plain", retries=job.fields.retries)
            for stage in job.stages
            for task in range(stage.tasks)
        )
        try:
            for command in [] if dry_run else made.commands:
                if code := subprocess.call(command, stdin=subprocess.DEVNULL, stdout=sys.stderr):
                    what = "was stopped" if code == STOPPED else "failed, see above"
                    raise JobFailed(f"A task {what}; continue with: void farm again {job.folder}")
        except Interrupted as stop:
            raise stop.saying(f"Stopped; continue with: void farm again {job.folder}") from None

    def cancel(self, ids: Mapping[str, str], site: Site) -> None:
        """There is nothing to ask."""
        raise SettingError("A local job is stopped with Ctrl-C where it runs.")
