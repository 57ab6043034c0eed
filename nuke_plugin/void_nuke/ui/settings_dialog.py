"""The user's own settings. Uses Qt, on the main thread."""

from __future__ import annotations

import os
from typing import Optional

from void_server.api.client import Client
from void_server.api.errors import VoidError

from ..node.plain import plain
from ..studio import settings
from .qt import Dialog, PlainLabel, QtWidgets

_HELP = {
    "server": ("Server", "tcp://gpu01:5690; empty for one on this machine"),
    "output": ("Output folder", "{script_dir}, {script}, {node} and {user} are filled in"),
    "key": ("Your secret key file", "only for servers on other machines"),
    "server_key": ("The server's public key file", "only for servers on other machines"),
}


class SettingsDialog(Dialog):
    """Edits what the user may choose; what the studio has set shows as the greyed default."""

    def __init__(self, parent: Optional[QtWidgets.QWidget] = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("VOID settings")
        self.setMinimumWidth(560)
        now = settings.load()
        form = QtWidgets.QFormLayout()
        self._fields = {name: QtWidgets.QLineEdit(str(getattr(now, name))) for name in _HELP}
        for name, (label, hint) in _HELP.items():
            self._fields[name].setPlaceholderText(hint)
            self._fields[name].setToolTip(hint)
            form.addRow(label, self._fields[name])
        self._transfer = QtWidgets.QComboBox()
        self._transfer.addItems(["path", "upload"])
        self._transfer.setCurrentText(now.transfer)
        self._transfer.setToolTip("path: the server sees the same disks. upload: frames travel over the network.")
        form.addRow("Transfer", self._transfer)
        self._answer = PlainLabel(f"Kept in {settings.user_file()}")
        self._answer.setWordWrap(True)
        if studio := os.environ.get("VOID_NUKE_SETTINGS"):
            named = QtWidgets.QLineEdit(studio)
            named.setReadOnly(True)
            form.addRow("Studio's settings", named)

        kinds = QtWidgets.QDialogButtonBox.StandardButton
        buttons = QtWidgets.QDialogButtonBox(kinds.Save | kinds.Cancel)
        self._test = buttons.addButton("Test server", QtWidgets.QDialogButtonBox.ButtonRole.ActionRole)
        self._test.clicked.connect(self.test_server)
        buttons.accepted.connect(self.save)
        buttons.rejected.connect(self.reject)
        layout = QtWidgets.QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(self._answer)
        layout.addWidget(buttons)

    def _values(self) -> dict[str, str]:
        values = {name: field.text().strip() for name, field in self._fields.items()}
        return {**values, "transfer": self._transfer.currentText()}

    def test_server(self) -> None:
        """Ask the server that is written in the field who it is."""
        values = self._values()
        entered = settings.Settings(server=values["server"], key=values["key"], server_key=values["server_key"])
        try:
            with Client(entered.address, keys=entered.keys, timeout=3) as client:
                info = client.hello()
        except VoidError as error:
            self._answer.setText(plain(str(error)))
            return
        self._answer.setText(plain(f"{entered.address} answers: VOID {info.version}."))

    def save(self) -> None:
        """Keep what differs from the studio's settings."""
        before = settings.load()
        changes = {name: value for name, value in self._values().items() if value != getattr(before, name)}
        try:
            settings.save_user(changes)
        except (VoidError, OSError) as error:
            self._answer.setText(plain(str(error)))
            return
        self.accept()
