"""Names, sizes and dates of the files of a sequence: by them a changed file is seen."""

from __future__ import annotations

import glob
import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import Iterable

#: What stands for frame and view in the name of a sequence.
_NUMBERED = re.compile(r"%0?\d*d|#+|%[vV]")
#: A disk on the network answers many questions at once as fast as one.
_AT_ONCE = 16


def pattern(path: str) -> str:
    """The files of a sequence as a pattern for :class:`Stamps`: a star for frame and view, in its folders too."""
    return "*".join(map(glob.escape, _NUMBERED.split(path)))


class Stamps:
    """Each sequence is looked at once, however often it is asked for; any thread may do so."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def of(self, files: str) -> str:
        """The files that fit a pattern, a line each; empty where there are none."""
        if files not in self._known:
            with ThreadPoolExecutor(_AT_ONCE) as threads:
                self._known[files] = "".join(_lines(threads.map(_stamp, sorted(glob.iglob(files)))))
        return self._known[files]


def _stamp(file: str) -> str:
    try:
        status = os.stat(file)
    except OSError:
        # gone since it was listed, or a link to nothing: as if it were not there
        return ""
    if not stat.S_ISREG(status.st_mode):
        # a folder changes with everything that comes into it
        return ""
    return f"{file} {status.st_size} {status.st_mtime_ns}"


def _lines(stamps: Iterable[str]) -> Iterable[str]:
    return (f"{stamp}\n" for stamp in stamps if stamp)
