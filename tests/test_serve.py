"""`void serve`: what keeps it from starting, and what it logs."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests import test_service
from tests.test_service import RunningServer, ended, raw, shot_of, wait_for
from void_server.api import Client, JobState, Keys, messages
from void_server.api.errors import SettingError
from void_server.api.home import home
from void_server.api.shot import Settings
from void_server.cli.serving import gpus_of_workers
from void_server.service.config import ServerConfig
from void_server.service.keys import KeyRing
from void_server.service.workers import WorkerHandle, WorkerPool

pytestmark = pytest.mark.slow

no_server_stays = test_service.no_server_stays
VOID = [sys.executable, "-c", "from void_server.cli import main; main()"]


def refused(*options: str) -> tuple[int, str]:
    """The exit code of a server that does not start, and its sentence."""
    done = subprocess.run([*VOID, "serve", *options], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    (sentence,) = done.stderr.splitlines()
    return done.returncode, sentence


@pytest.mark.parametrize(
    "address",
    [
        "foo",
        "tcp://nohost",
        "tcp://127.0.0.1:99999",
        "tcp://127.0.0.1:0",
        "tcp://127.0.0.1:5690/x",
        "http://127.0.0.1:1",
    ],
)
def test_an_address_that_is_none_is_wrong_input(address: str) -> None:
    code, sentence = refused("--address", address)
    assert code == 2
    assert sentence.startswith(f"void: '{address}' is not an address to listen at; write it like tcp://127.0.0.1:5690,")


def test_an_address_of_another_machine_is_wrong_input(tmp_path: Path) -> None:
    ring = KeyRing(home())
    ring.allow(ring.new("ann", tmp_path)[0])
    code, sentence = refused("--address", "tcp://192.0.2.1:5690")
    assert code == 2
    assert "give an address of this machine" in sentence


def test_a_port_in_use_is_a_failure() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, sentence = refused("--address", f"tcp://127.0.0.1:{taken.getsockname()[1]}")
    assert code == 1
    assert "another program, most likely a VOID server, already does" in sentence


def test_a_root_that_is_not_there_is_wrong_input(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for root in (tmp_path / "gone", file):
        code, sentence = refused("--address", "tcp://127.0.0.1:*", "--root", str(root))
        assert (code, sentence) == (
            2,
            f"void: The root {root} is not a folder; create or mount it, or give another --root.",
        )


def test_a_log_that_cannot_be_written_is_wrong_input(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, sentence = refused("--address", "tcp://127.0.0.1:*", "--log", str(tmp_path / "file" / "log"))
    assert code == 2
    assert "cannot be written" in sentence
    assert refused("--log-level", "chatty")[0] == 2


def test_the_log_says_who_did_what_and_how_it_ended(shot: Path, tmp_path: Path) -> None:
    ring = KeyRing(home())
    public, secret = ring.new("ann", tmp_path)
    ring.allow(public)
    # one that is damaged must not keep ann out
    (ring.clients / "bob.key").write_text("hello")
    log = tmp_path / "server.log"
    running = RunningServer(shot, tmp_path, keys=True, log=str(log))
    with Client(running.address, keys=Keys(str(secret), str(ring.server_public))) as client:
        job = client.submit(shot_of(shot), str(tmp_path / "out"))
        assert ended(client, job).state is JobState.DONE
        with pytest.raises(Exception, match="engine 'magic' is not installed"):
            client.submit(shot_of(shot, engine="magic"), str(tmp_path / "out"))
    running.stop()
    lines = log.read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (INFO|WARNING|ERROR) ", line) for line in lines)
    words = "\n".join(lines)
    for said in (
        f"listens at {running.address}, with keys",
        "worker-1 started",
        f"job {job.id} submitted by ann (127.0.0.1): plate {shot / 'plate'}, into {job.folder}",
        f"job {job.id} begins, worker-1, attempt 1",
        f"job {job.id} done",
        "submit of ann (127.0.0.1) refused: SettingError: The engine 'magic' is not installed",
        "bob.key is not a public key file",
        "has ended",
    ):
        assert said in words


def test_what_a_client_says_cannot_forge_a_line_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    running = RunningServer(tmp_path, log=str(log))
    verb = "x\n2026-01-01 00:00:00,000 INFO    job 0123456789ab done\r\x1b[2J\u2028\u202e" + "y" * 10_000
    raw(running.address, messages.pack(1, verb=verb, body={}))
    (line,) = [line for line in log.read_text().splitlines() if "0123456789ab" in line]
    assert "refused" in line
    assert line.isprintable()
    assert len(line) < 3000


def test_an_embedded_server_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from void_server.api.errors import ServerRefused
    from void_server.service.embedded import embedded_server

    (tmp_path / "file").touch()
    monkeypatch.setenv("VOID_HOME", str(tmp_path / "file"))
    with pytest.raises(ServerRefused, match="VOID cannot keep its state in"), embedded_server([tmp_path]):
        pass


def test_what_an_embedded_server_logs_lies_in_the_state_folder(tmp_path: Path) -> None:
    from void_server.service.embedded import embedded_server

    with embedded_server([tmp_path]) as address, Client(address) as client:
        client.hello()
    assert "listens at" in (home() / "embedded.log").read_text()


# -- one worker a GPU


@pytest.fixture
def three_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver's own tool, as it answers where there are three cards."""
    folder = tmp_path / "driver"
    folder.mkdir()
    tool = folder / "nvidia-smi"
    tool.write_text('#!/bin/sh\nfor i in 0 1 2; do echo "$i, NVIDIA L40S, 46068, 8.9"; done\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


@pytest.mark.usefixtures("three_gpus")
@pytest.mark.parametrize(("options", "seen"), [(("--gpus", "0,2"), ["0", "2"]), ((), ["0", "1", "2"])])
def test_each_gpu_has_one_worker_that_sees_no_other(options: tuple[str, ...], seen: list[str]) -> None:
    command = [*VOID, "serve", "--address", "tcp://127.0.0.1:*", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline().startswith("listening at")

            def workers() -> list[str]:
                found = psutil.Process(server.pid).children(recursive=True)
                return sorted(
                    one.environ()["CUDA_VISIBLE_DEVICES"]
                    for one in found
                    if "void_server.service.worker" in one.cmdline() and "CUDA_VISIBLE_DEVICES" in one.environ()
                )

            wait_for(lambda: workers() == seen)
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)


@pytest.mark.usefixtures("three_gpus")
@pytest.mark.parametrize(
    ("wanted", "workers", "given", "seen"),
    [
        (None, None, None, ("0", "1", "2")),
        ("all", None, None, ("0", "1", "2")),
        ("0+2,1", None, None, ("0,2", "1")),
        # counted, they see what the server sees
        (None, 1, None, ()),
        # what a scheduler gave the server, as CUDA reads it
        (None, None, "2,1", ("2", "1")),
        (None, None, "GPU-5ba3d5c4", ("GPU-5ba3d5c4",)),
        ("all", None, "1,7,2", ("1",)),
        (None, None, "-1", ()),
        (None, None, "", ()),
    ],
)
def test_workers_see_the_gpus_that_the_server_was_given(
    wanted: str | None, workers: int | None, given: str | None, seen: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    if given is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert gpus_of_workers(wanted, workers) == seen


@pytest.mark.usefixtures("three_gpus")
def test_a_gpu_that_the_server_was_not_given_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with pytest.raises(SettingError, match="here 1, or give all"):
        gpus_of_workers("0", None)


def test_a_job_goes_to_the_worker_whose_model_is_most_like_its_own() -> None:
    def pool(*loaded: list[Settings]) -> WorkerPool:
        made = WorkerPool(ServerConfig(), lambda *_: None, lambda *_: None, lambda _: None)
        for number, jobs in enumerate(loaded):
            one = WorkerHandle(str(number), None, ready=True)  # type: ignore[arg-type]
            one.loaded = {settings.engine: settings for settings in jobs}
            made._handles[one.name] = one
        return made

    def void(**own: str) -> Settings:
        return Settings(engine="void", engine_settings=own)

    plain = Settings(engine="cleanplate")
    # a clean plate made in between does not take the model away
    three = pool([], [void(memory="low")], [void(), plain])
    for wanted, name in [(void(), "2"), (void(memory="low"), "1"), (void(checkpoint="x"), "2"), (plain, "2")]:
        found = three.idle(wanted)
        assert found is not None
        assert found.name == name, wanted
    # one that has loaded nothing rather than one that would have to give a model up
    found = pool([void()], []).idle(plain)
    assert found is not None
    assert found.name == "1"


@pytest.mark.usefixtures("three_gpus")
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--gpus", "0,3"), "name each GPU once by its number, here 0, 1, 2, or give all"),
        (("--gpus", "1,1"), "name each GPU once by its number"),
        (("--gpus", "first"), "name each GPU once by its number"),
        (("--gpus", "0", "--workers", "2"), "give --gpus or --workers, not both"),
    ],
)
def test_gpus_that_are_not_there_are_wrong_input(options: tuple[str, ...], says: str) -> None:
    code, sentence = refused(*options)
    assert code == 2
    assert says in sentence
