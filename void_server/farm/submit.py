"""Submitting, following and stopping jobs on whichever scheduler."""

from __future__ import annotations

import csv
import json
import re
import secrets
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..api.account import user
from ..api.errors import SettingError, VoidError
from ..api.files import read_json, write_atomically
from ..api.shot import Shot
from . import batches
from .fields import Fields
from .job import CPU, INDEX, PAIRS, Export, FarmJob, Stage, checked
from .plan import Plan, plan
from .schedulers.base import Scheduler, Submission, check_fields, find, limits
from .site import Site

if TYPE_CHECKING:
    from ..pairs.ordering import Order

RECORD = "farm_submitted.json"
# For so many seconds, a job that was withdrawn may be waiting for others of its batch to be handed over.
_ON_ITS_WAY = 3600.0
# What Excel takes for the delimiter, in a table's first line.
_DELIMITER = re.compile(r"\s*sep=([^\w\s\"]|\t)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Wanted:
    """A shot to submit: where its versions go, what is said of it, and what Nuke is to export for it."""

    shot: Shot
    out: Path
    fields: Fields
    export: Export | None = None


@dataclass(frozen=True)
class Submitted:
    """The scheduler that has a job, its id there for each stage, and whether somebody has stopped it on purpose.

    ``taken`` is whether the scheduler took all of it, ``withdrawn`` since when it has been withdrawn to be handed over
    again (seconds since 1970), 0 where that is not so.
    """

    scheduler: str
    ids: dict[str, str] = field(default_factory=dict)
    stopped: bool = False
    taken: bool = False
    withdrawn: float = 0.0

    @property
    def lost(self) -> bool:
        """Whether no scheduler has the job, nor is it on its way to one."""
        return not (self.taken or self.ids) and time.time() - self.withdrawn > _ON_ITS_WAY


def submit(
    wanted: Sequence[Wanted], site: Site, scheduler: str, server: str = "", *, batch: str = "", dry_run: bool = False
) -> list[tuple[FarmJob, Submission]]:
    """Plan all shots and hand them over as one group, which is kept as a batch where that is named.

    Nothing is handed over, and no folder stays, where any of them is wrong. Raises VoidError.
    """
    chosen = find(scheduler)
    for one in wanted:
        check_fields(scheduler, chosen, one.fields)
        if one.export and not site.nuke:
            raise SettingError('The farm settings name no Nuke that could export plate and roto; set "nuke" in them.')
    plans = [_planned(one, site, server) for one in wanted]
    for planned in plans:
        check_limits(chosen, planned, site)
    made: list[tuple[FarmJob, Submission]] = []
    kept = batches.begin(batch, site) if batch and not dry_run else None
    try:
        for one, planned in zip(wanted, plans, strict=True):
            made.append((planned.begin(one.out, str(kept.file) if kept else ""), Submission()))
        if kept:
            kept = kept.holding(tuple(job.folder for job, _ in made))
        first = made[0][0].title
        group = first if len(made) == 1 else f"{first} and {len(made) - 1} more"
        for job, submission in made:
            hand_over(job, submission, site, scheduler, group, dry_run=dry_run)
    except BaseException:
        for job, submission in made:
            # what this machine has done itself is worth keeping
            if not chosen.runs_here or not (job.folder / RECORD).exists():
                _take_back(job, submission, chosen, site)
        if kept:
            with suppress(OSError):  # what is raised says why this came to nothing
                kept.keeping([job.folder for job, _ in made if job.folder.exists()])
        raise
    return made


def submit_pairs(
    order: Order, out: Path, fields: Fields, site: Site, scheduler: str, *, dry_run: bool = False
) -> tuple[FarmJob, Submission]:
    """Hand a set of pairs over, a task each, which are written to ``out``, and a last task that looks through them.

    Raises VoidError; :class:`SettingError` where ``out`` holds a farm job already.
    """
    chosen = find(scheduler)
    check_fields(scheduler, chosen, fields)
    folder = out.absolute()
    fields = fields if fields.user else replace(fields, user=user())
    stages = checked((Stage(PAIRS, CPU, order.count), Stage(INDEX, CPU, 1, (PAIRS,))))
    job = FarmJob(secrets.token_hex(6), None, fields, stages, folder, pairs=order)
    check_limits(chosen, job, site)
    if job.file.exists():
        raise SettingError(f"{folder} holds a farm job already; continue it with: void farm again {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    job.write()
    submission = Submission()
    try:
        hand_over(job, submission, site, scheduler, job.title, dry_run=dry_run)
    except BaseException:
        # what a farm was given, or this machine has made, is worth keeping
        if not submission.ids and not (chosen.runs_here and not dry_run):
            job.file.unlink(missing_ok=True)
        raise
    return job, submission


def _planned(one: Wanted, site: Site, server: str) -> Plan:
    export = replace(one.export, nuke=site.nuke) if one.export else None
    fields = one.fields if one.fields.user else replace(one.fields, user=user())
    return plan(one.shot, fields, server, export)


def hand_over(
    job: FarmJob, submission: Submission, site: Site, scheduler: str, group: str, *, dry_run: bool = False
) -> None:
    """Hand one job to a scheduler, and note its ids there beside it."""
    taken = False
    try:
        find(scheduler).submit(job, site, group, submission, dry_run=dry_run)
        taken = True
    finally:
        # whatever came between: what was handed over can be found again
        if not dry_run:
            _record(job, Submitted(scheduler, submission.ids, taken=taken))


def _record(job: FarmJob, handed: Submitted) -> None:
    write_atomically(job.folder / RECORD, json.dumps(asdict(handed), indent=2))


def note_stopped(job: FarmJob) -> None:
    """Write down that somebody has stopped the job on purpose, until it is handed over again."""
    _record(job, replace(submitted(job), stopped=True))


def note_withdrawn(job: FarmJob) -> None:
    """Write down that no scheduler has the job any more, and that it is on its way to one."""
    _record(job, Submitted(submitted(job).scheduler, withdrawn=time.time()))


def check_limits(scheduler: Scheduler, job: Plan | FarmJob, site: Site) -> None:
    """Raise :class:`SettingError` where the scheduler cannot express the limits that a job's tasks take."""
    for stage in job.stages:
        scheduler.check_limits(limits(job.fields, stage, site))


def _take_back(job: FarmJob, submission: Submission, scheduler: Scheduler, site: Site) -> None:
    """Leave nothing of a submission that failed on its way."""
    with suppress(VoidError):
        if submission.ids:
            scheduler.cancel(submission.ids, site)
    shutil.rmtree(job.folder, ignore_errors=True)


def submitted(job: FarmJob) -> Submitted:
    """To whom a job was handed. Raises :class:`SettingError` where it was not."""
    file = job.folder / RECORD
    try:
        record = read_json(file)
        ids, stopped, taken = dict(record["ids"]), bool(record["stopped"]), bool(record["taken"])
        return Submitted(str(record["scheduler"]), ids, stopped, taken, float(record["withdrawn"]))
    except (OSError, ValueError, LookupError, TypeError, OverflowError) as error:
        raise SettingError(f"{job.folder} was not submitted to a farm ({file.name} is not there).") from error


def batch(file: Path, out: str = "") -> list[dict[str, str]]:
    """The rows of a table of shots, with ``out`` where one names none.

    That is CSV with a heading, in UTF-8, as spreadsheets write it: parted by commas, semicolons or tabs, or by what
    Excel's line ``sep=`` says. Raises :class:`SettingError` naming file and line.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
        # not splitlines(), which knows ends of lines that cells may hold
        lines = text.split("\n")
        heading = next(filter(str.strip, lines), "")
        if said := _DELIMITER.fullmatch(heading):
            lines[lines.index(heading)] = ""
        delimiter = said[1] if said else max(",;\t", key=heading.count)
        reader = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, skipinitialspace=True)
        table = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except UnicodeDecodeError as error:
        raise SettingError(f"The table {file} is not in UTF-8; save it as CSV UTF-8.") from error
    except (OSError, csv.Error) as error:
        raise SettingError(f"The table {file} cannot be read: {error}") from error
    # what a spreadsheet has formatted, and nobody filled in
    (_, names), *rows = [(number, cells) for number, cells in table if any(cells)] or [(1, [])]
    names = [name.lower() for name in names]
    known = {"plate", "roto", "out", "quadmask", "prompt", "frames", "colorspace", "name", "shot", "show", "comment"}
    if wrong := [name for name in names if name and name not in known]:
        raise SettingError(f"{file}: there is no column {wrong[0]!r}; known are {', '.join(sorted(known))}.")
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise SettingError(f"{file}: there are two columns {twice[0]!r}; keep one.")
    found = []
    for number, cells in rows:
        if any(cells[len(names) :]) or any(cell and not name for name, cell in zip(names, cells, strict=False)):
            raise SettingError(f"{file}, line {number}: a cell has no heading; quote what holds {delimiter!r}.")
        row = {name: cell for name, cell in zip(names, cells, strict=False) if cell}
        row = ({"out": out} if out else {}) | row
        lacking = [name for name in ("plate", "roto", "out") if name not in row]
        if lacking:
            raise SettingError(f"{file}, line {number}: the {lacking[0]} is not named.")
        found.append(row)
    if not found:
        raise SettingError(f"{file} has no shots; write a heading with plate,roto,out, and a line for each.")
    return found
