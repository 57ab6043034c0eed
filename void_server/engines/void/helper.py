"""A process that samples on a further card of a job: ``python -m void_server.engines.void.helper``; see :mod:`.team`.

It is told what to do through its standard input, by the process that it ends with.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import traceback
from pathlib import Path

import torch

from .message import Message
from .model import Model
from .sampling import Order
from .team import READY, Group


def main() -> None:
    """Do one order after the other until the leader is gone."""
    # Ctrl-C in a terminal reaches the whole group; the leader decides
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # whatever a library prints goes where errors go
    said = os.dup(1)
    os.dup2(2, 1)
    told: queue.SimpleQueue[Message] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(told,), daemon=True).start()
    try:
        _work(told, said)
    except BaseException:
        traceback.print_exc()
        # at once: leaving the group in order waits for what is under way, and the others for this process
        os._exit(1)


def _work(told: queue.SimpleQueue[Message], said: int) -> None:
    first = told.get()
    values = first.values
    device = torch.device(values["device"])
    # a card that is full or broken is found before the others wait for it
    torch.zeros(1, device=device)
    os.write(said, READY)
    group = Group.join(values["rank"], values["size"], device, Path(values["meeting"]))
    model = Model.of(values["model"], device, group)
    while True:
        order = Order.of(told.get())
        model.use_attention(order.sampler.number, order.backend)
        os.write(said, READY)
        order.sampler.steps_from(model, order.begun, order.conditions)


def _listen(told: queue.SimpleQueue[Message]) -> None:
    try:
        with open(0, "rb", closefd=False) as pipe:
            while True:
                told.put(Message.receive(pipe))
    finally:
        # the leader has ended, perhaps while this process waits for it
        os._exit(1)


if __name__ == "__main__":
    main()
