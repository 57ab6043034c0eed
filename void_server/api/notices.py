"""What a farm has told: a line of JSON for each job or batch that ended, in a file that the page in the browser shows.

The file is ``$VOID_NOTICES``, else ``notices.jsonl`` in the state folder.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Mapping

from .home import home

ENVIRONMENT = "VOID_NOTICES"
# of what was told, no more is read
_TAIL = 2**18


def journal() -> Path:
    """The file."""
    return Path(os.environ.get(ENVIRONMENT) or home() / "notices.jsonl")


def add(notice: Mapping[str, Any]) -> None:
    """Add a notice. Raises OSError."""
    file = journal()
    file.parent.mkdir(parents=True, exist_ok=True)
    # one that was named is for several users, as far as the umask lets them
    mode = 0o666 if os.environ.get(ENVIRONMENT) else 0o600
    # in one go: machines write to it at the same time
    there = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, mode)
    try:
        os.write(there, json.dumps(dict(notice)).encode() + b"\n")
    finally:
        os.close(there)


def latest(count: int) -> list[dict[str, Any]]:
    """The newest notices, the last first; none where nothing was told. A line that is damaged is left out."""
    try:
        with open(journal(), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            lines = file.read().splitlines()
    except OSError:
        return []
    found = []
    for line in reversed(lines):
        try:
            notice = json.loads(line)
        except ValueError:
            continue
        if isinstance(notice, dict):
            found.append(notice)
    return found[:count]
