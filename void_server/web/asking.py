"""The server behind the page, asked through ordinary clients, each by one thread at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from ..api.client import Client, Keys

R = TypeVar("R")


class Asking:
    """Asks the server at ``address`` with as many clients as there are questions at once."""

    def __init__(self, address: str, keys: Keys | None = None) -> None:
        self.address, self._keys = address, keys
        self._idle: list[Client] = []

    async def ask(self, question: Callable[[Client], R]) -> R:
        """What ``question(client)`` returns, which runs in a thread. Raises what it raises."""
        return await asyncio.to_thread(self.ask_here, question)

    def ask_here(self, question: Callable[[Client], R]) -> R:
        """The same in this thread."""
        with self._client() as client:
            return question(client)

    @contextmanager
    def _client(self) -> Iterator[Client]:
        client = self._idle.pop() if self._idle else Client(self.address, keys=self._keys)
        try:
            yield client
        finally:
            self._idle.append(client)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            self._idle.pop().close()
