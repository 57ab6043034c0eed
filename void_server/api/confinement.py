"""Keeps a process that works for somebody else below the folders that it may use, whatever becomes of their names.

A path that was checked may be another one a moment later: a folder renamed, a link in its place. So files are written
through folders that are held open, entered one by one without following links, and what is read is checked again when
it is opened.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator, Optional, Sequence

from .errors import AccessDenied

# in the environment, so that processes which this one starts are confined too
_ROOTS = "VOID_CONFINED_TO"
#: Where the system names what a process holds open; only Linux has it.
_HELD = "/proc/self/fd"
_LINK_OR_FILE = (errno.ELOOP, errno.ENOTDIR)
#: To go through a folder needs no right to list it, where the system makes that difference.
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0)


@contextmanager
def confined(roots: Sequence[Path]) -> Iterator[None]:
    """Read and write nothing in the block but below the folders ``roots``."""
    before = os.environ.get(_ROOTS)
    os.environ[_ROOTS] = json.dumps([os.path.realpath(root) for root in roots])
    try:
        yield
    finally:
        del os.environ[_ROOTS]
        if before is not None:
            os.environ[_ROOTS] = before


def confinement() -> Optional[list[Path]]:
    """The folders that this process may use, links followed; None if it is not confined."""
    roots = os.environ.get(_ROOTS)
    return None if roots is None else [Path(root) for root in json.loads(roots)]


def check_inside(path: Path) -> None:
    """Raise :class:`AccessDenied` if this process is confined, and ``path``, links followed, is outside."""
    roots = confinement()
    if roots is not None:
        real = Path(os.path.realpath(path))
        if not any(root == real or root in real.parents for root in roots):
            raise _outside(path)


@contextmanager
def held(folder: Path, *, make: bool = False) -> Iterator[Path]:
    """A path to ``folder`` that is this folder for the whole block; with ``make`` it is made where it is not there.

    Raises :class:`AccessDenied` if this process is confined, and the folder is outside or a link leads to it.
    """
    roots = confinement()
    if roots is None:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with held_below(roots, folder, make=make) as place:
        yield place


@contextmanager
def held_below(roots: Sequence[Path], folder: Path, *, make: bool = False) -> Iterator[Path]:
    """As :func:`held`, for a ``folder`` below one of these ``roots``, which are no links, whoever asks.

    Where the system does not name what is held, a link that appears in the block is followed.
    """
    root = next((root for root in roots if root == folder or root in folder.parents), None)
    if root is None:
        raise _outside(folder)
    if not os.path.isdir(_HELD):
        if Path(os.path.realpath(folder)) != folder:
            raise _outside(folder)
        if make:
            folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    number = entered(root, folder, make=make)
    try:
        yield Path(_HELD, str(number))
    finally:
        os.close(number)


def entered(root: Path, folder: Path, *, make: bool = False) -> int:
    """A descriptor of ``folder``, reached from ``root`` without a link, to go on from; with ``make`` it is made.

    Raises :class:`AccessDenied` where there is a link on the way, and OSError, as where a file is.
    """
    if make:
        root.mkdir(parents=True, exist_ok=True)
    number, name = os.open(root, _FOLDER), ""
    try:
        for name in folder.relative_to(root).parts:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(name, dir_fd=number)
            inner = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=number)
            os.close(number)
            number = inner
    except OSError as error:
        # a link that is not followed fails with the same words as a file
        linked = error.errno in _LINK_OR_FILE and not _is_file(name, number)
        os.close(number)
        if linked:
            raise AccessDenied(
                f"There is a link on the way to {folder}; remove it, or choose another folder."
            ) from error
        # by the name that people know
        error.filename = str(folder)
        raise
    return number


def _is_file(name: str, within: int) -> bool:
    """Whether ``name`` in this open folder is neither a folder nor a link."""
    with suppress(OSError):
        mode = os.stat(name, dir_fd=within, follow_symlinks=False).st_mode
        return not stat.S_ISDIR(mode) and not stat.S_ISLNK(mode)
    return False


def _outside(path: Path) -> AccessDenied:
    return AccessDenied(f"{path} leads outside the folders that this server may use; nothing is read or written there.")
