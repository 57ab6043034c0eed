"""The dockable panel VOID Jobs. Uses nuke and Qt, on the main thread."""

from __future__ import annotations

import itertools
import os
import time
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import nuke

from void_server.api.errors import VoidError
from void_server.api.job import Job, JobState
from void_server.api.shot import QUADMASK, title
from void_server.api.version import VersionFolder

from ..job import farm, farm_jobs, session, shell
from ..job.monitor import Monitor
from ..node.messages import say
from ..node.node import VoidNode, all_nodes
from ..node.plain import plain
from ..studio import settings
from . import panel
from .qt import PlainLabel, QtCore, QtGui, QtWidgets, alive_while

_COLUMNS = ("Shot", "State", "Progress", "Left", "Method", "Started", "Job")
_NAME, _STATE, _PROGRESS, _LEFT, _ENGINE, _STARTED, _ID = range(len(_COLUMNS))
_COLOURS = {
    JobState.QUEUED: "#b5a642",
    JobState.RUNNING: "#e0932f",
    JobState.DONE: "#5fae6b",
    JobState.FAILED: "#d65555",
    JobState.CANCELLED: "#999999",
    JobState.INTERRUPTED: "#999999",
}
_PICTURE_HEIGHT = 280
_FARM_SECONDS = 5
_MOST_OF_OTHERS = 200
_LONGEST_CELL = 60
_LONGEST_LOG = 20_000
_WORDS = {
    JobState.QUEUED: "queued",
    JobState.RUNNING: "running",
    JobState.DONE: "done",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "stopped",
    JobState.INTERRUPTED: "interrupted",
}


@dataclass(frozen=True)
class _Row:
    job: Job
    node: Optional[str]
    on_farm: bool = False

    @property
    def name(self) -> str:
        """The node, or, for the jobs of others, the folder of their versions."""
        return self.node or Path(self.job.folder).parent.name


class JobsPanel(QtWidgets.QWidget):
    """Jobs of this script and of the server: what they do, how long yet, and what can be done about them."""

    def __init__(self, parent: Optional[QtWidgets.QWidget] = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(panel.TITLE)
        self.setMinimumWidth(520)
        self._rows: list[_Row] = []
        self._monitor: Optional[Monitor] = None
        self._sheet: Optional[Path] = None
        self._farm_rows: list[_Row] = []
        self._farm_seen = 0.0
        self._build()
        # the panel asks for the list only while it can be seen
        self._timer = QtCore.QTimer(self)
        self._timer.setInterval(1000)
        self._timer.timeout.connect(self.refresh)

    def updateValue(self) -> None:  # noqa: N802 -- Nuke's name
        """Nuke calls this for widgets in panels."""

    # -- how it looks

    def _build(self) -> None:
        self._where = PlainLabel()
        self._only_mine = QtWidgets.QCheckBox("this script only")
        self._only_mine.toggled.connect(self.refresh)
        top = QtWidgets.QHBoxLayout()
        top.addWidget(self._where, 1)
        top.addWidget(self._only_mine)

        self._table = QtWidgets.QTableWidget(0, len(_COLUMNS))
        self._table.setHorizontalHeaderLabels(list(_COLUMNS))
        self._table.verticalHeader().hide()
        self._table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectionBehavior.SelectRows)
        self._table.setSelectionMode(QtWidgets.QAbstractItemView.SelectionMode.SingleSelection)
        self._table.setEditTriggers(QtWidgets.QAbstractItemView.EditTrigger.NoEditTriggers)
        self._table.setShowGrid(False)
        header = self._table.horizontalHeader()
        header.setSectionResizeMode(QtWidgets.QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(_PROGRESS, QtWidgets.QHeaderView.ResizeMode.Stretch)
        self._table.itemSelectionChanged.connect(self._show_details)

        buttons = QtWidgets.QHBoxLayout()
        self._cancel = self._button("Cancel", self.cancel, buttons, "Stop the job; finished frames are kept.")
        self._resume = self._button("Resume", self.resume, buttons, "Continue a stopped or failed job.")
        buttons.addStretch(1)
        self._find = self._button("Show in Nuke", self.show_node, buttons, "Select the node and open its panel.")
        self._report = self._button("Open report", self.open_report, buttons, "Open the job's report in a browser.")

        self._picture = QtWidgets.QLabel()
        self._picture.setAlignment(QtCore.Qt.AlignmentFlag.AlignCenter)
        self._details = QtWidgets.QPlainTextEdit()
        self._details.setReadOnly(True)
        self._details.setMaximumHeight(130)

        layout = QtWidgets.QVBoxLayout(self)
        layout.addLayout(top)
        layout.addWidget(self._table, 1)
        layout.addLayout(buttons)
        layout.addWidget(self._picture)
        layout.addWidget(self._details)

    @staticmethod
    def _button(label: str, action: object, layout: QtWidgets.QHBoxLayout, tooltip: str) -> QtWidgets.QPushButton:
        button = QtWidgets.QPushButton(label)
        button.setToolTip(tooltip)
        button.clicked.connect(action)
        layout.addWidget(button)
        return button

    # -- when it can be seen

    def showEvent(self, event: QtGui.QShowEvent) -> None:  # noqa: N802 -- Qt's name
        """Begin to ask for the list."""
        super().showEvent(event)
        if self.refresh not in session.listeners:
            session.listeners.append(self.refresh)
        self._timer.start()
        self.refresh()

    def hideEvent(self, event: QtGui.QHideEvent) -> None:  # noqa: N802 -- Qt's name
        """Stop asking."""
        super().hideEvent(event)
        if self.refresh in session.listeners:
            session.listeners.remove(self.refresh)
        self._timer.stop()
        if self._monitor:
            self._monitor.list_jobs(False)
            self._monitor = None

    def refresh(self) -> None:
        """Show the jobs as they are now."""
        if not self.isVisible():
            return
        try:
            current = session.monitor(settings.load().address)
        except VoidError as error:
            self._where.setText(plain(str(error)))
            return
        if current is not self._monitor:
            self._monitor = current
            current.list_jobs(True)
        listed = current.jobs()
        address = current.line.address
        self._where.setText(f"{address}" if listed is not None else f"{address} does not answer; retrying")
        mine = self._my_jobs()
        jobs = {job.id: job for job in listed or []}
        # what the nodes know of their own jobs may be at another server, or newer
        jobs.update({job.id: job for job, _ in mine.values()})
        rows = [_Row(job, mine[job.id][1] if job.id in mine else None) for job in jobs.values()]
        rows += self._on_the_farm()
        rows.sort(key=lambda row: -row.job.created)
        # a server may know of more jobs than a table can show without Nuke standing still
        most = 0 if self._only_mine.isChecked() else _MOST_OF_OTHERS
        shown = {row.job.id for row in itertools.islice((row for row in rows if not row.node), most)}
        self._fill([row for row in rows if row.node or row.job.id in shown])

    @staticmethod
    def _my_jobs() -> dict[str, tuple[Job, str]]:
        found = {}
        for void in all_nodes():
            for update in session.latest(void.id).values():
                if update.job:
                    found[update.job.id] = update.job, void.name
        return found

    def _on_the_farm(self) -> list[_Row]:
        """What nodes show that is on its way on the farm; looked at now and then, as disks may be slow."""
        if time.monotonic() - self._farm_seen > _FARM_SECONDS:
            found = ((void, farm_jobs.job_of(void.shown)) for void in all_nodes() if void.shown)
            self._farm_rows = [_Row(job, void.name, on_farm=True) for void, job in found if job]
            self._farm_seen = time.monotonic()
        return self._farm_rows

    def _fill(self, rows: list[_Row]) -> None:
        chosen = self._chosen()
        self._rows = rows
        self._table.blockSignals(True)
        self._table.setRowCount(len(rows))
        for number, row in enumerate(rows):
            job = row.job
            left = job.progress.seconds_left if job.state is JobState.RUNNING else None
            texts = {
                _NAME: row.name,
                _STATE: "on the farm" if row.on_farm else _WORDS[job.state],
                _LEFT: "" if left is None else f"{left:.0f} s" if left < 100 else f"{left / 60:.0f} min",
                _ENGINE: "quadmask only" if job.shot.settings.until == QUADMASK else title(job.shot.settings.engine),
                _STARTED: time.strftime("%d %b %H:%M", time.localtime(job.created)),
                _ID: job.id,
            }
            for column, text in texts.items():
                self._set(number, column, text, _COLOURS[job.state] if column == _STATE else None)
            self._set_progress(number, job)
        self._table.blockSignals(False)
        index = next((i for i, row in enumerate(rows) if chosen and row.job.id == chosen.job.id), 0 if rows else -1)
        if index >= 0:
            self._table.selectRow(index)
        self._show_details()

    def _set(self, row: int, column: int, text: str, colour: Optional[str]) -> None:
        item = self._table.item(row, column)
        if item is None:
            item = QtWidgets.QTableWidgetItem()
            self._table.setItem(row, column, item)
        text = plain(text, _LONGEST_CELL)
        if item.text() != text:
            item.setText(text)
        if colour:
            item.setForeground(QtGui.QColor(colour))

    def _set_progress(self, row: int, job: Job) -> None:
        bar = self._table.cellWidget(row, _PROGRESS)
        if not isinstance(bar, QtWidgets.QProgressBar):
            bar = QtWidgets.QProgressBar()
            self._table.setCellWidget(row, _PROGRESS, bar)
        bar.setValue(100 if job.state is JobState.DONE else int(100 * job.progress.fraction))
        # the bar fills in what follows a percent sign
        stage = plain(job.progress.stage, _LONGEST_CELL).replace("%", "") if job.state is JobState.RUNNING else ""
        frame = f" {job.progress.frame}" if stage and job.progress.frame is not None else ""
        bar.setFormat(f"{stage}{frame}  %p %" if stage else "%p %")

    # -- what can be done

    def _chosen(self) -> Optional[_Row]:
        index = self._table.currentRow()
        return self._rows[index] if 0 <= index < len(self._rows) else None

    def _show_details(self) -> None:
        row = self._chosen()
        alive = row is not None and not row.job.state.ended
        resumable = row is not None and (row.job.state is JobState.FAILED or row.job.state.stopped)
        self._cancel.setEnabled(alive)
        self._resume.setEnabled(resumable)
        self._find.setEnabled(row is not None and row.node is not None)
        self._report.setEnabled(self._report_of(row) is not None)
        text = self._log(row) if row else "No jobs yet. Press Remove on a VOID Remove node."
        if self._details.toPlainText() != text:
            self._details.setPlainText(text)
        self._show_picture(row)

    @staticmethod
    def _log(row: _Row) -> str:
        job = row.job
        lines = [f"plate    {job.shot.plate}", f"frames   {job.shot.frames or 'all'}", f"folder   {job.folder}"]
        if row.on_farm:
            status, again = (shell.command(["void", "farm", verb, job.folder]) for verb in ("status", "again"))
            lines += [f"farm     {status}", f"         {again}   (continues after a stop or a failure)"]
        lines += [f"warning  {warning}" for warning in job.warnings]
        if job.error:
            lines += [f"error    {job.error}", *([job.error.detail] if job.error.detail else [])]
        return "\n".join(lines)[:_LONGEST_LOG]

    def _show_picture(self, row: Optional[_Row]) -> None:
        """Plate, quadmask and result of a few frames, as the contact sheet has them."""
        version = self._version(row)
        sheet = version.contact_sheet if version and os.path.isfile(version.contact_sheet) else None
        self._picture.setVisible(sheet is not None)
        if sheet and sheet != self._sheet:
            fitting = QtCore.Qt.AspectRatioMode.KeepAspectRatio
            smooth = QtCore.Qt.TransformationMode.SmoothTransformation
            picture = QtGui.QPixmap(str(sheet))
            self._picture.setPixmap(picture.scaled(self.width() - 20, _PICTURE_HEIGHT, fitting, smooth))
            self._sheet = sheet

    def _version(self, row: Optional[_Row]) -> Optional[VersionFolder]:
        """The files of the job's version, None where they are not on this machine."""
        if row is None:
            return None
        if row.node and (void := self._node(row)) and void.shown and row.job.state is JobState.DONE:
            return void.shown.files
        folder = self._monitor.line.folder_here(row.job.folder) if self._monitor else None
        return VersionFolder(folder) if folder else None

    def _report_of(self, row: Optional[_Row]) -> Optional[Path]:
        version = self._version(row)
        # Path.is_file raises for names that no disk can have
        return version.report if version and os.path.isfile(version.report) else None

    @staticmethod
    def _node(row: _Row) -> Optional[VoidNode]:
        return next((void for void in all_nodes() if void.name == row.node), None)

    def cancel(self) -> None:
        """Stop the chosen job."""
        row = self._chosen()
        if row is None:
            return
        void = self._node(row) if row.node else None
        if row.on_farm:
            try:
                with alive_while("Stopping the job on the farm") as waiting:
                    farm.cancel(row.job.folder, waiting)
            except VoidError as error:
                say(str(error))
        elif void:
            session.cancel(void)
        elif self._monitor:
            self._monitor.cancel_job(row.job.id)

    def resume(self) -> None:
        """Go on with the chosen job."""
        row = self._chosen()
        if row is None:
            return
        void = self._node(row) if row.node else None
        if void and void.tickets:
            session.resume(void)
        elif self._monitor:
            self._monitor.resume_job(row.job.id)

    def show_node(self) -> None:
        """Select the node of the chosen job, and open its panel."""
        row = self._chosen()
        void = self._node(row) if row else None
        if void:
            for node in nuke.selectedNodes():
                node.setSelected(False)
            void.node.setSelected(True)
            void.node.showControlPanel()
            nuke.zoomToFitSelected()

    def open_report(self) -> None:
        """Open the report of the chosen job."""
        if report := self._report_of(self._chosen()):
            webbrowser.open(report.as_uri())
