"""Running modules of ours as processes of their own, and ending them with whoever started them."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

# as python -m, which looks for modules in the current folder first, though: that may be anybody's
_START = (
    "import sys; sys.path[:] = filter(None, sys.path); import runpy; "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def running(module: str, *words: str) -> list[str]:
    """The command that runs a module with this Python, its output unbuffered, and no code of the current folder."""
    return [sys.executable, "-u", "-c", _START, module, *words]


def at_end_of_input(act: Callable[[], None]) -> None:
    """Call ``act``, in a thread, once the standard input has ended.

    A process that was started with a pipe for its input has its lifeline there: the system closes it when the parent
    ends, however that happens.
    """

    def wait() -> None:
        # not through sys.stdin, whose lock must be free when the interpreter ends
        while os.read(0, 1024):
            pass
        act()

    threading.Thread(target=wait, daemon=True).start()
