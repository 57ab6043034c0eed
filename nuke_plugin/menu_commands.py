"""What the entries of the VOID menu do. Uses nuke and Qt, on the main thread."""

from __future__ import annotations

import webbrowser

import nuke

from void_server.api.errors import VoidError

from . import actions, diagnostics
from .findings import as_text
from .voidnode import VoidNode, is_void


def jobs() -> None:
    """Open the panel VOID Jobs."""
    from .ui.jobs_panel import show_panel

    show_panel()


def edit_settings() -> None:
    """Open the settings."""
    from .ui.settings_dialog import SettingsDialog

    try:
        SettingsDialog().exec_()
    except VoidError as error:
        nuke.message(str(error))


def check() -> None:
    """Say what is complete and what is not."""
    nuke.message(as_text(diagnostics.examine()))


def documentation() -> None:
    """Open the guide in a browser."""
    webbrowser.open(diagnostics.documentation().as_uri())


def submit_selected() -> None:
    """Hand every selected VOID node to the farm."""
    chosen = [VoidNode(node) for node in nuke.selectedNodes() if is_void(node)]
    if not chosen:
        nuke.message("Select the VOID nodes to submit first.")
        return
    answers = []
    for void in chosen:
        try:
            answers.append(f"{void.name}: {actions.submit_to_farm(void)}")
        except VoidError as error:
            answers.append(f"{void.name}: {error}")
    nuke.message("\n".join(answers))
