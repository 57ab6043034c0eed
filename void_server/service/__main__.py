"""``python -m void_server.service ROOT ...``: the embedded server. Prints its address, ends when its input ends."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from ..api.errors import ServerError
from .server import ServerConfig, serve


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


def _ready(address: str) -> None:
    print(address, flush=True)
    threading.Thread(target=_end_with_input, daemon=True).start()


def main() -> None:
    """Serve until the standard input ends."""
    config = ServerConfig(address="tcp://127.0.0.1:*", roots=tuple(Path(p) for p in sys.argv[1:]), embedded=True)
    try:
        serve(config, _ready)
    except ServerError as error:
        sys.exit(str(error))


main()
