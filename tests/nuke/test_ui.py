"""Panel and dialog, offscreen, with Qt itself."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

import nuke
import pytest
from driving import press, read_node, state, void_remove, wait_for

pytestmark = pytest.mark.slow

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
try:
    from PySide6 import QtCore, QtWidgets
except ImportError as error:
    pytest.skip(f"Qt cannot run here ({error}): panel and dialog were NOT tested", allow_module_level=True)

#: With VOID_SCREENSHOTS set to a folder, pictures of the windows are kept there.
PICTURES = os.environ.get("VOID_SCREENSHOTS")


@pytest.fixture(scope="session")
def application():
    return QtWidgets.QApplication.instance() or QtWidgets.QApplication([])


def keep(widget, name):
    if PICTURES:
        widget.grab().save(str(Path(PICTURES) / f"{name}.png"))


def processed(condition, seconds=60):
    """Work on Qt's and Nuke's events until the condition holds."""

    def step():
        QtWidgets.QApplication.processEvents()
        return condition()

    return wait_for(step, seconds)


@pytest.fixture
def panel(application, plugin, own_server):
    from void_nuke.studio import settings
    from void_nuke.ui.jobs_panel import JobsPanel

    settings.save_user({"server": own_server.address})
    widget = JobsPanel()
    widget.resize(860, 620)
    widget.show()
    yield widget
    widget.hide()
    widget.deleteLater()


def column(panel, number):
    return [panel._table.item(row, number).text() for row in range(panel._table.rowCount())]


def test_jobs_are_listed_followed_and_shown(panel, sample):
    assert "No jobs yet" in panel._details.toPlainText()
    node = void_remove(read_node(sample / "plate"), read_node(sample / "roto"))
    press(node, "remove")
    processed(lambda: panel._table.rowCount() == 1)
    processed(lambda: state(node) == "done")
    processed(lambda: column(panel, 1) == ["done"])
    assert column(panel, 0) == [node.name()]
    assert panel._table.cellWidget(0, 2).value() == 100
    assert panel._report.isEnabled()
    assert not panel._cancel.isEnabled()
    assert not panel._resume.isEnabled()
    assert not panel._picture.pixmap().isNull()
    node.setSelected(False)
    panel.show_node()
    assert node.isSelected()
    keep(panel, "jobs")


def test_a_failed_job_says_why_and_can_be_resumed(panel, own_server, sample):
    import psutil

    def killed():
        for child in psutil.Process(own_server.process.pid).children():
            # it may have ended meanwhile
            with suppress(psutil.Error):
                if "void_server.service.worker" in child.cmdline():
                    child.kill()
        return state(node) == "failed"

    node = void_remove(read_node(sample / "plate"), read_node(sample / "roto"))
    press(node, "remove")
    processed(killed)
    processed(lambda: column(panel, 1) == ["failed"])
    panel._table.selectRow(0)
    processed(lambda: "worker" in panel._details.toPlainText())
    assert panel._resume.isEnabled()
    panel.resume()
    processed(lambda: state(node) == "done")


def test_the_list_can_be_limited_to_this_scripts_jobs(panel, sample):
    node, other = (void_remove(read_node(sample / "plate"), read_node(sample / "roto")) for _ in range(2))
    for one in (node, other):
        press(one, "remove")
        processed(lambda one=one: state(one) == "done")
    processed(lambda: panel._table.rowCount() == 2)
    nuke.delete(other)
    panel._only_mine.setChecked(True)
    processed(lambda: column(panel, 0) == [node.name()])


def test_a_server_that_is_away_is_said(panel, own_server):
    own_server.stop()
    processed(lambda: "does not answer" in panel._where.text())
    keep(panel, "away")


def test_a_hidden_panel_asks_for_nothing(panel):
    from void_nuke.job import session

    monitor = panel._monitor
    panel.hide()
    assert panel.refresh not in session.listeners
    wait_for(lambda: not monitor._listing)
    time.sleep(0.1)


def test_settings_dialog(application, plugin, server, monkeypatch, tmp_path):
    from void_nuke.studio import settings
    from void_nuke.ui.settings_dialog import SettingsDialog

    studio = tmp_path / "studio.json"
    studio.write_text('{"output": "/renders/{script}/{node}"}')
    monkeypatch.setenv("VOID_NUKE_SETTINGS", str(studio))
    dialog = SettingsDialog()
    dialog._fields["server"].setText("tcp://127.0.0.1:9")
    dialog.test_server()
    assert "No VOID server answers" in dialog._answer.text()
    dialog._fields["server"].setText(server.address)
    dialog.test_server()
    assert "answers: VOID" in dialog._answer.text()
    dialog.show()
    keep(dialog, "settings")
    dialog.save()
    assert settings.load().server == server.address
    assert settings.load().output == "/renders/{script}/{node}"
    assert "renders" not in settings.user_file().read_text(), "what the studio set is not frozen into the user's file"
    dialog.deleteLater()


def test_diagnostics_go_to_the_clipboard(application, plugin, sample):
    from void_nuke.studio import settings

    settings.save_user({"server": "tcp://127.0.0.1:9"})
    node = void_remove(read_node(sample / "plate"), read_node(sample / "roto"))
    press(node, "copy_diagnostics")
    assert "VOID for Nuke" in QtWidgets.QApplication.clipboard().text()


def test_the_panel_opens_from_the_menu(application, plugin):
    from void_nuke.ui.jobs_panel import JobsPanel

    pane = nuke.standin.panes["Properties.1"] = nuke.Pane()
    nuke.menu("Nuke").findItem("VOID").findItem("VOID Jobs").invoke()
    assert isinstance(pane.panels[0].widget, JobsPanel)
    nuke.standin.panes.clear()
    nuke.menu("Nuke").findItem("VOID").findItem("VOID Jobs").invoke()


# -- the farm


@pytest.fixture
def farm_ready(application, plugin, tmp_path, monkeypatch):
    import json

    from void_nuke.studio import settings

    command = [os.environ.get("VOID_TEST_PYTHON", sys.executable), "-c", "from void_server.cli import main; main()"]
    settings.save_user({"void_command": command})
    site = tmp_path / "site.json"
    site.write_text(json.dumps({"scheduler": "openjd", "fields": {"department": "comp", "limits": {"void": 1}}}))
    monkeypatch.setenv("VOID_FARM_SETTINGS", str(site))
    monkeypatch.setenv("PYTHONPATH", "")
    return command


def dialog_for(*nodes):
    from void_nuke.job import farm
    from void_nuke.node.node import VoidNode
    from void_nuke.ui.farm_dialog import FarmDialog

    dialog = FarmDialog([VoidNode(node) for node in nodes], farm.schedulers())
    dialog.show()
    return dialog


@pytest.mark.skipif(
    sys.version_info < (3, 10), reason="the command runs in the server's Python, which is 3.10 or newer"
)
def test_nodes_go_to_the_farm_and_show_their_frames_as_they_come(shot, farm_ready):
    import subprocess

    first, second = void_remove(*shot), void_remove(*shot)
    dialog = dialog_for(first, second)
    assert dialog._scheduler.currentText() == "openjd"
    assert dialog._widgets["department"].text() == "comp"
    assert dialog._widgets["limits"].text() == "void=1"
    assert not dialog._widgets["pool"].isEnabled()
    assert not dialog._export_there.isEnabled()
    assert not dialog._export_there.isChecked()
    keep(dialog, "farm_dialog")
    dialog._widgets["frames_per_task"].setValue(12)
    dialog._widgets["comment"].setText("tonight, please")
    dialog._widgets["name"].setText("sh010 clean-up")
    dialog.submit()
    assert len(dialog.folders) == 2, dialog._answer.text()
    for node, folder in zip((first, second), dialog.folders):
        assert node["result"].value() == Path(folder).name
        assert node.node("ResultPlate")["file"].value().startswith(folder)
        assert "On the farm" in node["status"].value()
        assert (Path(folder) / "openjd" / "template.json").is_file()
    text = (Path(dialog.folders[0]) / "farm.json").read_text()
    assert '"comment": "tonight, please"' in text
    assert '"name": "sh010 clean-up VOID_Remove1"' in text
    from void_nuke.node.versions import result_in

    assert not result_in(Path(dialog.folders[0])).finished
    from void_nuke.ui.jobs_panel import JobsPanel

    panel = JobsPanel()
    panel.resize(860, 300)
    panel.show()
    assert sorted(zip(column(panel, 0), column(panel, 1))) == [(node.name(), "on the farm") for node in (first, second)]
    assert panel._table.cellWidget(0, 2).text() == "0 of 12 frames  0 %"
    panel.cancel()
    assert "stopped where it runs" in nuke.standin.messages[-1]
    for stage in ("quadmask", "finish", "report"):
        if stage == "report":
            panel._farm_seen = 0
            panel.refresh()
            bars = {panel._table.cellWidget(row, 2).text() for row in range(2)}
            assert bars == {"0 of 12 frames  0 %", "12 of 12 frames  100 %"}
            keep(panel, "farm_jobs")
        job = str(Path(dialog.folders[0]) / "farm.json")
        subprocess.run([*farm_ready, "farm", "run", "--job", job, "--stage", stage], check=True, capture_output=True)
    done = result_in(Path(dialog.folders[0]))
    assert (done.first, done.last, done.has_plate, done.finished) == (1001, 1012, True, True)
    panel._farm_seen = 0
    panel.refresh()
    assert column(panel, 0) == [second.name()]
    panel.hide()
    # what was chosen is there the next time
    again = dialog_for(first)
    assert again._widgets["frames_per_task"].value() == 12


@pytest.mark.skipif(
    sys.version_info < (3, 10), reason="the command runs in the server's Python, which is 3.10 or newer"
)
def test_the_farm_dialog_says_what_is_wrong_and_stays(shot, farm_ready, monkeypatch):
    node = void_remove(*shot)
    dialog = dialog_for(node)
    dialog._scheduler.setCurrentText("slurm")
    assert dialog._widgets["pool"].isEnabled()
    assert not dialog._widgets["secondary_pool"].isEnabled()
    monkeypatch.setenv("PATH", "/nonexistent")
    dialog.submit()
    assert dialog.folders == []
    assert "sbatch is not on this machine's PATH" in dialog._answer.text()
    dialog._widgets["limits"].setText("void=many")
    dialog.submit()
    assert "Write limits like" in dialog._answer.text()


@pytest.mark.skipif(
    sys.version_info < (3, 10), reason="the command runs in the server's Python, which is 3.10 or newer"
)
def test_a_farm_with_nuke_exports_plate_and_roto_there(shot, farm_ready):
    import json

    site = Path(os.environ["VOID_FARM_SETTINGS"])
    site.write_text(json.dumps({"scheduler": "openjd", "nuke": ["/opt/Nuke16.0v1/Nuke16.0", "-t"]}))
    dialog = dialog_for(void_remove(*shot))
    assert dialog._export_there.isChecked()
    keep(dialog, "farm_dialog_export")
    dialog.submit()
    (folder,) = dialog.folders
    job = json.loads((Path(folder) / "farm.json").read_text())
    assert [stage["name"] for stage in job["stages"]][:2] == ["check", "export"]
    assert "VOID_Remove1" in (Path(folder) / "script.nk").read_text()


@pytest.mark.skipif(
    sys.version_info < (3, 10), reason="the command runs in the server's Python, which is 3.10 or newer"
)
def test_the_farm_dialog_lives_while_it_submits_and_cancel_stops_it(shot, farm_ready, tmp_path):
    from void_nuke.studio import settings

    dialog = dialog_for(void_remove(*shot))
    choices = [dialog._scheduler.itemText(index) for index in range(dialog._scheduler.count())]
    assert "slurm" in choices
    assert "local" not in choices, "the window would wait for the whole job"
    never = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"
    settings.save_user({"void_command": [sys.executable, "-c", never, str(tmp_path / "begun")]})
    timer = QtCore.QTimer(dialog)
    timer.timeout.connect(lambda: (tmp_path / "begun").exists() and dialog.reject())
    timer.start(20)
    dialog.submit()
    timer.stop()
    assert "The submission was stopped" in dialog._answer.text()
    assert dialog.isVisible()
    assert dialog.folders == []
    assert dialog._submit.isEnabled()
    dialog.reject()
    assert not dialog.isVisible()


def test_nuke_lives_while_the_farm_is_asked_and_cancel_stops_it(shot, application, monkeypatch):
    from void_nuke import menu
    from void_nuke.node.node import VoidNode
    from void_nuke.studio import settings
    from void_nuke.ui.qt import QtWidgets

    turns = []

    def cancelled(window):
        turns.append(window.labelText())
        return len(turns) > 2

    settings.save_user({"void_command": [sys.executable, "-c", "import time; time.sleep(600)"]})
    monkeypatch.setattr(QtWidgets.QProgressDialog, "wasCanceled", cancelled)
    menu.submit([VoidNode(void_remove(*shot))])
    assert nuke.standin.messages[-1] == "Stopped."
    assert turns == ["Asking for the farm's schedulers"] * 3


def test_an_unsaved_script_cannot_go_to_the_farm(shot, application):
    node = void_remove(*shot)
    nuke.root()["name"].setValue("")
    press(node, "farm_submit")
    assert "save it first" in nuke.standin.messages[-1]


def test_what_a_server_says_is_no_mark_up_and_no_endless_table(panel):
    from void_server.api import Job, JobState, Progress, Shot

    evil = "<img src='file:///x'>%p [exec calc]" + 100_000 * "x"
    jobs = [
        Job(
            f"{n:012x}",
            JobState.RUNNING,
            Shot("/p", "/r"),
            f"/{evil}/v001",
            n,
            n,
            Progress(evil, 7, 0.5),
            None,
            (evil,),
        )
        for n in range(1000)
    ]
    panel._timer.stop()
    panel._monitor.list_jobs(False)
    panel._monitor.jobs = lambda: jobs
    panel.refresh()
    assert panel._table.rowCount() == 200
    assert column(panel, 6)[0] == f"{999:012x}"
    assert len(column(panel, 0)[0]) < 100
    assert panel._table.cellWidget(0, 2).format().startswith("(img src='file:///x')p (exec calc)x")
    assert len(panel._details.toPlainText()) <= 20_000
    assert panel._where.textFormat() == QtCore.Qt.TextFormat.PlainText
