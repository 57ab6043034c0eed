"""The dialog that hands nodes to the render farm. Uses nuke and Qt, on the main thread."""

from __future__ import annotations

from typing import Any, Optional, Sequence

from void_server.api.errors import JobCancelled, VoidError
from void_server.api.settings import Declaration

from ..job import farm
from ..node.node import VoidNode
from ..node.plain import plain
from .qt import Dialog, PlainLabel, QtWidgets

# the farm knows who submits
_NOT_ASKED = ("user",)


class FarmDialog(Dialog):
    """Asks for a scheduler and the fields that it can express; the others are greyed and left as they are."""

    def __init__(
        self, nodes: Sequence[VoidNode], schedulers: farm.Schedulers, parent: Optional[QtWidgets.QWidget] = None
    ) -> None:
        super().__init__(parent)
        self._nodes, self._schedulers = nodes, schedulers
        self._submitting = self._stopped = False
        self.setWindowTitle("VOID: submit to farm")
        self.setMinimumWidth(600)
        #: The version folders, once submitted.
        self.folders: list[str] = []

        self._scheduler = QtWidgets.QComboBox()
        # this machine itself would keep the window waiting for the whole job
        self._scheduler.addItems([name for name in schedulers.expresses if name not in schedulers.run_here])
        self._scheduler.setCurrentText(schedulers.chosen)
        self._scheduler.currentTextChanged.connect(self._show_expressible)
        self._server = QtWidgets.QLineEdit()
        self._server.setPlaceholderText("tcp://gpu01:5690; empty: the tasks do the work themselves")
        self._export_there = QtWidgets.QCheckBox("by Nuke on the farm, from the script as it is now")
        self._export_there.setEnabled(schedulers.has_nuke)
        self._export_there.setChecked(schedulers.has_nuke)
        self._export_there.setToolTip("" if schedulers.has_nuke else "the farm settings name no Nuke")
        self._widgets: dict[str, QtWidgets.QWidget] = {}

        form = QtWidgets.QFormLayout()
        form.addRow("Nodes", PlainLabel(", ".join(void.name for void in nodes)))
        form.addRow("Scheduler", self._scheduler)
        for one in schedulers.declared:
            if one.name not in _NOT_ASKED:
                self._widgets[one.name] = _widget(one, schedulers.fields[one.name])
                unit = f", {one.unit}" if one.unit else ""
                form.addRow(f"{one.label[:1].upper()}{one.label[1:]}{unit}", self._widgets[one.name])
        form.addRow("Inference server", self._server)
        form.addRow("Export plate and roto", self._export_there)

        self._answer = PlainLabel("Each node shows its version at once; frames appear as they come.")
        self._answer.setWordWrap(True)
        kinds = QtWidgets.QDialogButtonBox.StandardButton
        buttons = QtWidgets.QDialogButtonBox(kinds.Cancel)
        self._submit = buttons.addButton("Submit", QtWidgets.QDialogButtonBox.ButtonRole.AcceptRole)
        buttons.accepted.connect(self.submit)
        buttons.rejected.connect(self.reject)
        layout = QtWidgets.QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(self._answer)
        layout.addWidget(buttons)
        self._show_expressible(self._scheduler.currentText())

    def _show_expressible(self, scheduler: str) -> None:
        known = self._schedulers.expresses.get(scheduler, [])
        hints = {one.name: one.long_help for one in self._schedulers.declared}
        for name, widget in self._widgets.items():
            widget.setEnabled(name in known)
            widget.setToolTip(hints[name] if name in known else plain(f"{scheduler} has nothing for this"))

    def fields(self) -> dict[str, Any]:
        """The fields as they stand, those that the scheduler can express. Raises ValueError for wrong limits."""
        values: dict[str, Any] = {}
        for name, widget in self._widgets.items():
            if not widget.isEnabled():
                continue
            if isinstance(widget, QtWidgets.QSpinBox):
                values[name] = widget.value()
            elif isinstance(widget, QtWidgets.QCheckBox):
                values[name] = widget.isChecked()
            elif isinstance(widget, QtWidgets.QLineEdit):
                text = widget.text().strip()
                values[name] = _limits(text) if name == "limits" else text
        return values

    def submit(self) -> None:
        """Hand the nodes over, and close; where something is wrong, say it and stay."""
        try:
            fields = self.fields()
        except ValueError:
            self._answer.setText("Write limits like void=1,nuke_r=1.")
            return
        self._submit.setEnabled(False)
        self._submitting, self._stopped = True, False
        self._answer.setText("Submitting; Cancel stops it.")
        try:
            self.folders = farm.submit(
                self._nodes,
                self._scheduler.currentText(),
                fields,
                self._server.text().strip(),
                export_there=self._export_there.isChecked(),
                waiting=self._live,
            )
        except VoidError as error:
            self._answer.setText(plain(str(error)))
        else:
            self.accept()
        finally:
            self._submitting = False
            self._submit.setEnabled(True)

    def _live(self) -> None:
        """Let the window live while a submission is under way. Raises :class:`JobCancelled` once it is to stop."""
        QtWidgets.QApplication.processEvents()
        if self._stopped:
            raise JobCancelled("The submission was stopped; check the scheduler's queue before you submit again.")

    def reject(self) -> None:
        """Stop the submission that is under way; without one, close."""
        if self._submitting:
            self._stopped = True
        else:
            super().reject()


def _widget(one: Declaration, value: Any) -> QtWidgets.QWidget:
    """What a field is entered with."""
    if one.type == "bool":
        tick = QtWidgets.QCheckBox()
        tick.setChecked(bool(value))
        return tick
    if one.type == "int":
        number = QtWidgets.QSpinBox()
        number.setRange(0 if one.or_zero else int(one.low or 0), int(one.high or 2**31 - 1))
        number.setValue(int(value))
        return number
    line = QtWidgets.QLineEdit(_text(value))
    line.setPlaceholderText(one.help)
    return line


def _text(value: Any) -> str:
    return ",".join(f"{name}={count}" for name, count in value.items()) if isinstance(value, dict) else str(value)


def _limits(text: str) -> dict[str, int]:
    entries = (entry.strip().partition("=") for entry in text.split(",") if entry.strip())
    return {name: int(count or 1) for name, _, count in entries}
