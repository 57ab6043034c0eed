"""What lies behind a name is nobody's promise: pipes, devices, loops, lies; and looking at it holds up nobody."""

from __future__ import annotations

import asyncio
import faulthandler
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest

from tests.test_service import wait_for
from void_server import pipeline
from void_server.api import Client, Settings, Shot
from void_server.api.errors import (
    ColourError,
    ImageError,
    InputError,
    JobFailed,
    SequenceError,
    SettingError,
    VoidError,
)
from void_server.api.files import digest_of, open_regular
from void_server.imaging import sequence
from void_server.interpreter import running
from void_server.service import inspection
from void_server.service.inspection import Inspector

pytestmark = pytest.mark.slow

FRAMES = range(1001, 1013)


@pytest.fixture(autouse=True)
def nothing_hangs() -> Iterator[None]:
    """Whoever opens a pipe in C waits there for good; that must end the tests, and say where."""
    faulthandler.dump_traceback_later(240, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def pipe(path: Path) -> None:
    os.mkfifo(path)


def linked_pipe(path: Path) -> None:
    hidden = path.parent.parent / f"{path.name}.pipe"
    os.mkfifo(hidden)
    path.symlink_to(hidden)


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def folder(path: Path) -> None:
    path.mkdir()


BAD = pytest.mark.parametrize(
    ("make", "words"),
    [
        (pipe, "is a named pipe, not a file"),
        (linked_pipe, "is a named pipe, not a file"),
        (loop, "is a link that leads back to itself"),
        (device, "is a device, not a file"),
        (folder, "is a folder"),
    ],
)


def copied(shot: Path, tmp_path: Path) -> Path:
    """The sample shot as links, of which one can be exchanged."""
    for name in ("plate", "roto"):
        (tmp_path / name).mkdir()
        for frame in FRAMES:
            (tmp_path / name / f"{name}.{frame}.exr").symlink_to(shot / name / f"{name}.{frame}.exr")
    return tmp_path


@BAD
@pytest.mark.parametrize("role", ["plate", "roto", "quadmask"])
def test_only_regular_files_are_frames(
    shot: Path, tmp_path: Path, role: str, make: Callable[[Path], None], words: str
) -> None:
    named = copied(shot, tmp_path)
    bad = named / ("roto" if role == "quadmask" else role) / f"{'roto' if role == 'quadmask' else role}.1006.exr"
    bad.unlink()
    make(bad)
    paths = {"plate": str(named / "plate"), "roto": str(shot / "roto"), role: str(bad.parent)}
    if role == "roto":
        paths["plate"] = str(shot / "plate")
    with pytest.raises(InputError, match=f"{bad.name} {words}"):
        pipeline.inspect(Shot(**{**paths, role: str(bad.parent / bad.name.replace("1006", "%04d"))}))


@BAD
def test_only_regular_files_are_movies_analyses_and_configurations(
    shot: Path, tmp_path: Path, make: Callable[[Path], None], words: str
) -> None:
    if make is not folder:
        (tmp_path / "in").mkdir()
        make(tmp_path / "in" / "plate.mov")
        for text in (tmp_path / "in", tmp_path / "in" / "plate.mov"):
            with pytest.raises(InputError, match=f"plate.mov {words}"):
                pipeline.inspect(Shot(str(text), str(shot / "roto")))
    bad = tmp_path / "given" / "file"
    bad.parent.mkdir()
    make(bad)
    asked = Shot(str(shot / "plate"), str(shot / "roto"), analysis=str(bad), settings=Settings(reasoner="file"))
    with pytest.raises(InputError, match=f"file {words}"):
        pipeline.inspect(asked)
    with pytest.raises(InputError, match=f"file {words}"):
        pipeline.inspect(Shot(str(shot / "plate"), str(shot / "roto"), ocio=str(bad)))
    # what an upload reads
    with pytest.raises(InputError, match=f"file {words}"):
        digest_of(bad)


def test_a_configuration_in_the_environment_is_looked_at_too(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "config.ocio")
    monkeypatch.setenv("OCIO", str(tmp_path / "config.ocio"))
    with pytest.raises(InputError, match=r"config\.ocio is a named pipe"):
        pipeline.inspect(Shot(str(shot / "plate"), str(shot / "roto"), colorspace="ACEScg"))
    monkeypatch.setenv("OCIO", "ocio://default")
    with pytest.raises(ColourError, match="'nope' is not in the OCIO configuration"):
        pipeline.inspect(Shot(str(shot / "plate"), str(shot / "roto"), colorspace="nope"))


def test_a_file_that_is_exchanged_for_a_pipe_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.touch()
    stat = os.stat

    def exchanged(name: Any) -> os.stat_result:
        found = stat(name)
        path.unlink()
        os.mkfifo(path)
        return found

    monkeypatch.setattr(os, "stat", exchanged)
    with pytest.raises(InputError, match="is a named pipe"):
        open_regular(path)


UNREADABLE = """
import os, sys
from pathlib import Path
from void_server import pipeline
from void_server.api.errors import InputError
from void_server.api.shot import Settings, Shot
# before the rights to load anything are gone
import void_server.quadmask.analysis
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
plate, roto, analysis = sys.argv[1:]
settings = Settings(reasoner="file") if analysis else Settings()
try:
    pipeline.inspect(Shot(plate, roto, analysis=analysis or None, settings=settings))
except InputError as error:
    print(error)
"""


@pytest.fixture
def for_all(shot: Path) -> Iterator[Path]:
    """A copy of the shot where everybody may look; pytest's own folders are for their owner alone."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        for name in ("plate", "roto"):
            shutil.copytree(shot / name, Path(made) / name)
        yield Path(made)


@pytest.mark.parametrize("what", ["frame", "folder", "movie", "analysis"])
def test_what_may_not_be_read_says_permission(for_all: Path, what: str) -> None:
    named = for_all
    plate, analysis = str(named / "plate"), ""
    if what == "frame":
        bad = named / "plate/plate.1001.exr"
    elif what == "folder":
        bad = named / "plate"
    elif what == "movie":
        bad = named / "plate.mov"
        bad.write_bytes(b"movie")
        plate = str(bad)
    else:
        bad = named / "analysis.json"
        bad.write_text("{}")
        analysis = str(bad)
    bad.chmod(0)
    done = subprocess.run(
        [sys.executable, "-c", UNREADABLE, plate, str(named / "roto"), analysis],
        capture_output=True,
        text=True,
        check=False,
    )
    bad.chmod(0o700)
    assert done.stdout.strip() == f"{bad} may not be read: permission denied; ask its owner to allow it.", done.stderr


def claiming(path: Path, frames: int) -> Path:
    """A small movie whose header says that it has so many frames."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 24, (64, 48))
    for _ in range(3):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"avih", 24), (b"strh", 40)):
        at = data.index(mark) + offset
        data[at : at + 4] = frames.to_bytes(4, "little")
    # without its index the header is all there is to go by
    path.write_bytes(data[: data.rindex(b"idx1")])
    return path


def test_a_movie_that_claims_millions_of_frames_is_refused(shot: Path, tmp_path: Path) -> None:
    movie = claiming(tmp_path / "lies.avi", 20_000_000)
    assert movie.stat().st_size < 20_000
    before = psutil.Process().memory_info().rss
    with pytest.raises(ImageError, match="claims 20000000 frames, more than the limit of 100000"):
        pipeline.inspect(Shot(str(movie), str(shot / "roto")))
    assert psutil.Process().memory_info().rss - before < 500 << 20


# -- in a process of its own


def inspect(shot: Shot, pipeline_name: str = "void_server.pipeline", roots: list[Path] | None = None) -> None:
    inspector = Inspector(pipeline_name)
    try:
        asyncio.run(inspector.inspect(shot, roots))
    finally:
        inspector.stop()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Makes a pipeline whose inspection does what is given."""

    def write(body: str) -> str:
        lines = "\n    ".join(body.splitlines())
        (tmp_path / "odd_pipeline.py").write_text(f"import os, signal, sys, time\n\ndef inspect(shot):\n    {lines}\n")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
        return "odd_pipeline"

    return write


def test_errors_come_back_as_what_they_are(shot: Path) -> None:
    inspect(Shot(str(shot / "plate"), str(shot / "roto")), roots=[shot])
    with pytest.raises(SequenceError, match=r"Frame 1013 of .* is missing"):
        inspect(Shot(str(shot / "plate"), str(shot / "roto"), frames="1001-1020"))
    with pytest.raises(SettingError, match="engine 'magic' is not installed"):
        inspect(Shot(str(shot / "plate"), str(shot / "roto"), settings=Settings(engine="magic")))


SHOT = Shot("plate", "roto")


def test_what_a_library_prints_does_not_get_into_the_answer(module: Callable[[str], str]) -> None:
    inspect(SHOT, module('print("hello"); os.write(1, b"hello")'))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("held = bytearray(6 << 30)", "takes more than 4 GB of memory"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "files (signal 9), most likely for lack of memory"),
        ("raise RuntimeError('out of paint')", "because of an internal error: RuntimeError: out of paint"),
        ("import nothing_of_that_name", "No module named 'nothing_of_that_name'"),
    ],
)
def test_an_inspection_that_goes_wrong_is_a_sentence(module: Callable[[str], str], body: str, message: str) -> None:
    with pytest.raises(JobFailed, match=re.escape(message)):
        inspect(SHOT, module(body))


def test_an_inspection_that_takes_too_long_is_ended(
    module: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "SECONDS", 1.0)
    with pytest.raises(JobFailed, match="could not be inspected within 1 s"):
        inspect(SHOT, module("time.sleep(600)"))
    assert not [child for child in psutil.Process().children() if "inspection" in " ".join(child.cmdline())]


SERVE = """
import sys
from pathlib import Path
from void_server.service.server import ServerConfig, serve
serve(ServerConfig(address="tcp://127.0.0.1:*", roots=(Path(sys.argv[1]),), pipeline=sys.argv[2]),
      lambda address: print(address, flush=True))
"""


@pytest.mark.parametrize("ends", [True, False])
def test_a_server_that_looks_at_a_shot_answers_others_and_can_be_stopped(
    shot: Path, tmp_path: Path, module: Callable[[str], str], *, ends: bool
) -> None:
    go = tmp_path / "go"
    # which may write nothing that would tell that it has begun
    name = module(f"while not os.path.exists({str(go)!r}):\n    time.sleep(0.02)")
    command = [sys.executable, "-c", SERVE, str(shot.parent), name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout
            address = running.stdout.readline().strip()
            out = shot.parent / f"out_{ends}"
            told: list[object] = []

            def submit() -> None:
                with Client(address) as client:
                    try:
                        told.append(client.submit(Shot(str(shot / "plate"), str(shot / "roto")), str(out)).id)
                    except VoidError as error:
                        told.append(error)

            waiting = threading.Thread(target=submit, daemon=True)
            waiting.start()
            children = psutil.Process(running.pid).children()
            wait_for(lambda: any(child.children() for child in children))
            with Client(address) as other:
                assert other.hello().pid == running.pid
                assert not told
            if ends:
                go.touch()
                waiting.join(timeout=60)
                assert isinstance(told[0], str)
                assert (out / "v001").is_dir()
            running.terminate()
            assert running.wait(timeout=30) == 0
            if not ends:
                wait_for(lambda: not [p for p in psutil.process_iter(["cmdline"]) if name in (p.info["cmdline"] or [])])
                assert not (out / "v001").exists()
        finally:
            running.kill()


def test_what_has_the_pipeline_loaded_stays_and_each_shot_has_a_process_of_its_own(
    module: Callable[[str], str],
) -> None:
    """Loading takes a second and more; that long a submission would wait."""
    name = module("raise RuntimeError(f'{os.getppid()} {os.getpid()}')")
    inspector = Inspector(name)
    try:
        waiting = {child.pid for child in psutil.Process().children()}
        own = set()
        for _ in range(3):
            with pytest.raises(JobFailed, match=r"RuntimeError: \d+") as caught:
                asyncio.run(inspector.inspect(SHOT, None))
            loaded, of_shot = map(int, str(caught.value).split()[-2:])
            assert loaded in waiting
            own.add(of_shot)
        assert len(own) == 3
        assert not own & waiting
    finally:
        inspector.stop()


def test_an_inspection_ends_with_a_server_that_is_killed(module: Callable[[str], str], tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    name = module(f"open({str(begun)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)")
    with subprocess.Popen(
        running("void_server.service.inspection", name), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin
        process.stdin.write(json.dumps({"shot": SHOT.to_dict(), "roots": None, "sandbox": None}).encode() + b"\n")
        process.stdin.flush()
        wait_for(lambda: begun.exists() and begun.read_text())
        process.stdin.close()
        assert process.wait(timeout=30) == 0
    assert not psutil.pid_exists(int(begun.read_text()))


def test_a_sequence_in_a_loop_of_folders(tmp_path: Path) -> None:
    (tmp_path / "plate").symlink_to("plate")
    with pytest.raises(InputError, match="plate"):
        sequence.find(str(tmp_path / "plate" / "p.%04d.exr"), "plate")
