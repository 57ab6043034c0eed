"""Where server and plugin keep what must outlive them."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import ServerRefused, SettingError


def home() -> Path:
    """The state folder: ``$VOID_HOME``, else ``~/.void``. Raises :class:`SettingError` where there is neither."""
    if named := os.environ.get("VOID_HOME"):
        return Path(named)
    try:
        return Path.home() / ".void"
    except RuntimeError as error:
        raise SettingError(
            "This account has no home folder; set $VOID_HOME to a folder that VOID may write."
        ) from error


def made(folder: Path) -> Path:
    """A folder of the state, made where it is not there. Raises :class:`ServerRefused` where it cannot be written."""
    try:
        # keys and footage are nobody else's
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        problem = error.strerror
    else:
        if os.access(folder, os.W_OK):
            return folder
        problem = "it is read-only"
    raise ServerRefused(
        f"VOID cannot keep its state in {folder} ({problem}); set $VOID_HOME to a folder that it may write."
    )
