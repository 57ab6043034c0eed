"""Restrict a server to paths below its roots, with no links out of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..api.errors import AccessDenied
from ..api.shot import Shot


def below_roots(path: str | Path, roots: Sequence[Path]) -> Path:
    """Resolve ``path``, symbolic links included. Raises :class:`AccessDenied` if it is not below one of the roots.

    Relative paths are refused: a client knows neither the server's working folder nor its user's home.
    """
    if not roots:
        raise AccessDenied("This server accepts uploads only; start it with --root FOLDER, or use --transfer upload.")
    if not Path(path).is_absolute() or "\0" in str(path):
        raise AccessDenied(f"{str(path)!r} is not an absolute path; give one that begins with / or a drive.")
    # unlike Path.resolve it takes a loop of links, too, which nobody can open then
    resolved = Path(os.path.realpath(path))
    if not any(resolved.is_relative_to(os.path.realpath(root)) for root in roots):
        listed = ", ".join(str(root) for root in roots)
        raise AccessDenied(
            f"{path} is outside the folders this server may use ({listed}); move it there, or "
            "start the server with another --root."
        )
    return resolved


def check_shot(shot: Shot, roots: Sequence[Path]) -> None:
    """Raise :class:`AccessDenied` unless all files that a shot names lie below the roots, themselves and not only by
    name. Reads the file system, so call it where that may block.
    """
    named = shot.paths()
    for value in named.values():
        # never even look for anything outside
        below_roots(value, roots)
    from ..imaging import sequence  # slow to load, and the server itself needs it not

    for role, value in named.items():
        files = [Path(value)] if role in Shot.FILES else list(sequence.find(value, role).files.values())
        for file in dict.fromkeys(files):
            below_roots(file, roots)
