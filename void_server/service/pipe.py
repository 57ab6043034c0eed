"""The line between the server and a worker: messages as msgpack over the pipes that the worker was started with.

A pipe has no address, so nobody but the two processes can use it, on any system.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import msgpack

from ..api.messages import MAX_FRAME

_PIECE = 2**16


def messages_from(file: int) -> Iterator[Any]:
    """Yield the messages from the pipe with this file descriptor, until its other end closes.

    Raises ValueError or msgpack's errors for anything else.
    """
    unpacker = msgpack.Unpacker(max_buffer_size=MAX_FRAME)
    while piece := os.read(file, _PIECE):
        unpacker.feed(piece)
        yield from unpacker
