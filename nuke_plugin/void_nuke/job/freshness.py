"""Whether what a node shows was made from the plate and the roto as they are. Uses nuke, on its main thread."""

from __future__ import annotations

import threading
from typing import Mapping, Sequence

import nuke

from void_server.api.errors import VoidError

from ..node import knobs as k
from ..node.node import VoidNode, find
from ..node.tile import of_version
from . import export
from .stamps import Stamps
from .upstream import Upstream

#: The nodes whose files are being looked at.
_looking: set[str] = set()


def look(void: VoidNode) -> None:
    """See whether the plate has changed since the shown version was made; the tile says so when that is known.

    Only the graph is looked at here. The files are looked at in a thread, as disks may take their time.
    """
    source = void.source_of_shown
    if void.state not in (k.DONE, k.STALE) or not source or void.id in _looking:
        return
    try:
        void.plate()
        views = [export.look(void, view) for view in nuke.views()]
    except VoidError:
        # without a plate, or a region, there is nothing to compare
        return
    _looking.add(void.id)
    threading.Thread(target=_compare, args=(void.id, source, views), name="VOID freshness", daemon=True).start()


def _compare(identity: str, source: str, views: Sequence[Mapping[str, Upstream]]) -> None:
    try:
        fresh = export.source_of(views, Stamps()) == source
    finally:
        _looking.discard(identity)
    nuke.executeInMainThread(_tell, (identity, source, fresh))


def _tell(identity: str, source: str, fresh: bool) -> None:
    void = find(identity)
    if void is None or nuke.executing() or void.source_of_shown != source:
        return
    shown = void.shown
    if shown is None or void.state != (k.STALE if fresh else k.DONE):
        return
    if fresh:
        void.show(k.DONE, f"Plate and roto are again what {shown.name} was made from.", of_version(shown))
        return
    status = f"Plate or roto has changed since {shown.name} was made, whose pixels still show; make a new version."
    void.show(k.STALE, status, of_version(shown))
