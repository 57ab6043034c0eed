"""Files and folders that one process at a time works on; what it holds is free as soon as it ends, killed or not."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import JobFailed

_NAME = ".held"
# How a system says that another has the lock: SMB disks say the second, also where they were told to wait.
_TAKEN = (errno.EAGAIN, errno.EACCES)
# How a system or a disk in the network says that it knows no such locks.
_UNKNOWN = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
# Between two tries where a disk does not wait by itself, in seconds.
_PAUSE = 1.0


def lock(number: int, *, wait: bool = False) -> bool:
    """Have an open file for this process alone until it is closed; False where another has it, unless told to wait.

    True, too, where the system or its disk knows no such locks, as Windows does not. Raises OSError where the disk
    fails.
    """
    try:
        import fcntl
    except ImportError:
        return True
    while True:
        try:
            fcntl.flock(number, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _UNKNOWN:
                return True
            if error.errno not in _TAKEN:
                raise
            if not wait:
                return False
            time.sleep(_PAUSE)
        else:
            return True


@contextmanager
def alone_in(folder: Path, waiting: Callable[[], object] | None = None) -> Iterator[bool]:
    """Whether ``folder``, which is made where it is not there, is this process's alone for the block.

    With ``waiting`` the block begins when it is; that is called first where another process has the folder. Raises
    :class:`JobFailed` where the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # open for writing, which network disks ask for
        file = open(folder / _NAME, "ab")  # noqa: SIM115
    except OSError as error:
        raise _unwritable(folder, error) from error
    with file:
        try:
            alone = lock(file.fileno())
            if waiting and not alone:
                waiting()
                alone = lock(file.fileno(), wait=True)
        except OSError as error:
            raise _unwritable(folder, error) from error
        yield alone


def _unwritable(folder: Path, error: OSError) -> JobFailed:
    return JobFailed(f"The folder {folder} cannot be written ({error.strerror}); choose another, or free the disk.")
