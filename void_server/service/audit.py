"""The record of who did what on a server: a file to which lines are only added, each signed together with the last.

Whoever changes, removes or reorders a line breaks the chain from there on; only the end can be cut off unseen, so ship
the file elsewhere where that matters.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..api.errors import InputError
from ..api.exclusive import lock
from ..api.files import name_once
from ..api.home import made

FILE = "audit.jsonl"
_KEY = "audit.key"
#: No line is longer: it names a plate and a folder, each of at most 20,000 characters.
_LONGEST = 2**20
#: Most are shorter than half of this, so that no more is read.
_USUAL = 2**13


class AuditLog:
    """The record in the state folder ``state``; several servers may write it."""

    def __init__(self, state: Path) -> None:
        self.file = made(state) / FILE
        self._key = _key(state)
        self._lock = threading.Lock()

    def add(self, who: str, where: str, what: str, **about: Any) -> None:
        """Note that ``who``, at the host ``where``, did ``what``; :meth:`flush` has it outlive a loss of power.

        Raises OSError where the disk fails.
        """
        entry = {"time": time.time(), "who": who, "where": where, "what": what, **about}
        with self._lock, open(self.file, "a+b", opener=_for_us_alone) as file:
            lock(file.fileno(), wait=True)
            last = _last_line(file)
            text = json.dumps(entry, sort_keys=True)
            line = json.dumps({"entry": entry, "signature": self._signature(_signature_of(last), text)}, sort_keys=True)
            file.write(line.encode() + b"\n")

    def flush(self) -> None:
        """Have all that was noted so far outlive a loss of power. Raises OSError where the disk fails."""
        with contextlib.suppress(FileNotFoundError), open(self.file, "rb") as file:
            os.fsync(file.fileno())

    def entries(self) -> Iterator[dict[str, Any]]:
        """All entries, the oldest first. Raises :class:`InputError` naming the first line that is not as written."""
        if not self.file.is_file():
            return
        before = ""
        with open(self.file, "rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    # being written, or cut off by a loss of power
                    return
                try:
                    data = json.loads(line)
                    signature = self._signature(before, json.dumps(data["entry"], sort_keys=True))
                    good = hmac.compare_digest(signature, data["signature"])
                except (ValueError, KeyError, TypeError):
                    good = False
                if not good:
                    raise InputError(f"Line {number} of {self.file} is not as it was written, or one before is gone.")
                before = signature
                yield dict(data["entry"])

    def _signature(self, before: str, text: str) -> str:
        return hmac.new(self._key, f"{before}\n{text}".encode(), hashlib.sha256).hexdigest()


def _key(state: Path) -> bytes:
    file = state / _KEY
    if not file.is_file():
        with tempfile.TemporaryDirectory(prefix=f".{_KEY}.", dir=state) as making:
            new = Path(making) / _KEY
            new.touch(0o600)
            new.write_bytes(os.urandom(32))
            name_once(new, file)
    return file.read_bytes()


def _for_us_alone(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)


def _last_line(file: Any) -> bytes:
    """The last whole line. What a loss of power left of another after it is taken away."""
    end = file.seek(0, os.SEEK_END)
    for size in (_USUAL, _LONGEST):
        start = file.seek(max(0, end - size))
        whole, _, torn = file.read().rpartition(b"\n")
        before, _, line = whole.rpartition(b"\n")
        if before or not start:
            break
    if torn and (whole or not start):
        file.truncate(start + len(whole) + bool(whole))
    return bytes(line)


def _signature_of(line: bytes) -> str:
    try:
        return str(json.loads(line)["signature"])
    except (ValueError, KeyError, TypeError):
        return ""
