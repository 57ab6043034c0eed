"""Engines: what turns a shot and its quadmask into new frames.

An engine is a class in the entry-point group ``void_server.engines``; see :class:`Engine` for what it must offer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import entry_points
from typing import Protocol

from ..api.errors import SettingError
from ..imaging.exr import FloatImage
from ..imaging.window import Window
from .clip import Clip

__all__ = ["Clip", "Engine", "load", "names"]

GROUP = "void_server.engines"


class Engine(Protocol):
    """What makes the new pixels of a shot. Constructed without arguments, once per worker."""

    def check(self) -> None:
        """Raise :class:`~void_server.api.errors.SettingError` where something that it needs is not installed here."""

    def synthesise(
        self, clip: Clip, wanted: Sequence[int], report: Callable[[float], None]
    ) -> Iterator[tuple[int, Window, FloatImage]]:
        """Yield (index, window, RGB) for each wanted frame index, in order.

        RGB is (height, width, 3), display-referred, and covers all pixels of the frame whose blend is above 0; frames
        without any may be left out. The same pixels must come whichever frames are wanted, so that a resumed job is
        the job. ``report`` takes the share of preparation that is done, before the first frame is yielded.
        """


def names() -> list[str]:
    """The engines that are installed."""
    return sorted(point.name for point in entry_points(group=GROUP))


def load(name: str) -> Engine:
    """Make the engine ``name``. Raises :class:`SettingError` where there is none, or it cannot run here."""
    for point in entry_points(group=GROUP, name=name):
        engine: Engine = point.load()()
        engine.check()
        return engine
    raise SettingError(f"There is no engine {name!r} here; installed are {', '.join(names())}.")
