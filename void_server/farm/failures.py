"""How tasks end that do not end well: a small file beside the version says why. Imports nothing heavy."""

from __future__ import annotations

import json
import platform
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from ..api.files import read_json, write_atomically
from ..api.version import VersionFolder

#: The exit code of a task that was told to stop, as shells give it.
STOPPED = 128 + signal.SIGTERM


@dataclass(frozen=True)
class Failure:
    """What a task said at its end, on which machine, and when (seconds since 1970)."""

    message: str
    host: str
    when: float


def _file(folder: Path, stage: str, task: int) -> Path:
    return VersionFolder(folder).intermediate / f"failed_{stage}_{task}.json"


def reason(error: BaseException) -> str:
    """What an error says, or what it is where it says nothing."""
    return str(error) or repr(error)


def note(folder: Path, stage: str, task: int, error: BaseException) -> None:
    """Say why a task of the job in ``folder`` has failed, for whoever asks how it stands; the log says more."""
    with suppress(OSError):
        failure = Failure(reason(error), platform.node(), time.time())
        write_atomically(_file(folder, stage, task), json.dumps(asdict(failure)), parents=True)


def forget(folder: Path, stage: str, task: int) -> None:
    """Take it back: the task has done well."""
    _file(folder, stage, task).unlink(missing_ok=True)


def any_in(folder: Path) -> bool:
    """Whether a task of the job in ``folder`` has failed."""
    return next(VersionFolder(folder).intermediate.glob("failed_*.json"), None) is not None


def told(folder: Path, stages: Mapping[str, int]) -> dict[str, dict[int, Failure]]:
    """Why tasks have failed, by stage and number; ``stages`` says how many tasks each has."""
    found: dict[str, dict[int, Failure]] = {}
    for stage, tasks in stages.items():
        files = {task: _file(folder, stage, task) for task in range(tasks)}
        found[stage] = {task: read(file) for task, file in files.items() if file.is_file()}
    return found


def read(file: Path) -> Failure:
    """What a task said; one that cannot be read any more has failed all the same."""
    try:
        said = read_json(file)
        return Failure(str(said["message"]), str(said["host"]), float(said["when"]))
    except (OSError, ValueError, LookupError, TypeError, OverflowError) as error:
        return Failure(f"What it said cannot be read ({error!r}).", "a machine that is not known", 0.0)
