"""A server on this machine, started when it is needed and nothing answers."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Sequence
from urllib.parse import urlparse

from void_server.api.errors import ServerUnreachable
from void_server.api.home import home

from ..studio.settings import Settings

_starting = threading.Lock()
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
    return bool(settings.void_command) and named in _LOCAL


def roots(settings: Settings, outs: Sequence[str]) -> list[str]:
    """The folders that it may use: home, those of the settings, and the disks or projects that ``outs`` are on.

    Only those that are there, as a server does not start for others.
    """
    tops = [str(Path(*Path(out).parts[:2])) for out in outs]
    wanted = dict.fromkeys([str(Path.home()), *settings.local_roots, *tops])
    return [folder for folder in wanted if Path(folder).is_dir()]


def start(settings: Settings, address: str, outs: Sequence[str]) -> bool:
    """Start a server that outlives Nuke, so that jobs go on when Nuke is closed, unless one is running already.

    ``outs`` are the folders that its jobs write to. Any thread may call it.

    Returns whether there is one now, or soon. Raises :class:`ServerUnreachable`.
    """
    if not can_start(settings, address):
        return False
    with _starting:
        before = _started.get(address)
        if before is None or before.poll() is not None:
            _started[address] = _process(settings, address, outs)
    return True


def command(settings: Settings, address: str, outs: Sequence[str]) -> list[str]:
    """What is run: `void serve`, with what the settings say last, as that counts where both say something."""
    words = [*settings.void_command, "serve", "--address", address, "--idle-minutes", _IDLE_MINUTES]
    for root in roots(settings, outs):
        words += ["--root", root]
    return [*words, *settings.server_options]


def _process(settings: Settings, address: str, outs: Sequence[str]) -> subprocess.Popen[bytes]:
    words = command(settings, address, outs)
    log = home() / "local_server.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as output:
            return subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment(),
                creationflags=_DETACHED,
                start_new_session=True,
            )
    except OSError as error:
        raise ServerUnreachable(
            f"The server on this machine cannot be started with {words[0]} ({error}); run: void install-nuke"
        ) from error


def environment() -> dict[str, str]:
    """Without what Nuke sets for its own Python, which would break another one."""
    own = ("PYTHONHOME", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {name: value for name, value in os.environ.items() if name not in own}
