"""The messages between clients and the server: a versioned envelope, packed with msgpack.

A request is ``{"protocol", "id", "verb", "body"}``. Its answer is ``{"protocol", "id", "body"}`` or, where it failed,
``{"protocol", "id", "error"}``. What the server says unasked has the id 0 and the body of a job.
"""

from __future__ import annotations

from typing import Any, Mapping

import msgpack

from .errors import ProtocolError, VoidError, from_dict

PROTOCOL = 1
#: Larger messages are refused; files travel in chunks of :data:`CHUNK` bytes.
MAX_MESSAGE = 8 * 2**20
CHUNK = 2**20
UNASKED = 0


def pack(number: int, **content: Any) -> bytes:
    """An envelope with this message id."""
    return bytes(msgpack.packb({"protocol": PROTOCOL, "id": number, **content}))


def pack_error(number: int, error: VoidError) -> bytes:
    """The answer to a request that failed."""
    return pack(number, error=error.to_dict())


def unpack(data: bytes) -> dict[str, Any]:
    """Open an envelope.

    Raises :class:`ProtocolError` for what is too large, no msgpack, no envelope, or of another protocol.
    """
    if len(data) > MAX_MESSAGE:
        raise ProtocolError(
            f"The message is too large: {len(data)} bytes, {MAX_MESSAGE} at most; send files in chunks."
        )
    try:
        message = msgpack.unpackb(data)
    except (ValueError, msgpack.UnpackException) as error:
        raise ProtocolError(
            "The message is broken: no msgpack; is this a VOID client and server?", str(error)
        ) from error
    if not isinstance(message, dict) or not isinstance(message.get("id"), int):
        raise ProtocolError("The message is broken: no envelope with an id; is this a VOID client and server?")
    if message.get("protocol") != PROTOCOL:
        raise ProtocolError(
            f"The other side speaks protocol {message.get('protocol')}, this side {PROTOCOL}; update the older one."
        )
    return message


def result(message: Mapping[str, Any]) -> Any:
    """The body of an answer. Raises the error that it carries."""
    if "error" in message:
        raise from_dict(message["error"])
    return message.get("body")
