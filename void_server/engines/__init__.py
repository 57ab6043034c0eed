"""Engines turn a shot and its quadmask into new frames.

An engine is a class in the entry-point group ``void_server.engines``; see :class:`Engine` for what it must offer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from .. import plugins
from ..api.errors import SettingError
from ..api.shot import Settings
from ..imaging.exr import FloatImage
from ..imaging.window import Window
from .clip import Clip

__all__ = ["Clip", "Engine", "NewPixels", "load"]


@dataclass(frozen=True)
class NewPixels:
    """What an engine makes of one frame: ``rgb`` (height, width, 3), display-referred, of ``window``.

    ``grain`` (height, width) is the share of its grain's variance that they have: 1 for pixels of the plate, 1/n for
    the mean of n of them, 0 for painted ones. None where that is not known; it is measured then.
    """

    index: int
    window: Window
    rgb: FloatImage
    grain: FloatImage | None = None


#: The settings shared by all engines.
OF_ALL = frozenset(
    (
        *("engine", "reasoner", "reasoner_model", "cells", "segmenter", "only_quadmask", "only_roto"),
        *("feather", "grain", "seed", "device"),
    )
)


class Engine(Protocol):
    """What makes the new pixels of a shot. Constructed without arguments, once per worker."""

    #: Whether :meth:`make` should run on a machine with a GPU; all else runs on any.
    wants_gpu: bool
    #: The settings that it looks at beyond :data:`OF_ALL`; any other must be left as it is.
    settings: frozenset[str]

    def check(self, settings: Settings) -> None:
        """Raise :class:`~void_server.api.errors.SettingError` where something that a job needs is not here."""

    def prepare(self, clip: Clip, report: Callable[[float], None]) -> None:
        """Do what is done once for all frames on any machine, and keep it in ``clip.kept``; nothing if that is there.

        Optional for whoever calls :meth:`synthesise`, which does it where it was not done; so is :meth:`make`. On a
        render farm this is done with the quadmask, and the frames are shared among many machines.
        """

    def pieces(self, settings: Settings, frames: int) -> int:
        """Of how many pieces the model's work on so many frames consists, 0 for engines without a model.

        Known at submission, so neither the shot's files nor anything heavy is there to look at.
        """

    def make(self, clip: Clip, piece: int, report: Callable[[float], None]) -> None:
        """Have the model make a piece, and keep it in ``clip.kept``; on a render farm a task of its own."""

    def synthesise(self, clip: Clip, wanted: Sequence[int], report: Callable[[float], None]) -> Iterator[NewPixels]:
        """Yield the new pixels of each wanted frame index, in order.

        They cover all pixels of the frame whose blend is above 0; frames without any may be left out. The same pixels
        must come whichever frames are wanted, so that a resumed job is the job. ``report`` takes the share of
        preparation that is done, before the first frame is yielded.
        """

    def provenance(self, clip: Clip) -> dict[str, str]:
        """What else decided the result, such as the device and the hashes of weights, for the manifest."""


def load(settings: Settings) -> Engine:
    """Create the engine named in the settings. Raises :class:`SettingError` if it is missing or cannot run here."""
    engine = find(settings.engine)
    engine.check(settings)
    return engine


def check_settings(settings: Settings) -> None:
    """Raise :class:`SettingError` naming the first setting that is set but ignored by the engine."""
    known = OF_ALL | find(settings.engine).settings
    default = Settings()
    for name, value in settings.__dict__.items():
        if name not in known and value != getattr(default, name):
            raise SettingError(
                f"The engine {settings.engine} would ignore {name}, set to {value!r}; leave it out, or "
                "choose another engine."
            )


def find(name: str) -> Engine:
    """The engine of that name, whether or not it can run here. Raises :class:`SettingError` if it is not installed."""
    engine: Engine = plugins.find(plugins.ENGINES, name)
    return engine
