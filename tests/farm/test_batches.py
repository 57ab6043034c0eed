"""Shots that were submitted together: how they stand, one cancel and one "again" for all of them."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from void_server.api import notices as journal
from void_server.api.errors import JobFailed, SettingError
from void_server.api.home import home
from void_server.api.version import VersionFolder
from void_server.cli import main
from void_server.farm import batches, control, notices, standing
from void_server.farm.failures import note
from void_server.farm.job import FILE, FarmJob
from void_server.farm.plan import plan
from void_server.farm.schedulers.base import Submission, find
from void_server.farm.site import Site
from void_server.farm.submit import Submitted, hand_over, submit
from void_server.publishing import verification
from void_server.sample import write_sample

from .. import commands
from . import slurm_cluster
from .conftest import VOID, open_gate
from .jobs import Make, planned, until

pytestmark = pytest.mark.slow


def void(*words: str) -> subprocess.CompletedProcess[str]:
    return commands.void("farm", *words)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Two small shots."""
    file = tmp_path / "night shift.csv"
    lines = ["plate,roto,out,shot"]
    for name in ("sh010", "sh020"):
        write_sample(tmp_path / name, "walkby", (96, 54), range(1001, 1004))
        lines.append(f"{tmp_path}/{name}/plate,{tmp_path}/{name}/roto,{tmp_path}/out/{name},{name}")
    file.write_text("\n".join(lines))
    return file


@pytest.fixture
def emulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site with the EMULATOR of Deadline; what does its jobs."""
    program = Path(__file__).with_name("deadlinecommand")
    (tmp_path / "repository").mkdir()
    (tmp_path / "site.json").write_text(json.dumps({"scheduler": "deadline", "command": VOID}))
    monkeypatch.setenv("DEADLINE_PATH", str(program.parent))
    monkeypatch.setenv("DEADLINE_EMULATOR", str(tmp_path / "repository"))
    monkeypatch.setenv("VOID_FARM_SETTINGS", str(tmp_path / "site.json"))
    return program


def test_a_batch_is_followed_and_only_what_failed_is_done_again(emulated: Path, table: Path, tmp_path: Path) -> None:
    done = void("submit", "--batch", str(table))
    assert done.returncode == 0, done.stderr
    assert "void farm status --batch night_shift" in done.stdout
    waiting = void("status", "--batch", "night_shift")
    assert (waiting.returncode, waiting.stdout.splitlines()[0]) == (0, "2 waiting")
    # a disk that is gone
    roto = tmp_path / "sh020" / "roto"
    roto.rename(tmp_path / "elsewhere")
    subprocess.run([str(emulated), "-Run"], capture_output=True, check=False)
    told = void("status", "--batch", "night_shift")
    assert told.returncode == 1
    first, failed, *rest = told.stdout.splitlines()
    assert first == "1 failed, 1 done"
    assert failed.split()[:3] == ["sh020", "failed", "0/4"]
    assert "1 failed" in failed
    assert str(tmp_path / "out" / "sh020" / "v001") in failed
    assert "check task 0 failed on" in rest[0]
    assert f"The roto {roto} is not there" in rest[0]
    record = home() / "batches" / "night_shift.json"
    said = json.loads(void("status", "--batch", str(record), "--json").stdout)
    states = {job["shot"]: (job["state"], job["tasks"]) for job in said["jobs"]}
    assert states == {
        "sh010": ("done", {"done": 4, "failed": 0, "of": 4}),
        "sh020": ("failed", {"done": 0, "failed": 1, "of": 4}),
    }
    (tmp_path / "elsewhere").rename(roto)
    before = len(list((tmp_path / "repository").iterdir()))
    again = void("again", "--batch", "night_shift")
    assert again.returncode == 0, again.stderr
    assert "sh010" not in again.stdout
    assert len(list((tmp_path / "repository").iterdir())) == before + 4
    subprocess.run([str(emulated), "-Run"], capture_output=True, check=False)
    assert void("status", "--batch", "night_shift").stdout.splitlines()[0] == "2 done"
    assert void("again", "--batch", "night_shift").stdout == "nothing of the batch has failed or was stopped\n"


def test_a_batch_is_stopped_at_once_and_goes_on(emulated: Path, table: Path) -> None:
    assert void("submit", "--batch", str(table)).returncode == 0
    stopped = void("cancel", "--batch", "night_shift")
    assert stopped.returncode == 0, stopped.stderr
    assert "2 jobs stopped" in stopped.stdout
    # stopped on purpose is no failure
    told = void("status", "--batch", "night_shift")
    assert (told.returncode, told.stdout.splitlines()[0]) == (0, "2 stopped")
    assert void("again", "--batch", "night_shift").returncode == 0
    subprocess.run([str(emulated), "-Run"], capture_output=True, check=False)
    assert void("status", "--batch", "night_shift").stdout.splitlines()[0] == "2 done"


def test_two_batches_of_one_table_have_names_of_their_own(tmp_path: Path) -> None:
    site = Site(batches=tmp_path)
    names = [batches.begin("night shift", site).name for _ in range(2)]
    assert names == ["night_shift", "night_shift_2"]
    with pytest.raises(SettingError, match=r"no batch 'day'; there are night_shift, night_shift_2"):
        batches.find("day", site)
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(SettingError, match="is no record of a batch"):
        batches.find("x", site)


def test_a_batch_that_was_refused_leaves_no_record(wanted: Make, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SettingError, match="install"):
        submit([wanted(), wanted()], site, "slurm", batch="night")
    assert not list(site.batches.glob("*"))


def test_a_job_or_a_batch_must_be_named() -> None:
    for words in (["status"], ["cancel"], ["again"], ["status", "out/v001", "--batch", "x"]):
        done = void(*words)
        assert done.returncode == 2
        assert "Name a job's version folder, or a batch with --batch: one of them." in done.stderr


def test_the_log_of_a_task_that_failed_is_named_with_its_last_lines(
    wanted: Make, site: Site, shot: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(shot, tmp_path / "copy")
    one = wanted(retries=0)
    asked = dataclasses.replace(one.shot, plate=str(copy / "plate"))
    job = planned(dataclasses.replace(one, shot=asked), site, "local")
    (copy / "plate" / "plate.1003.exr").write_bytes(b"no picture")
    with pytest.raises(JobFailed, match="A task failed"):
        hand_over(job, Submission(), site, "local", "group")
    told = void("status", str(job.folder))
    assert told.returncode == 1
    assert f"log: {job.folder}/logs/quadmask_0.log" in told.stdout
    assert "| void: On " in told.stdout
    assert "plate.1003.exr" in told.stdout


def test_the_logs_of_a_job_are_no_part_of_its_version(wanted: Make, site: Site) -> None:
    """They grow after the version is signed."""
    ((job, _),) = submit([wanted()], site, "local")
    assert (job.folder / "logs" / "report_0.log").is_file()
    assert list(verification.differences(VersionFolder(job.folder))) == []


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if reason := slurm_cluster.lacking():
        pytest.skip(f"{reason}: Slurm was not tested")
    with slurm_cluster.running(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


def test_slurm_knows_how_a_batch_stands_and_where_its_logs_are(
    cluster: dict[str, str], table: Path, gated: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, cluster[name])
    (tmp_path / "site.json").write_text(
        json.dumps({"scheduler": "slurm", "command": gated.command, "environment": gated.environment})
    )
    monkeypatch.setenv("VOID_FARM_SETTINGS", str(tmp_path / "site.json"))
    open_gate()
    fields = [word for text in ("cores=1", "memory_gb=1", "retries=0") for word in ("--set", text)]
    assert void("submit", "--batch", str(table), *fields, "--set", "suspended=yes").returncode == 0
    # a frame that cannot be read is found by the quadmask's task, not by the first
    (tmp_path / "sh020" / "plate" / "plate.1002.exr").write_bytes(b"no picture")
    jobs = [FarmJob.read(tmp_path / "out" / name / "v001" / FILE) for name in ("sh010", "sh020")]
    for job in jobs:
        ids = json.loads((job.folder / "farm_submitted.json").read_text())["ids"]
        subprocess.run(["scontrol", "release", ",".join(ids.values())], check=True, env=dict(os.environ))
    until(lambda: {standing.of(job).state for job in jobs} == {"done", "failed"})
    told = void("status", "--batch", "night_shift")
    assert told.returncode == 1
    assert "1 failed, 1 done" in told.stdout
    assert "quadmask task 0 failed on" in told.stdout
    assert f"log: {jobs[1].folder}/logs/quadmask_0.log" in told.stdout
    assert "| void: On " in told.stdout


def test_a_job_that_its_scheduler_gave_up_is_not_running_for_ever(
    cluster: dict[str, str], wanted: Make, gated: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a task that was killed for its memory, and could not say why."""
    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, cluster[name])
    ((job, submission),) = submit([wanted(frames_per_task=12, cores=1, memory_gb=1)], gated, "slurm")
    until(lambda: any((job.folder / "plate").glob("void_*.exr")))
    subprocess.run(["scancel", "--signal=KILL", "--full", submission.ids["finish"]], check=True)
    until(lambda: standing.of(job).state == "failed")
    (failed,) = standing.of(job).failed
    assert failed.message == "slurm has ended the job without finishing finish; its log says why."
    assert failed.log == f"{job.folder}/logs/finish_0.log"
    # a failure that a task itself has told is told instead
    note(job.folder, "finish", 0, SettingError("it said so"))
    assert [one.message for one in standing.of(job).failed] == ["it said so"]


def refused(wanted: Make, site: Site, monkeypatch: pytest.MonkeyPatch) -> FarmJob:
    """A job whose second hand-over its scheduler did not take."""
    job = planned(wanted(), site, "deadlinecloud")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SettingError, match="install its client"):
        hand_over(job, Submission(), site, "deadlinecloud", "group")
    return job


def test_what_a_scheduler_did_not_take_is_handed_over_again_and_not_stopped(
    wanted: Make, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = refused(wanted, site, monkeypatch)
    with pytest.raises(SettingError, match=rf"gave no number to {job.folder}.*go on with: void farm again"):
        control.cancel(job, site)
    found = standing.of(job)
    assert found.state == "failed"
    assert found.failed[0].message.startswith("deadlinecloud does not have the job; hand it over with: void farm again")
    control.withdraw(job, site)
    with pytest.raises(SettingError, match="install its client"):
        control.again(job, site)
    control.withdraw(job, site, "local")
    control.again(job, site, "local")
    assert standing.of(job).state == "done"


def test_the_record_of_a_batch_names_what_is_there_and_what_is_missing_stops_no_other(
    wanted: Make,
) -> None:
    failing = 'case "$*" in */v002/*) exit 1;; esac; exec "$@"'
    site = Site(command=("/bin/sh", "-c", failing, "void", *VOID))
    with pytest.raises(JobFailed, match="A task failed"):
        submit([wanted(frames_per_task=12)] * 3, site, "local", batch="night")
    batch = batches.find("night", site)
    assert [folder.name for folder in batch.folders] == ["v001", "v002"], "the third was taken back"
    told = void("status", "--batch", "night")
    assert told.stdout.splitlines()[0] == "1 waiting, 1 done", told.stderr
    shutil.rmtree(batch.folders[0])
    told = void("status", "--batch", "night")
    assert told.stdout.splitlines()[0] == "1 waiting"
    assert f"{batch.folders[0]}, a version of the batch night, is missing." in told.stderr
    shutil.rmtree(batch.folders[1])
    assert void("status", "--batch", "night").returncode == 2


@pytest.mark.parametrize(
    ("reason", "code", "left"),
    [("kill -TERM $PPID; exec sleep 600", 143, "2 failed"), ("exit 1", 1, "1 failed, 1 waiting")],
    ids=["interrupted", "refused"],
)
def test_what_was_withdrawn_and_not_handed_over_has_failed_and_is_taken_by_the_next_again(
    emulated: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str, code: int, left: str
) -> None:
    assert void("submit", "--batch", str(table)).returncode == 0
    assert void("cancel", "--batch", "night_shift").returncode == 0
    # Deadline, when the first of the jobs comes
    program = tmp_path / "deadline" / "deadlinecommand"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\ncase "$*" in */out/sh010/*) {reason};; esac\nexec {emulated} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("DEADLINE_PATH", str(program.parent))
    # a process of its own: it is interrupted by its child
    assert subprocess.run([*VOID, "farm", "again", "--batch", "night_shift"], check=False).returncode == code
    told = void("status", "--batch", "night_shift")
    assert (told.returncode, told.stdout.splitlines()[0]) == (1, left)
    assert "It was withdrawn, and not handed over again; use: void farm again" in told.stdout
    monkeypatch.setenv("DEADLINE_PATH", str(emulated.parent))
    assert void("again", "--batch", "night_shift").returncode == 0
    assert void("status", "--batch", "night_shift").stdout.splitlines()[0] == "2 waiting"


@pytest.mark.usefixtures("emulated")
def test_what_was_handed_over_has_not_failed_though_nobody_could_be_told(table: Path) -> None:
    """Such as a pipe whose reader has gone."""
    assert void("submit", "--batch", str(table)).returncode == 0
    assert void("cancel", "--batch", "night_shift").returncode == 0
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb") as closed:
        # unbuffered: the first job's line fails, and the second is not handed over
        command = [VOID[0], "-u", *VOID[1:], "farm", "again", "--batch", "night_shift"]
        subprocess.run(command, stdout=closed, stderr=subprocess.DEVNULL, check=False)
    told = void("status", "--batch", "night_shift").stdout.splitlines()
    assert told[0] == "1 failed, 1 waiting"
    assert told[1].split()[:2] == ["sh020", "failed"]


def test_a_job_whose_withdrawal_was_interrupted_has_failed(
    wanted: Make, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = planned(wanted(), site, "openjd")
    hand_over(job, Submission(), site, "openjd", "group")

    def interrupted(_: FarmJob) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(notices, "forget", interrupted)
    monkeypatch.setattr(sys, "argv", ["void", "farm", "again", str(job.folder)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    (failed,) = standing.of(job).failed
    assert failed.message.startswith("It was withdrawn, and not handed over again; use: void farm again")


def test_what_is_being_handed_over_is_not_lost_until_that_takes_too_long(
    wanted: Make, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a batch, all jobs are withdrawn before the first is handed over."""
    job = refused(wanted, site, monkeypatch)
    assert standing.of(job).state == standing.FAILED
    control.withdraw(job, site)
    assert standing.of(job).state == standing.WAITING
    monkeypatch.setattr(time, "time", lambda now=time.time: now() + 24 * 3600)
    assert standing.of(job).state == standing.FAILED


@pytest.mark.parametrize("scheduler", ["deadline", "slurm"])
def test_a_scheduler_that_took_a_job_and_gave_no_number_has_it(
    wanted: Make, site: Site, monkeypatch: pytest.MonkeyPatch, scheduler: str
) -> None:
    job = planned(wanted(), site, "openjd")
    monkeypatch.setattr(type(find(scheduler)), "submit", lambda *_, **__: None)
    hand_over(job, Submission(), site, scheduler, "group")
    found = standing.of(job)
    assert (found.state, found.failed) == (standing.WAITING, ())


def test_of_a_batch_all_failures_are_forgotten_before_the_first_job_is_handed_over(
    wanted: Make, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site.json").write_text(json.dumps({"command": VOID}))
    monkeypatch.setenv("VOID_FARM_SETTINGS", str(tmp_path / "site.json"))
    batch = batches.begin("night", site)
    one = wanted(frames_per_task=12)
    jobs = [plan(one.shot, one.fields).begin(one.out, str(batch.file)) for _ in range(2)]
    batch.holding(tuple(job.folder for job in jobs))
    for job in jobs:
        (job.folder / "farm_submitted.json").write_text(json.dumps(dataclasses.asdict(Submitted("local"))))
        note(job.folder, "check", 0, SettingError("a disk was gone"))
    again = void("again", "--batch", "night")
    assert again.returncode == 0, again.stderr
    told = [one["event"] for one in reversed(journal.latest(9))]
    assert told == ["job_done", "job_done", "batch_done"], "the first job took the second for one that has failed"
