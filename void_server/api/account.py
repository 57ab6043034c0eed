"""Who runs this."""

from __future__ import annotations

import getpass
import os

#: Names who runs this where the system knows no name, as in many containers, or one that says nothing.
ENVIRONMENT = "VOID_USER"


def user() -> str:
    """The name of whoever runs this: ``$VOID_USER``, else the account's, else its number where it has no name."""
    if named := os.environ.get(ENVIRONMENT, "").strip():
        return named
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        # a container's user without an entry in passwd; Windows, with none of the variables that name one
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"
