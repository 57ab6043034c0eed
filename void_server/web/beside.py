"""The page in a process of its own, beside a server that ends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from ..api.client import Keys
from ..api.errors import ServerRefused
from ..interpreter import beside
from .at import At

#: What a server listens on for all networks, and where this machine reaches it then.
_ALL = {"tcp://0.0.0.0:": "tcp://127.0.0.1:", "tcp://[::]:": "tcp://[::1]:"}


@contextmanager
def page_beside(at: At, keys: Keys | None) -> Iterator[Callable[[str], str]]:
    """A function that starts the page for the server at an address, and returns the address to open.

    With a certificate it acts for users, for which it needs ``keys``.

    It raises :class:`ServerRefused` where the page cannot be there. The page ends with the block, or this process.
    """
    with ExitStack() as started:

        def start(server: str) -> str:
            for everywhere, here in _ALL.items():
                server = server.replace(everywhere, here)
            words = [f"{at.host}:{at.port}", server]
            if at.certificate and keys:
                words += [str(at.certificate.chain), str(at.certificate.key), keys.secret, keys.server]
            process = started.enter_context(beside("void_server.web", *words))
            assert process.stdout is not None
            line = process.stdout.readline().strip()
            if not line.startswith(("http://", "https://")):
                raise ServerRefused(line or "The page did not start; its last words are above.")
            return line

        yield start
