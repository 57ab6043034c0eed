"""The worker processes of a server: started, given jobs, stopped, replaced when they die."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from ..api.home import made
from ..api.job import Job
from ..api.messages import packed
from ..api.shot import Settings
from ..interpreter import running
from ..signing import MADE, SigningKey, account
from .config import GPUS, ServerConfig
from .pipe import messages_from
from .sandbox import as_user, environment, make_gpu_nodes, temporary
from .scratch import clear, scratch

_log = logging.getLogger(__name__)

#: A worker that does not obey a cancel for so many seconds is killed; its finished frames lie on disk.
GRACE = 30.0
#: After this many workers die before they are ready, waiting jobs fail.
_HOPELESS = 3
_LONGEST_PAUSE = 30.0
_LAST_LINES = 30
#: What glibc reads before a process has threads: all of them share one heap, so that what one frees serves the others
#: (see :mod:`void_server.pipeline.heap`, which is too late for those that are there before a job).
_ONE_HEAP = {"MALLOC_ARENA_MAX": "1"}


@dataclass(eq=False)
class WorkerHandle:
    """One worker process and what it is doing; ``said`` are the last lines that it printed."""

    name: str
    process: subprocess.Popen[bytes]
    gpu: str = ""
    job: str | None = None
    # the settings of the last job of each engine, whose models are still loaded
    loaded: dict[str, Settings] = field(default_factory=dict)
    ready: bool = False
    cancelling: bool = False
    # when it said something of its job last, and why it was ended, if it was
    heard: float = field(default_factory=time.monotonic)
    ended_for: str = ""
    said: deque[str] = field(default_factory=lambda: deque(maxlen=_LAST_LINES))
    # messages go out one after the other
    line: asyncio.Lock = field(default_factory=asyncio.Lock)
    ears: list[threading.Thread] = field(default_factory=list)


class WorkerPool:
    """The worker processes of a server, one for each of its places.

    A place is filled by one process at a time, so that two never share what it names, such as a GPU.
    ``on_message(worker, message)`` is called with a worker's news of its job, and when it waits for one;
    ``on_death(worker, code)`` after one has ended that was not told to; ``on_unfit(why)`` when workers die as soon as
    they are started, with their last words. All run in the server's loop.
    """

    def __init__(
        self,
        config: ServerConfig,
        on_message: Callable[[WorkerHandle, dict[str, Any]], None],
        on_death: Callable[[WorkerHandle, int], None],
        on_unfit: Callable[[str], None],
    ) -> None:
        self._config = config
        self._owner, self._key = config.owner_of_work, SigningKey(config.state)
        self._on_message, self._on_death, self._on_unfit = on_message, on_death, on_unfit
        self._handles: dict[str, WorkerHandle] = {}
        self._started = self._stillborn = 0
        self._waiting = ThreadPoolExecutor(len(config.places))
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()

    def task(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine beside the others until it or the crew ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def start(self) -> None:
        """Start the processes and handle their messages."""
        # what is not there cannot be allowed to a worker
        jobs = made(self._config.state / "jobs")
        if self._owner:
            # each job's folder is for that user alone
            jobs.chmod(0o711)
        clear()
        make_gpu_nodes()
        for place in self._config.places:
            self.task(self._fill_place(place))

    async def _fill_place(self, place: Mapping[str, str]) -> None:
        """Keep one worker running, replacing it when it dies."""
        while not self._closing:
            try:
                await self._employ(place)
            except Exception as error:  # such as no memory for another process: there may be some later
                _log.exception("could not start a worker")
                self._failed_to_start(str(error))
            if self._stillborn:
                await asyncio.sleep(min(_LONGEST_PAUSE, 0.25 * 2.0**self._stillborn))

    async def _employ(self, place: Mapping[str, str]) -> None:
        """Start a worker, and wait for its end."""
        self._started += 1
        with scratch() as folder:
            await self._outlive(self._new_process(folder, place), place.get(GPUS, ""))

    def _new_process(self, folder: str, place: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a process that works in a place, within its limits; ``folder`` is for its temporary files."""
        config, command = self._config, running("void_server.service.worker", self._config.pipeline)
        variables = {**_ONE_HEAP, **os.environ, **place}
        if not config.embedded:
            sandbox = replace(config.sandbox, write=(*config.sandbox.write, folder))
            command.append(sandbox.to_json())
            variables = {**_ONE_HEAP, **environment(config.worker_environment), **temporary(folder), **place}
        if self._owner:
            os.chown(folder, *self._owner)
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=variables,
            **as_user(self._owner),
        )

    async def _outlive(self, process: subprocess.Popen[bytes], gpu: str) -> None:
        name = f"worker-{self._started}"
        worker = self._handles[name] = WorkerHandle(name, process, gpu)
        loop = asyncio.get_running_loop()
        for hear in (self._hear_messages, self._hear_words):
            ear = threading.Thread(target=hear, args=(worker, loop), daemon=True)
            ear.start()
            worker.ears.append(ear)
        _log.info("%s started, process %d", worker.name, process.pid)
        code = await loop.run_in_executor(self._waiting, _ended, worker)
        del self._handles[worker.name]
        if self._closing:
            return
        last = next((line for line in reversed(worker.said) if line.strip()), "it said nothing")
        _log.error("%s died, exit code %d: %s", worker.name, code, last)
        if not worker.ready:
            self._failed_to_start(f"exit code {code}: {last}")
        try:
            self._on_death(worker, code)
        except Exception:  # whatever becomes of the job, the place must be filled again
            _log.exception("could not handle the death of %s", worker.name)

    def _failed_to_start(self, why: str) -> None:
        self._stillborn += 1
        if self._stillborn >= _HOPELESS and not any(worker.ready for worker in self._handles.values()):
            try:
                self._on_unfit(why)
            except Exception:  # whatever becomes of the jobs, the place must be filled again
                _log.exception("that no worker starts could not be dealt with")

    def _hear_messages(self, worker: WorkerHandle, loop: asyncio.AbstractEventLoop) -> None:
        assert worker.process.stdout is not None
        try:
            for message in messages_from(worker.process.stdout.fileno()):
                loop.call_soon_threadsafe(self._take, worker, message)
        except Exception:  # the line is useless from here on
            _log.exception("%s sent an invalid message; replacing it", worker.name)
            worker.process.kill()

    def _hear_words(self, worker: WorkerHandle, loop: asyncio.AbstractEventLoop) -> None:
        del loop
        assert worker.process.stderr is not None
        while line := worker.process.stderr.readline(4096):
            worker.said.append(line.decode(errors="replace").rstrip())
            _log.info("%s: %s", worker.name, worker.said[-1])

    def _take(self, worker: WorkerHandle, message: Any) -> None:
        try:
            kind, job = message["kind"], message.get("id")
            worker.heard = time.monotonic()
            if kind == "ready":
                worker.ready, self._stillborn = True, 0
                if unconfined := message.get("unconfined"):
                    _log.warning("%s: %s", worker.name, unconfined)
            elif job != worker.job:
                _log.warning("ignored a message from %s about job %r: it works on %r", worker.name, job, worker.job)
                return
            self._on_message(worker, message)
        except Exception:  # one message must not keep the next from being heard
            _log.exception("could not handle a message from %s", worker.name)

    def idle(self, settings: Settings | None = None) -> WorkerHandle | None:
        """A worker that waits for a job; if possible one that still has the model that ``settings`` ask for.

        That is one whose last job of this engine had the most like settings; else one that has loaded the least.
        """
        waiting = [m for m in self._handles.values() if m.ready and m.job is None]
        if settings is None:
            return next(iter(waiting), None)
        return min(waiting, key=lambda one: _unlikeness(one.loaded, settings), default=None)

    def _say(self, worker: WorkerHandle, **content: Any) -> None:
        async def write() -> None:
            async with worker.line:
                try:
                    await asyncio.to_thread(_write, worker, packed(content))
                except OSError as error:
                    # it has died, which is noticed
                    _log.warning("cannot send to %s: %s", worker.name, error)

        self.task(write())

    def give(self, worker: WorkerHandle, job: Job, roots: Sequence[Path], who: str) -> None:
        """Give a worker a job of ``who``'s, for which it may use the folders ``roots``."""
        worker.job, worker.cancelling, worker.heard = job.id, False, time.monotonic()
        worker.loaded[job.shot.settings.engine] = job.shot.settings
        names = [str(root) for root in roots]
        self._say(worker, kind="job", id=job.id, shot=job.shot.to_dict(), folder=job.folder, roots=names, who=who)

    def sign(self, worker: WorkerHandle, manifest: str) -> None:
        """Sign for what a worker has made, whose manifest has this SHA-256."""
        signature = self._key.sign(MADE, manifest, account())
        self._say(worker, kind="signed", signature=signature.to_dict())

    def cancel(self, job_id: str) -> None:
        """Have a job's worker stop it; a worker that does not obey is killed."""
        worker = next(m for m in self._handles.values() if m.job == job_id)
        if worker.cancelling:
            return
        worker.cancelling = True
        self._say(worker, kind="cancel", id=job_id)

        async def insist() -> None:
            await asyncio.sleep(GRACE)
            if worker.job == job_id and worker.cancelling:
                worker.process.kill()

        self.task(insist())

    async def look_after(self) -> None:
        """End workers that hang or grow beyond their memory; called now and then."""
        for worker in [one for one in self._handles.values() if one.job]:
            silent = (time.monotonic() - worker.heard) / 60
            used = await asyncio.to_thread(_memory, worker.process.pid)
            if silent > self._config.worker_patience:
                worker.ended_for = f"did not say how far it is for {self._config.worker_patience:g} minutes"
            elif used > self._config.memory_of_worker:
                worker.ended_for = f"used more than the {self._config.memory_of_worker / 2**30:.1f} GB of memory it may"
            if worker.ended_for:
                _log.error("%s %s, and is ended", worker.name, worker.ended_for)
                worker.process.kill()

    def working_on(self) -> list[str]:
        """The jobs that are being worked on."""
        return [m.job for m in self._handles.values() if m.job]

    def listed(self) -> list[dict[str, Any]]:
        """The workers and what they are at, as plain data for :class:`void_server.api.client.WorkerInfo`."""
        return [
            {"name": one.name, "ready": one.ready, "busy": one.job is not None, "gpu": one.gpu, "job": one.job or ""}
            for one in self._handles.values()
        ]

    async def stop(self) -> None:
        """End all processes, whatever they are doing: finished frames are on disk."""
        self._closing = True
        for worker in self._handles.values():
            worker.process.kill()
        await asyncio.to_thread(self._waiting.shutdown)
        for task in list(self._tasks):
            task.cancel()


def _unlikeness(loaded: Mapping[str, Settings], wanted: Settings) -> tuple[bool, int]:
    """How far what a worker has loaded is from what a job wants, to compare workers by."""
    last = loaded.get(wanted.engine)
    if last is None:
        return True, len(loaded)
    one, other = last.engine_settings, wanted.engine_settings
    different = [name for name in {*one, *other} if one.get(name) != other.get(name)]
    return False, len(different) + (last.device != wanted.device)


def _memory(pid: int) -> int:
    """The bytes of memory that a process and those it has started use; 0 for one that has ended."""
    used = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                found = one.memory_info()
                # files that are mapped, such as a model's weights, are the system's to take back
                used += found.rss - getattr(found, "shared", 0)
    return used


def _write(worker: WorkerHandle, message: bytes) -> None:
    assert worker.process.stdin is not None
    worker.process.stdin.write(message)
    worker.process.stdin.flush()


def _ended(worker: WorkerHandle) -> int:
    """Wait until a worker has ended and its messages are handled; returns its exit code."""
    process = worker.process
    code = process.wait()
    for ear, pipe in zip(worker.ears, (process.stdout, process.stderr), strict=True):
        # a process that it has left behind may hold the other end
        ear.join(timeout=2)
        if pipe is not None and not ear.is_alive():
            pipe.close()
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    return code
