"""A stand-in, on this machine, for the part of AWS Deadline Cloud that the client speaks to when it submits a bundle.

Templates are checked with openjd-model, by the client's own Python, as the service checks them.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

FARM, QUEUE, JOB = "farm-" + "1" * 32, "queue-" + "2" * 32, "job-" + "3" * 32
_CHECK = (
    "import json,sys; from openjd.model import decode_job_template as d; "
    "d(template=json.load(sys.stdin), supported_extensions=['TASK_CHUNKING'])"
)
_WHEN = {"createdAt": "2026-01-01T00:00:00Z", "createdBy": "me"}


@contextmanager
def stand_in(client: Path) -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """The service's address, and what it was asked: (path, body)."""
    asked: list[tuple[str, Any]] = []
    python = client.resolve().parent / "python"

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            path = urlsplit(self.path).path
            asked.append((path, body))
            status, answer = self._found(path, body)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _found(self, path: str, body: Any) -> tuple[int, dict[str, Any]]:
            if self.command == "POST" and path.endswith("/jobs"):
                checked = subprocess.run(
                    [str(python), "-c", _CHECK], input=body["template"], text=True, capture_output=True, check=False
                )
                if checked.returncode:
                    said = {"message": checked.stderr[-2000:], "reason": "FIELD_VALIDATION_FAILED"}
                    return 400, {"__type": "ValidationException", **said}
                return 200, {"jobId": JOB}
            if re.search(r"/jobs/job-\w+$", path):
                state = {"lifecycleStatus": "CREATE_COMPLETE", "lifecycleStatusMessage": "ok", "priority": 50}
                return 200, {"jobId": JOB, "name": "x", **state, **_WHEN, "taskRunStatus": "READY"}
            if path.endswith("/environments"):
                return 200, {"environments": []}
            if path.endswith("/storage-profiles"):
                return 200, {"storageProfiles": []}
            if re.search(r"/queues/queue-\w+$", path):
                state = {"displayName": "q", "status": "IDLE", "defaultBudgetAction": "NONE"}
                return 200, {"queueId": QUEUE, "farmId": FARM, **state, **_WHEN}
            if re.search(r"/farms/farm-\w+$", path):
                return 200, {"farmId": FARM, "displayName": "f", "kmsKeyArn": "arn:aws:kms:us-west-2:1:key/x", **_WHEN}
            return 404, {"message": f"the stand-in has no {path}"}

        do_GET = do_POST = do_PUT = do_PATCH = _answer  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
