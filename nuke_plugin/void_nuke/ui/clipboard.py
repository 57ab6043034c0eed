"""Text for the clipboard. Uses nuke, on its main thread."""

from __future__ import annotations

import nuke


def put(text: str) -> None:
    """Put text on the clipboard, or print it where there is no window."""
    if not nuke.GUI:
        print(text)
        return
    from .qt import QtWidgets

    QtWidgets.QApplication.clipboard().setText(text)
    nuke.message("Copied to the clipboard.")
