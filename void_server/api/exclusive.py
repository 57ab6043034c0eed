"""Files and folders that one process at a time works on; what it holds is free as soon as it ends, killed or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import JobFailed

_NAME = ".held"


def lock(number: int, *, wait: bool = False) -> bool:
    """Have an open file for this process alone until it is closed; False where another has it, unless told to wait.

    True, too, where the system or its disk knows no such locks, as Windows does not.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(number, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a disk in the network that knows none
    return True


@contextmanager
def alone_in(folder: Path, *, wait: bool = False) -> Iterator[bool]:
    """Whether ``folder``, which is made where it is not there, is this process's alone for the block.

    With ``wait`` the block begins when it is. Raises :class:`JobFailed` where the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # open for writing, which network disks ask for
        file = open(folder / _NAME, "ab")  # noqa: SIM115
    except OSError as error:
        raise JobFailed(
            f"The folder {folder} cannot be written ({error.strerror}); choose another, or free the disk."
        ) from error
    with file:
        yield lock(file.fileno(), wait=wait)
