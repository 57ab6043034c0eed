"""Faults of the disk and the system within the server: put in on purpose, told in a sentence, and gone once mended."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.test_service import listed, shot_of, wait_for
from void_server.api import Client, Job, JobState, Keys
from void_server.api import client as client_module
from void_server.api.errors import AccessDenied, JobCancelled, JobFailed, ServerUnreachable, UnknownJob, VoidError
from void_server.api.files import new_version_folder
from void_server.api.home import home
from void_server.api.shot import Settings
from void_server.service import disks, requests
from void_server.service.audit import AuditLog
from void_server.service.inspection import Inspector
from void_server.service.keys import KeyRing
from void_server.service.queue import JobQueue
from void_server.service.server import Server, ServerConfig
from void_server.service.store import Store
from void_server.service.workers import WorkerHandle, WorkerPool

Result = TypeVar("Result")
JOB = "0123456789ab"
HERE = "tcp://127.0.0.1:*"


def within(server: Server, work: Callable[[str], Result]) -> Result:
    """Run a server in this process, as long as ``work`` takes with its address in a thread beside it."""

    async def both() -> Result:
        address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        running = asyncio.create_task(server.run(address.set_result))
        try:
            return await asyncio.to_thread(work, await address)
        finally:
            server._stop.set()
            await running

    return asyncio.run(both())


class Fault:
    """Lets a method fail for as long as it is ``on``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: object, method: str, error: BaseException) -> None:
        self.on = False
        whole = getattr(owner, method)

        def failing(*args: Any, **kwargs: Any) -> Any:
            if self.on:
                raise error
            return whole(*args, **kwargs)

        monkeypatch.setattr(owner, method, failing)


def test_keys_that_cannot_be_looked_up_for_a_while_lock_nobody_out_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = KeyRing(home())
    public, secret = ring.new("ann", tmp_path)
    ring.allow(public)
    keys = Keys(str(secret), str(ring.server_public))
    fault = Fault(monkeypatch, KeyRing, "find", OSError(errno.EMFILE, "Too many open files"))

    def work(address: str) -> None:
        fault.on = True
        with Client(address, keys=keys, timeout=1) as kept_out, pytest.raises(ServerUnreachable):
            kept_out.hello()
        fault.on = False
        with Client(address, keys=keys, timeout=5) as ann:
            ann.hello()
            fault.on = True
            with pytest.raises(JobFailed, match="Too many open files"):
                ann.hello()
            fault.on = False
            ann.hello()

    within(Server(ServerConfig(HERE, require_keys=True, pipeline="json")), work)


class Gate:
    """Holds inspections up: ``begun`` is set once there is one, and it ends once the gate is ``open``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.open = threading.Event(), threading.Event()

        async def inspect(*_: Any) -> int:
            self.begun.set()
            await asyncio.to_thread(self.open.wait, 60)
            return 12

        monkeypatch.setattr(Inspector, "inspect", inspect)


def failure(call: Callable[[], Any]) -> VoidError | None:
    """What a call raises."""
    try:
        call()
    except VoidError as error:
        return error
    return None


def test_a_job_that_is_stopped_while_its_files_are_looked_at_never_begins(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, told = Gate(monkeypatch), []

    def work(address: str) -> None:
        with Client(address) as asking, Client(address) as stopping:
            submit = partial(asking.submit, shot_of(shot), str(tmp_path / "out"), job_id=JOB)
            thread = threading.Thread(target=lambda: told.append(failure(submit)))
            thread.start()
            assert gate.begun.wait(60)
            assert isinstance(failure(partial(stopping.cancel, JOB)), UnknownJob)
            gate.open.set()
            thread.join(60)
            assert isinstance(told[0], JobCancelled)
            assert stopping.jobs() == []
            # and it can be submitted again
            assert asking.submit(shot_of(shot), str(tmp_path / "out"), job_id=JOB).id == JOB

    within(Server(ServerConfig(HERE, (shot, tmp_path), pipeline="json")), work)
    assert [folder.name for folder in (tmp_path / "out").iterdir()] == ["v001"]


def test_a_job_that_is_stopped_while_its_folder_is_made_never_begins(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, told = threading.Event(), threading.Event(), []

    def folder_of(out: Path, *rest: Any) -> Path:
        begun.set()
        go_on.wait(60)
        return new_version_folder(out, *rest)

    Gate(monkeypatch).open.set()
    monkeypatch.setattr(requests, "new_version_folder", folder_of)

    def work(address: str) -> None:
        with Client(address) as asking, Client(address) as stopping:
            submit = partial(asking.submit, shot_of(shot), str(tmp_path / "out"), job_id=JOB)
            thread = threading.Thread(target=lambda: told.append(failure(submit)))
            thread.start()
            assert begun.wait(60)
            assert isinstance(failure(partial(stopping.cancel, JOB)), UnknownJob)
            go_on.set()
            thread.join(60)
            assert isinstance(told[0], JobCancelled)
            assert stopping.jobs() == []

    within(Server(ServerConfig(HERE, (shot, tmp_path), pipeline="json")), work)
    assert [*(tmp_path / "out").iterdir()] == []


def test_a_folder_that_a_slow_disk_makes_for_a_submission_that_was_given_up_goes(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, made = threading.Event(), list[Path]()

    async def inspect(*_: Any) -> int:
        # for the folder, which is next
        monkeypatch.setattr(disks, "SECONDS", 0.1)
        return 12

    def folder_of(out: Path, *rest: Any) -> Path:
        go_on.wait(60)
        made.append(new_version_folder(out, *rest))
        return made[0]

    monkeypatch.setattr(Inspector, "inspect", inspect)
    monkeypatch.setattr(requests, "new_version_folder", folder_of)

    def work(address: str) -> None:
        with Client(address) as client:
            told = failure(partial(client.submit, shot_of(shot), str(tmp_path / "out")))
            assert "has not responded for 0.1 s" in str(told)
            go_on.set()
            wait_for(lambda: made and not made[0].exists())
            assert client.jobs() == []

    within(Server(ServerConfig(HERE, (shot, tmp_path), pipeline="json")), work)


@pytest.mark.parametrize("fault", ["stopped", "no folder", "no list", "the server ends"])
def test_what_was_laid_out_for_a_submission_that_becomes_no_job_goes(
    shot: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    gate, told = Gate(monkeypatch), []
    monkeypatch.setattr(client_module, "_LOOKING", 0.0)
    if fault != "stopped":
        gate.open.set()
    if fault == "no folder":
        Fault(monkeypatch, requests, "new_version_folder", OSError(errno.EIO, "Input/output error")).on = True
    if fault == "no list":
        Fault(monkeypatch, Store, "add", sqlite3.OperationalError("database or disk is full")).on = True
    if fault == "the server ends":
        # as for what its loop has ended
        Fault(monkeypatch, JobQueue, "frames_of", asyncio.CancelledError()).on = True

    def work(address: str) -> None:
        with Client(address, timeout=3) as asking, Client(address) as stopping:
            submit = partial(asking.submit_files, shot_of(shot), listed(shot), job_id=JOB)
            thread = threading.Thread(target=lambda: told.append(failure(submit)))
            thread.start()
            assert gate.begun.wait(60)
            if fault == "stopped":
                assert isinstance(failure(partial(stopping.cancel, JOB)), UnknownJob)
                gate.open.set()
            wait_for(lambda: not (home() / "jobs" / JOB).exists())
            thread.join(60)
            assert isinstance(told[0], VoidError)
            assert stopping.jobs() == []

    within(Server(ServerConfig(HERE, pipeline="json")), work)
    assert not list((home() / "jobs").iterdir())


def test_a_submission_that_nobody_waits_for_any_more_never_begins(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    monkeypatch.setattr(client_module, "_LOOKING", 0.0)
    server = Server(ServerConfig(HERE, (shot, tmp_path), pipeline="json"))

    def work(address: str) -> None:
        with Client(address, timeout=3) as client:
            error = failure(lambda: client.submit(shot_of(shot), str(tmp_path / "out"), job_id=JOB))
            assert isinstance(error, ServerUnreachable)
            gate.open.set()
            wait_for(lambda: not server._requests._submitting)
            assert client.jobs() == []

    within(server, work)
    assert not (tmp_path / "out").exists()


def test_the_same_submission_five_times_at_once_is_one_job(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    add = AuditLog.add
    server = Server(ServerConfig(HERE, (shot, tmp_path), pipeline="json"))

    def unhurried(*args: Any, **about: Any) -> None:
        time.sleep(0.2)
        add(*args, **about)

    monkeypatch.setattr(AuditLog, "add", unhurried)

    def submit(address: str) -> str:
        with Client(address) as client:
            return client.submit(shot_of(shot), str(tmp_path / "out"), job_id=JOB).folder

    def work(address: str) -> None:
        with ThreadPoolExecutor(5) as threads:
            asked = [threads.submit(submit, address) for _ in range(5)]
            wait_for(lambda: server._requests._submitting[JOB] == 5)
            gate.open.set()
            assert {one.result(60) for one in asked} == {str(tmp_path / "out" / "v001")}

    within(server, work)
    assert [folder.name for folder in (tmp_path / "out").iterdir()] == ["v001"]


WAITING = """
import os, pathlib, time

def inspect(shot):
    pass

def run(job_id, shot, folder, report):
    while not (folder / "go").exists():
        time.sleep(0.02)
    return []
"""


def test_a_store_that_cannot_be_written_for_a_while_loses_no_job(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "waiting_pipeline.py").write_text(WAITING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    beginning = Fault(monkeypatch, Store, "begin", sqlite3.OperationalError("database or disk is full"))
    fault = Fault(monkeypatch, Store, "update", sqlite3.OperationalError("database or disk is full"))
    server = Server(ServerConfig(HERE, (shot, tmp_path), pipeline="waiting_pipeline"))

    def work(address: str) -> None:
        with Client(address) as client:
            wait_for(server._queue.workers.idle)
            fault.on = beginning.on = True
            job = client.submit(shot_of(shot), str(tmp_path / "out"))
            assert client.status(job.id).state is JobState.QUEUED
            fault.on = beginning.on = False
            wait_for(lambda: client.status(job.id).state is JobState.RUNNING)
            fault.on = beginning.on = True
            (Path(job.folder) / "go").touch()
            wait_for(lambda: not server._queue.workers.working_on())
            assert client.status(job.id).state is JobState.RUNNING
            fault.on = beginning.on = False
            wait_for(lambda: client.status(job.id).state is JobState.DONE)

    within(server, work)


def test_a_job_that_its_own_server_has_lost_can_be_stopped(shot: Path) -> None:
    store = Store(home(), "tcp://127.0.0.1:9")
    store.add(Job(JOB, JobState.QUEUED, shot_of(shot), "/nowhere/v001", 1.0, 1.0))
    assert store.owner(JOB) is None
    assert store.cancel(JOB).state is JobState.CANCELLED
    store.close()


def test_a_place_for_a_worker_outlasts_whatever_becomes_of_the_jobs() -> None:
    def failing(_: str) -> None:
        raise sqlite3.OperationalError("database is locked")

    async def die_again_and_again() -> None:
        pool = WorkerPool(ServerConfig(HERE, pipeline="json"), lambda *_: None, lambda *_: None, failing)
        for _ in range(5):
            pool._failed_to_start("exit code 1")
        await pool.stop()

    asyncio.run(die_again_and_again())


def test_a_job_goes_to_a_worker_whose_last_job_had_its_engine(shot: Path) -> None:
    """Its model is still loaded there."""

    async def two_workers() -> None:
        pool = WorkerPool(ServerConfig(HERE, pipeline="json"), lambda *_: None, lambda *_: None, lambda _: None)
        reading = [sys.executable, "-c", "import sys; sys.stdin.read()"]
        for name in ("one", "two"):
            process = subprocess.Popen(reading, stdin=subprocess.PIPE)
            pool._handles[name] = WorkerHandle(name, process, ready=True)
        one, two = pool._handles.values()
        for worker, engine in ((one, "cleanplate"), (two, "void")):
            asked = replace(shot_of(shot), settings=Settings(engine=engine))
            pool.give(worker, Job(JOB, JobState.QUEUED, asked, "/nowhere/v001", 1.0, 1.0), [], "anna")
        void, plain = Settings(engine="void"), Settings(engine="cleanplate")
        assert pool.idle(void) is None
        one.job = two.job = None
        assert pool.idle(void) is two
        assert pool.idle(plain) is one
        two.job = "another"
        assert pool.idle(void) is one, "better any than none"
        await pool.stop()
        for worker in (one, two):
            worker.process.communicate()

    asyncio.run(two_workers())


def test_a_job_outside_the_roots_is_neither_fetched_nor_resumed(shot: Path, tmp_path: Path) -> None:
    """Another server of the same state folder, with other roots, has done it."""
    narrow, folder = tmp_path / "narrow", tmp_path / "v001"
    narrow.mkdir()
    folder.mkdir()
    (folder / "plate.exr").write_bytes(b"secret")
    store = Store(home(), "tcp://127.0.0.1:9")
    store.add(Job(JOB, JobState.DONE, shot_of(shot), str(folder), 1.0, 1.0))
    # the folder may be used, but not the footage
    store.add(Job("a" * 12, JobState.CANCELLED, shot_of(shot), str(narrow), 1.0, 1.0))
    store.close()

    def work(address: str) -> None:
        with Client(address) as client:
            for call in (
                lambda: client.download(JOB, str(tmp_path / "got")),
                lambda: client._ask("result.chunk", job=JOB, path="plate.exr", offset=0),
                lambda: client.resume("a" * 12),
            ):
                assert isinstance(failure(call), AccessDenied)

    within(Server(ServerConfig(HERE, (narrow,), pipeline="json")), work)
