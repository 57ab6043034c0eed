"""What a server may use stays what it was, whatever becomes of names after they were checked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from void_server.api import Client, JobState, Shot, files
from void_server.api.confinement import check_inside, confined, held
from void_server.api.errors import AccessDenied, ImageError, InputError, JobFailed, VoidError
from void_server.api.files import open_regular, remove_leftovers, write_atomically
from void_server.imaging import exr, movie
from void_server.imaging.colour import ColourSpace
from void_server.service import requests

from . import test_service
from .test_service import RunningServer, shot_of, wait_for

pytestmark = pytest.mark.slow
no_server_stays = test_service.no_server_stays

ROOT = Path(__file__).resolve().parents[1]
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux names what a process holds open")


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """A root, and a folder outside."""
    for name in ("root", "outside"):
        (tmp_path / name).mkdir()
    return tmp_path / "root", tmp_path / "outside"


def test_nothing_is_written_through_a_link(places: tuple[Path, Path]) -> None:
    root, outside = places
    (root / "v001").mkdir()
    (root / "v001" / "plate").symlink_to(outside)
    with confined([root]):
        for target in (root / "v001/plate/x.txt", root / "v001/plate/deeper/x.txt", outside / "x.txt"):
            with pytest.raises(AccessDenied):
                write_atomically(target, "x")
        with pytest.raises(AccessDenied):
            exr.write(root / "v001/plate/x.exr", np.zeros((2, 2, 1), np.float16), ("Y",))
        write_atomically(root / "v001/other/x.txt", "x", parents=True)
    assert (root / "v001/other/x.txt").read_text() == "x"
    assert not list(outside.iterdir())


@on_linux
def test_a_folder_that_becomes_a_link_while_it_is_written_is_still_that_folder(places: tuple[Path, Path]) -> None:
    root, outside = places
    with confined([root]), held(root / "plate", make=True) as folder:
        (root / "plate").rename(root / "moved")
        (root / "plate").symlink_to(outside)
        (folder / "x.txt").write_text("x")
    assert (root / "moved/x.txt").read_text() == "x"
    assert not list(outside.iterdir())


def test_nothing_outside_is_read(places: tuple[Path, Path]) -> None:
    root, outside = places
    (outside / "secret.txt").write_text("secret")
    (root / "link.txt").symlink_to(outside / "secret.txt")
    (root / "own.txt").write_text("own")
    (root / "inner.txt").symlink_to(root / "own.txt")
    with confined([root]):
        for path in (outside / "secret.txt", root / "link.txt", root / "../outside/secret.txt"):
            with pytest.raises(AccessDenied, match="leads outside"):
                open_regular(path)
        with open_regular(root / "inner.txt") as file:
            assert file.read() == b"own"
    check_inside(outside)


def test_an_error_names_the_file_that_people_know(places: tuple[Path, Path]) -> None:
    root, _ = places
    (root / "x.txt").mkdir()
    with confined([root]), pytest.raises(OSError, match=r"x\.txt") as caught:
        write_atomically(root / "x.txt", "x")
    assert str(caught.value.filename) == str(root / "x.txt")
    remove_leftovers(root)
    assert [path.name for path in root.iterdir()] == ["x.txt"]


def test_other_processes_of_a_confined_one_are_confined(places: tuple[Path, Path]) -> None:
    import subprocess

    root, outside = places
    code = "import sys; from pathlib import Path; from void_server.api.files import write_atomically as w\n"
    code += "w(Path(sys.argv[1]), 'x')"
    with confined([root]):
        done = subprocess.run([sys.executable, "-c", code, str(outside / "x")], capture_output=True, text=True)
    assert "AccessDenied" in done.stderr
    assert not (outside / "x").exists()


CONFIG = """ocio_profile_version: 2
{search}roles: {{default: raw, scene_linear: raw}}
displays: {{sRGB: [!<View> {{name: Raw, colorspace: raw}}]}}
colorspaces:
  - !<ColorSpace> {{name: raw}}
  - !<ColorSpace>
    name: secret
    to_scene_reference: !<FileTransform> {{src: {source}}}
"""


@pytest.mark.parametrize(
    ("search", "source", "refused"),
    [
        ("", "{outside}/secret.cube", True),
        ("", "../outside/secret.cube", True),
        ("search_path: {outside}\n", "secret.cube", True),
        ("search_path: luts:../outside\n", "secret.cube", True),
        ("search_path:\n  - luts\n  - {outside}\n", "secret.cube", True),
        ("", "$SHOT/secret.cube", True),
        ("search_path: luts\n", "own.cube", False),
    ],
)
def test_a_configuration_of_colours_refers_to_nothing_outside(
    places: tuple[Path, Path], search: str, source: str, refused: bool
) -> None:
    root, outside = places
    cube = "LUT_3D_SIZE 2\n" + "".join(f"{r} {g} {b}\n" for b in (0, 1) for g in (0, 1) for r in (0, 1))
    (outside / "secret.cube").write_text(cube)
    (root / "luts").mkdir()
    (root / "luts/own.cube").write_text(cube)
    config = root / "config.ocio"
    config.write_text(CONFIG.format(search=search, source=source).replace("{outside}", str(outside)))
    with confined([root]):
        if refused:
            with pytest.raises(AccessDenied):
                ColourSpace("secret", str(config))
        else:
            ColourSpace("secret", str(config))


def test_a_list_of_other_files_is_no_movie(places: tuple[Path, Path]) -> None:
    import cv2

    root, outside = places
    writer = cv2.VideoWriter(str(outside / "secret.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 24, (64, 48))
    for _ in range(3):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    assert movie.frame_count(outside / "secret.avi") == 3
    for name, text in (
        ("list.mov", f"ffconcat version 1.0\nfile {outside / 'secret.avi'}\n"),
        ("list.mp4", f"#EXTM3U\n#EXTINF:1,\n{outside / 'secret.avi'}\n"),
        ("%02d.avi", ""),
    ):
        (root / name).write_text(text)
        with pytest.raises((ImageError, InputError)):
            movie.frame_count(root / name)


# The server, with a pipeline that waits before it works.


def inspect(shot: Shot) -> None:
    from void_server import pipeline

    pipeline.inspect(shot)


def run(job_id: str, shot: Shot, folder: Path, report: Any) -> list[str]:
    from void_server import pipeline

    (folder / "begun").touch()
    while not (folder / "go").exists():
        time.sleep(0.02)
    return list(pipeline.run(job_id, shot, folder, report))


def output_is_moved(folder: Path, shot: Path, outside: Path) -> None:
    del shot
    shutil.rmtree(folder / "plate", ignore_errors=True)
    (folder / "plate").symlink_to(outside)


def version_is_moved(folder: Path, shot: Path, outside: Path) -> None:
    del shot
    folder.rename(folder.with_name("elsewhere"))
    (outside / "go").touch()
    folder.symlink_to(outside)


def plate_is_moved(folder: Path, shot: Path, outside: Path) -> None:
    del folder
    shutil.move(shot / "plate", outside / "plate")
    (shot / "plate").symlink_to(outside / "plate")


@pytest.mark.parametrize("changed", [output_is_moved, version_is_moved, plate_is_moved])
def test_a_link_that_appears_after_the_check_leads_nowhere(
    shot: Path,
    places: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    changed: Callable[[Path, Path, Path], None],
) -> None:
    root, outside = places
    shutil.copytree(shot, root / "shot")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    running = RunningServer(root, pipeline="tests.test_confinement")
    with Client(running.address) as client:
        job = client.submit(shot_of(root / "shot"), str(root / "out"))
        folder = Path(job.folder)
        wait_for((folder / "begun").exists)
        changed(folder, root / "shot", outside)
        before = sorted(outside.rglob("*"))
        (folder / "go").touch()
        *_, ended = client.watch(job.id)
        assert ended.state is JobState.FAILED
        assert isinstance(ended.error, VoidError)
        assert not isinstance(ended.error, JobFailed)
        assert "link" in str(ended.error) or "leads outside" in str(ended.error)
    assert sorted(outside.rglob("*")) == before


@on_linux
@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_version_folder_is_made_where_its_parent_was_whatever_has_that_name_now(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """The server may be root, and gives the folder away: nobody may lead it elsewhere after it has checked."""
    root, outside = places
    out = root / "show" / "out"
    out.mkdir(parents=True)

    def swap() -> None:
        out.parent.rename(root / "moved")
        out.parent.symlink_to(outside)
        (outside / "out").mkdir(exist_ok=True)

    def looking(place: Path, owner: tuple[int, int] | None) -> str:
        swap()
        return next_version(place, owner)

    next_version = files._next_version
    if when == "meanwhile":
        monkeypatch.setattr(files, "_next_version", looking)
    else:
        swap()
    if when == "meanwhile":
        assert requests._NewFolder(threading.Event()).make(out, (root,), None) == out / "v001"
        assert (root / "moved" / "out" / "v001").is_dir()
    else:
        with pytest.raises(AccessDenied, match="link on the way"):
            requests._NewFolder(threading.Event()).make(out, (root,), None)
        with pytest.raises(AccessDenied, match="link on the way"):
            requests._reserved(out, (root,))
    assert not [*(outside / "out").iterdir()]


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="root on Linux is needed: NOT tested")
def test_a_version_folder_is_given_to_the_workers_user_and_what_has_its_name_meanwhile_is_not(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, outside = places
    assert files.new_version_folder(root, [root], (65534, 65533)) == root / "v001"
    found = (root / "v001").stat()
    assert (found.st_uid, found.st_gid) == (65534, 65533)
    (outside / "theirs").write_text("root's")
    mkdir = Path.mkdir

    def exchanged(path: Path, *args: Any, **named: Any) -> None:
        mkdir(path, *args, **named)
        if path.name == "v002":
            path.rmdir()
            os.link(outside / "theirs", path)

    monkeypatch.setattr(Path, "mkdir", exchanged)
    with pytest.raises(InputError):
        files.new_version_folder(root, [root], (65534, 65533))
    assert (outside / "theirs").stat().st_uid == 0


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="root on Linux is needed: NOT tested")
@pytest.mark.parametrize("theirs", ["the worker's user's", "not empty"])
def test_another_folder_in_the_place_of_a_new_version_folder_is_not_given_away(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, theirs: str
) -> None:
    root, outside = places
    other = outside / "other"
    other.mkdir()
    if theirs == "not empty":
        (other / "secret").write_text("root's")
    else:
        os.chown(other, 65534, 65534)
    owner, mkdir = other.stat().st_uid, Path.mkdir

    def exchanged(path: Path, *args: Any, **named: Any) -> None:
        mkdir(path, *args, **named)
        if path.name == "v001":
            path.rmdir()
            other.rename(path)

    monkeypatch.setattr(Path, "mkdir", exchanged)
    with pytest.raises(AccessDenied, match="v001 is not the one that was made"):
        files.new_version_folder(root, [root], (65533, 65533))
    assert (root / "v001").stat().st_uid == owner


@pytest.mark.parametrize("file", ["out", "out/deeper"])
def test_an_output_folder_below_a_root_that_is_a_file_is_told_as_such(places: tuple[Path, Path], file: str) -> None:
    root, _ = places
    (root / "out").write_text("x")
    with pytest.raises(InputError, match=r"The output folder .* is no folder \(Not a directory\)"):
        files.new_version_folder(root / file, [root])


def test_an_output_folder_outside_all_roots_is_denied_whatever_is_there(places: tuple[Path, Path]) -> None:
    root, outside = places
    (outside / "file").write_text("x")
    for out in (outside, outside / "file", outside / "new"):
        with pytest.raises(AccessDenied, match="leads outside"):
            files.new_version_folder(out, [root])


AS_NOBODY = """
import os, sys
from pathlib import Path
from void_server.api.files import open_unlinked
os.setgid(65534)
os.setuid(65534)
with open_unlinked(Path(sys.argv[1])) as file:
    sys.stdout.write(file.read().decode())
"""


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="root on Linux is needed: NOT tested")
def test_a_folder_that_may_be_entered_and_not_listed_leads_to_what_is_in_it() -> None:
    """As homes are, and root's own files on a disk in the network. Those of pytest may not even be entered."""
    with tempfile.TemporaryDirectory(dir="/tmp") as home:
        os.chmod(home, 0o711)
        file = Path(home, "v001", "frame.exr")
        file.parent.mkdir(mode=0o755)
        file.write_bytes(b"frame")
        file.chmod(0o644)
        done = subprocess.run([sys.executable, "-c", AS_NOBODY, str(file)], capture_output=True, text=True, check=False)
        assert (done.stdout, done.returncode) == ("frame", 0), done.stderr


def test_a_result_that_becomes_a_link_is_not_listed(shot: Path, places: tuple[Path, Path]) -> None:
    root, outside = places
    shutil.copytree(shot, root / "shot")
    (outside / "secret.txt").write_text("secret")
    running = RunningServer(root)
    with Client(running.address) as client:
        job = client.submit(shot_of(root / "shot"), str(root / "out"))
        *_, done = client.watch(job.id)
        assert done.state is JobState.DONE, done.error
        folder = Path(job.folder)
        folder.rename(root / "out/real")
        # also below the roots: it is another folder
        for there in (outside, root / "out/real"):
            folder.symlink_to(there)
            for ask in (lambda: client._ask("result.list", job=job.id), lambda: client.resume(job.id)):
                with pytest.raises((AccessDenied, InputError)):
                    ask()
            with pytest.raises(AccessDenied):
                client._ask("result.chunk", job=job.id, path="secret.txt", offset=0)
            os.unlink(folder)
