"""Qt as this Nuke has it: PySide6 from Nuke 16 on, PySide2 before. Uses Qt."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Callable, Iterator

from void_server.api.errors import JobCancelled

try:
    from PySide6 import QtCore, QtGui, QtWidgets
except ImportError:
    from PySide2 import QtCore, QtGui, QtWidgets  # type: ignore[no-redef]

__all__ = ["Dialog", "PlainLabel", "QtCore", "QtGui", "QtWidgets", "alive_while"]


class PlainLabel(QtWidgets.QLabel):
    """A label that shows its text as it is; Qt's own takes what looks like HTML for that."""

    def __init__(self, text: str = "") -> None:
        super().__init__(text)
        self.setTextFormat(QtCore.Qt.TextFormat.PlainText)


class Dialog(QtWidgets.QDialog):
    """A window that is shown until it is closed."""

    def exec_(self) -> int:
        """Show it; PySide2 has this name, PySide6 another."""
        run = getattr(super(), "exec", None) or super().exec_
        return int(run())


@contextmanager
def alive_while(words: str) -> Iterator[Callable[[], None]]:
    """While something takes its time: a window with ``words`` and a way to stop it, where it is long.

    Yields what is to be called again and again meanwhile; it raises :class:`JobCancelled` once the artist stops it.
    """
    window = QtWidgets.QProgressDialog(words, "Cancel", 0, 0)
    window.setWindowTitle("VOID")
    window.setWindowModality(QtCore.Qt.WindowModality.ApplicationModal)

    def live() -> None:
        QtWidgets.QApplication.processEvents()
        if window.wasCanceled():
            raise JobCancelled("Stopped.")

    try:
        yield live
    finally:
        window.close()
        window.deleteLater()
