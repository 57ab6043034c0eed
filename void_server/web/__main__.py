"""``python -m void_server.web ADDRESS SERVER``: the page beside a server. Prints its address, ends with its input."""

from __future__ import annotations

import os
import signal
import sys

from ..api.client import Keys
from ..api.errors import VoidError
from ..interpreter import at_end_of_input
from .at import At
from .serving import serve


def main() -> None:
    """Serve the page until standard input ends. If it cannot, print the reason in place of the address."""
    at_end_of_input(lambda: os.kill(os.getpid(), signal.SIGTERM))
    try:
        serve(At.parse(sys.argv[1]), sys.argv[2], Keys.from_environment(), lambda address: print(address, flush=True))
    except VoidError as error:
        print(error, flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
