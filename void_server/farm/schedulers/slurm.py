"""The scheduler ``slurm``: one array job for each stage, each after the one before."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from pydantic import Field

from ...api.files import write_atomically
from ..job import GPU, FarmJob, Stage
from ..site import Options, Site
from .base import (
    EVERY,
    MACHINE,
    Scheduler,
    Submission,
    ask,
    environment,
    limits,
    memory_gb,
    program,
    task_command,
    where,
)

# Everybody may be nicer than usual, which 50 is, and nobody less so.
_NICE = 100
_GONE = "not in the queue"


class SlurmOptions(Options):
    """Words for every sbatch, and whether jobs get a workload characterisation key."""

    options: list[str] = Field(default_factory=list)
    wckeys: bool = False


class Slurm(Scheduler):
    """Pool is the partition, group a constraint, department the account, limits are licences."""

    options = SlurmOptions
    # the memory of a GPU is a matter of partition or constraint there
    expresses = (
        EVERY
        | (MACHINE - {"gpu_memory_gb"})
        | {
            *("priority", "pool", "group", "gpu_pool", "gpu_group"),
            *("limits", "machine_limit", "suspended", "timeout_minutes"),
        }
    )

    def submit(self, job: FarmJob, site: Site, group: str, made: Submission, *, dry_run: bool) -> None:
        """See :class:`void_server.farm.schedulers.base.Scheduler`."""
        client = "sbatch" if dry_run else program("sbatch", "Slurm")
        for stage in job.stages:
            after = [made.ids[name] for name in stage.after]
            command = [client, *options(job, stage, site, group, after), _write_script(job, stage, site)]
            made.commands.append(command)
            said = f"<{stage.name}>" if dry_run else ask(command, "Slurm")
            # with several clusters the name of the cluster follows
            made.ids[stage.name] = said.strip().partition(";")[0]

    def cancel(self, ids: Mapping[str, str], site: Site) -> None:
        """Stop what runs and what waits."""
        ask([program("scancel", "Slurm"), *ids.values()], "Slurm")

    def states(self, ids: Mapping[str, str]) -> dict[str, str]:
        """From the queue; a stage that is not in it any more is over, and the files say how."""
        command = [program("squeue", "Slurm"), "--noheader", "--format=%F %T", f"--jobs={','.join(ids.values())}"]
        lines = [line.split() for line in ask(command, "Slurm").splitlines()]
        states: dict[str, str] = {}
        for stage, number in ids.items():
            words = sorted({state.lower() for job, state in lines if job == number})
            states[stage] = ", ".join(words) or _GONE
        return states

    def ended(self, states: Mapping[str, str]) -> bool:
        """When the queue has forgotten them all."""
        return all(words == _GONE for words in states.values())

    def log(self, job: FarmJob, ids: Mapping[str, str], stage: str, task: int) -> str:
        """A file beside the version."""
        return str(job.log(stage, task))


def options(job: FarmJob, stage: Stage, site: Site, group: str, after: Sequence[str]) -> list[str]:
    """Sbatch's options for a stage."""
    fields = job.fields
    pool, group_of_hosts = where(job, stage)
    logs = job.log(stage.name, 0).parent
    together = f"%{fields.machine_limit}" if fields.machine_limit else ""
    made = [
        "--parsable",
        f"--job-name={job.title} {stage.name}",
        # numbers from 0, never frames: arrays end at 1000
        f"--array=0-{stage.tasks - 1}{together}",
        # a percent sign of a folder's own is written twice
        f"--output={str(logs).replace('%', '%%')}/{stage.name}_%a.log",
        f"--cpus-per-task={fields.cores}",
        f"--mem={memory_gb(job, stage)}G",
        f"--nice={max(0, 50 - fields.priority) * _NICE}",
        "--export=" + ",".join(["PATH", *environment(site)]),
        # else what depends on a stage that failed would wait for ever
        "--kill-on-invalid-dep=yes",
        "--requeue",
    ]
    logs.mkdir(exist_ok=True)
    named = {
        "partition": pool,
        "constraint": group_of_hosts,
        "account": fields.department,
        "comment": fields.comment,
        # what belongs together, for wranglers' own lists
        "wckey": group if site.options.get("slurm", {}).get("wckeys") else "",
        "dependency": f"afterok:{':'.join(after)}" if after else "",
        "time": str(fields.timeout_minutes) if fields.timeout_minutes else "",
    }
    made += [f"--{name}={value}" for name, value in named.items() if value]
    if stage.kind == GPU:
        made.append(f"--gres=gpu:{fields.gpus}")
    if taken := limits(fields, stage, site):
        made.append("--licenses=" + ",".join(f"{name}:{count}" for name, count in taken.items()))
    if fields.suspended:
        made.append("--hold")
    return [*made, *map(str, site.options.get("slurm", {}).get("options", []))]


def _write_script(job: FarmJob, stage: Stage, site: Site) -> str:
    """The batch script; ``exec``, so that the task itself gets Slurm's signals."""
    command = task_command(site, job.file, stage.name, "@", "plain", retries=job.fields.retries)
    words = " ".join('"$SLURM_ARRAY_TASK_ID"' if word == "@" else shlex.quote(word) for word in command)
    file = job.folder / "slurm" / f"{stage.name}.sh"
    file.parent.mkdir(exist_ok=True)
    write_atomically(file, f"#!/bin/sh\nexec {words}\n")
    return str(file)
