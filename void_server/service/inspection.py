"""Inspect a submission's files in a process of its own, with limits, as their contents cannot be trusted.

Run by the server as a module, ``void_server.service.inspection PIPELINE``; the request comes by standard input, the
error, if there is one, goes to standard output.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
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
from ..api.errors import JobFailed, VoidError, from_dict
from ..api.shot import Shot
from ..interpreter import running
from .access import check_shot

#: The time and memory an inspection may take.
SECONDS = 120.0
MEMORY = 4 << 30
#: The number of inspections at the same time.
_AT_ONCE = 4


class Inspector:
    """Has ``pipeline`` inspect submissions, each in a process that ends with it.

    One process is started ahead, as loading the pipeline takes longer than most inspections; with ``stay_ready`` the
    next one, too, once it was needed.
    """

    def __init__(self, pipeline: str, *, stay_ready: bool = True) -> None:
        self._pipeline, self._stay_ready = pipeline, stay_ready
        self._threads = ThreadPoolExecutor(_AT_ONCE)
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._stopped = False
        self._spare: subprocess.Popen[bytes] | None = self._new()

    async def inspect(self, shot: Shot, roots: Sequence[Path] | None) -> None:
        """Check a shot, and that its files lie below ``roots`` where they are given, without holding up the loop.

        Raises the :class:`~void_server.api.errors.VoidError` that says what is wrong with it, or JobFailed if the
        inspection took too long or too much memory.
        """
        await asyncio.get_running_loop().run_in_executor(self._threads, self._inspect, shot, roots)

    def _inspect(self, shot: Shot, roots: Sequence[Path] | None) -> None:
        request = {"shot": shot.to_dict(), "roots": None if roots is None else [str(root) for root in roots]}
        process = self._taken()
        try:
            response, _ = process.communicate(json.dumps(request).encode(), timeout=SECONDS)
        except subprocess.TimeoutExpired as error:
            raise JobFailed(
                f"The shot's files could not be inspected within {SECONDS:g} s; check that their disk "
                "responds, and submit again."
            ) from error
        finally:
            self._end(process)
        if self._stopped:
            raise _stopping()
        if process.returncode:
            raise JobFailed(
                f"The system ended the inspection of the shot's files ({_how(process.returncode)}), most "
                "likely for lack of memory; one of them is damaged, or far too large."
            )
        if answer := json.loads(response):
            raise from_dict(answer)

    def _new(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            running("void_server.service.inspection", self._pipeline),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._processes.add(process)
        return process

    def _taken(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._stopped:
                raise _stopping()
            ready, self._spare = self._spare, None
            return ready if ready and ready.poll() is None else self._new()

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._processes.discard(process)
            if self._stay_ready and not self._stopped and self._spare is None:
                self._spare = self._new()
        process.kill()
        # a disk that does not answer keeps a process from ending; it is not waited for
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
        for pipe in (process.stdin, process.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()

    def stop(self) -> None:
        """End running inspections, and accept no more."""
        with self._lock:
            self._stopped = True
            for process in self._processes:
                process.kill()
            spare = self._spare
        if spare:
            self._end(spare)
        self._threads.shutdown(wait=False, cancel_futures=True)


def _stopping() -> JobFailed:
    return JobFailed("The server is stopping; submit the shot again when it is back.")


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _limit() -> None:
    """Limit this process's memory and time, where the platform can."""
    if sys.platform == "win32":
        return
    import resource

    signal.alarm(int(SECONDS) + 5)
    # what is written to, not what is mapped: models' libraries map far more than they use
    for kind, most in ((resource.RLIMIT_DATA, MEMORY), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(kind)
        limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (limit, limit))


def _error(request: dict[str, Any], pipeline: str) -> VoidError | None:
    try:
        shot = Shot.from_dict(request["shot"])
        if request["roots"] is not None:
            roots = [Path(root) for root in request["roots"]]
            check_shot(shot, roots)
            with confined(roots):
                import_module(pipeline).inspect(shot)
        else:
            import_module(pipeline).inspect(shot)
    except VoidError as error:
        return error
    except MemoryError:
        return JobFailed(
            f"Inspecting the shot's files takes more than {MEMORY >> 30} GB of memory; one of them is damaged."
        )
    except OSError as error:
        return JobFailed(f"{error}; fix this and try again.")
    except Exception as error:
        return JobFailed(
            f"The shot could not be checked because of an internal error: {type(error).__name__}: {error}",
            traceback.format_exc(),
        )
    return None


def main() -> None:
    """Entry point of the process."""
    # Ctrl-C in a terminal reaches the whole group; the server decides what becomes of its processes
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipeline = sys.argv[1]
    with contextlib.suppress(Exception):
        # ahead of the request; what is wrong with it is said in the answer
        import_module(pipeline)
    request = sys.stdin.buffer.read()
    if not request:
        # the server is gone, or did not need this process
        return
    _limit()
    # keep whatever a library prints out of the answer
    with os.fdopen(os.dup(1), "w") as answer:
        os.dup2(2, 1)
        error = _error(json.loads(request), pipeline)
        json.dump(error.to_dict() if error else None, answer)


if __name__ == "__main__":
    main()
