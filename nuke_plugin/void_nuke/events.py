"""What happens when nodes of ours, and scripts with any, come and go. Uses nuke, on its main thread.

:mod:`.startup` registers the callbacks, and calls these for such nodes and scripts only.
Callbacks never raise: an error in one would break the loading of a script.
"""

from __future__ import annotations

import functools
import traceback
from typing import Callable

import nuke

from void_server.api.errors import VoidError

from .job import choices, freshness, preview, session
from .node import handles, results
from .node import knobs as k
from .node.node import VoidNode, all_nodes, find
from .ui import keyboard

#: The knobs whose change does something.
_HEARD = {k.RESULT, k.GRID, k.FRAMES, k.PICK_ON, k.PICK_OFF, *k.TITLE_OF, "showPanel"}


def _never_raising(function: Callable[[], None]) -> Callable[[], None]:
    @functools.wraps(function)
    def guarded() -> None:
        try:
            function()
        except Exception:  # see above
            nuke.tprint(f"VOID for Nuke: {traceback.format_exc()}")

    return guarded


@_never_raising
def node_created() -> None:
    """A node came, by creation, paste, load or undo: one whose id another node has gets its own."""
    node = nuke.thisNode()
    void = VoidNode(node)
    # by the node, not by its name: a pasted node may not have its own name yet
    others = {other.id for other in all_nodes() if other.node != node}
    if not void.id or void.id in others:
        void.renew_id()
        if void.state not in (k.IDLE, k.DONE):
            void.show(k.IDLE, "")
    for name in (k.PICK_ON, k.PICK_OFF):
        if void.has(name):
            # to undo a click takes the point back; an eyedropper that went back would click once more
            node[name].setFlag(nuke.NO_UNDO)


@_never_raising
def script_loaded() -> None:
    """A script was opened: its nodes find their jobs again, where an artist is there to see it.

    On a farm, many Nukes may have copies of the script open.
    """
    if nuke.GUI:
        session.follow_all()


@_never_raising
def script_closed() -> None:
    """A script is closed: its jobs go on without it."""
    session.forget_all()


@_never_raising
def script_saved() -> None:
    """A script is saved: where its plates have changed, its nodes say so."""
    if nuke.GUI:
        for void in all_nodes():
            freshness.look(void)


def _opened(identity: str) -> None:
    """A node's panel was opened: what it offers, and whether its plate has changed, is looked up."""
    void = find(identity)
    if void is not None:
        choices.ask(void)
        freshness.look(void)


def _clicked(identity: str) -> None:
    """Points were clicked: what they take for the object is shown."""
    void = find(identity)
    if void is not None:
        preview.roto(void)


@_never_raising
def knob_changed() -> None:
    """A knob of a group was changed; nothing here may ask for pictures or metadata."""
    knob = nuke.thisKnob()
    if knob is None or knob.name() not in _HEARD:
        return
    void = VoidNode(nuke.thisNode())
    try:
        if knob.name() == k.RESULT:
            shown = void.shown.name if void.shown else k.NO_RESULT
            if void.text(k.RESULT) != shown:
                results.show_chosen(void)
        elif knob.name() == k.GRID:
            void.apply_grid()
        elif knob.name() in (k.PICK_ON, k.PICK_OFF):
            if handles.pick(void, knob.name(), other=keyboard.alt_is_held()) and void.checked(k.SHOW_ROTO):
                # not in here: it writes a frame
                nuke.executeInMainThread(_clicked, (void.id,))
        elif knob.name() in k.TITLE_OF:
            void.show_titles()
        elif knob.name() == k.FRAMES:
            void.node[k.CUSTOM_RANGE].setEnabled(void.text(k.FRAMES) == k.CUSTOM)
        else:
            # not in here: it looks at the whole graph
            nuke.executeInMainThread(_opened, (void.id,))
    except VoidError as error:
        void.show(k.FAILED, str(error))
