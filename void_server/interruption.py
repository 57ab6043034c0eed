"""Ctrl-C, SIGTERM and a terminal that is closed: they end a command in order, with a sentence and an exit code."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(BaseException):
    """The command was told to end by signal ``number``; ``str()`` is the sentence for whoever reads the terminal.

    Like KeyboardInterrupt it is no Exception, so that nothing takes it for a failure; unlike that one it leaves no
    command but by :func:`void_server.cli.main`.
    """

    def __init__(self, number: int, message: str = "Stopped.") -> None:
        super().__init__(message)
        self.number = number

    @property
    def exit_code(self) -> int:
        """As shells count it: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
        return 128 + self.number

    def saying(self, message: str) -> Interrupted:
        """The same with another sentence."""
        return Interrupted(self.number, message)


def ending_signals() -> list[signal.Signals]:
    """The signals that end a program in order; not those that it was started to ignore, as by nohup."""
    known = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    return [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]


@contextmanager
def interruptible() -> Iterator[None]:
    """Have those signals raise :class:`Interrupted` in the block, each time that one comes."""

    def interrupt(number: int, _: FrameType | None) -> None:
        _leave_terminal()
        raise Interrupted(number)

    with handling(interrupt):
        yield


def _leave_terminal() -> None:
    """Write nowhere where the terminal is gone, so that no word of the command's last ones fails."""
    for stream in (1, 2):
        try:
            os.write(stream, b"")
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream)
            os.close(nowhere)


def no_more() -> None:
    """Ignore those signals from now on to the end of the block that is :func:`interruptible`."""
    for number in ending_signals():
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore those signals in the block: to clear up, which takes no more than seconds."""
    with handling(signal.SIG_IGN):
        yield


@contextmanager
def handling(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> Iterator[None]:
    """Have ``handler`` take those signals in the block."""
    before = {number: signal.signal(number, handler) for number in ending_signals()}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
