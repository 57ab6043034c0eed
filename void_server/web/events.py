"""News of the server for open pages, as server-sent events."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from ..api.client import Client, WorkerInfo
from ..api.errors import VoidError
from ..api.job import Job
from .asking import Asking

#: Seconds between two looks at the server, and the looks after which a silent connection is kept alive.
_EVERY, _ALIVE = 0.7, 20
#: The jobs that a page lists.
LISTED = 100


async def news(
    asking: Asking, described: Callable[[list[Job]], list[dict[str, Any]]], still_in: Callable[[], bool]
) -> AsyncIterator[str]:
    """Jobs and workers, whenever something of them has changed, for as long as somebody listens who is ``still_in``."""
    last, silent = "", 0
    while still_in():
        try:
            jobs, workers = await asking.ask(_asked)
            said: dict[str, Any] = {
                "jobs": described(jobs),
                "workers": [dataclasses.asdict(one) for one in workers],
            }
        except VoidError as error:
            said = {"error": str(error)}
        text = json.dumps(said)
        silent += 1
        if text != last:
            last, silent = text, 0
            yield f"data: {text}\n\n"
        elif silent >= _ALIVE:
            silent = 0
            yield ": still here\n\n"
        await asyncio.sleep(_EVERY)


def _asked(client: Client) -> tuple[list[Job], list[WorkerInfo]]:
    return client.jobs(LISTED), client.workers()
