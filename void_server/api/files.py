"""Files and folders as client and server both handle them."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Optional, Union

from .confinement import check_inside, entered, held, held_below
from .errors import AccessDenied, InputError, JobFailed

#: Files are read, and travel, in pieces of so many bytes.
CHUNK = 2**21

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
# A file's name on every system: no separator, drive or control character, no device, nothing that Windows cuts off.
_PLAIN = re.compile(
    r"(?!(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$))[^/\\:\x00-\x1f\x7f]*[^/\\:\x00-\x1f\x7f. ]", re.IGNORECASE
)

# What temporary_beside() names.
_TEMPORARY = ".*." + "[0-9a-f]" * 16 + ".part*"


def is_plain_name(name: object) -> bool:
    """Whether ``name``, which came from another machine, is that of a file in a folder, whatever the system."""
    return isinstance(name, str) and len(name) < 256 and _PLAIN.fullmatch(name) is not None


def names_of(path: object) -> list[str]:
    """The names in a relative ``path`` from another machine, "/" between them. Raises :class:`AccessDenied` for others.

    Those are absolute paths, and whatever leads out of a folder or is no file's name on some system.
    """
    names = path.split("/") if isinstance(path, str) else []
    if not names or not all(map(is_plain_name, names)):
        raise AccessDenied(f"{path!r} is no path within a folder; nothing is read or written there.")
    return names


def inside(folder: Path, path: object) -> Path:
    """Where ``path``, which came from another machine, is in ``folder``.

    Raises :class:`AccessDenied` where it may lead out, also by a link on the way.
    """
    names = names_of(path)
    target = folder.joinpath(*names)
    try:
        if target.resolve() == folder.resolve().joinpath(*names):
            return target
    except (OSError, RuntimeError):
        pass  # a loop of links
    raise AccessDenied(f"There is a link on the way to {target}; take it away, or choose another folder.")


def unreadable(path: Path, error: OSError) -> InputError:
    """Why a file or a folder that somebody named cannot be read, as a sentence."""
    if isinstance(error, PermissionError):
        return InputError(f"{path} may not be read: permission denied; ask its owner to allow it.")
    if isinstance(error, FileNotFoundError):
        return InputError(f"{path} does not exist.")
    if error.errno == errno.ELOOP:
        return InputError(f"{path} is a link that leads back to itself; name the file that it was meant for.")
    return InputError(f"{path} cannot be read: {error.strerror or error}.")


def check_regular(path: Path, *, trusted: bool = False) -> None:
    """Raise :class:`InputError` unless ``path``, links followed, is a regular file. Never blocks.

    Whoever opens a named pipe waits for somebody to write into it, and a device may never end. Raises
    :class:`AccessDenied` for one beyond this process's confinement, unless its name is ``trusted``.
    """
    if not trusted:
        check_inside(path)
    try:
        _check_mode(path, os.stat(path).st_mode)
    except OSError as error:
        raise unreadable(path, error) from error


def _check_mode(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((words for is_kind, words in _KINDS if is_kind(mode)), "something else")
        raise InputError(f"{path} is {kind}, not a file; name a regular file.")


def open_regular(path: Path, *, trusted: bool = False) -> BinaryIO:
    """Open a regular file to read its bytes; nothing else, also where it was exchanged a moment ago.

    Raises as :func:`check_regular`.
    """
    check_regular(path, trusted=trusted)
    try:
        number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise unreadable(path, error) from error
    return _regular(path, number)


def open_unlinked(path: Path) -> BinaryIO:
    """As :func:`open_regular`, for a ``path`` on which there is no link, also where one was put there a moment ago.

    Raises :class:`AccessDenied` for one, and :class:`InputError`.
    """
    if os.open not in os.supports_dir_fd:
        return open_regular(path)
    try:
        folder = entered(Path(path.anchor), path.parent)
        try:
            number = os.open(path.name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW, dir_fd=folder)
        finally:
            os.close(folder)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise AccessDenied(f"{path} has become a link; take it away, or choose another folder.") from error
        raise unreadable(path, error) from error
    return _regular(path, number)


def _regular(path: Path, number: int) -> BinaryIO:
    """The open file of this number, which is closed where it is no regular one."""
    file = os.fdopen(number, "rb")
    try:
        _check_mode(path, os.fstat(number).st_mode)
    except InputError:
        file.close()
        raise
    return file


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises OSError, and ValueError where it is no JSON, or is nested without end."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def digest_of(path: Path, *, trusted: bool = False) -> str:
    """The SHA-256 of a file. Raises as :func:`check_regular` where it is no regular file that can be read."""
    with open_regular(path, trusted=trusted) as file:
        return digest_of_open(file)


def digest_of_open(file: BinaryIO) -> str:
    """The SHA-256 of all of a file that is open."""
    digest = hashlib.sha256()
    file.seek(0)
    while data := file.read(CHUNK):
        digest.update(data)
    return digest.hexdigest()


def stamp(path: Path) -> tuple[int, ...]:
    """What differs once a file was written or replaced, though its size and time be as before. Raises OSError.

    The last is the time of that, which copying with times, as rsync does, leaves alone.
    """
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns, found.st_ino, found.st_ctime_ns


def temporary_beside(path: Path) -> Path:
    """A hidden name in the folder of ``path``, with its suffix, that no other process on any machine has."""
    return path.with_name(f".{path.stem}.{secrets.token_hex(8)}.part{path.suffix}")


@contextmanager
def replacing(path: Path, *, parents: bool = False) -> Iterator[Path]:
    """A temporary file's name, for a file at ``path`` that is whole or not there, whoever else writes it meanwhile.

    What the block writes there takes the place of ``path`` when the block ends well, and is removed when it does not.
    With ``parents`` its folder is made where it is not there. Once the block has ended, the file outlives a loss of
    power.
    """
    with held(path.parent, make=parents) as folder:
        temporary = temporary_beside(folder / path.name)
        try:
            yield temporary
            to_disk(temporary)
            os.replace(temporary, folder / path.name)
            to_disk(folder)
        except OSError as error:
            if str(error.filename).startswith(str(folder)):
                # by the name that people know
                raise OSError(error.errno, error.strerror, str(path)) from error
            raise
        finally:
            temporary.unlink(missing_ok=True)


def to_disk(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to the disk; nothing where folders know no such thing."""
    try:
        number = os.open(path, os.O_RDONLY)
    except PermissionError:
        return  # a folder on Windows
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):
            raise
    finally:
        os.close(number)


def is_written(path: Path) -> bool:
    """Whether a file is there, and not empty, as some file systems leave one after a crash."""
    try:
        found = os.stat(path)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size > 0


def open_partial(part: Path, *, create: bool = True) -> BinaryIO:
    """Open a file that arrives in pieces at its end, to go on with it; ``create`` it where it is not there.

    Pieces are written where they belong, not appended: so several processes may receive the same file at once.
    """
    number = os.open(part, os.O_RDWR | (os.O_CREAT if create else 0) | getattr(os, "O_BINARY", 0), 0o666)
    file = os.fdopen(number, "r+b")
    file.seek(0, os.SEEK_END)
    return file


def complete(part: Path, path: Path, digest: str, found: str = "") -> bool:
    """Move a file that has arrived to ``path``; where its SHA-256 is not ``digest``, remove it and return False.

    ``found`` is its SHA-256 where that is known already. What has this name outlives a loss of power. Raises OSError
    where the disk fails; the file arrives anew then.
    """
    try:
        if (found or digest_of(part)) != digest:
            part.unlink()
            return False
        _flush_or_remove(part)
        os.replace(part, path)
        to_disk(path.parent)
    except (FileNotFoundError, InputError):
        # another process that received the same file was quicker
        return path.is_file()
    return True


def _flush_or_remove(part: Path) -> None:
    """Have a file on the disk. That it could not be is told once only: what is left must not pass for whole later."""
    try:
        to_disk(part)
    except FileNotFoundError:
        raise
    except OSError:
        part.unlink(missing_ok=True)
        raise


def remove_leftovers(folder: Path) -> None:
    """Remove below ``folder`` what writers that were killed left under temporary names; nobody may be writing there."""
    for leftover in [*folder.rglob(_TEMPORARY)]:
        leftover.unlink(missing_ok=True)


def write_atomically(path: Path, content: Union[str, bytes], *, parents: bool = False) -> None:
    """Write a file that is whole or not there, whatever happens meanwhile; text as UTF-8. ``parents`` as above."""
    with replacing(path, parents=parents) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def name_once(file: Path, name: Path) -> None:
    """Give the finished ``file`` that name too, unless there is one: of several processes, the first decides."""
    try:
        os.link(file, name)
    except FileExistsError:
        pass
    except OSError:
        # some file systems know no hard links
        os.replace(file, name)


def new_version_folder(
    out: Path, roots: Optional[Sequence[Path]] = None, owner: Optional[tuple[int, int]] = None
) -> Path:
    """Make the next free version folder, v001, v002, ..., in ``out``; no two callers get the same.

    Where ``roots`` are given, ``out`` is reached from one of them without a link, and held meanwhile. The folder is the
    ``owner``'s, a user and a group by their numbers. Raises :class:`InputError` where ``out`` is or lies in a file,
    :class:`AccessDenied` where there is a link on the way, or another folder has taken the new one's place,
    :class:`JobFailed` where the folder cannot be made.
    """
    try:
        with held(out, make=True) if roots is None else held_below(roots, out, make=True) as place:
            return out / _next_version(place, owner)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"The output folder {out} is no folder ({error.strerror}); name another.") from error
    except OSError as error:
        raise JobFailed(
            f"The output folder {out} cannot be written ({error.strerror}); choose another or free the disk."
        ) from error


def _next_version(place: Path, owner: Optional[tuple[int, int]]) -> str:
    """Make the next free version folder of ``owner``'s in ``place``; its name."""
    number = max((int(f.name[1:]) for f in place.iterdir() if f.name[:1] == "v" and f.name[1:].isdecimal()), default=0)
    while True:
        number += 1
        name = f"v{number:03d}"
        try:
            (place / name).mkdir()
        except FileExistsError:
            continue
        if owner is not None:
            _give(place / name, owner)
        return name


def _give(folder: Path, owner: tuple[int, int]) -> None:
    """Give a folder that was just made to ``owner``, who may have put something else in its place meanwhile.

    Neither a link nor what it leads to is given away, nor a folder that is somebody else's or holds anything.
    """
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(number).st_uid != os.geteuid() or os.listdir(number):
            raise AccessDenied(
                f"The new folder {folder.name} is not the one that was made: another has taken its place, or its disk "
                "gives it to another user; choose another output folder."
            )
        os.fchown(number, *owner)
    finally:
        os.close(number)
