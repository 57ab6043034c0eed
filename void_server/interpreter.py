"""Running modules of ours as processes of their own, and ending them with whoever started them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .interruption import uninterrupted

#: How long a process may take to end, in seconds.
_PATIENCE = 10
# as python -m, which looks for modules in the current folder first, though: that may be anybody's
_START = (
    "import sys; sys.path[:] = filter(None, sys.path); import runpy; "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def running(module: str, *words: str) -> list[str]:
    """The command that runs a module with this Python, its output unbuffered, and no code of the current folder."""
    return [sys.executable, "-u", "-c", _START, module, *words]


@contextmanager
def beside(module: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A module running beside this process: its output a pipe, its input the lifeline of :func:`at_end_of_input`.

    It ends with the block, or with this process.
    """
    process = subprocess.Popen(
        running(module, *words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process
    finally:
        with uninterrupted():
            process.stdin.close()
            try:
                process.wait(timeout=_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


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
