"""The page in a process of its own, beside a server that ends it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..api.errors import ServerRefused
from ..interpreter import running
from ..interruption import uninterrupted
from .at import At

#: What a server listens on for all networks, and where this machine reaches it then.
_ALL = {"tcp://0.0.0.0:": "tcp://127.0.0.1:", "tcp://[::]:": "tcp://[::1]:"}


@contextmanager
def page_beside(at: At) -> Iterator[Callable[[str], str]]:
    """A function that starts the page for the server at an address, and returns the address to open.

    It raises :class:`ServerRefused` where the page cannot be there. The page ends with the block, or this process.
    """
    started: list[subprocess.Popen[str]] = []

    def start(server: str) -> str:
        for everywhere, here in _ALL.items():
            server = server.replace(everywhere, here)
        command = running("void_server.web", f"{at.host}:{at.port}", server)
        # its standard input is its lifeline: it ends when that does
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        if not line.startswith("http://"):
            raise ServerRefused(line or "The page did not start; its last words are above.")
        return line

    try:
        yield start
    finally:
        with uninterrupted():
            for process in started:
                _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
