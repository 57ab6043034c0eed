"""OpenCue: its own outlines and client, and a real RQD, around a STAND-IN of the scheduler."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from void_server.api.errors import JobFailed, SettingError
from void_server.api.version import VersionFolder
from void_server.farm import control, failures, site, standing
from void_server.farm.submit import Submitted

from . import opencue_scheduler
from .conftest import open_gate, same
from .jobs import Make, planned, until

pytestmark = pytest.mark.slow


def test_opencue_makes_an_outline_of_the_job(wanted: Make, site: site.Site) -> None:
    pytest.importorskip("outline", reason="pyoutline is not installed: OpenCue was not tested")
    one = wanted({"engine": "void"}, priority=60, suspended=True, show="show", shot="sh010", limits={"void": 1})
    job = planned(one, site, "opencue")
    import xml.etree.ElementTree as ElementTree

    tree = ElementTree.fromstring(re.sub(r"<!DOCTYPE[^>]*>", "", (job.folder / "opencue.xml").read_text()))
    layers = {layer.get("name"): layer for layer in tree.iter("layer")}
    assert list(layers) == ["check", "check_gpu", "quadmask", "remove", "finish", "report"]
    assert layers["finish"].findtext("range") == "0-2"
    assert "#IFRAME#" in (layers["finish"].findtext("cmd") or "")
    assert layers["remove"].findtext("gpus") == "1"
    assert "void" in ElementTree.tostring(layers["remove"].find("limits") or ElementTree.Element("none")).decode()
    waits = {(depend.findtext("deplayer"), depend.findtext("onlayer")) for depend in tree.iter("depend")}
    assert waits == {
        ("quadmask", "check"),
        ("remove", "quadmask"),
        ("remove", "check_gpu"),
        ("finish", "remove"),
        ("report", "finish"),
    }
    assert tree.findtext(".//priority") == "60"
    assert tree.findtext(".//paused") in ("True", "1")


#: The command as an artist runs it; the scheduler takes nothing from root, whom tests may run as.
AS_ARTIST = "import outline.util; outline.util.get_uid = lambda: 1000; from void_server.cli import main; main()"


@pytest.fixture
def opencue(gated: site.Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A settings file of a site with OpenCue: its real client and RQD around a stand-in of the scheduler."""
    if reason := opencue_scheduler.lacking():
        pytest.skip(f"{reason}: OpenCue was not tested")
    settings = tmp_path / "site.json"
    settings.write_text(
        json.dumps({"scheduler": "opencue", "command": gated.command, "environment": gated.environment})
    )
    monkeypatch.setenv("VOID_FARM_SETTINGS", str(settings))
    (tmp_path / "opencue").mkdir()
    with opencue_scheduler.running(tmp_path / "opencue") as address:
        monkeypatch.setenv("CUEBOT_HOSTS", address)
        yield tmp_path / "opencue"


def by_artist(*words: str) -> subprocess.CompletedProcess[str]:
    """`void farm` with these words."""
    command = [sys.executable, "-c", AS_ARTIST, "farm", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_opencue_does_the_layers_in_their_order(
    opencue: Path, shot: Path, tmp_path: Path, whole: VersionFolder
) -> None:
    out = tmp_path / "out"
    said = [word for text in ("user=artist", "frames_per_task=5", "comment=take two") for word in ("--set", text)]
    submission = ("submit", f"{shot}/plate", f"{shot}/roto", "-o", str(out), *said)
    refused = by_artist(*submission, "--set", "user=root")
    assert "OpenCue refused: " in refused.stderr
    assert "as root" in refused.stderr
    assert list(out.glob("*")) == []
    open_gate()
    done = by_artist(*submission)
    assert done.returncode == 0, done.stderr
    folder = out / "v001"
    name = re.search(rf"{folder}  check=(void-shot-artist_void_plate_v001_v001_\w+)  ", done.stdout)
    assert name, done.stdout
    until(lambda: (folder / "job.json").is_file(), opencue)
    assert same(VersionFolder(folder), whole)
    ask = "import opencue.api as api; print([c.message() for c in api.findJob(sys.argv[1]).getComments()])"
    comments = subprocess.run(
        [sys.executable, "-c", f"import sys; {ask}", name[1]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert comments.stdout == "['take two']\n", comments.stderr
    status = by_artist("status", str(folder)).stdout
    assert re.search(r"finish +3/3 done$", status, re.MULTILINE), status


def test_opencue_job_that_was_stopped_goes_on(opencue: Path, shot: Path, tmp_path: Path, whole: VersionFolder) -> None:
    folder = tmp_path / "out" / "v001"
    said = ("--set", "user=artist", "--set", "frames_per_task=12")
    assert by_artist("submit", f"{shot}/plate", f"{shot}/roto", "-o", str(folder.parent), *said).returncode == 0
    until(lambda: any((folder / "plate").glob("void_*.exr")), opencue)
    assert by_artist("cancel", str(folder)).returncode == 0
    until(lambda: "running" not in by_artist("status", str(folder)).stdout, opencue)
    assert not (folder / "job.json").exists()
    open_gate()
    assert by_artist("again", str(folder)).returncode == 0
    until(lambda: (folder / "job.json").is_file(), opencue)
    assert same(VersionFolder(folder), whole)


def test_a_machine_without_opencues_client_says_so(
    wanted: Make, site: site.Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("outline", "opencue"):
        for module in [known for known in sys.modules if known.split(".")[0] == name]:
            monkeypatch.delitem(sys.modules, module)
        # as Python has it for what cannot be imported
        monkeypatch.setitem(sys.modules, name, None)
    job = planned(wanted(), site, "openjd")
    ids = {stage.name: "void-shot-artist_x" for stage in job.stages}
    (job.folder / "farm_submitted.json").write_text(
        json.dumps(dataclasses.asdict(Submitted("opencue", ids, taken=True)))
    )
    lacks = "OpenCue's pyoutline is not installed here"
    stands = standing.of(job)
    assert stands.state == "waiting"
    assert lacks in stands.wrong
    failures.note(job.folder, "finish", 1, JobFailed("the disk is full"))
    (failed,) = standing.of(job).failed
    assert (failed.message, failed.log) == ("the disk is full", "")
    with pytest.raises(SettingError, match=lacks):
        control.cancel(job, site)
    control.withdraw(job, site)
    with pytest.raises(SettingError, match=lacks):
        control.again(job, site)
    with pytest.raises(SettingError, match=lacks):
        planned(wanted(), site, "opencue")
