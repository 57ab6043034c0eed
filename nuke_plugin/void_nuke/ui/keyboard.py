"""What is held on the keyboard. Uses nuke and Qt, on Nuke's main thread."""

from __future__ import annotations

import nuke


def alt_is_held() -> bool:
    """Whether Alt is held, alone or with other keys."""
    if not nuke.GUI:
        return False
    # only here: without a window there may be no Qt
    from .qt import QtCore, QtWidgets

    held = QtWidgets.QApplication.keyboardModifiers()
    return bool(held & QtCore.Qt.KeyboardModifier.AltModifier)
