"""Each user's share of the time of the server's loop, in which all requests are answered, one step after the other."""

from __future__ import annotations

import asyncio
import math
import time
import types
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Hashable
from functools import partial
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from ..api.errors import ServerBusy

Result = TypeVar("Result")

#: The share of the loop's time that goes to one user for long, and the seconds of it that may be taken at once.
SHARE, SAVED = 0.1, 1.0
#: For so many seconds a request waits until its user may take time again; for a longer wait it is refused at once.
PATIENCE = 1.0
#: The most requests that are under way or wait: of a connection, of a user on all connections, and these in bytes.
OF_CONNECTION, OF_USER, BYTES = 8, 256, 128 * 2**20


class UnderWay:
    """The requests that are under way or wait, and their bytes, of each connection and of each payer."""

    def __init__(self) -> None:
        self._count: Counter[Hashable] = Counter()
        self._bytes: Counter[Hashable] = Counter()

    def __getitem__(self, one: Hashable) -> int:
        """How many a connection or a payer has."""
        return self._count[one]

    def have_room(self, connection: bytes, payer: Hashable, size: int) -> bool:
        """Whether another one, of so many bytes, stays within the limits."""
        return (
            self._count[connection] < OF_CONNECTION
            and self._count[payer] < OF_USER
            and self._bytes[payer] + size <= BYTES
        )

    def begin(self, connection: bytes, payer: Hashable, size: int) -> None:
        """Count a request that has come."""
        for one in {connection, payer}:
            self._count[one] += 1
            self._bytes[one] += size

    def end(self, connection: bytes, payer: Hashable, size: int) -> None:
        """Count one no more that was answered."""
        for one in {connection, payer}:
            self._count[one] -= 1
            self._bytes[one] -= size
            if not self._count[one]:
                del self._count[one], self._bytes[one]


class Budgets:
    """Who takes more than a share of the loop's time waits, and so nobody else does.

    What counts is the processor time of a request's steps in the loop: neither other programs on the machine, nor what
    threads do for it.
    """

    def __init__(self) -> None:
        # the seconds that each had left, and when; whoever is not there has all
        self._left: dict[Hashable, tuple[float, float]] = {}
        # of each, whose requests begin one after the other, as they came
        self._turns: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()

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
        """Do some work for somebody, as soon as the budget allows it; it is free if that says so.

        What was asked for first begins first. Each step is paid when it is done, so that those who wait know of it.
        Raises :class:`ServerBusy`, before anything is done, where that would take too long.
        """
        latest = time.monotonic() + PATIENCE
        # whoever has the turn keeps it until the budget allows the first step, which follows without a pause
        async with self._turns.setdefault(payer, asyncio.Lock()):
            while (left := self.left(payer)) < 0:
                wait = -left / SHARE
                if time.monotonic() + wait > latest:
                    raise ServerBusy(
                        f"Your requests take more than your share of this server's time; wait {math.ceil(wait)} s."
                    )
                await asyncio.sleep(wait)
        paid = 0.0

        def pay(seconds: float) -> None:
            nonlocal paid
            paid += seconds
            self.spend(payer, seconds)

        if await _timed(work(), pay):
            self.spend(payer, -paid)


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
