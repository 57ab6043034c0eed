"""The way of a press: ask the server, export, submit. Uses nuke, on its main thread.

Errors are :class:`~void_server.api.errors.VoidError`.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path, PurePath
from typing import Optional

from void_server.api.client import Client, ServerInfo
from void_server.api.errors import InputError, ServerUnreachable, SettingError
from void_server.api.shot import Shot

from ..node import knobs as k
from ..node.node import VoidNode
from ..node.results import output_folder
from ..studio import settings
from . import choices, export, session
from .monitor import Line, Order
from .prepare import check_ready, prepare


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


def _start(void: VoidNode, *, only_quadmask: bool) -> None:
    if not void.id:
        # the node was made while the plugin's callbacks were not there
        void.renew_id()
    if session.alive(void):
        raise InputError(f"{void.name} is already running; stop it first, or use a second node.")
    check_ready(void)
    frames = void.frames()
    out = output_folder(void)
    address = choices.server_of(void)
    upload = _is_upload(void)
    info = _check_server(address, out)
    if info is not None:
        choices.offer(void, info)
    reads = None if upload else partial(_reads, session.line_to(address), info)
    prepared = prepare(void, out, only_quadmask=only_quadmask, reads=reads)
    orders = [
        Order(
            node=void.id,
            view=one.view,
            shot=one.shot,
            out=one.out,
            source=prepared.source,
            files=_files(one.shot, one.exported, frames) if upload else None,
        )
        for one in prepared.shots
    ]
    session.submit(void, orders, address)


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


def _files(shot: Shot, exported: export.Exported, frames: list[int]) -> dict[str, list[str]]:
    """What to upload."""
    files = {"plate": list(exported.plate.files)}
    if exported.roto:
        files["roto"] = list(exported.roto.files)
    if shot.quadmask:
        files["quadmask"] = [shot.quadmask % frame for frame in frames]
    if ocio := shot.paths().get("ocio"):
        files["ocio"] = [ocio]
    return files
