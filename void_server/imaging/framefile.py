"""Arrays of one shape and type, frame after frame in one file, for data too large for memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..api.files import replacing


class FrameFile:
    """A file of equally shaped arrays. Read with plain reads, so that memory holds no more than what is asked for."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._path, self._shape, self._dtype = path, shape, np.dtype(dtype)
        self._count = math.prod(shape)

    @property
    def whole(self) -> bool:
        """Whether it was written; it is there only when all of it is."""
        return self._path.is_file()

    def remove(self) -> None:
        """Remove the file, if it is there."""
        self._path.unlink(missing_ok=True)

    @contextmanager
    def writing(self) -> Iterator[Callable[[NDArray[Any]], None]]:
        """A function that appends an array, to a file that takes its place when it is whole."""
        with replacing(self._path, parents=True) as temporary, open(temporary, "wb") as file:

            def append(array: NDArray[Any]) -> None:
                file.write(np.ascontiguousarray(array, self._dtype).tobytes())

            yield append

    def write(self, arrays: Iterable[NDArray[Any]]) -> None:
        """Write ``arrays`` in order, in place of whatever the file held."""
        with self.writing() as append:
            for array in arrays:
                append(array)

    def __getitem__(self, index: int) -> NDArray[Any]:
        offset = index * self._count * self._dtype.itemsize
        return np.fromfile(self._path, self._dtype, self._count, offset=offset).reshape(self._shape)
