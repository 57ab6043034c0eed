"""Where Nuke finds the panel VOID Jobs, which is not loaded before it is opened. Uses nuke, on its main thread."""

from __future__ import annotations

from typing import Any

import nuke

TITLE = "VOID Jobs"
_ID = "void.jobs"
#: An expression: Nuke looks for the class when it opens the panel, in saved workspaces too.
_CLASS = "__import__('void_nuke.ui.jobs_panel', fromlist=['JobsPanel']).JobsPanel"


def register(*, create: bool = False) -> Any:
    """Tell Nuke of the panel; with ``create`` it is made now and returned."""
    import nukescripts

    return nukescripts.panels.registerWidgetAsPanel(_CLASS, TITLE, _ID, create)


def show() -> None:
    """Open the panel, beside the properties where there is room."""
    panel = register(create=True)
    pane = nuke.getPaneFor("Properties.1")
    panel.addToPane(pane) if pane else panel.show()
