"""A worker: a process that runs one job after another, so that models stay loaded.

Run by the server as a module, ``void_server.service.worker PIPELINE [SANDBOX]``, which it speaks to through standard
input and output. It ends with the server.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from ..api.confinement import confined
from ..api.errors import JobCancelled, JobFailed, VoidError
from ..api.files import digest_of, write_atomically
from ..api.job import Progress
from ..api.messages import packed
from ..api.shot import Shot
from ..api.version import VersionFolder
from .pipe import messages_from
from .sandbox import Sandbox, give_way

#: Progress is sent this often at most, in seconds.
_PAUSE = 0.1
#: How far a job gives way to the server, and to the inspections of what others submit.
_STEPS = 10


class Worker:
    """The worker's side of the line to its server."""

    def __init__(self, pipeline: str, unconfined: str) -> None:
        self._pipeline, self._unconfined = pipeline, unconfined
        self._orders: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        # whatever a library prints goes where errors go, and nothing but our messages to the server
        self._in, self._out = os.dup(0), os.fdopen(os.dup(1), "wb")
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        os.dup2(2, 1)
        self._sent, self._sending = 0.0, ""

    def run(self) -> None:
        """Run jobs until the server is gone."""
        threading.Thread(target=self._listen, daemon=True).start()
        self._send("ready", unconfined=self._unconfined)
        while True:
            order = self._orders.get()
            if order["kind"] == "job":
                self._work(order)

    def _listen(self) -> None:
        try:
            for order in messages_from(self._in):
                self._orders.put(order)
        finally:
            # the server was killed; finished frames are on disk
            os._exit(1)

    def _send(self, kind: str, **content: Any) -> None:
        self._out.write(packed({"kind": kind, **content}))
        self._out.flush()

    def _work(self, message: dict[str, Any]) -> None:
        job_id, folder = message["id"], Path(message["folder"])

        def report(progress: Progress) -> None:
            now = time.monotonic()
            # what goes to a service is said before it goes
            if now - self._sent < _PAUSE and progress.sending == self._sending:
                return
            self._sent, self._sending = now, progress.sending
            while not self._orders.empty():
                order = self._orders.get()
                if order["kind"] == "cancel" and order["id"] == job_id:
                    raise JobCancelled("The job was stopped; finished frames are kept, resume to continue.")
            self._send("progress", id=job_id, progress=progress.__dict__)

        try:
            pipeline = importlib.import_module(self._pipeline)
            with confined([Path(root) for root in message["roots"]]):
                VersionFolder(folder).note_submitter(message["who"])
                warnings = pipeline.run(job_id, Shot.from_dict(message["shot"]), folder, report)
                self._have_signed(job_id, VersionFolder(folder))
        except JobCancelled as error:
            self._send("cancelled", id=job_id, error=error.to_dict())
        except (Exception, SystemExit) as error:  # an engine's module may do anything, also when it is imported
            with confined([Path(root) for root in message["roots"]]):
                self._send("failed", id=job_id, error=explained(error, folder).to_dict())
        else:
            self._send("done", id=job_id, warnings=list(warnings))

    def _have_signed(self, job_id: str, version: VersionFolder) -> None:
        """Have the server, which alone has the key, sign for the manifest, and keep its signature in the folder."""
        if not version.manifest.is_file():
            return  # the work of another pipeline
        self._send("sign", id=job_id, manifest=digest_of(version.manifest))
        while (order := self._orders.get())["kind"] != "signed":
            pass  # too late to stop what is done
        write_atomically(version.signature, json.dumps(order["signature"], indent=2))


def explained(error: BaseException, folder: Path) -> VoidError:
    """The error as a sentence for the artist; details go to the job's log."""
    details = "".join(traceback.format_exception(error))
    if isinstance(error, VoidError):
        return error
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return JobFailed(
            f"The disk of {folder} is full; free some space and resume, finished frames are kept.", details
        )
    if isinstance(error, PermissionError):
        return JobFailed(
            f"{error.filename or folder} cannot be written: permission denied; grant access and resume.", details
        )
    if isinstance(error, MemoryError):
        return JobFailed("The job ran out of memory; close other programs and resume.", details)
    if isinstance(error, OSError):
        return JobFailed(f"{error}; fix this and resume, finished frames are kept.", details)
    log = folder / "log.txt"
    try:
        write_atomically(log, details)
    except (OSError, VoidError):
        return JobFailed(f"The job stopped with an internal error: {error}", details)
    return JobFailed(f"The job stopped with an internal error ({error}); please send {log} to the developers.", details)


def main() -> None:
    """Entry point of the process."""
    # Ctrl-C in a terminal reaches the whole group; the server decides what becomes of its workers
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    give_way(_STEPS)
    pipeline, *sandbox = sys.argv[1:]
    Worker(pipeline, Sandbox.from_json(sandbox[0]).enter() if sandbox else "").run()


if __name__ == "__main__":
    main()
