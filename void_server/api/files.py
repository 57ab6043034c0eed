"""Files and folders as client and server both handle them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Union

from .errors import InputError, JobFailed
from .messages import CHUNK


def digest_of(path: Path) -> str:
    """The SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while data := file.read(CHUNK):
            digest.update(data)
    return digest.hexdigest()


def write_atomically(path: Path, content: Union[str, bytes]) -> None:
    """Write a file that is whole or not there, whatever happens meanwhile; text as UTF-8."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    os.replace(temporary, path)


def new_version_folder(out: Path) -> Path:
    """Make the next free version folder, v001, v002, ..., in ``out``; no two callers get the same.

    Raises :class:`InputError` where ``out`` is or lies in a file, :class:`JobFailed` where it cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        numbers = [int(f.name[1:]) for f in out.iterdir() if f.name[:1] == "v" and f.name[1:].isdigit()]
        number = max(numbers, default=0)
        while True:
            number += 1
            folder = out / f"v{number:03d}"
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"The output folder {out} is no folder ({error.strerror}); name another.") from error
    except OSError as error:
        raise JobFailed(
            f"The output folder {out} cannot be written ({error.strerror}); choose another or free the disk."
        ) from error
