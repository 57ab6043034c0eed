"""A job: one request on one shot, its state and its progress."""

from __future__ import annotations

import dataclasses
import enum
import re
import uuid
from dataclasses import dataclass
from typing import Any, Callable, Mapping, Optional

from .errors import ProtocolError, SettingError, VoidError, from_dict
from .shot import Shot

#: What describes a finished job in its version folder; it is written last.
MANIFEST = "job.json"
_ID = re.compile(r"[0-9a-f]{12}")
#: The priority of a job that nobody gave another, and the highest; the lowest is 0.
NORMAL, HIGHEST = 50, 100
# The year 5138, in seconds since the epoch: calendars can show it.
_LATEST = 1e11


def new_id() -> str:
    """An id that no other job has."""
    return uuid.uuid4().hex[:12]


class JobState(str, enum.Enum):
    """Where a job stands. ``queued`` and ``running`` jobs are alive, the others have ended.

    ``cancelled`` is a job that somebody stopped; ``interrupted`` one whose command was ended by a signal, with or
    without its server. Both can be resumed, and nobody does so unasked.
    """

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to the job unless it is resumed."""
        return self not in (JobState.QUEUED, JobState.RUNNING)

    @property
    def stopped(self) -> bool:
        """Whether the job ended before it was done, for no fault of its own."""
        return self in (JobState.CANCELLED, JobState.INTERRUPTED)


@dataclass(frozen=True)
class Progress:
    """How far a job is: the stage in words, the frame in work, the done fraction of the whole job, seconds to go.

    ``sending`` is what the job sends to a service, and where, from just before it is sent.
    """

    stage: str = ""
    frame: Optional[int] = None
    fraction: float = 0.0
    seconds_left: Optional[float] = None
    sending: str = ""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Progress:
        """Rebuild a progress from plain data. Raises LookupError, TypeError or ValueError where it is none."""
        frame, left = data["frame"], data["seconds_left"]
        if frame is not None and (isinstance(frame, bool) or not isinstance(frame, int) or abs(frame) >= 2**31):
            raise TypeError(f"{frame!r:.40} is not a frame")
        left = None if left is None else _number(left, _LATEST)
        return cls(_text(data["stage"]), frame, _number(data["fraction"], 1), left, _text(data["sending"]))


#: Called by whatever does the work, often; raises :class:`~void_server.api.errors.JobCancelled` to stop it.
Report = Callable[[Progress], None]


@dataclass(frozen=True)
class Job:
    """What the server knows of a job. ``folder`` is its version folder; times are seconds since the epoch.

    ``submitter`` is the name of whose key submitted it; of jobs that wait, those of a higher ``priority`` go first.
    """

    id: str
    state: JobState
    shot: Shot
    folder: str
    created: float
    updated: float
    progress: Progress = dataclasses.field(default_factory=Progress)
    error: Optional[VoidError] = None
    warnings: tuple[str, ...] = ()
    submitter: str = ""
    priority: int = NORMAL

    def to_dict(self) -> dict[str, Any]:
        """The job as plain data."""
        return {
            "id": self.id,
            "state": self.state.value,
            "shot": self.shot.to_dict(),
            "folder": self.folder,
            "created": self.created,
            "updated": self.updated,
            "progress": dataclasses.asdict(self.progress),
            "error": self.error.to_dict() if self.error else None,
            "warnings": list(self.warnings),
            "submitter": self.submitter,
            "priority": self.priority,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Job:
        """Rebuild a job that :meth:`to_dict` made. Raises :class:`ProtocolError` for anything else."""
        try:
            if not _ID.fullmatch(data["id"]):
                raise ValueError(f"its id is {data['id']!r:.40}")
            return cls(
                id=data["id"],
                state=JobState(data["state"]),
                shot=Shot.from_dict(data["shot"]),
                folder=_text(data["folder"]),
                created=_number(data["created"], _LATEST),
                updated=_number(data["updated"], _LATEST),
                progress=Progress.from_dict(data["progress"]),
                error=from_dict(data["error"]) if data["error"] else None,
                warnings=_texts(data["warnings"]),
                submitter=_text(data["submitter"]),
                priority=_priority(data["priority"]),
            )
        except (LookupError, TypeError, ValueError, SettingError) as error:
            raise ProtocolError(
                f"The server's answer does not describe a job ({error}); are client and server of one version?"
            ) from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is not text")
    return value


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, (list, tuple)):
        raise TypeError(f"{values!r:.40} is not a list")
    return tuple(map(_text, values))


def _priority(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r:.40} is not a priority")
    return int(_number(value, HIGHEST))


def _number(value: Any, most: float) -> float:
    # what is no number at all is not between others
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
        raise TypeError(f"{value!r:.40} is not a number from 0 to {most:g}")
    return value
