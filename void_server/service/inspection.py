"""Inspect a submission's files in a process of its own, with limits, as their contents cannot be trusted.

Run by the server as a module, ``void_server.service.inspection PIPELINE``, which has the pipeline loaded, and splits
off a process for each shot. Requests come by standard input, a line of JSON each; answers go to standard output
likewise: the exit code of that process, the error, if there is one, and the number of frames.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import select
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

from ..api.confinement import confined
from ..api.errors import JobFailed, ServerRefused, VoidError, from_dict
from ..api.shot import Shot
from ..interpreter import running
from .access import check_shot
from .sandbox import Sandbox, as_user, give_way, limit_resources, needed_to_run

#: The time and memory an inspection may take.
SECONDS = 120.0
MEMORY = 4 << 30
#: The number of inspections at the same time.
_AT_ONCE = 4
#: How far an inspection gives way to the server, which answers everybody meanwhile.
_STEPS = 5


class Inspector:
    """Has ``pipeline`` inspect submissions, each in a process that ends with it.

    One that has the pipeline loaded is started ahead, as that takes longer than most inspections; with ``stay_ready``
    those that were needed at once stay for the next shots. Those processes write nothing, and read what is in
    ``sandbox``; without one, what the server may. They run as the user and group ``owner``, if there is one.
    """

    def __init__(
        self,
        pipeline: str,
        *,
        stay_ready: bool = True,
        sandbox: Sandbox | None = None,
        owner: tuple[int, int] | None = None,
    ) -> None:
        self._pipeline, self._stay_ready, self._sandbox, self._owner = pipeline, stay_ready, sandbox, owner
        self._threads = ThreadPoolExecutor(_AT_ONCE)
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._stopped = False
        self._ready = [self._new()]

    async def inspect(self, shot: Shot, roots: Sequence[Path] | None) -> int:
        """Check a shot, and that its files lie below ``roots`` where they are given, without holding up the loop.

        Returns the number of its frames, 0 where the pipeline does not say. Raises the
        :class:`~void_server.api.errors.VoidError` that says what is wrong with it, or JobFailed if the inspection took
        too long or too much memory.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._inspect, shot, roots)

    def _inspect(self, shot: Shot, roots: Sequence[Path] | None) -> int:
        request = {
            "shot": shot.to_dict(),
            "roots": None if roots is None else [str(root) for root in roots],
            "sandbox": self._sandbox.to_json() if self._sandbox else None,
        }
        process = self._taken()
        late = threading.Event()

        def too_late() -> None:
            late.set()
            _kill(process)

        clock = threading.Timer(SECONDS, too_late)
        clock.daemon = True
        clock.start()
        try:
            answer = _asked(process, request)
        finally:
            clock.cancel()
            self._give_back(process, fit=not late.is_set())
        if self._stopped:
            raise _stopping()
        if late.is_set():
            raise JobFailed(
                f"The shot's files could not be inspected within {SECONDS:g} s; check that their disk "
                "responds, and submit again."
            )
        code = answer["code"] if answer else process.returncode
        if code or not answer:
            raise JobFailed(
                f"The system ended the inspection of the shot's files ({_how(code)}), most "
                "likely for lack of memory; one of them is damaged, or far too large."
            )
        if answer["error"]:
            raise from_dict(answer["error"])
        return int(answer["frames"] or 0)

    def _new(self) -> subprocess.Popen[bytes]:
        try:
            process = subprocess.Popen(
                running("void_server.service.inspection", self._pipeline),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # ended together with what it has split off
                start_new_session=True,
                **as_user(self._owner),
            )
        except PermissionError as error:
            raise ServerRefused(
                f"The user that is to do the work may not run {error.filename}; install Python and VOID where that "
                "user may read them, such as /opt."
            ) from error
        self._processes.add(process)
        return process

    def _taken(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._stopped:
                raise _stopping()
            while self._ready:
                ready = self._ready.pop()
                if ready.poll() is None:
                    return ready
                self._processes.discard(ready)
            return self._new()

    def _give_back(self, process: subprocess.Popen[bytes], *, fit: bool) -> None:
        with self._lock:
            if fit and self._stay_ready and not self._stopped and process.poll() is None:
                self._ready.append(process)
                return
            self._processes.discard(process)
            if self._stay_ready and not self._stopped and not self._ready:
                self._ready.append(self._new())
        _end(process)

    def stop(self) -> None:
        """End running inspections, and accept no more."""
        with self._lock:
            self._stopped = True
            for process in self._processes:
                _kill(process)
            ready, self._ready = self._ready, []
        for process in ready:
            _end(process)
        self._threads.shutdown(wait=False, cancel_futures=True)


def _asked(process: subprocess.Popen[bytes], request: dict[str, Any]) -> dict[str, Any] | None:
    """What the process answers, None where it ended instead."""
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(OSError):
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
        if line := process.stdout.readline():
            return dict(json.loads(line))
    process.wait()
    return None


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and what it has split off, where the system knows such a thing."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _end(process: subprocess.Popen[bytes]) -> None:
    _kill(process)
    # a disk that does not answer keeps a process from ending; it is not waited for
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)
    for pipe in (process.stdin, process.stdout):
        if pipe:
            with contextlib.suppress(OSError):
                pipe.close()


def _stopping() -> JobFailed:
    return JobFailed("The server is stopping; submit the shot again when it is back.")


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _limit(sandbox: str | None) -> None:
    """Limit this process's memory and time, and what it reads, where the platform can."""
    if sys.platform != "win32":
        signal.alarm(int(SECONDS) + 5)
    if sandbox:
        Sandbox.from_json(sandbox).enter()
    else:
        limit_resources(MEMORY)


def _answer(request: dict[str, Any], pipeline: str) -> dict[str, Any]:
    """What is found: the number of frames, or the error."""
    try:
        return {"error": None, "frames": _frames(request, pipeline)}
    except VoidError as error:
        return {"error": error.to_dict(), "frames": None}


def _frames(request: dict[str, Any], pipeline: str) -> int | None:
    try:
        shot = Shot.from_dict(request["shot"])
        if request["roots"] is not None:
            roots = [Path(root) for root in request["roots"]]
            check_shot(shot, roots)
            with confined(roots):
                found = import_module(pipeline).inspect(shot)
        else:
            found = import_module(pipeline).inspect(shot)
    except VoidError:
        raise
    except MemoryError as error:
        raise JobFailed(
            f"Inspecting the shot's files takes more than {MEMORY >> 30} GB of memory; one of them is damaged."
        ) from error
    except OSError as error:
        raise JobFailed(f"{error}; fix this and try again.") from error
    except Exception as error:
        raise JobFailed(
            f"The shot could not be checked because of an internal error: {type(error).__name__}: {error}",
            traceback.format_exc(),
        ) from error
    return found if isinstance(found, int) else None


def _in_own_process(line: bytes, pipeline: str) -> dict[str, Any] | None:
    """Inspect in a process that is split off and ends with it; None where the server has gone meanwhile."""
    inner, outer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.close(inner)
            # the requests are not for it
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            request = json.loads(line)
            _limit(request["sandbox"])
            with os.fdopen(outer, "w") as own:
                json.dump(_answer(request, pipeline), own)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(outer)
    told, gone = b"", False
    while True:
        heard, _, _ = select.select([0, inner], [], [])
        if inner not in heard:
            # no request comes before this one is answered
            gone = True
            os.kill(pid, signal.SIGKILL)
            break
        if not (piece := os.read(inner, 2**16)):
            break
        told += piece
    os.close(inner)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if gone:
        return None
    return {"code": code, **(json.loads(told) if told and not code else {"error": None, "frames": None})}


def main() -> None:
    """Entry point of the process."""
    # Ctrl-C in a terminal reaches the whole group; the server decides what becomes of its processes
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    give_way(_STEPS)
    pipeline = sys.argv[1]
    with contextlib.suppress(Exception):
        # ahead of the request; what is wrong with it is said in the answer
        import_module(pipeline)
        import_module("void_server.imaging.sequence")
        needed_to_run()
    # what is not moved about is not copied for each process that is split off
    gc.freeze()
    # keep whatever a library prints out of the answers
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    while line := _line():
        answer: dict[str, Any] | None
        if hasattr(os, "fork"):
            answer = _in_own_process(line, pipeline)
        else:
            answer = {"code": 0, **_answer(json.loads(line), pipeline)}
        if answer is None:
            return
        print(json.dumps(answer), file=answers, flush=True)
        if not hasattr(os, "fork"):
            # what the files have left in this process is nobody else's
            return


def _line() -> bytes:
    """The next request; empty once the server is gone."""
    line = b""
    # nothing may be read ahead: that there is nothing more tells that the server is gone
    while not line.endswith(b"\n"):
        piece = os.read(0, 2**16)
        if not piece:
            return b""
        line += piece
    return line


if __name__ == "__main__":
    main()
