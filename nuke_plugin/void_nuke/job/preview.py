"""Previews: some frames at a reduced size, for the artist's eyes alone. Uses nuke, on its main thread.

A preview is a job like any other, with a folder and a view of its own: it is no version, and no render gets it.
"""

from __future__ import annotations

from typing import Sequence

import nuke

from void_server.api.errors import VoidError
from void_server.api.shot import PLATE, ROTO

from ..node import handles
from ..node.node import VoidNode
from . import session
from .prepare import prepare_preview
from .submission import destination

#: Previews are at most so many pixels wide, and lie beside the versions in a folder of this name.
_WIDTH, _FOLDER = 960, "preview"
#: How many frames on either side of the current one are looked at, and how many more in the whole range.
_NEAR, _FAR = 4, 4
_EVERY = 10


def this_frame(void: VoidNode) -> None:
    """Preview the current frame, with what frames near it and some far from it tell of the scene."""
    frames = void.frames()
    current = min(frames, key=lambda frame: abs(frame - nuke.frame()))
    near = {frame for frame in frames if abs(frame - current) <= _NEAR}
    _start(void, sorted(near | set(frames[:: max(1, len(frames) // _FAR)])), PLATE)


def every_tenth(void: VoidNode) -> None:
    """Preview every tenth frame of the range."""
    _start(void, void.frames()[::_EVERY], PLATE)


def roto(void: VoidNode) -> None:
    """Show what the current frame's points take for the object, unless the node is busy, or has no points there.

    What goes wrong is said in the status alone: the artist did no more than click.
    """
    if session.alive(void) or nuke.executing():
        return
    try:
        if any(prompt.frame == nuke.frame() for prompt in handles.prompts(void)):
            _start(void, [nuke.frame()], ROTO)
    except VoidError as error:
        void.tell(str(error))


def _start(void: VoidNode, frames: Sequence[int], until: str) -> None:
    goes = destination(void)
    goes.check_permitted(void, until)
    one = prepare_preview(void, goes.out / _FOLDER, frames, until, _WIDTH)
    session.submit(void, [goes.order(void, one, preview=True)], goes.address)
