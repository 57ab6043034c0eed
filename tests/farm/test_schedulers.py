"""Schedulers are plug-ins: found by their entry points, asked before anything is handed over."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from void_server import plugins
from void_server.api.errors import SettingError
from void_server.farm.schedulers import slurm
from void_server.farm.schedulers.base import Scheduler, find
from void_server.farm.schedulers.deadline import Deadline
from void_server.farm.site import Site, load
from void_server.farm.submit import submit, submitted

from .conftest import VOID
from .jobs import Make, planned

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "farm.md"
# what the guide's scheduler may have besides
OPTIONS = """

from void_server.farm.site import Options


class QubeOptions(Options):
    supervisor: str = ""


Qube.options = QubeOptions
"""


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The guide's scheduler in a package of its own, installed beside its client; returns where."""
    there = tmp_path / "site-packages"
    info = there / "studio_farm-1.0.dist-info"
    info.mkdir(parents=True)
    (example,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    (there / "studio_farm.py").write_text(example + OPTIONS)
    client = tmp_path / "bin" / "qbsub"
    client.parent.mkdir()
    client.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\nwc -l < {tmp_path}/asked\n')
    client.chmod(0o755)
    monkeypatch.setenv("PATH", f"{client.parent}{os.pathsep}{os.environ['PATH']}")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: studio-farm\nVersion: 1.0\n")
    points = "[void_server.schedulers]\nqube = studio_farm:Qube\nold = studio_farm_old:Old\n"
    (info / "entry_points.txt").write_text(points)
    monkeypatch.setenv("PYTHONPATH", f"{there}{os.pathsep}{Path(__file__).parents[2]}")
    file = tmp_path / "farm.json"
    file.write_text(json.dumps({"scheduler": "qube", "options": {"qube": {"supervisor": "qb01"}}}))
    monkeypatch.setenv("VOID_FARM_SETTINGS", str(file))
    return there


def void(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*VOID, "farm", *words], capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.usefixtures("studio")
def test_a_scheduler_from_another_package_works(shot: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = void("submit", f"{shot}/plate", f"{shot}/roto", "-o", str(out), "--set", "priority=70", "--json")
    assert done.returncode == 0, done.stderr
    (job,) = json.loads(done.stdout)["jobs"]
    assert job["ids"] == {"check": "1", "quadmask": "2", "finish": "3", "report": "4"}
    asked = (tmp_path / "asked").read_text().splitlines()
    assert all("--priority=70 " in line and str(out / "v001" / "farm.json") in line for line in asked)
    assert json.loads((out / "v001" / "farm_submitted.json").read_text())["scheduler"] == "qube"
    done = void("submit", f"{shot}/plate", f"{shot}/roto", "-o", str(out), "--scheduler", "qube", "--dry-run")
    assert "--priority=70 --waitfor=<quadmask>" in done.stdout.replace("'", "")
    assert len((tmp_path / "asked").read_text().splitlines()) == 4
    # it has none of the optional hooks
    done = void("status", str(out / "v001"))
    assert done.returncode == 0, done.stderr
    assert "quadmask   0/1 done" in done.stdout
    done = void("cancel", str(out / "v001"))
    assert done.returncode == 2
    assert "stopped where it runs" in done.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("studio")
def test_schedulers_are_listed_and_one_that_is_broken_hides_no_other() -> None:
    done = void("schedulers", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert set(said["expresses"]) == {"deadline", "deadlinecloud", "local", "opencue", "openjd", "qube", "slurm"}
    assert (said["scheduler"], said["run_here"]) == ("qube", ["local"])
    assert "priority" in said["expresses"]["qube"]
    assert "The scheduler 'old' cannot be loaded" in done.stderr


def test_a_schedulers_own_options_are_checked(studio: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(studio))
    file = Path(os.environ["VOID_FARM_SETTINGS"])
    try:
        assert load().options == {"qube": {"supervisor": "qb01"}}
        file.write_text(json.dumps({"options": {"qube": {"supervizor": "qb01"}}}))
        with pytest.raises(SettingError, match=r"there is no setting options.qube.supervizor; known are supervisor"):
            load()
    finally:
        sys.modules.pop("studio_farm", None)


def test_the_ones_that_come_with_void_are_plug_ins_too() -> None:
    for name in ("local", "openjd", "deadlinecloud", "deadline", "opencue", "slurm"):
        assert name in plugins.names(plugins.SCHEDULERS)
        assert isinstance(find(name), Scheduler)


@pytest.mark.parametrize("scheduler", ["deadline", "opencue", "openjd"])
def test_limits_are_checked_before_anything_is_handed_over(
    wanted: Make, site: Site, monkeypatch: pytest.MonkeyPatch, scheduler: str
) -> None:
    """A job whose last stage takes what cannot be taken sends nothing out, and neither do those before it."""
    handed: list[Any] = []
    kind = type(find(scheduler))
    monkeypatch.setattr(kind, "submit", lambda *given, **_: handed.append(given))
    good = wanted()
    bad = wanted({"engine": "void"}, limits={"a licence": 2})
    with pytest.raises(SettingError, match="limit"):
        submit([good, bad], site, scheduler)
    assert handed == []
    assert not good.out.exists()


def test_a_limit_of_two_is_named_for_schedulers_that_count_no_further() -> None:
    with pytest.raises(SettingError, match="Deadline takes one of a limit for each task, and void is 2; write void=1"):
        Deadline().check_limits({"void": 2})
    Deadline().check_limits({"void": 1})


def test_percent_signs_of_a_folder_are_not_slurms(wanted: Make, site: Site, tmp_path: Path) -> None:
    one = wanted()
    job = planned(type(one)(one.shot, tmp_path / "100%j", one.fields), site, "slurm")
    (output,) = (
        text for text in slurm.options(job, job.stage("quadmask"), site, "", []) if text.startswith("--output=")
    )
    assert output == f"--output={tmp_path}/100%%j/v001/logs/quadmask_%a.log"


@pytest.mark.slow
def test_a_job_is_not_stopped_for_a_scheduler_that_would_not_take_it(
    wanted: Make, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEADLINE_PATH", str(Path(__file__).parent))
    monkeypatch.setenv("DEADLINE_EMULATOR", str(tmp_path / "repository"))
    (tmp_path / "repository").mkdir()
    ((job, _),) = submit([wanted({"engine": "void"}, limits={"void": 1})], site, "deadline")
    states = find("deadline").states(submitted(job).ids)
    job.fields.limits["void"] = 2
    job.write()
    for name, sentence in (("deadline", "write void=1"), ("magic", "scheduler 'magic' is not installed")):
        done = void("again", str(job.folder), "--scheduler", name)
        assert done.returncode == 2
        assert sentence in done.stderr
    assert find("deadline").states(submitted(job).ids) == states
