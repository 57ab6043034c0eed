"""The compressed blocks of rows that a scanline EXR consists of, so that those that stay are copied as they are.

Only the container is known here, and no compression: magic number, header, table of offsets, blocks (OpenEXR File
Layout, openexr.com).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..api.errors import ImageError

_MAGIC = 20000630
#: Bits of the version that stand for tiles, deep pixels and several parts.
_OTHER_KINDS = 0x200 | 0x800 | 0x1000
#: Rows in a block, by the number of a compression that loses nothing: none, RLE, ZIPS, ZIP and PIZ.
_ROWS = {0: 1, 1: 1, 2: 1, 3: 16, 4: 32}
#: More than any header that we have seen.
_LONGEST_HEADER = 2**24


class Blocks(NamedTuple):
    """Where the blocks of a file lie.

    ``header`` is all before the table of ``offsets``, and ``window_at`` says where in it the data window stands;
    ``first`` and ``last`` are the numbers of its rows, and ``rows`` is how many a block holds. Files of equal ``kind``
    hold the same channels in the same compression, row by row.
    """

    header: bytes
    window_at: int
    first: int
    last: int
    rows: int
    kind: tuple[bytes, ...]
    offsets: NDArray[np.uint64]

    def span(self, begin: int, end: int) -> tuple[int, int]:
        """The rows [begin, end) grown to whole blocks."""
        begin -= (begin - self.first) % self.rows
        end += (self.first - end) % self.rows
        return begin, min(end, self.last + 1)


def find(path: Path) -> Blocks | None:
    """The blocks of a file; None where they cannot be copied one by one: tiles, several parts, lossy compression, a
    header that is too long.

    Raises :class:`ImageError` where the file is cut short.
    """
    with open(path, "rb") as file:
        start = file.read(8)
        if len(start) < 8:
            return None
        magic, version = struct.unpack("<II", start)
        if magic != _MAGIC or version & _OTHER_KINDS:
            return None
        values: dict[bytes, tuple[int, bytes]] = {}
        while name := _word(file):
            _word(file)
            size = struct.unpack("<I", _exactly(file, 4, path))[0]
            if file.tell() + size > _LONGEST_HEADER:
                return None
            values[name] = file.tell(), _exactly(file, size, path)
        header_size = file.tell()
        if not {b"compression", b"lineOrder", b"dataWindow", b"channels"} <= values.keys():
            return None
        rows = _ROWS.get(values[b"compression"][1][0])
        window_at, window = values[b"dataWindow"]
        left, first, right, last = struct.unpack("<4i", window)
        if rows is None or values[b"lineOrder"][1] != b"\0":
            return None
        count = -(-(last - first + 1) // rows)
        offsets = np.frombuffer(_exactly(file, 8 * count, path), "<u8")
        if not offsets.all():
            # never completed; who unpacks it finds the blocks or says what is wrong
            return None
        file.seek(0)
        kind = values[b"channels"][1], values[b"compression"][1], struct.pack("<2i", left, right)
        return Blocks(file.read(header_size), window_at, first, last, rows, kind, offsets)


def _word(file: BinaryIO) -> bytes:
    letters = bytearray()
    while (letter := file.read(1)) not in (b"\0", b"") and file.tell() < _LONGEST_HEADER:
        letters += letter
    return bytes(letters)


def _exactly(file: BinaryIO, size: int, path: Path) -> bytes:
    # a size that is wrong takes no memory
    if not 0 <= size <= os.fstat(file.fileno()).st_size - file.tell():
        raise ImageError(f"{path} is damaged or cut short; write the frame again.")
    return file.read(size)


def _copies(blocks: Blocks, path: Path, begin: int, end: int) -> Iterator[bytes]:
    """The blocks of ``path`` that hold the rows [begin, end)."""
    if begin >= end:
        return
    with open(path, "rb") as file:
        for number in range((begin - blocks.first) // blocks.rows, -(-(end - blocks.first) // blocks.rows)):
            file.seek(int(blocks.offsets[number]))
            head = _exactly(file, 8, path)
            row, size = struct.unpack("<iI", head)
            if row != blocks.first + number * blocks.rows:
                raise ImageError(f"{path} is damaged or cut short; write the frame again.")
            yield head + _exactly(file, size, path)


def splice(source: Path, changed: Path, target: Path) -> bool:
    """Write ``source`` to ``target`` with the blocks and the header of ``changed``, whose data window is some of its
    rows; every other block is copied as it is.

    False, and nothing is written, where the two do not fit. Raises :class:`ImageError` where the source is damaged,
    OSError where the target cannot be written.
    """
    old, new = find(source), find(changed)
    if (
        old is None
        or new is None
        or old.kind != new.kind
        or (new.first, new.last + 1) != old.span(new.first, new.last + 1)
    ):
        return False
    window = old.header[old.window_at : old.window_at + 16]
    header = new.header[: new.window_at] + window + new.header[new.window_at + 16 :]
    with open(target, "wb") as file:
        offsets = np.zeros_like(old.offsets)
        file.write(header + offsets.tobytes())
        number = 0
        for blocks, path, begin, end in (
            (old, source, old.first, new.first),
            (new, changed, new.first, new.last + 1),
            (old, source, new.last + 1, old.last + 1),
        ):
            for block in _copies(blocks, path, begin, end):
                offsets[number] = file.tell()
                file.write(block)
                number += 1
        file.seek(len(header))
        file.write(offsets.tobytes())
    return True


def surround(some: Path, target: Path, first: int, last: int) -> None:
    """Write rows of a file to ``target``, between others that all look like the last of them.

    ``some`` holds rows each packed by itself, and as its last one what all rows [first, last] look like that are not in
    it. Raises OSError where the target cannot be written.
    """
    inner = find(some)
    if inner is None or inner.rows != 1:
        raise ValueError(f"{some} has no rows that are packed one by one.")
    packed = some.read_bytes()
    own = [packed[at : at + 8 + struct.unpack_from("<I", packed, at + 4)[0]] for at in inner.offsets.tolist()]
    beyond = own.pop()[4:]
    left, _, right, _ = struct.unpack_from("<4i", inner.header, inner.window_at)
    window = struct.pack("<4i", left, first, right, last)
    header = inner.header[: inner.window_at] + window + inner.header[inner.window_at + 16 :]
    rows = [
        own[row - inner.first] if 0 <= row - inner.first < len(own) else struct.pack("<i", row) + beyond
        for row in range(first, last + 1)
    ]
    begin = len(header) + 8 * len(rows)
    offsets = begin + np.cumsum([0, *map(len, rows[:-1])], dtype="<u8")
    with open(target, "wb") as file:
        file.write(header + offsets.astype("<u8").tobytes())
        file.writelines(rows)
