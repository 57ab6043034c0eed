"""The way from a button's code in a node to what it does. Uses nuke, on its main thread."""

from __future__ import annotations

import traceback
from typing import Callable

import nuke

from void_server.api.errors import VoidError

from . import menu
from .job import actions, session
from .node import knobs as k
from .node import points
from .node.node import VoidNode
from .studio import diagnostics
from .studio.findings import as_text
from .ui.messages import say


def _farm(void: VoidNode) -> None:
    menu.submit([void])


def _copy_command(void: VoidNode) -> None:
    diagnostics.to_clipboard(actions.command_line(void))


def _check(void: VoidNode) -> None:
    say(as_text(diagnostics.examine(void)))


def _diagnostics(void: VoidNode) -> None:
    diagnostics.to_clipboard(diagnostics.everything(void))


_ACTIONS: dict[str, Callable[[VoidNode], None]] = {
    k.GENERATE: actions.generate_quadmask,
    k.REMOVE: actions.remove,
    k.STOP: actions.stop,
    k.RESUME: actions.resume,
    k.CLICK_ON: lambda void: actions.add_click(void, points.ON),
    k.CLICK_OFF: lambda void: actions.add_click(void, points.OFF),
    k.CLICK_CLEAR: actions.clear_clicks,
    k.GRID_AFFECTED: lambda void: actions.change_cell(void, "affected"),
    k.GRID_KEEP: lambda void: actions.change_cell(void, "keep"),
    k.GRID_CLEAR: lambda void: actions.change_cell(void, None),
    k.FARM_SUBMIT: _farm,
    k.FARM_COMMAND: _copy_command,
    k.JOBS_PANEL: lambda _: menu.jobs(),
    k.DOCUMENTATION: lambda _: menu.documentation(),
    k.CHECK: _check,
    k.DIAGNOSTICS: _diagnostics,
}


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
        actions.tell(error, void if action in (k.GENERATE, k.REMOVE) else None)
    except Exception:  # whatever else goes wrong is ours to mend, and must not look as if nothing had happened
        if not nuke.GUI:
            raise
        nuke.tprint(traceback.format_exc())
        say(f"{void.name}: something is wrong in the plugin itself. Press Copy diagnostics on the tab Info.")
