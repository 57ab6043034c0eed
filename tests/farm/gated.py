"""The command `void`, whose later frames wait to be finished until the task is stopped, or the file $GATE lets
them.

So a test can stop a task in its middle without knowing how fast it is.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from void_server.imaging import parallel
from void_server.pipeline import composite

COMMAND = (sys.executable, "-m", "tests.farm.gated")
#: Frames of which index are finished at once.
FREE = 4


def opened() -> int:
    """So many more frames may be finished."""
    gate = Path(os.environ["GATE"])
    return int(gate.read_text() or 0) if gate.exists() else 0


def shut() -> None:
    """From now on, in this process, frames wait; two are under way at a time, whatever the machine has."""
    parallel.cores = lambda: 2
    stopped = threading.Event()
    install, write = signal.signal, composite.Compositor.write_plate

    def noting(number: int, handler: Any) -> Any:
        def noted(*given: Any) -> None:
            stopped.set()
            handler(*given)

        return install(number, noted if callable(handler) else handler)

    def gated(self: Any, patch: composite.Patch, *rest: Any) -> None:
        while patch.index >= FREE + opened() and not stopped.is_set():
            time.sleep(0.02)
        write(self, patch, *rest)

    signal.signal = noting  # type: ignore[assignment]
    composite.Compositor.write_plate = gated  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    from void_server.cli import main

    shut()
    main()
