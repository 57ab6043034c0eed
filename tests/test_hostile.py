"""What strangers, broken programs and hostile servers send: nothing ends a server, a worker's line or a client."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import re
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import msgpack
import psutil
import pytest
import zmq

from tests import test_service
from tests.test_service import RunningServer, ended, plates, raw, shot_of, wait_for
from void_server.api import Client, Job, JobState, Shot, messages
from void_server.api.errors import (
    AccessDenied,
    InputError,
    JobCancelled,
    JobFailed,
    ProtocolError,
    ServerError,
    SettingError,
    UnknownJob,
)
from void_server.api.files import inside
from void_server.api.home import home
from void_server.service import transfer
from void_server.service.requests import Requests
from void_server.service.store import FILE
from void_server.service.transfer import Downloads, Upload, Uploads

pytestmark = pytest.mark.slow

server, client, no_server_stays = test_service.server, test_service.client, test_service.no_server_stays

# Bytes that are none of ours, at the server's port


def port_of(running: RunningServer) -> tuple[str, int]:
    return "127.0.0.1", int(running.address.rpartition(":")[2])


def said_until_closed(running: RunningServer, *sent: bytes) -> bytes:
    """Send bytes over TCP; all that the server says until it closes the connection, for a while."""
    heard = b""
    with socket.create_connection(port_of(running), timeout=5) as stranger, suppress(OSError):
        for piece in sent:
            stranger.sendall(piece)
        while piece := stranger.recv(4096):
            heard += piece
    return heard


def frame_of_zmtp_1(content: bytes) -> bytes:
    """A frame of ZMTP 1.0, the protocol of ZeroMQ 2."""
    length = len(content) + 1
    return (bytes([length]) if length < 255 else b"\xff" + struct.pack(">Q", length)) + b"\0" + content


def submission(shot: Path, out: Path) -> bytes:
    body = {"id": "0123456789ab", "shot": shot_of(shot).to_dict(), "out": str(out)}
    return messages.pack(1, verb="submit", body=body)


# in ZMTP 1.0 "y" begins a frame of 120 bytes with more to follow, "x" one of 119 that is the last
GET = b"GET /%s HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: %s\r\n\r\n" % (b"y" * 400, b"x" * 1000)
TLS_HELLO = b"\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03" + bytes(range(256)) * 2
ZMTP_2 = b"\xff" + bytes(7) + b"\x01\x7f\x01\x05\x00\x00"


def web_page(message: bytes) -> bytes:
    """What a page can have a browser post, so that a peer of ZMTP 1.0 takes the body for its messages."""
    head = b"POST / HTTP/1.1\r\nX-Padding: "
    # "P" is the length of a frame
    return head + b"x" * (ord("P") + 1 - len(head)) + frame_of_zmtp_1(message)


@pytest.mark.parametrize("sent", [GET, TLS_HELLO, b"\x00" * 4000, b"\xff" * 4000], ids=["get", "tls", "zeros", "ones"])
def test_a_stray_connection_does_not_silence_the_server(server: RunningServer, client: Client, sent: bytes) -> None:
    for _ in range(3):
        said_until_closed(server, sent)
    assert client.hello().pid == server.process.pid


@pytest.mark.parametrize(("count", "refused"), [(2, "not msgpack"), (3, "3 frames"), (50, "50 frames")])
def test_a_message_of_several_frames_does_not_silence_the_server(
    server: RunningServer, client: Client, count: int, refused: str
) -> None:
    context = zmq.Context()
    stranger = context.socket(zmq.DEALER)
    stranger.connect(server.address)
    stranger.send_multipart([b"frame"] * count)
    # the answer to the next shows that this one was looked at
    stranger.send(messages.pack(5, verb="hello", body={}))
    assert stranger.poll(10_000), "the server was silenced"
    assert refused in msgpack.unpackb(stranger.recv())["error"]["message"]
    assert msgpack.unpackb(stranger.recv())["body"]["pid"] == server.process.pid
    context.destroy(linger=0)
    assert client.hello().pid == server.process.pid


def test_a_req_socket_does_not_silence_the_server(server: RunningServer, client: Client) -> None:
    context = zmq.Context()
    stranger = context.socket(zmq.REQ)
    stranger.connect(server.address)
    stranger.send(messages.pack(5, verb="hello", body={}))
    # it takes no answer without the frame that it sent first, and the server takes no such frame
    assert not stranger.poll(1000)
    context.destroy(linger=0)
    assert client.hello().pid == server.process.pid


@pytest.mark.parametrize(
    "greeting",
    [lambda m: b"\x01\x00" + frame_of_zmtp_1(m), lambda m: ZMTP_2 + b"\x02" + struct.pack(">Q", len(m)) + m, web_page],
    ids=["zmtp-1.0", "zmtp-2.0", "web-page"],
)
def test_only_peers_that_can_be_asked_who_they_are_submit_jobs(
    server: RunningServer, client: Client, shot: Path, tmp_path: Path, greeting: Callable[[bytes], bytes]
) -> None:
    heard = said_until_closed(server, greeting(submission(shot, tmp_path / "out")))
    assert b"folder" not in heard
    assert client.jobs() == []
    assert not (tmp_path / "out").exists()
    # and those of today do so without keys
    assert ended(client, client.submit(shot_of(shot), str(tmp_path / "out"))).state is JobState.DONE


def test_a_small_message_cannot_claim_much_memory() -> None:
    before = psutil.Process().memory_info().rss
    maps = b"\xdd" + struct.pack(">I", 300_000) + b"\x81\xa1a\x80" * 300_000
    for bomb in (maps, b"\xdd\x00\x7f\xff\xf0" + b"\x80" * 0x7FFFF0, b"\x91" * 10_000, b"\xdb\xff\xff\xff\xff"):
        with pytest.raises(ProtocolError, match="not msgpack"):
            messages.unpack(bomb)
    assert psutil.Process().memory_info().rss - before < 2**28


def test_a_message_of_very_many_names_is_refused_before_they_are_read() -> None:
    """Half a million of them would keep the loop from everybody else for a quarter of a second; long lists may come."""
    names = {str(number): 0 for number in range(100_000)}
    for body in (names, {str(part): dict.fromkeys(list(names)[part::100], 0) for part in range(100)}):
        with pytest.raises(ProtocolError, match="not msgpack"):
            messages.opened([messages.pack(1, verb="submit", body=body)], messages.NAMED)
    files = [[f"plate.{number:08}.exr", "0" * 64] for number in range(80_000)]
    assert messages.opened([messages.pack(1, verb="submit", body={"files": {"plate": files}})], messages.NAMED)


def test_the_results_of_the_longest_shot_are_listed_to_a_client() -> None:
    """Each file with its name and size, of which there are four and more a frame."""
    listed = [{"path": f"plate/void_plate.{number:04}.exr", "size": 10**8} for number in range(100_000)]
    assert messages.opened([messages.pack(1, body=listed)])["body"] == listed


def test_what_a_client_calls_a_job_is_not_sent_back_whole(client: Client) -> None:
    with pytest.raises(UnknownJob) as caught:
        client.status("a" * 1_000_000)
    assert len(str(caught.value)) < 200


# Paths that clients name


@pytest.mark.parametrize("path", ["~nobody-of-this-name/plate", "plate", "{tmp}/a\0b", ""])
@pytest.mark.parametrize("field", ["plate", "out"])
def test_a_path_that_is_none_is_denied_with_a_sentence(
    server: RunningServer, shot: Path, tmp_path: Path, field: str, path: str
) -> None:
    named = path.format(tmp=tmp_path)
    body = {"id": "0123456789ab", "shot": shot_of(shot).to_dict(), "out": str(tmp_path)}
    if field == "plate" and path:
        body["shot"]["plate"] = named
    else:
        body["out"] = named
    error = raw(server.address, messages.pack(1, verb="submit", body=body))["error"]
    assert error["kind"] == "AccessDenied", error
    assert "not an absolute path" in error["message"]


# The workers


def test_nobody_else_can_speak_to_the_workers(server: RunningServer) -> None:
    wait_for(server.workers)
    processes = [psutil.Process(server.process.pid), *server.workers()]
    listening = [c.laddr.port for p in processes for c in p.net_connections() if c.status == psutil.CONN_LISTEN]
    assert listening == [port_of(server)[1]]


WORKERS = """
import gc
from void_server.pipeline import inspect
from void_server.pipeline import run as _run

# in the server, which inspects, there is none
worker = next((found for found in gc.get_objects() if type(found).__name__ == "Worker"), None)

def run(job_id, shot, folder, report):
    if shot.prompt == "another's":
        worker._send("done", id="ffffffffffff", warnings=[])
        worker._send("progress", id=job_id, progress={"stage": 5})
        worker._send("dance", id=job_id)
    if shot.prompt == "garbage":
        worker._out.write(b"\\xc1 garbage")
        worker._out.flush()
    if shot.prompt == "exit":
        raise SystemExit("the engine has had enough")
    print("a library prints")
    return _run(job_id, shot, folder, report)
"""


def test_what_a_worker_says_amiss_costs_no_more_than_its_own_job(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "amiss.py").write_text(WORKERS)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    log = tmp_path / "server.log"
    running = RunningServer(shot, tmp_path, pipeline="amiss", log=str(log))

    def done(prompt: str) -> Any:
        values = {**shot_of(shot).to_dict(), "prompt": prompt}
        return ended(client, client.submit(Shot.from_dict(values), str(tmp_path / "out")))

    with Client(running.address) as client:
        assert done("garbage").state is JobState.FAILED
        assert done("exit").state is JobState.FAILED
        assert done("another's").state is JobState.DONE
        assert done("").state is JobState.DONE
    words = log.read_text()
    assert "about job 'ffffffffffff'" in words
    assert "sent an invalid message" in words
    assert "a library prints" in words


# Servers that are none


@contextmanager
def pretender(answer: Callable[[dict[str, Any]], list[bytes]]) -> Iterator[str]:
    """A server that answers each request with these messages; its address."""
    context = zmq.Context()
    line = context.socket(zmq.ROUTER)
    port = line.bind_to_random_port("tcp://127.0.0.1")
    ending = threading.Event()

    def serve() -> None:
        while not ending.is_set():
            if line.poll(50):
                sender, data = line.recv_multipart()
                for message in answer(msgpack.unpackb(data)):
                    line.send_multipart([sender, message])

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"tcp://127.0.0.1:{port}"
    finally:
        ending.set()
        thread.join()
        context.destroy(linger=0)


def listing(path: str) -> Callable[[dict[str, Any]], list[bytes]]:
    """A server with a result of two files, of which one is at ``path``."""

    def answer(request: dict[str, Any]) -> list[bytes]:
        if request["verb"] == "result.list":
            return [messages.pack(request["id"], body=[{"path": name, "size": 3} for name in ("first.txt", path)])]
        data = b"abc"[request["body"]["offset"] :]
        digest = hashlib.sha256(b"abc").hexdigest()
        return [messages.pack(request["id"], body={"data": data, "digest": digest})]

    return answer


@pytest.mark.parametrize(
    "path",
    [
        "../../x",
        "/tmp/void-was-here",
        "a/../../x",
        "C:/x",
        "C:x",
        "..\\x",
        "\\\\host\\x",
        "a\0b",
        "",
        "a//b",
        "nul",
        "..",
        "x/. ",
    ],
)
def test_a_result_that_leads_out_of_its_folder_is_refused(tmp_path: Path, path: str) -> None:
    out = tmp_path / "in" / "out"
    with (
        pretender(listing(path)) as address,
        Client(address, timeout=5) as client,
        pytest.raises(AccessDenied, match="is no path within a folder"),
    ):
        client.download("0123456789ab", str(out))
    assert not list(tmp_path.iterdir())
    assert not Path("/tmp/void-was-here").exists()


def test_a_result_is_fetched_where_nothing_leads_out(tmp_path: Path) -> None:
    with pretender(listing("plate/second.txt")) as address, Client(address, timeout=5) as client:
        folder = Path(client.download("0123456789ab", str(tmp_path)))
    assert {path.name: path.read_bytes() for path in folder.rglob("*.txt")} == {
        "first.txt": b"abc",
        "second.txt": b"abc",
    }


@pytest.mark.skipif(os.open not in os.supports_dir_fd, reason="this system cannot enter folders one by one")
@pytest.mark.parametrize("exchanged", ["plate", "plate/frame"])
def test_a_link_put_into_a_result_while_it_is_fetched_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanged: str
) -> None:
    """Whoever may write there could otherwise read what the server alone may, such as its keys."""
    secret, folder = tmp_path / "keys", tmp_path / "v001"
    for place, text in ((secret, "secret"), (folder / "plate", "frame")):
        place.mkdir(parents=True)
        (place / "frame").write_text(text)
    job = Job("0123456789ab", JobState.DONE, Shot("p", "r"), str(folder), 1.0, 1.0)
    assert Downloads().chunk(b"c", job, "plate/frame", 0)["data"] == b"frame"

    def checked(above: Path, path: str) -> Path:
        found = inside(above, path)
        # between the check and the opening
        (folder / exchanged).rename(tmp_path / "away")
        (folder / exchanged).symlink_to(secret / exchanged.partition("/")[2])
        return found

    monkeypatch.setattr(transfer, "inside", checked)
    with pytest.raises(AccessDenied, match="link"):
        Downloads().chunk(b"c", job, "plate/frame", 0)


def test_two_downloads_of_a_job_at_once_are_one(tmp_path: Path) -> None:
    out = str(tmp_path)
    with pretender(listing("plate/second.txt")) as quick:

        def answer(request: dict[str, Any]) -> list[bytes]:
            if request["verb"] == "result.chunk":
                with Client(quick) as other:
                    other.download("0123456789ab", out)
            return listing("plate/second.txt")(request)

        with pretender(answer) as address, Client(address) as client:
            folder = Path(client.download("0123456789ab", out))
    assert {path.name: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()} == {
        "first.txt": b"abc",
        "second.txt": b"abc",
    }
    assert [path.name for path in tmp_path.iterdir()] == [folder.name] == ["v001"]


@pytest.mark.parametrize("link", ["plate", "plate/second.txt", "plate/.second.txt.part"])
def test_a_link_in_the_way_of_a_result_is_refused(tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    begun = tmp_path / "out" / "v001"
    (begun / link).parent.mkdir(parents=True)
    (begun / ".download").write_text("0123456789ab")
    (begun / link).symlink_to(outside if link == "plate" else outside / "file")
    with (
        pretender(listing("plate/second.txt")) as address,
        Client(address, timeout=5) as client,
        pytest.raises(AccessDenied, match="There is a link on the way"),
    ):
        client.download("0123456789ab", str(tmp_path / "out"))
    assert not list(outside.iterdir())


@pytest.mark.parametrize("body", [None, 5, "text", [None], {"id": []}, [{"path": 5}]], ids=str)
def test_an_answer_that_is_none_is_an_error_of_the_server(tmp_path: Path, body: Any) -> None:
    def answer(request: dict[str, Any]) -> list[bytes]:
        return [messages.pack(request["id"], body=body)]

    with pretender(answer) as address, Client(address, timeout=5) as client:
        asked: list[Callable[[], Any]] = [
            client.hello,
            client.jobs,
            lambda: client.status("0"),
            lambda: next(client.watch("0")),
            lambda: client.download("0", str(tmp_path)),
        ]
        for ask in asked:
            with pytest.raises(ProtocolError):
                ask()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("message", [msgpack.packb({"protocol": 1, "id": 1, "error": 5}), b"\xc1"])
def test_an_error_that_is_none_is_an_error_of_the_server(message: bytes) -> None:
    with pretender(lambda _: [message]) as address, Client(address, timeout=5) as client, pytest.raises(ProtocolError):
        client.hello()


# Errors of the program


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("import nothing_of_this_name", "No module named 'nothing_of_this_name'"),
        ("1 / 0", "division by zero"),
        ("raise SystemExit('no licence')", "no licence"),
        ("def broken(:", "invalid syntax"),
    ],
)
def test_an_engine_whose_module_fails_on_import_is_an_answer_with_its_cause(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, said: str
) -> None:
    site = tmp_path / "site"
    info = site / "studio-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: studio\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[void_server.engines]\nours = studio_engine:Engine\n")
    (site / "studio_engine.py").write_text(module)
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    running = RunningServer(shot, tmp_path)
    with Client(running.address) as client:
        with pytest.raises(SettingError, match="The engine 'ours' cannot be loaded") as caught:
            client.submit(shot_of(shot, engine="ours"), str(tmp_path / "out"))
        assert said in str(caught.value)
        assert "ours" in client.hello().engines


def test_an_error_of_the_program_is_an_answer_and_its_traceback_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, log = tmp_path / "site", tmp_path / "server.log"
    site.mkdir()
    code = "import void_server.service.transfer as transfer\ntransfer.Uploads.offset = lambda *_: 1 / 0\n"
    (site / "sitecustomize.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    running = RunningServer(tmp_path, log=str(log))
    with Client(running.address) as client:
        with pytest.raises(JobFailed, match=r"internal error \(ZeroDivisionError: division by zero\)"):
            client._ask("upload.offset", digest="0" * 64, size=3)
        assert client.hello().pid == running.process.pid
    assert "    ZeroDivisionError: division by zero" in log.read_text()


def test_a_list_of_jobs_that_cannot_be_used_is_an_answer(tmp_path: Path) -> None:
    import sqlite3

    running = RunningServer(tmp_path)
    with Client(running.address) as client:
        client.jobs()
        with sqlite3.connect(home() / FILE) as other:
            other.execute("drop table jobs")
        with pytest.raises(ServerError, match="list of jobs cannot be used now"):
            client.jobs()
        assert client.hello().pid == running.process.pid


def test_workers_that_die_at_start_say_why(shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    site.mkdir()
    code = "import sys\nif 'void_server.service.worker' in sys.orig_argv:\n    sys.exit('the driver is too old')\n"
    (site / "sitecustomize.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    running = RunningServer(shot, tmp_path)
    with Client(running.address) as client:
        job = ended(client, client.submit(shot_of(shot), str(tmp_path / "out")))
        assert job.state is JobState.FAILED
        assert re.search(r"workers do not start \(exit code 1: .*the driver is too old\)", str(job.error))
        # once that is mended the server goes on by itself
        (site / "sitecustomize.py").unlink()
        client.resume(job.id)
        assert ended(client, job).state is JobState.DONE


def test_housekeeping_goes_on_after_an_error_of_the_disk(tmp_path: Path) -> None:
    stubborn = home() / "uploads" / "ab" / "a folder that cannot be removed"
    stubborn.mkdir(parents=True)
    os.utime(stubborn, (0, 0))
    command = [sys.executable, "-c", "from void_server.cli import main; main()", "serve", "--idle-minutes", "0.1"]
    command += ["--address", "tcp://127.0.0.1:*", "--root", str(tmp_path)]
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


# Uploads that share their content


def uploaded(uploads: Uploads, content: bytes) -> str:
    """Upload a file; its digest."""
    digest = hashlib.sha256(content).hexdigest()
    uploads.chunk(Upload(digest, len(content), ""), 0, content)
    return digest


@pytest.mark.parametrize("second", ["x.exr", "X.EXR"])
def test_two_uploaded_files_of_one_name_are_refused(tmp_path: Path, second: str) -> None:
    uploads = Uploads(tmp_path / "uploads")
    one, two = uploaded(uploads, b"one"), uploaded(uploads, b"another")
    with pytest.raises(InputError, match="give each a name of its own"):
        uploads.place({"plate": [["x.exr", one], [second, two]]}, tmp_path / "job", "")
    assert uploads._path(one, "").read_bytes() == b"one"


def laid_out(
    uploads: Uploads, state: Path, job: str, files: dict[str, list[list[str]]], given_up: threading.Event | None = None
) -> dict[str, str]:
    """Lay out a job's uploads as a server of this state folder does."""
    asked = Requests.__new__(Requests)
    asked._uploads, asked._owner_of_work = uploads, None
    return asked._lay_out(files, state / "jobs" / job, "", given_up or threading.Event())


def test_what_is_laid_out_too_late_is_left_to_no_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk was too slow, its job was refused, and its submitter may have submitted it again."""
    uploads, given_up = Uploads(tmp_path / "uploads"), threading.Event()
    one, two = uploaded(uploads, b"one"), uploaded(uploads, b"two")
    places = laid_out(uploads, tmp_path, "mine", {"plate": [["x.exr", one]]})
    link = os.link

    def slow(source: Path, target: Path) -> None:
        link(source, target)
        given_up.set()

    monkeypatch.setattr(os, "link", slow)
    for job in ("mine", "other"):
        with pytest.raises(JobCancelled, match="took too long; submit again"):
            laid_out(uploads, tmp_path, job, {"plate": [["x.exr", two]]}, given_up)
    assert Path(places["plate"]).read_bytes() == b"one"
    assert [folder.name for folder in (tmp_path / "jobs").iterdir()] == ["mine"]


def test_what_was_laid_out_as_its_submission_was_given_up_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was looked at before, and nobody takes away what gets its name after that."""
    uploads, given_up, rename = Uploads(tmp_path / "uploads"), threading.Event(), os.rename
    one = uploaded(uploads, b"one")

    def slow(source: Path, target: Path) -> None:
        given_up.set()
        rename(source, target)

    monkeypatch.setattr(os, "rename", slow)
    with pytest.raises(JobCancelled, match="took too long; submit again"):
        laid_out(uploads, tmp_path, "mine", {"plate": [["x.exr", one]]}, given_up)
    assert [*(tmp_path / "jobs" / "mine").iterdir()] == []


def test_a_submission_with_other_files_leaves_those_of_other_jobs_alone(tmp_path: Path) -> None:
    uploads, jobs = Uploads(tmp_path / "uploads"), tmp_path / "jobs"
    one, two = uploaded(uploads, b"one"), uploaded(uploads, b"another")
    laid_out(uploads, tmp_path, "mine", {"plate": [["x.exr", one], ["y.exr", one]]})
    laid_out(uploads, tmp_path, "other", {"plate": [["x.exr", one]]})
    # the same again, as after a lost answer, then other content and fewer files, as after a refusal
    laid_out(uploads, tmp_path, "mine", {"plate": [["x.exr", one], ["y.exr", one]]})
    places = laid_out(uploads, tmp_path, "mine", {"plate": [["x.exr", two]]})
    assert places == {"plate": str(jobs / "mine" / "input" / "plate" / "x.exr")}
    found = {str(file.relative_to(jobs)): file.read_bytes() for file in jobs.rglob("*") if file.is_file()}
    assert found == {"mine/input/plate/x.exr": b"another", "other/input/plate/x.exr": b"one"}
    assert uploads._path(one, "").read_bytes() == b"one"


@pytest.mark.parametrize("link", ["input", "input/plate", "input/plate/x.exr"])
def test_a_link_that_a_worker_left_in_the_folder_of_a_job_leads_nowhere(tmp_path: Path, link: str) -> None:
    """The server may be root, and the folder the workers' user's."""
    uploads, precious = Uploads(tmp_path / "uploads"), tmp_path / "cron.d"
    one = uploaded(uploads, b"one")
    (precious / "plate").mkdir(parents=True)
    (precious / "plate" / "daily").write_text("theirs")
    before = sorted(precious.rglob("*"))
    way = tmp_path / "jobs" / "mine" / link
    way.parent.mkdir(parents=True)
    way.symlink_to(precious / "plate" / "daily" if link.endswith("exr") else precious)
    places = laid_out(uploads, tmp_path, "mine", {"plate": [["x.exr", one]]})
    assert Path(places["plate"]).read_bytes() == b"one"
    assert Path(places["plate"]).resolve() == Path(places["plate"])
    assert sorted(precious.rglob("*")) == before
    assert (precious / "plate" / "daily").read_text() == "theirs"


@pytest.mark.parametrize(("error", "copied"), [(errno.EXDEV, True), (errno.EPERM, True), (errno.ENOSPC, False)])
def test_uploads_are_copied_only_where_there_are_no_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, copied: bool
) -> None:
    def link(*_: Any) -> None:
        raise OSError(error, os.strerror(error))

    uploads = Uploads(tmp_path / "uploads")
    one = uploaded(uploads, b"one")
    monkeypatch.setattr(os, "link", link)
    with nullcontext() if copied else pytest.raises(OSError, match="space"):
        uploads.place({"plate": [["x.exr", one]]}, tmp_path / "job", "")
    assert [file.name for file in (tmp_path / "job" / "plate").iterdir()] == ["x.exr"] * copied
    assert uploads._path(one, "").read_bytes() == b"one"


# All at once


def mutated(chance: random.Random, data: bytes) -> bytes:
    """A message with bytes changed, cut off, doubled or put in."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(changed)) if changed else 0
        kind = chance.randrange(4)
        if kind == 0 and changed:
            changed[at] = chance.randrange(256)
        elif kind == 1:
            del changed[at : at + chance.randint(1, 20)]
        elif kind == 2:
            changed[at:at] = chance.randbytes(chance.randint(1, 20))
        else:
            changed[at:at] = changed[at : at + 30]
    return bytes(changed)


def test_two_thousand_mutated_messages_cost_no_job(shot: Path, tmp_path: Path) -> None:
    running = RunningServer(shot, tmp_path)
    chance = random.Random(1)
    digest = {"digest": "0" * 64, "size": 3}
    requests: list[tuple[str, dict[str, Any]]] = [
        ("hello", {}),
        ("jobs", {}),
        *((verb, {"job": "0123456789ab"}) for verb in ("status", "watch", "cancel", "resume", "result.list")),
        ("submit", {"id": "0123456789ab", "shot": shot_of(shot).to_dict(), "out": str(tmp_path / "out"), "x": [1, {}]}),
        ("submit", {"id": "0123456789ab", "shot": shot_of(shot).to_dict(), "files": {"plate": [["a", "0" * 64]]}}),
        ("upload.offset", digest),
        ("upload.chunk", {**digest, "offset": 0, "data": b"abc"}),
        ("result.chunk", {"job": "0123456789ab", "path": "plate/x.exr", "offset": 0}),
    ]
    context = zmq.Context()
    stranger = context.socket(zmq.DEALER)
    stranger.connect(running.address)
    for number in range(2000):
        verb, body = chance.choice(requests)
        data = mutated(chance, messages.pack(number, verb=verb, body=body))
        if chance.random() < 0.2:
            stranger.send_multipart([data] * chance.randint(2, 5))
        else:
            stranger.send(data)
        while stranger.poll(0):
            stranger.recv()
        if number % 40 == 0:
            with socket.create_connection(port_of(running), timeout=5) as other:
                other.sendall(mutated(chance, chance.choice([GET, TLS_HELLO, ZMTP_2, web_page(data)])))
    with Client(running.address, timeout=60) as client:
        assert client.hello().pid == running.process.pid
        job = ended(client, client.submit(shot_of(shot), str(tmp_path / "result")))
        assert job.state is JobState.DONE
        assert len(plates(job.folder)) == 12
    context.destroy(linger=0)
