"""The frames of a shot, read when they are looked at: a long shot never sits in memory at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from numpy.typing import NDArray

Picture = TypeVar("Picture", bound=NDArray[Any])

#: So many bytes of frames are remembered; most shots are looked at in order, and some frames around one.
_REMEMBERED = 512 * 2**20


class Pictures(Generic[Picture]):
    """``count`` arrays by frame index, each made by ``read`` when it is asked for, the last ones remembered."""

    def __init__(self, read: Callable[[int], Picture], count: int) -> None:
        self._read, self._count = read, count
        self._known: OrderedDict[int, Picture] = OrderedDict()

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Picture:
        if not 0 <= index < self._count:
            raise IndexError(index)
        if index in self._known:
            self._known.move_to_end(index)
            return self._known[index]
        picture = self._known[index] = self._read(index)
        while len(self._known) > 1 and sum(known.nbytes for known in self._known.values()) > _REMEMBERED:
            self._known.popitem(last=False)
        return picture

    def __iter__(self) -> Iterator[Picture]:
        return (self[index] for index in range(self._count))
