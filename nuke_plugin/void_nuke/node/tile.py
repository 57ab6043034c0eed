"""What may stand on a node's tile: words of ours, and numbers. No text from outside ever does."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Optional

from .versions import Result


class Step(str, enum.Enum):
    """What a job is waiting for, or busy with."""

    SUBMITTING = "submitting"
    STARTING = "starting a server on this machine"
    SENDING = "sending"
    FETCHING = "fetching"
    QUEUED = "queued"
    WAITING = "waiting"
    GOING_ON = "resuming"
    ASKING = "asking the server"
    UNREACHABLE = "server does not answer; retrying"
    STOPPING = "stopping"
    TROUBLE = "see status"


@dataclass(frozen=True)
class Tile:
    """A step, the share that is done in percent, the version that is shown with its range: what there is of them."""

    step: Optional[Step] = None
    percent: Optional[int] = None
    version: Optional[int] = None
    first: int = 0
    last: int = 0

    @property
    def text(self) -> str:
        """The words, such as ``sending 12 %`` or ``v001 1001-1040``."""
        words = [self.step.value] if self.step else []
        words += [f"{self.percent:d} %"] if self.percent is not None else []
        words += [f"v{self.version:03d} {self.first:d}-{self.last:d}"] if self.version is not None else []
        return " ".join(words)


def of_version(result: Result) -> Tile:
    """What a tile says of the version that its node shows."""
    return Tile(version=result.version, first=result.first, last=result.last)
