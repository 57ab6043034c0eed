"""A process that does all tasks of a session: the same frames, one process, and no task lost with it."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Client
from pathlib import Path

import psutil
import pytest

from void_server.api.version import VersionFolder
from void_server.farm import site
from void_server.farm.failures import STOPPED
from void_server.farm.job import FarmJob
from void_server.farm.tasks import run
from void_server.farm.tasks import session as sessions

from .conftest import VOID, open_gate, same
from .jobs import Make, planned, results_of, until

pytestmark = pytest.mark.slow


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "session"
    folder.mkdir()
    begun = subprocess.run([*VOID, "farm", "session", "begin", str(folder)], capture_output=True, text=True, check=True)
    name, _, file = begun.stdout.removeprefix("openjd_env: ").strip().partition("=")
    assert name == sessions.ENVIRONMENT
    monkeypatch.setenv(name, file)
    yield folder
    subprocess.run([*VOID, "farm", "session", "end", str(folder)], check=True)
    assert not Path(file).exists()


def command(job: FarmJob, stage: str, task: int = 0) -> list[str]:
    return [*VOID, "farm", "run", "--job", str(job.file), "--stage", stage, "--task", str(task)]


def log(session: Path) -> str:
    return (session / "void_resident.log").read_text()


def process(session: Path) -> int:
    return int(json.loads((session / "void_resident.json").read_text())["pid"])


def test_one_process_does_all_tasks(session: Path, wanted: Make, site: site.Site, whole: VersionFolder) -> None:
    job = planned(wanted(), site)
    assert stat.S_IMODE((session / "void_resident.json").stat().st_mode) == 0o600
    for stage in job.stages:
        for task in range(stage.tasks):
            done = subprocess.run(command(job, stage.name, task), capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            assert f"{stage.name} {task} done" in done.stdout
    assert "%" in done.stdout
    assert same(results_of(job), whole)
    assert [line.split(",")[0] for line in log(session).splitlines() if " done, " in line] == [
        "check 0 done",
        "quadmask 0 done",
        "finish 0 done",
        "finish 1 done",
        "finish 2 done",
        "report 0 done",
    ]


def test_what_goes_wrong_in_there_is_told_as_anywhere(session: Path, wanted: Make, site: site.Site) -> None:
    job = planned(wanted(), site)
    done = subprocess.run(command(job, "finish"), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "does not exist yet" in done.stderr
    done = subprocess.run(command(job, "bake"), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no stage 'bake'" in done.stderr
    assert "finish 0 failed: The quadmask of" in log(session)


def test_a_task_is_stopped_in_there_and_goes_on(
    tmp_path: Path, wanted: Make, gated: site.Site, whole: VersionFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = planned(wanted(frames_per_task=12), gated)
    subprocess.run(command(job, "quadmask"), check=True, capture_output=True)
    # the process whose later frames wait
    code = "import runpy, sys; sys.argv[0] = 'gated'; from tests.farm import gated; gated.shut(); "
    code += "from void_server.farm.tasks import session; from pathlib import Path; session.serve(Path(sys.argv[1]))"
    file = tmp_path / "void_resident.json"
    there = subprocess.Popen([VOID[0], "-c", code, str(file)])
    try:
        until(file.is_file)
        monkeypatch.setenv(sessions.ENVIRONMENT, str(file))
        task = subprocess.Popen(command(job, "finish"), stdout=subprocess.PIPE, text=True)
        until(lambda: any((job.folder / "plate").glob("void_*.exr")))
        task.send_signal(signal.SIGTERM)
        # it is heard when the next frame is done
        for frames in range(1, 12):
            open_gate(frames)
            with suppress(subprocess.TimeoutExpired):
                task.communicate(timeout=1)
                break
        assert task.returncode == STOPPED
        made = list((job.folder / "plate").glob("void_*.exr"))
        assert 0 < len(made) < 12
        open_gate()
        for stage in ("finish", "report"):
            subprocess.run(command(job, stage), check=True, capture_output=True)
        assert same(results_of(job), whole)
    finally:
        sessions.stop(tmp_path)
        assert there.wait(30) == 0


def test_without_the_process_the_task_does_the_work_itself(session: Path, wanted: Make, site: site.Site) -> None:
    job = planned(wanted(), site)
    os.kill(process(session), signal.SIGKILL)
    done = subprocess.run(command(job, "quadmask"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "the task does its work itself" in done.stdout
    assert run.state(job)["quadmask"] == (1, 1)


def test_a_stranger_without_the_key_gets_nothing(session: Path, wanted: Make, site: site.Site) -> None:
    file = session / "void_resident.json"
    known = json.loads(file.read_text())
    strange = session / "strange.json"
    strange.write_text(json.dumps({**known, "key": "00" * 32}))
    job = planned(wanted(), site)
    assert sessions.given_to(strange, sessions.Task(job.file, "quadmask", (0,), "", 0), lambda _: None) is None
    assert run.state(job)["quadmask"] == (0, 1)
    # and it still serves its own
    subprocess.run(command(job, "quadmask"), check=True, capture_output=True)
    assert "a connection failed: digest" in log(session)
    assert "quadmask 0 done" in log(session)


def test_a_process_that_is_unfit_ends_and_the_task_goes_on(
    tmp_path: Path, wanted: Make, site: site.Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an error of CUDA, from which a process does not recover."""
    code = "import sys; from pathlib import Path; from void_server.farm.tasks import session as sessions, run\n"
    code += "def lost(*_, **__): raise RuntimeError('CUDA error: an illegal memory access')\n"
    code += "sessions.do = lost; sessions.serve(Path(sys.argv[1]))"
    file = tmp_path / "void_resident.json"
    with subprocess.Popen([VOID[0], "-c", code, str(file)], stdout=subprocess.PIPE, text=True) as there:
        until(file.is_file)
        monkeypatch.setenv(sessions.ENVIRONMENT, str(file))
        job = planned(wanted(), site)
        for _ in range(2):
            done = subprocess.run(command(job, "quadmask"), capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        said, _ = there.communicate(timeout=30)
    assert "illegal memory access" in said
    assert there.returncode == 0
    assert not file.exists()
    assert run.state(job)["quadmask"] == (1, 1)


def test_a_session_ends_though_a_task_hangs_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_END", 0.5)
    code = "import sys, time; from pathlib import Path; from void_server.farm.tasks import session as sessions\n"
    code += "sessions.do = lambda *_, **__: time.sleep(600); sessions.serve(Path(sys.argv[1]))"
    file = tmp_path / "void_resident.json"
    with subprocess.Popen([VOID[0], "-c", code, str(file)]) as there:
        until(file.is_file)
        connection = sessions._connected(file)
        task = {
            "job_file": str(tmp_path / "farm.json"),
            "stage": "remove",
            "numbers": [0],
            "path_map": "",
            "retries": 0,
        }
        sessions._send(connection, task=task)
        sessions.stop(tmp_path)
        assert not psutil.pid_exists(there.pid)
        connection.close()
    assert not file.exists()


def test_where_no_process_can_begin_tasks_work_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "psutil.py").write_text("raise ImportError('a broken installation')")
    code = "import sys; sys.path.remove(sys.argv.pop(1)); from void_server.cli import main; main()"
    words = ["farm", "session", "begin", str(tmp_path)]
    done = subprocess.run([VOID[0], "-c", code, str(tmp_path), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Each task loads the model itself" in done.stdout
    assert "openjd_env" not in done.stdout


@pytest.mark.parametrize("sent", [b"garbage", b"", b"\x80\x04\x95", b"\x80\x04].", b"\x91" * 5000], ids=ascii)
def test_whoever_asks_for_no_task_ends_no_session(session: Path, sent: bytes) -> None:
    known = json.loads((session / "void_resident.json").read_text())
    before = process(session)
    with Client(known["address"], authkey=bytes.fromhex(known["key"])) as stranger:
        stranger.send_bytes(sent)
        with suppress(EOFError, OSError):
            stranger.recv_bytes()
    assert "received something that is not a task" in log(session)
    assert process(session) == before
    assert psutil.Process(before).is_running()


def test_what_somebody_sends_is_never_run(session: Path, tmp_path: Path) -> None:
    """As a pickle would be, also from who knows the key."""

    class Planted:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return os.mkdir, (str(tmp_path / "planted"),)

    known = json.loads((session / "void_resident.json").read_text())
    with Client(known["address"], authkey=bytes.fromhex(known["key"])) as stranger:
        stranger.send(Planted())
        with suppress(EOFError, OSError):
            stranger.recv_bytes()
    assert "received something that is not a task" in log(session)
    assert not (tmp_path / "planted").exists()
