"""``python -m void_server.web ADDRESS SERVER [CHAIN KEY SECRET PUBLIC]``: the page beside a server.

The last four are the files of a certificate, of the page's key, and of the server's. Prints the page's address, ends
with its input.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from ..api.client import Keys
from ..api.errors import VoidError
from ..interpreter import at_end_of_input
from .at import At
from .serving import serve


def main() -> None:
    """Serve the page until standard input ends. If it cannot, print the reason in place of the address."""
    at_end_of_input(lambda: os.kill(os.getpid(), signal.SIGTERM))
    try:
        at, server, *files = sys.argv[1:]
        keys = Keys(*files[2:]) if files else Keys.from_environment()
        serve(At.parse(at, *map(Path, files[:2])), server, keys, lambda address: print(address, flush=True))
    except VoidError as error:
        print(error, flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
