"""The stages of a job: reading, finding the object, reasoning, synthesis, report.

Each stage writes files to the job's version folder and reuses those it finds there: a resumed job continues with the
missing frames. Working files lie in a hidden folder that is removed when the job is done.
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from pathlib import Path

from .. import engines, permission
from ..api.errors import JobFailed
from ..api.files import write_atomically
from ..api.job import Report
from ..api.shot import PLATE, QUADMASK, ROTO, Shot
from ..api.version import MATTES, REMOVAL, VersionFolder
from ..imaging.colour import ColourSpace
from . import composite, heap, previews, reason, segment
from .composite import rewrite, write_all_mattes
from .context import JobContext, open_context
from .inputs import check_plate, check_quadmask, open_source
from .manifest import conclude
from .progress import REASONING, REPORTING, REWRITING, ProgressTracker, all_stages, first_stages

__all__ = ["Part", "VersionFolder", "check_part", "inspect", "run", "run_part"]


def inspect(shot: Shot) -> int:
    """Check a submission: files, frames, formats, colour space, settings. Returns the number of frames.

    Raises InputError saying what to do.
    """
    permission.check(shot)
    previews.wanted()
    reason.check(shot)
    engines.check_settings(shot.settings)
    engines.load(shot.settings)
    ColourSpace(shot.colorspace, shot.ocio)
    source = open_source(shot)
    check_plate(source)
    check_quadmask(shot, source)
    segment.check_prompts(shot, source)
    return len(source.frames)


def run(job_id: str, shot: Shot, folder: Path, report: Report) -> tuple[str, ...]:
    """Run the job in its version ``folder``; returns warnings for the artist.

    Raises InputError, JobCancelled out of ``report``, or OSError where the disk fails; finished frames stay.
    """
    settings = shot.settings
    permission.check(shot)
    engine = engines.load(settings)
    permission.check_weights(shot, lambda: engine.weights(settings))
    tracker = ProgressTracker(report, all_stages(shot))
    with _memory_for(engine):
        context = open_context(job_id, shot, engine, VersionFolder(folder), tracker)
        if settings.until != ROTO:
            with context.tracker.stage(REASONING):
                context.warnings += reason.write_quadmask(context)
            if settings.until == QUADMASK:
                write_all_mattes(context)
            else:
                with context.tracker.stage(REWRITING):
                    context.warnings += rewrite(context, context.clip(), context.frames)
        _check_complete(context)
        conclude(context, job_id)
    return tuple(context.warnings)


def _memory_for(engine: engines.Engine) -> AbstractContextManager[None]:
    """The process's memory while that engine works; a model's library sees to its own."""
    return nullcontext() if engine.wants_gpu else heap.kept()


def _check_complete(context: JobContext) -> None:
    """Raise :class:`JobFailed` if a frame of the result is not there, such as one that somebody has removed."""
    until = context.shot.settings.until
    results = {ROTO: (ROTO,), QUADMASK: (QUADMASK, MATTES), PLATE: (QUADMASK, *REMOVAL)}[until]
    if missing := context.version.missing(context.frames, *results):
        raise JobFailed(
            f"Frame {missing[0]} is missing in {context.version.folder} ({len(missing)} in all); resume to make it."
        )


class Part(str, Enum):
    """The part of a job that one farm task runs. Each part writes files, and reads those of earlier parts."""

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


def check_part(part: Part, shot: Shot) -> dict[str, str]:
    """Check that this machine has what a part of the job needs; the SHA-256 of the weights that it would load, by name.

    Raises :class:`~void_server.api.errors.InputError` saying what to install, or what the studio's policy forbids.
    """
    permission.check(shot)
    if part is Part.QUADMASK:
        previews.wanted()
        reason.check(shot)
    if part not in (Part.REMOVE, Part.FINISH) or shot.settings.until != PLATE:
        return {}
    engine = engines.load(shot.settings)
    weights = engine.weights(shot.settings)
    permission.check_weights(shot, lambda: weights)
    return weights


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
    permission.check(shot)
    version = VersionFolder(folder)
    if part is not Part.QUADMASK and not version.survey.is_file():
        raise JobFailed(f"The quadmask of {folder} does not exist yet; run that stage first.")
    tracker = ProgressTracker(report, (*first_stages(shot), *_STAGES[part]))
    # only where the model works must be what it needs
    engine = engines.load(shot.settings) if part is Part.REMOVE else engines.find(shot.settings.engine)
    if part is Part.REMOVE:
        permission.check_weights(shot, lambda: engine.weights(shot.settings))
    with _memory_for(engine):
        context = open_context(job_id, shot, engine, version, tracker)
        if part is Part.REPORT:
            return _end(context, job_id)
        name = f"{part.value}_{number}"
        if part is Part.QUADMASK:
            with tracker.stage(REASONING):
                warnings = [*context.warnings, *reason.write_quadmask(context)]
            clip = context.clip(version.intermediate / name)
            if shot.settings.until == PLATE:
                with tracker.stage(REWRITING):
                    context.engine.prepare(clip, tracker.at)
                    composite.keep_grain(clip)
        else:
            clip, warnings = context.clip(version.intermediate / name), []
            with tracker.stage(REWRITING):
                if part is Part.REMOVE:
                    context.engine.make(clip, number, tracker.at)
                else:
                    rewrite(context, clip, frames)
        warnings += clip.warnings
        write_atomically(version.warnings(name), json.dumps(warnings))
        return tuple(warnings)


def _end(context: JobContext, job_id: str) -> tuple[str, ...]:
    """The last part: collect the warnings of all others, write the report and the manifest."""
    version = context.version
    if context.shot.settings.until == QUADMASK:
        write_all_mattes(context)
    _check_complete(context)
    records = [json.loads(file.read_text()) for file in sorted(version.intermediate.glob(version.warnings("*").name))]
    context.warnings = list(dict.fromkeys(text for texts in records for text in texts))
    conclude(context, job_id)
    return tuple(context.warnings)
