"""How both sides notice that the other one is gone."""

from __future__ import annotations

from typing import Any

import zmq

#: Seconds of silence after which the system asks whether the other side is there, how often, and seconds between.
_IDLE, _TIMES, _BETWEEN = 10, 3, 5
#: Milliseconds after which a side that takes nothing of what is sent is cut off.
_UNREAD_MS = 30_000


def notice_its_end(socket: zmq.Socket[Any]) -> None:
    """Have the system end connections whose other side is gone, or does not read; to be called before they are made.

    ZeroMQ's own heartbeats are not fit for that: where one is due on a connection that broke while messages waited to
    be read, libzmq 4.3.5 ends the whole process (its issue 4364), so that any client could end a server.
    """
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, _IDLE)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, _TIMES)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, _BETWEEN)
    socket.setsockopt(zmq.TCP_MAXRT, _UNREAD_MS)
