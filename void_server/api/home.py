"""Where server and plugin keep what must outlive them."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The state folder: ``$VOID_HOME``, else ``~/.void``."""
    return Path(os.environ.get("VOID_HOME") or Path.home() / ".void")
