"""The page in a process of its own, beside a server that ends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from ..api.errors import ServerRefused
from ..interpreter import beside
from .at import At

#: What a server listens on for all networks, and where this machine reaches it then.
_ALL = {"tcp://0.0.0.0:": "tcp://127.0.0.1:", "tcp://[::]:": "tcp://[::1]:"}


@contextmanager
def page_beside(at: At) -> Iterator[Callable[[str], str]]:
    """A function that starts the page for the server at an address, and returns the address to open.

    It raises :class:`ServerRefused` where the page cannot be there. The page ends with the block, or this process.
    """
    with ExitStack() as started:

        def start(server: str) -> str:
            for everywhere, here in _ALL.items():
                server = server.replace(everywhere, here)
            process = started.enter_context(beside("void_server.web", f"{at.host}:{at.port}", server))
            assert process.stdout is not None
            line = process.stdout.readline().strip()
            if not line.startswith("http://"):
                raise ServerRefused(line or "The page did not start; its last words are above.")
            return line

        yield start
