"""A server for the one client that starts it, stopped with that client."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..api.errors import ServerRefused
from ..interpreter import running
from ..interruption import uninterrupted


@contextmanager
def embedded_server(roots: Sequence[Path]) -> Iterator[str]:
    """Start a server as a child process on a free port of this machine and yield its address.

    It may use the folders ``roots``, and ends with the block or with this process. Raises :class:`ServerRefused`.
    """
    command = running("void_server.service", *map(str, roots))
    # its standard input is its lifeline: it ends when that does
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline().strip()
        if not line.startswith("tcp://"):
            raise ServerRefused(line or "The embedded server did not start; run `void doctor` to see what is missing.")
        yield line
    finally:
        with uninterrupted():
            process.stdin.close()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()
