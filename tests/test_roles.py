"""Who may do what on a server, whose turn it is, and what a list of jobs holds."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from void_server.api import Client, Job, JobState, Shot
from void_server.api.client import Keys
from void_server.api.errors import AccessDenied, InputError, ServerRefused, SettingError, UnknownJob, VoidError
from void_server.api.home import home
from void_server.api.job import new_id
from void_server.api.shot import Prompt, Settings
from void_server.service.audit import AuditLog
from void_server.service.config import ServerConfig
from void_server.service.keys import KeyRing
from void_server.service.queue import JobQueue
from void_server.service.roles import Role
from void_server.service.server import Server
from void_server.service.store import FILE, Store, repair
from void_server.service.transfer import Upload

from . import test_service
from .test_faults import HERE, within
from .test_service import RunningServer, shot_of, wait_for

pytestmark = pytest.mark.slow
no_server_stays = test_service.no_server_stays


def allowed(folder: Path, name: str, role: Role) -> Keys:
    ring = KeyRing(home())
    public, secret = ring.new(name, folder)
    ring.allow(public, role)
    return Keys(str(secret), str(ring.server_public))


def stored(count: int, submitter: str = "", prompt: str = "") -> list[Job]:
    store, jobs = Store(home()), []
    for number in range(count):
        shot = Shot("plate", "roto", prompt=prompt, settings=Settings(seed=number))
        jobs.append(
            Job(new_id(), JobState.QUEUED, shot, f"/out/v{number}", float(number), float(number), submitter=submitter)
        )
        store.add(jobs[-1])
        store.update(jobs[-1].id, state=JobState.DONE)
    store.close()
    return jobs


def test_a_job_is_its_submitters_own(shot: Path, tmp_path: Path) -> None:
    ann, bob, eve, boss = (
        allowed(tmp_path, name, role)
        for name, role in (
            ("ann", Role.ARTIST),
            ("bob", Role.ARTIST),
            ("eve", Role.VIEWER),
            ("boss", Role.ADMIN),
        )
    )
    running = RunningServer(shot, tmp_path, keys=True)
    with Client(running.address, keys=ann) as hers:
        job = hers.submit(shot_of(shot), str(tmp_path / "out"))
        *_, done = hers.watch(job.id)
        assert done.state is JobState.DONE
        assert [one.id for one in hers.jobs()] == [job.id]
    with Client(running.address, keys=bob) as his:
        assert his.jobs() == []
        for ask in (
            his.status,
            his.cancel,
            his.resume,
            lambda job: his.download(job, str(tmp_path / "stolen")),
            his.results,
        ):
            with pytest.raises(UnknownJob):
                ask(job.id)
        with pytest.raises(UnknownJob):
            his.submit(shot_of(shot), str(tmp_path / "out"), job_id=job.id)
        assert his.clear_jobs() == 0
    with Client(running.address, keys=eve) as viewer:
        assert viewer.status(job.id).state is JobState.DONE
        with pytest.raises(AccessDenied, match="eve may not stop or resume the jobs of others"):
            viewer.cancel(job.id)
        with pytest.raises(AccessDenied, match="eve may not submit jobs"):
            viewer.submit(shot_of(shot), str(tmp_path / "out"))
    with Client(running.address, keys=boss) as admin:
        with pytest.raises(InputError, match="is done"):
            admin.resume(job.id)
        assert admin.clear_jobs() == 1
    assert not (tmp_path / "stolen").exists()


def test_to_others_a_job_is_like_none_whatever_they_ask(shot: Path, tmp_path: Path) -> None:
    """In every kind of request: whoever adds one says here what somebody else may try with it."""
    keys = {name: allowed(tmp_path, name, Role.ARTIST) for name in ("ann", "eve")}
    store, hers, content = Store(home()), [], b"her frame"
    for number, state in enumerate(JobState):
        folder = tmp_path / f"secret{number}"
        folder.mkdir()
        (folder / "x.exr").write_text("secret")
        asked = Shot("/secret/plate", "/secret/roto", prompt="secret")
        hers.append(Job(new_id(), state, asked, str(folder), 1.0, 1.0, submitter="ann"))
        store.add(hers[-1])
    before = store.all(submitter="ann")
    server = Server(ServerConfig(HERE, (tmp_path, shot), pipeline="json", require_keys=True))

    def bodies(job: str, digest: str) -> dict[str, dict[str, Any]]:
        of_job = {"job": job}
        file = {"digest": digest, "size": len(content)}
        return {
            "hello": of_job,
            "sign_in": of_job | {"token": "x"},
            "submit": of_job | {"id": job},
            "status": of_job,
            "watch": of_job,
            "jobs": of_job | {"submitter": "ann", "skip": 0},
            "jobs.clear": of_job,
            "workers": of_job,
            "cancel": of_job,
            "resume": of_job,
            "prioritise": of_job | {"priority": 1},
            "upload.offset": file,
            "upload.chunk": file | {"offset": len(content) - 1, "data": b"x"},
            "result.list": of_job,
            "result.chunk": of_job | {"path": "x.exr", "offset": 0},
        }

    def answer(client: Client, verb: str, job: str, digest: str) -> str:
        try:
            said = repr(client._ask(verb, **bodies(job, digest)[verb]))
        except VoidError as error:
            said = repr(error.to_dict())
        assert "secret" not in said
        return said.replace(job, "...")

    def work(address: str) -> None:
        with Client(address, keys=keys["ann"], timeout=60) as ann, Client(address, keys=keys["eve"], timeout=60) as eve:
            assert len(ann.jobs()) == len(hers)
            digest = hashlib.sha256(content).hexdigest()
            ann._ask("upload.chunk", digest=digest, size=len(content), offset=0, data=content)
            assert set(bodies("", "")) == set(server._requests._verbs)
            for job in hers:
                for verb in bodies("", ""):
                    told = answer(eve, verb, job.id, digest)
                    if verb == "submit":
                        # with the id of none it would be one
                        assert "There is no job '...' of yours" in told
                    else:
                        assert told == answer(eve, verb, new_id(), "0" * 64), verb

    within(server, work)
    assert store.all(submitter="ann") == before
    store.close()


def test_nobody_revokes_what_is_no_client(tmp_path: Path) -> None:
    ring = KeyRing(home())
    ring.allow(ring.new("ann", tmp_path)[0])
    (ring.folder / "x.key").write_text("precious")
    with pytest.raises(InputError, match="No client named"):
        ring.revoke("../x")
    assert (ring.folder / "x.key").is_file()


def test_users_take_turns(tmp_path: Path) -> None:
    queue = JobQueue(ServerConfig(state=tmp_path), "tcp://127.0.0.1:1", lambda _: None)
    for number, user in enumerate(["ann"] * 3 + ["bob", "cid"] + ["ann"]):
        shot = Shot("plate", "roto")
        queue.add(
            Job(f"{number:012x}", JobState.QUEUED, shot, str(tmp_path / str(number)), number, number, submitter=user)
        )
    begun = []
    while queue._waiting:
        job_id, user = queue._next()
        begun.append((int(job_id, 16), user))
        del queue._waiting[job_id]
        queue._served = [*(one for one in queue._served if one != user), user]
    assert [user for _, user in begun] == ["ann", "bob", "cid", "ann", "ann", "ann"]
    assert [number for number, user in begun if user == "ann"] == [0, 1, 2, 5]
    queue.store.close()


def test_jobs_of_a_higher_priority_go_first_whoevers_they_are(tmp_path: Path) -> None:
    queue = JobQueue(ServerConfig(state=tmp_path), "tcp://127.0.0.1:1", lambda _: None)
    for number, user in enumerate(["ann", "ann", "bob", "bob", "cid"]):
        job = Job(
            f"{number:012x}", JobState.QUEUED, Shot("p", "r"), str(tmp_path / str(number)), 0.0, 0.0, submitter=user
        )
        queue.add(job, frames=1 if number == 1 else 100)
    queue.prioritise(f"{3:012x}", 80)
    queue.prioritise(f"{2:012x}", 10)
    begun = []
    while queue._waiting:
        job_id, user = queue._next()
        begun.append(int(job_id, 16))
        del queue._waiting[job_id]
        queue._served = [*(one for one in queue._served if one != user), user]
    # the raised one, then turns, previews before others, and the lowered one at the end
    assert begun == [3, 1, 4, 0, 2]
    assert [queue.job(f"{number:012x}").priority for number in (2, 3)] == [10, 80]
    queue.store.close()


def test_who_may_raise_a_priority(shot: Path, tmp_path: Path) -> None:
    ann, bob, sue = (
        allowed(tmp_path, name, role)
        for name, role in (("ann", Role.ARTIST), ("bob", Role.ARTIST), ("sue", Role.SUPERVISOR))
    )
    running = RunningServer(shot, tmp_path, keys=True)
    with (
        Client(running.address, keys=ann) as hers,
        Client(running.address, keys=bob) as his,
        Client(running.address, keys=sue) as boss,
    ):
        assert (hers.hello().user, hers.hello().rights) == ("ann", ("submit",))
        assert boss.hello().rights == ("prioritise", "see_all", "submit")
        # the first is at work, so that the second waits
        hers.submit(shot_of(shot), str(tmp_path / "out"))
        job = hers.submit(shot_of(shot), str(tmp_path / "out"))
        assert (job.submitter, job.priority) == ("ann", 50)
        assert hers.prioritise(job.id, 20).priority == 20
        assert hers.prioritise(job.id, 50).priority == 50
        with pytest.raises(AccessDenied, match="The key ann may not give jobs more than the normal priority"):
            hers.prioritise(job.id, 51)
        with pytest.raises(UnknownJob):
            his.prioritise(job.id, 10)
        assert boss.prioritise(job.id, 90).priority == 90
        # it may be kept or given up again, but no more
        assert hers.prioritise(job.id, 60).priority == 60
        with pytest.raises(AccessDenied):
            hers.prioritise(job.id, 90)
        with pytest.raises(InputError, match="from 0 to 100"):
            boss.prioritise(job.id, 101)
        with pytest.raises(AccessDenied, match="may not stop or resume"):
            boss.cancel(job.id)
        wait_for(lambda: hers.status(job.id).state is JobState.DONE)
        with pytest.raises(InputError, match="is done; only jobs that wait"):
            hers.prioritise(job.id, 10)
    assert [entry["priority"] for entry in AuditLog(home()).entries() if entry["what"] == "prioritise"][:3] == [
        20,
        50,
        90,
    ]


def test_a_long_list_of_long_jobs_arrives_whole() -> None:
    jobs = stored(1500, prompt="x" * 12_000)
    running = RunningServer()
    with Client(running.address) as client:
        assert [job.id for job in client.jobs()] == [job.id for job in reversed(jobs)]
        assert [job.id for job in client.jobs(limit=250)] == [job.id for job in reversed(jobs)][:250]


def test_a_row_that_cannot_be_read_keeps_nobody_from_the_others() -> None:
    first, second, third = stored(3)
    with sqlite3.connect(home() / FILE) as database:
        database.execute("update jobs set shot = ? where id = ?", ("no JSON", first.id))
        newer = second.shot.to_dict()
        newer["settings"]["of_a_newer_version"] = 1
        database.execute("update jobs set shot = ? where id = ?", (json.dumps(newer), second.id))
    running = RunningServer()
    with Client(running.address) as client:
        assert [job.id for job in client.jobs()] == [third.id]
        for broken in (first, second):
            with pytest.raises(InputError, match=f"job {broken.id} cannot be read"):
                client.status(broken.id)


def test_a_damaged_list_is_set_aside_and_what_can_be_read_kept() -> None:
    stored(200)
    file = home() / FILE
    assert repair(home()) is None
    data = bytearray(file.read_bytes())
    # pages of the table, not its root
    data[4096 * 12 : 4096 * 13] = b"\xff" * 4096
    file.write_bytes(data)
    aside = repair(home())
    assert aside is not None
    assert aside.read_bytes() == bytes(data)
    store = Store(home())
    store.add(Job(new_id(), JobState.QUEUED, Shot("plate", "roto"), "/out", 0.0, 0.0))
    store.close()
    file.write_bytes(b"this is no database, whatever its name says" * 200)
    with pytest.raises(ServerRefused, match="void doctor --repair"):
        Store(home())
    assert repair(home())
    Store(home()).close()


@pytest.mark.parametrize("all_jobs", [False, True])
def test_uploads_and_taken_tokens_outlive_a_repair(all_jobs: bool) -> None:
    """A token that was taken is not taken again, and what somebody has uploaded goes on to count."""
    stored(200)
    store, upload = Store(home()), Upload("a" * 64, 1000, "ann")
    store.note_upload(upload)
    assert store.take_token("once", 2e9, 1e9)
    store.close()
    file = home() / FILE
    data = bytearray(file.read_bytes())
    # the root of the table of jobs, so that none can be read, or another page of it
    page = 1 if all_jobs else 12
    data[4096 * page : 4096 * (page + 1)] = b"\xff" * 4096
    file.write_bytes(data)
    assert repair(home())
    store = Store(home())
    assert store.uploads() == [upload]
    assert not store.take_token("once", 2e9, 1e9)
    store.close()


def test_a_locked_list_holds_nobody_up() -> None:
    stored(1)
    running = RunningServer()
    with Client(running.address) as client:
        client.jobs()
        with sqlite3.connect(home() / FILE, isolation_level=None) as other:
            other.execute("begin exclusive")
            assert client.hello().pid == running.process.pid
            other.execute("rollback")
        assert len(client.jobs()) == 1


def test_jobs_of_another_machine_are_left_to_it() -> None:
    store = Store(home(), "tcp://127.0.0.1:5690")
    job = Job(new_id(), JobState.QUEUED, Shot("plate", "roto"), "/out", time.time(), time.time())
    store.add(job)
    store._database.execute("update jobs set owner_host = 'blade17', owner_pid = 1, owner_started = 0")
    assert store.orphans() == []
    assert store.owner(job.id) == "tcp://127.0.0.1:5690"
    store.close()


def test_a_reserved_folder_goes_to_one_job(shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[1]))
    folder = tmp_path / "out" / "v001"
    folder.mkdir(parents=True)
    running = RunningServer(shot, tmp_path, pipeline="tests.test_roles")
    with Client(running.address) as client:
        first = client.submit(shot_of(shot), str(folder), reserved=True)
        with pytest.raises(InputError, match=f"reserved for job {first.id}"):
            client.submit(shot_of(shot), str(folder), reserved=True)
        client.cancel(first.id)
        wait_for(lambda: client.status(first.id).state is JobState.CANCELLED)


def inspect(*_: object) -> None:
    """A pipeline that takes any shot."""


def run(_: str, shot: Shot, folder: Path, report: object) -> list[str]:
    """And works until it is stopped."""
    from void_server.api.job import Progress

    del shot, folder
    while True:
        report(Progress("working", None, 0.5, 1.0))  # type: ignore[operator]
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"prompt": "x" * 20_001}, "prompt has 20001 characters"),
        ({"plate": "x" * 20_001}, "plate has 20001 characters"),
        ({"prompt": "a \udcff"}, "not valid text"),
        ({"prompts": (Prompt(1, "point", (1.0, 2.0)),) * 1001}, "1001 points and boxes"),
        ({"settings": {"reasoner_settings": {"reasoner_model": "m" * 20_001}}}, "reasoner_model has 20001"),
    ],
)
def test_no_shot_is_endless(given: dict[str, object], message: str) -> None:
    settings = given.pop("settings", {})
    with pytest.raises(SettingError, match=message):
        Shot(**{"plate": "p", "roto": "r", **given, "settings": Settings.from_dict(settings)})  # type: ignore[arg-type]


def test_the_record_says_who_did_what_and_notices_changes(shot: Path, tmp_path: Path) -> None:
    running = RunningServer(shot, tmp_path)
    with Client(running.address) as client:
        job = client.submit(shot_of(shot), str(tmp_path / "out"))
        assert list(client.watch(job.id))[-1].state is JobState.DONE
        client.download(job.id, str(tmp_path / "copy"))
        client.clear_jobs()
    record = AuditLog(home())
    assert [(one["who"], one["what"], one.get("job")) for one in record.entries()] == [
        ("anonymous", "submit", job.id),
        ("anonymous", "fetch", job.id),
        ("anonymous", "clear", None),
    ]
    lines = record.file.read_bytes().splitlines(keepends=True)
    for changed in (
        [lines[0].replace(b"anonymous", b"boss"), *lines[1:]],
        lines[1:],
        [lines[1], lines[0], lines[2]],
        [lines[0], lines[2]],
        [lines[0], b"{}\n"],
    ):
        record.file.write_bytes(b"".join(changed))
        with pytest.raises(InputError, match=r"Line [12] of"):
            list(record.entries())


def test_a_line_of_the_record_that_a_loss_of_power_cut_off_spoils_no_other(tmp_path: Path) -> None:
    record = AuditLog(tmp_path)
    record.add("ann", "here", "submit", plate="\x01" * 20_000)
    with open(record.file, "ab") as file:
        file.write(b'{"entry": {"who"')
    assert [one["who"] for one in record.entries()] == ["ann"]
    record.add("bob", "here", "submit")
    assert [one["who"] for one in record.entries()] == ["ann", "bob"]


def test_two_servers_that_begin_at_once_sign_with_one_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random, others = os.urandom, []

    def random_and_another(count: int) -> bytes:
        monkeypatch.setattr(os, "urandom", random)
        others.append(AuditLog(tmp_path))
        return random(count)

    monkeypatch.setattr(os, "urandom", random_and_another)
    record = AuditLog(tmp_path)
    others[0].add("ann", "here", "submit")
    record.add("bob", "there", "submit")
    assert [one["who"] for one in record.entries()] == ["ann", "bob"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.jsonl", "audit.key"]


def test_nobody_fills_the_queue(shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[1]))
    running = RunningServer(shot, tmp_path, pipeline="tests.test_roles", queue_limit=2)
    with Client(running.address) as client:
        first = client.submit(shot_of(shot), str(tmp_path / "out"))
        wait_for(lambda: client.status(first.id).state is JobState.RUNNING)
        for _ in range(2):
            client.submit(shot_of(shot), str(tmp_path / "out"))
        with pytest.raises(ServerRefused, match="2 jobs waiting"):
            client.submit(shot_of(shot), str(tmp_path / "out"))
