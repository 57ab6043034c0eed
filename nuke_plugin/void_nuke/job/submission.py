"""The way of a press: ask the server, export, submit. Uses nuke, on its main thread.

Errors are :class:`~void_server.api.errors.VoidError`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import Optional

from void_server.api.client import Client, ServerInfo
from void_server.api.errors import InputError, ServerUnreachable, SettingError
from void_server.api.shot import PLATE, QUADMASK, Shot

from ..node import knobs as k
from ..node.node import VoidNode
from ..node.results import output_folder
from ..studio import settings
from . import choices, session
from .monitor import Line, Order
from .prepare import PreparedShot, check_permitted, check_ready, prepare


def generate_quadmask(void: VoidNode) -> None:
    """Have the quadmask found, and nothing rewritten."""
    _start(void, only_quadmask=True)


def remove(void: VoidNode) -> None:
    """Have the object removed, with the quadmask that is connected, or that this node has found, or a new one."""
    _start(void, only_quadmask=False)


def stop(void: VoidNode) -> None:
    """Stop the node's job."""
    if not session.alive(void):
        raise InputError(f"{void.name} has no job to stop.")
    session.cancel(void)


def resume(void: VoidNode) -> None:
    """Go on with the node's job."""
    if session.alive(void):
        raise InputError(f"{void.name} is still running; there is nothing to resume.")
    if not void.tickets:
        raise InputError(f"{void.name} has no stopped job; press Remove or Generate quadmask.")
    session.resume(void)


@dataclass(frozen=True)
class Destination:
    """Where a node's job goes: the folder for its versions, the server, and whether that gets the frames by upload.

    ``info`` is what the server says of itself, None for one that is only just started.
    """

    out: Path
    address: str
    upload: bool
    info: Optional[ServerInfo]

    def check_permitted(self, void: VoidNode, until: str) -> None:
        """Raise :class:`NotPermitted`, before anything is exported, where the studio's policy forbids the node's job.

        What only a server knows that is still being started, it says itself.
        """
        known = (self.info.generative, self.info.cloud) if self.info else ((), ())
        check_permitted(void, until, *known)

    def order(self, void: VoidNode, one: PreparedShot, source: str = "", *, preview: bool = False) -> Order:
        """The order for a shot of the node."""
        files = _files(one) if self.upload else None
        return Order(void.id, one.view, one.shot, one.out, source, files, preview)


def destination(void: VoidNode) -> Destination:
    """Check that the node can have a job, and where it goes. Raises VoidError."""
    if not void.id:
        # the node was made while the plugin's callbacks were not there
        void.renew_id()
    if session.alive(void):
        raise InputError(f"{void.name} is already running; stop it first, or use a second node.")
    check_ready(void)
    out = output_folder(void)
    address = choices.server_of(void)
    upload = _is_upload(void)
    info = _check_server(address, out)
    if info is not None:
        choices.offer(void, info)
    return Destination(out, address, upload, info)


def _start(void: VoidNode, *, only_quadmask: bool) -> None:
    goes = destination(void)
    goes.check_permitted(void, QUADMASK if only_quadmask else PLATE)
    reads = None if goes.upload else partial(_reads, session.line_to(goes.address), goes.info)
    prepared = prepare(void, goes.out, only_quadmask=only_quadmask, reads=reads)
    session.submit(void, [goes.order(void, one, prepared.source) for one in prepared.shots], goes.address)


def _is_upload(void: VoidNode) -> bool:
    choice = void.text(k.TRANSFER)
    if choice == k.AUTOMATIC:
        choice = settings.load().transfer
    if choice not in (k.BY_PATH, k.BY_UPLOAD):
        raise SettingError(f"The VOID settings say transfer {choice!r}; make it path or upload.")
    return choice == k.BY_UPLOAD


def _check_server(address: str, out: Path) -> Optional[ServerInfo]:
    """Make sure, before anything is exported, that a server answers or can be started. Raises ServerUnreachable.

    Returns what the server says of itself, None for one that is only just started.
    """
    with Client(address, keys=settings.load().keys, timeout=1.5) as client:
        try:
            return client.hello()
        except ServerUnreachable:
            # begun now, it is up by the time that the frames are written
            if not session.start_server(address, [str(out)]):
                raise
            return None


def _reads(line: Line, info: Optional[ServerInfo], file: str) -> bool:
    """Whether the server may read a file, wherever links lead; one that is only just started cannot be asked."""
    real = line.to_server(Path(os.path.realpath(file)).as_posix())
    return info is not None and any(PurePath(real).is_relative_to(root) for root in info.roots)


def _files(one: PreparedShot) -> dict[str, list[str]]:
    """What to upload."""
    files = {"plate": list(one.exported.plate.files)}
    if one.exported.roto:
        files["roto"] = list(one.exported.roto.files)
    if one.shot.quadmask:
        files["quadmask"] = [one.shot.quadmask % frame for frame in one.frames]
    named = one.shot.paths()
    return {**files, **{role: [named[role]] for role in Shot.FILES if role in named}}
