"""The server and its client: over real sockets, with real processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import msgpack
import numpy as np
import psutil
import pytest
import zmq

from void_server.api import Client, Job, JobState, Keys, Settings, Shot, messages
from void_server.api.errors import (
    AccessDenied,
    InputError,
    JobFailed,
    ProtocolError,
    SequenceError,
    ServerRefused,
    ServerUnreachable,
    SettingError,
    UnknownJob,
)
from void_server.api.home import home
from void_server.imaging import exr
from void_server.service import keys as keys_module
from void_server.service.keys import KeyRing
from void_server.service.roles import Role
from void_server.service.server import Server, ServerConfig
from void_server.service.store import Store

pytestmark = pytest.mark.slow

SERVE = """
import json, sys
from pathlib import Path
from void_server.service.server import ServerConfig, serve
config = json.loads(sys.argv[1])
paths = {name: Path(config[name]) for name in ("log", "state") if name in config}
serve(ServerConfig(**{**config, **paths, "roots": tuple(map(Path, sys.argv[2:]))}),
      lambda address: print(address, flush=True))
"""


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """The condition's first true value; the limit is generous, and only there so that a test ends."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("it never happened")


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "void_server.service.worker" in process.cmdline()
    except psutil.NoSuchProcess:
        # it has ended meanwhile
        return False


class RunningServer:
    """A server in a process of its own."""

    started: ClassVar[list[RunningServer]] = []

    def __init__(self, *roots: Path, address: str = "tcp://127.0.0.1:*", keys: bool = False, **config: Any) -> None:
        given = json.dumps({"address": address, "require_keys": keys, **config})
        command = [sys.executable, "-c", SERVE, given, *map(str, roots)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.started.append(self)
        assert self.process.stdout
        self.address = self.process.stdout.readline().strip()
        assert self.address, "the server did not start"

    def workers(self) -> list[psutil.Process]:
        # the others wait for shots to look at
        return [child for child in psutil.Process(self.process.pid).children() if _is_worker(child)]

    def stop(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.wait(timeout=30)
        assert self.process.stdout
        self.process.stdout.close()


@pytest.fixture(autouse=True)
def no_server_stays() -> Iterator[None]:
    """Stop what a test has started, also where it failed."""
    yield
    while RunningServer.started:
        running = RunningServer.started.pop()
        if running.process.poll() is None:
            running.stop()


@pytest.fixture
def server(shot: Path, tmp_path: Path) -> RunningServer:
    return RunningServer(shot, tmp_path)


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    with Client(server.address) as made:
        yield made


def shot_of(folder: Path, **settings: Any) -> Shot:
    return Shot(str(folder / "plate"), str(folder / "roto"), settings=Settings(**settings))


def ended(client: Client, job: Job) -> Job:
    *_, last = client.watch(job.id)
    return last


def rewriting(client: Client, job: Job) -> Path:
    """Wait until the job has finished a frame of the plate, and is not done; the frame."""

    def first() -> Path | None:
        assert client.status(job.id).state is not JobState.FAILED
        return next(iter(sorted(Path(job.folder).glob("plate/void*.exr"))), None)

    return wait_for(first)


def plates(folder: str | Path) -> dict[str, np.ndarray]:
    return {path.name: exr.read_rgb(path) for path in sorted(Path(folder).glob("plate/*.exr"))}


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


#: Frames of a shot that takes long enough to be interrupted.
LONGER = 60


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shot of ``LONGER`` frames; small ones, as each test waits for the first to be made."""
    from void_server.sample import write_sample

    folder = tmp_path_factory.mktemp("longer") / "shot"
    write_sample(folder, "walkby", (160, 90), range(1001, 1001 + LONGER))
    return folder


def test_a_job_from_submission_to_result(client: Client, shot: Path, tmp_path: Path) -> None:
    job = client.submit(shot_of(shot), str(tmp_path / "out"))
    assert job.folder == str(tmp_path / "out" / "v001")
    seen = list(client.watch(job.id))
    assert seen[-1].state is JobState.DONE
    fractions = [j.progress.fraction for j in seen]
    assert fractions == sorted(fractions)
    assert len({j.progress.stage for j in seen}) > 2
    assert len(plates(job.folder)) == 12
    again = client.submit(shot_of(shot), str(tmp_path / "out"))
    assert again.folder.endswith("v002")
    assert [j.id for j in client.jobs()] == [again.id, job.id]
    ended(client, again)
    assert same(plates(job.folder), plates(again.folder))


def test_one_file_of_a_result_is_fetched_by_itself(client: Client, shot: Path, tmp_path: Path) -> None:
    job = ended(client, client.submit(shot_of(shot), str(tmp_path / "out")))
    listed = client.results(job.id)
    assert {"job.json", "plate/void_plate.1001.exr", "report/contact_sheet.png"} <= {file.path for file in listed}
    wanted = next(file for file in listed if file.path == "plate/void_plate.1005.exr")
    got = Path(client.fetch(job.id, wanted, str(tmp_path / "kept")))
    assert got == tmp_path / "kept" / "plate" / "void_plate.1005.exr"
    assert got.read_bytes() == (Path(job.folder) / wanted.path).read_bytes()
    assert [path for path in (tmp_path / "kept").rglob("*") if path.is_file()] == [got]


def test_workers_say_what_they_are_at(longer: Path, tmp_path: Path) -> None:
    running = RunningServer(longer, tmp_path, workers=2)
    with Client(running.address) as other:
        wait_for(lambda: [one.ready for one in other.workers()] == [True, True])
        assert {one.job for one in other.workers()} == {""}
        job = other.submit(shot_of(longer), str(tmp_path / "out"))
        wait_for(lambda: other.status(job.id).state is JobState.RUNNING)
        assert sorted((one.busy, one.job, one.gpu) for one in other.workers()) == [(False, "", ""), (True, job.id, "")]
        other.cancel(job.id)


def test_cancel_and_resume_make_the_same_frames(longer: Path, tmp_path: Path) -> None:
    running = RunningServer(longer, tmp_path)
    with Client(running.address) as other:
        whole = ended(other, other.submit(shot_of(longer), str(tmp_path / "whole")))
        job = other.submit(shot_of(longer), str(tmp_path / "parts"))
        rewriting(other, job)
        other.cancel(job.id)
        stopped = ended(other, job)
        assert stopped.state is JobState.CANCELLED
        assert "resume to continue" in str(stopped.error)
        kept = {p: p.stat().st_mtime_ns for p in Path(job.folder).glob("plate/void*.exr")}
        assert 0 < len(kept) < LONGER
        other.resume(job.id)
        assert ended(other, job).state is JobState.DONE
        assert {p: p.stat().st_mtime_ns for p in kept} == kept
        assert same(plates(job.folder), plates(whole.folder))


def test_a_killed_worker_costs_no_finished_frame(longer: Path, tmp_path: Path) -> None:
    running = RunningServer(longer, tmp_path)
    with Client(running.address) as client:
        whole = ended(client, client.submit(shot_of(longer), str(tmp_path / "whole")))
        job = client.submit(shot_of(longer), str(tmp_path / "parts"))
        rewriting(client, job)
        (worker,) = running.workers()
        worker.kill()
        kept = {p: p.stat().st_mtime_ns for p in Path(job.folder).glob("plate/void*.exr")}
        assert kept
        assert ended(client, job).state is JobState.DONE
        assert {p: p.stat().st_mtime_ns for p in kept} == kept
        assert same(plates(job.folder), plates(whole.folder))


def test_a_worker_that_always_dies_ends_the_job_with_a_sentence(longer: Path, tmp_path: Path) -> None:
    running = RunningServer(longer, tmp_path)
    with Client(running.address) as client:
        job = client.submit(shot_of(longer), str(tmp_path / "out"))
        killed: set[int] = set()
        while not client.status(job.id).state.ended:
            for worker in running.workers():
                if client.status(job.id).state is JobState.RUNNING and worker.pid not in killed:
                    killed.add(worker.pid)
                    worker.kill()
            time.sleep(0.05)
        last = client.status(job.id)
        assert last.state is JobState.FAILED
        assert "The worker died 3 times in this job (signal 9)" in str(last.error)
        # and the server goes on
        assert client.hello().protocol == messages.PROTOCOL


def test_a_killed_server_takes_its_jobs_up_again(longer: Path, tmp_path: Path) -> None:
    port = RunningServer(longer, tmp_path)
    address = port.address
    with Client(address) as client:
        job = client.submit(shot_of(longer), str(tmp_path / "out"))
        rewriting(client, job)
        workers = port.workers()
        port.stop(signal.SIGKILL)
        # workers end with their server
        wait_for(lambda: not any(w.is_running() and w.status() != psutil.STATUS_ZOMBIE for w in workers))
        results: list[Job] = []
        watcher = threading.Thread(target=lambda: results.extend(client.watch(job.id)))
        watcher.start()
        RunningServer(longer, tmp_path, address=address)
        watcher.join(timeout=120)
        assert results[-1].state is JobState.DONE
        assert len(plates(job.folder)) == LONGER


def test_a_stopped_server_leaves_its_jobs_queued(longer: Path, tmp_path: Path) -> None:
    running = RunningServer(longer, tmp_path)
    with Client(running.address) as client:
        job = client.submit(shot_of(longer), str(tmp_path / "out"))
        rewriting(client, job)
        running.stop()
    store = Store(home())
    assert store.get(job.id).state is JobState.QUEUED
    assert store.owner(job.id) is None
    store.close()


def test_a_failed_job_says_why_and_leaves_the_worker_usable(client: Client, shot: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(shot, tmp_path / "broken"))
    frame = broken / "plate/plate.1003.exr"
    frame.write_bytes(frame.read_bytes()[:4000])
    job = ended(client, client.submit(shot_of(broken), str(tmp_path / "out")))
    assert job.state is JobState.FAILED
    assert isinstance(job.error, InputError)
    assert "plate.1003.exr is damaged" in str(job.error)
    assert ended(client, client.submit(shot_of(shot), str(tmp_path / "out"))).state is JobState.DONE


def test_an_output_that_cannot_be_written(client: Client, shot: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"output folder .*file is no folder"):
        client.submit(shot_of(shot), str(tmp_path / "file"))


@pytest.mark.parametrize("field", ["plate", "roto", "quadmask", "ocio", "out"])
def test_paths_beyond_the_roots_are_denied(client: Client, shot: Path, tmp_path: Path, field: str) -> None:
    values = {**shot_of(shot).to_dict(), "settings": {}}
    out = str(tmp_path)
    if field == "out":
        out = "/somewhere"
    else:
        values[field] = "/etc/hostname"
    with pytest.raises(AccessDenied, match="is outside the folders this server may use"):
        client.submit(Shot.from_dict(values), out)


def test_links_out_of_the_roots_are_denied(
    client: Client, shot: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "plate.1005.exr"
    shutil.copy(shot / "plate/plate.1005.exr", outside)
    linked = Path(shutil.copytree(shot, tmp_path / "linked"))
    (linked / "plate/plate.1005.exr").unlink()
    (linked / "plate/plate.1005.exr").symlink_to(outside)
    with pytest.raises(AccessDenied, match=r"plate.1005.exr is outside the folders"):
        client.submit(shot_of(linked), str(tmp_path / "out"))


def test_wrong_shots_are_refused_at_submission(client: Client, shot: Path, tmp_path: Path) -> None:
    with pytest.raises(SequenceError, match="Frame 1013"):
        client.submit(Shot(str(shot / "plate"), str(shot / "roto"), frames="1010-1013"), str(tmp_path))
    with pytest.raises(SettingError, match="engine 'magic' is not installed"):
        client.submit(shot_of(shot, engine="magic"), str(tmp_path))
    assert not list(tmp_path.glob("v*"))


def test_a_job_that_does_not_exist(client: Client) -> None:
    for ask in (client.status, client.cancel, client.resume, lambda job: next(client.watch(job))):
        with pytest.raises(UnknownJob, match="no job '000000000000'; `void jobs` lists"):
            ask("000000000000")


def test_a_server_that_is_not_there() -> None:
    with Client("tcp://127.0.0.1:9", timeout=0.2) as client, pytest.raises(ServerUnreachable, match="start one with"):
        client.hello()


@contextmanager
def listening(answer: bytes | None) -> Iterator[str]:
    """A port of another program's, which says nothing, or one thing and hangs up; its address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def talk() -> None:
        while True:
            try:
                talker, _ = listener.accept()
            except OSError:
                return
            talkers.append(talker)
            if answer is not None:
                talker.sendall(answer)
                talker.close()

    talkers: list[socket.socket] = []
    thread = threading.Thread(target=talk)
    thread.start()
    try:
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for talker in talkers:
            talker.close()


def why(address: str, keys: Keys | None = None) -> str:
    """What a client is told that gets no answer."""
    with Client(address, keys=keys, timeout=1) as client, pytest.raises(ServerUnreachable) as caught:
        client.hello()
    text = str(caught.value)
    assert text.startswith(f"No VOID server answers at {address}: ")
    return text


def test_a_server_that_does_not_answer_is_told_with_the_cause() -> None:
    assert "nothing listens there; start one with `void serve`" in why("tcp://127.0.0.1:9")
    with listening(None) as address:
        assert "something listens there but does not answer" in why(address)
    with listening(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") as address:
        assert "what listens there is not a VOID server" in why(address)
    context = zmq.Context()
    other = context.socket(zmq.ROUTER)
    port = other.bind_to_random_port("tcp://127.0.0.1")
    assert "not a VOID server, or hangs" in why(f"tcp://127.0.0.1:{port}")
    other.close(linger=0)
    context.term()


def test_a_wrong_key_is_told_with_the_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ring = KeyRing(home())
    public, secret = ring.new("ann", tmp_path)
    strange_public, strange = ring.new("eve", tmp_path)
    ring.allow(public)
    running = RunningServer(keys=True)
    server = str(ring.server_public)
    without = why(running.address)
    assert "requires keys" in without
    assert "set VOID_KEY and VOID_SERVER_KEY" in without
    assert "does not accept this client's key" in why(running.address, Keys(str(strange), server))
    assert "VOID_SERVER_KEY is not its key" in why(running.address, Keys(str(secret), str(strange_public)))
    missing = Keys(str(tmp_path / "none"), server)
    with Client(running.address, keys=missing) as client, pytest.raises(SettingError, match="keys for the server"):
        client.hello()
    assert "uses no keys" in why(RunningServer().address, Keys(str(secret), server))
    monkeypatch.setenv("VOID_KEY", str(secret))
    with pytest.raises(SettingError, match="VOID_SERVER_KEY is not set"):
        Client(running.address)


def test_an_address_that_is_none() -> None:
    with Client("nonsense") as client, pytest.raises(SettingError, match="write it like tcp://"):
        client.hello()


def raw(address: str, data: bytes) -> dict[str, Any]:
    """Send bytes to the server; what it answers."""
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.connect(address)
    socket.send(data)
    assert socket.poll(20000), "the server did not answer"
    answer: dict[str, Any] = msgpack.unpackb(socket.recv())
    socket.close()
    context.term()
    return answer


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xc1 not msgpack", "not msgpack"),
        (msgpack.packb([1, 2]), "no envelope"),
        (msgpack.packb({"protocol": 99, "id": 7, "verb": "hello", "body": {}}), "speaks protocol 99, this side 2"),
        (messages.pack(7, verb="dance", body={}), "the request 'dance'"),
        (messages.pack(7, verb="submit", body={"id": "0123456789ab"}), "request is broken"),
        (messages.pack(7, verb="status", body=[]), "the request 'status'"),
        (messages.pack(7, verb="hello", body={"x": b"0" * messages.MAX_MESSAGE}), "too large"),
        (messages.pack(7, verb=["hello"], body={}), "does not know the request"),
        (messages.pack(7, verb="status", body={"job": 5}), "its job is int"),
        (messages.pack(7, verb="status", body={}), "its job is NoneType"),
        (messages.pack(7, verb="upload.offset", body={"digest": "0" * 64, "size": -1}), "its size is -1"),
        (messages.pack(7, verb="upload.offset", body={"digest": "0" * 64, "size": 2**64 - 1}), "its size is 1844"),
        (messages.pack(7, verb="upload.offset", body={"digest": "0" * 64, "size": float("nan")}), "its size is float"),
        (b"\x91" * 100_000, "not msgpack"),
        (b"\xdf\xff\xff\xff\xff", "not msgpack"),
        (b"\xdd\x00\x7f\xff\xf0" + b"\x80" * 0x7FFFF0, "not msgpack"),
    ],
)
def test_broken_messages_are_answered_and_do_no_harm(
    server: RunningServer, client: Client, data: bytes, message: str
) -> None:
    answer = raw(server.address, data)
    assert answer["error"]["kind"] == "ProtocolError"
    assert message in answer["error"]["message"]
    assert client.hello().pid == server.process.pid


def test_a_server_of_another_protocol_is_told_apart() -> None:
    context = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    port = socket.bind_to_random_port("tcp://127.0.0.1")

    def answer() -> None:
        sender, data = socket.recv_multipart()
        number = msgpack.unpackb(data)["id"]
        socket.send_multipart([sender, msgpack.packb({"protocol": 1, "id": number, "body": {}})])

    thread = threading.Thread(target=answer)
    thread.start()
    with Client(f"tcp://127.0.0.1:{port}") as client, pytest.raises(ProtocolError, match="update the older one"):
        client.hello()
    thread.join()
    socket.close(linger=0)
    context.term()


def test_the_same_submission_twice_is_one_job(server: RunningServer, shot: Path, tmp_path: Path) -> None:
    body = {"id": "0123456789ab", "shot": shot_of(shot).to_dict(), "out": str(tmp_path / "out")}
    answers = [raw(server.address, messages.pack(1, verb="submit", body=body)) for _ in range(2)]
    assert answers[0]["body"]["folder"] == answers[1]["body"]["folder"]
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["v001"]


# Files by message


def listed(shot: Path) -> dict[str, list[str]]:
    return {role: [str(p) for p in sorted((shot / role).iterdir())] for role in ("plate", "roto")}


def test_upload_and_download(shot: Path, tmp_path: Path) -> None:
    running = RunningServer()
    with Client(running.address) as client:
        with pytest.raises(AccessDenied, match="uploads only"):
            client.submit(shot_of(shot), str(tmp_path))
        sent: list[tuple[int, int]] = []
        job = client.submit_files(shot_of(shot), listed(shot), lambda done, total: sent.append((done, total)))
        assert sent[-1][0] == sent[-1][1] > 0
        with pytest.raises(JobFailed, match="when it is done"):
            client.download(job.id, str(tmp_path / "early"))
        assert ended(client, job).state is JobState.DONE
        folder = client.download(job.id, str(tmp_path / "out"))
        assert folder == str(tmp_path / "out" / "v001")
        assert same(plates(folder), plates(job.folder))
        assert sorted(path.name for path in Path(folder).iterdir()) == sorted(
            p.name for p in Path(job.folder).iterdir()
        )
        # what the server has is not sent again
        numbers: list[int] = []
        again = client.submit_files(shot_of(shot), listed(shot), lambda *counts: numbers.append(counts[0]))
        assert len(numbers) == 24
        assert client.cancel(again.id).id == again.id


def test_an_empty_or_missing_file_is_refused_before_anything_is_sent(shot: Path, tmp_path: Path) -> None:
    """It was said to be "not uploaded completely", after all others had been sent."""
    shot = Path(shutil.copytree(shot, tmp_path / "shot"))
    files, sent = listed(shot), list[int]()
    last = Path(files["roto"][-1])
    with Client(RunningServer().address) as client:
        for change, message in ((lambda: last.write_bytes(b""), "is empty; write it"), (last.unlink, "does not exist")):
            change()
            with pytest.raises(InputError, match=rf"{last.name} {message}"):
                client.submit_files(shot_of(shot), files, lambda done, _: sent.append(done))
    assert not sent


def test_an_interrupted_upload_goes_on_where_it_stopped(shot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = RunningServer()
    monkeypatch.setattr("void_server.api.client.CHUNK", 1000)

    class Interrupted(Exception):
        pass

    def interrupt(done: int, total: int) -> None:
        if done > total // 2:
            raise Interrupted

    with Client(running.address) as client:
        with pytest.raises(Interrupted):
            client.submit_files(shot_of(shot), listed(shot), interrupt)
        part = next((home() / "uploads").rglob("*.part"))
        assert 0 < part.stat().st_size < (shot / "plate/plate.1001.exr").stat().st_size * 2
        chunks: list[int] = []
        client.submit_files(shot_of(shot), listed(shot), lambda *counts: chunks.append(counts[0]))
        size = sum(Path(p).stat().st_size for paths in listed(shot).values() for p in paths)
        assert len(chunks) < 0.7 * size / 1000
        assert not list((home() / "uploads").rglob("*.part"))


def test_a_damaged_file_is_refused_and_nothing_of_it_stays() -> None:
    running = RunningServer()
    body = {"digest": "0" * 64, "size": 3, "offset": 0, "data": b"abc"}
    answer = raw(running.address, messages.pack(1, verb="upload.chunk", body=body))
    assert "arrived damaged" in answer["error"]["message"]
    assert not list(home().rglob("*.part"))


@pytest.mark.parametrize(
    "name", ["../evil.exr", "/etc/passwd", ".hidden", "a/b.exr", "..\\x.exr", "C:x.exr", "a\0b", "nul"]
)
def test_uploads_stay_in_their_folder(name: str) -> None:
    running = RunningServer()
    files = {"plate": [[name, "0" * 64]], "roto": [["r.1001.exr", "0" * 64]]}
    body = {"id": "0123456789ab", "shot": Shot("p", "r").to_dict(), "files": files}
    error = raw(running.address, messages.pack(1, verb="submit", body=body))["error"]
    assert error["kind"] == "AccessDenied"


def test_only_results_can_be_fetched(client: Client, server: RunningServer, shot: Path, tmp_path: Path) -> None:
    job = ended(client, client.submit(shot_of(shot), str(tmp_path / "out")))
    for path in ("../../secret", "/etc/hostname", "plate", "plate/../job.json", "plate\0"):
        body = {"job": job.id, "path": path, "offset": 0}
        assert raw(server.address, messages.pack(1, verb="result.chunk", body=body))["error"]["kind"] == "AccessDenied"


# Keys


def test_beyond_this_machine_only_with_keys() -> None:
    with pytest.raises(ServerRefused, match=r"`void keys allow NAME.key` here; or listen on 127.0.0.1"):
        Server(ServerConfig(address="tcp://0.0.0.0:5690"))


def test_keys_let_in_keep_out_and_revoke(tmp_path: Path) -> None:
    ring = KeyRing(home())
    public, secret = ring.new("ann", tmp_path)
    _, strange = ring.new("eve", tmp_path)
    assert secret.stat().st_mode & 0o77 == 0
    assert ring.allow(public) == "ann"
    running = RunningServer(keys=True)
    server = str(ring.server_public)
    with Client(running.address, keys=Keys(str(secret), server)) as ann:
        assert ann.hello().pid == running.process.pid
        for keys in (Keys(str(strange), server), None):
            with Client(running.address, keys=keys, timeout=1) as other, pytest.raises(ServerUnreachable):
                other.hello()
        ring.revoke("ann")
        # on the very connection that was open before
        with pytest.raises((AccessDenied, ServerUnreachable)):
            ann.hello()


def test_key_files_are_checked(tmp_path: Path) -> None:
    ring = KeyRing(home())
    (tmp_path / "no.key").write_text("hello")
    with pytest.raises(InputError, match=r"no.key is not a public key file"):
        ring.allow(tmp_path / "no.key")
    with pytest.raises(InputError, match="No client named 'bob' is allowed"):
        ring.revoke("bob")
    ring.new("bob", tmp_path)
    with pytest.raises(InputError, match="exists already"):
        ring.new("bob", tmp_path)
    # somebody of that name would lose his rights to the page
    ring.new("page", tmp_path)
    with pytest.raises(InputError, match=r"page in the browser is called page; give .*page\.key another name"):
        ring.allow(tmp_path / "page.key")
    # the secret half handed over by mistake goes no further
    ring.allow(tmp_path / "bob.key_secret")
    assert "secret" not in (ring.clients / "bob.key").read_text()
    # nobody who revokes bob leaves him another name
    shutil.copy(tmp_path / "bob.key", tmp_path / "laptop.key")
    with pytest.raises(InputError, match=r"laptop\.key is allowed already, as bob; revoke that first"):
        ring.allow(tmp_path / "laptop.key")
    assert ring.allow(tmp_path / "bob.key", Role.SUPERVISOR) == "bob", "another role, by the same name"
    # what another process is writing is nobody yet
    shutil.copy(tmp_path / "bob.key", ring.clients / ".bob.0123.part.key")
    assert list(ring.allowed()) == ["bob"]


def test_keys_of_strangers_have_no_files_read_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reaches the server may show it any number of them; but one that was allowed just now comes in."""
    ring, read = KeyRing(tmp_path), list[int]()
    monkeypatch.setattr(KeyRing, "allowed", lambda self, real=KeyRing.allowed: read.append(1) or real(self))
    monkeypatch.setattr(keys_module, "_ANEW", 3600)
    assert [ring.find(f"{number:040}") for number in range(100)] == [None] * 100
    assert len(read) == 1
    public, _ = ring.new("ann", tmp_path)
    KeyRing(tmp_path).allow(public)
    (ann,) = ring.allowed().values()
    assert ring.find(ann.public) == ann


# Python 3.9 is Nuke 14's


def test_the_client_side_is_python_3_9() -> None:
    import ast

    for path in (Path(messages.__file__).parent).glob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 9))


def test_the_client_side_needs_nothing_heavy() -> None:
    code = (
        "import sys, void_server.api; print([m for m in ('numpy', 'cv2', 'OpenImageIO', 'typer') if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(messages.__file__).parents[2])}
    assert subprocess.check_output([sys.executable, "-c", code], env=environment, text=True).strip() == "[]"


def test_an_idle_server_ends_by_itself(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from void_server.cli import main; main()", "serve"]
    command += ["--address", "tcp://127.0.0.1:*", "--idle-minutes", "0.01", "--root", str(tmp_path)]
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
