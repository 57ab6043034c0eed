"""Calls of file systems that may never answer, such as a mount whose server is gone."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

from ..api.errors import JobFailed

Result = TypeVar("Result")

#: Seconds after which a file system is taken not to answer, so many times more where whole files are read, and calls
#: that may hang at once.
SECONDS, _MORE, _HANGING = 20.0, 6, 64


class Disks:
    """Has the file systems of jobs asked, each time in a thread of its own.

    One that hangs keeps nobody from the others: neither the loop, nor the threads that others share, nor the end of
    the process.
    """

    def __init__(self) -> None:
        self._hanging = 0

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

        threading.Thread(target=run, daemon=True).start()
        try:
            return await asyncio.wait_for(future, seconds)
        except asyncio.TimeoutError as error:
            if not ended.is_set():
                late.set()
                self._hanging += 1
            raise JobFailed(
                f"The disk of this job has not responded for {seconds:g} s; check that it is mounted, and try again."
            ) from error
