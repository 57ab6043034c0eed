"""The server: one loop that answers clients at once, whatever the workers are doing."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import math
import os
import re
import sqlite3
import sys
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import zmq
import zmq.asyncio
import zmq.auth.asyncio

from .. import __version__, plugins
from ..api.client import DEFAULT_ADDRESS
from ..api.errors import (
    AccessDenied,
    InputError,
    JobCancelled,
    JobFailed,
    ProtocolError,
    ServerError,
    ServerRefused,
    SettingError,
    VoidError,
)
from ..api.errors import from_dict as error_from_dict
from ..api.files import new_version_folder
from ..api.home import home
from ..api.job import MANIFEST, Job, JobState, Progress
from ..api.messages import MAX_FRAME, PROTOCOL, UNASKED, only_frame, pack, pack_error, unpack
from ..api.shot import Shot
from ..interruption import handling
from . import log, transfer
from .access import below_roots
from .inspection import Inspector
from .keys import KeyRing
from .store import Store, interrupted, stopped
from .workers import WorkerHandle, WorkerPool

_log = logging.getLogger(__name__)
Kind = TypeVar("Kind")

_ADDRESS = re.compile(r"tcp://(?P<host>\*|[\w.-]+|\[[\w:.%]+\]):(?P<port>\*|\d+)")
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
#: With a domain ZeroMQ asks whether a peer may come in, and refuses those that speak a protocol from before there was
#: such a question, which a web page can be made to speak.
_ZAP_DOMAIN = "void"
#: The limits for one connection: messages that wait, and requests in progress at once.
_WAITING, _AT_ONCE = 64, 16
_JOB_ID = re.compile(r"[0-9a-f]{12}")
#: A watcher that has been silent for this many seconds gets no more updates.
_SILENCE = 15.0
#: The number of attempts at a job whose workers die.
_ATTEMPTS = 3
_DAY = 86400.0


@dataclass(frozen=True)
class ServerConfig:
    """The configuration of a server.

    ``roots`` are the folders below which it may read and write; without any it takes uploads only. ``state`` keeps
    jobs, keys and uploads. An ``embedded`` server works for the one client that started it, and never takes over
    others' jobs. ``require_keys`` requires keys on this machine too. With ``idle_minutes`` it ends after that long
    without a job or a request. ``pipeline`` names the module that does the work. What happens is logged to the file
    ``log``, or to standard error, from ``log_level`` on: debug, info, warning, error.
    """

    address: str = DEFAULT_ADDRESS
    roots: tuple[Path, ...] = ()
    state: Path = field(default_factory=home)
    workers: int = 1
    embedded: bool = False
    require_keys: bool = False
    idle_minutes: float | None = None
    keep_uploads_days: float = 7.0
    pipeline: str = "void_server.pipeline"
    log: Path | None = None
    log_level: str = "info"


def serve(config: ServerConfig, on_ready: Callable[[str], None]) -> int | None:
    """Run a server until SIGINT, SIGTERM or SIGHUP; running jobs go back into the queue then.

    Those of an embedded server are interrupted.

    Returns that signal's number, or None if the server ended because it was idle. ``on_ready`` receives the address.
    Raises :class:`ServerRefused` if the server cannot listen there, and :class:`InputError` if the configuration is
    wrong.
    """
    log.start(config.log, config.log_level)
    if sys.platform == "win32":
        # ZeroMQ needs a loop that can wait for sockets
        asyncio.set_event_loop_policy(asyncio.WindowsSelectorEventLoopPolicy())
    return asyncio.run(Server(config).run(on_ready))


@dataclass(frozen=True)
class Caller:
    """Who sent a message: the connection, the name of the key, the host."""

    connection: bytes
    name: str
    host: str

    def __str__(self) -> str:
        return f"{self.name} ({self.host})"


class Server:
    """The state of a running server; made inside its loop."""

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self._keys = KeyRing(config.state)
        host = _host_of(config.address)
        # an embedded server is started for folders that it is to make
        if missing := [root for root in config.roots if not (config.embedded or root.is_dir())]:
            raise SettingError(f"The root {missing[0]} is not a folder; create or mount it, or give another --root.")
        self._secure = config.require_keys or host not in _LOOPBACK
        if self._secure and not self._keys.allowed():
            raise ServerRefused(
                f"Other machines can reach {config.address}, but no client is allowed yet: make a key with "
                "`void keys new NAME` on the client, then `void keys allow NAME.key` here; or listen on "
                "127.0.0.1."
            )
        self._queue: deque[str] = deque()
        self._progress: dict[str, Progress] = {}
        self._watchers: dict[tuple[bytes, str], float] = {}
        self._stopping: dict[str, JobState] = {}
        # how jobs ended that the store could not be told yet
        self._untold: dict[str, dict[str, Any]] = {}
        # submissions whose files are looked at, by job, and those of them that were stopped meanwhile
        self._submitting: Counter[str] = Counter()
        self._withdrawn: set[str] = set()
        self._ended_by: int | None = None
        self._requests: dict[asyncio.Task[None], bytes] = {}
        self._verbs: dict[str, Callable[[Caller, dict[str, Any]], Awaitable[Any]]] = {
            "hello": self._hello,
            "submit": self._submit,
            "status": self._status,
            "watch": self._watch,
            "jobs": self._jobs,
            "jobs.clear": self._jobs_clear,
            "cancel": self._cancel,
            "resume": self._resume,
            "upload.offset": self._upload_offset,
            "upload.chunk": self._upload_chunk,
            "result.list": self._result_list,
            "result.chunk": self._result_chunk,
        }

    async def run(self, on_ready: Callable[[str], None]) -> int | None:
        """Serve until stopped; returns the signal, None if idle."""
        self._stop = asyncio.Event()
        self._asked = time.monotonic()
        self._cleared = -math.inf
        # one after the other, as each chunk must follow the one before
        self._uploading = asyncio.Lock()
        loop = asyncio.get_running_loop()

        def end(number: int, _: object) -> None:
            self._ended_by = number
            loop.call_soon_threadsafe(self._stop.set)

        context = zmq.asyncio.Context()
        authenticator = self._authenticator(context)
        try:
            with handling(end):
                self._socket = self._bound(context)
                await self._serve(on_ready)
        finally:
            authenticator.stop()
            context.destroy(linger=200)
        return self._ended_by

    async def _serve(self, on_ready: Callable[[str], None]) -> None:
        config = self._config
        address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._store = Store(config.state, address, embedded=config.embedded)
        self._uploads = transfer.Uploads(config.state / "uploads")
        self._workers = WorkerPool(config.pipeline, config.workers, self._heard, self._died, self._no_workers)
        self._inspector = Inspector(config.pipeline, stay_ready=not config.embedded)
        # looked up once, so that answers are immediate
        self._engines, self._reasoners = plugins.engines(), plugins.reasoners()
        self._settings = {
            word: {name: [one.to_dict() for one in found] for name, found in plugins.declared(kind).items()}
            for word, kind in (("engines", plugins.ENGINES), ("reasoners", plugins.REASONERS))
        }
        try:
            self._workers.start()
            if not config.embedded:
                self._adopt()
            self._workers.task(self._for_ever(self._listen))
            self._workers.task(self._for_ever(self._look_after))
            _log.info(
                "VOID server %s listens at %s, %s, roots: %s, process %d",
                __version__,
                address,
                "with keys" if self._secure else "for this machine",
                ", ".join(map(str, config.roots)) or "none, uploads only",
                os.getpid(),
            )
            on_ready(address)
            await self._stop.wait()
        finally:
            self._leave_jobs()
            self._inspector.stop()
            await self._workers.stop()
            self._store.close()
            _log.info("VOID server at %s has ended", address)

    def _leave_jobs(self) -> None:
        """Update the unfinished jobs when the server ends: interrupt them, or leave them in the queue."""
        for job_id in [*self._queue, *self._workers.working_on()]:
            if job_id in self._stopping:
                self._end(job_id, self._stopping[job_id], stopped())
            elif self._config.embedded:
                self._end(job_id, JobState.INTERRUPTED, interrupted())
            else:
                with self._trying(f"job {job_id} stays in the queue"):
                    self._store.update(job_id, state=JobState.QUEUED)
                    _log.info("job %s stays in the queue", job_id)

    @staticmethod
    async def _for_ever(step: Callable[[], Awaitable[None]]) -> None:
        """Repeat ``step``, even if it fails: neither a message nor a full disk ends the server."""
        while True:
            try:
                await step()
            except Exception:
                _log.exception("internal error; the server continues")
                await asyncio.sleep(0.1)

    def _authenticator(self, context: zmq.asyncio.Context) -> zmq.auth.asyncio.AsyncioAuthenticator:
        authenticator = zmq.auth.asyncio.AsyncioAuthenticator(context)
        authenticator.start()
        authenticator.configure_curve_callback(_ZAP_DOMAIN, self._keys)
        return authenticator

    def _bound(self, context: zmq.asyncio.Context) -> zmq.asyncio.Socket:
        socket = context.socket(zmq.ROUTER)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME)
        socket.setsockopt(zmq.RCVHWM, _WAITING)
        socket.setsockopt(zmq.HEARTBEAT_IVL, 5000)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 15000)
        socket.setsockopt_string(zmq.ZAP_DOMAIN, _ZAP_DOMAIN)
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        if self._secure:
            socket.curve_publickey, socket.curve_secretkey = self._keys.server_pair()
            socket.curve_server = True
        address = self._config.address
        try:
            socket.bind(address)
        except zmq.ZMQError as error:
            if error.errno == errno.EADDRINUSE:
                raise ServerRefused(
                    f"The server cannot listen at {address}: another program, most likely a VOID server, "
                    "already does; use that one, or choose another port with --address."
                ) from error
            if error.errno == errno.EACCES:
                raise ServerRefused(
                    f"The server may not listen at {address}: this port is reserved for the system; choose "
                    "one above 1023."
                ) from error
            raise SettingError(
                f"The server cannot listen at {address} ({error}); give an address of this machine."
            ) from error
        return socket

    def _adopt(self) -> None:
        """Take over the jobs that a former server at this address left."""
        for job in self._store.orphans():
            self._store.own(job.id)
            self._enqueue(job.id)

    async def _look_after(self) -> None:
        """Do the housekeeping that is due now and then."""
        await asyncio.sleep(2)
        if self._is_idle():
            _log.info("idle for %g minutes", self._config.idle_minutes)
            self._stop.set()
        self._forget_silent()
        self._tell_store()
        self._dispatch()
        if time.monotonic() - self._cleared > 3600:
            self._cleared = time.monotonic()
            await asyncio.to_thread(self._uploads.clear, self._config.keep_uploads_days * _DAY)

    def _is_idle(self) -> bool:
        limit = self._config.idle_minutes
        busy = self._queue or self._workers.working_on()
        if busy:
            self._asked = time.monotonic()
        return limit is not None and time.monotonic() - self._asked > 60 * limit

    # Requests

    async def _listen(self) -> None:
        frames = await self._socket.recv_multipart(copy=False)
        self._asked = time.monotonic()
        task = asyncio.get_running_loop().create_task(self._answer(frames))
        self._requests[task] = frames[0].bytes
        task.add_done_callback(self._requests.pop)
        # a message that waits is received without a pause, and answers need one
        await asyncio.sleep(0)

    async def _answer(self, frames: list[zmq.Frame]) -> None:
        connection = frames[0].bytes
        number, verb, caller = UNASKED, "a message", Caller(connection, "a client", "unknown")
        failure: VoidError
        try:
            message = unpack(only_frame([frame.bytes for frame in frames[1:]]))
            # first of all: without it no refusal reaches whoever asked
            number = message["id"]
            caller = self._caller(frames)
            self._check_key(caller)
            asked, body = str(message.get("verb")), message.get("body")
            if list(self._requests.values()).count(connection) > _AT_ONCE:
                raise ServerError("This client has too many requests open; wait for answers.")
            if asked not in self._verbs or not isinstance(body, dict):
                raise ProtocolError(f"The server does not know the request {asked!r:.100}; update it.")
            verb = asked
            answer = pack(number, body=await self._verbs[verb](caller, body))
        except VoidError as error:
            failure = error
            _log_error(logging.INFO, f"{verb} of {caller} refused", error)
        except OSError as error:
            failure = JobFailed(f"{error}; fix this and try again.")
            _log.warning("%s of %s failed: %s", verb, caller, error)
        except (Exception, SystemExit) as error:  # an engine's module may do anything when it is imported
            failure = JobFailed(
                f"The server failed with an internal error ({type(error).__name__}: {error}); see its log."
            )
            _log.exception("%s of %s failed", verb, caller)
        else:
            await self._tell(connection, answer)
            return
        await self._tell(connection, pack_error(number, failure))

    def _caller(self, frames: list[zmq.Frame]) -> Caller:
        """Who sent a message. On this machine nobody need show a key."""
        names = {key: name for name, key in self._keys.allowed().items()} if self._secure else {}
        user, host = (_told(frames[-1], name) for name in ("User-Id", "Peer-Address"))
        return Caller(frames[0].bytes, names.get(user, "") if self._secure else user, host)

    async def _tell(self, receiver: bytes, message: bytes) -> None:
        with contextlib.suppress(zmq.ZMQError):
            await self._socket.send_multipart([receiver, message])

    def _check_key(self, caller: Caller) -> None:
        # The handshake checks a key once; one that was revoked since must not go on using its connection.
        if not caller.name:
            raise AccessDenied("This client's key is no longer allowed; ask whoever runs the server.")

    async def _hello(self, _: Caller, body: dict[str, Any]) -> dict[str, Any]:
        del body
        return {
            "version": __version__,
            "protocol": PROTOCOL,
            "pid": os.getpid(),
            "roots": [str(root) for root in self._config.roots],
            "engines": self._engines,
            "reasoners": self._reasoners,
            "settings": self._settings,
        }

    async def _submit(self, caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
        job_id = _field(body, "id", str)
        if not _JOB_ID.fullmatch(job_id):
            raise ProtocolError("The job's id is not 12 hexadecimal digits; use a VOID client.")
        existing = self._store.find(job_id)
        if existing:
            # the answer to an earlier try was lost on its way
            return existing.to_dict()
        shot = Shot.from_dict(_field(body, "shot", dict))
        with self._withdrawable(job_id):
            shot, out, roots = await asyncio.to_thread(self._admit, job_id, shot, body)
            await self._inspector.inspect(shot, roots)
        if existing := self._store.find(job_id):
            # submitted a second time while it was looked at
            return existing.to_dict()
        now = time.time()
        if roots is not None:
            # looking at the files took a while, in which a link may have been put there
            below_roots(out, roots)
        folder = out if body.get("reserved") else new_version_folder(out)
        job = Job(job_id, JobState.QUEUED, shot, str(folder), now, now)
        self._store.add(job)
        _log.info("job %s submitted by %s: plate %s, into %s", job_id, caller, shot.plate, folder)
        self._enqueue(job_id)
        return job.to_dict()

    @contextlib.contextmanager
    def _withdrawable(self, job_id: str) -> Iterator[None]:
        """While a submission is looked at. Raises JobCancelled at its end where the job was stopped meanwhile."""
        self._submitting[job_id] += 1
        try:
            yield
            if job_id in self._withdrawn:
                raise JobCancelled("The job was stopped before it began.")
        finally:
            self._submitting[job_id] -= 1
            if not self._submitting[job_id]:
                del self._submitting[job_id]
                self._withdrawn.discard(job_id)

    def _admit(self, job_id: str, shot: Shot, body: dict[str, Any]) -> tuple[Shot, Path, tuple[Path, ...] | None]:
        """Check a submission, but not its files. Returns the shot with the paths that the server uses, where its
        version folder goes, and the roots that its files must lie below.
        """
        if "files" in body:
            folder = self._config.state / "jobs" / job_id
            places = self._uploads.place(body["files"], folder / "input")
            if lacking := sorted(set(shot.paths()) - set(places)):
                raise InputError(f"The shot's {lacking[0]} was not uploaded; upload its files too.")
            return Shot.from_dict({**shot.to_dict(), **places}), folder, None
        out = below_roots(_field(body, "out", str), self._config.roots)
        if body.get("reserved") and (not out.is_dir() or (out / MANIFEST).exists()):
            raise InputError(f"{out} is not a version folder waiting for its result; submit to the folder above it.")
        return shot, out, self._config.roots

    async def _status(self, _: Caller, body: dict[str, Any]) -> dict[str, Any]:
        return self._job_of(body).to_dict()

    async def _watch(self, caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
        job = self._job_of(body)
        self._watchers[caller.connection, job.id] = time.monotonic()
        return job.to_dict()

    async def _jobs(self, _: Caller, body: dict[str, Any]) -> list[dict[str, Any]]:
        limit = None if body.get("limit") is None else _count(body, "limit")
        return [self._with_progress(job).to_dict() for job in self._store.all(limit)]

    async def _jobs_clear(self, caller: Caller, body: dict[str, Any]) -> int:
        del body
        cleared = self._store.clear()
        _log.info("%d jobs cleared from the list by %s", cleared, caller)
        return cleared

    async def _cancel(self, caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
        if (job_id := _field(body, "job", str)) in self._submitting:
            # there is no job yet, and there will be none
            self._withdrawn.add(job_id)
        job = self._job_of(body)
        state = JobState.INTERRUPTED if body.get("interrupted") else JobState.CANCELLED
        _log.info("job %s to be %s, requested by %s", job.id, state.value, caller)
        if job.id in self._queue:
            self._queue.remove(job.id)
            self._end(job.id, state, JobCancelled("The job was stopped before it began."))
        elif job.id in self._workers.working_on():
            self._stopping.setdefault(job.id, state)
            self._workers.cancel(job.id)
        else:
            self._announce(self._store.cancel(job.id))
        return self._job(job.id).to_dict()

    async def _resume(self, caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
        await self._check_reach(self._job_of(body))
        # from here on nothing is waited for: it is taken up once
        job = self._job_of(body)
        if job.id in (*self._queue, *self._workers.working_on()):
            return job.to_dict()
        owner = self._store.owner(job.id)
        if job.state is JobState.DONE:
            raise InputError(f"Job {job.id} is done; its result is in {job.folder}.")
        if not job.state.ended and owner:
            raise InputError(
                f"Job {job.id} is already {job.state.value}; follow it with: void resume {job.id} --server {owner}"
            )
        if not Path(job.folder).is_dir():
            raise InputError(f"The folder {job.folder} of job {job.id} is gone; submit the shot again.")
        self._store.own(job.id)
        _log.info("job %s resumed by %s", job.id, caller)
        self._enqueue(job.id)
        return self._job(job.id).to_dict()

    async def _check_reach(self, job: Job) -> None:
        """Raise :class:`AccessDenied` for a job that this server may not touch: others may share its list of jobs."""
        roots = [*self._config.roots, self._config.state / "jobs" / job.id]
        for path in (job.folder, *job.shot.paths().values()):
            await asyncio.to_thread(below_roots, path, roots)

    async def _upload_offset(self, _: Caller, body: dict[str, Any]) -> int:
        return self._uploads.offset(_field(body, "digest", str), _count(body, "size"))

    async def _upload_chunk(self, _: Caller, body: dict[str, Any]) -> int:
        digest, data = _field(body, "digest", str), _field(body, "data", bytes)
        size, offset, crc = (_count(body, name) for name in ("size", "offset", "crc"))
        async with self._uploading:
            return await asyncio.to_thread(self._uploads.chunk, digest, size, offset, data, crc)

    async def _result_list(self, caller: Caller, body: dict[str, Any]) -> list[dict[str, Any]]:
        job = self._job_of(body)
        await self._check_reach(job)
        listed = await asyncio.to_thread(transfer.listing, job)
        _log.info("job %s: result of %d files fetched by %s", job.id, len(listed), caller)
        return listed

    async def _result_chunk(self, _: Caller, body: dict[str, Any]) -> dict[str, Any]:
        job, path, offset = self._job_of(body), _field(body, "path", str), _count(body, "offset")
        await self._check_reach(job)
        return await asyncio.to_thread(transfer.chunk, job, path, offset)

    # Jobs

    def _with_progress(self, job: Job) -> Job:
        return replace(job, progress=self._progress.get(job.id, job.progress))

    def _job(self, job_id: str) -> Job:
        return self._with_progress(self._store.get(job_id))

    def _job_of(self, body: dict[str, Any]) -> Job:
        """The job that a request is about."""
        self._tell_store()
        return self._job(_field(body, "job", str))

    def _enqueue(self, job_id: str) -> None:
        # whatever the store can be told now, the job is not lost
        self._queue.append(job_id)
        with self._trying(f"job {job_id} waits"):
            self._announce(self._store.update(job_id, state=JobState.QUEUED))
        self._dispatch()

    def _dispatch(self) -> None:
        """Give jobs to workers that wait for one; a job that the store cannot be told of waits for another try."""
        with self._trying("a job begins"):
            self._give_jobs()

    def _give_jobs(self) -> None:
        while self._queue and (worker := self._workers.idle()):
            job_id = self._queue[0]
            job = self._store.update(job_id, state=JobState.RUNNING)
            self._store.attempt(job_id)
            self._queue.popleft()
            self._workers.give(worker, job)
            _log.info("job %s begins, %s, attempt %d", job_id, worker.name, self._store.attempts(job_id))
            self._announce(job)

    def _end(
        self, job_id: str, state: JobState, error: VoidError | None = None, warnings: list[str] | None = None
    ) -> None:
        progress = Progress("done", None, 1.0, 0.0) if state is JobState.DONE else self._progress.get(job_id)
        self._progress.pop(job_id, None)
        self._stopping.pop(job_id, None)
        if error:
            _log_error(_LEVELS.get(state, logging.INFO), f"job {job_id} {state.value}", error)
        else:
            _log.info("job %s %s", job_id, state.value)
        self._untold[job_id] = {"state": state, "error": error, "progress": progress, "warnings": warnings}
        self._tell_store()

    def _tell_store(self) -> None:
        """Keep how jobs have ended, as soon as the disk has room and nobody holds the store."""
        for job_id, outcome in list(self._untold.items()):
            with self._trying(f"job {job_id} is {outcome['state'].value}"):
                # somebody may have had it forgotten meanwhile
                job = self._store.find(job_id) and self._store.update(job_id, **outcome)
                del self._untold[job_id]
                if job:
                    self._announce(job)

    @staticmethod
    @contextlib.contextmanager
    def _trying(what: str) -> Iterator[None]:
        """Do what the store may refuse for a while; it is tried again as :meth:`_look_after` looks after it."""
        try:
            yield
        except sqlite3.Error as error:
            _log.error("the list of jobs cannot be told that %s, which is tried again: %s", what, error)

    def _heard(self, worker: WorkerHandle, message: dict[str, Any]) -> None:
        """Handle a worker's message."""
        job_id, kind = worker.job, message["kind"]
        if kind == "progress" and job_id:
            self._progress[job_id] = Progress.from_dict(message["progress"])
            self._announce(self._job(job_id))
            return
        if kind != "ready" and job_id:
            # validate the whole message before acting on it
            stopping = self._stopping.get(job_id, JobState.CANCELLED)
            state = {"done": JobState.DONE, "failed": JobState.FAILED, "cancelled": stopping}[kind]
            error = error_from_dict(message["error"]) if "error" in message else None
            worker.job = None
            self._end(job_id, state, error, message.get("warnings"))
        self._dispatch()

    def _no_workers(self, why: str) -> None:
        """Fail the waiting jobs: workers die on start-up, so none can run until that is fixed."""
        for job_id in list(self._queue):
            self._queue.remove(job_id)
            self._end(
                job_id,
                JobState.FAILED,
                JobFailed(
                    f"The server's workers do not start ({why}); see its log. Run `void doctor` on the "
                    "server, then resume the job."
                ),
            )

    def _died(self, worker: WorkerHandle, code: int) -> None:
        """Handle a worker's death: another continues the job, unless it kills one worker after the other."""
        if worker.job is None:
            return
        attempts = 0
        with self._trying(f"{worker.name} died"):
            attempts = self._store.attempts(worker.job)
        if worker.job in self._stopping:
            self._end(worker.job, self._stopping[worker.job], stopped())
        elif attempts < _ATTEMPTS:
            self._enqueue(worker.job)
        else:
            reason = f"signal {-code}" if code < 0 else f"exit code {code}"
            self._end(
                worker.job,
                JobState.FAILED,
                JobFailed(
                    f"The worker died {_ATTEMPTS} times in this job ({reason}), most likely for lack of "
                    "memory; close other programs or use a shorter range, then resume: finished frames are "
                    "kept.",
                    "\n".join(worker.said),
                ),
            )

    def _announce(self, job: Job) -> None:
        """Send the job to its watchers."""
        self._forget_silent()
        for connection, job_id in self._watchers:
            if job_id == job.id:
                message = pack(UNASKED, body=self._with_progress(job).to_dict())
                self._workers.task(self._tell(connection, message))

    def _forget_silent(self) -> None:
        now = time.monotonic()
        self._watchers = {key: heard for key, heard in self._watchers.items() if now - heard <= _SILENCE}


_LEVELS = {JobState.FAILED: logging.ERROR}


def _log_error(level: int, what: str, error: VoidError) -> None:
    """Log an error, with the traceback that may have come along."""
    _log.log(level, "%s: %s: %s", what, type(error).__name__, error)
    for line in error.detail.splitlines():
        _log.log(level, "    %s", line)


def _host_of(address: str) -> str:
    """The host in an address to listen at. Raises :class:`SettingError` if the address is invalid."""
    match = _ADDRESS.fullmatch(address)
    if not match or (match["port"] != "*" and not 0 < int(match["port"]) < 2**16):
        raise SettingError(
            f"{address!r} is not an address to listen at; write it like {DEFAULT_ADDRESS}, with a port from "
            "1 to 65535, or tcp://*:5690 for all of this machine's networks."
        )
    return match["host"]


def _told(frame: zmq.Frame, name: str) -> str:
    """ZeroMQ's metadata of the connection that a frame came by, empty if there is none."""
    try:
        return str(frame.get(name))
    except zmq.ZMQError:
        return ""


def _field(body: dict[str, Any], name: str, kind: type[Kind]) -> Kind:
    """A field of a request. Raises :class:`ProtocolError` if it is missing or of another type."""
    value = body.get(name)
    if not isinstance(value, kind):
        raise ProtocolError(f"The request is broken: its {name} is {type(value).__name__}; use a VOID client.")
    return value


def _count(body: dict[str, Any], name: str) -> int:
    """A field that is a number of bytes."""
    value = _field(body, name, int)
    if not 0 <= value < 2**63:
        raise ProtocolError(f"The request is broken: its {name} is {value}; use a VOID client.")
    return value
