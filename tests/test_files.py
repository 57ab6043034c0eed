"""Files that are whole or not there, also where two processes write the same one at the same time."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
import zmq.auth

from void_server.api import exclusive, files
from void_server.api.errors import InputError, JobFailed, ProtocolError
from void_server.api.exclusive import alone_in, lock
from void_server.api.files import new_version_folder, remove_leftovers, replacing, write_atomically
from void_server.imaging import arrays, exr
from void_server.imaging.framefile import FrameFile
from void_server.service import transfer
from void_server.service.keys import KeyRing
from void_server.service.transfer import Upload, Uploads

PICTURE = np.linspace(0, 1, 48, dtype=np.float16).reshape(4, 4, 3)


def write_frame(path: Path) -> None:
    exr.write(path, PICTURE, exr.RGB)


def rewrite_frame(path: Path) -> None:
    plate = path.parents[1] / "plate.exr"
    if not plate.is_file():
        write_frame(plate)
    exr.rewrite(plate, path, exr.read_header(plate).data_window, np.ones((4, 4), bool), lambda rgb: rgb * 2)


def allow_client(path: Path) -> None:
    """The server's copy of a client's public key."""
    public = path.parents[2] / path.name
    if not public.is_file():
        public.write_text(f'metadata\ncurve\n    public-key = "{zmq.curve_keypair()[0].decode()}"\n')
    KeyRing(path.parents[2]).allow(public)


WRITERS = {
    "folder/notes.json": lambda path: write_atomically(path, "[1, 2, 3]"),
    "folder/frame.1001.exr": write_frame,
    "folder/rewritten.1001.exr": rewrite_frame,
    "folder/arrays.npz": lambda path: arrays.save(path, first=PICTURE),
    "folder/frames.raw": lambda path: FrameFile(path, PICTURE.shape, np.float16).write([PICTURE, PICTURE]),
    "keys/clients/ann.key": allow_client,
}


@pytest.mark.parametrize("name", WRITERS)
def test_two_writers_of_one_file_do_not_meet(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path, write, replace = tmp_path / name, WRITERS[name], os.replace
    path.parent.mkdir(parents=True)
    write(path)
    whole = path.read_bytes()
    path.unlink()
    temporary: list[Path] = []

    def replace_later(source: Path, target: Path) -> None:
        temporary.append(Path(source))
        if len(temporary) == 1:
            # the other begins and ends after the first has written all, and before it gives the file its name
            write(path)
            path.unlink()
        replace(source, target)

    monkeypatch.setattr(os, "replace", replace_later)
    write(path)
    assert path.read_bytes() == whole
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    first, second = temporary
    assert first != second
    assert {each.suffix for each in temporary} == {path.suffix}


def test_what_fails_while_it_is_written_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    file = tmp_path / "notes.json"
    write_atomically(file, "before")

    def write_half() -> None:
        with replacing(file) as temporary:
            temporary.write_text("hal")
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        write_half()
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]


def test_leftovers_of_killed_writers_go_and_nothing_else(tmp_path: Path) -> None:
    others = [".download", ".void_plate.1001.exr", ".second.txt.part", "plate.1001.exr", "notes.part"]
    for name in others:
        (tmp_path / name).touch()
    for name in ("void_plate.1001.exr", "report.html", "noise"):
        with replacing(tmp_path / "plate" / name) as temporary:
            temporary.parent.mkdir(exist_ok=True)
            temporary.touch()
            shutil.copy(temporary, tmp_path / temporary.name)
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, "plate"])
    assert len(list((tmp_path / "plate").iterdir())) == 3


def test_two_servers_receive_the_same_upload_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytes(range(200))
    upload, half = Upload(hashlib.sha256(content).hexdigest(), len(content), ""), len(content) // 2
    one, other, offset = Uploads(tmp_path), Uploads(tmp_path), Uploads.offset

    def receive(uploads: Uploads, start: int) -> int:
        data = content[start : start + half]
        return uploads.chunk(upload, start, data)

    def offset_and_another(uploads: Uploads, *of: Any) -> int:
        """The other server writes the same chunk after the first has looked how far the file is."""
        have = offset(uploads, *of)
        if uploads is one:
            receive(other, have)
        return have

    monkeypatch.setattr(Uploads, "offset", offset_and_another)
    assert receive(one, 0) == half
    assert receive(one, half) == len(content)
    assert one.offset(upload) == len(content)
    assert [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()] == [content]


def test_two_servers_that_begin_at_once_have_one_pair_of_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create, pairs = zmq.auth.create_certificates, []

    def create_and_another(*of: Any) -> tuple[str, str]:
        made = create(*of)
        monkeypatch.setattr(zmq.auth, "create_certificates", create)
        pairs.append(KeyRing(tmp_path).server_pair())
        return made

    monkeypatch.setattr(zmq.auth, "create_certificates", create_and_another)
    ring = KeyRing(tmp_path)
    assert ring.server_pair() == pairs[0]
    assert zmq.auth.load_certificate(ring.server_public)[0] == pairs[0][0]
    assert sorted(path.name for path in ring.folder.iterdir()) == ["server.key", "server.key_secret"]


def test_a_part_as_long_as_its_file_blocks_no_upload(tmp_path: Path) -> None:
    content = b"abc" * 1000
    upload = Upload(hashlib.sha256(content).hexdigest(), len(content), "ann")
    for left, expected in ((content, len(content)), (b"x" * len(content), 0), (content + b"more", 0)):
        uploads = Uploads(tmp_path / str(len(left) + left[0]))
        part = uploads._part(upload)
        part.parent.mkdir(parents=True)
        part.write_bytes(left)
        assert uploads.offset(upload) == expected
        received = uploads.chunk(upload, expected, content[expected:])
        assert received == uploads.offset(upload) == len(content)
        assert uploads._path(upload.digest, upload.sender).read_bytes() == content


def test_a_file_is_hashed_as_it_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytes(range(256)) * 64
    digest = hashlib.sha256(content).hexdigest()
    uploads = Uploads(tmp_path)
    chunks = [content[at : at + 1000] for at in range(0, len(content), 1000)]
    with monkeypatch.context() as patch:
        patch.setattr("void_server.api.files.digest_of", lambda _: pytest.fail("read once more"))
        for number, data in enumerate(chunks):
            uploads.chunk(Upload(digest, len(content), ""), 1000 * number, data)
        uploads.offset(Upload(digest, len(content), ""))
    assert uploads._path(digest, "").read_bytes() == content
    # a restarted server knows nothing of the first chunks, and damage is found
    for damaged in (content, content[:-1] + b"x"):
        digest = hashlib.sha256(content + damaged[:1]).hexdigest() if damaged != content else digest
        (tmp_path / "again").mkdir(exist_ok=True)
        first, second = Uploads(tmp_path / "again"), Uploads(tmp_path / "again")
        first.chunk(Upload(digest, len(content), ""), 0, damaged[:1000])
        if damaged == content:
            assert second.chunk(Upload(digest, len(content), ""), 1000, damaged[1000:]) == len(content)
        else:
            with pytest.raises(ProtocolError, match="damaged"):
                second.chunk(Upload(digest, len(content), ""), 1000, damaged[1000:])


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a loss of power leaves an empty file that passes for an uploaded one; others come meanwhile."""
    content, flush = b"content", threading.Event()
    upload = Upload(hashlib.sha256(content).hexdigest(), len(content), "ann")
    uploads, to_disk, flushed = Uploads(tmp_path / "uploads"), files.to_disk, []

    def slowly(path: Path) -> None:
        assert flush.wait(60)
        flushed.append(path)
        to_disk(path)

    monkeypatch.setattr(files, "to_disk", slowly)
    assert uploads.chunk(upload, 0, content) == len(content)
    assert not uploads._path(upload.digest, upload.sender).exists()
    flush.set()
    uploads.place({"plate": [["x.exr", upload.digest]]}, tmp_path / "job", "ann")
    assert (tmp_path / "job" / "plate" / "x.exr").read_bytes() == content
    assert flushed[:2] == [uploads._part(upload), uploads._path(upload.digest, upload.sender).parent]


def test_a_file_whose_disk_fails_at_its_end_was_not_uploaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"content"
    upload = Upload(hashlib.sha256(content).hexdigest(), len(content), "ann")
    uploads = Uploads(tmp_path / "uploads")

    def fails(_: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(files, "to_disk", fails)
        uploads.chunk(upload, 0, content)
        with pytest.raises(InputError, match="not uploaded completely"):
            uploads.place({"plate": [["x.exr", upload.digest]]}, tmp_path / "job", "ann")
    # the system tells that once; what came may be gone though the disk is well
    assert uploads.offset(upload) == 0
    assert uploads.chunk(upload, 0, content) == len(content)
    uploads.place({"plate": [["x.exr", upload.digest]]}, tmp_path / "job", "ann")


def test_files_that_are_flushed_hold_up_no_piece_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flush, whole = threading.Event(), [bytes([number]) for number in range(transfer._FLUSHES)]
    uploads = Uploads(tmp_path / "uploads")

    def received(content: bytes, size: int) -> int:
        return uploads.chunk(Upload(hashlib.sha256(content).hexdigest(), size, "ann"), 0, content)

    monkeypatch.setattr(files, "to_disk", lambda _: flush.wait(60))
    with ThreadPoolExecutor(2) as threads:
        for content in whole:
            assert received(content, 1) == 1
        try:
            assert threads.submit(received, b"a piece", 100).result(30) == 7
            # no more of them wait than are flushed at once
            last = threads.submit(received, b"!", 1)
            assert not wait([last], 0.2).done
            assert len(uploads._keeping) == transfer._FLUSHES
        finally:
            flush.set()
        assert last.result(60) == 1
        assert len(uploads._keeping) <= transfer._FLUSHES


def test_what_cannot_be_written_is_told_by_the_name_that_people_know(tmp_path: Path) -> None:
    (tmp_path / "frame.exr").mkdir()
    with pytest.raises(IsADirectoryError) as found:
        write_atomically(tmp_path / "frame.exr", "content")
    assert str(found.value) == f"[Errno {errno.EISDIR}] Is a directory: {str(tmp_path / 'frame.exr')!r}"


# -- one process at a time


def taken_first(monkeypatch: pytest.MonkeyPatch, *reasons: int) -> list[int]:
    """Locks that fail for these reasons before one is given: what some disks in the network do, and none here does."""
    fcntl = pytest.importorskip("fcntl")
    asked: list[int] = []

    def flock(_: int, operation: int) -> None:
        asked.append(operation)
        if len(asked) <= len(reasons):
            reason = reasons[len(asked) - 1]
            raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(exclusive, "_PAUSE", 0.0)
    return asked


@pytest.mark.parametrize("reason", [errno.EACCES, errno.EAGAIN])
def test_a_folder_that_another_machine_has_on_an_smb_disk_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int
) -> None:
    taken_first(monkeypatch, reason)
    with alone_in(tmp_path / "version") as alone:
        assert not alone


def test_whoever_waits_for_a_folder_on_an_smb_disk_asks_until_it_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = taken_first(monkeypatch, *[errno.EACCES] * 3)
    told: list[str] = []
    with alone_in(tmp_path / "encoded", waiting=lambda: told.append("waiting")) as alone:
        assert alone
    assert told == ["waiting"]
    assert len(asked) == 4


@pytest.mark.parametrize("reason", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL])
def test_a_disk_that_knows_no_locks_is_worked_on_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int
) -> None:
    taken_first(monkeypatch, reason)
    with alone_in(tmp_path / "version") as alone:
        assert alone


def test_a_disk_that_fails_is_not_taken_for_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken_first(monkeypatch, errno.EIO)
    with pytest.raises(JobFailed, match="cannot be written"), alone_in(tmp_path / "version"):
        pass


def test_a_folder_is_free_again_after_its_block_and_only_who_waits_is_told(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    told: list[str] = []
    with alone_in(tmp_path / "encoded", waiting=lambda: told.append("waiting")) as first:
        assert first
        with alone_in(tmp_path / "encoded") as second, open(tmp_path / "encoded" / ".held", "ab") as third:
            assert not second
            assert not lock(third.fileno())
    assert not told
    with alone_in(tmp_path / "encoded") as again:
        assert again


def test_a_folder_beside_versions_whose_name_is_almost_a_number_is_no_version(tmp_path: Path) -> None:
    for name in ("v001", "v\u00b2", "v\u2460"):
        (tmp_path / name).mkdir()
    assert new_version_folder(tmp_path) == tmp_path / "v002"
