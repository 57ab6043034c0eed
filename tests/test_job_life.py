"""A job's life as its user sees it: stopped by signals, resumed, fetched, cancelled, left by its server."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from void_server.api import Client, Job, JobState
from void_server.api.home import home
from void_server.cli.deliveries import Delivery
from void_server.imaging import exr
from void_server.service.store import Store

from .test_cli import VOID, void
from .test_service import LONGER, RunningServer, ended, listed, longer, no_server_stays, rewriting, shot_of, wait_for

pytestmark = pytest.mark.slow

__all__ = ["longer", "no_server_stays"]
ANOTHER = "tcp://127.0.0.1:9"


class Running:
    """A command under way; ``below`` are the processes that it started, all the way down."""

    def __init__(self, *words: str | Path) -> None:
        self.process = subprocess.Popen(
            [*VOID, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.below: list[psutil.Process] = []

    def reaches(self, pattern: str, folder: Path) -> None:
        """Wait until a file of the pattern is in the folder."""

        def there() -> bool:
            assert self.process.poll() is None, self.process.communicate()
            return any(folder.glob(pattern))

        wait_for(there, 300)
        self.below = psutil.Process(self.process.pid).children(recursive=True)

    def end(self, number: int | None = None) -> tuple[int, str]:
        """Send a signal, if any; how the command ended, and what it said. Nothing that it started is left."""
        if number is not None:
            self.process.send_signal(number)
        _, said = self.process.communicate(timeout=120)
        wait_for(lambda: not any(alive(process) for process in self.below))
        return self.process.returncode, said


@contextmanager
def removing(*words: str | Path) -> Iterator[Running]:
    running = Running("remove", *words)
    try:
        yield running
    finally:
        for process in [*running.below, running.process]:
            if not isinstance(process, psutil.Process) or alive(process):
                process.kill()
        running.process.communicate()


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def only_job() -> Job:
    store = Store(home())
    try:
        (job,) = store.all()
    finally:
        store.close()
    return job


def test_an_upload_job_that_was_stopped_is_resumed_into_its_folder(longer: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with removing(longer / "plate", longer / "roto", "-o", out, "--transfer", "upload") as running:
        running.reaches("jobs/*/v001/plate/void*.exr", home())
        code, said = running.end(signal.SIGINT)
    job = only_job()
    assert code == 130
    assert f"Continue with: void resume {job.id}\n" in said
    assert job.state is JobState.INTERRUPTED
    assert not list(out.glob("*"))
    done = void("resume", job.id)
    assert done.returncode == 0, done.stderr
    assert f"result         {out / 'v001'}" in done.stdout
    assert len(list((out / "v001/plate").glob("void*.exr"))) == LONGER
    assert (out / "v001/job.json").is_file()
    again = void("resume", job.id)
    assert again.returncode == 2
    assert str(out / "v001") in again.stderr


def test_fetch_goes_on_with_a_download_that_was_interrupted(shot: Path, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done > total // 2:
            raise Stop

    running = RunningServer()
    out = tmp_path / "out"
    with Client(running.address) as client:
        job = ended(client, client.submit_files(shot_of(shot), listed(shot)))
        Delivery(job.id, str(out), running.address).keep()
        with pytest.raises(Stop):
            client.download(job.id, str(out), stop)
    half = {path: path.stat().st_mtime_ns for path in out.rglob("*.exr")}
    assert half
    assert not (out / "v001/job.json").exists()
    done = void("fetch", job.id)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in out.iterdir()] == ["v001"]
    assert (out / "v001/job.json").is_file()
    assert {path: path.stat().st_mtime_ns for path in half} == half
    # from a server that this command starts itself, as none is there any more
    Delivery(job.id, str(out)).keep()
    running.stop()
    done = void("fetch", job.id, "-o", tmp_path / "elsewhere")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "elsewhere/v001/job.json").is_file()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_each_signal_ends_a_job_in_order(longer: Path, tmp_path: Path, number: int, code: int) -> None:
    with removing(longer / "plate", longer / "roto", "-o", tmp_path) as running:
        running.reaches("v001/plate/void*.exr", tmp_path)
        assert len(running.below) == 2
        ended_with, said = running.end(number)
    assert ended_with == code
    job = only_job()
    assert said.splitlines()[-1] == (
        f"void: Stopped; finished frames are kept in {tmp_path / 'v001'}. Continue with: void resume {job.id}"
    )
    assert job.state is JobState.INTERRUPTED
    kept = list((tmp_path / "v001/plate").iterdir())
    assert 0 < len(kept) < LONGER
    for path in kept:
        exr.read_rgb(path)


def test_a_second_ctrl_c_waits_no_longer(longer: Path, tmp_path: Path) -> None:
    with removing(longer / "plate", longer / "roto", "-o", tmp_path) as running:
        running.reaches("v001/plate/void*.exr", tmp_path)
        (worker,) = [process for process in running.below if "void_server.service.worker" in process.cmdline()]
        # it hears of nothing
        worker.suspend()
        running.process.send_signal(signal.SIGINT)
        assert running.process.stderr
        while "stopping the job" not in running.process.stderr.readline():
            assert running.process.poll() is None
        code, said = running.end(signal.SIGINT)
    job = only_job()
    assert code == 130
    assert f"Continue with: void resume {job.id}" in said
    assert "Traceback" not in said
    assert job.state is JobState.INTERRUPTED
    assert not (tmp_path / "v001/job.json").exists()


def test_a_killed_command_leaves_no_process_and_a_later_server_lets_its_job_be(longer: Path, tmp_path: Path) -> None:
    with removing(longer / "plate", longer / "roto", "-o", tmp_path) as running:
        running.reaches("v001/plate/void*.exr", tmp_path)
        assert running.end(signal.SIGKILL)[0] == -signal.SIGKILL
    job = only_job()
    assert job.state is JobState.INTERRUPTED
    with Client(RunningServer(longer, tmp_path).address) as client:
        # what it takes up, it takes up before it answers
        assert [(one.id, one.state) for one in client.jobs()] == [(job.id, JobState.INTERRUPTED)]


def test_a_command_whose_server_is_killed_says_how_to_go_on(longer: Path, tmp_path: Path) -> None:
    with removing(longer / "plate", longer / "roto", "-o", tmp_path) as running:
        running.reaches("v001/plate/void*.exr", tmp_path)
        (server,) = [process for process in running.below if "void_server.service" in process.cmdline()]
        server.kill()
        code, said = running.end()
    job = only_job()
    assert code == 1
    assert f"Job {job.id} is kept; continue with: void resume {job.id}\n" in said
    assert job.state is JobState.INTERRUPTED
    with Client(RunningServer(longer, tmp_path).address) as client:
        assert client.status(job.id).state is JobState.INTERRUPTED


def test_a_client_whose_server_dies_says_how_to_follow_the_job(longer: Path, tmp_path: Path) -> None:
    server = RunningServer(longer, tmp_path)
    with removing(longer / "plate", longer / "roto", "-o", tmp_path, "--server", server.address) as running:
        running.reaches("v001/plate/void*.exr", tmp_path)
        server.stop(signal.SIGKILL)
        code, said = running.end()
    job = only_job()
    assert code == 1
    assert f"No VOID server answers at {server.address}: nothing listens there" in said
    assert f"follow it with: void resume {job.id} --server {server.address}" in said


def test_ctrl_c_stops_a_job_at_a_server_of_its_own(longer: Path, tmp_path: Path) -> None:
    server = RunningServer(longer, tmp_path)
    with removing(longer / "plate", longer / "roto", "-o", tmp_path, "--server", server.address) as running:
        running.reaches("v001/plate/void*.exr", tmp_path)
        code, said = running.end(signal.SIGINT)
    assert code == 130
    job = only_job()
    assert f"Continue with: void resume {job.id} --server {server.address}" in said
    assert job.state is JobState.INTERRUPTED
    with Client(server.address) as client:
        assert client.resume(job.id).state in (JobState.QUEUED, JobState.RUNNING)
        # whoever resumes what runs already, follows it
        done = void("resume", job.id, "--server", server.address)
        assert done.returncode == 0, done.stderr
        assert client.status(job.id).state is JobState.DONE


def test_only_the_server_of_the_same_address_takes_its_jobs_up(longer: Path, tmp_path: Path) -> None:
    server = RunningServer(longer, tmp_path)
    with Client(server.address) as client:
        job = client.submit(shot_of(longer), str(tmp_path / "out"))
        rewriting(client, job)
    server.stop()
    with Client(RunningServer(longer, tmp_path).address) as client:
        assert client.status(job.id).state is JobState.QUEUED
    RunningServer(longer, tmp_path, address=server.address)
    with Client(server.address) as client:
        assert ended(client, job).state is JobState.DONE


def test_cancel_needs_no_server(longer: Path, tmp_path: Path) -> None:
    server = RunningServer(longer, tmp_path)
    with Client(server.address) as client:
        job = client.submit(shot_of(longer), str(tmp_path / "out"))
        rewriting(client, job)
    server.stop()
    assert only_job().state is JobState.QUEUED
    done = void("cancel", job.id)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{job.id} cancelled; continue with: void resume {job.id}\n"
    RunningServer(longer, tmp_path, address=server.address)
    with Client(server.address) as client:
        assert client.status(job.id).state is JobState.CANCELLED
        client.resume(job.id)
        assert ended(client, job).state is JobState.DONE
        done = void("cancel", job.id, "--server", server.address)
    assert done.returncode == 2
    assert f"Job {job.id} is already done" in done.stderr
    server.process.wait()
    done = void("cancel", job.id)
    assert done.returncode == 2
    assert f"Job {job.id} is already done" in done.stderr


def test_a_terminal_that_is_closed_stops_the_job_at_its_server(longer: Path, tmp_path: Path) -> None:
    server = RunningServer(longer, tmp_path)
    words = ["remove", longer / "plate", longer / "roto", "-o", tmp_path, "--server", server.address]
    child, terminal = pty.fork()
    if child == 0:
        os.execv(VOID[0], [*VOID, *map(str, words)])
    with Client(server.address) as client:
        wait_for(lambda: list(tmp_path.glob("v001/plate/void*.exr")), 300)
        # what it shows goes nowhere from here on
        os.close(terminal)
        _, status = os.waitpid(child, 0)
        job = client.status(only_job().id)
    assert os.waitstatus_to_exitcode(status) == 129
    assert job.state is JobState.INTERRUPTED


@pytest.mark.parametrize("how", ["variable", "option"])
def test_a_named_server_that_is_down_is_never_a_list_of_local_jobs(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "variable":
        monkeypatch.setenv("VOID_SERVER", ANOTHER)
    done = void("jobs", *(["--server", ANOTHER] if how == "option" else []))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"void: No VOID server answers at {ANOTHER}: nothing listens there")
    assert void("cancel", "0123456789ab", *(["--server", ANOTHER] if how == "option" else [])).returncode == 1


def test_a_server_ends_with_130_and_lives_through_a_hangup_that_is_ignored() -> None:
    command = [*VOID, "serve", "--address", "tcp://127.0.0.1:*"]
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        # as nohup starts it
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert running.stdout
    address = running.stdout.readline().split()[-1]
    os.kill(running.pid, signal.SIGHUP)
    with Client(address) as client:
        assert client.hello().pid == running.pid
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    # after the log
    assert said.endswith("\nvoid: The server has stopped; its jobs continue when it is started again.\n")


def test_ctrl_c_ends_any_command_with_130() -> None:
    running = subprocess.Popen([*VOID, "jobs", "--watch"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stdout
    assert "no jobs yet" in running.stdout.readline()
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert said == "void: Stopped.\n"
