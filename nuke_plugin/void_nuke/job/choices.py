"""What there is to choose on a node: engines, reasoners and their settings, versions. Uses nuke, on its main thread."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Optional, Sequence

import nuke

from void_server.api.client import Client, Keys, ServerInfo
from void_server.api.errors import VoidError

from ..node import declared, results, versions
from ..node import knobs as k
from ..node.node import VoidNode, find
from ..studio import settings

#: How long a server may take that nobody waits for, in seconds.
_PATIENCE = 4.0
#: The nodes that are being asked for.
_asking: set[str] = set()


def server_of(void: VoidNode) -> str:
    """The address of the server that the node uses."""
    return void.text(k.SERVER) or settings.load().address


def offer(void: VoidNode, info: ServerInfo) -> None:
    """Let the node offer what the server has. Raises :class:`SettingError` where that does not fit what is set."""
    void.offer({k.ENGINE: info.engines, k.REASONER: info.reasoners})
    for kind, chooser in ((declared.ENGINES, k.ENGINE), (declared.REASONERS, k.REASONER)):
        # VOID Quadmask names the engine that its quadmask is for, and asks nothing else of it
        if kind == declared.ENGINES and void.kind != k.REMOVE_NODE:
            continue
        known = info.settings[kind]
        void.add_settings(kind, known)
        chosen = void.text(chooser)
        values = void.own_settings(kind, chosen)
        for one in known.get(chosen, ()):
            # a server's regular expression may take for ever; the server itself checks these
            replace(one, pattern="").check(values.get(one.name, one.default))


def ask(void: VoidNode) -> None:
    """Ask server and disk in a thread, and offer what they have once it is known; without an answer nothing changes."""
    if void.id in _asking:
        return
    out: Optional[Path] = None
    with suppress(VoidError):
        # a script without a name has no versions yet
        out = results.folder(void)
    try:
        address, keys = server_of(void), settings.load().keys
    except VoidError:
        # the press says what is wrong with the settings
        return
    _asking.add(void.id)
    threading.Thread(target=_ask, args=(void.id, address, keys, out), name="VOID choices", daemon=True).start()


def _ask(identity: str, address: str, keys: Optional[Keys], out: Optional[Path]) -> None:
    info, names = None, list[str]()
    try:
        with suppress(OSError):
            names = [result.name for result in versions.results(out)] if out else []
        with suppress(VoidError), Client(address, keys=keys, timeout=_PATIENCE) as client:
            info = client.hello()
    finally:
        _asking.discard(identity)
    nuke.executeInMainThread(_offer, (identity, info, names))


def _offer(identity: str, info: Optional[ServerInfo], names: Sequence[str]) -> None:
    void = find(identity)
    if void is None or nuke.executing():
        return
    void.offer_versions(names)
    if info is not None:
        # what does not fit is said at the press
        with suppress(VoidError):
            offer(void, info)
