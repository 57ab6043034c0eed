"""What one client or one disk does costs the others nothing."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq
import zmq.auth

from tests import test_service
from tests.test_faults import HERE, within
from tests.test_roles import allowed
from tests.test_service import RunningServer, shot_of, wait_for
from void_server.api import Client, Job, JobState, Keys, Shot, messages
from void_server.api import client as client_module
from void_server.api.errors import JobFailed, ProtocolError, ServerBusy, ServerError, UnknownJob
from void_server.api.files import CHUNK, new_version_folder
from void_server.api.home import home
from void_server.service import budgets, disks, requests, transfer
from void_server.service import server as server_module
from void_server.service import store as store_module
from void_server.service.inspection import Inspector
from void_server.service.keys import KeyRing
from void_server.service.roles import Role
from void_server.service.server import Server, ServerConfig
from void_server.service.store import FILE, Store
from void_server.service.transfer import Downloads

pytestmark = pytest.mark.slow
no_server_stays = test_service.no_server_stays

# A server whose loop does not get to reading, as while its disk is slow: its socket, read once and then left alone.
HELD_UP = """
import sys, zmq, zmq.auth.thread
from void_server.service.inspection import Inspector
from void_server.service.keys import KeyRing
from void_server.service.roles import Role
from void_server.service.server import Server, ServerConfig
context = zmq.Context()
zmq.auth.thread.ThreadAuthenticator(context).start()
socket = Server(ServerConfig("tcp://127.0.0.1:*"))._bound(context)
print(socket.getsockopt_string(zmq.LAST_ENDPOINT), flush=True)
sender, _ = socket.recv_multipart()
for _ in range(4):
    socket.send_multipart([sender, b"y" * 4_000_000])
sys.stdin.read()
print("lives", flush=True)
"""
# A client that leaves with messages of both sides unread, so that the connection is reset.
BREAKING_OFF = """
import os, sys, time, zmq
socket = zmq.Context().socket(zmq.DEALER)
socket.rcvhwm, socket.rcvbuf = 1, 4096
socket.connect(sys.argv[1])
for _ in range(300):
    socket.send(b"x" * 20_000)
    time.sleep(0.001)
time.sleep(0.5)
os._exit(0)
"""


def test_a_client_that_breaks_off_does_not_end_a_server_that_has_not_read_its_messages() -> None:
    """With ZeroMQ's heartbeats it would, once one is due (libzmq 4364)."""
    command = [sys.executable, "-c", HELD_UP]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdin
            assert server.stdout
            address = server.stdout.readline().strip()
            subprocess.run([sys.executable, "-c", BREAKING_OFF, address], check=True, timeout=60)
            # longer than a server's heartbeat was
            time.sleep(6)
            server.stdin.close()
            assert server.stdout.readline() == "lives\n"
        finally:
            server.kill()


def test_a_client_that_reads_nothing_is_given_no_more_to_read(shot: Path, tmp_path: Path) -> None:
    store, folder = Store(home()), tmp_path / "v001"
    folder.mkdir()
    (folder / "large.bin").write_bytes(os.urandom(CHUNK))
    store.add(Job("0123456789ab", JobState.DONE, shot_of(shot), str(folder), 1.0, 1.0, submitter="anonymous"))
    store.close()
    server = RunningServer(shot, tmp_path, pipeline="json")
    process = psutil.Process(server.process.pid)
    with Client(server.address, timeout=60) as client, zmq.Context() as context, context.socket(zmq.DEALER) as silent:
        silent.linger, silent.rcvhwm, silent.rcvbuf = 0, 1, 4096
        silent.connect(server.address)
        before = process.memory_info().rss
        for number in range(1, 300):
            body = {"job": "0123456789ab", "path": "large.bin", "offset": 0}
            silent.send(messages.pack(number, verb="result.chunk", body=body))
            # so that it is not refused for too many at once
            client.hello()
        assert process.memory_info().rss - before < 100 << 20


@contextmanager
def asking(address: str, count: int) -> Iterator[list[Any]]:
    """Connections of their own, which take no more than one answer each from the network."""
    with zmq.Context() as context, ExitStack() as stack:
        sockets = [stack.enter_context(context.socket(zmq.DEALER)) for _ in range(count)]
        for one in sockets:
            one.linger, one.rcvhwm, one.rcvbuf = 0, 1, 4096
            one.connect(address)
        yield sockets


def with_a_result(shot: Path, folder: Path) -> str:
    """The id of a job that is done; its result is in ``folder``."""
    folder.mkdir()
    store = Store(home())
    store.add(Job("0123456789ab", JobState.DONE, shot_of(shot), str(folder), 1.0, 1.0, submitter="anonymous"))
    store.close()
    return "0123456789ab"


def piece_of(job: str, number: int, path: str = "large.bin") -> bytes:
    return messages.pack(number, verb="result.chunk", body={"job": job, "path": path, "offset": 0})


def test_nothing_is_done_for_a_client_that_reads_nothing(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading and hashing for it takes the time of all others."""
    read = []

    def chunk(*_: object) -> dict[str, Any]:
        read.append(1)
        return {"data": bytes(CHUNK), "digest": ""}

    monkeypatch.setattr(Downloads, "chunk", chunk)
    job = with_a_result(shot, tmp_path / "v001")

    def work(address: str) -> None:
        with Client(address, timeout=60) as client, asking(address, 1) as (silent,):
            for number in range(1, 300):
                silent.send(piece_of(job, number))
                # so that it is not refused for too many at once
                client.hello()
        # what lies ready for it, and what the system's buffers hold
        assert len(read) < 100

    within(Server(ServerConfig(HERE, (shot, tmp_path), pipeline="json")), work)


def test_who_asks_without_waiting_for_answers_is_told_once_and_then_not_heard(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal of each message takes the time of all others, too."""
    read, go_on = [], threading.Event()

    def chunk(*_: object) -> dict[str, Any]:
        read.append(1)
        go_on.wait(60)
        return {"data": b"", "digest": ""}

    monkeypatch.setattr(Downloads, "chunk", chunk)
    monkeypatch.setattr(server_module, "_UNHEARD", 3600)
    job = with_a_result(shot, tmp_path / "v001")

    def work(address: str) -> None:
        with Client(address, timeout=60) as client, zmq.Context() as context, context.socket(zmq.DEALER) as flooding:
            flooding.linger = 0
            flooding.connect(address)
            for number in range(1, 60):
                flooding.send(piece_of(job, number))
            assert flooding.poll(60_000)
            with pytest.raises(ServerError, match="too many requests open; wait for answers"):
                messages.result(messages.unpack(flooding.recv()))
            for _ in range(60):
                # by then the others have been taken up, as connections take turns
                client.hello()
            go_on.set()
            wait_for(lambda: len(read) == budgets.OF_CONNECTION)
            answers = [messages.opened(flooding.recv_multipart()) for _ in read if flooding.poll(60_000)]
            assert sorted(answer["id"] for answer in answers) == list(range(1, budgets.OF_CONNECTION + 1))
            client.hello()
            assert not flooding.poll(0)

    within(Server(ServerConfig(HERE, (shot, tmp_path), pipeline="json")), work)


def test_a_connection_that_read_nothing_is_tried_with_one_request(tmp_path: Path) -> None:
    """All that wait would be done for nothing once more."""

    async def trying() -> None:
        server = Server(ServerConfig(HERE, (tmp_path,)))
        assert server._is_heard(b"one")
        server._unheard[b"one"] = time.monotonic()
        assert not server._is_heard(b"one")
        server._unheard[b"one"] -= server_module._UNHEARD
        assert server._is_heard(b"one")
        server._under_way.begin(b"one", "ann", 1)
        assert not server._is_heard(b"one")
        assert server._is_heard(b"another")
        server._under_way.end(b"one", "ann", 1)
        assert server._is_heard(b"one")

    asyncio.run(trying())


def spent(seconds: float) -> None:
    """Return when so much of the processor's time was taken."""
    begin = time.thread_time()
    while time.thread_time() - begin < seconds:
        pass


@contextmanager
def speaking(address: str, keys: Keys, count: int) -> Iterator[list[Any]]:
    """Connections with somebody's keys."""
    (server, _), (public, secret) = zmq.auth.load_certificate(keys.server), zmq.auth.load_certificate(keys.secret)
    with zmq.Context() as context, ExitStack() as stack:
        sockets = [stack.enter_context(context.socket(zmq.DEALER)) for _ in range(count)]
        for one in sockets:
            one.linger = 0
            one.curve_serverkey, one.curve_publickey, one.curve_secretkey = server, public, secret
            one.connect(address)
        yield sockets


@pytest.fixture
def greedy(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Callable[[str, list[int], dict[str, Keys]], None]], None]]:
    """Runs a server where two lists of jobs take all that a user may take, for ever, with the address, a list that has
    an entry for each that was made, and the keys of ann, eve and the page.
    """
    taken: list[int] = []

    async def jobs(*_: object) -> list[Any]:
        spent(0.3)
        taken.append(1)
        return []

    monkeypatch.setattr(requests.Requests, "_jobs", jobs)
    monkeypatch.setattr(budgets, "SAVED", 0.5)
    monkeypatch.setattr(budgets, "SHARE", 1e-6)
    keys = {name: allowed(tmp_path, name, Role.ARTIST) for name in ("ann", "eve")}
    keys["page"] = KeyRing(home()).of_page()

    def run(work: Callable[[str, list[int], dict[str, Keys]], None]) -> None:
        config = ServerConfig(HERE, (shot, tmp_path), pipeline="json", require_keys=True)
        within(Server(config), lambda address: work(address, taken, keys))

    return run


def overdraw(address: str, keys: Keys) -> None:
    """Take all that a user may take of a server that is ``greedy``."""
    with Client(address, keys=keys, timeout=60) as client:
        for _ in range(2):
            client.jobs()


def test_who_takes_more_than_a_share_of_the_loop_waits_on_all_connections_and_nobody_else_does(greedy: Any) -> None:
    def work(address: str, taken: list[int], keys: dict[str, Keys]) -> None:
        with ExitStack() as stack:
            ann = stack.enter_context(Client(address, keys=keys["ann"], timeout=60))
            eves = [stack.enter_context(Client(address, keys=keys["eve"], timeout=60)) for _ in range(3)]
            for eve in eves:
                for _ in range(5):
                    eve._send("jobs", {})
            wait_for(lambda: taken)
            for _ in range(30):
                # by then those have been taken up, as connections take turns
                ann.hello()
            # less than what is saved is left after the first, nothing after the second
            assert len(taken) == 2

    greedy(work)


def test_a_user_of_the_page_has_one_share_there_and_elsewhere(greedy: Any) -> None:
    """The page opens a connection for each of its user's questions at once."""

    def work(address: str, taken: list[int], keys: dict[str, Keys]) -> None:
        overdraw(address, keys["eve"])
        for _ in range(3):
            acting_for = {"user": "eve", "host": "there"}
            with (
                Client(address, keys=keys["page"], timeout=60, acting_for=acting_for) as eve,
                pytest.raises(ServerError, match="share of this server's time"),
            ):
                eve.jobs()
        assert len(taken) == 2
        with Client(address, keys=keys["page"], timeout=60, acting_for={"user": "ann", "host": "there"}) as ann:
            assert ann.jobs() == []

    greedy(work)


def test_who_is_over_the_budget_hears_so_as_often_as_he_asks(greedy: Any) -> None:
    """And not that no server answers."""

    def work(address: str, _: list[int], keys: dict[str, Keys]) -> None:
        overdraw(address, keys["eve"])
        with Client(address, keys=keys["eve"], timeout=60) as eve:
            for _ in range(3):
                with pytest.raises(ServerBusy, match=r"more than your share of this server's time; wait \d+ s\."):
                    eve.hello()

    greedy(work)


@pytest.mark.parametrize("limit", ["OF_CONNECTION", "OF_USER", "BYTES"])
def test_what_waits_for_the_budget_is_bounded(greedy: Any, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """Each message that waits is kept in memory."""
    monkeypatch.setattr(budgets, "PATIENCE", 1e9)
    most, size, sockets_ = {"OF_CONNECTION": (8, 1, 1), "OF_USER": (12, 1, 4), "BYTES": (3, 2**20, 3)}[limit]
    monkeypatch.setattr(budgets, limit, most * size + (1000 * most if limit == "BYTES" else 0))

    def work(address: str, _: list[int], keys: dict[str, Keys]) -> None:
        overdraw(address, keys["eve"])
        with speaking(address, keys["eve"], sockets_) as sockets:
            for number in range(1, most + 2):
                body = {"fill": bytes(size)}
                sockets[number % len(sockets)].send(messages.pack(number, verb="hello", body=body))
            wait_for(lambda: any(one.poll(0) for one in sockets))
            (heard,) = [one for one in sockets if one.poll(0)]
            refused = messages.unpack(heard.recv())
            assert refused["id"] == messages.UNASKED
            with pytest.raises(ServerError, match="too many requests open"):
                messages.result(refused)

    greedy(work)


def test_requests_of_a_user_begin_in_their_order_also_after_waiting_for_the_budget() -> None:
    begun = []

    async def begin(number: int) -> bool:
        begun.append(number)
        return True

    async def all_of_them() -> None:
        paying, asked = budgets.Budgets(), []
        paying.spend("ann", budgets.SAVED + 0.01)
        for number in range(50):
            asked.append(asyncio.create_task(paying.charged("ann", partial(begin, number))))
            await asyncio.sleep(0.0005)
        await asyncio.gather(*asked)

    asyncio.run(all_of_them())
    assert begun == list(range(50))


def test_what_a_request_took_is_paid_while_it_waits_for_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else all that wait for one in their middle would begin first, and be paid when it is too late."""
    monkeypatch.setattr(budgets, "SAVED", 0.03)
    monkeypatch.setattr(budgets, "SHARE", 1e-9)
    monkeypatch.setattr(budgets, "PATIENCE", 1e12)
    begun = []

    async def all_of_them() -> None:
        paying, disk = budgets.Budgets(), asyncio.Event()

        async def work() -> bool:
            begun.append(1)
            spent(0.02)
            await disk.wait()
            return False

        asked = [asyncio.create_task(paying.charged("ann", work)) for _ in range(10)]
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(begun) == 2
        for one in asked:
            one.cancel()

    asyncio.run(all_of_them())


def test_the_processors_time_of_each_step_is_paid_and_pieces_of_files_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "SHARE", 1e-9)

    async def working(is_free: bool) -> bool:
        for _ in range(2):
            spent(0.05)
            # what is waited for costs nothing
            await asyncio.sleep(0.1)
        return is_free

    async def failing() -> bool:
        await working(False)
        raise ValueError

    async def left(work: Callable[[], Coroutine[Any, Any, bool]]) -> float:
        paying = budgets.Budgets()
        with suppress(ValueError):
            await paying.charged("ann", work)
        return paying.left("ann")

    async def all_of_them() -> list[float]:
        return [await left(work) for work in (lambda: working(True), lambda: working(False), failing)]

    free, paid, failed = asyncio.run(all_of_them())
    assert free == pytest.approx(budgets.SAVED)
    # both steps
    assert paid < budgets.SAVED - 0.09
    assert failed < budgets.SAVED - 0.09


def test_calls_of_disks_have_no_thread_started_that_the_loop_waits_for() -> None:
    """Whoever starts a thread waits until it has run, which takes long where all cores are busy."""

    async def asking_disks() -> set[threading.Thread]:
        asked = disks.Disks()
        return {await asked.ask(threading.current_thread) for _ in range(50)}

    assert len(asyncio.run(asking_disks())) == 1


@pytest.mark.parametrize("while_", ["its files are looked at", "its folder is made"])
def test_nobody_meddles_with_a_submission_that_is_not_his(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, while_: str
) -> None:
    """Its id is not known to others yet; who guesses it neither stops it nor puts files in the place of its own."""
    looked_at, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        looked_at.set()
        go_on.wait(60)

    async def inspect(*_: object) -> int:
        if while_ == "its files are looked at":
            await asyncio.to_thread(wait)
        return 1

    def folder_of(*given: Any) -> Path:
        if while_ == "its folder is made":
            wait()
        return new_version_folder(*given)

    keys = {name: allowed(tmp_path, name, Role.ARTIST) for name in ("ann", "eve")}
    config = ServerConfig(HERE, (shot, tmp_path), pipeline="json", require_keys=True)
    told: list[Job] = []

    def submit(address: str) -> None:
        with Client(address, keys=keys["ann"], timeout=60) as client:
            told.append(client.submit(shot_of(shot), str(tmp_path / "out"), job_id="0123456789ab"))

    def work(address: str) -> None:
        ann = threading.Thread(target=submit, args=(address,))
        ann.start()
        assert looked_at.wait(60)
        with Client(address, keys=keys["eve"], timeout=60) as eve:
            for meddle in (
                lambda: eve.cancel("0123456789ab"),
                lambda: eve.submit(shot_of(shot), str(tmp_path / "out"), job_id="0123456789ab"),
            ):
                with pytest.raises(UnknownJob, match="no job '0123456789ab' of yours"):
                    meddle()
        go_on.set()
        ann.join(60)
        assert told[0].submitter == "ann"

    monkeypatch.setattr(Inspector, "inspect", inspect)
    monkeypatch.setattr(requests, "new_version_folder", folder_of)
    within(Server(config), work)


def test_few_pieces_of_a_result_are_read_at_once_for_one_user_on_many_connections(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, go_on = [], threading.Event()

    def chunk(*_: object) -> dict[str, Any]:
        inside.append(1)
        go_on.wait(60)
        return {"data": b"", "digest": ""}

    monkeypatch.setattr(Downloads, "chunk", chunk)
    job = with_a_result(shot, tmp_path / "v001")

    def work(address: str) -> None:
        with Client(address, timeout=60) as client, asking(address, 10) as sockets:
            for one in sockets:
                one.send(piece_of(job, 1))
                # an answer to what cannot be read comes after that request was taken up
                one.send(b"")
                assert one.poll(60_000)
                one.recv()
            wait_for(lambda: len(inside) >= 4)
            client.hello()
            assert len(inside) == 4
            go_on.set()
            wait_for(lambda: len(inside) == 10)

    within(Server(ServerConfig(HERE, (shot, tmp_path), pipeline="json")), work)


def test_changes_are_brought_into_the_list_of_jobs_beside_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite has whoever writes do that now and then, and wait for the disk twice."""
    store, file = Store(tmp_path), tmp_path / FILE
    before = file.stat().st_size
    for number in range(3000):
        store.add(Job(f"{number:012x}", JobState.DONE, Shot("p" * 1000, "r"), "f", 1.0, 1.0))
    assert file.stat().st_size == before
    monkeypatch.setattr(store_module, "_CHECKPOINT", 0.0)
    # which answers wait for
    store.flush()
    assert file.stat().st_size == before
    beside = threading.Thread(target=store.checkpoint)
    beside.start()
    beside.join(60)
    assert file.stat().st_size > before + 3000 * 1000
    store.close()


def test_a_server_brings_changes_into_the_list_though_no_answer_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    brought: list[str] = []
    monkeypatch.setattr(Store, "checkpoint", lambda _: brought.append(threading.current_thread().name))
    within(Server(ServerConfig(HERE, pipeline="json")), lambda _: wait_for(lambda: brought))
    assert "MainThread" not in brought


def test_a_shot_is_read_and_checked_once_however_often_its_job_is_asked_for(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number in range(3):
        store.add(Job(f"{number:012x}", JobState.DONE, Shot("plate", "roto"), "f", 1.0, 1.0))
    first, *others = store.all()
    assert all(one.shot is first.shot for one in others)
    assert first.shot.to_dict() == Shot("plate", "roto").to_dict()
    store.close()


def test_workers_and_inspections_give_way_to_the_server(shot: Path, tmp_path: Path) -> None:
    server = psutil.Process(RunningServer(shot, tmp_path, pipeline="json").process.pid)

    def nice() -> list[int]:
        commands = {" ".join(one.cmdline()): one.nice() for one in server.children()}
        return [
            next((found for command, found in commands.items() if f"service.{kind}" in command), -20)
            for kind in ("inspection", "worker")
        ]

    # nothing is nicer than 19
    wait_for(lambda: nice() == [min(server.nice() + steps, 19) for steps in (5, 10)])


def test_a_disk_that_hangs_keeps_nobody_from_other_disks(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mended, below_roots = threading.Event(), requests.below_roots
    dead = str(tmp_path / "dead")

    def hanging(path: str | Path, roots: object) -> Path:
        if str(path).startswith(dead):
            mended.wait(120)
        return below_roots(path, roots)  # type: ignore[arg-type]

    monkeypatch.setattr(requests, "below_roots", hanging)
    monkeypatch.setattr(disks, "SECONDS", 3.0)

    def submit(address: str, told: list[object]) -> None:
        with Client(address) as client:
            try:
                told.append(client.submit(shot_of(shot), f"{dead}/out"))
            except JobFailed as error:
                told.append(error)

    def work(address: str) -> None:
        told: list[object] = []
        # more than the threads that a loop shares
        asking = [threading.Thread(target=submit, args=(address, told)) for _ in range(40)]
        for one in asking:
            one.start()
        try:
            with Client(address, timeout=60) as client:
                while len(told) < 40:
                    client.hello()
                client.submit(shot_of(shot), str(tmp_path / "out"))
        finally:
            mended.set()
            for one in asking:
                one.join(60)
        assert all("has not responded for 3 s" in str(error) for error in told)

    within(Server(ServerConfig(HERE, (shot, tmp_path), pipeline="void_server.pipeline")), work)


def test_the_pieces_of_a_file_are_under_way_together_and_arrive_in_order(tmp_path: Path) -> None:
    server = RunningServer(tmp_path, pipeline="json")
    content = os.urandom(9 * CHUNK + 5)
    (tmp_path / "plate.0001.exr").write_bytes(content)
    seen = []
    with Client(server.address) as client:
        send = client._send

        def counting(verb: str, body: object) -> int:
            seen.append(verb)
            return send(verb, body)  # type: ignore[arg-type]

        client._send = counting  # type: ignore[method-assign,assignment]
        plate = str(tmp_path / "plate.0001.exr")
        with pytest.raises(JobFailed):
            # json is no pipeline, and cannot look at a shot
            client.submit_files(Shot(plate, plate), {"plate": [plate], "roto": [plate]})
    assert seen.count("upload.chunk") == 10
    (kept,) = (path for path in (Path(os.environ["VOID_HOME"]) / "uploads").rglob("*") if path.is_file())
    assert kept.read_bytes() == content


def test_a_piece_of_a_file_travels_as_it_is() -> None:
    """Packed into a message it would be copied twice on either side."""
    piece = os.urandom(CHUNK)
    envelope, sent = messages.frames_of(7, {"offset": 3, "data": piece}, verb="upload.chunk")
    assert sent is piece
    assert len(envelope) < 200
    came = memoryview(piece)
    message = messages.opened([memoryview(envelope), came])
    assert message["body"] == {"offset": 3, "data": piece}
    assert message["body"]["data"] is came
    for frames in ([], [envelope, piece, piece], [messages.pack(1, body=[1]), piece], [piece, envelope]):
        with pytest.raises(ProtocolError, match="malformed"):
            messages.opened(frames)


def test_the_next_file_is_hashed_while_one_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [tmp_path / f"plate.{number:04d}.exr" for number in range(3)]
    hashed = [threading.Event() for _ in files]
    for file in files:
        file.write_bytes(file.name.encode())

    def digest(path: Path) -> str:
        hashed[files.index(path)].set()
        return hashlib.sha256(path.read_bytes()).hexdigest()

    waited = []

    def upload(_: Client, path: Path, digest: str, *__: object) -> None:
        assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
        following = hashed[files.index(path) + 1 : files.index(path) + 2]
        waited.append(all(event.wait(10) for event in following))

    monkeypatch.setattr(client_module, "digest_of", digest)
    monkeypatch.setattr(Client, "_upload", upload)
    monkeypatch.setattr(Client, "_submitted", lambda *_, files: files)
    with Client(HERE) as client:
        sums = client.submit_files(Shot("plate", "roto"), {"plate": [str(file) for file in files]})
    assert waited == [True] * 3
    assert [name for name, _ in sums["plate"]] == [file.name for file in files]  # type: ignore[index]


def test_a_piece_of_a_result_is_written_while_the_next_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = os.urandom(CHUNK + 5)
    arriving, waited, opened = threading.Event(), [], client_module.open_partial

    def answers(*_: object) -> Iterator[dict[str, Any]]:
        yield {"data": content[:CHUNK], "digest": ""}
        arriving.set()
        yield {"data": content[CHUNK:], "digest": hashlib.sha256(content).hexdigest()}

    class Slow:
        def __init__(self, path: Path) -> None:
            self._file = opened(path)
            self.tell = self._file.tell

        def write(self, data: bytes) -> None:
            waited.append(arriving.wait(10))
            self._file.write(data)

        def __enter__(self) -> Slow:
            return self

        def __exit__(self, *_: object) -> None:
            self._file.close()

    monkeypatch.setattr(client_module, "open_partial", Slow)
    monkeypatch.setattr(Client, "_ask_ahead", answers)
    with Client(HERE) as client:
        fetched = client.fetch("0123456789ab", client_module.ResultFile("large.bin", len(content)), str(tmp_path))
    assert Path(fetched).read_bytes() == content
    assert waited == [True, True]


def test_nothing_is_written_behind_a_piece_of_a_result_that_the_disk_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is there is the beginning of the file, and so the next try goes on with it."""
    content, opened = os.urandom(6 * CHUNK), client_module.open_partial

    def answers(_: object, __: str, bodies: Iterable[dict[str, Any]], ___: object) -> Iterator[dict[str, Any]]:
        for body in bodies:
            begin = body["offset"]
            end = begin + CHUNK
            digest = hashlib.sha256(content).hexdigest() if end >= len(content) else ""
            yield {"data": content[begin:end], "digest": digest}

    class Full:
        def __init__(self, path: Path) -> None:
            self._file, self._written = opened(path), 0
            self.tell = self._file.tell

        def write(self, data: bytes) -> None:
            self._written += 1
            if self._written == 2:
                self._file.write(data[:1000])
                raise OSError(errno.ENOSPC, "No space left on device")
            self._file.write(data)

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            self._file.close()

    monkeypatch.setattr(Client, "_ask_ahead", answers)
    result = client_module.ResultFile("large.bin", len(content))
    with Client(HERE) as client:
        with monkeypatch.context() as patch:
            patch.setattr(client_module, "open_partial", Full)
            with pytest.raises(OSError, match="No space left"):
                client.fetch("0123456789ab", result, str(tmp_path))
        assert (tmp_path / ".large.bin.part").read_bytes() == content[: CHUNK + 1000]
        assert Path(client.fetch("0123456789ab", result, str(tmp_path))).read_bytes() == content


def test_a_result_is_hashed_as_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read once more at its end, a large one would be late by as long as that takes."""
    content = os.urandom(3 * CHUNK + 5)
    (tmp_path / "large.bin").write_bytes(content)
    job, downloads, found = (
        Job("0123456789ab", JobState.DONE, Shot("p", "r"), str(tmp_path), 1.0, 1.0),
        Downloads(),
        b"",
    )

    def fetch(client: bytes, number: int) -> dict[str, Any]:
        return downloads.chunk(client, job, "large.bin", number * CHUNK)

    with monkeypatch.context() as patch:
        patch.setattr(transfer, "digest_of_open", lambda _: pytest.fail("read once more"))
        for number in range(4):
            # two clients at once do not disturb each other
            fetch(b"other", number)
            answer = fetch(b"one", number)
            assert bool(answer["digest"]) == (number == 3)
            found += answer["data"]
    assert found == content
    assert answer["digest"] == hashlib.sha256(content).hexdigest()
    # one who goes on after an interruption, and one whose file is exchanged on the way, are told what is in the file
    assert fetch(b"late", 3)["digest"] == hashlib.sha256(content).hexdigest()
    fetch(b"one", 0)
    new = os.urandom(len(content))
    (tmp_path / "new").write_bytes(new)
    (tmp_path / "new").replace(tmp_path / "large.bin")
    assert [fetch(b"one", number)["digest"] for number in (1, 2, 3)] == ["", "", hashlib.sha256(new).hexdigest()]


def test_a_hundred_jobs_accepted_at_once_wait_for_the_disk_once_and_hold_nobody_up(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flush of a busy disk takes a tenth of a second and more; in the loop, each would be a pause for all."""
    flushes: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    def flush(_: Store) -> None:
        flushes.append(threading.current_thread().name)
        begun.set()
        go_on.wait(60)

    async def inspect(*_: object) -> int:
        return 1

    monkeypatch.setattr(Store, "flush", flush)
    monkeypatch.setattr(Inspector, "inspect", inspect)
    server = Server(ServerConfig(HERE, (shot, tmp_path), pipeline="json"))

    def submit(address: str) -> None:
        with Client(address, timeout=60) as client:
            client.submit(shot_of(shot), str(tmp_path / "out"))

    def work(address: str) -> None:
        asking = [threading.Thread(target=submit, args=(address,)) for _ in range(20)]
        for one in asking:
            one.start()
        with Client(address, timeout=60) as client:
            assert begun.wait(60)
            # while the disk is flushed, others are answered, and none of the twenty is told that its job is kept
            wait_for(lambda: len(client.jobs()) == 20)
            assert all(one.is_alive() for one in asking)
            go_on.set()
            for one in asking:
                one.join(60)
        assert len(flushes) < 20
        assert "MainThread" not in flushes

    within(server, work)
