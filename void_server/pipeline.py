"""The way of a shot: reading, finding the object, reasoning, synthesis, finish, report.

Each stage leaves files in the job's version folder, and takes up what it finds there: a job that was stopped goes on
with the frames that are missing. What only the job itself needs lies in a hidden folder that goes when it is done.
"""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path

from . import engines, finish, reason, segment
from .api.errors import JobFailed
from .api.files import write_atomically
from .api.job import Report
from .api.shot import Shot
from .conclude import conclude
from .course import REASONING, REPORTING, REWRITING, Course, all_stages, first_stages
from .imaging.colour import ColourSpace
from .results import Results
from .rewrite import rewrite, write_all_mattes
from .source import check_plate, open_source
from .work import Work, open_work

__all__ = ["Part", "Results", "inspect", "run", "run_part"]


def inspect(shot: Shot) -> None:
    """Check a submission: files, frames, formats, colour space, settings. Raises InputError with what to do."""
    reason.check(shot)
    engines.check_settings(shot.settings)
    engines.load(shot.settings)
    ColourSpace(shot.colorspace, shot.ocio)
    source = open_source(shot)
    check_plate(source)
    segment.check_prompts(shot, source)


def run(job_id: str, shot: Shot, folder: Path, report: Report) -> tuple[str, ...]:
    """Do the job in its version ``folder`` and return what the artist should be warned of.

    Raises InputError, JobCancelled out of ``report``, or OSError where the disk fails; finished frames stay.
    """
    settings = shot.settings
    _clear_away(folder)
    work = open_work(shot, engines.load(settings), Results(folder), Course(report, all_stages(shot)))
    if not settings.only_roto:
        with work.course.stage(REASONING):
            work.warnings += reason.write_quadmask(work)
        if settings.only_quadmask:
            write_all_mattes(work)
        else:
            with work.course.stage(REWRITING):
                work.warnings += rewrite(work, work.clip(), work.frames)
    conclude(work, job_id)
    return tuple(work.warnings)


class Part(str, Enum):
    """What one task of a render farm does of a job. Each part leaves files, and takes up those of the parts before."""

    QUADMASK = "quadmask"
    REMOVE = "remove"
    FINISH = "finish"
    REPORT = "report"


_STAGES = {
    Part.QUADMASK: (REASONING, REWRITING),
    Part.REMOVE: (REWRITING,),
    Part.FINISH: (REWRITING,),
    Part.REPORT: (REPORTING,),
}


def run_part(
    part: Part,
    job_id: str,
    shot: Shot,
    folder: Path,
    report: Report,
    number: int = 0,
    frames: tuple[int, ...] = (),
) -> tuple[str, ...]:
    """Do one part of a job: the quadmask and what else all frames need, a piece of the model's work, the finish of some
    ``frames``, or the report.

    ``number`` counts the parts of one kind; several may run at the same time, on several machines that share the
    folder. A part whose files are there already does nothing. Raises as :func:`run`; also JobFailed where the parts
    before are not done.
    """
    results = Results(folder)
    if part is Part.QUADMASK:
        _clear_away(folder)
    elif not results.survey.is_file():
        raise JobFailed(f"The quadmask of {folder} is not made yet; run that part first.")
    course = Course(report, (*first_stages(shot), *_STAGES[part]))
    # only where the model works must be what it needs
    engine = engines.load(shot.settings) if part is Part.REMOVE else engines.find(shot.settings.engine)
    work = open_work(shot, engine, results, course)
    if part is Part.REPORT:
        return _end(work, job_id)
    name = f"{part.value}_{number}"
    if part is Part.QUADMASK:
        with course.stage(REASONING):
            warnings = [*work.warnings, *reason.write_quadmask(work)]
        clip = work.clip(results.work / name)
        if not shot.settings.only_quadmask:
            with course.stage(REWRITING):
                work.engine.prepare(clip, course.at)
                finish.keep_grain(clip)
    else:
        clip, warnings = work.clip(results.work / name), []
        with course.stage(REWRITING):
            if part is Part.REMOVE:
                work.engine.make(clip, number, course.at)
            else:
                rewrite(work, clip, frames)
    warnings += clip.warnings
    write_atomically(results.warnings(name), json.dumps(warnings))
    return tuple(warnings)


def _end(work: Work, job_id: str) -> tuple[str, ...]:
    """The part that comes last: what all others have warned of, the report, the manifest."""
    results = work.results
    if work.shot.settings.only_quadmask:
        write_all_mattes(work)
    elif missing := [frame for frame in work.frames if not results.plate(frame).is_file()]:
        raise JobFailed(f"Frame {missing[0]} of {results.folder} is not there yet ({len(missing)} are missing).")
    told = [json.loads(file.read_text()) for file in sorted(results.work.glob(results.warnings("*").name))]
    work.warnings = list(dict.fromkeys(text for texts in told for text in texts))
    conclude(work, job_id)
    return tuple(work.warnings)


def _clear_away(folder: Path) -> None:
    """Take away what an attempt that was killed had half written."""
    for left in folder.glob("*/.void_*.exr"):
        left.unlink()
