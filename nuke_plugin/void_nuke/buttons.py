"""The way from a button's code in a node to what it does. Uses nuke, on its main thread.

A frozen interface: every script saved with a node of ours calls ``void_nuke.buttons.press("<name of the button>")``.
So neither this package, this module, :func:`press` nor the names in it may be renamed, and no name may be taken away.
"""

from __future__ import annotations

import traceback
from typing import Callable, Optional

import nuke

from void_server.api.errors import VoidError

from . import menu
from .job import diagnostics, handover, made, preview, session, submission
from .node import handles, points, results
from .node import knobs as k
from .node.messages import say
from .node.node import VoidNode
from .studio.findings import as_text
from .ui import browser, clipboard


def _farm(void: VoidNode) -> None:
    menu.submit([void])


def _copy_command(void: VoidNode) -> None:
    clipboard.put(handover.command_line(void))


def _check(void: VoidNode) -> None:
    say(as_text(diagnostics.examine(void)))


def _diagnostics(void: VoidNode) -> None:
    clipboard.put(diagnostics.everything(void))


_ACTIONS: dict[str, Callable[[VoidNode], None]] = {
    k.GENERATE: submission.generate_quadmask,
    k.REMOVE: submission.remove,
    k.PREVIEW_FRAME: preview.this_frame,
    k.PREVIEW_RANGE: preview.every_tenth,
    k.STOP: submission.stop,
    k.RESUME: submission.resume,
    k.CLICK_ON: lambda void: handles.add_point(void, points.ON),
    k.CLICK_OFF: lambda void: handles.add_point(void, points.OFF),
    k.CLICK_CLEAR: handles.clear_points,
    k.GRID_AFFECTED: lambda void: handles.change_cell(void, "affected"),
    k.GRID_KEEP: lambda void: handles.change_cell(void, "keep"),
    k.GRID_CLEAR: lambda void: handles.change_cell(void, None),
    k.ABOUT: lambda void: say(made.story(void)),
    k.RESTORE: made.restore,
    k.CREATE_READS: made.create_reads,
    k.COPY_PATH: lambda void: clipboard.put(made.shown(void).folder.as_posix()),
    k.REVEAL: lambda void: browser.reveal(made.shown(void).folder),
    k.BEFORE_AFTER: results.before_after,
    k.FARM_SUBMIT: _farm,
    k.FARM_COMMAND: _copy_command,
    k.JOBS_PANEL: lambda _: menu.jobs(),
    k.DOCUMENTATION: lambda _: menu.documentation(),
    k.CHECK: _check,
    k.DIAGNOSTICS: _diagnostics,
}


def _tell(error: VoidError, void: Optional[VoidNode]) -> None:
    """Show an error in a window, and on ``void``, where its job failed; without a window it is raised."""
    if void is not None and not session.alive(void):
        void.show(k.FAILED, str(error))
    if not nuke.GUI:
        raise error
    say(str(error))


def press(action: str) -> None:
    """Do what the button of the current node says; what goes wrong becomes a sentence for the artist.

    Without a window the work is done when this returns, and errors are raised.
    """
    void = VoidNode(nuke.thisNode())
    try:
        _ACTIONS[action](void)
        if not nuke.GUI and action in (k.GENERATE, k.REMOVE, k.RESUME):
            session.wait(void, nuke.tprint)
    except VoidError as error:
        # a press that asked for nothing new leaves the node as it is: red is for a job that failed
        _tell(error, void if action in (k.GENERATE, k.REMOVE) else None)
    except Exception:  # whatever else goes wrong is ours to mend, and must not look as if nothing had happened
        if not nuke.GUI:
            raise
        nuke.tprint(traceback.format_exc())
        say(f"{void.name}: the plugin itself failed. Press Copy diagnostics on the tab Info and send it to support.")
