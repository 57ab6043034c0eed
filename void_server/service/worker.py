"""A worker: a process that does one job after the other and stays, so that models can stay in it.

Run by the server as ``python -m void_server.service.worker ADDRESS NAME PIPELINE``, with the server's token for this
run in the environment. It ends with the server.
"""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import msgpack
import zmq

from ..api.errors import JobCancelled, JobFailed, VoidError
from ..api.job import Progress
from ..api.shot import Shot
from .lifeline import at_end_of_input

TOKEN = "VOID_WORKER_TOKEN"
#: Progress is sent this often at most, in seconds.
_PAUSE = 0.1


class Worker:
    """The worker's side of the connection to its server."""

    def __init__(self, address: str, name: str, pipeline: str) -> None:
        self._pipeline = pipeline
        self._token = os.environ.pop(TOKEN)
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 1000)
        self._socket.setsockopt(zmq.IDENTITY, name.encode())
        self._socket.connect(address)
        self._sent = 0.0

    def run(self) -> None:
        """Do jobs until the server says stop."""
        self._send("ready")
        while True:
            message = self._receive(1000)
            if message is None:
                continue
            if message["kind"] == "stop":
                return
            if message["kind"] == "job":
                self._work(message)

    def _send(self, kind: str, **content: Any) -> None:
        self._socket.send(msgpack.packb({"token": self._token, "kind": kind, **content}))

    def _receive(self, wait: int) -> dict[str, Any] | None:
        if not self._socket.poll(wait):
            return None
        message: dict[str, Any] = msgpack.unpackb(self._socket.recv())
        return message

    def _work(self, message: dict[str, Any]) -> None:
        job_id, folder = message["id"], Path(message["folder"])

        def report(progress: Progress) -> None:
            now = time.monotonic()
            if now - self._sent < _PAUSE:
                return
            self._sent = now
            while (order := self._receive(0)) is not None:
                if order["kind"] == "cancel" and order["id"] == job_id:
                    raise JobCancelled("The job was stopped; its finished frames are kept, and it can be resumed.")
            self._send("progress", id=job_id, progress=progress.__dict__)

        try:
            pipeline = importlib.import_module(self._pipeline)
            warnings = pipeline.run(job_id, Shot.from_dict(message["shot"]), folder, report)
        except JobCancelled as error:
            self._send("cancelled", id=job_id, error=error.to_dict())
        except Exception as error:
            self._send("failed", id=job_id, error=explained(error, folder).to_dict())
        else:
            self._send("done", id=job_id, warnings=list(warnings))


def explained(error: Exception, folder: Path) -> VoidError:
    """The error as a sentence for the artist; what else there is to know goes into the job's log."""
    details = "".join(traceback.format_exception(error))
    if isinstance(error, VoidError):
        return error
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return JobFailed(
            f"The disk of {folder} is full; free some space and resume, finished frames are kept.", details
        )
    if isinstance(error, PermissionError):
        return JobFailed(f"{error.filename or folder} may not be written; allow it and resume.", details)
    if isinstance(error, MemoryError):
        return JobFailed("There is not enough memory for the job; close other programs and resume.", details)
    if isinstance(error, OSError):
        return JobFailed(f"{error}; put it right and resume, finished frames are kept.", details)
    log = folder / "log.txt"
    try:
        log.write_text(details, encoding="utf-8")
    except OSError:
        return JobFailed(f"The job stopped with an error of the program: {error}", details)
    return JobFailed(
        f"The job stopped with an error of the program ({error}); please send {log} to its makers.", details
    )


def main() -> None:
    """Entry point of the process."""
    # Ctrl-C in a terminal reaches the whole group; the server decides what becomes of its workers
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # at once, whatever it is doing: what is finished lies on disk
    at_end_of_input(lambda: os._exit(1))
    address, name, pipeline = sys.argv[1:]
    Worker(address, name, pipeline).run()


if __name__ == "__main__":
    main()
