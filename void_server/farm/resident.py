"""A process that stays for a farm engine's session and does its tasks, so that the model is loaded once for all.

It is started before the first task, in an environment of OpenJD, and listens on a socket of this machine alone; a file
that only its user can read says where, and holds the key without which it answers nobody.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path

from ..api.errors import JobCancelled, JobFailed
from ..api.job import Progress, Report
from .run import do, stopping

#: Where tasks find the file that says where the process listens.
ENVIRONMENT = "VOID_FARM_RESIDENT"
_FILE, _LOG = "void_resident.json", "void_resident.log"
# Seconds that it may take to begin and to end, and without a task after which it takes its session for dead.
_BEGIN, _END, _IDLE = 120, 30, 1800
# nothing listens, somebody went away, or has another key
_NOBODY = (OSError, EOFError, ValueError, AuthenticationError)
_FAMILY = "AF_PIPE" if os.name == "nt" else "AF_UNIX"


@dataclass(frozen=True)
class Task:
    """A task as `void farm run` is told it."""

    job_file: Path
    stage: str
    number: int
    path_map: str
    retries: int


def start(folder: Path) -> Path:
    """Start the process; its file lies in ``folder``, which is the session's own. Returns the file.

    Raises :class:`~void_server.api.errors.JobFailed` with its last words where it does not come up.
    """
    file, log = folder / _FILE, folder / _LOG
    with open(log, "wb") as words:
        # nothing of the action's own: an engine waits for whoever holds its output
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(file)],
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
    """End the process, if it is there; returns what it has said."""
    try:
        with _connected(folder / _FILE) as connection:
            connection.send(None)
            # it closes when it has ended
            connection.poll(_END)
    except _NOBODY:
        pass
    log = folder / _LOG
    return log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""


def given_to(file: Path, task: Task, say: Report) -> tuple[str, ...] | None:
    """Have the process do a task; its warnings, None where the process is not there any more.

    Raises what the task raised; JobCancelled after SIGTERM, once the task has ended.
    """
    try:
        connection = _connected(file)
    except _NOBODY:
        return None
    with connection, stopping(say) as report:
        try:
            connection.send(task)
            return _followed(connection, report)
        except JobCancelled:
            with suppress(EOFError, OSError, JobCancelled):
                connection.send("stop")
                _followed(connection, lambda _: None)
            raise
        except (EOFError, ConnectionError) as error:
            log = file.with_name(_LOG)
            raise JobFailed(f"The session's process ended in the middle of the task; see {log}.") from error


def _connected(file: Path) -> Connection:
    known = json.loads(file.read_text(encoding="utf-8"))
    return Client(known["address"], _FAMILY, authkey=bytes.fromhex(known["key"]))


def _followed(connection: Connection, report: Report) -> tuple[str, ...]:
    """What a task answers at its end, its progress being told meanwhile."""
    last = Progress("waiting for the session's process", None, 0.0, None)
    while True:
        if not connection.poll(0.2):
            report(last)
            continue
        told = connection.recv()
        if isinstance(told, Exception):
            raise told
        if isinstance(told, tuple):
            return told
        last = told
        report(last)


def serve(file: Path) -> None:
    """Do the tasks that come, one after the other, until told to end."""
    key = secrets.token_bytes(32)
    with Listener(family=_FAMILY, authkey=key) as listener:
        written = file.with_suffix(".part")
        with open(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as opened:
            json.dump({"address": listener.address, "key": key.hex()}, opened)
        os.replace(written, file)
        while True:
            # a session that died said nothing; its GPU is wanted by others
            idle = threading.Timer(_IDLE, os._exit, (0,))
            idle.daemon = True
            idle.start()
            try:
                with listener.accept() as connection:
                    idle.cancel()
                    task = connection.recv()
                    if task is None:
                        file.unlink(missing_ok=True)
                        break
                    _answer(connection, task)
            except _NOBODY as error:
                print(f"somebody asked for nothing: {error}", flush=True)
            finally:
                idle.cancel()


def _answer(connection: Connection, task: Task) -> None:
    def report(progress: Progress) -> None:
        if connection.poll():
            raise JobCancelled("The farm stopped the task; finished frames are kept, and it goes on from them.")
        connection.send(progress)

    begin = time.monotonic()
    try:
        answer: tuple[str, ...] | Exception = do(
            task.job_file, task.stage, task.number, task.path_map, report, retries=task.retries
        )
    except Exception as error:  # whatever it is, the task's own process tells it
        answer = error
    words = f"failed: {answer}" if isinstance(answer, Exception) else "done"
    print(f"{task.stage} {task.number} {words}, {time.monotonic() - begin:.1f} s", flush=True)
    try:
        connection.send(answer)
    except OSError:
        print("nobody waits for it any more", flush=True)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
