"""Nodes on the farm: what is handed over, and plate and roto exported by a Nuke (the stand-in) that runs as a task."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nuke
import numpy as np
import pytest
from driving import PYTHON, ROOT, pixels, read_node, void_remove

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.version_info < (3, 10) and "VOID_TEST_PYTHON" not in os.environ,
        reason="the command runs in the server's Python, which is 3.10 or newer",
    ),
]
COMMAND = [PYTHON, "-c", "from void_server.cli import main; main()"]


@pytest.fixture
def site(terminal, tmp_path, monkeypatch):
    """A farm that has a Nuke."""
    from void_nuke.studio import settings

    settings.save_user({"void_command": COMMAND, "server_options": ["--workers", "2"]})
    file = tmp_path / "site.json"
    nuke_there = [sys.executable, str(ROOT / "tests" / "nuke_standin" / "terminal.py"), "-t"]
    said = {
        "scheduler": "openjd",
        "nuke": nuke_there,
        "nuke_limits": {"nuke_r": 1},
        "fields": {"frames_per_task": 5, "frames_per_export": 5},
    }
    file.write_text(json.dumps(said))
    monkeypatch.setenv("VOID_FARM_SETTINGS", str(file))
    monkeypatch.setenv("PYTHONPATH", "")
    return said


def submitted(*nodes, there=True, **options):
    from void_nuke.job import farm
    from void_nuke.node.node import VoidNode

    folders = farm.submit([VoidNode(node) for node in nodes], "openjd", {}, export_there=there, **options)
    return [Path(folder) for folder in folders]


def task(folder, stage, number=0):
    command = [*COMMAND, "farm", "run", "--job", str(folder / "farm.json"), "--stage", stage, "--task", str(number)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def job_of(folder):
    return json.loads((folder / "farm.json").read_text())


@pytest.fixture
def node(site, sample):
    # what the artist did to the plate is exported with it
    graded = nuke.nodes.Expression()
    graded["expr0"].setValue("r / 2")
    graded.setInput(0, read_node(sample / "plate"))
    matte = nuke.nodes.Expression()
    matte.setInput(0, read_node(sample / "roto"))
    return void_remove(graded, matte)


def test_nuke_on_the_farm_writes_what_the_artists_nuke_would(node, tmp_path):
    (folder,) = submitted(node)
    job = job_of(folder)
    assert [(stage["name"], stage["kind"], stage["tasks"]) for stage in job["stages"]] == [
        ("check", "cpu", 1),
        ("export", "nuke", 3),
        ("quadmask", "cpu", 1),
        ("finish", "cpu", 3),
        ("report", "cpu", 1),
    ]
    patterns = job["export"]["patterns"]
    assert not Path(patterns["plate"]).parent.exists()
    assert node["result"].value() == folder.name
    template = json.loads((folder / "openjd" / "template.json").read_text())
    amounts = {step["name"]: step["hostRequirements"]["amounts"] for step in template["steps"]}
    licence = {"name": "amount.nuke_r", "min": 1}
    assert [step for step, asked in amounts.items() if licence in asked] == ["export"]
    # what the artist does from here on is another version
    node.input(0)["expr0"].setValue("r")
    early = task(folder, "quadmask")
    assert early.returncode == 2, early.stderr
    assert "plate" in early.stderr
    for number in (2, 0, 1):
        done = task(folder, "export", number)
        assert done.returncode == 0, done.stderr
    status = subprocess.run([*COMMAND, "farm", "status", str(folder)], capture_output=True, text=True, check=False)
    assert "export     3/3 done" in status.stdout
    times = {path: path.stat().st_mtime_ns for path in Path(patterns["plate"]).parent.iterdir()}
    assert task(folder, "export", 1).returncode == 0
    assert times == {path: path.stat().st_mtime_ns for path in times}
    for stage, tasks in (("quadmask", 1), ("finish", 3), ("report", 1)):
        for number in range(tasks):
            done = task(folder, stage, number)
            assert done.returncode == 0, done.stderr
    assert (folder / "job.json").is_file()

    node.input(0)["expr0"].setValue("r / 2")
    node["reuse_export"].setValue(False)
    (again,) = submitted(node, there=False)
    assert [stage["name"] for stage in job_of(again)["stages"]] == ["check", "quadmask", "finish", "report"]
    here = job_of(again)["shot"]
    assert here["plate"] != patterns["plate"]
    for frame in range(1001, 1013):
        assert np.array_equal(pixels(patterns["plate"] % frame), pixels(here["plate"] % frame))
        assert np.array_equal(pixels(patterns["roto"] % frame, "A"), pixels(here["roto"] % frame, "A"))


def test_what_is_there_already_is_not_exported_again(node):
    (first,) = submitted(node, there=False)
    (second,) = submitted(node)
    assert job_of(second)["shot"]["plate"] == job_of(first)["shot"]["plate"]
    assert [stage["name"] for stage in job_of(second)["stages"]] == ["check", "quadmask", "finish", "report"]


def test_what_lies_in_the_working_space_needs_no_nuke_on_the_farm(node, sample):
    plate, roto = read_node(sample / "plate"), read_node(sample / "roto")
    plate["raw"].setValue(True)
    node.setInput(0, plate)
    node.setInput(1, roto)
    (folder,) = submitted(node)
    assert [stage["name"] for stage in job_of(folder)["stages"]] == ["check", "quadmask", "finish", "report"]
    assert job_of(folder)["shot"]["plate"] == plate["file"].value()


@pytest.mark.oldest
def test_the_script_finds_what_lies_beside_the_artists(node, sample, tmp_path):
    """Relative paths count from the artist's script, though the farm opens a copy."""
    beside = Path(nuke.root().name()).parent
    (beside / "footage").symlink_to(sample / "plate")
    relative = nuke.nodes.Read()
    relative["file"].setValue("[file dirname [value root.name]]/footage/plate.%04d.exr")
    for name in ("first", "last", "origfirst", "origlast"):
        relative[name].setValue(1001 if "first" in name else 1012)
    node.setInput(0, relative)
    (folder,) = submitted(node)
    done = task(folder, "export", 0)
    assert done.returncode == 0, done.stderr
    written = job_of(folder)["export"]["patterns"]["plate"]
    assert np.array_equal(pixels(written % 1001), pixels(sample / "plate" / "plate.1001.exr"))


def test_an_inference_server_gets_the_job_after_the_export(node):
    (folder,) = submitted(node, server="tcp://127.0.0.1:9")
    stages = [(stage["name"], stage["after"]) for stage in job_of(folder)["stages"]]
    assert stages == [("check", []), ("export", ["check"]), ("serve", ["export"])]


def test_an_export_that_fails_says_why(node):
    (folder,) = submitted(node)
    file = folder / "farm.json"
    good = file.read_text()
    file.write_text(good.replace('"node": "VOID_Remove1"', '"node": "VOID_Remove9"'))
    done = task(folder, "export")
    assert done.returncode == 2
    assert "has no VOID node named VOID_Remove9" in done.stderr
    file.write_text(good)
    (folder / "script.nk").write_text("Grade {\n")
    done = task(folder, "export")
    assert done.returncode != 0
    # the command that counts is the one that was submitted
    Path(os.environ["VOID_FARM_SETTINGS"]).unlink()
    job = json.loads(good)
    file.write_text(json.dumps({**job, "export": {**job["export"], "nuke": ["/nonexistent/Nuke16.0", "-t"]}}))
    os.environ.pop("VOID_FARM_SETTINGS")
    done = task(folder, "export")
    assert done.returncode == 2
    assert "Nuke cannot be started" in done.stderr


def test_a_farm_without_nuke_refuses_and_nothing_stays(node, site):
    from void_server.api.errors import JobFailed

    Path(os.environ["VOID_FARM_SETTINGS"]).write_text(json.dumps({**site, "nuke": []}))
    with pytest.raises(JobFailed, match="name no Nuke"):
        submitted(node)
    assert not list((Path(nuke.root().name()).parent).rglob("farm.json"))


@pytest.mark.oldest
def test_several_nodes_from_the_command_line_are_one_group(node, sample, monkeypatch, capsys):
    from void_nuke import batch

    other = void_remove(read_node(sample / "plate"), read_node(sample / "roto"))
    nuke.scriptSave()
    words = [f"--script={nuke.scriptName()}", f"--node={node.name()}", f"--node={other.name()}"]
    monkeypatch.setattr(sys, "argv", ["batch.py", *words, "--farm=deadline", "--set=priority=70", "--save"])
    monkeypatch.setenv("DEADLINE_PATH", str(ROOT / "tests" / "farm"))
    repository = Path(nuke.root().name()).parent / "repository"
    repository.mkdir()
    monkeypatch.setenv("DEADLINE_EMULATOR", str(repository))
    assert batch.main() == 0
    folders = [Path(line) for line in capsys.readouterr().out.splitlines() if "/v001" in line]
    assert len(folders) == 2
    infos = [(folder / "deadline" / "export.job").read_text() for folder in folders]
    for info in infos:
        assert "Priority=70\n" in info
        assert "LimitGroups=nuke_r\n" in info
    groups = {line for info in infos for line in info.splitlines() if line.startswith("BatchName=")}
    assert groups == {"BatchName=sh010_comp_v003 VOID_Remove1 and 1 more"}
    nuke.scriptOpen(nuke.scriptName())
    assert nuke.toNode("VOID_Remove2")["result"].value() == "v001"


# a command that says so, then never answers; when it is told to end, it says that too
SILENT = """
import pathlib, signal, sys, time
there = pathlib.Path(sys.argv[1])
signal.signal(signal.SIGTERM, lambda *_: (there.with_name("ended").touch(), sys.exit(143)))
there.touch()
while True:
    time.sleep(0.05)
"""


@pytest.fixture
def silent(node, tmp_path):
    """The command `void` never answers; the file that is there once it runs."""
    from void_nuke.studio import settings

    begun = tmp_path / "begun"
    settings.save_user({"void_command": [sys.executable, "-c", SILENT, str(begun)]})
    return begun


@pytest.mark.oldest
@pytest.mark.usefixtures("silent")
def test_a_submission_without_an_answer_is_stopped_with_a_sentence(node):
    from void_server.api.errors import JobFailed

    with pytest.raises(JobFailed, match=r"`void farm submit` gave no answer within 0\.5 seconds and was stopped"):
        submitted(node, limit=0.5)


@pytest.mark.oldest
def test_whoever_waits_for_a_submission_can_stop_it(node, silent):
    from void_server.api.errors import JobCancelled

    def waiting():
        if silent.exists():
            raise JobCancelled("enough")

    with pytest.raises(JobCancelled, match="enough"):
        submitted(node, waiting=waiting)
    assert silent.with_name("ended").exists()
