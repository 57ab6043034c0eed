"""``python -m void_server.service ROOT ...``: the embedded server. Prints its address, ends when its input ends."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from ..api.errors import VoidError
from .lifeline import at_end_of_input
from .server import ServerConfig, serve


def main() -> None:
    """Serve until the standard input ends. Where that cannot be, say why in place of the address."""
    at_end_of_input(lambda: os.kill(os.getpid(), signal.SIGTERM))
    config = ServerConfig(address="tcp://127.0.0.1:*", roots=tuple(Path(p) for p in sys.argv[1:]), embedded=True)
    try:
        serve(config, lambda address: print(address, flush=True))
    except VoidError as error:
        print(error, flush=True)
        sys.exit(1)


main()
