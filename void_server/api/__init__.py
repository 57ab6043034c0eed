"""What clients and the server share: shots, jobs, errors, messages, the client. Python 3.9, pyzmq, msgpack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .job import Job, JobState, Progress
from .shot import Prompt, Settings, Shot

if TYPE_CHECKING:
    from .client import Client, Keys, ServerInfo

__all__ = ["Client", "Job", "JobState", "Keys", "Progress", "Prompt", "ServerInfo", "Settings", "Shot"]


def __getattr__(name: str) -> Any:
    # pyzmq and msgpack are compiled for one Python; whoever needs no client must do without them
    if name in ("Client", "Keys", "ServerInfo"):
        from . import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
