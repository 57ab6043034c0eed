"""The worker processes of a server: started, given jobs, stopped, replaced when they die."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import msgpack
import zmq
import zmq.asyncio

from ..api.job import Job
from .worker import TOKEN

#: A worker that does not obey a cancel for so many seconds is killed; its finished frames lie on disk.
GRACE = 30.0


@dataclass
class Member:
    """One worker process and what it is doing."""

    name: str
    process: subprocess.Popen[bytes]
    job: str | None = None
    ready: bool = False
    cancelling: bool = False


class Crew:
    """``size`` worker processes.

    ``on_message(member, message)`` is called with what a worker says, ``on_death(member)`` after one has ended that
    was not told to. Both run in the server's loop.
    """

    def __init__(
        self,
        context: zmq.asyncio.Context,
        pipeline: str,
        size: int,
        on_message: Callable[[Member, dict[str, Any]], None],
        on_death: Callable[[Member, int], None],
    ) -> None:
        self._pipeline, self._size = pipeline, size
        self._on_message, self._on_death = on_message, on_death
        self._token = secrets.token_hex(16)
        self._socket = context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self._port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self._members: dict[str, Member] = {}
        self._started = 0
        # one more than there are, as the next is hired before the last is forgotten
        self._waiting = ThreadPoolExecutor(size + 1)
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()

    def task(self, work: Any) -> None:
        """Run a coroutine beside the others until it or the crew ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def start(self) -> None:
        """Start the processes and listen to them."""
        self.task(self._listen())
        for _ in range(self._size):
            self._hire()

    def _hire(self) -> None:
        self._started += 1
        name = f"worker-{self._started}"
        address = f"tcp://127.0.0.1:{self._port}"
        process = subprocess.Popen(
            [sys.executable, "-m", "void_server.service.worker", address, name, self._pipeline],
            env={**os.environ, TOKEN: self._token},
            # its lifeline: it ends when the server does
            stdin=subprocess.PIPE,
            stdout=sys.stderr,
        )
        member = self._members[name] = Member(name, process)
        self.task(self._bury(member))

    async def _bury(self, member: Member) -> None:
        code = await asyncio.get_running_loop().run_in_executor(self._waiting, member.process.wait)
        del self._members[member.name]
        if member.process.stdin:
            member.process.stdin.close()
        if not self._closing:
            self._on_death(member, code)
            self._hire()

    async def _listen(self) -> None:
        while True:
            name, data = await self._socket.recv_multipart()
            member = self._members.get(name.decode(errors="replace"))
            message = msgpack.unpackb(data)
            # anybody on this machine could connect; only our own processes know the token
            if member is not None and secrets.compare_digest(str(message.get("token")), self._token):
                member.ready = True
                self._on_message(member, message)

    def idle(self) -> Member | None:
        """A worker that waits for a job."""
        return next((m for m in self._members.values() if m.ready and m.job is None), None)

    def _say(self, member: Member, **content: Any) -> None:
        self._socket.send_multipart([member.name.encode(), msgpack.packb(content)])

    def give(self, member: Member, job: Job) -> None:
        """Have a worker do a job."""
        member.job, member.cancelling = job.id, False
        self._say(member, kind="job", id=job.id, shot=job.shot.to_dict(), folder=job.folder)

    def cancel(self, job_id: str) -> None:
        """Have the worker of a job stop it; killed where it does not obey."""
        member = next(m for m in self._members.values() if m.job == job_id)
        if member.cancelling:
            return
        member.cancelling = True
        self._say(member, kind="cancel", id=job_id)

        async def insist() -> None:
            await asyncio.sleep(GRACE)
            if member.job == job_id and member.cancelling:
                member.process.kill()

        self.task(insist())

    def working_on(self) -> list[str]:
        """The jobs that are being worked on."""
        return [m.job for m in self._members.values() if m.job]

    async def stop(self) -> None:
        """End all processes, whatever they are doing: finished frames lie on disk."""
        self._closing = True
        for member in self._members.values():
            member.process.kill()
        await asyncio.to_thread(self._waiting.shutdown)
        for task in list(self._tasks):
            task.cancel()
        self._socket.close()
