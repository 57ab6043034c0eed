"""What the entries of the VOID menu do. Uses nuke, on its main thread."""

from __future__ import annotations

import webbrowser

import nuke

from void_server.api.errors import VoidError

from .job import diagnostics, handover
from .node.messages import say
from .node.node import VoidNode, is_void
from .studio import packages
from .studio.findings import as_text


def jobs() -> None:
    """Open the panel VOID Jobs."""
    from .ui import panel

    panel.show()


def edit_settings() -> None:
    """Open the settings."""
    from .ui.settings_dialog import SettingsDialog

    try:
        SettingsDialog().exec_()
    except VoidError as error:
        say(str(error))


def check() -> None:
    """Say what is complete and what is not."""
    say(as_text(diagnostics.examine()))


def documentation() -> None:
    """Open the guide in a browser."""
    webbrowser.open(packages.guide().as_uri())


def submit_selected() -> None:
    """Hand every selected VOID node to the farm."""
    chosen = [VoidNode(node) for node in nuke.selectedNodes() if is_void(node)]
    if chosen:
        submit(chosen)
    else:
        say("Select the VOID nodes to submit, then try again.")


def submit(nodes: list[VoidNode]) -> None:
    """Hand nodes to the farm: by the studio's hook where there is one, else by the dialog."""
    answers = []
    try:
        for void in nodes:
            answer = handover.submit_by_hook(void)
            if answer is None:
                _open_farm_dialog(nodes)
                return
            answers.append(f"{void.name}: {answer}")
    except VoidError as error:
        answers.append(str(error))
    say("\n".join(answers))


def _open_farm_dialog(nodes: list[VoidNode]) -> None:
    from .job import farm
    from .ui.farm_dialog import FarmDialog
    from .ui.qt import alive_while

    farm.check_script()
    if not nuke.GUI:
        raise VoidError("The farm dialog needs Nuke's window; in a terminal run: void farm submit")
    with alive_while("Asking for the farm's schedulers") as waiting:
        found = farm.schedulers(waiting)
    FarmDialog(nodes, found).exec_()
