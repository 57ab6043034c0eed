"""The commands for what was submitted: ``void farm status``, ``cancel`` and ``again``, of a job or of a whole batch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..api.errors import JobFailed, SettingError, VoidError
from .farm import SchedulerName, app, numbers
from .frame import print_json
from .options import AsJson

if TYPE_CHECKING:
    from ..farm.job import FarmJob
    from ..farm.standing import Standing

JobFolder = Annotated[Path | None, typer.Argument(help="The job's version folder.")]
BatchName = Annotated[str, typer.Option("--batch", help="A batch instead: its name, or the file of its record.")]


@app.command("status")
def farm_status(folder: JobFolder = None, batch: BatchName = "", as_json: AsJson = False) -> None:
    """Say how a job, or each of a batch, stands, and why and where tasks failed. Exits with 1 where any did."""
    from ..farm import standing

    found = [standing.of(job) for job in _jobs(folder, batch)]
    for wrong in dict.fromkeys(one.wrong for one in found if one.wrong):
        print(f"void: {wrong}", file=sys.stderr)
    if as_json:
        said = [one.to_dict() for one in found]
        print_json({"batch": batch, "jobs": said} if batch else said[0])
    elif batch:
        _show_batch(found)
    else:
        _show_job(found[0])
    if any(one.failed for one in found):
        raise typer.Exit(1)


@app.command("cancel")
def farm_cancel(folder: JobFolder = None, batch: BatchName = "") -> None:
    """Stop a job, or all of a batch that are not done; finished frames stay, and `void farm again` goes on."""
    from ..farm import control, site, standing

    where = site.load()
    jobs = [job for job in _jobs(folder, batch) if not batch or standing.of(job).state != standing.DONE]
    _each(jobs, lambda job: control.cancel(job, where))
    named = f"--batch {batch}" if batch else str(folder)
    print(f"{_counted(jobs) if batch else folder} stopped; continue with: void farm again {named}")


@app.command("again")
def farm_again(folder: JobFolder = None, batch: BatchName = "", scheduler: SchedulerName = None) -> None:
    """Hand over again what failed or was stopped: a job, or those of a batch; what is finished is not made again."""
    from ..farm import control, site, standing
    from ..farm.schedulers.base import find, inexpressible

    where = site.load()
    jobs = _jobs(folder, batch)
    if batch:
        jobs = [job for job in jobs if standing.of(job).state in (standing.FAILED, standing.STOPPED)]
        if not jobs:
            print("nothing of the batch has failed or was stopped")
            return

    def withdraw(job: FarmJob) -> None:
        control.withdraw(job, where, scheduler or "")

    def hand_over(job: FarmJob) -> None:
        if scheduler and (left_out := inexpressible(find(scheduler), job.fields)):
            print(f"{scheduler} has nothing for {', '.join(left_out)}; that is left out.", file=sys.stderr)
        print(numbers(job.folder, control.again(job, where, scheduler or "").ids))

    try:
        _each(jobs, withdraw, hand_over)
    finally:
        for job in jobs:
            # what has no record was never withdrawn, and is told
            with suppress(SettingError):
                control.note_left(job)


def _jobs(folder: Path | None, batch: str) -> list[FarmJob]:
    """The job that was named, or those of a batch."""
    from ..farm import batches, site
    from ..farm.job import FILE, FarmJob

    if (folder is None) == (not batch):
        raise SettingError("Name a job's version folder, or a batch with --batch: one of them.")
    if folder:
        return [FarmJob.read(folder / FILE)]
    jobs, wrong = batches.find(batch, site.load()).jobs()
    if wrong and not jobs:
        raise wrong[0]
    for error in wrong:
        print(f"void: {error}", file=sys.stderr)
    return jobs


def _each(jobs: list[FarmJob], *acts: Callable[[FarmJob], None]) -> None:
    """Do one thing with all jobs, then the next, whatever becomes of the others.

    Raises the only job's error, or one that counts them.
    """
    wrong: dict[Path, str] = {}
    for act in acts:
        for job in [job for job in jobs if job.folder not in wrong]:
            try:
                act(job)
            except VoidError as error:
                if len(jobs) == 1:
                    raise
                wrong[job.folder] = f"{job.folder}: {error}"
                print(f"void: {wrong[job.folder]}", file=sys.stderr)
    if wrong:
        raise JobFailed(f"{len(wrong)} of {_counted(jobs)} did not go: {next(iter(wrong.values()))}")


def _counted(jobs: list[FarmJob]) -> str:
    return f"{len(jobs)} job{'' if len(jobs) == 1 else 's'}"


def _show_job(one: Standing) -> None:
    for stage, (done, of) in one.stages.items():
        print(f"{stage:<10} {done}/{of} done  {one.said.get(stage, '')}".rstrip())
        _show_failures(one, stage)
    _show_failures(one, "")


def _show_batch(found: list[Standing]) -> None:
    from ..farm.standing import STATES

    counts = {state: sum(one.state == state for one in found) for state in STATES}
    print(", ".join(f"{count} {state}" for state, count in counts.items() if count) or "no jobs")
    for one in sorted(found, key=lambda one: STATES.index(one.state)):
        done, of = one.tasks
        failed = f", {len(one.failed)} failed" if one.failed else ""
        name = one.job.fields.shot or one.job.title
        print(f"{name:<16} {one.state:<8} {done}/{of} tasks{failed}  {one.job.folder}")
        for stage in (*one.stages, ""):
            _show_failures(one, stage, most=1)


def _show_failures(one: Standing, stage: str, most: int | None = None) -> None:
    indent = " " * 11
    for failed in [failed for failed in one.failed if failed.stage == stage][:most]:
        where = f"{failed.stage} task {failed.task} failed on {failed.host}: " if failed.stage else ""
        print(f"{indent}{where}{failed.message}")
        if failed.log:
            print(f"{indent}log: {failed.log}")
        for line in failed.last_lines():
            print(f"{indent}  | {line}")
