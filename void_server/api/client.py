"""The client: submits jobs to a server and follows them. Needs Python 3.9, pyzmq and msgpack, nothing else."""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Mapping, Optional, Sequence

import zmq
import zmq.auth

from .connection import notice_its_end
from .errors import InputError, ProtocolError, ServerBusy, ServerUnreachable, SettingError, VoidError
from .files import (
    CHUNK,
    check_regular,
    complete,
    digest_of,
    inside,
    names_of,
    new_version_folder,
    open_partial,
    open_regular,
    unreadable,
    write_atomically,
)
from .job import MANIFEST, Job, new_id
from .messages import MAX_FRAME, UNASKED, Bytes, frames_of, opened, result, understood
from .reach import Reach
from .settings import Declaration
from .shot import Shot

DEFAULT_ADDRESS = "tcp://127.0.0.1:5690"
#: No list of jobs is longer, whatever a server says.
_MOST_JOBS = 100_000
#: The longest pause before a client looks again for a server that is gone.
_RECONNECT_MS = 2000
#: Chunks of a file that are under way at once.
_AHEAD = 3
#: A server may look so many seconds at the files of a shot before it says whether it takes it.
_LOOKING = 150.0

#: Called with the bytes sent or received so far, and all there are.
OnBytes = Callable[[int, int], None]


@dataclass(frozen=True)
class ServerInfo:
    """A server's description of itself.

    ``roots`` are the folders in which it reads and writes; ``engines`` and ``reasoners`` those installed there;
    ``settings`` the settings that these declare, by ``engines`` or ``reasoners``, then by the name of each.
    ``generative`` are the engines whose pixels a model makes, ``cloud`` the reasoners that send frames away. ``user``
    is the name by which it knows the client, ``rights`` what this may do: submit, see_all, prioritise, administer.
    """

    version: str
    protocol: int
    pid: int
    roots: tuple[str, ...]
    engines: tuple[str, ...]
    reasoners: tuple[str, ...]
    settings: Mapping[str, Mapping[str, tuple[Declaration, ...]]]
    generative: tuple[str, ...] = ()
    cloud: tuple[str, ...] = ()
    user: str = ""
    rights: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, data: Any) -> ServerInfo:
        """What a server's greeting says. Raises :class:`ProtocolError` for anything else."""
        lists = ("roots", "engines", "reasoners", "generative", "cloud", "rights")
        if (
            not isinstance(data, Mapping)
            or not all(isinstance(data.get(name), str) for name in ("version", "user"))
            or not all(isinstance(data.get(name), int) for name in ("protocol", "pid"))
            or not all(_are_texts(data.get(name)) for name in lists)
        ):
            raise ProtocolError("What answers is not a VOID server, or one of another version; check the address.")
        try:
            settings = {
                kind: {
                    str(name): tuple(map(Declaration.from_dict, found))
                    for name, found in data["settings"][kind].items()
                }
                for kind in ("engines", "reasoners")
            }
        except (LookupError, TypeError, ValueError, AttributeError, SettingError) as error:
            raise ProtocolError(
                f"The server's settings cannot be read ({error}); are client and server of the same version?"
            ) from error
        named = {name: tuple(data[name]) for name in lists}
        return cls(data["version"], data["protocol"], data["pid"], settings=settings, user=data["user"], **named)


@dataclass(frozen=True)
class ResultFile:
    """A file of a result: its path within the version folder, its size in bytes."""

    path: str
    size: int

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ResultFile:
        """What a server lists. Raises TypeError or LookupError for anything else."""
        if not isinstance(data["path"], str):
            raise TypeError(f"path is {data['path']!r}")
        return cls(data["path"], _count(data["size"]))


@dataclass(frozen=True)
class WorkerInfo:
    """A worker of a server: its name, whether it is ready for jobs, and the job it is at.

    ``gpu`` is the number of its GPU, empty where it has none to itself; ``job`` is empty for an idle one, and for one
    that is at somebody else's.
    """

    name: str
    ready: bool
    busy: bool
    gpu: str
    job: str

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> WorkerInfo:
        """What a server lists. Raises TypeError or LookupError for anything else."""
        words, yes_or_no = ("name", "gpu", "job"), ("ready", "busy")
        if not all(isinstance(data[name], str) for name in words) or not all(
            isinstance(data[name], bool) for name in yes_or_no
        ):
            raise TypeError("a worker is not described")
        return cls(**{name: data[name] for name in (*words, *yes_or_no)})


@dataclass(frozen=True)
class Keys:
    """The key files for a server beyond this machine: the client's secret one, and the server's public one."""

    secret: str
    server: str

    @classmethod
    def from_environment(cls) -> Optional[Keys]:
        """The files that ``VOID_KEY`` and ``VOID_SERVER_KEY`` name, None where they are not set.

        Raises :class:`~void_server.api.errors.SettingError` where only one of them is.
        """
        secret, server = os.environ.get("VOID_KEY"), os.environ.get("VOID_SERVER_KEY")
        if bool(secret) != bool(server):
            missing = "VOID_SERVER_KEY" if secret else "VOID_KEY"
            raise SettingError(f"{missing} is not set, but keys need both; set it, or unset the other.")
        return cls(secret, server) if secret and server else None


def default_address() -> str:
    """The address in ``VOID_SERVER``, else the one that servers listen on by default."""
    return os.environ.get("VOID_SERVER") or DEFAULT_ADDRESS


def _ignored(done: int, total: int) -> None:
    del done, total


def _size(path: Path) -> int:
    check_regular(path)
    try:
        size = path.stat().st_size
    except OSError as error:
        raise unreadable(path, error) from error
    if not size:
        raise InputError(f"{path} is empty; write it again.")
    return size


def _digests(paths: Sequence[Path]) -> Iterator[str]:
    """The SHA-256 of each file; that of the next is found while the caller is busy with one."""
    ahead = ThreadPoolExecutor(1)
    try:
        found = [ahead.submit(digest_of, path) for path in paths[:1]]
        for number in range(len(paths)):
            digest = found.pop().result()
            found += [ahead.submit(digest_of, path) for path in paths[number + 1 : number + 2]]
            yield digest
    finally:
        # who gives up waits for no large file
        ahead.shutdown(wait=False)


def _after(on_bytes: OnBytes, before: int, total: int, done: int) -> None:
    on_bytes(before + done, total)


class Client:
    """A connection to a server, for use from one thread at a time.

    Nothing is sent until the first call, and lost connections are restored. A call without an answer within
    ``timeout`` seconds raises :class:`ServerUnreachable`. Closing never waits for a server that is gone. With the
    page's key it asks for a ``user`` at a ``host`` who has signed in there: ``acting_for`` names both.
    """

    def __init__(
        self,
        address: Optional[str] = None,
        *,
        keys: Optional[Keys] = None,
        timeout: float = 10.0,
        acting_for: Optional[Mapping[str, str]] = None,
    ) -> None:
        self.address = address or default_address()
        # said with each request; the page's key alone may do that
        self._always = {"acting_for": dict(acting_for)} if acting_for else {}
        self._keys = keys or Keys.from_environment()
        self._timeout = timeout
        self._context = zmq.Context()
        self._socket: Optional[zmq.Socket[bytes]] = None
        self._reach: Optional[Reach] = None
        self._number = UNASKED

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._disconnect()
        self._context.term()

    def _disconnect(self) -> None:
        if self._reach is not None:
            self._reach.close()
            self._reach = None
        if self._socket is not None:
            self._socket.close(linger=0)
            self._socket = None

    def _connected(self) -> zmq.Socket[bytes]:
        if self._socket is None:
            socket = self._context.socket(zmq.DEALER)
            socket.linger = 0
            # what is larger is never read into memory: the connection ends
            socket.maxmsgsize = MAX_FRAME
            notice_its_end(socket)
            socket.setsockopt(zmq.RECONNECT_IVL_MAX, _RECONNECT_MS)
            self._socket = socket
            try:
                self._identify(socket)
                self._reach = Reach(socket, self._keys is not None)
                socket.connect(self.address)
            except zmq.ZMQError as error:
                self._disconnect()
                raise SettingError(
                    f"Server address {self.address!r} cannot be used: {error}; write it like {DEFAULT_ADDRESS}."
                ) from error
            except (OSError, ValueError) as error:
                self._disconnect()
                raise SettingError(
                    f"The keys for the server cannot be used: {error}; VOID_KEY names the client's secret key file, "
                    "VOID_SERVER_KEY the server's public one."
                ) from error
        return self._socket

    def _identify(self, socket: zmq.Socket[bytes]) -> None:
        if self._keys is None:
            return
        server, _ = zmq.auth.load_certificate(self._keys.server)
        public, secret = zmq.auth.load_certificate(self._keys.secret)
        if secret is None:
            raise ValueError(f"{self._keys.secret} contains no secret key")
        socket.curve_serverkey, socket.curve_publickey, socket.curve_secretkey = server, public, secret

    def _send(self, verb: str, body: Mapping[str, Any]) -> int:
        self._number += 1
        self._connected().send_multipart(frames_of(self._number, body, verb=verb, **self._always), copy=False)
        return self._number

    def _receive(self, deadline: float) -> Optional[dict[str, Any]]:
        """The next message, None if none arrives by ``deadline``."""
        socket = self._connected()
        left = deadline - time.monotonic()
        if left > 0 and socket.poll(max(1, int(left * 1000))):
            return opened([frame.buffer for frame in socket.recv_multipart(copy=False)])
        return None

    def _unreachable(self) -> ServerUnreachable:
        why = self._reach.why() if self._reach else "the connection is closed"
        return ServerUnreachable(f"No VOID server answers at {self.address}: {why}.")

    def _ask(self, verb: str, *, wait: Optional[float] = None, **body: Any) -> Any:
        (answer,) = self._ask_ahead(verb, [body], wait)
        return answer

    def _ask_ahead(self, verb: str, bodies: Iterable[Mapping[str, Any]], wait: Optional[float] = None) -> Iterator[Any]:
        """Ask for one thing after the other, some ahead of their turn; the answers in the order of the requests."""
        under_way: deque[int] = deque()
        early: dict[int, Any] = {}
        for body in bodies:
            under_way.append(self._send(verb, body))
            if len(under_way) == _AHEAD:
                yield self._answered(under_way, early, wait)
        while under_way:
            yield self._answered(under_way, early, wait)

    def _answered(self, under_way: deque[int], early: dict[int, Any], wait: Optional[float]) -> Any:
        """The answer to the first request that is ``under_way``; ``early`` keeps those to the others."""
        number = under_way.popleft()
        deadline = time.monotonic() + (wait or self._timeout)
        while number not in early:
            message = self._receive(deadline)
            if message is None:
                error = self._unreachable()
                self._disconnect()
                raise error
            # a refusal by whoever did not even read which request it is names none; those of the others that are under
            # way are no answers to later ones
            if message["id"] == UNASKED and "error" in message:
                self._disconnect()
                return result(message)
            if message["id"] == number or message["id"] in under_way:
                early[message["id"]] = message
        return result(early.pop(number))

    def _job(self, verb: str, job_id: str, *, wait: Optional[float] = None, **body: Any) -> Job:
        """The job of that id, which a request is about. Raises :class:`ProtocolError` where another one comes."""
        job = Job.from_dict(self._ask(verb, wait=wait, **body))
        if job.id != job_id:
            raise ProtocolError(f"The server was asked for job {job_id} and answered with {job.id}.")
        return job

    def hello(self) -> ServerInfo:
        """Ask the server for its version and capabilities."""
        return ServerInfo.from_dict(self._ask("hello"))

    def sign_in(self, token: str, host: str) -> str:
        """The name of the user who made a token and showed it at ``host``; for the page alone.

        Raises :class:`~void_server.api.errors.AccessDenied` for one that is not good, or was taken already.
        """
        return understood(str, self._ask("sign_in", token=token, host=host))

    def submit(self, shot: Shot, out: str, *, job_id: Optional[str] = None, reserved: bool = False) -> Job:
        """Submit a shot whose files the server can reach; results go to a new version folder in ``out``.

        With ``reserved`` they go to ``out`` itself, an existing version folder. Submitting again with the same
        ``job_id`` returns the existing job. Raises :class:`~void_server.api.errors.InputError` if the shot is wrong.
        """
        return self._submitted(job_id or new_id(), shot, out=out, reserved=reserved)

    def _submitted(self, job_id: str, shot: Shot, **body: Any) -> Job:
        # whether the server is there at all is known sooner than what it thinks of the shot
        self.hello()
        wait = max(self._timeout, _LOOKING)
        try:
            return self._job("submit", job_id, wait=wait, id=job_id, shot=shot.to_dict(), **body)
        except ServerUnreachable:
            # it must not begin once nobody waits for it any more
            with suppress(VoidError):
                self.cancel(job_id, interrupted=True)
            raise

    def submit_files(
        self,
        shot: Shot,
        files: Mapping[str, Sequence[str]],
        on_bytes: OnBytes = _ignored,
        *,
        job_id: Optional[str] = None,
    ) -> Job:
        """Submit a shot with its files, to a server that cannot reach them.

        ``files`` lists them by their part in the shot: plate, roto, quadmask, ocio. Data that the server already has is
        not sent again. ``job_id`` as for :meth:`submit`. Raises :class:`InputError`, before anything is sent, for a
        file that is missing or empty.
        """
        paths = {role: [Path(name) for name in names] for role, names in files.items()}
        total = sum(_size(path) for of_role in paths.values() for path in of_role)
        sent = 0
        sums: dict[str, list[list[str]]] = {role: [] for role in paths}
        named = [(role, path) for role, of_role in paths.items() for path in of_role]
        for (role, path), digest in zip(named, _digests([path for _, path in named])):
            size = path.stat().st_size
            self._upload(path, digest, size, partial(_after, on_bytes, sent, total))
            sent += size
            sums[role].append([path.name, digest])
        return self._submitted(job_id or new_id(), shot, files=sums)

    def _upload(self, path: Path, digest: str, size: int, on_done: Callable[[int], None]) -> None:
        offset = understood(_count, self._ask("upload.offset", digest=digest, size=size))
        with open_regular(path) as file:

            def chunks(at: int) -> Iterator[dict[str, Any]]:
                file.seek(at)
                while at < size:
                    data = file.read(CHUNK)
                    if not data:
                        raise InputError(f"{path} shrank while it was being sent; submit again once it is written.")
                    yield {"digest": digest, "size": size, "offset": at, "data": data}
                    at += len(data)

            while offset < size:
                # where another client sends the same file, the server has more than this one has sent
                for answer in self._ask_ahead("upload.chunk", chunks(offset)):
                    offset = understood(_count, answer)
                    on_done(offset)
        on_done(size)

    def download(self, job_id: str, out: str, on_bytes: OnBytes = _ignored) -> str:
        """Fetch the results of a finished job into a new version folder in ``out``; return that folder.

        An interrupted download of the same job continues where it stopped. Raises
        :class:`~void_server.api.errors.AccessDenied`, before anything is written, if the server lists a file outside
        that folder, and :class:`ProtocolError` if a file arrives damaged.
        """
        # before the folder is made
        listed = self.results(job_id)
        folder = _version_folder_of(Path(out), job_id)
        targets = {entry: inside(folder, entry.path) for entry in listed}
        total, got = sum(entry.size for entry in listed), 0
        # the manifest comes last: where it is, everything is
        for entry in sorted(targets, key=lambda e: (e.path == MANIFEST, e.path)):
            self._fetch(job_id, entry, targets[entry])
            got += entry.size
            on_bytes(got, total)
        _marker(folder).unlink(missing_ok=True)
        return str(folder)

    def results(self, job_id: str) -> list[ResultFile]:
        """The files of a finished job, below its version folder.

        Raises :class:`~void_server.api.errors.AccessDenied` if the server lists one outside it.
        """
        listed = understood(_results, self._ask("result.list", job=job_id))
        for entry in listed:
            names_of(entry.path)
        return listed

    def fetch(self, job_id: str, file: ResultFile, folder: str) -> str:
        """Fetch one of the results of a finished job into ``folder``, below which it keeps its path; return the file.

        One that is there already is not fetched again. Raises as :meth:`download`.
        """
        target = inside(Path(folder), file.path)
        self._fetch(job_id, file, target)
        return str(target)

    def _fetch(self, job_id: str, entry: ResultFile, target: Path) -> None:
        if target.is_file():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        part = inside(target.parent, f".{target.name}.part")
        damaged = ProtocolError(f"{entry.path} of job {job_id} was damaged in transfer; fetch the result again.")
        # pieces are written and hashed while others arrive
        with open_partial(part) as file, ThreadPoolExecutor(1) as disk:
            begin = arrived = file.tell()
            hashed = hashlib.sha256()
            writing: deque[Future[None]] = deque()
            without_gap = True

            def keep(data: Bytes) -> None:
                nonlocal without_gap
                # behind a piece that failed, the others would not be where they belong
                if without_gap:
                    without_gap = False
                    file.write(data)
                    hashed.update(data)
                    without_gap = True

            # one that is complete already asks for its end, which brings the digest
            offsets = range(begin, max(entry.size, begin + 1), CHUNK)
            bodies = ({"job": job_id, "path": entry.path, "offset": offset} for offset in offsets)
            for answer in self._ask_ahead("result.chunk", bodies, _LOOKING):
                data, digest = understood(_chunk, answer)
                arrived += len(data)
                whole = arrived == entry.size
                if bool(digest) != whole or not (whole or len(data) == CHUNK):
                    raise damaged
                writing.append(disk.submit(keep, data))
                if len(writing) > _AHEAD:
                    writing.popleft().result()
            for one in writing:
                one.result()
        if not complete(part, target, digest, "" if begin else hashed.hexdigest()):
            raise damaged

    def status(self, job_id: str) -> Job:
        """The job as it stands. Raises :class:`~void_server.api.errors.UnknownJob`."""
        return self._job("status", job_id, job=job_id)

    def jobs(self, limit: Optional[int] = None) -> list[Job]:
        """The jobs on the server's list, newest first; at most ``limit``."""
        found: dict[str, Job] = {}
        skip = 0
        while len(found) < min(_MOST_JOBS, limit or _MOST_JOBS):
            # the server gives a page at a time
            page = self._ask("jobs", limit=None if limit is None else limit - len(found), skip=skip)
            if not isinstance(page, list):
                raise ProtocolError("The server's answer is not a list of jobs; are client and server of one version?")
            before = len(found)
            # one that was submitted meanwhile moves the others on
            found.update((job.id, job) for job in map(Job.from_dict, page))
            skip += len(page)
            if len(found) == before:
                break
        return list(found.values())

    def clear_jobs(self) -> int:
        """Clear ended jobs from the server's list, keeping everything else of them; returns their number."""
        count = self._ask("jobs.clear")
        if not isinstance(count, int):
            raise ProtocolError("The server's answer is not a number of jobs; are client and server of one version?")
        return count

    def workers(self) -> list[WorkerInfo]:
        """The server's workers, and what they are at."""
        return understood(_workers, self._ask("workers"))

    def cancel(self, job_id: str, *, interrupted: bool = False) -> Job:
        """Stop a job; finished frames are kept, and it can be resumed.

        Its state becomes ``cancelled``, or ``interrupted`` if the program that followed it ended.
        Raises :class:`~void_server.api.errors.InputError` for a job that is done or has failed.
        """
        return self._job("cancel", job_id, job=job_id, interrupted=interrupted)

    def resume(self, job_id: str) -> Job:
        """Continue a job that failed or was stopped; a running job is left alone."""
        return self._job("resume", job_id, job=job_id)

    def prioritise(self, job_id: str, priority: int) -> Job:
        """Have a waiting job begin before those of lower priority, from 0 to 100; 50 is what all are given.

        Raises :class:`~void_server.api.errors.AccessDenied` for more than 50 where the key may not give that.
        """
        return self._job("prioritise", job_id, job=job_id, priority=priority)

    def watch(self, job_id: str, *, heartbeat: float = 2.0, patience: float = 60.0) -> Iterator[Job]:
        """Yield the job whenever it changes, until it has ended.

        Waits up to ``patience`` seconds for a server that is gone, then raises :class:`ServerUnreachable`.
        """
        last: Optional[Job] = None
        heard = time.monotonic()
        while True:
            number = self._send("watch", {"job": job_id})
            deadline = time.monotonic() + heartbeat
            while (message := self._receive(deadline)) is not None:
                heard = time.monotonic()
                if message["id"] not in (UNASKED, number):
                    continue
                try:
                    job = Job.from_dict(result(message))
                except ServerBusy:
                    # the job goes on, and is asked for again later
                    continue
                if job.id == job_id and job != last:
                    last = job
                    yield job
                    if job.state.ended:
                        return
            if time.monotonic() - heard > patience:
                raise self._unreachable()
            if time.monotonic() - heard > 2 * heartbeat:
                self._disconnect()


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _results(answer: Any) -> list[ResultFile]:
    return [ResultFile.from_dict(entry) for entry in answer]


def _workers(answer: Any) -> list[WorkerInfo]:
    return [WorkerInfo.from_dict(entry) for entry in answer]


def _count(answer: Any) -> int:
    if not isinstance(answer, int) or answer < 0:
        raise TypeError(f"{answer!r} is not a number of bytes")
    return answer


def _chunk(answer: Mapping[str, Any]) -> tuple[Bytes, str]:
    if not isinstance(answer["data"], (bytes, memoryview)):
        raise TypeError("data are no bytes")
    return answer["data"], str(answer["digest"])


def _marker(folder: Path) -> Path:
    return folder / ".download"


def _version_folder_of(out: Path, job_id: str) -> Path:
    """The folder of an unfinished download of this job in ``out``, or a new one."""
    for folder in sorted(out.glob("v[0-9][0-9][0-9]*")):
        if not folder.is_symlink() and _marker(folder).is_file() and _marker(folder).read_bytes() == job_id.encode():
            return folder
    folder = new_version_folder(out)
    write_atomically(_marker(folder), job_id)
    return folder
