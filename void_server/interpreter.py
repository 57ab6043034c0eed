"""Running modules of ours as processes of their own."""

from __future__ import annotations

import sys

# as python -m, which looks for modules in the current folder first, though: that may be anybody's
_START = (
    "import sys; sys.path[:] = filter(None, sys.path); import runpy; "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def running(module: str, *words: str) -> list[str]:
    """The command that runs a module with this Python, its output unbuffered, and no code of the current folder."""
    return [sys.executable, "-u", "-c", _START, module, *words]
