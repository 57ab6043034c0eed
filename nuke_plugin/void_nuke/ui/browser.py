"""Folders in the system's own file browser. Uses nuke, on its main thread."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import nuke

from void_server.api.errors import SettingError

from ..job.local_server import environment

_PROGRAMS = {"win32": "explorer", "darwin": "open"}


def reveal(folder: Path) -> None:
    """Open a folder, without waiting for the browser, or print it where there is no window.

    Raises :class:`SettingError` where the system has none.
    """
    if not nuke.GUI:
        print(folder)
        return
    program = shutil.which(_PROGRAMS.get(sys.platform, "xdg-open"))
    if program is None:
        raise SettingError(f"This system has no program to open folders; the version is in {folder}.")
    # a thread of its own waits for the program, so that nothing is left of it when it ends
    threading.Thread(target=_run, args=(program, folder), name="VOID folder", daemon=True).start()


def _run(program: str, folder: Path) -> None:
    nothing = subprocess.DEVNULL
    # explorer answers 1 whenever it does what it is told
    subprocess.run(
        [program, str(folder)], stdin=nothing, stdout=nothing, stderr=nothing, env=environment(), check=False
    )
