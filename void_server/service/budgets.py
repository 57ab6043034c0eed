"""Each user's share of the time of the server's loop, in which all requests are answered, one step after the other."""

from __future__ import annotations

import asyncio
import time
import types
from collections.abc import Callable, Coroutine, Generator, Hashable
from functools import partial
from typing import Any, TypeVar

Result = TypeVar("Result")

#: The share of the loop's time that goes to one user for long, and the seconds of it that may be taken at once.
SHARE, SAVED = 0.1, 1.0


class Budgets:
    """Who takes more than a share of the loop's time waits, and so nobody else does.

    What counts is the processor time of a request's steps in the loop: neither other programs on the machine, nor what
    threads do for it.
    """

    def __init__(self) -> None:
        # the seconds that each had left, and when; whoever is not there has all
        self._left: dict[Hashable, tuple[float, float]] = {}

    def left(self, payer: Hashable) -> float:
        """The seconds that somebody may take now; below 0 where more than that was taken."""
        now = time.monotonic()
        left, then = self._left.get(payer, (SAVED, now))
        return min(SAVED, left + SHARE * (now - then))

    def spend(self, payer: Hashable, seconds: float) -> None:
        """Take so much from what somebody may take."""
        self._left[payer] = self.left(payer) - seconds, time.monotonic()

    def forget(self) -> None:
        """Keep nothing of those who have all of their budget; called now and then."""
        self._left = {payer: left for payer, left in self._left.items() if self.left(payer) < SAVED}

    async def charged(self, payer: Hashable, work: Callable[[], Coroutine[Any, Any, bool]]) -> None:
        """Do some work for somebody, as soon as the budget allows it; it is free if that says so."""
        while (left := self.left(payer)) < 0:
            await asyncio.sleep(-left / SHARE)
        steps: list[float] = []
        try:
            if await _timed(work(), steps.append):
                steps.clear()
        finally:
            self.spend(payer, sum(steps))


@types.coroutine
def _timed(work: Coroutine[Any, Any, Result], tell: Callable[[float], None]) -> Generator[Any, None, Result]:
    """Do ``work``, and ``tell`` the seconds of processor time of each of its steps."""
    step = partial(work.send, None)
    while True:
        begin = time.thread_time()
        try:
            waits_for = step()
        except StopIteration as end:
            return end.value
        finally:
            tell(time.thread_time() - begin)
        try:
            yield waits_for
            step = partial(work.send, None)
        except BaseException as error:
            step = partial(work.throw, error)
