"""Deadline 10, with an EMULATOR of deadlinecommand."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from void_server.api.errors import JobFailed
from void_server.api.version import VersionFolder
from void_server.farm import site
from void_server.farm.job import FarmJob
from void_server.farm.schedulers import deadline
from void_server.farm.submit import submit

from .conftest import same
from .jobs import Make, handed, planned, results_of

pytestmark = pytest.mark.slow


@pytest.fixture
def emulated_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = Path(__file__).with_name("deadlinecommand")
    (tmp_path / "repository").mkdir()
    monkeypatch.setenv("DEADLINE_PATH", str(program.parent))
    monkeypatch.setenv("DEADLINE_EMULATOR", str(tmp_path / "repository"))
    return program


def test_emulated_deadline_takes_and_does_the_job(
    emulated_deadline: Path, wanted: Make, site: site.Site, whole: VersionFolder
) -> None:
    ((job, submission),) = submit([wanted(priority=60, pool="gpu", comment="two\nlines")], site, "deadline")
    assert len(set(submission.ids.values())) == 4
    done = subprocess.run([str(emulated_deadline), "-Run"], capture_output=True, text=True, check=False)
    assert done.stdout.count(" Completed") == 4, done.stdout + done.stderr
    assert "Progress: " in done.stdout
    assert same(results_of(job), whole)
    scheduler, ids = handed(job)
    assert set(scheduler.states(ids).values()) == {"Completed"}
    info = (job.folder / "deadline" / "finish.job").read_text()
    assert "Comment=two lines\n" in info
    assert f"JobDependencies={submission.ids['quadmask']}\n" in info
    assert "Frames=0-2\n" in info


@pytest.mark.usefixtures("emulated_deadline")
def test_emulated_deadline_refuses_and_nothing_stays(
    wanted: Make, site: site.Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = deadline.write_files

    def spoiled(job: FarmJob, stage: Any, *rest: Any) -> tuple[Path, Path]:
        files = write(job, stage, *rest)
        if stage.name == "finish":
            files[0].write_text(files[0].read_text() + "Colour=red\n")
        return files

    monkeypatch.setattr(deadline, "write_files", spoiled)
    one = wanted()
    with pytest.raises(JobFailed, match=r"Deadline refused: .*Colour=red"):
        submit([one], site, "deadline")
    assert list(one.out.glob("*")) == []
    begun = [json.loads(job.read_text())["status"] for job in Path(os.environ["DEADLINE_EMULATOR"]).iterdir()]
    assert begun == ["Failed", "Failed"], "what was handed over already is taken back"


def test_emulated_deadline_maps_the_paths_of_a_windows_machine(
    emulated_deadline: Path, wanted: Make, site: site.Site, whole: VersionFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = planned(wanted(), site, "deadline")
    monkeypatch.setenv("DEADLINE_EMULATOR_MAP", "P:\\=/")
    data = json.loads(job.file.read_text())
    data["shot"] |= {role: as_on_windows(data["shot"][role]) for role in ("plate", "roto")}
    job.file.write_text(json.dumps(data))
    for stage in job.stages:
        info, plugin = deadline.write_files(job, stage, site, [], "group")
        plugin.write_text(
            plugin.read_text().replace(f"--job {job.file}", f"--job <QUOTE>{as_on_windows(job.file)}<QUOTE>")
        )
        subprocess.run([str(emulated_deadline), str(info), str(plugin)], check=True, capture_output=True)
    done = subprocess.run([str(emulated_deadline), "-Run"], capture_output=True, text=True, check=False)
    assert done.stdout.count(" Completed") == 4, done.stdout + done.stderr
    assert same(results_of(job), whole)


def as_on_windows(path: Path | str) -> str:
    """A path as a machine writes it that has our root as its drive P."""
    return "P:" + str(path).replace("/", "\\")
