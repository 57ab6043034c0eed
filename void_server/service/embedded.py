"""A server for the one client that starts it, stopped with that client."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..api.errors import ServerRefused
from ..interpreter import beside


@contextmanager
def embedded_server(roots: Sequence[Path]) -> Iterator[str]:
    """Start a server as a child process on a free port of this machine and yield its address.

    It may use the folders ``roots``, and ends with the block or with this process. Raises :class:`ServerRefused`.
    """
    with beside("void_server.service", *map(str, roots)) as process:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        if not line.startswith("tcp://"):
            raise ServerRefused(line or "The embedded server did not start; run `void doctor` to see what is missing.")
        yield line
