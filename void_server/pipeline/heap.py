"""The process's memory while it runs a job: frames that are freed are the next frames' memory.

The C library gives large blocks back to the system as soon as they are freed, and the system clears every page that it
hands out again. Of frames of 50 to 100 MB, dozens a frame, that is a quarter of a job's processor time.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

# glibc's malloc.h
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -3, -4, -8
#: All in one heap, where each thread finds what another has freed, and up to 2 GB of it kept.
_KEPT = {_ARENA_MAX: 1, _MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1}
#: What the library arrives at by itself; that there is one heap only stays.
_USUAL = {_MMAP_MAX: 2**16, _MMAP_THRESHOLD: 2**25, _TRIM_THRESHOLD: 2**26}


@contextmanager
def kept() -> Iterator[None]:
    """Keep what is freed meanwhile for what is asked for next; all of it goes back to the system in the end.

    With another C library than glibc, nothing changes. Threads that are there before keep heaps of their own, so
    workers are started with one heap for all (``MALLOC_ARENA_MAX``).
    """
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    library = ctypes.CDLL(None)
    _set(library, _KEPT)
    try:
        yield
    finally:
        _set(library, _USUAL)
        library.malloc_trim(0)


def _set(library: ctypes.CDLL, values: dict[int, int]) -> None:
    for name, value in values.items():
        library.mallopt(name, value)
