"""``python -m void_server.service ROOT ...``: the embedded server. Prints its address, ends when its input ends."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from ..api.errors import VoidError
from ..api.home import home, made
from ..interpreter import at_end_of_input
from .server import ServerConfig, serve


def _say(line: str) -> None:
    print(line, flush=True)
    # nobody reads the pipe any more: output must not fill it
    os.dup2(2, 1)


def main() -> None:
    """Serve until standard input ends. If the server cannot start, print the reason in place of the address."""
    at_end_of_input(lambda: os.kill(os.getpid(), signal.SIGTERM))
    try:
        config = ServerConfig(
            address="tcp://127.0.0.1:*",
            roots=tuple(Path(p) for p in sys.argv[1:]),
            embedded=True,
            log=made(home()) / "embedded.log",
        )
        serve(config, _say)
    except VoidError as error:
        _say(str(error))
        sys.exit(1)


main()
