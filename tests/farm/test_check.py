"""The first tasks of a job look whether the machines have what it needs, and say in a sentence what they lack."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from void_server.api.errors import JobFailed, NotPermitted, SettingError
from void_server.farm import failures
from void_server.farm.job import FarmJob
from void_server.farm.site import Site

from .conftest import VOID
from .jobs import Make, as_it_is, do, planned, results_of

pytestmark = pytest.mark.slow


def run_there(job: FarmJob, stage: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [*VOID, "farm", "run", "--job", str(job.file), "--stage", stage]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **variables})


def test_what_is_in_order_is_found_in_order(wanted: Make, site: Site) -> None:
    job = planned(wanted(), site)
    do(job, "check")
    from void_server.farm.tasks import run

    assert run.state(job)["check"] == (1, 1)


def test_another_version_of_the_package_is_told(wanted: Make, site: Site) -> None:
    job = dataclasses.replace(planned(wanted(), site), version="9.9")
    with pytest.raises(SettingError, match=r"is installed here, but the job was submitted with 9\.9; install the same"):
        do(job, "check")


def test_weights_that_are_missing_are_named_with_the_machine(
    wanted: Make, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("diffusers", reason="the extra void is not installed")
    (tmp_path / "weights").mkdir()
    monkeypatch.setenv("VOID_WEIGHTS", str(tmp_path / "weights"))
    job = planned(wanted({"engine": "void"}), site)
    # the model is of no concern to a machine that only finds quadmasks
    do(job, "check")
    done = run_there(job, "check_gpu")
    assert done.returncode == 2
    assert f"On {platform.node()}: The VOID model lacks {tmp_path}/weights/" in done.stderr
    status = subprocess.run([*VOID, "farm", "status", str(job.folder)], capture_output=True, text=True, check=False)
    assert f"check_gpu task 0 failed on {platform.node()}: The VOID model lacks {tmp_path}/weights/" in status.stdout
    assert status.returncode == 1


def test_a_plate_that_the_machine_does_not_see_is_named(wanted: Make, site: Site, shot: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(shot, tmp_path / "mounted")
    one = wanted()
    asked = dataclasses.replace(one.shot, plate=str(copy / "plate"), roto=str(copy / "roto" / "roto.%04d.exr"))
    job = planned(dataclasses.replace(one, shot=asked), site)
    do(job, "check")
    shutil.rmtree(copy / "roto")
    with pytest.raises(SettingError, match=r"The roto .*/mounted/roto/roto\.%04d\.exr is not there; mount its disk"):
        do(job, "check")


def test_a_version_folder_that_cannot_be_written_is_named(wanted: Make, site: Site) -> None:
    job = planned(wanted(), site)
    results_of(job).intermediate.write_text("a file where the tasks' folder should be")
    with pytest.raises(JobFailed, match=rf"{job.folder} cannot be written here .*; let the farm's user write there"):
        do(job, "check")


def test_a_package_that_cannot_be_loaded_is_named(wanted: Make, site: Site, tmp_path: Path) -> None:
    (tmp_path / "OpenImageIO.py").write_text("raise ImportError('libfmt.so.9 is missing', name='OpenImageIO')")
    job = planned(wanted(), site)
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    done = run_there(job, "check", PYTHONPATH=path)
    assert done.returncode == 2
    assert f"On {platform.node()}: The Python package OpenImageIO cannot be loaded (libfmt.so.9" in done.stderr
    assert "Traceback" not in done.stderr
    assert failures.told(job.folder, {"check": 1})["check"][0].message.startswith("The Python package OpenImageIO")


def test_what_the_policy_forbids_meanwhile_is_told_first(
    wanted: Make, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = planned(wanted({"engine": "void"}), site)
    (tmp_path / "policy.json").write_text(json.dumps({"generative": False}))
    monkeypatch.setenv("VOID_POLICY", str(tmp_path / "policy.json"))
    for stage in ("check", "check_gpu"):
        with pytest.raises(NotPermitted, match="forbids generated pixels, which the engine void makes"):
            do(job, stage)


def test_tasks_that_are_run_together_are_each_done(wanted: Make, site: Site) -> None:
    from void_server.farm.tasks import run

    job = planned(wanted(), site)
    do(job, "quadmask")
    assert run.run_tasks(job, "finish", (0, 1), as_it_is, lambda _: None) == ()
    assert run.state(job)["finish"] == (2, 3)
    results_of(job).survey.unlink()
    with pytest.raises(JobFailed, match="does not exist yet"):
        run.run_tasks(job, "finish", (1, 2), as_it_is, lambda _: None)
    # the second was done before
    assert list(failures.told(job.folder, {"finish": 3})["finish"]) == [2]
