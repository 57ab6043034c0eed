"""How much one user may have of a server, what goes first, and what is cleaned up."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import test_service
from tests.test_faults import HERE, within
from tests.test_service import RunningServer, ended, listed, raw, shot_of, wait_for
from void_server.api import Client, Job, JobState, Shot, messages
from void_server.api.errors import InputError, JobFailed, ServerRefused
from void_server.api.home import home
from void_server.service import room
from void_server.service import server as server_module
from void_server.service.disks import Disks
from void_server.service.queue import PREVIEW
from void_server.service.server import Server, ServerConfig
from void_server.service.store import Store
from void_server.service.transfer import Upload, Uploads

pytestmark = pytest.mark.slow
no_server_stays = test_service.no_server_stays

# Counts the frames of a shot by its range, and notes which shot was done in which order.
PIPELINE = """
import time
from pathlib import Path

def inspect(shot):
    return int(shot.frames.partition("-")[2]) - 1000

def run(job_id, shot, folder, report):
    place = Path(__file__).parent
    while not (place / "go").exists():
        time.sleep(0.02)
    with open(folder.parent / "order", "a") as order:
        print(shot.prompt, file=order)
    return ()
"""


@pytest.fixture
def counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of that pipeline, which goes on once there is a file ``go`` in it."""
    folder = tmp_path / "pipeline"
    folder.mkdir()
    (folder / "counting_pipeline.py").write_text(PIPELINE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    return folder


def uploaded() -> int:
    """The bytes that count as uploaded."""
    store = Store(home())
    try:
        return store.uploaded("anonymous")
    finally:
        store.close()


def of_frames(shot: Path, count: int, name: str = "") -> Shot:
    return replace(shot_of(shot), frames=f"1001-{1000 + count}", prompt=name)


def test_nobody_has_more_frames_waiting_than_the_server_takes(shot: Path, tmp_path: Path, counting: Path) -> None:
    server = RunningServer(shot, tmp_path, pipeline="counting_pipeline", frame_limit=20)
    out = str(tmp_path / "out")
    with Client(server.address) as client:
        first = client.submit(of_frames(shot, 10), out)
        wait_for(lambda: client.status(first.id).state is JobState.RUNNING)
        waiting = client.submit(of_frames(shot, 12), out)
        with pytest.raises(ServerRefused, match="anonymous has 12 frames waiting, and this shot has 10"):
            client.submit(of_frames(shot, 10), out)
        client.cancel(waiting.id)
        # alone, a shot may be as long as it is
        client.submit(of_frames(shot, 12), out)
        (counting / "go").touch()


def test_a_preview_goes_ahead_of_its_users_longer_jobs(shot: Path, tmp_path: Path, counting: Path) -> None:
    server = RunningServer(shot, tmp_path, pipeline="counting_pipeline")
    out = tmp_path / "out"
    with Client(server.address) as client:
        first = client.submit(of_frames(shot, 12, "first"), str(out))
        wait_for(lambda: client.status(first.id).state is JobState.RUNNING)
        for name, count in (("long", PREVIEW + 1), ("longer", 12), ("preview", PREVIEW), ("frame", 1)):
            last = client.submit(of_frames(shot, count, name), str(out))
        # which outlasts the server
        server.stop()
        server = RunningServer(shot, tmp_path, pipeline="counting_pipeline", address=server.address)
        (counting / "go").touch()
        for job in client.jobs():
            assert ended(client, job).state is JobState.DONE
        del last
    order = (out / "order").read_text().split()
    assert [name for name in order if name != "first"] == ["preview", "frame", "long", "longer"]


def test_nobody_uploads_more_than_the_server_keeps(shot: Path, counting: Path) -> None:
    del counting
    size = sum(path.stat().st_size for folder in ("plate", "roto") for path in (shot / folder).iterdir())
    server = RunningServer(pipeline="counting_pipeline", upload_limit=size - 1)
    with (
        Client(server.address) as client,
        pytest.raises(ServerRefused, match=r"anonymous has uploaded 0\.0 GB, and this file has 0\.0 GB; this server"),
    ):
        client.submit_files(of_frames(shot, 12), listed(shot))
    server.stop()
    # what is there already counts no more than once
    server = RunningServer(pipeline="counting_pipeline", upload_limit=size)
    with Client(server.address) as client:
        for _ in range(2):
            client.submit_files(of_frames(shot, 12), listed(shot))


def test_nobody_submits_more_whose_results_have_what_the_server_keeps(
    shot: Path, tmp_path: Path, counting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_MINUTE", 0.0)
    monkeypatch.setattr(server_module, "_COUNTING", 0.05)
    (counting / "go").touch()
    config = ServerConfig(HERE, (shot, tmp_path), pipeline="counting_pipeline", result_limit=100_000)

    def work(address: str) -> None:
        with Client(address) as client:
            first = ended(client, client.submit(of_frames(shot, 12), str(tmp_path / "out")))
            (Path(first.folder) / "plate").mkdir()
            (Path(first.folder) / "plate" / "large").write_bytes(bytes(100_000))
            (Path(first.folder) / "link").symlink_to("/usr")
            store = Store(home())
            store.set_size(first.id, 100_000)
            store.close()
            for _ in range(5):
                # also while it is counted again
                with pytest.raises(
                    ServerRefused, match=r"results of anonymous .* have 0\.0 GB, and it keeps 0\.0 GB of one"
                ):
                    client.submit(of_frames(shot, 12), str(tmp_path / "out"))
            # what is removed counts no more
            (Path(first.folder) / "plate" / "large").unlink()
            wait_for(lambda: taken(client))

    def taken(client: Client) -> bool:
        try:
            client.submit(of_frames(shot, 12), str(tmp_path / "out"))
        except ServerRefused:
            return False
        return True

    within(Server(config), work)


def test_results_are_counted_when_jobs_end(shot: Path, tmp_path: Path, counting: Path) -> None:
    (counting / "go").touch()
    (counting / "counting_pipeline.py").write_text(
        PIPELINE.replace("    return ()", "    (folder / 'frame').write_bytes(bytes(5000))\n    return ()")
    )
    server = RunningServer(shot, tmp_path, pipeline="counting_pipeline", disk_limit=5000)
    with Client(server.address) as client:
        ended(client, client.submit(of_frames(shot, 12), str(tmp_path / "out")))
        store = Store(home())
        try:
            wait_for(lambda: store.size_of_results() >= 5000)
        finally:
            store.close()
        with pytest.raises(ServerRefused, match=r"Uploads and results on this server have 0\.0 GB"):
            client.submit(of_frames(shot, 12), str(tmp_path / "out"))


def test_what_was_laid_out_for_a_refused_submission_goes(shot: Path) -> None:
    server = RunningServer()
    with Client(server.address) as client, pytest.raises(InputError, match="magic"):
        client.submit_files(
            replace(shot_of(shot), settings=replace(shot_of(shot).settings, engine="magic")), listed(shot)
        )
    assert not list((home() / "jobs").glob("*"))


def test_the_inputs_of_jobs_that_are_done_go_and_their_results_stay(shot: Path, counting: Path, tmp_path: Path) -> None:
    (counting / "go").touch()
    server = Server(ServerConfig(HERE, pipeline="counting_pipeline", keep_uploads_days=0))

    def work(address: str) -> None:
        with Client(address) as client:
            job = ended(client, client.submit_files(of_frames(shot, 12), listed(shot)))
            assert job.state is JobState.DONE
            inputs = Path(job.folder).parent / "input"
            assert inputs.is_dir()
            # one that is on the list no more is done all the same
            assert client.clear_jobs() == 1
            server._cleared = float("-inf")
            wait_for(lambda: not inputs.exists())
            assert not [path for path in (home() / "uploads").rglob("*") if path.is_file()]
            wait_for(lambda: not uploaded())
            client.download(job.id, str(tmp_path / "fetched"))

    within(server, work)


def test_whoever_begins_a_file_with_another_size_or_content_holds_up_nobody(counting: Path) -> None:
    """Who knows a digest could otherwise keep the file with it from a server for as long as uploads stay."""
    del counting
    server = RunningServer(pipeline="counting_pipeline", upload_limit=1000)
    data = bytes(10)
    digest = hashlib.sha256(data).hexdigest()

    def sent(size: int, offset: int, piece: bytes) -> dict[str, Any]:
        body = {"digest": digest, "size": size, "offset": offset, "data": piece}
        return raw(server.address, messages.pack(1, verb="upload.chunk", body=body))

    def refused(size: int, offset: int, piece: bytes) -> None:
        error = sent(size, offset, piece)["error"]
        assert error["kind"] == "ServerRefused"
        assert "this server keeps" in error["message"]

    assert sent(7, 0, data[:3])["body"] == 3
    assert sent(10, 0, data[:1])["body"] == 1
    # each counts, and no piece makes one larger than what counts
    assert uploaded() == 17
    for offset in (0, 1):
        refused(100_000, offset, bytes(5000))
    assert sent(10, 1, bytes(5000))["body"] == 1
    assert sorted(path.stat().st_size for path in (home() / "uploads").rglob("*.part")) == [1, 3]
    assert sent(10, 1, data[1:])["body"] == 10
    # and nobody else's content is in the way
    other = Upload(digest, 10, "bob")
    uploads = Uploads(home() / "others")
    uploads.chunk(replace(other, sender="eve"), 0, b"x" * 9)
    assert uploads.chunk(other, 0, data) == 10
    assert uploads.offset(other) == 10


def test_who_knows_the_digest_of_anothers_file_does_not_get_it(tmp_path: Path) -> None:
    """Digests are no secret: manifests and reports name them."""
    content = b"unreleased"
    anns = Upload(hashlib.sha256(content).hexdigest(), len(content), "ann")
    uploads = Uploads(tmp_path / "uploads")
    uploads.chunk(anns, 0, content)
    files = {"plate": [["x.exr", anns.digest]]}
    assert uploads.offset(replace(anns, sender="eve")) == 0
    with pytest.raises(InputError, match="not uploaded completely"):
        uploads.place(files, tmp_path / "eve", "eve")
    assert uploads.place(files, tmp_path / "ann", "ann")


def test_uploads_of_which_nothing_is_there_count_no_more(counting: Path) -> None:
    """Such as one that arrived damaged."""
    del counting
    server = Server(ServerConfig(HERE, pipeline="json"))

    def work(address: str) -> None:
        body = {"digest": "0" * 64, "size": 10, "offset": 0, "data": bytes(10)}
        answer = raw(address, messages.pack(1, verb="upload.chunk", body=body))
        assert "arrived damaged" in answer["error"]["message"]
        assert uploaded() == 10
        server._cleared = float("-inf")
        wait_for(lambda: not uploaded())

    within(server, work)


def test_what_was_counted_stays_while_a_disk_fails_or_a_job_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a disk that hangs would give its users all the room there is."""
    store = Store(home())
    rooms = room.Room(ServerConfig(HERE), store, Disks())
    monkeypatch.setattr(room, "_MINUTE", 0.0)
    monkeypatch.setattr(room, "_HOUR", -1.0)
    result = tmp_path / "v001"
    result.mkdir()
    (result / "frame").write_bytes(bytes(100))
    job = Job("0123456789ab", JobState.QUEUED, Shot("p", "r"), str(result), 1.0, 1.0, submitter="ann")
    store.add(job)
    store.update(job.id, state=JobState.DONE)
    asyncio.run(rooms.count())
    assert store.size_of_results("ann") == 100

    def fails(_: object) -> None:
        raise OSError(errno.ESTALE, "stale")

    def hangs(*_: object, **__: object) -> None:
        raise JobFailed("The disk of this job has not responded.")

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", fails)
        asyncio.run(rooms.count())
    assert store.size_of_results("ann") == 100
    with monkeypatch.context() as patch:
        patch.setattr(Disks, "ask", hangs)
        asyncio.run(rooms.count())
    assert store.size_of_results("ann") == 100
    # taken up again while it was counted
    store.update(job.id, state=JobState.QUEUED)
    store.set_size(job.id, 5)
    assert store.size_of_results("ann") == 100
    store.close()


def test_nobody_resumes_what_there_is_no_room_for(shot: Path, tmp_path: Path, counting: Path) -> None:
    server = RunningServer(shot, tmp_path, pipeline="counting_pipeline", result_limit=1000)
    with Client(server.address) as client:
        job = client.submit(of_frames(shot, 12), str(tmp_path / "out"))
        wait_for(lambda: client.status(job.id).state is JobState.RUNNING)
        client.cancel(job.id)
        ended(client, job)
        (Path(job.folder) / "large").write_bytes(bytes(1000))
        store = Store(home())
        try:
            store.set_size(job.id, 1000)
        finally:
            store.close()
        with pytest.raises(ServerRefused, match="The results of anonymous on this server have"):
            client.resume(job.id)
    (counting / "go").touch()
