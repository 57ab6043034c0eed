"""Process frames on all cores, or ahead of their use, in order, holding only a few at a time."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar, cast

Item = TypeVar("Item")
Result = TypeVar("Result")


#: More cores make a job hardly shorter, and each has frames in memory.
_MOST = 16

_here = threading.local()


def cores() -> int:
    """The number of cores that work on a job: those that this process may use, up to 16."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, _MOST)


def in_order(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
    """Yield each item with its result, in the items' order; one more than there are cores is under way at any time.

    Threads suffice, since OpenImageIO, OpenCV and NumPy release the GIL while they work. What itself runs in such a
    thread has its core, and goes one by one.
    """
    if getattr(_here, "busy", False):
        yield from ((item, work(item)) for item in items)
        return
    pending: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(cores(), initializer=lambda: setattr(_here, "busy", True)) as pool:
        try:
            for item in items:
                pending.append((item, pool.submit(work, item)))
                if len(pending) > cores():
                    first, future = pending.popleft()
                    yield first, future.result()
            while pending:
                first, future = pending.popleft()
                yield first, future.result()
        finally:
            for _, future in pending:
                future.cancel()


def results(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield the results alone, as :func:`in_order` does with their items."""
    return (result for _, result in in_order(work, items))


def for_each(work: Callable[[Item], object], items: Iterable[Item]) -> None:
    """Do ``work`` with each item, as :func:`in_order` does; of several errors the first item's is raised."""
    for _ in results(work, items):
        pass


def ahead(items: Iterable[Item], most: int = 2) -> Iterator[Item]:
    """Yield ``items``, of which up to ``most`` are made by a thread while the one before is used.

    What fails there is raised where the item would have come. Whoever stops early waits for the item under way alone.
    """
    source = iter(items)
    pending: deque[Future[tuple[bool, Item | None]]] = deque()

    def following() -> tuple[bool, Item | None]:
        for item in source:
            return True, item
        return False, None

    # one thread, so one item after the other
    with ThreadPoolExecutor(1) as pool:
        try:
            pending.extend(pool.submit(following) for _ in range(most))
            while True:
                there, item = pending.popleft().result()
                if not there:
                    return
                pending.append(pool.submit(following))
                yield cast(Item, item)
        finally:
            for future in pending:
                future.cancel()
