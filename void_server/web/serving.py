"""Running the page in this process."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable

import uvicorn

from ..api.client import Keys
from ..api.errors import ServerRefused
from ..api.home import home, made
from ..api.loopback import LOOPBACK
from .app import Page
from .asking import Asking
from .at import At
from .guard import key_of

_BACKLOG = 64


def serve(at: At, server: str, keys: Keys | None, on_ready: Callable[[str], None]) -> None:
    """Serve the page for a ``server`` until a signal; ``on_ready`` receives the address to open, with its key.

    Raises :class:`ServerRefused` where it cannot listen there.
    """
    folder = made(home() / "web")
    with _listening(at) as listening:
        port = listening.getsockname()[1]
        hosts = tuple(f"{host}:{port}" for host in (at.host, *LOOPBACK))
        key = key_of(folder)
        page = Page(Asking(server, keys), folder)
        config = uvicorn.Config(
            page.app(hosts, key),
            log_level="warning",
            server_header=False,
            access_log=False,
            # pages that listen for news never hang up
            timeout_graceful_shutdown=2,
        )
        on_ready(f"http://{hosts[0]}/?key={key}")
        uvicorn.Server(config).run(sockets=[listening])


def _listening(at: At) -> socket.socket:
    family = socket.AF_INET6 if at.host.startswith("[") else socket.AF_INET
    found = socket.socket(family)
    if sys.platform != "win32":
        # elsewhere this would let two programs share a port
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((at.host.strip("[]"), at.port))
        found.listen(_BACKLOG)
    except OSError as error:
        found.close()
        raise ServerRefused(
            f"The page cannot be at {at.host}:{at.port} ({error.strerror}); another program may be, so choose another "
            "port."
        ) from error
    return found
