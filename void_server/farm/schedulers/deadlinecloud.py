"""The scheduler ``deadlinecloud``: AWS Deadline Cloud, through its own client, ``deadline bundle submit``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from pydantic import Field

from ...api.errors import JobFailed
from ..job import FarmJob
from ..site import Site, load
from .base import Submission, ask, program
from .openjd import OpenJDOptions, OpenJobDescription, write_bundle


class CloudOptions(OpenJDOptions):
    """Farm and queue, where they are not those of the client's own settings. Tasks may be chunked there."""

    chunk_seconds: int = Field(default=300, ge=0)
    farm_id: str = ""
    queue_id: str = ""


class DeadlineCloud(OpenJobDescription):
    """Farm and queue come from the site's options (``farm_id``, ``queue_id``), else from the client's own settings."""

    expresses = OpenJobDescription.expresses | {"priority", "machine_limit", "suspended"}
    options = CloudOptions
    gives_numbers = True

    def submit(self, job: FarmJob, site: Site, group: str, made: Submission, *, dry_run: bool) -> None:
        """See :class:`void_server.farm.schedulers.base.Scheduler`."""
        client = "deadline" if dry_run else program("deadline", "Deadline Cloud")
        fields = job.fields
        bundle = write_bundle(job, site, chunk_seconds=_options(site).chunk_seconds)
        command = [client, "bundle", "submit", str(bundle), "--yes", *_where(site)]
        command += ["--priority", str(fields.priority), "--max-retries-per-task", str(fields.retries)]
        command += ["--target-task-run-status", "SUSPENDED" if fields.suspended else "READY"]
        if fields.machine_limit:
            command += ["--max-worker-count", str(fields.machine_limit)]
        made.commands.append(command)
        if dry_run:
            return
        said = ask(command, "Deadline Cloud")
        found = re.search(r"\bjob-[0-9a-f]{32}\b", said)
        if not found:
            raise JobFailed("Deadline Cloud's client named no job; see its words.", said)
        made.ids.update({stage.name: found[0] for stage in job.stages})

    def cancel(self, ids: Mapping[str, str], site: Site) -> None:
        """Through the client."""
        number = next(iter(ids.values()))
        command = [program("deadline", "Deadline Cloud"), "job", "cancel", "--yes", "--job-id", number]
        ask([*command, *_where(site)], "Deadline Cloud")

    def log(self, job: FarmJob, ids: Mapping[str, str], stage: str, task: int) -> str:
        """CloudWatch's, which the client prints."""
        if stage not in ids:
            return ""
        return shlex.join(["deadline", "job", "logs", "--job-id", ids[stage], *_where(load())])


def _options(site: Site) -> CloudOptions:
    return CloudOptions.model_validate(site.options.get("deadlinecloud", {}))


def _where(site: Site) -> list[str]:
    options = _options(site)
    named = (("--farm-id", options.farm_id), ("--queue-id", options.queue_id))
    return [word for option, value in named if value for word in (option, value)]
