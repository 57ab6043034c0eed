"""Folders for the temporary files of workers, which go with them, also where the server is killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "void-worker-"
#: Seconds within which a folder may not be held yet by who makes it.
_NEW = 60


@contextlib.contextmanager
def scratch() -> Iterator[str]:
    """A folder of its own for the block; as long as that lasts, no other server takes it for left behind."""
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as folder:
        number = _held(Path(folder))
        try:
            yield folder
        finally:
            if number is not None:
                os.close(number)


def clear() -> None:
    """Remove the folders that servers which were killed have left behind."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.lstat().st_mtime < _NEW:
                continue
            number = _held(folder)
            if number is not None:
                os.close(number)
                shutil.rmtree(folder, ignore_errors=True)


def _held(folder: Path) -> int | None:
    """A descriptor that holds a folder, None where somebody else does, or the system knows no such thing."""
    try:
        import fcntl
    except ImportError:
        return None
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(number)
        return None
    return number
