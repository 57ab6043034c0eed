"""What lies in $VOID_HOME, who sees it, and how it goes again."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

import pytest

from void_server.api import Client, Job, JobState, Shot
from void_server.api.home import home
from void_server.cli.deliveries import Delivery
from void_server.service.store import FILE, Store

from .test_cli import void
from .test_service import RunningServer, no_server_stays, shot_of

pytestmark = pytest.mark.slow

__all__ = ["no_server_stays"]
DAY = 86400.0


def aged(days: float) -> None:
    """Make all that is in the state folder older than it is."""
    database = sqlite3.connect(home() / FILE)
    with database:
        database.execute("update jobs set created = created - ?, updated = updated - ?", (days * DAY, days * DAY))
    database.close()
    then = time.time() - days * DAY
    for path in home().rglob("*"):
        if FILE not in path.name:
            os.utime(path, (then, then))


def kept_job(number: int, state: JobState, store: Store) -> Job:
    """A job that the store knows, owned by this process."""
    now = time.time() + number
    job = Job(f"{number:012x}", JobState.QUEUED, Shot("p", "r"), f"/out/v{number:03d}", now, now)
    store.add(job)
    return store.update(job.id, state=state)


def files() -> set[str]:
    return {path.relative_to(home()).parts[0] for path in home().rglob("*") if path.is_file()}


def test_clean_removes_what_is_old_and_its_own_and_nothing_else(shot: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = void("quadmask", shot / "plate", shot / "roto", "-o", out, "--transfer", "upload", "--no-progress")
    assert done.returncode == 0, done.stderr
    assert {"jobs", "uploads", "deliveries"} <= files()
    assert "0 bytes are free" in void("clean", "--older", "30d").stdout
    assert {"jobs", "uploads", "deliveries"} <= files()
    (home() / "keys").mkdir(exist_ok=True)
    (home() / "keys/server.key").touch()
    aged(40)
    results = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    said = void("clean", "--older", "30d", "--dry-run").stdout
    assert ", done\nuploads: 24\nnotes where results go: 1\n" in said
    assert "would be free" in said
    assert {"jobs", "uploads", "deliveries"} <= files()
    assert void("clean", "--older", "6w").stdout.startswith("0 bytes")
    assert "are free" in void("clean").stdout
    assert files() == {FILE, "keys", "embedded.log", "audit.jsonl", "audit.key"}
    assert void("jobs").stdout == "no jobs yet\n"
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == results


def test_clean_lets_alone_what_a_server_has_yet_to_do() -> None:
    store = Store(home(), "tcp://127.0.0.1:1")
    states = [JobState.QUEUED, JobState.RUNNING, JobState.FAILED, JobState.INTERRUPTED, JobState.CANCELLED]
    kept = [kept_job(number, state, store) for number, state in enumerate(states)]
    for job in kept:
        (home() / "jobs" / job.id / "input").mkdir(parents=True)
        Delivery(job.id, "/out").keep()
    (home() / "jobs" / "refused").mkdir()
    aged(40)
    assert void("clean").returncode == 0
    assert [job.state for job in store.all()] == [JobState.RUNNING, JobState.QUEUED]
    assert sorted(path.name for path in (home() / "jobs").iterdir()) == [job.id for job in kept[:2]]
    assert sorted(path.stem for path in (home() / "deliveries").iterdir()) == [job.id for job in kept[:2]]
    store.close()


def test_clean_does_not_take_a_job_that_was_taken_up_meanwhile() -> None:
    store = Store(home())
    job = kept_job(1, JobState.FAILED, store)
    store.update(job.id, state=JobState.QUEUED)
    assert not store.forget(job)
    assert store.get(job.id).state is JobState.QUEUED
    store.close()


@pytest.mark.parametrize("age", ["soon", "30", "-1d", "30 d"])
def test_an_age_that_is_none(age: str) -> None:
    done = void("clean", "--older", age)
    assert done.returncode == 2
    assert "write it like 30d, 12h or 4w" in done.stderr


@pytest.mark.parametrize("asked", ["server", "store"])
def test_the_list_is_limited_and_cleared(asked: str, tmp_path: Path) -> None:
    store = Store(home())
    for number in range(4):
        kept_job(number, JobState.DONE if number != 2 else JobState.RUNNING, store)
    words = ["--server", RunningServer(tmp_path).address] if asked == "server" else []
    assert [line.split()[0] for line in lines("jobs", "--limit", "2", *words)] == ["000000000003", "000000000002"]
    done = void("jobs", "--clear", *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "3 jobs cleared from the list; their results stay\n"
    assert [line.split()[0] for line in lines("jobs", *words)] == ["000000000002"]
    # off the list is not forgotten
    assert store.get("000000000003").state is JobState.DONE
    assert void("jobs", "--limit", "0").returncode == 2
    store.close()


def lines(*words: str) -> list[str]:
    """The lines of a table that begin with an id."""
    return [line for line in void(*words).stdout.splitlines()[1:] if line[:1].strip()]


@pytest.mark.parametrize("command", ["remove", "jobs"])
def test_a_home_that_cannot_be_written_names_the_variable(
    command: str, shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VOID_HOME")
    # where nobody, root neither, can make a folder
    monkeypatch.setenv("HOME", "/proc")
    words = [shot / "plate", shot / "roto", "-o", tmp_path / "out"] if command == "remove" else []
    done = void(command, *words)
    assert done.returncode == 1
    assert done.stderr.startswith("void: VOID cannot keep its state in /proc/.void")
    assert "set $VOID_HOME to a folder" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_list_of_another_version_is_left_as_it_is() -> None:
    home().mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(home() / "jobs.sqlite")
    with database:
        database.execute("create table jobs (id text)")
    database.close()
    before = (home() / "jobs.sqlite").read_bytes()
    store = Store(home())
    assert store.all() == []
    store.close()
    assert (home() / "jobs.sqlite").read_bytes() == before


def test_a_job_that_was_submitted_has_its_owner_at_once(shot: Path, tmp_path: Path) -> None:
    running = RunningServer(shot, tmp_path)
    with Client(running.address) as client:
        job = client.submit(shot_of(shot), str(tmp_path / "out"))
        store = Store(home())
        assert store.owner(job.id) == running.address
        store.close()
