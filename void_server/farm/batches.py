"""Batches: shots that were submitted together, kept in a record each, by which they are found again under a name."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..api.errors import JobFailed, SettingError
from ..api.files import read_json, write_atomically
from .job import FILE, FarmJob
from .site import Site

_SUFFIX = ".json"


@dataclass(frozen=True)
class Batch:
    """The version ``folders`` of a batch, and when it was submitted (seconds since 1970); ``file`` is its record."""

    file: Path
    folders: tuple[Path, ...] = ()
    created: float = 0.0

    @property
    def name(self) -> str:
        """What it is called: its record's name."""
        return self.file.stem

    def jobs(self) -> tuple[list[FarmJob], list[SettingError]]:
        """Its jobs, and what is wrong with those that cannot be read, such as those that are not there any more."""
        found: list[FarmJob] = []
        wrong: list[SettingError] = []
        for folder in self.folders:
            if not folder.is_dir():
                wrong.append(SettingError(f"{folder}, a version of the batch {self.name}, is missing."))
                continue
            try:
                found.append(FarmJob.read(folder / FILE))
            except SettingError as error:
                wrong.append(error)
        return found, wrong

    def keeping(self, folders: Sequence[Path]) -> None:
        """Hold these version folders alone; without any there is no record either. Raises OSError."""
        if folders:
            self.holding(tuple(folders))
        else:
            self.file.unlink(missing_ok=True)

    def holding(self, folders: tuple[Path, ...]) -> Batch:
        """The same with these version folders, written down. Raises OSError."""
        held = Batch(self.file, folders, self.created)
        write_atomically(self.file, json.dumps({"created": self.created, "folders": list(map(str, folders))}, indent=2))
        return held


def begin(wanted: str, site: Site) -> Batch:
    """A new batch with the name ``wanted``, or that with a number where it is taken; its record holds nothing yet.

    Raises :class:`JobFailed` where it cannot be written.
    """
    name = re.sub(r"[^\w.-]+", "_", wanted).strip("._") or "batch"
    try:
        site.batches.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            file = site.batches / f"{name}{f'_{number}' if number > 1 else ''}{_SUFFIX}"
            try:
                file.touch(exist_ok=False)
            except FileExistsError:
                number += 1
                continue
            return Batch(file, (), time.time()).holding(())
    except OSError as error:
        raise JobFailed(
            f"The batch's record cannot be written to {site.batches} ({error}); correct batches in the farm settings."
        ) from error


def find(named: str, site: Site) -> Batch:
    """The batch of that name, or whose record is that file. Raises :class:`SettingError` where there is none."""
    file = site.batches / f"{named}{_SUFFIX}"
    return read(file if file.is_file() else Path(named), site)


def read(file: Path, site: Site) -> Batch:
    """The batch whose record is ``file``. Raises :class:`SettingError`."""
    try:
        said = read_json(file)
        return Batch(file, tuple(map(Path, said["folders"])), float(said["created"]))
    except OSError as error:
        known = sorted(path.stem for path in site.batches.glob(f"[!.]*{_SUFFIX}"))
        there = f"; there are {', '.join(known)}" if known else "; none was submitted from here"
        raise SettingError(f"There is no batch {file.stem!r}{there}.") from error
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise SettingError(f"{file} is no record of a batch: {error!r}.") from error
