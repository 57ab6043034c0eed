"""A process that stays for a scheduler's session and does its tasks, so that the model is loaded once for all.

It is started before the first task, in an environment of OpenJD, and listens on a socket of this machine alone; a file
that only its user can read says where, and holds the key without which it answers nobody. No task depends on it: where
it is not there, or not fit any more, tasks do their work themselves.

Messages are maps in msgpack: a task is asked for with its fields, and stopped with an empty map; the process is ended
with "end". Progress comes as "progress", what becomes of the task as "warnings" or "error", and as "unfit" where the
process is not fit for it.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any, TypeVar

import msgpack
import psutil

from ...api.errors import JobCancelled, JobFailed, VoidError, from_dict
from ...api.files import replacing
from ...api.job import Progress, Report
from ...api.messages import MAX_FRAME, packed, understood
from ...imaging.sequence import format_frames
from ...interpreter import running
from .run import do, stopping

Result = TypeVar("Result")

#: Where tasks find the file that says where the process listens.
ENVIRONMENT = "VOID_FARM_RESIDENT"
_FILE, _LOG = "void_resident.json", "void_resident.log"
# Seconds that it may take to begin and to end, and without a task after which it takes its session for dead.
_BEGIN, _END, _IDLE = 120, 20, 1800
_FAMILY = "AF_PIPE" if os.name == "nt" else "AF_UNIX"
# nothing listens, somebody went away, or has another key
_NOBODY = (OSError, EOFError, ValueError, AuthenticationError)


@dataclass(frozen=True)
class Task:
    """A task as `void farm run` is told it."""

    job_file: Path
    stage: str
    numbers: tuple[int, ...]
    path_map: str
    retries: int


def start(folder: Path) -> Path:
    """Start the process; its file lies in ``folder``, which is the session's own. Returns the file.

    Raises :class:`~void_server.api.errors.JobFailed` with its last words where it does not come up.
    """
    file, log = folder / _FILE, folder / _LOG
    with open(log, "wb") as words:
        # nothing of the action's own: a scheduler waits for whoever holds its output
        process = subprocess.Popen(
            running(__name__, str(file)),
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    end = time.monotonic() + _BEGIN
    while not file.is_file():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            raise JobFailed(f"The session's process did not begin; see {log}.", log.read_text(errors="replace"))
        time.sleep(0.05)
    return file


def stop(folder: Path) -> str:
    """End the process, if it is there, at once if it must be; returns what it has said."""
    file, log = folder / _FILE, folder / _LOG

    def ask() -> None:
        with _connected(file) as connection:
            _send(connection, end=True)
            # it closes when it has ended
            connection.poll(_END)

    with suppress(TooLate, *_NOBODY):
        _beside(ask).result(_END)
    with suppress(psutil.Error, *_NOBODY):
        process = psutil.Process(json.loads(file.read_text(encoding="utf-8"))["pid"])
        # in a task that nobody waits for any more
        process.terminate()
        if psutil.wait_procs([process], _END)[1]:
            process.kill()
    file.unlink(missing_ok=True)
    return log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""


def given_to(file: Path, task: Task, say: Report) -> tuple[str, ...] | None:
    """Have the process do a task; its warnings, None where it is not there, or not fit for it any more.

    Raises what the task raised; JobCancelled after SIGTERM, once the task has ended.
    """
    with stopping(say) as report:
        reaching = _beside(lambda: _connected(file))
        while not reaching.done():
            # busy with a task whose own process is gone, until it notices
            report(_WAITING)
            time.sleep(0.05)
        try:
            with reaching.result() as connection:
                return _asked(connection, task, report)
        except JobCancelled:
            raise
        except _NOBODY as error:
            print(f"the session's process is not there ({error!r}); the task does its work itself", flush=True)
            return None


_WAITING = Progress("waiting for the session's process", None, 0.0, None)


def _beside(work: Callable[[], Result]) -> Future[Result]:
    """Work that may block for as long as it wants, as nothing waits for its thread at the end."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as error:  # told to whoever asks for the result
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def _asked(connection: Connection, task: Task, report: Report) -> tuple[str, ...] | None:
    try:
        _send(connection, task={**asdict(task), "job_file": str(task.job_file)})
        return _followed(connection, report)
    except JobCancelled:
        with suppress(*_NOBODY, JobCancelled):
            _send(connection)
            _followed(connection, lambda _: None)
        raise


def _connected(file: Path) -> Connection:
    known = json.loads(file.read_text(encoding="utf-8"))
    return Client(known["address"], _FAMILY, authkey=bytes.fromhex(known["key"]))


def _followed(connection: Connection, report: Report) -> tuple[str, ...] | None:
    """What a task answers at its end, its progress being told meanwhile; None where the process is not fit for it."""
    last = _WAITING
    while True:
        if not connection.poll(0.2):
            report(last)
            continue
        told = _received(connection)
        if "error" in told:
            raise from_dict(told["error"])
        if "progress" not in told:
            return tuple(map(str, told["warnings"])) if "warnings" in told else None
        last = understood(Progress.from_dict, told["progress"])
        report(last)


def _send(connection: Connection, **content: Any) -> None:
    connection.send_bytes(packed(content))


def _received(connection: Connection) -> dict[str, Any]:
    """The next message. Raises ValueError for anything else."""
    try:
        message = msgpack.unpackb(connection.recv_bytes(MAX_FRAME))
    except (msgpack.UnpackException, RecursionError) as error:
        raise ValueError(f"no message: {error}") from error
    if not isinstance(message, dict):
        raise ValueError(f"no message: {message!r:.100}")
    return message


def _task(message: dict[str, Any]) -> Task | None:
    """The task that is asked for, None where the process is to end. Raises ValueError for anything else."""
    if message.get("end") is True:
        return None
    told = message.get("task")
    kinds = {"job_file": str, "stage": str, "numbers": list, "path_map": str, "retries": int}
    if not isinstance(told, dict) or set(told) != set(kinds):
        raise ValueError(f"{message!r:.100}")
    if not all(isinstance(told[name], kind) for name, kind in kinds.items()) or not told["numbers"]:
        raise ValueError(f"{told!r:.100}")
    if not all(isinstance(number, int) for number in told["numbers"]):
        raise ValueError(f"{told!r:.100}")
    return Task(**{**told, "job_file": Path(told["job_file"]), "numbers": tuple(told["numbers"])})


def serve(file: Path) -> None:
    """Do the tasks that come, one after the other, until told to end, or until one leaves the process unfit."""
    key = secrets.token_bytes(32)
    with tempfile.TemporaryDirectory(dir=None if os.name == "nt" else "/tmp") as short:
        # a socket's path may not be long, as a session's folder may be
        address = None if os.name == "nt" else os.path.join(short, "void")
        with Listener(address, _FAMILY, authkey=key) as listener:
            with replacing(file) as temporary:
                # before it holds the key
                temporary.touch(0o600, exist_ok=False)
                known = {"address": listener.address, "key": key.hex(), "pid": os.getpid()}
                temporary.write_text(json.dumps(known), encoding="utf-8")
            while _next(listener, file):
                pass


def _next(listener: Listener, file: Path) -> bool:
    """Wait for a task and do it; whether there may be another."""
    # a session that died said nothing; its GPU is wanted by others
    idle = threading.Timer(_IDLE, os._exit, (0,))
    idle.daemon = True
    idle.start()
    try:
        with listener.accept() as connection:
            idle.cancel()
            try:
                task = _task(_received(connection))
                if task is not None and _answer(connection, task):
                    return True
                # before the connection closes: whoever asked may look for it
                file.unlink(missing_ok=True)
                return False
            except Exception as error:  # nothing that somebody sends may end the session
                # before the connection closes, as above
                print(f"received something that is not a task: {error}", flush=True)
                return True
    except (OSError, EOFError, AuthenticationError) as error:
        print(f"a connection failed: {error}", flush=True)
        return True
    finally:
        idle.cancel()


def _answer(connection: Connection, task: Task) -> bool:
    """Do a task and send what becomes of it; whether the process is fit for another."""

    def report(progress: Progress) -> None:
        if connection.poll():
            raise JobCancelled("The farm stopped the task; finished frames are kept, and it goes on from them.")
        _send(connection, progress=asdict(progress))

    begin, fit = time.monotonic(), True
    answer: dict[str, Any]
    try:
        answer = {"warnings": do(task.job_file, task.stage, task.numbers, task.path_map, report, retries=task.retries)}
        words = "done"
    except (VoidError, OSError, MemoryError) as error:
        # what breaks the connection is an OSError too, so one of the task's own goes under another name
        told = error if isinstance(error, VoidError) else JobFailed(str(error))
        answer, words = {"error": told.to_dict()}, f"failed: {error}"
    except Exception:  # such as a GPU that is lost to this process: another may do better
        answer, words, fit = {"unfit": True}, f"failed, and this process ends:\n{traceback.format_exc()}", False
    print(f"{task.stage} {format_frames(task.numbers)} {words}, {time.monotonic() - begin:.1f} s", flush=True)
    try:
        _send(connection, **answer)
    except OSError:
        print("nobody waits for it any more", flush=True)
    return fit


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
