"""A process that samples on a further card of a job: ``python -m void_server.engines.void.helper``; see :mod:`.team`.

It is told what to do through its standard input, by the process that it ends with.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import threading
from typing import Any

from .model import Model
from .team import READY, Group


def main() -> None:
    """Do one order after the other until the leader is gone."""
    # Ctrl-C in a terminal reaches the whole group; the leader decides
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # whatever a library prints goes where errors go
    said = os.dup(1)
    os.dup2(2, 1)
    orders: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(orders,), daemon=True).start()
    about, device, rank, size, meeting = orders.get()
    weights, profile, compiled, precision = about
    os.write(said, READY)
    model = Model(weights, device, profile, compiled, precision, group=Group.join(rank, size, device, meeting))
    while True:
        sampler, backend, conditions, begun, latents = orders.get()
        model.use_attention(sampler.number, backend)
        os.write(said, READY)
        sampler.steps_from(model, begun, latents, conditions)


def _listen(orders: queue.SimpleQueue[Any]) -> None:
    try:
        with open(0, "rb", closefd=False) as told:
            while True:
                orders.put(pickle.load(told))
    finally:
        # the leader has ended, perhaps while this process waits for it
        os._exit(1)


if __name__ == "__main__":
    main()
