"""A farm job done task by task: equal to the whole, done once, stopped and taken up."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from void_server import pipeline
from void_server.api.errors import InputError, JobCancelled, JobFailed, SettingError
from void_server.api.files import replacing
from void_server.api.job import Progress
from void_server.api.shot import Shot
from void_server.api.version import REMOVAL, VersionFolder
from void_server.cli import main
from void_server.engines.cleanplate import still
from void_server.engines.clip import Clip
from void_server.farm import failures, site
from void_server.farm.fields import Fields
from void_server.farm.job import Export
from void_server.farm.plan import plan
from void_server.farm.submit import submit
from void_server.farm.tasks import run
from void_server.imaging import exr
from void_server.imaging.camera import Camera
from void_server.imaging.trajectories import Trajectories
from void_server.imaging.window import Window
from void_server.sample import write_sample
from void_server.service.embedded import embedded_server

from .conftest import VOID, open_gate, same
from .jobs import Make, as_it_is, do, planned, results_of, until

pytestmark = pytest.mark.slow


def test_a_job_in_tasks_is_the_job(wanted: Make, site: site.Site, whole: VersionFolder) -> None:
    ((job, submission),) = submit([wanted()], site, "local")
    assert [(stage.name, stage.tasks) for stage in job.stages] == [
        ("check", 1),
        ("quadmask", 1),
        ("finish", 3),
        ("report", 1),
    ]
    assert len(submission.commands) == 6
    assert same(results_of(job), whole)
    one, other = (json.loads((results.folder / "job.json").read_text()) for results in (results_of(job), whole))
    assert {key: one[key] for key in ("frames", "classes", "warnings")} == {
        key: other[key] for key in ("frames", "classes", "warnings")
    }
    assert run.state(job) == {"check": (1, 1), "quadmask": (1, 1), "finish": (3, 3), "report": (1, 1)}
    assert not results_of(job).intermediate.exists()


def test_what_killed_tasks_left_goes_last_and_not_while_others_write(wanted: Make, site: site.Site) -> None:
    job = planned(wanted(), site)
    do(job, "quadmask")
    # as another task that is writing, or one that was killed
    with replacing(results_of(job).plate(1001)) as temporary:
        temporary.parent.mkdir()
        temporary.touch()
        do(job, "quadmask")
        for number in range(job.stage("finish").tasks):
            do(job, "finish", number)
        assert temporary.is_file()
        left = temporary.with_name(temporary.name.replace("1001", "1002"))
        temporary.rename(left)
        do(job, "report")
        assert not left.exists()
        shutil.copy(results_of(job).plate(1001), temporary)


def test_tasks_that_are_done_do_nothing(wanted: Make, site: site.Site) -> None:
    job = planned(wanted(), site)
    do(job, "quadmask")
    do(job, "finish", 1)
    times = {path: path.stat().st_mtime_ns for path in job.folder.rglob("*.exr")}
    assert do(job, "finish", 1) == []
    do(job, "quadmask")
    assert times == {path: path.stat().st_mtime_ns for path in job.folder.rglob("*.exr")}
    assert run.state(job)["finish"] == (1, 3)


def test_a_task_before_its_time_says_so(wanted: Make, site: site.Site) -> None:
    job = planned(wanted(), site)
    with pytest.raises(JobFailed, match=r"quadmask of .* does not exist yet"):
        do(job, "finish")
    do(job, "quadmask")
    with pytest.raises(JobFailed, match=r"Frame 1001 is missing in .* \(12 in all\)"):
        do(job, "report")
    with pytest.raises(InputError, match="has tasks 0 to 2, and no 3"):
        do(job, "finish", 3)
    with pytest.raises(SettingError, match="no stage 'bake', only check, quadmask, finish, report"):
        do(job, "bake")


def test_sigterm_leaves_what_is_done_and_the_task_goes_on(wanted: Make, gated: site.Site, whole: VersionFolder) -> None:
    job = planned(wanted(frames_per_task=12), gated)
    command = [*gated.command, "farm", "run", "--job", str(job.file)]
    subprocess.run([*command, "--stage", "quadmask"], check=True, capture_output=True)
    task = subprocess.Popen([*command, "--stage", "finish"], stdout=subprocess.PIPE, text=True)
    assert task.stdout is not None
    for line in task.stdout:
        if "Rewriting, frame" in line:
            task.send_signal(signal.SIGTERM)
            break
    task.communicate(timeout=60)
    assert task.returncode == failures.STOPPED
    made = sorted((job.folder / "plate").glob("void_*.exr"))
    assert 0 < len(made) < 12
    times = {path: path.stat().st_mtime_ns for path in made}
    open_gate()
    for stage in ("finish", "report"):
        subprocess.run([*command, "--stage", stage], check=True, capture_output=True)
    assert times == {path: path.stat().st_mtime_ns for path in made}
    assert same(results_of(job), whole)


def test_a_failure_is_tried_again_but_wrong_input_is_not(
    wanted: Make, site: site.Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "_FIRST_PAUSE", 0.0)
    job = planned(wanted(), site)
    calls: list[int] = []

    def failing(*_: Any) -> tuple[str, ...]:
        calls.append(1)
        if len(calls) < 3:
            raise OSError("the disk hiccuped")
        return ("warned",)

    monkeypatch.setattr(run, "run_part", failing)
    assert run.run_tasks(job, "quadmask", (0,), as_it_is, lambda _: None, retries=2) == ("warned",)
    calls.clear()
    with pytest.raises(OSError, match="hiccuped"):
        run.run_tasks(job, "quadmask", (0,), as_it_is, lambda _: None, retries=1)
    monkeypatch.setattr(run, "run_part", lambda *_: calls.append(1) or _raise(SettingError("wrong")))
    calls.clear()
    with pytest.raises(SettingError, match="wrong"):
        run.run_tasks(job, "quadmask", (0,), as_it_is, lambda _: None, retries=5)
    assert len(calls) == 1


def _raise(error: Exception) -> tuple[str, ...]:
    raise error


def test_the_model_is_a_task_of_its_own_on_a_gpu(wanted: Make, site: site.Site) -> None:
    job = planned(wanted({"engine": "void"}), site)
    assert [(stage.name, stage.kind, stage.after) for stage in job.stages] == [
        ("check", "cpu", ()),
        ("check_gpu", "gpu", ()),
        ("quadmask", "cpu", ("check",)),
        ("remove", "gpu", ("quadmask", "check_gpu")),
        ("finish", "cpu", ("remove",)),
        ("report", "cpu", ("finish",)),
    ]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("openjd", ["openjd_progress: 50.0", "openjd_status: Rewriting, frame 1003"]),
        ("deadline", ["Progress: 50%", "Rewriting, frame 1003"]),
        ("plain", [" 50 % Rewriting, frame 1003"]),
    ],
)
def test_progress_is_printed_as_schedulers_read_it(
    form: str, expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    say = run.printer(form)
    for _ in range(2):
        say(Progress("Rewriting", 1003, 0.5, None))
    assert capsys.readouterr().out.splitlines() == expected


def test_the_log_says_once_what_a_job_sends_and_where(capsys: pytest.CaptureFixture[str]) -> None:
    say = run.printer("plain")
    for fraction in (0.1, 0.1, 0.5):
        say(Progress("Finding what is affected", None, fraction, None, "frames 1001 (90 kB), to qwen at gpu01:8000"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "sending frames 1001 (90 kB), to qwen at gpu01:8000"
    assert len(lines) == 3


def test_a_server_does_all_of_a_job(wanted: Make, site: site.Site, whole: VersionFolder) -> None:
    one = wanted()
    with embedded_server([Path(one.shot.plate).parent, one.out]) as address:
        ((job, _),) = submit([one], site, "openjd", address, dry_run=True)
        assert [stage.name for stage in job.stages] == ["check", "serve"]
        do(job, "serve")
        assert same(results_of(job), whole)
        # once more is nothing
        assert do(job, "serve") == []


def test_what_makes_pairs_is_loaded_for_pairs_alone() -> None:
    """Each task is a process, which waited for it."""
    code = "import sys, void_server.farm.submit, void_server.farm.tasks.run; print('void_server.pairs' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def test_a_stopped_export_ends_nuke(wanted: Make, tmp_path: Path) -> None:
    """SIGTERM must not leave a Nuke behind that holds a licence, though a studio's script has started it."""
    wrapper, pid = tmp_path / "nuke", tmp_path / "pid"
    sleeping = f"import os, pathlib, time; pathlib.Path({str(pid)!r}).write_text(str(os.getpid())); time.sleep(600)"
    wrapper.write_text(f'#!/bin/sh\n{sys.executable} -c "{sleeping}"\necho done\n')
    wrapper.chmod(0o755)
    (tmp_path / "copy.nk").write_text("")
    patterns = {"plate": str(tmp_path / "source" / "plate.%04d.exr")}
    one = dataclasses.replace(wanted().shot, plate=patterns["plate"], frames="1001-1003")
    names = str(tmp_path / "copy.nk"), "/show/sh010.nk", "VOID_Remove1", "main"
    export = Export(*names, patterns, "16 bit half", (str(wrapper), "-t"))
    job = plan(one, Fields(), export=export).begin(tmp_path / "out")
    assert [stage.name for stage in job.stages] == ["check", "export", "quadmask", "finish", "report"]

    def stop(_: Progress) -> None:
        if pid.is_file() and pid.read_text():
            raise JobCancelled("stop")

    with pytest.raises(JobCancelled):
        run.run_tasks(job, "export", (0,), as_it_is, stop)
    assert not psutil.pid_exists(int(pid.read_text()))


def test_what_was_just_exported_elsewhere_is_waited_for(
    wanted: Make, shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network disk may not show yet what another machine has written."""
    monkeypatch.setattr(run, "_FIRST_PAUSE", 0.0)
    (tmp_path / "copy.nk").write_text("")
    there = tmp_path / "source"
    one = dataclasses.replace(wanted().shot, plate=str(there / "plate.%04d.exr"), frames="1001-1012")
    names = str(tmp_path / "copy.nk"), "/show/sh010.nk", "VOID_Remove1", "main"
    export = Export(*names, {"plate": one.plate}, "16 bit half", ("nuke",))
    job = plan(one, Fields(), export=export).begin(tmp_path / "out")
    attempts: list[float] = []

    def wait(seconds: float, _: Any) -> None:
        attempts.append(seconds)
        if len(attempts) == 2:
            there.symlink_to(shot / "plate")

    monkeypatch.setattr(run, "_wait", wait)
    do(job, "quadmask")
    assert len(attempts) == 2


@pytest.mark.parametrize("kind", ["walkby", "handheld"])
def test_what_all_frames_need_is_made_once(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the quadmask; tasks that finish frames only take it up, and make the same frames."""
    write_sample(tmp_path / "shot", kind, (192, 108), range(1001, 1007))
    one = Shot(str(tmp_path / "shot" / "plate"), str(tmp_path / "shot" / "roto"))
    whole = tmp_path / "whole"
    whole.mkdir()
    pipeline.run("0123456789ab", one, whole, lambda _: None)
    job = plan(one, Fields(frames_per_task=3)).begin(tmp_path / "out")
    do(job, "quadmask")

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("this was done already")

    for place, name in ((Camera, "track"), (Trajectories, "_measure"), (still, "clean_plate")):
        monkeypatch.setattr(place, name, never)
    for task in (1, 0):
        do(job, "finish", task)
    for frame in range(1001, 1007):
        for sequence in REMOVAL:
            made, expected = (VersionFolder(folder).frame(sequence, frame) for folder in (job.folder, whole))
            window = exr.windows(expected)[0]
            assert exr.windows(made)[0] == window
            names = exr.channel_names(expected)
            assert np.array_equal(*(exr.read_channels(path, names, window) for path in (made, expected)))


def test_status_tells_which_task_failed_and_why(wanted: Make, site: site.Site) -> None:
    job = planned(wanted(), site)
    status = [*VOID, "farm", "status", str(job.folder)]
    with pytest.raises(JobFailed):
        do(job, "finish", 1)
    (failure,) = failures.told(job.folder, {"finish": 3})["finish"].values()
    assert failure.message == f"The quadmask of {job.folder} does not exist yet; run that stage first."
    done = subprocess.run(status, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"finish task 1 failed on {failure.host}: The quadmask of" in done.stdout
    do(job, "quadmask")
    do(job, "finish", 1)
    assert not any(failures.told(job.folder, {"finish": 3}).values())
    assert subprocess.run(status, capture_output=True, text=True, check=False).returncode == 0


def test_ctrl_c_says_how_to_go_on(wanted: Make, gated: site.Site, tmp_path: Path) -> None:
    one = wanted()
    settings = tmp_path / "site.json"
    settings.write_text(json.dumps({"command": gated.command, "environment": gated.environment}))
    words = ["farm", "submit", one.shot.plate, one.shot.roto, "-o", str(one.out), "--scheduler", "local"]
    variables = {**os.environ, "VOID_FARM_SETTINGS": str(settings)}
    running = subprocess.Popen(
        [*VOID, *words],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until(lambda: any((one.out / "v001" / "plate").glob("void_*.exr")))
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=300)
    assert running.returncode == 130
    assert f"continue with: void farm again {one.out / 'v001'}" in said


def test_a_later_task_opens_only_the_frames_that_it_needs(
    wanted: Make, site: site.Site, whole: VersionFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the headers say, the first task keeps; a thousand frames are not opened by each of a hundred tasks."""
    job = planned(wanted(frames_per_task=2), site)
    do(job, "quadmask")
    opened: list[Path] = []
    really = exr._opened

    def counting(path: Path) -> Any:
        opened.append(path)
        return really(path)

    monkeypatch.setattr(exr, "_opened", counting)
    do(job, "finish", 2)
    given = {Path(job.shot.plate), Path(job.shot.roto)}
    assert {path.name.split(".")[1] for path in opened if path.parent in given} == {"1005", "1006"}
    for task in range(6):
        do(job, "finish", task)
    do(job, "report")
    assert same(results_of(job), whole)


@pytest.mark.parametrize("kind", ["walkby", "handheld"])
def test_the_rewritten_pixels_of_a_frame_are_found_once(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the engine asks for them, and then the compositor for the mattes and for the plate."""
    write_sample(tmp_path / "shot", kind, (192, 108), range(1001, 1007))
    one = Shot(str(tmp_path / "shot" / "plate"), str(tmp_path / "shot" / "roto"))
    job = plan(one, Fields(frames_per_task=3)).begin(tmp_path / "out")
    do(job, "quadmask")
    regions = [
        Window(*sides) for sides in json.loads((VersionFolder(job.folder).intermediate / "regions.json").read_text())
    ]
    asked: list[tuple[int, Window]] = []
    really = Clip._read

    def counting(self: Clip, index: int, window: Window) -> Any:
        asked.append((index, window))
        return really(self, index, window)

    monkeypatch.setattr(Clip, "_read", counting)
    do(job, "finish", 1)
    assert not any(region.empty for region in regions[3:])
    assert [asked.count((index, regions[index])) for index in (3, 4, 5)] == [1, 1, 1]


def test_a_task_that_memory_does_not_suffice_for_says_so(
    wanted: Make, site: site.Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = planned(wanted(), site)

    def starved(*_: object) -> tuple[str, ...]:
        raise MemoryError

    monkeypatch.setattr(run, "_done", starved)
    monkeypatch.setattr(sys, "argv", ["void", "farm", "run", "--job", str(job.file), "--stage", "check"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "MemoryError()" in capsys.readouterr().err
    assert [why.message for why in failures.told(job.folder, {"check": 1})["check"].values()] == ["MemoryError()"]
