"""The scheduler ``deadline``: Thinkbox Deadline 10, through ``deadlinecommand`` and its plug-in CommandLine.

A stage is a job, all jobs of a submission one batch; each waits for the ones before.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...api.errors import JobFailed, SettingError
from ...api.files import write_atomically
from ..job import FarmJob, Stage
from ..site import Site
from .base import EVERY, Scheduler, Submission, ask, check_one_of_each, environment, limits, task_command, where


class Deadline(Scheduler):
    """GPUs are a matter of pools, groups and limits there; their number and memory cannot be asked for."""

    expresses = EVERY | {
        *("priority", "pool", "secondary_pool", "group", "gpu_pool", "gpu_group"),
        *("limits", "machine_limit", "suspended", "timeout_minutes"),
    }

    def submit(self, job: FarmJob, site: Site, group: str, made: Submission, *, dry_run: bool) -> None:
        """See :class:`void_server.farm.schedulers.base.Scheduler`."""
        client = "deadlinecommand" if dry_run else _client()
        for stage in job.stages:
            after = [made.ids[name] for name in stage.after]
            command = [client, *map(str, write_files(job, stage, site, after, group))]
            made.commands.append(command)
            made.ids[stage.name] = f"<{stage.name}>" if dry_run else _submitted(ask(command, "Deadline"))

    def check_limits(self, taken: Mapping[str, int]) -> None:
        """A task takes one stub of a limit."""
        check_one_of_each("Deadline", taken)

    def cancel(self, ids: Mapping[str, str], site: Site) -> None:
        """Fail the jobs that are not over, as Deadline says it; they can be resumed there."""
        for stage, state in self.states(ids).items():
            if state not in ("Completed", "Failed"):
                ask([_client(), "-FailJob", ids[stage]], "Deadline")

    def states(self, ids: Mapping[str, str]) -> dict[str, str]:
        """As Deadline calls them."""
        states = {}
        for stage, number in ids.items():
            found = re.search(r"^Status=(.*)$", ask([_client(), "-GetJob", number], "Deadline"), re.MULTILINE)
            states[stage] = found[1] if found else "unknown"
        return states

    def ended(self, states: Mapping[str, str]) -> bool:
        """When a stage has failed: those that wait for it never begin."""
        return "Failed" in states.values()


def _client() -> str:
    folder = os.environ.get("DEADLINE_PATH")
    shared = Path("/Users/Shared/Thinkbox/DEADLINE_PATH")
    if not folder and shared.is_file():
        folder = shared.read_text(encoding="utf-8").strip()
    found = shutil.which("deadlinecommand", path=folder) if folder else shutil.which("deadlinecommand")
    if not found:
        raise SettingError(
            "deadlinecommand is not found; install Deadline's client, or set DEADLINE_PATH to its folder."
        )
    return found


def mapped(path: str) -> str:
    """A path under its name on this machine, by the rules of Deadline's repository; as it is, without its client."""
    try:
        client = _client()
    except SettingError as error:
        print(f"paths are taken as they are: {error}", flush=True)
        return path
    said = ask([client, "-CheckPathMapping", path], "Deadline").strip().splitlines()
    return said[-1].strip() if said else path


def _submitted(said: str) -> str:
    found = re.search(r"^JobID=([0-9a-f]{24})\s*$", said, re.MULTILINE)
    if "Result=Success" not in said or not found:
        raise JobFailed("Deadline named no job; see its words.", said)
    return found[1]


def write_files(job: FarmJob, stage: Stage, site: Site, after: Sequence[str], group: str) -> tuple[Path, Path]:
    """The job info and the plug-in info of a stage."""
    fields = job.fields
    taken = limits(fields, stage, site)
    pool, group_of_hosts = where(job, stage)
    info: dict[str, object] = {
        "Plugin": "CommandLine",
        "Name": f"{job.title} - {stage.name}",
        "BatchName": group,
        "Comment": fields.comment,
        "Department": fields.department,
        "UserName": fields.user,
        "Pool": pool,
        "SecondaryPool": fields.secondary_pool,
        "Group": group_of_hosts,
        "Priority": fields.priority,
        # Deadline's frames are our tasks' numbers
        "Frames": f"0-{stage.tasks - 1}",
        "ChunkSize": 1,
        "MachineLimit": fields.machine_limit,
        "LimitGroups": ",".join(taken),
        "JobDependencies": ",".join(after),
        "InitialStatus": "Suspended" if fields.suspended else "Active",
        "TaskTimeoutMinutes": fields.timeout_minutes,
        "OverrideTaskFailureDetection": "True",
        "FailureDetectionTaskErrors": fields.retries + 1,
        "OutputDirectory0": job.folder,
    }
    info |= {
        f"EnvironmentKeyValue{number}": f"{name}={value}"
        for number, (name, value) in enumerate(environment(site).items())
    }
    command = task_command(site, job.file, stage.name, "<STARTFRAME>", "deadline", path_map="deadline")
    plugin: dict[str, object] = {
        "Executable": command[0],
        "Arguments": " ".join(f"<QUOTE>{word}<QUOTE>" if re.search(r"[ \\]", word) else word for word in command[1:]),
        "StartupDirectory": "",
        "Shell": "default",
        "ShellExecute": "False",
        "SingleFramesOnly": "True",
    }
    folder = job.folder / "deadline"
    folder.mkdir(exist_ok=True)
    files = folder / f"{stage.name}.job", folder / f"{stage.name}_plugin.job"
    for file, values in zip(files, (info, plugin), strict=True):
        # one line each: a line break in a comment would become a key
        lines = [f"{name}={' '.join(str(value).split())}" for name, value in values.items() if str(value) != ""]
        write_atomically(file, "\n".join(lines) + "\n")
    return files
