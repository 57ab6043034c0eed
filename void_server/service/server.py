"""The server: one loop that answers clients at once, whatever the workers are doing."""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import os
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import zmq
import zmq.asyncio
import zmq.auth.asyncio

from .. import __version__
from ..api.connection import notice_its_end
from ..api.errors import (
    AccessDenied,
    JobFailed,
    ProtocolError,
    ServerBusy,
    ServerError,
    ServerRefused,
    SettingError,
    VoidError,
)
from ..api.home import made
from ..api.job import Job
from ..api.messages import MAX_FRAME, NAMED, UNASKED, frames_of, opened, pack, pack_error, understood
from ..interruption import handling
from . import inspection, log, transfer
from .audit import AuditLog
from .budgets import Budgets, UnderWay
from .config import ServerConfig
from .inspection import Inspector
from .keys import KeyRing
from .queue import JobQueue
from .requests import Caller, Requests
from .roles import Right, Role
from .sandbox import Sandbox
from .tokens import Tokens

__all__ = ["Server", "ServerConfig", "serve"]

_log = logging.getLogger(__name__)

#: With a domain ZeroMQ asks whether a peer may come in, and refuses those that speak a protocol from before there was
#: such a question, which a web page can be made to speak.
_ZAP_DOMAIN = "void"
#: The messages of one connection that wait until they are read.
_WAITING = 32
#: Answers that may lie ready for a client, up to a chunk of a file each; one that reads none gets no more.
_UNREAD = 8
#: For so many seconds nothing is done for a client that does not read its answers, or asks without waiting for them;
#: after so many it is forgotten, as it has gone or reads again.
_UNHEARD, _FORGOTTEN = 5.0, 60.0
#: After so many messages that are not heard reading pauses for so many seconds: what comes faster waits where it was
#: sent.
_DROPPED, _PAUSE = 5, 0.005
#: Requests that cost their user nothing once they are answered, as few are under way at once and users wait for disks.
_FREE = ("upload.chunk", "result.chunk")
#: Threads that encrypt; each connection has one of them, so that no large transfer is ahead of all other answers.
_ENCRYPTING = 4
#: A watcher that has been silent for this many seconds gets no more updates.
_SILENCE = 15.0
#: The characters that are kept of where the page was asked from.
_HOST = 64
_DAY, _COUNTING = 86400.0, 1.0


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


class Server:
    """The state of a running server; made inside its loop."""

    def __init__(self, config: ServerConfig) -> None:
        # a job's folder is known by its real path
        self._config = config = replace(config, state=Path(os.path.realpath(config.state)))
        self._keys = KeyRing(config.state)
        self._secure = config.needs_keys
        # an embedded server is started for folders that it is to make
        if missing := [root for root in config.roots if not (config.embedded or root.is_dir())]:
            raise SettingError(f"The root {missing[0]} is not a folder; create or mount it, or give another --root.")
        if self._secure and not self._keys.allowed():
            raise ServerRefused(
                f"Other machines can reach {config.address}, but no client is allowed yet: make a key with "
                "`void keys new NAME` on the client, then `void keys allow NAME.key` here; or listen on "
                "127.0.0.1."
            )
        self._watchers: dict[tuple[bytes, str], float] = {}
        # connections that read nothing or ask too much, and when that was found
        self._unheard: dict[bytes, float] = {}
        self._dropped = 0
        self._budgets, self._under_way = Budgets(), UnderWay()
        self._ended_by: int | None = None
        self._answering: set[asyncio.Task[Any]] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self, on_ready: Callable[[str], None]) -> int | None:
        """Serve until stopped; returns the signal, None if idle."""
        self._stop = asyncio.Event()
        self._asked = time.monotonic()
        self._cleared = -math.inf
        loop = asyncio.get_running_loop()

        def end(number: int, _: object) -> None:
            self._ended_by = number
            loop.call_soon_threadsafe(self._stop.set)

        context = zmq.asyncio.Context(_ENCRYPTING)
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
        self._queue = JobQueue(config, address, self._announce)
        self._uploads = transfer.Uploads(made(config.state / "uploads"))
        reading = Sandbox((*config.sandbox.read, *config.sandbox.write), (), inspection.MEMORY)
        self._inspector = Inspector(
            config.pipeline,
            stay_ready=not config.embedded,
            sandbox=None if config.embedded else reading,
            owner=config.owner_of_work,
        )
        audit = AuditLog(config.state)
        self._requests = Requests(
            config,
            self._queue,
            self._uploads,
            self._inspector,
            audit,
            self._watch,
            Tokens(self._keys, self._queue.store.take_token),
        )
        tasks: list[asyncio.Task[Any]] = []
        try:
            self._queue.start()
            tasks = [self._task(self._for_ever(step)) for step in (self._listen, self._look_after, self._count)]
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
            for task in [*tasks, *self._answering]:
                task.cancel()
            self._inspector.stop()
            await self._queue.stop()
            _log.info("VOID server at %s has ended", address)

    def _task(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine beside the others until it or the server ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

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
        socket.setsockopt(zmq.SNDHWM, _UNREAD)
        # that a client has gone, or does not read, is told to whoever sends
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        notice_its_end(socket)
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

    async def _look_after(self) -> None:
        """Do the housekeeping that is due now and then."""
        await asyncio.sleep(2)
        if self._is_idle():
            _log.info("idle for %g minutes", self._config.idle_minutes)
            self._stop.set()
        self._forget_silent()
        now = time.monotonic()
        self._unheard = {one: found for one, found in self._unheard.items() if now - found < _FORGOTTEN}
        self._budgets.forget()
        self._queue.look_after()
        # how jobs have ended; what clients have asked for is kept before they are answered
        await self._requests.keep()
        await self._queue.workers.look_after()
        # no client waits for this
        await asyncio.to_thread(self._queue.store.checkpoint)
        if time.monotonic() - self._cleared > 3600:
            self._cleared = time.monotonic()
            await self._requests.clear_uploads(self._config.keep_uploads_days * _DAY)

    async def _count(self) -> None:
        """Count results beside the rest of the housekeeping, as their disks may hang."""
        await asyncio.sleep(_COUNTING)
        await self._requests.count_results()

    def _is_idle(self) -> bool:
        limit = self._config.idle_minutes
        if self._queue.unfinished:
            self._asked = time.monotonic()
        return limit is not None and time.monotonic() - self._asked > 60 * limit

    # Requests

    async def _listen(self) -> None:
        frames = await self._socket.recv_multipart(copy=False)
        self._asked = time.monotonic()
        connection = frames[0].bytes
        if not self._is_heard(connection):
            self._dropped += 1
            if self._dropped % _DROPPED == 0:
                await asyncio.sleep(_PAUSE)
            return
        payer, size = self._payer(frames), sum(len(frame.buffer) for frame in frames)
        # before it is a task, which keeps the message
        if not self._under_way.have_room(connection, payer, size):
            too_many = f"This client has too many requests open; wait for answers. For {_UNHEARD:g} s it is not heard."
            await self._turn_away(connection, payer, ServerBusy(too_many))
            return
        self._under_way.begin(connection, payer, size)
        task = asyncio.get_running_loop().create_task(self._in_turn(payer, frames, size))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)
        # a message that waits is received without a pause, and answers need one
        await asyncio.sleep(0)

    def _is_heard(self, connection: bytes) -> bool:
        """Whether something is done for a connection; one that was found not to read is tried with one request."""
        found = self._unheard.get(connection)
        if found is None:
            return True
        return time.monotonic() - found > _UNHEARD and not self._under_way[connection]

    def _payer(self, frames: list[zmq.Frame]) -> str | bytes:
        """Whose budget a message is taken from: a user's, however many connections that has, also those of the page.

        Where nobody is known, it is the connection's.
        """
        connection = frames[0].bytes
        client = self._keys.remembered(_told(frames[-1], "User-Id")) if self._secure else None
        if client is None:
            return connection
        return self._user_at_page(frames) or connection if Right.ACT_FOR in client.role.rights else client.name

    def _user_at_page(self, frames: list[zmq.Frame]) -> str:
        """For whom the page asks, who pays for reading that; empty where it asks for itself."""
        begin = time.thread_time()
        try:
            name = str(opened([frame.buffer for frame in frames[1:]], NAMED)["acting_for"]["user"])
        except (ProtocolError, KeyError, TypeError):
            return ""
        self._budgets.spend(name, time.thread_time() - begin)
        return name

    async def _turn_away(self, connection: bytes, payer: str | bytes, error: ServerBusy) -> None:
        """Refuse a message unread, and hear no more of that connection for a while, as refusals take time, too."""
        self._unheard[connection] = time.monotonic()
        who = payer if isinstance(payer, str) else "a client"
        log.log_error(_log, logging.INFO, f"a message of {who} refused", error)
        await self._tell(connection, [pack_error(UNASKED, error)])

    async def _in_turn(self, payer: str | bytes, frames: list[zmq.Frame], size: int) -> None:
        """Answer a message as soon as it is its turn."""
        connection = frames[0].bytes
        try:
            await self._budgets.charged(payer, partial(self._answer, frames))
        except ServerBusy as error:
            await self._turn_away(connection, payer, error)
        finally:
            self._under_way.end(connection, payer, size)

    async def _answer(self, frames: list[zmq.Frame]) -> bool:
        """Answer a message; returns whether that is free of charge."""
        connection = frames[0].bytes
        number, verb, caller = UNASKED, "a message", Caller(connection, "a client", "unknown")
        failure: VoidError
        try:
            message = opened([frame.buffer for frame in frames[1:]], NAMED)
            # first of all: without it no refusal reaches whoever asked
            number = message["id"]
            caller = self._caller(frames)
            self._check_key(caller)
            caller = self._acting(caller, message.get("acting_for"))
            verb, request = self._requests.find(message)
            answer = frames_of(number, await request(caller))
        except VoidError as error:
            failure = error
            log.log_error(_log, logging.INFO, f"{verb} of {caller} refused", error)
        except sqlite3.Error as error:
            failure = ServerError(f"The server's list of jobs cannot be used now ({error}); try again soon.")
            _log.warning("%s of %s failed: %s", verb, caller, error)
        except OSError as error:
            failure = JobFailed(f"{error}; fix this and try again.")
            _log.warning("%s of %s failed: %s", verb, caller, error)
        except (Exception, SystemExit) as error:  # an engine's module may do anything when it is imported
            failure = JobFailed(
                f"The server failed with an internal error ({type(error).__name__}: {error}); see its log."
            )
            _log.exception("%s of %s failed", verb, caller)
        else:
            return await self._tell(connection, answer) and verb in _FREE
        await self._tell(connection, [pack_error(number, failure)])
        return False

    def _caller(self, frames: list[zmq.Frame]) -> Caller:
        """Who sent a message. On this machine nobody need show a key."""
        user, host = (_told(frames[-1], name) for name in ("User-Id", "Peer-Address"))
        if not self._secure:
            return Caller(frames[0].bytes, user, host)
        client = self._keys.find(user)
        name, role = (client.name, client.role) if client else ("", Role.ARTIST)
        return Caller(frames[0].bytes, name, host, role)

    def _acting(self, caller: Caller, acting_for: Any) -> Caller:
        """The user for whom the page asks, with that one's role and host, where it says so."""
        if acting_for is None:
            return caller
        self._requests.check(caller, Right.ACT_FOR)
        name, host = understood(lambda said: (str(said["user"]), str(said["host"])[:_HOST]), acting_for)
        client = self._keys.named(name)
        if client is None or Right.ACT_FOR in client.role.rights:
            raise AccessDenied(f"{name:.64} is no longer allowed; ask whoever runs the server.")
        return Caller(caller.connection, client.name, host, client.role)

    async def _tell(self, receiver: bytes, frames: list[bytes]) -> bool:
        """Send a message, and return whether it is on its way."""
        try:
            # waiting for one that does not read would hold up all others
            await self._socket.send_multipart([receiver, *frames], zmq.NOBLOCK, copy=False)
        except zmq.ZMQError as error:
            _log.debug("an answer was dropped, as its client has gone or does not read: %s", error)
            self._unheard[receiver] = time.monotonic()
            self._watchers = {key: heard for key, heard in self._watchers.items() if key[0] != receiver}
            return False
        if time.monotonic() - self._unheard.get(receiver, math.inf) > _UNHEARD:
            del self._unheard[receiver]
        return True

    def _check_key(self, caller: Caller) -> None:
        # The handshake checks a key once; one that was revoked since must not go on using its connection.
        if not caller.name:
            raise AccessDenied("This client's key is no longer allowed; ask whoever runs the server.")

    # Watchers

    def _watch(self, caller: Caller, job_id: str) -> None:
        self._watchers[caller.connection, job_id] = time.monotonic()

    def _announce(self, job: Job) -> None:
        """Send the job to its watchers."""
        self._forget_silent()
        receivers = [connection for connection, job_id in self._watchers if job_id == job.id]
        if receivers:
            message = [pack(UNASKED, body=self._queue.with_progress(job).to_dict())]
            for connection in receivers:
                self._task(self._tell(connection, message))

    def _forget_silent(self) -> None:
        now = time.monotonic()
        self._watchers = {key: heard for key, heard in self._watchers.items() if now - heard <= _SILENCE}


def _told(frame: zmq.Frame, name: str) -> str:
    """ZeroMQ's metadata of the connection that a frame came by, empty if there is none."""
    try:
        return str(frame.get(name))
    except zmq.ZMQError:
        return ""
