"""Telling people that a job or a batch has ended, or failed: a hook of the studio's, mail, the page in the browser.

The task with which a job ends tells it, on its machine, by the site's settings there. Nothing that goes wrong with
telling spoils the task.
"""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from ..api import notices as journal
from ..api.hooks import call
from ..api.version import VersionFolder
from . import batches, failures, site
from .job import FarmJob

#: The studio's function.
HOOK = "on_farm"
JOB_DONE, JOB_FAILED, BATCH_DONE, BATCH_FAILED = "job_done", "job_failed", "batch_done", "batch_failed"


@dataclass(frozen=True)
class Notice:
    """What is told: a sentence, and what a hook may want to know. ``when`` is in seconds since 1970."""

    event: str
    text: str
    name: str
    user: str
    show: str
    shot: str
    folder: str
    batch: str
    host: str
    when: float


@contextmanager
def _harmless() -> Iterator[None]:
    """What goes wrong with telling is a warning: the task has done its work."""
    try:
        yield
    except (Exception, SystemExit) as error:  # a hook of the studio's may raise or end whatever it likes
        _say(error)


@_harmless()
def done(job: FarmJob, here: Callable[[str], str]) -> None:
    """Tell that a job is done, and its batch, where this was the last of it; ``here`` gives a path on this machine."""
    _tell(job, JOB_DONE, f"{job.title} is done", f": {job.folder}")
    _tell_batch(job, here)


@_harmless()
def failed(job: FarmJob, stage: str, error: BaseException, here: Callable[[str], str]) -> None:
    """Tell that a task failed, once until the job is handed over again; and that its batch ended, if it did so.

    ``here`` gives a path on this machine.
    """
    if _first(_told(job)):
        _tell(job, JOB_FAILED, f"{job.title} failed in {stage} on {platform.node()}", f": {failures.reason(error)}")
        _tell_batch(job, here)


def forget(job: FarmJob) -> None:
    """Have the next failure told again, as the job is handed over again."""
    _told(job).unlink(missing_ok=True)
    if job.batch:
        _told_of_batch(Path(job.batch)).unlink(missing_ok=True)


def _told(job: FarmJob) -> Path:
    return VersionFolder(job.folder).intermediate / "told_failure"


def _told_of_batch(record: Path) -> Path:
    return record.with_suffix(".told")


def _first(mark: Path) -> bool:
    """Whether nobody has been here before; of several machines, one, as far as the disk can tell."""
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError as error:
        # told twice is better than never
        print(f"warning: this may be told more than once: {_printable(error)}", flush=True)
    return True


def _tell_batch(job: FarmJob, here: Callable[[str], str]) -> None:
    """Tell of the job's batch, once, when all of its jobs are done or have failed."""
    if not job.batch:
        return
    record = Path(here(job.batch))
    folders = [Path(here(str(folder))) for folder in batches.read(record, site.load()).folders]
    # whoever deleted a version waits for it no longer; where its folder is gone too, its disk is not there
    missing = [folder for folder in folders if not folder.is_dir() and folder.parent.is_dir()]
    there = [folder for folder in folders if folder not in missing]
    over = [VersionFolder(folder).manifest.is_file() for folder in there]
    wrong = [bool(failures.any_in(folder)) for folder in there]
    if not there or not all(map(max, over, wrong)) or not _first(_told_of_batch(record)):
        return
    bad = len(there) - sum(over)
    how = f"{bad} of {len(folders)} shots failed" if bad else f"{sum(over)} of {len(folders)} shots are done"
    how += f"; missing: {', '.join(map(str, missing))}" if missing else ""
    more = f"; look at them with: void farm status --batch {record.stem}" if bad else ""
    _tell(job, BATCH_FAILED if bad else BATCH_DONE, f"Batch {record.stem}: {how}", more)


def _tell(job: FarmJob, event: str, subject: str, more: str) -> None:
    """Tell it in every way that the site has: the ``subject``, and with it what is too long for one."""
    fields = job.fields
    batch = Path(job.batch).stem
    about = job.title, fields.user, fields.show, fields.shot, str(job.folder), batch
    notice = Notice(event, f"{subject}{more}", *about, platform.node(), time.time())
    where = site.load()
    data = asdict(notice)

    def write() -> None:
        if where.mail:
            where.mail.send(subject, _letter(notice), {"user": fields.user})

    ways: list[Callable[[], object]] = [lambda: journal.add(data), lambda: call(where.hooks, HOOK, data), write]
    for way in ways:
        with _harmless():
            way()


def _letter(notice: Notice) -> str:
    said = (("shot", notice.shot), ("show", notice.show), ("batch", notice.batch), ("folder", notice.folder))
    return "\n".join([notice.text, "", *(f"{name}: {value}" for name, value in said if value), ""])


def _say(error: BaseException) -> None:
    print(f"warning: this was not told to everybody: {_printable(error)}", flush=True)


def _printable(error: BaseException) -> str:
    """What an error says, as the log's encoding has it: names of files may hold bytes that are no text."""
    encoding = sys.stdout.encoding or "ascii"
    return failures.reason(error).encode(encoding, "backslashreplace").decode(encoding)
