"""What may stand on a node's tile: words of ours, and numbers. No text from outside ever does."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Optional


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
    """A step, the share that is done in percent, the version that is shown: what there is of them."""

    step: Optional[Step] = None
    percent: Optional[int] = None
    version: Optional[int] = None

    @property
    def text(self) -> str:
        """The words, such as ``sending 12 %`` or ``v001``."""
        words = [self.step.value] if self.step else []
        words += [f"{self.percent:d} %"] if self.percent is not None else []
        words += [f"v{self.version:03d}"] if self.version is not None else []
        return " ".join(words)
