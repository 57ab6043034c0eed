"""A server on this machine, started when it is needed and nothing answers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Sequence
from urllib.parse import urlparse

from void_server.api.errors import ServerUnreachable
from void_server.api.home import home

from ..studio.settings import Settings

_started: dict[str, subprocess.Popen[bytes]] = {}
#: It ends by itself, and is started again when it is needed.
_IDLE_MINUTES = "60"
_LOCAL = ("127.0.0.1", "localhost", "::1")
#: CREATE_NEW_PROCESS_GROUP and DETACHED_PROCESS: neither Nuke's console nor its Ctrl-C are the server's.
_DETACHED = 0x00000208 if sys.platform == "win32" else 0


def can_start(settings: Settings, address: str) -> bool:
    """Whether a server for ``address`` is one of this machine, and it is known how to start it."""
    try:
        named = urlparse(address).hostname
    except ValueError:
        # no address at all, such as tcp://[: the client says so
        return False
    return bool(settings.server_command) and named in _LOCAL


def roots(settings: Settings, out: str) -> list[str]:
    """The folders that it may use: home, those of the settings, and the disk or project that ``out`` is on.

    Only those that are there, as a server does not start for others.
    """
    top = Path(*Path(out).parts[:2])
    wanted = dict.fromkeys([str(Path.home()), *settings.local_roots, str(top)])
    return [folder for folder in wanted if Path(folder).is_dir()]


def start(settings: Settings, address: str, out: str) -> bool:
    """Start a server that outlives Nuke, so that jobs go on when Nuke is closed, unless that was done already.

    Returns whether there is one now, or soon. Raises :class:`ServerUnreachable`.
    """
    if not can_start(settings, address):
        return False
    before = _started.get(address)
    if before is not None and before.poll() is None:
        return True
    command = [*settings.server_command, "--address", address, "--idle-minutes", _IDLE_MINUTES]
    for root in roots(settings, out):
        command += ["--root", root]
    log = home() / "local_server.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as output:
            _started[address] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment(),
                creationflags=_DETACHED,
                start_new_session=True,
            )
    except OSError as error:
        raise ServerUnreachable(
            f"The server on this machine cannot be started with {command[0]} ({error}); run: void install-nuke"
        ) from error
    return True


def environment() -> dict[str, str]:
    """Without what Nuke sets for its own Python, which would break another one."""
    own = ("PYTHONHOME", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {name: value for name, value in os.environ.items() if name not in own}


def describe(settings: Settings) -> Sequence[str]:
    """How a server on this machine would be started, for the diagnostics."""
    return settings.server_command or ["(not known; run: void install-nuke)"]
