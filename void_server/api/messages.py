"""The messages between clients and the server: a versioned envelope, packed with msgpack.

A request is ``{"protocol", "id", "verb", "body"}``. Its answer is ``{"protocol", "id", "body"}`` or, where it failed,
``{"protocol", "id", "error"}``. A piece of a file follows as it is, as a second frame: it is the body's ``data``. What
the server says unasked has the id 0 and the body of a job, or the error of a message that it could not or did not read.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Mapping, Sequence, TypeVar, Union

import msgpack

from .errors import ProtocolError, VoidError, from_dict

PROTOCOL = 2
#: Larger messages are refused; files travel in chunks.
MAX_MESSAGE = 8 * 2**20
#: Who sends more than this at once is cut off, and gets no answer.
MAX_FRAME = 2 * MAX_MESSAGE
#: A message that holds more values is refused: a byte can claim an object, which takes a hundred.
MAX_VALUES = 500_000
#: To a server that many share, a value with a name counts as so many: names take as long to read.
NAMED = 10
#: The id of what nobody asked for, and of the refusal of a message whose own id could not be read.
UNASKED = 0

Read = TypeVar("Read")
#: Bytes as they are, or where ZeroMQ keeps them.
Bytes = Union[bytes, memoryview]


def packed(content: Mapping[str, Any]) -> bytes:
    """Plain data as msgpack; names of files that are no Unicode are escaped."""
    return bytes(msgpack.packb(content, unicode_errors="backslashreplace"))


def pack(number: int, **content: Any) -> bytes:
    """An envelope with this message id."""
    return packed({"protocol": PROTOCOL, "id": number, **content})


def frames_of(number: int, body: Any, **content: Any) -> list[bytes]:
    """The frames of a message; a body's ``data`` is one of its own, as packing it would copy it several times."""
    if not isinstance(body, Mapping) or not isinstance(body.get("data"), bytes):
        return [pack(number, body=body, **content)]
    others = {name: value for name, value in body.items() if name != "data"}
    return [pack(number, body=others, **content), body["data"]]


def pack_error(number: int, error: VoidError) -> bytes:
    """The answer to a request that failed."""
    return pack(number, error=error.to_dict())


def opened(frames: Sequence[Bytes], named: int = 1) -> dict[str, Any]:
    """The message in these frames, with the body's ``data`` as it came. ``named`` and errors as of :func:`unpack`."""
    if len(frames) not in (1, 2):
        raise ProtocolError(f"The message is malformed: {len(frames)} frames; are both sides VOID?")
    message = unpack(frames[0], named)
    if len(frames) == 2:
        if not isinstance(message.get("body"), dict):
            raise ProtocolError("The message is malformed: a piece of a file and no body; are both sides VOID?")
        message["body"]["data"] = frames[1]
    return message


def unpack(data: Bytes, named: int = 1) -> dict[str, Any]:
    """Open an envelope, in which a value with a name counts as ``named`` ones.

    Raises :class:`ProtocolError`, and nothing else, for what is too large, no msgpack, no envelope, or of another
    protocol.
    """
    if len(data) > MAX_MESSAGE:
        raise ProtocolError(
            f"The message is too large: {len(data)} bytes, {MAX_MESSAGE} at most; send files in chunks."
        )
    try:
        count = _counting()
        message = msgpack.unpackb(
            data,
            list_hook=partial(count, 1),
            object_hook=partial(count, named),
            max_array_len=MAX_VALUES,
            max_map_len=MAX_VALUES // named,
        )
    except Exception as error:  # whatever it is, the bytes are to blame
        raise ProtocolError("The message is malformed: not msgpack; are both sides VOID?", str(error)) from error
    if not isinstance(message, dict) or not isinstance(message.get("id"), int):
        raise ProtocolError("The message is malformed: no envelope with an id; are both sides VOID?")
    if message.get("protocol") != PROTOCOL:
        raise ProtocolError(
            f"The other side speaks protocol {message.get('protocol')}, this side {PROTOCOL}; update the older one."
        )
    return message


def _counting() -> Callable[[int, Any], Any]:
    """A hook for each list and each map that is unpacked, with what one of its values counts.

    It raises ValueError when there are too many values.
    """
    left = MAX_VALUES

    def count(each: int, values: Any) -> Any:
        nonlocal left
        left -= 1 + each * len(values)
        if left < 0:
            raise ValueError(f"more than {MAX_VALUES} values")
        return values

    return count


def result(message: Mapping[str, Any]) -> Any:
    """The body of an answer. Raises the error that it carries."""
    if "error" in message:
        raise from_dict(message["error"])
    return message.get("body")


def understood(read: Callable[[Any], Read], data: Any) -> Read:
    """What ``read`` makes of the other side's data. Raises :class:`ProtocolError` where it is not as it should be."""
    try:
        return read(data)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ProtocolError(
            f"The other side's message is malformed ({error!r}); update the older of client and server."
        ) from error
