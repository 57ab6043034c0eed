"""What OpenImageIO complains of."""

from __future__ import annotations

from typing import Any


def complaint(of: Any) -> str:
    """The last error of OpenImageIO, or of an object of its; what that quotes of a file need not be text."""
    try:
        return str(of.geterror())
    except UnicodeDecodeError as error:
        return error.object.decode(errors="replace")
