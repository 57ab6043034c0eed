"""What lies in the state folder, and may go: old jobs with what was uploaded for them and fetched from them."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..api.errors import SettingError
from ..api.job import Job
from ..service.store import Store
from . import deliveries

_SECONDS = {"h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


@dataclass(frozen=True)
class Leftover:
    """What may go: a job that has ended, with its folder, or files and folders that belong to none."""

    what: str
    paths: tuple[Path, ...]
    job: Job | None = None


def age(text: str) -> float:
    """Seconds, from an age such as 30d. Raises :class:`SettingError`."""
    found = re.fullmatch(r"(\d+)([hdw])", text)
    if not found:
        raise SettingError(f"The age {text!r} is not valid; write it like 30d, 12h or 4w.")
    return int(found[1]) * _SECONDS[found[2]]


def leftovers(home: Path, store: Store, older: float) -> Iterator[Leftover]:
    """What nobody has used for ``older`` seconds. Jobs that are queued or running are none, nor anything of theirs.

    VersionFolder in the folders that users named are not looked at.
    """
    limit = time.time() - older
    ended = {job.id: job for job in store.ended()}
    for job in ended.values():
        if job.updated < limit:
            folder = home / "jobs" / job.id
            yield Leftover(f"job {job.id}, {job.state.value}", (folder,) if folder.is_dir() else (), job)
    files = {
        "files of no job": [path for path in (home / "jobs").glob("*") if store.find(path.name) is None],
        "uploads": list((home / "uploads").glob("??/*")),
        "notes where results go": [
            path for path in deliveries.kept() if path.stem in ended or store.find(path.stem) is None
        ],
    }
    for what, paths in files.items():
        if old := tuple(path for path in paths if path.stat().st_mtime < limit):
            yield Leftover(f"{what}: {len(old)}", old)


def remove(leftover: Leftover, store: Store) -> bool:
    """Remove it; whether it still could be."""
    # forgotten first: whoever takes the job up again meanwhile has it whole, or not at all
    if leftover.job and not store.forget(leftover.job):
        return False
    for path in leftover.paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return True


def size(found: list[Leftover]) -> int:
    """The bytes on disk, a file with several names counted once."""
    files: dict[tuple[int, int], int] = {}
    for path in (path for leftover in found for path in leftover.paths):
        for file in [path, *path.rglob("*")] if path.is_dir() else [path]:
            told = file.lstat()
            if not file.is_dir():
                files[told.st_dev, told.st_ino] = told.st_size
    return sum(files.values())
