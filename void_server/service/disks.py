"""Calls of file systems that may never answer, such as a mount whose server is gone."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import TypeVar

from ..api.errors import JobFailed

Result = TypeVar("Result")

#: Seconds after which a file system is taken not to answer, so many times more where whole files are read, and calls
#: that may hang at once.
SECONDS, _MORE, _HANGING = 20.0, 6, 64
#: Threads that are kept for further calls.
_KEPT = 16


class Disks:
    """Has the file systems of jobs asked, each time in a thread that does nothing else meanwhile.

    One that hangs keeps nobody from the others: neither the loop, nor threads that others wait for, nor the end of
    the process. Threads are used again, as whoever starts one waits until it has run.
    """

    def __init__(self) -> None:
        self._hanging = self._idle = 0
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    async def ask(self, work: Callable[[], Result], *, whole_files: bool = False) -> Result:
        """What ``work`` gives or raises. Raises :class:`JobFailed` where that takes too long.

        With ``whole_files`` it may take longer, as it reads or copies some.
        """
        seconds = SECONDS * _MORE if whole_files else SECONDS
        if self._hanging >= _HANGING:
            raise JobFailed("The disks of too many jobs do not respond; ask whoever runs the server, then try again.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        late, ended = asyncio.Event(), asyncio.Event()

        def tell(result: Result | None, error: Exception | None) -> None:
            ended.set()
            self._spared()
            if future.done():
                # nobody waited any more
                self._hanging -= late.is_set()
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]

        def run() -> None:
            result, raised = None, None
            try:
                result = work()
            except Exception as error:  # told to whoever asks for the result
                raised = error
            # the server may have ended meanwhile
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(tell, result, raised)

        self._have_run(run)
        try:
            return await asyncio.wait_for(future, seconds)
        except asyncio.TimeoutError as error:
            if not ended.is_set():
                late.set()
                self._hanging += 1
            raise JobFailed(
                f"The disk of this job has not responded for {seconds:g} s; check that it is mounted, and try again."
            ) from error

    def _have_run(self, call: Callable[[], None]) -> None:
        """Give a call to a thread that has nothing to do, or to a new one; in the loop."""
        if self._idle:
            self._idle -= 1
        else:
            threading.Thread(target=self._run_calls, daemon=True).start()
        self._calls.put(call)

    def _run_calls(self) -> None:
        while call := self._calls.get():
            call()
            # what it holds is not kept until the next one
            del call

    def _spared(self) -> None:
        """Keep a thread whose call has ended, or have it end; in the loop."""
        if self._idle < _KEPT:
            self._idle += 1
        else:
            self._calls.put(None)
