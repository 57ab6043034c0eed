"""The processes that read pictures: a malformed file costs its own picture, not the page."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import ParamSpec, TypeVar

from ..api.confinement import confined
from ..api.errors import ImageError

P = ParamSpec("P")
R = TypeVar("R")

_PROCESSES = 2
#: The bytes of memory that one process may use.
_MEMORY = 16 << 30


class Darkroom:
    """Runs functions on pictures in processes that read and write below the folders ``roots`` alone."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = tuple(roots)
        self._pool = self._new_pool()

    @staticmethod
    def _new_pool() -> ProcessPoolExecutor:
        # a fork would copy the threads' locks
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(_PROCESSES, context, initializer=_limit)

    def allow(self, roots: Sequence[Path]) -> None:
        """Let the functions read and write below these folders too."""
        self._roots = tuple(dict.fromkeys((*self._roots, *roots)))

    async def develop(self, work: Callable[P, R], *args: P.args, **named: P.kwargs) -> R:
        """What a function returns, which is run in one of the processes. Raises what it raises.

        Raises :class:`ImageError` where the process does not survive it.
        """
        assert not named, "arguments travel by their places"
        pool = self._pool
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, _within, self._roots, work, args)
        except BrokenProcessPool as error:
            if pool is self._pool:
                self._pool = self._new_pool()
            raise ImageError("A picture could not be read: whatever reads it has died; is it damaged?") from error

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _within(roots: Sequence[Path], work: Callable[..., R], args: Sequence[object]) -> R:
    with confined(roots):
        return work(*args)


def _limit() -> None:
    """Bound the memory of this process, where the system can, and leave the signals of a terminal to the parent."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        import resource
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = _MEMORY if hard == resource.RLIM_INFINITY else min(_MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
