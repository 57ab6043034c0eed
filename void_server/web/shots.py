"""The shots that people brought to the page, each in a folder of its own until nobody has used it for a week."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..api.errors import AccessDenied, InputError, JobFailed, UnknownJob
from ..api.files import is_plain_name, read_json, write_atomically
from ..api.job import new_id
from ..api.shot import SCENE_LINEAR_REC709
from ..api.version import VersionFolder
from .intake import Taken
from .visitor import visitor

#: The bytes of one shot, those of all from which on there are no more, and those of the disk that stay free.
MOST_BYTES, MOST_IN_ALL, _SPARE = 50 * 2**30, 200 * 2**30, 2 * 2**30
_KEPT_DAYS = 7
_ID = re.compile(r"[0-9a-f]{12}")
_SIGNS = re.compile(r"[^\w.-]", re.ASCII)
_MANIFEST = "shot.json"


@dataclass(frozen=True)
class Brought:
    """A shot that was brought: its name as people know it, its plate, and the jobs made of it.

    ``jobs`` are ids, the oldest first; ``sample`` says that it is the sample shot.
    """

    id: str
    name: str
    frames: tuple[int, ...]
    width: int
    height: int
    aspect: float
    colorspace: str
    sample: bool = False
    jobs: tuple[str, ...] = field(default=())

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Brought:
        """Rebuild one that was kept."""
        return cls(**{**data, "frames": tuple(data["frames"]), "jobs": tuple(data["jobs"])})


class Shots:
    """The shots below a folder, those of each user apart from the others'."""

    def __init__(self, folder: Path) -> None:
        self._all = folder

    @property
    def _folder(self) -> Path:
        """The shots of the visitor."""
        user = visitor.get().user
        return self._all / "users" / user if user else self._all / "here"

    def new(self) -> str:
        """The id of a new shot, which has no files yet. Raises :class:`JobFailed` where there is no room."""
        if self._folder.is_dir() and _size(self._folder) > MOST_IN_ALL:
            raise JobFailed("There is no room for more shots on the page's machine; remove some, or tell who runs it.")
        made = new_id()
        self.given(made).mkdir(mode=0o700, parents=True)
        return made

    def folder(self, shot_id: str) -> Path:
        """Where all of a shot lies. Raises :class:`InputError` where there is none."""
        folder = self._folder / shot_id
        if not _ID.fullmatch(shot_id) or not folder.is_dir():
            raise UnknownJob("This shot is no longer here; bring it again.")
        return folder

    def given(self, shot_id: str) -> Path:
        """Where the files lie as they came."""
        return self._folder / shot_id / "given"

    def place_for(self, shot_id: str, name: str, size: int) -> Path:
        """Where a file of so many bytes may be written that somebody brings to a shot.

        Raises :class:`AccessDenied` for a name that is none, InputError and JobFailed where there is no room.
        """
        folder = self.folder(shot_id)
        if not is_plain_name(name) or name.startswith("."):
            raise AccessDenied(f"{name!r:.200} is not a plain file name; rename the file, and bring it again.")
        if (folder / _MANIFEST).exists():
            raise InputError("This shot is complete; bring other files as a new shot.")
        if _size(folder) + size > MOST_BYTES:
            raise InputError(f"A shot on the page may have {MOST_BYTES / 1e9:.0f} GB; use the command `void remove`.")
        if shutil.disk_usage(folder).free < size + _SPARE:
            raise JobFailed("The disk of the page's machine is full; remove some shots, or tell who runs it.")
        # what a pattern for sequences would take for its own signs is in no name
        place = self.given(shot_id) / _SIGNS.sub("_", name)
        if place.exists():
            raise InputError(f"Two files of the shot are called {name}; bring one of them.")
        return place

    def keep(self, shot_id: str, name: str, taken: Taken, *, sample: bool = False) -> Brought:
        """Keep what was found of a shot that was taken in."""
        colorspace = taken.colorspace or SCENE_LINEAR_REC709
        frames, size = taken.frames, (taken.width, taken.height)
        shot = Brought(shot_id, name, frames, *size, taken.aspect, colorspace, sample)
        self._write(shot)
        shutil.rmtree(self.given(shot_id), ignore_errors=True)
        return shot

    def get(self, shot_id: str) -> Brought:
        """A shot. Raises :class:`InputError` where there is none, or one whose files are not all here."""
        file = self.folder(shot_id) / _MANIFEST
        if not file.is_file():
            raise InputError("The files of this shot are not all here; bring it again.")
        os.utime(file)
        return Brought.from_dict(read_json(file))

    def plate(self, shot_id: str, frame: int) -> Path:
        """The file of a frame of the plate."""
        return VersionFolder(self.folder(shot_id)).plate(frame)

    def add_job(self, shot: Brought, job_id: str) -> None:
        """Note that a job was made of a shot."""
        known = self.get(shot.id)
        self._write(Brought.from_dict({**asdict(known), "jobs": (*known.jobs, job_id)}))

    def by_job(self) -> dict[str, Brought]:
        """The shots by the jobs that were made of them; other jobs were not made here."""
        return {job_id: shot for shot in self.all() for job_id in shot.jobs}

    def all(self) -> list[Brought]:
        """All complete shots, the newest first."""
        found = sorted(self._folder.glob(f"*/{_MANIFEST}"), key=lambda file: file.stat().st_mtime, reverse=True)
        return [Brought.from_dict(read_json(file)) for file in found]

    def remove(self, shot_id: str) -> None:
        """Remove a shot from the page; its jobs stay with the server."""
        shutil.rmtree(self.folder(shot_id))

    def clear(self) -> None:
        """Remove what nobody has used for a week."""
        limit = time.time() - 86400 * _KEPT_DAYS
        for folder in [*self._all.glob("here/*"), *self._all.glob("users/*/*")]:
            used = folder / _MANIFEST if (folder / _MANIFEST).exists() else folder
            if used.stat().st_mtime < limit:
                shutil.rmtree(folder, ignore_errors=True)

    def _write(self, shot: Brought) -> None:
        write_atomically(self.folder(shot.id) / _MANIFEST, json.dumps(asdict(shot)))


def _size(folder: Path) -> int:
    """The bytes of all files below a folder."""
    return sum(entry.stat().st_size for entry in folder.rglob("*") if entry.is_file())
