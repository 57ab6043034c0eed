"""The server behind the page, asked through ordinary clients, each by one thread at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from ..api.client import Client, Keys
from .visitor import visitor

R = TypeVar("R")
#: Connections that are kept though nobody uses them.
_MOST = 64


class Asking:
    """Asks the server at ``address`` with as many clients as there are questions at once, each for its visitor."""

    def __init__(self, address: str, keys: Keys | None = None) -> None:
        self.address, self._keys = address, keys
        self._idle: dict[tuple[str, str], list[Client]] = {}

    async def ask(self, question: Callable[[Client], R]) -> R:
        """What ``question(client)`` returns, which runs in a thread. Raises what it raises."""
        return await asyncio.to_thread(self.ask_here, question)

    def ask_here(self, question: Callable[[Client], R]) -> R:
        """The same in this thread."""
        with self._client() as client:
            return question(client)

    @contextmanager
    def _client(self) -> Iterator[Client]:
        who = visitor.get()
        idle = self._idle.setdefault((who.user, who.host), [])
        acting_for = {"user": who.user, "host": who.host} if who.user else None
        client = idle.pop() if idle else Client(self.address, keys=self._keys, acting_for=acting_for)
        try:
            yield client
        finally:
            if sum(map(len, list(self._idle.values()))) < _MOST:
                idle.append(client)
            else:
                client.close()

    def close(self) -> None:
        """Close the connections that nobody uses."""
        for clients in self._idle.values():
            while clients:
                clients.pop().close()
