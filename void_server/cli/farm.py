"""The commands ``void farm``."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import plugins
from ..api.errors import JobCancelled, JobFailed, SettingError, VoidError
from ..api.shot import Shot
from ..farm import failures
from ..farm.failures import STOPPED
from .declared import offering, said
from .frame import App, print_json
from .options import AsJson, a_folder, absolute, removal_of, taking

# Commands import what they use: `void --help` must not wait for OpenCV.

app = App(help="Jobs on the render farm.")

FieldsSaid = Annotated[
    list[str] | None, typer.Option("--set", help="A field, such as priority=60, pool=gpu or limits=void=1. Repeat it.")
]
SchedulerName = Annotated[
    str | None,
    typer.Option("--scheduler", help="local, openjd, deadline, slurm or another installed one; by default the site's."),
]
# what a table of shots may say of each
_OF_SHOT = ("plate", "roto", "quadmask", "prompt", "frames", "colorspace")


@app.command("submit", cls=offering(kinds=(plugins.ENGINES, plugins.REASONERS)))
@taking(removal_of, "settings")
def farm_submit(
    context: typer.Context,
    plate: Annotated[str, typer.Argument(help="The plate, as for `void remove`.")] = "",
    roto: Annotated[str, typer.Argument(help="The roto.")] = "",
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", callback=a_folder, help="Folder for the version folder, made at once."),
    ] = None,
    batch: Annotated[Path | None, typer.Option(help="A CSV table with plate,roto,out and more: one group.")] = None,
    timeline: Annotated[
        Path | None, typer.Option(help="A cut, such as cut.otio: a shot for each of its clips, one group.")
    ] = None,
    roto_template: Annotated[
        str, typer.Option(help="The roto of a timeline's clip, such as /shots/{clip}/roto/{clip}.%04d.exr.")
    ] = "",
    handles: Annotated[int, typer.Option(min=0, help="Frames beyond a timeline's cut, on either side.")] = 8,
    jobs: Annotated[Path | None, typer.Option(help="Shots as JSON, as the Nuke plugin writes them.")] = None,
    script: Annotated[
        Path | None, typer.Option(help="Beside which the fields are remembered; else beside the versions.")
    ] = None,
    as_json: AsJson = False,
    scheduler: SchedulerName = None,
    fields: FieldsSaid = None,
    server: Annotated[str, typer.Option(help="An inference server on the farm that does the work.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write the files, and say what would be run.")] = False,
    **asked: Any,
) -> None:
    """Submit a shot, a table of shots, or the shots of a timeline to the farm."""
    import shlex

    from ..farm import site as sites
    from ..farm.schedulers.base import find
    from ..farm.submit import Wanted, submit

    if sum(map(bool, (plate, batch, timeline, jobs))) > 1:
        raise SettingError("Name a plate, a table with --batch, a cut with --timeline, or --jobs: one of them.")
    site = sites.load()
    expressible = find(scheduler or site.scheduler).expresses
    if jobs:
        inherited = _inherited(expressible, site.fields.__dict__)
        wanted = [
            Wanted(shot, folder, fields_of({**inherited, **own}, fields or []), export)
            for shot, folder, own, export in _read_jobs(jobs)
        ]
    else:
        rows = _rows(plate, roto, out, batch, timeline, roto_template, handles)
        asked["settings"] = said(context)
        wanted = [_wanted(row, asked, site, script, fields or [], expressible) for row in rows]
    name = _batch_name(batch, timeline, script if len(wanted) > 1 else None)
    made = submit(wanted, site, scheduler or site.scheduler, server, batch=name, dry_run=dry_run)
    for job, submission in made:
        if not dry_run:
            sites.remember(script or job.folder, job.fields)
        if as_json:
            continue
        for command in submission.commands if dry_run or not submission.ids else []:
            print(shlex.join(command))
        print(numbers(job.folder, submission.ids))
    kept = Path(made[0][0].batch).stem
    if as_json:
        jobs_there = [{"folder": str(job.folder), "ids": submission.ids} for job, submission in made]
        print_json({"jobs": jobs_there, "batch": kept})
    elif kept:
        print(f"batch {kept}; how it stands: void farm status --batch {kept}")


def _batch_name(*sources: Path | None) -> str:
    """What a batch is called: after the file that it comes from; nothing is no batch."""
    return next((source.stem for source in sources if source), "")


def _rows(
    plate: str,
    roto: str,
    out: Path | None,
    batch: Path | None,
    timeline: Path | None,
    roto_template: str,
    handles: int,
) -> list[dict[str, str]]:
    """The shots that were named: one, those of a table, or those of a timeline."""
    if batch:
        from ..farm.submit import batch as read_batch

        return read_batch(batch, str(out) if out else "")
    if timeline:
        from ..farm.timeline import rows

        if not (roto_template and out):
            raise SettingError("Name the clips' rotos with --roto-template, and the folder for all shots with -o.")
        return rows(timeline, {"roto": roto_template, "out": f"{out}/{{clip}}"}, handles)
    if not (plate and out):
        raise SettingError("Name the plate, the roto and -o, a table with --batch, or a cut with --timeline.")
    return [{"plate": plate, "roto": roto, "out": str(out)}]


def _read_jobs(file: Path) -> list[tuple[Shot, Path, dict[str, Any], Any]]:
    """Of each job the shot, the folder for its version, the fields, and the export, if there is one."""
    from ..api.files import read_json
    from ..farm.job import Export

    try:
        rows = read_json(file)
        if not isinstance(rows, list) or not rows:
            raise ValueError("it must be a list of jobs")
        if not all({"shot", "out", "fields"} <= set(row) for row in rows):
            raise ValueError("each needs shot, out and fields")
        return [
            (
                Shot.from_dict(row["shot"]),
                Path(row["out"]),
                dict(row["fields"]),
                Export(**row["export"]) if "export" in row else None,
            )
            for row in rows
        ]
    except (OSError, ValueError, TypeError) as error:
        raise SettingError(
            f"The jobs in {file} cannot be read ({error}); the Nuke plugin writes such files."
        ) from error


def _wanted(
    row: dict[str, str],
    asked: dict[str, Any],
    site: Any,
    script: Path | None,
    said: list[str],
    expressible: frozenset[str],
) -> Any:
    """A shot to submit, from a row of a table or the command line, with what is ``asked`` for all of them."""
    from ..farm import site as sites
    from ..farm.submit import Wanted

    named: dict[str, Any] = {name: row[name] for name in ("name", "shot", "show", "comment") if name in row}
    of_shot = {name: row[name] for name in _OF_SHOT if name in row}
    shot = removal_of(**{**asked, **of_shot})
    remembered = sites.remembered(script or Path(absolute(row["out"])) / "v001")
    chosen = fields_of({**_inherited(expressible, site.fields.__dict__, remembered), **named}, said)
    return Wanted(shot, Path(absolute(row["out"])), chosen)


def _inherited(expressible: frozenset[str], *said: dict[str, Any]) -> dict[str, Any]:
    """What was said before, the later over the earlier, without what the scheduler has nothing for."""
    return {name: value for fields in said for name, value in fields.items() if name in expressible}


@app.command("schedulers")
def farm_schedulers(
    script: Annotated[Path | None, typer.Option(help="Whose remembered fields to give.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the installed schedulers, and the fields that each can express."""
    from ..api.settings import declarations
    from ..farm import site as sites
    from ..farm.fields import Fields
    from ..farm.schedulers.base import find

    site = sites.load()
    fields = Fields.from_dict({**site.fields.__dict__, **(sites.remembered(script) if script else {})})
    schedulers = {}
    for name in plugins.names(plugins.SCHEDULERS):
        try:
            schedulers[name] = find(name)
        except SettingError as error:  # one that is broken hides no other
            print(f"void: {error}", file=sys.stderr)
    expresses = {name: sorted(scheduler.expresses) for name, scheduler in schedulers.items()}
    if as_json:
        print_json(
            {
                "scheduler": site.scheduler,
                "expresses": expresses,
                "run_here": [name for name, scheduler in schedulers.items() if scheduler.runs_here],
                "fields": fields.__dict__,
                "declared": [one.to_dict() for one in declarations(Fields)],
                "nuke": bool(site.nuke),
                # what the nodes hold against the studio's policy before they export
                "generative": plugins.saying(plugins.ENGINES, "generative"),
                "cloud": plugins.saying(plugins.REASONERS, "cloud"),
            }
        )
        return
    for name, known in expresses.items():
        print(f"{name:<14} {', '.join(known)}" + ("  (the site's)" if name == site.scheduler else ""))


def fields_of(known: dict[str, Any], said: list[str]) -> Any:
    """The fields of a farm job, with what was said on the command line."""
    from ..farm.fields import Fields

    values = dict(known)
    for text in said:
        name, _, value = text.partition("=")
        before = getattr(Fields(), name, None)
        if before is not None and "=" not in text:
            raise SettingError(f"{text!r} says nothing; write it like {name}={_as_said(before)}.")
        if before is None:
            raise SettingError(f"{text!r} sets no field; known are {', '.join(Fields().__dict__)}.")
        if not value:
            values[name] = before
            continue
        try:
            if isinstance(before, dict):
                limits = (entry.partition("=") for entry in value.split(","))
                values[name] = {limit: int(count or 1) for limit, _, count in limits}
            elif isinstance(before, bool):
                values[name] = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[value]
            else:
                values[name] = type(before)(value)
        except (ValueError, KeyError):
            raise SettingError(f"{name} is {value!r}; give {_kind(before)}.") from None
    return Fields.from_dict(values)


def _as_said(value: object) -> str:
    return {bool: "true", dict: "void=1"}.get(type(value), "comp" if value == "" else str(value))


def _kind(value: object) -> str:
    return {bool: "true or false", int: "a whole number", dict: "names with numbers, such as void=1"}.get(
        type(value), "text"
    )


@app.command("run")
def farm_run(
    job: Annotated[Path, typer.Option(help="The job's farm.json.")],
    stage: Annotated[str, typer.Option(help="The stage.")],
    task: Annotated[str, typer.Option(help="The task's number in it, or those of several, such as 4-7.")] = "0",
    path_map: Annotated[
        str, typer.Option(help="A file of rules for paths, or deadline, to ask Deadline; else the site's rules.")
    ] = "",
    progress: Annotated[str, typer.Option(help="How progress is printed: openjd, deadline or plain.")] = "plain",
    retries: Annotated[int, typer.Option(min=0, help="Attempts after the first.")] = 0,
) -> None:
    """Do a task, or several; what schedulers call. Doing it again does no harm."""
    try:
        warnings = _done(job, stage, task, path_map, progress, retries)
    except JobCancelled as error:
        print(f"void: {error}", file=sys.stderr, flush=True)
        raise typer.Exit(STOPPED) from None
    except (VoidError, OSError, MemoryError) as error:
        kind = type(error) if isinstance(error, VoidError) else JobFailed
        told = kind(f"On {platform.node()}: {failures.reason(error)}", getattr(error, "detail", ""))
        if progress == "openjd":
            print(f"openjd_fail: {told}", flush=True)
        raise told from error
    for warning in warnings:
        print(f"warning: {warning}", flush=True)
    print(f"{stage} {task} done", flush=True)


def _done(job: Path, stage: str, task: str, path_map: str, progress: str, retries: int) -> tuple[str, ...]:
    """Do the tasks, by the session's process where there is one; their warnings. Raises VoidError or OSError."""
    try:
        from ..farm.tasks import session
        from ..farm.tasks.run import PROGRESS, do, printer
        from ..imaging.sequence import parse_frames
    except ImportError as error:
        wrong = SettingError(
            f"The Python package {error.name} cannot be loaded ({error}); install void-nuke again: "
            f"{plugins.how_to_install()}"
        )
        if job.is_file() and task.isdecimal():
            failures.note(job.parent, stage, int(task), wrong)
        raise wrong from error
    if progress not in PROGRESS:
        raise SettingError(f"progress is {progress!r}; take {', '.join(PROGRESS)}.")
    say, tasks = printer(progress), parse_frames(task)
    warnings = None
    if there := os.environ.get(session.ENVIRONMENT):
        warnings = session.given_to(Path(there), session.Task(job, stage, tasks, path_map, retries), say)
    return warnings if warnings is not None else do(job, stage, tasks, path_map, say, retries=retries)


@app.command("session")
def farm_session(
    what: Annotated[str, typer.Argument(help="begin or end.")],
    folder: Annotated[Path, typer.Argument(help="The session's own folder.")],
) -> None:
    """Begin or end the process that does all GPU tasks of a session; what OpenJD's environments call."""
    from ..farm.tasks import session

    if what == "begin":
        try:
            print(f"openjd_env: {session.ENVIRONMENT}={session.start(folder)}", flush=True)
        except JobFailed as error:
            print(f"warning: {error} Each task loads the model itself.\n{error.detail}", flush=True)
    elif what == "end":
        print(session.stop(folder), end="", flush=True)
    else:
        raise SettingError(f"A session can begin or end; {what!r} is neither.")


def numbers(folder: Path, ids: dict[str, str]) -> str:
    """A submitted job's folder, and the scheduler's id of each stage."""
    return "  ".join([str(folder), *(f"{stage}={number}" for stage, number in ids.items())])
