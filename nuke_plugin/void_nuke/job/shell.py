"""Command lines that artists copy into a shell."""

from __future__ import annotations

import re
import shlex
import sys
from typing import Sequence

from void_server.api.errors import SettingError

_PLAIN_IN_WINDOWS = re.compile(r"[\w./\\:=@+-]+", re.ASCII)


def command(words: Sequence[str], *, windows: bool = sys.platform == "win32") -> str:
    """The words as one line that the system's shell takes apart into the same words.

    Raises :class:`SettingError` where no line does that: a shell reads control characters as keys, and Windows' own
    fills in what stands between percent signs, in quotes, too.
    """
    for word in words:
        wrong = next((c for c in word if not c.isprintable() or (windows and c in '"%')), None)
        if wrong is not None:
            raise SettingError(f"{word!r} contains {wrong!r}, which a shell would not pass on unchanged; rename it.")
    return " ".join(map(_in_windows if windows else shlex.quote, words))


def _in_windows(word: str) -> str:
    if _PLAIN_IN_WINDOWS.fullmatch(word):
        return word
    # a backslash before the closing quote would keep it open
    backslashes = len(word) - len(word.rstrip("\\"))
    return f'"{word}{backslashes * chr(92)}"'
