"""Where the results of jobs that were uploaded from here go: what must be known to fetch them later."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..api.errors import ServerRefused
from ..api.files import write_atomically
from ..api.home import home, made

_JOB_ID = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True)
class Delivery:
    """A job that was uploaded from here.

    Its result goes to a new version folder in ``out``, and is in ``folder`` once it is there whole. ``server`` is the
    address of the server that has the job, empty where that was the command's own.
    """

    job: str
    out: str
    server: str = ""
    folder: str = ""

    def keep(self) -> None:
        """Write it down. Raises :class:`ServerRefused`."""
        path = _place(self.job)
        made(path.parent)
        try:
            write_atomically(path, json.dumps(asdict(self)))
        except OSError as error:
            raise ServerRefused(
                f"{path} cannot be written ({error.strerror}); free the disk, or set $VOID_HOME to another folder."
            ) from error

    def arrived(self, folder: str) -> None:
        """The result is in ``folder``."""
        replace(self, folder=folder).keep()

    def drop(self) -> None:
        """The job came to nothing."""
        _place(self.job).unlink(missing_ok=True)


def find(job_id: str) -> Delivery | None:
    """The delivery of a job, None where it was not uploaded from here."""
    path = _place(job_id)
    if not _JOB_ID.fullmatch(job_id) or not path.is_file():
        return None
    return Delivery(**json.loads(path.read_text(encoding="utf-8")))


def kept() -> list[Path]:
    """The files of all deliveries."""
    return sorted(_folder().glob("[!.]*.json"))


def _folder() -> Path:
    return home() / "deliveries"


def _place(job_id: str) -> Path:
    return _folder() / f"{job_id}.json"
