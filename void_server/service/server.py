"""The server: one loop that answers clients at once, whatever the workers are doing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import zmq
import zmq.asyncio
import zmq.auth.asyncio

from .. import __version__, capabilities
from ..api.client import DEFAULT_ADDRESS
from ..api.errors import AccessDenied, InputError, JobCancelled, JobFailed, ProtocolError, ServerRefused, VoidError
from ..api.errors import from_dict as error_from_dict
from ..api.files import new_version_folder
from ..api.home import home
from ..api.job import MANIFEST, Job, JobState, Progress
from ..api.messages import MAX_MESSAGE, PROTOCOL, UNASKED, pack, pack_error, unpack
from ..api.shot import Shot
from ..interruption import handling
from . import transfer
from .access import below_roots
from .crew import Crew, Member
from .inspection import Inspector
from .keys import KeyRing
from .store import Store, interrupted, stopped

_LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")
_JOB_ID = re.compile(r"[0-9a-f]{12}")
#: Whoever watches a job and was not heard of for so many seconds is told no more.
_SILENCE = 15.0
#: How often a job whose worker died is begun again.
_ATTEMPTS = 3
_DAY = 86400.0


@dataclass(frozen=True)
class ServerConfig:
    """How a server runs.

    ``roots`` are the folders below which it may read and write; without any it takes uploads only. ``state`` keeps
    jobs, keys and uploads. An ``embedded`` server works for the one client that started it, and takes up no jobs
    of others. ``require_keys`` asks for keys on this machine too. With ``idle_minutes`` it ends when it had no job and
    was asked nothing for so long. ``pipeline`` names the module that does the work.
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


def serve(config: ServerConfig, on_ready: Callable[[str], None]) -> int | None:
    """Run a server until SIGINT, SIGTERM or SIGHUP; running jobs go back into the queue then.

    Those of an embedded server are interrupted.

    Returns that signal's number, or None where the server ended because it was idle. ``on_ready`` is told the address.
    Raises :class:`ServerRefused` where the server may or can not listen there.
    """
    if sys.platform == "win32":
        # ZeroMQ needs a loop that can wait for sockets
        asyncio.set_event_loop_policy(asyncio.WindowsSelectorEventLoopPolicy())
    return asyncio.run(Server(config).run(on_ready))


class Server:
    """The state of a running server; made inside its loop."""

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self._keys = KeyRing(config.state)
        self._secure = config.require_keys or urlparse(config.address).hostname not in _LOOPBACK
        if self._secure and not self._keys.allowed():
            raise ServerRefused(
                f"{config.address} can be reached from other machines, and no client is allowed yet: make a key with "
                "`void keys new NAME` on the client, then `void keys allow NAME.key` here; or listen on 127.0.0.1."
            )
        self._queue: deque[str] = deque()
        self._progress: dict[str, Progress] = {}
        self._watchers: dict[tuple[bytes, str], float] = {}
        self._stopping: dict[str, JobState] = {}
        self._ended_by: int | None = None
        self._requests: set[asyncio.Task[None]] = set()
        self._verbs: dict[str, Callable[[bytes, dict[str, Any]], Awaitable[Any]]] = {
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
        """Serve until told to stop; by which signal, None where it was idle."""
        self._stop = asyncio.Event()
        self._asked = time.monotonic()
        loop = asyncio.get_running_loop()

        def end(number: int, _: object) -> None:
            self._ended_by = number
            loop.call_soon_threadsafe(self._stop.set)

        with handling(end):
            await self._serve(on_ready)
        return self._ended_by

    async def _serve(self, on_ready: Callable[[str], None]) -> None:
        context = zmq.asyncio.Context()
        authenticator = self._authenticator(context)
        self._socket = self._bound(context)
        address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._store = Store(self._config.state, address, embedded=self._config.embedded)
        self._uploads = transfer.Uploads(self._config.state / "uploads")
        self._crew = Crew(context, self._config.pipeline, self._config.workers, self._heard, self._died)
        self._inspector = Inspector(self._config.pipeline, stay_ready=not self._config.embedded)
        self._crew.start()
        try:
            if not self._config.embedded:
                self._adopt()
            self._crew.task(self._listen())
            self._crew.task(self._look_after(authenticator))
            on_ready(address)
            await self._stop.wait()
        finally:
            self._leave_jobs()
            self._inspector.stop()
            await self._crew.stop()
            if authenticator:
                authenticator.stop()
            self._socket.close(linger=200)
            self._store.close()
            context.term()

    def _leave_jobs(self) -> None:
        """Say what becomes of the jobs that are not done when the server ends."""
        for job_id in [*self._queue, *self._crew.working_on()]:
            if job_id in self._stopping:
                self._end(job_id, self._stopping[job_id], stopped())
            elif self._config.embedded:
                self._end(job_id, JobState.INTERRUPTED, interrupted())
            else:
                self._store.update(job_id, state=JobState.QUEUED)

    def _authenticator(self, context: zmq.asyncio.Context) -> zmq.auth.asyncio.AsyncioAuthenticator | None:
        if not self._secure:
            return None
        authenticator = zmq.auth.asyncio.AsyncioAuthenticator(context)
        authenticator.start()
        authenticator.configure_curve(domain="*", location=str(self._keys.clients))
        return authenticator

    def _bound(self, context: zmq.asyncio.Context) -> zmq.asyncio.Socket:
        socket = context.socket(zmq.ROUTER)
        socket.setsockopt(zmq.MAXMSGSIZE, 8 * MAX_MESSAGE)
        socket.setsockopt(zmq.HEARTBEAT_IVL, 5000)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 15000)
        if self._secure:
            socket.curve_publickey, socket.curve_secretkey = self._keys.server_pair()
            socket.curve_server = True
        try:
            socket.bind(self._config.address)
        except zmq.ZMQError as error:
            socket.close(linger=0)
            raise ServerRefused(
                f"The server cannot listen at {self._config.address} ({error}); "
                "another may be running there, or the address is not one of this machine."
            ) from error
        return socket

    def _adopt(self) -> None:
        """Take up what a server at this address, which is gone, has left."""
        for job in self._store.orphans():
            self._store.own(job.id)
            self._enqueue(job.id)

    async def _look_after(self, authenticator: zmq.auth.asyncio.AsyncioAuthenticator | None) -> None:
        """What must happen now and then."""
        cleared = 0.0
        while True:
            if authenticator:
                authenticator.configure_curve(domain="*", location=str(self._keys.clients))
            if time.monotonic() - cleared > 3600:
                cleared = time.monotonic()
                await asyncio.to_thread(self._uploads.clear, self._config.keep_uploads_days * _DAY)
            if self._is_idle():
                self._stop.set()
            await asyncio.sleep(2)

    def _is_idle(self) -> bool:
        limit = self._config.idle_minutes
        busy = self._queue or self._crew.working_on()
        if busy:
            self._asked = time.monotonic()
        return limit is not None and time.monotonic() - self._asked > 60 * limit

    # Requests

    async def _listen(self) -> None:
        while True:
            sender, frame = await self._socket.recv_multipart(copy=False)
            self._asked = time.monotonic()
            task = asyncio.get_running_loop().create_task(self._answer(sender.bytes, frame))
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)

    async def _answer(self, sender: bytes, frame: zmq.Frame) -> None:
        number = UNASKED
        try:
            self._check_key(frame)
            message = unpack(frame.bytes)
            number = message["id"]
            verb, body = self._verbs.get(message.get("verb", "")), message.get("body")
            if verb is None or not isinstance(body, dict):
                raise ProtocolError(f"The server knows no request {message.get('verb')!r}; update it.")
            answer = pack(number, body=await verb(sender, body))
        except VoidError as error:
            answer = pack_error(number, error)
        except (KeyError, TypeError, ValueError) as error:
            answer = pack_error(number, ProtocolError(f"The request is broken ({error!r}); use a VOID client."))
        except OSError as error:
            answer = pack_error(number, JobFailed(f"{error}; put it right and try again."))
        await self._tell(sender, answer)

    async def _tell(self, receiver: bytes, message: bytes) -> None:
        with contextlib.suppress(zmq.ZMQError):
            await self._socket.send_multipart([receiver, message])

    def _check_key(self, frame: zmq.Frame) -> None:
        # The handshake checks a key once; one that was revoked since must not go on using its connection.
        if self._secure and frame.get("User-Id") not in self._keys.allowed().values():
            raise AccessDenied("This client's key is not allowed any more; ask whoever runs the server.")

    async def _hello(self, _: bytes, body: dict[str, Any]) -> dict[str, Any]:
        del body
        return {
            "version": __version__,
            "protocol": PROTOCOL,
            "pid": os.getpid(),
            "roots": [str(root) for root in self._config.roots],
            "engines": capabilities.engines(),
            "reasoners": capabilities.reasoners(),
        }

    async def _submit(self, _: bytes, body: dict[str, Any]) -> dict[str, Any]:
        job_id = body["id"]
        if not isinstance(job_id, str) or not _JOB_ID.fullmatch(job_id):
            raise ProtocolError("The job's id is not 12 hexadecimal digits; use a VOID client.")
        known = self._store.find(job_id)
        if known:
            # the answer to an earlier try was lost on its way
            return known.to_dict()
        shot = Shot.from_dict(body["shot"])
        shot, out, roots = await asyncio.to_thread(self._admit, job_id, shot, body)
        await self._inspector.inspect(shot, roots)
        if known := self._store.find(job_id):
            # submitted a second time while it was looked at
            return known.to_dict()
        now = time.time()
        folder = out if body.get("reserved") else new_version_folder(out)
        job = Job(job_id, JobState.QUEUED, shot, str(folder), now, now)
        self._store.add(job)
        self._enqueue(job_id)
        return job.to_dict()

    def _admit(self, job_id: str, shot: Shot, body: dict[str, Any]) -> tuple[Shot, Path, tuple[Path, ...] | None]:
        """Check what a submission asks for, but not the files: the shot with the paths that the server uses, where its
        version folder goes, and the roots that its files must lie below.
        """
        if "files" in body:
            folder = self._config.state / "jobs" / job_id
            places = self._uploads.place(body["files"], folder / "input")
            if lacking := sorted(set(shot.paths()) - set(places)):
                raise InputError(f"The files of the shot's {lacking[0]} were not uploaded; upload them too.")
            return Shot.from_dict({**shot.to_dict(), **places}), folder, None
        out = below_roots(body["out"], self._config.roots)
        if body.get("reserved") and (not out.is_dir() or (out / MANIFEST).exists()):
            raise InputError(f"{out} is no version folder that waits for its result; submit to the folder above it.")
        return shot, out, self._config.roots

    async def _status(self, _: bytes, body: dict[str, Any]) -> dict[str, Any]:
        return self._job(body["job"]).to_dict()

    async def _watch(self, sender: bytes, body: dict[str, Any]) -> dict[str, Any]:
        job = self._job(body["job"])
        self._watchers[sender, job.id] = time.monotonic()
        return job.to_dict()

    async def _jobs(self, _: bytes, body: dict[str, Any]) -> list[dict[str, Any]]:
        return [self._with_progress(job).to_dict() for job in self._store.all(body.get("limit"))]

    async def _jobs_clear(self, _: bytes, body: dict[str, Any]) -> int:
        del body
        return self._store.clear()

    async def _cancel(self, _: bytes, body: dict[str, Any]) -> dict[str, Any]:
        job = self._job(body["job"])
        state = JobState.INTERRUPTED if body.get("interrupted") else JobState.CANCELLED
        if job.id in self._queue:
            self._queue.remove(job.id)
            self._end(job.id, state, JobCancelled("The job was stopped before it began."))
        elif job.id in self._crew.working_on():
            self._stopping.setdefault(job.id, state)
            self._crew.cancel(job.id)
        else:
            self._announce(self._store.cancel(job.id))
        return self._job(job.id).to_dict()

    async def _resume(self, _: bytes, body: dict[str, Any]) -> dict[str, Any]:
        job = self._job(body["job"])
        if job.id in (*self._queue, *self._crew.working_on()):
            return job.to_dict()
        owner = self._store.owner(job.id)
        if job.state is JobState.DONE:
            raise InputError(f"Job {job.id} is done; its result is in {job.folder}.")
        if not job.state.ended and owner:
            raise InputError(
                f"Job {job.id} is {job.state.value} already; follow it with: void resume {job.id} --server {owner}"
            )
        if not Path(job.folder).is_dir():
            raise InputError(f"The folder {job.folder} of job {job.id} is gone; submit the shot again.")
        self._store.own(job.id)
        self._enqueue(job.id)
        return self._job(job.id).to_dict()

    async def _upload_offset(self, _: bytes, body: dict[str, Any]) -> int:
        return self._uploads.offset(body["digest"], body["size"])

    async def _upload_chunk(self, _: bytes, body: dict[str, Any]) -> int:
        # in order, as each chunk must follow the one before
        return self._uploads.chunk(body["digest"], body["size"], body["offset"], body["data"], body["crc"])

    async def _result_list(self, _: bytes, body: dict[str, Any]) -> list[dict[str, Any]]:
        return await asyncio.to_thread(transfer.listing, self._job(body["job"]))

    async def _result_chunk(self, _: bytes, body: dict[str, Any]) -> dict[str, Any]:
        return transfer.chunk(self._job(body["job"]), body["path"], body["offset"])

    # Jobs

    def _with_progress(self, job: Job) -> Job:
        return replace(job, progress=self._progress.get(job.id, job.progress))

    def _job(self, job_id: Any) -> Job:
        return self._with_progress(self._store.get(str(job_id)))

    def _enqueue(self, job_id: str) -> None:
        self._announce(self._store.update(job_id, state=JobState.QUEUED))
        self._queue.append(job_id)
        self._dispatch()

    def _dispatch(self) -> None:
        while self._queue and (member := self._crew.idle()):
            job_id = self._queue.popleft()
            self._store.attempt(job_id)
            job = self._store.update(job_id, state=JobState.RUNNING)
            self._crew.give(member, job)
            self._announce(job)

    def _end(
        self, job_id: str, state: JobState, error: VoidError | None = None, warnings: list[str] | None = None
    ) -> None:
        progress = Progress("done", None, 1.0, 0.0) if state is JobState.DONE else self._progress.get(job_id)
        self._progress.pop(job_id, None)
        self._stopping.pop(job_id, None)
        self._announce(self._store.update(job_id, state=state, error=error, progress=progress, warnings=warnings))

    def _heard(self, member: Member, message: dict[str, Any]) -> None:
        """A worker said something."""
        job_id = member.job
        if message["kind"] == "progress" and job_id:
            self._progress[job_id] = Progress(**message["progress"])
            self._announce(self._job(job_id))
            return
        member.job = None
        if job_id and message["kind"] != "ready":
            stopping = self._stopping.get(job_id, JobState.CANCELLED)
            state = {"done": JobState.DONE, "failed": JobState.FAILED, "cancelled": stopping}[message["kind"]]
            error = error_from_dict(message["error"]) if "error" in message else None
            self._end(job_id, state, error, message.get("warnings"))
        self._dispatch()

    def _died(self, member: Member, code: int) -> None:
        """A worker is gone; its job goes on with another, unless it takes one worker after the other with it."""
        if member.job is None:
            return
        if member.job in self._stopping:
            self._end(member.job, self._stopping[member.job], stopped())
        elif self._store.attempts(member.job) < _ATTEMPTS:
            self._enqueue(member.job)
        else:
            reason = f"signal {-code}" if code < 0 else f"exit code {code}"
            self._end(
                member.job,
                JobState.FAILED,
                JobFailed(
                    f"The worker died {_ATTEMPTS} times in this job ({reason}), most likely for want of memory; "
                    "close other programs or take a shorter range, then resume: finished frames are kept."
                ),
            )

    def _announce(self, job: Job) -> None:
        """Tell whoever watches the job."""
        now = time.monotonic()
        for key, heard in list(self._watchers.items()):
            if now - heard > _SILENCE:
                del self._watchers[key]
            elif key[1] == job.id:
                message = pack(UNASKED, body=self._with_progress(job).to_dict())
                self._crew.task(self._tell(key[0], message))
