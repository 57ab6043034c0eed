"""Why a server does not answer, as far as the connection tells."""

from __future__ import annotations

import uuid
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

_TELLING = (
    zmq.EVENT_CONNECTED
    | zmq.EVENT_CLOSED
    | zmq.EVENT_CONNECT_RETRIED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)
_FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH,
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
)


class Reach:
    """Listens to how the connection of a socket fares. ``keys`` says whether the client shows any."""

    def __init__(self, socket: zmq.Socket[bytes], keys: bool) -> None:
        self._keys = keys
        self._watched = socket
        # never used again: ZeroMQ lets go of an address later than this object goes
        address = f"inproc://reach-{uuid.uuid4().hex}"
        socket.monitor(address, _TELLING)
        self._events: zmq.Socket[bytes] = socket.context.socket(zmq.PAIR)
        # at a limit ZeroMQ's own thread would wait for somebody to read, and every connection with it
        self._events.rcvhwm = 0
        self._events.linger = 0
        self._events.connect(address)
        self._last = 0

    def close(self) -> None:
        """Stop listening, before the socket is closed."""
        self._watched.disable_monitor()
        self._events.close(linger=0)

    def why(self) -> str:
        """The cause of a silence, and what to do, as the end of a sentence."""
        while self._events.poll(0):
            message: Any = recv_monitor_message(self._events)
            event = int(message["event"])
            # it tries again and again: that it could connect says less than how that ended before, and so does a pause
            again = event == zmq.EVENT_CONNECTED and self._last in _FAILED
            pause = event == zmq.EVENT_CONNECT_RETRIED and self._last
            if not (again or pause):
                self._last = event
        return self._reasons().get(self._last, "that machine does not answer; check the address and the network")

    def _reasons(self) -> dict[int, str]:
        mechanism = (
            "the server there uses no keys; unset VOID_KEY and VOID_SERVER_KEY"
            if self._keys
            else "the server there requires keys; set VOID_KEY and VOID_SERVER_KEY"
        )
        return {
            zmq.EVENT_CLOSED: "nothing listens there; start one with `void serve`, or check the address",
            zmq.EVENT_CONNECT_RETRIED: "there is no machine with that name; check the address",
            zmq.EVENT_CONNECTED: "something listens there but does not answer; check the address, or restart it",
            zmq.EVENT_HANDSHAKE_SUCCEEDED: (
                "what listens there is not a VOID server, or hangs; check the address, or restart it"
            ),
            zmq.EVENT_HANDSHAKE_FAILED_AUTH: (
                "the server there does not accept this client's key; have it allowed with `void keys allow`"
            ),
            zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: mechanism,
            # whoever hangs up first leaves no detail
            zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "what listens there is not a VOID server, or one that "
            + (
                "uses no keys, or VOID_SERVER_KEY is not its key; check address and keys"
                if self._keys
                else "requires keys; check the address, or set VOID_KEY and VOID_SERVER_KEY"
            ),
        }
