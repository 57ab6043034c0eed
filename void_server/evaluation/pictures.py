"""The frames of a shot, read when they are looked at: a long shot never sits in memory at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Generic, TypeVar

from numpy.typing import NDArray

Picture = TypeVar("Picture", bound=NDArray[Any])

#: So many bytes of frames are remembered, of all shots together: most are looked at in order, and some around each.
REMEMBERED = 2**30


class Pictures(Generic[Picture]):
    """``count`` arrays by frame index, each made by ``read`` when it is asked for. Not to be written to."""

    _known: ClassVar[OrderedDict[tuple[Pictures[Any], int], NDArray[Any]]] = OrderedDict()
    _bytes: ClassVar[int] = 0

    def __init__(self, read: Callable[[int], Picture], count: int) -> None:
        self._read, self._count = read, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Picture:
        if not 0 <= index < self._count:
            raise IndexError(index)
        known, key = Pictures._known, (self, index)
        if key not in known:
            picture = self._read(index)
            picture.flags.writeable = False
            known[key] = picture
            Pictures._bytes += picture.nbytes
            while len(known) > 1 and Pictures._bytes > REMEMBERED:
                Pictures._bytes -= known.popitem(last=False)[1].nbytes
            return picture
        known.move_to_end(key)
        return known[key]  # type: ignore[return-value]

    def __iter__(self) -> Iterator[Picture]:
        return (self[index] for index in range(self._count))
