"""What was worked out a short while ago, and is asked for again and again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """What takes memory, as arrays do."""

    @property
    def nbytes(self) -> int:
        """How much, in bytes."""


Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value", bound=Sized)


class Recent(Generic[Key, Value]):
    """The values that ``make`` gave for the keys that were asked for last, in ``memory`` bytes, at least one.

    One thread makes a value, and whoever else asks for it meanwhile waits. What fails is made anew the next time.
    """

    def __init__(self, make: Callable[[Key], Value], memory: int) -> None:
        self._make, self._memory = make, memory
        self._values: OrderedDict[Key, Future[Value]] = OrderedDict()
        self._sizes: dict[Key, int] = {}
        self._lock = threading.Lock()

    def __getitem__(self, key: Key) -> Value:
        with self._lock:
            asked = key not in self._values
            value = self._values.setdefault(key, Future())
            self._values.move_to_end(key)
        if asked:
            self._fulfil(key, value)
        return value.result()

    def _fulfil(self, key: Key, value: Future[Value]) -> None:
        try:
            made = self._make(key)
        except BaseException as error:
            with self._lock:
                del self._values[key]
            value.set_exception(error)
            return
        value.set_result(made)
        with self._lock:
            self._sizes[key] = made.nbytes
            for oldest in list(self._values):
                if sum(self._sizes.values()) <= self._memory or len(self._sizes) == 1:
                    break
                # what is still being made is no memory yet
                if self._sizes.pop(oldest, None) is not None:
                    del self._values[oldest]
