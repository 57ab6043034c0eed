"""Tasks of a farm job: done once, whoever runs them how often; stopped by SIGTERM, they leave what is finished."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from ...api.client import Client
from ...api.errors import InputError, JobCancelled, JobError, SequenceError, VoidError
from ...api.job import JobState, Progress, Report
from ...api.version import REMOVAL, VersionFolder
from ...pipeline import Part, run_part
from ...signing import sign_made
from .. import failures, notices, pathmap, site
from ..job import CHECK, CHECK_GPU, EXPORT, SERVE, FarmJob
from ..schedulers import deadline
from . import check, export

# Seconds before the second attempt; each further one waits twice as long.
_FIRST_PAUSE = 10.0
# Directories of network disks may be remembered for a minute.
_LATE_RETRIES = 3

PROGRESS = {
    "openjd": "openjd_progress: {percent:.1f}\nopenjd_status: {words}",
    "deadline": "Progress: {percent:.0f}%\n{words}",
    "plain": "{percent:3.0f} % {words}",
}


def do(
    job_file: Path, stage: str, tasks: tuple[int, ...], path_map: str, say: Report, *, retries: int = 0
) -> tuple[str, ...]:
    """Do tasks of the job in ``job_file``, as :func:`run_tasks`, with paths mapped.

    ``path_map`` is a file of rules, ``deadline`` for the rules of Deadline's repository and then the site's, or empty
    for the site's alone.
    """
    here = _on_this_machine(path_map)
    job = FarmJob.read(job_file if job_file.is_file() else Path(here(str(job_file))))
    return run_tasks(job, stage, tasks, here, say, retries=retries)


def _on_this_machine(path_map: str) -> Callable[[str], str]:
    """A function from a path of the machine that submitted the job to the path here."""
    if path_map and path_map != "deadline":
        return pathmap.translator(pathmap.read(Path(path_map)))
    own = pathmap.translator(list(site.load().path_map))
    return (lambda path: own(deadline.mapped(path))) if path_map else own


def run_tasks(
    job: FarmJob,
    stage: str,
    tasks: tuple[int, ...],
    here: Callable[[str], str],
    say: Report,
    *,
    retries: int = 0,
) -> tuple[str, ...]:
    """Do tasks of a stage, by their numbers, and return warnings. What is done already is not done again.

    ``here`` gives a path of the machine that submitted the job under its name on this one. An attempt that fails is
    repeated ``retries`` times, but not where the input is wrong. Raises :class:`~void_server.api.errors.VoidError` or
    OSError; JobCancelled after SIGTERM.
    """
    there = job.stage(stage)
    if wrong := [task for task in tasks if not 0 <= task < there.tasks]:
        raise InputError(f"Stage {stage} has tasks 0 to {there.tasks - 1}, and no {wrong[0]}.")
    version = VersionFolder(job.folder)
    if version.manifest.is_file():
        if stage == Part.REPORT.value and not version.signature.is_file():
            # an attempt before was ended in between
            sign_made(version)
        return ()
    _see_gpu()
    # what another machine has just exported may not be in sight of this one yet
    late: tuple[type[VoidError], ...] = (SequenceError,) if job.export and stage != EXPORT else ()
    retries = max(retries, _LATE_RETRIES) if late else retries
    with stopping(say) as report:
        for attempt in range(retries + 1):
            try:
                warnings = _done(job, stage, tasks, here, report)
                for task in tasks:
                    failures.forget(job.folder, stage, task)
                if stage == job.stages[-1].name:
                    notices.done(job, here)
                return warnings
            except (VoidError, OSError, MemoryError) as error:
                wrong_input = isinstance(error, (InputError, JobCancelled)) and not isinstance(error, late)
                if wrong_input or attempt == retries:
                    if not isinstance(error, JobCancelled):
                        failures.note(job.folder, stage, _first_undone(job, stage, tasks), error)
                        notices.failed(job, stage, error, here)
                    raise
                pause = _FIRST_PAUSE * 2**attempt
                print(f"attempt {attempt + 1} failed: {failures.reason(error)}; again in {pause:g} s", flush=True)
                _wait(pause, report)
    raise AssertionError("the last attempt returns or raises")


def _first_undone(job: FarmJob, stage: str, tasks: tuple[int, ...]) -> int:
    """Of tasks that were done together, the one that did not get done; the first of them where none can be told."""
    return next((task for task in tasks if not is_done(job, stage, task)), tasks[0])


def _done(
    job: FarmJob, stage: str, tasks: tuple[int, ...], here: Callable[[str], str], report: Report
) -> tuple[str, ...]:
    """Do tasks once, whatever they are of; those that share out frames as one."""
    if stage in (CHECK, CHECK_GPU):
        for found in check.look(job, stage, here):
            print(found, flush=True)
        return ()
    if job.stage(stage).frames:
        return _own(job, stage, tasks[0], here, report, frames=_frames(job, stage, tasks))
    return tuple(warning for task in tasks for warning in _one(job, stage, task, here, report))


def _frames(job: FarmJob, stage: str, tasks: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(frame for task in tasks for frame in job.stage(stage).frames_of(task))


def _one(job: FarmJob, stage: str, task: int, here: Callable[[str], str], report: Report) -> tuple[str, ...]:
    if job.pairs:
        from . import pairs

        return pairs.do(job.pairs, job.folder, stage, task, report, threads=job.fields.cores)
    return _served(job, here, report) if stage == SERVE else _own(job, stage, task, here, report)


def _own(
    job: FarmJob,
    stage: str,
    task: int,
    here: Callable[[str], str],
    report: Report,
    *,
    frames: tuple[int, ...] = (),
) -> tuple[str, ...]:
    assert job.shot
    if stage == EXPORT:
        export.write_frames(job, frames, here, report)
        return ()
    part, version = Part(stage), VersionFolder(job.folder)
    if part is Part.FINISH and not version.missing(frames, *REMOVAL):
        return ()
    if part is Part.REPORT:
        version.note_submitter(job.fields.user)
    warnings = run_part(part, job.id, job.shot.with_paths(here), job.folder, report, task, frames)
    if part is Part.REPORT:
        sign_made(version)
    return warnings


def _served(job: FarmJob, here: Callable[[str], str], report: Report) -> tuple[str, ...]:
    """Let an inference server do the job, and wait for it."""
    assert job.shot
    shot = job.shot.with_paths(here)
    with Client(job.server, timeout=30) as client:
        done = client.submit(shot, str(job.folder), job_id=job.id, reserved=True)
        if done.state.ended and done.state is not JobState.DONE:
            # an earlier attempt of this task
            done = client.resume(job.id)
        try:
            for done in client.watch(job.id):
                report(done.progress or Progress("waiting for the server", None, 0.0, None))
        except JobCancelled:
            with suppress(VoidError):
                client.cancel(job.id)
            raise
    if done.error:
        raise done.error
    if done.state is not JobState.DONE:
        raise JobError(f"The server stopped job {job.id}; run the task again to go on.")
    return done.warnings


def _wait(seconds: float, report: Report) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        report(Progress("waiting to try again", None, 0.0, None))
        time.sleep(min(0.5, seconds))


def _see_gpu() -> None:
    """OpenCue tells a task its GPUs in a variable of its own."""
    if given := os.environ.get("CUE_GPU_CORES"):
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", given)


@contextmanager
def stopping(say: Report) -> Iterator[Report]:
    """A report that raises JobCancelled once SIGTERM has come."""
    told = False

    def stop(_: int, __: FrameType | None) -> None:
        nonlocal told
        told = True

    def report(progress: Progress) -> None:
        if told:
            raise JobCancelled("The farm stopped the task; finished frames are kept, and it goes on from them.")
        say(progress)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield report
    finally:
        signal.signal(signal.SIGTERM, before)


def printer(form: str) -> Report:
    """Prints progress as a scheduler reads it, when there is something new, and at least every minute."""
    last, sending = (-1, ""), ""
    when = 0.0
    # schedulers draw bars; people read logs
    steps = 20 if form == "plain" else 100

    def say(progress: Progress) -> None:
        nonlocal last, sending, when
        if progress.sending not in ("", sending):
            sending = progress.sending
            print(f"sending {sending}", flush=True)
        now = int(steps * progress.fraction), progress.stage
        if now == last and time.monotonic() - when < 60:
            return
        last, when = now, time.monotonic()
        frame = f", frame {progress.frame}" if progress.frame is not None else ""
        print(PROGRESS[form].format(percent=100 * progress.fraction, words=progress.stage + frame), flush=True)

    return say


def state(job: FarmJob) -> dict[str, tuple[int, int]]:
    """How many tasks of each stage are done, and of how many, by the files that are there."""
    return {
        stage.name: (sum(is_done(job, stage.name, task) for task in range(stage.tasks)), stage.tasks)
        for stage in job.stages
    }


def is_done(job: FarmJob, stage: str, task: int) -> bool:
    """Whether a task is done, by the files that are there."""
    version = VersionFolder(job.folder)
    if version.manifest.is_file():
        return True
    if job.pairs and stage != CHECK:
        from . import pairs

        return pairs.done(job.pairs, job.folder, stage, task)
    frames = job.stage(stage).frames_of(task)
    if stage == Part.FINISH.value:
        return not version.missing(frames, *REMOVAL)
    if stage == EXPORT and job.export:
        return job.export.written(frames)
    return version.warnings(f"{stage}_{task}").is_file()
