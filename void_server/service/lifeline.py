"""A process whose standard input is its lifeline: the system closes it when the parent ends, however that happens."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable


def at_end_of_input(act: Callable[[], None]) -> None:
    """Call ``act``, in a thread, once the standard input has ended."""

    def wait() -> None:
        # not through sys.stdin, whose lock must be free when the interpreter ends
        while os.read(0, 1024):
            pass
        act()

    threading.Thread(target=wait, daemon=True).start()
