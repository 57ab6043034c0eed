"""A job: one request on one shot, its state and its progress."""

from __future__ import annotations

import dataclasses
import enum
import uuid
from dataclasses import dataclass
from typing import Any, Callable, Mapping, Optional

from .errors import VoidError, from_dict
from .shot import Shot

#: What describes a finished job in its version folder; it is written last.
MANIFEST = "job.json"


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
    """How far a job is: the stage in words, the frame in work, the done fraction of the whole job, seconds to go."""

    stage: str = ""
    frame: Optional[int] = None
    fraction: float = 0.0
    seconds_left: Optional[float] = None


#: Called by whatever does the work, often; raises :class:`~void_server.api.errors.JobCancelled` to stop it.
Report = Callable[[Progress], None]


@dataclass(frozen=True)
class Job:
    """What the server knows of a job. ``folder`` is its version folder; times are seconds since the epoch."""

    id: str
    state: JobState
    shot: Shot
    folder: str
    created: float
    updated: float
    progress: Progress = dataclasses.field(default_factory=Progress)
    error: Optional[VoidError] = None
    warnings: tuple[str, ...] = ()

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
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Job:
        """Rebuild a job that :meth:`to_dict` made."""
        return cls(
            id=data["id"],
            state=JobState(data["state"]),
            shot=Shot.from_dict(data["shot"]),
            folder=data["folder"],
            created=data["created"],
            updated=data["updated"],
            progress=Progress(**data["progress"]),
            error=from_dict(data["error"]) if data["error"] else None,
            warnings=tuple(data["warnings"]),
        )
