"""Faults of the disk and the system within the server: put in on purpose, told in a sentence, and gone once mended."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from void_server.api import Client, Keys
from void_server.api.errors import JobFailed, ServerUnreachable
from void_server.api.home import home
from void_server.service.keys import KeyRing
from void_server.service.server import Server, ServerConfig

Result = TypeVar("Result")
HERE = "tcp://127.0.0.1:*"


def within(server: Server, work: Callable[[str], Result]) -> Result:
    """Run a server in this process, as long as ``work`` takes with its address in a thread beside it."""

    async def both() -> Result:
        address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        running = asyncio.create_task(server.run(address.set_result))
        try:
            return await asyncio.to_thread(work, await address)
        finally:
            server._stop.set()
            await running

    return asyncio.run(both())


class Fault:
    """Lets a method fail for as long as it is ``on``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: type, method: str, error: Exception) -> None:
        self.on = False
        whole = getattr(owner, method)

        def failing(*args: Any, **kwargs: Any) -> Any:
            if self.on:
                raise error
            return whole(*args, **kwargs)

        monkeypatch.setattr(owner, method, failing)


def test_keys_that_cannot_be_looked_up_for_a_while_lock_nobody_out_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = KeyRing(home())
    public, secret = ring.new("ann", tmp_path)
    ring.allow(public)
    keys = Keys(str(secret), str(ring.server_public))
    fault = Fault(monkeypatch, KeyRing, "allowed", OSError(errno.EMFILE, "Too many open files"))

    def work(address: str) -> None:
        fault.on = True
        with Client(address, keys=keys, timeout=1) as kept_out, pytest.raises(ServerUnreachable):
            kept_out.hello()
        fault.on = False
        with Client(address, keys=keys, timeout=5) as ann:
            ann.hello()
            fault.on = True
            with pytest.raises(JobFailed, match="Too many open files"):
                ann.hello()
            fault.on = False
            ann.hello()

    within(Server(ServerConfig(HERE, require_keys=True, pipeline="json")), work)
