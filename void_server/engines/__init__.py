"""Engines turn a shot and its quadmask into new frames.

An engine is a class in the entry-point group ``void_server.engines`` that derives from :class:`Engine`. Nothing heavy
is imported here, so that what engines declare can be read at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from .. import plugins
from ..api.settings import Declared
from ..api.shot import PLATE, Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..imaging.exr import FloatImage
    from ..imaging.window import Window
    from .clip import Clip

__all__ = ["Clip", "Engine", "NewPixels", "load"]


def __getattr__(name: str) -> Any:
    if name == "Clip":
        from .clip import Clip

        return Clip
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@dataclass(frozen=True)
class NewPixels:
    """What an engine makes of one frame: ``rgb`` (height, width, 3), display-referred, of ``window``.

    ``grain`` (height, width) is the share of its grain's variance that they have: 1 for pixels of the plate, 1/n for
    the mean of n of them, 0 for painted ones. None where that is not known; it is measured then.

    ``origin`` (height, width) holds the codes of :mod:`.origin`: where each pixel comes from. None: all are a model's.
    """

    index: int
    window: Window
    rgb: FloatImage
    grain: FloatImage | None = None
    origin: NDArray[np.uint8] | None = None


class Engine(ABC):
    """Makes the new pixels of a shot. The smallest engine has one method, :meth:`synthesise`; the rest are defaults.

    Constructed without arguments, once per worker.
    """

    #: Its own settings, beyond :class:`~void_server.api.shot.Settings`; see ``settings.of_engine``.
    settings: ClassVar[type[Declared]] = Declared
    #: Whether :meth:`make` should run on a machine with a GPU; all else runs on any.
    wants_gpu: ClassVar[bool] = False
    #: Whether a model makes its pixels up; so it is taken of one that does not say. What studios must disclose.
    generative: ClassVar[bool] = True
    #: The model that makes the pixels, and the licences of its weights; empty where there is none.
    model: ClassVar[str] = ""
    licence: ClassVar[str] = ""
    #: Whether affected regions should be whole cells of a grid if the shot does not say; see :meth:`cells_of`.
    whole_cells: ClassVar[bool] = False
    #: Whether the quadmasks that are made for it have nothing affected on the shot's first frame.
    first_frame_unaffected: ClassVar[bool] = False

    def check(self, settings: Settings) -> None:  # noqa: B027 -- a hook
        """Raise :class:`~void_server.api.errors.SettingError` if something that a job needs is missing here."""

    def cells_of(self, settings: Settings, region: Window, canvas: Window, pixel_aspect: float) -> Window | None:
        """The part of the frame over which the grid of :attr:`whole_cells` lies; None for all of it.

        ``region`` holds all new pixels of the shot, ``canvas`` all of the plate's. It is kept as ``clip.cells``.
        """
        del settings, region, canvas, pixel_aspect
        return None

    def prepare(self, clip: Clip, report: Callable[[float], None]) -> None:  # noqa: B027 -- a hook
        """Do what is done once for all frames on any machine, and keep it in ``clip.kept``; nothing if that is there.

        Optional for whoever calls :meth:`synthesise`, which does it where it was not done; so is :meth:`make`. On a
        render farm this is done with the quadmask, and the frames are shared among many machines.
        """

    def pieces(self, settings: Settings, frames: Sequence[int]) -> int:
        """Of how many pieces the model's work on the frames of these numbers consists, 0 for engines without a model.

        Known at submission, so neither the shot's files nor anything heavy is there to look at.
        """
        del settings, frames
        return 0

    def in_pieces(self, settings: Settings, most: int) -> Settings:
        """The settings for a shot that is longer than ``most`` frames, to be made in pieces of no more than these.

        As they are for engines that cannot do that, and where they say themselves how.
        """
        del most
        return settings

    def make(self, clip: Clip, piece: int, report: Callable[[float], None]) -> None:  # noqa: B027 -- a hook
        """Have the model make a piece, and keep it in ``clip.kept``; on a render farm a task of its own."""

    @abstractmethod
    def synthesise(self, clip: Clip, wanted: Sequence[int], report: Callable[[float], None]) -> Iterator[NewPixels]:
        """Yield the new pixels of each wanted frame index, in order.

        They cover all pixels of the frame whose blend is above 0; frames without any may be left out. The same pixels
        must come whichever frames are wanted, so that a resumed job is the job. ``report`` takes the share of
        preparation that is done, before the first frame is yielded.
        """

    def weights(self, settings: Settings) -> dict[str, str]:
        """The SHA-256 of the files of weights that a job loads, by name. Raises SettingError where one is missing."""
        del settings
        return {}

    def provenance(self, clip: Clip) -> dict[str, str]:
        """What else decided the result, such as the device and the hashes of weights, for the manifest."""
        del clip
        return {}


def load(settings: Settings) -> Engine:
    """Create the engine named in the settings.

    Raises :class:`SettingError` if it is missing, or cannot run here while the job goes on to new pixels.
    """
    engine = find(settings.engine)
    if settings.until == PLATE:
        engine.check(settings)
    return engine


def check_settings(settings: Settings) -> None:
    """Raise :class:`SettingError` naming the first setting that the engine would ignore or cannot use."""
    plugins.check(plugins.ENGINES, settings.engine, find(settings.engine).settings, settings.engine_settings)


def find(name: str) -> Engine:
    """The engine of that name, whether or not it can run here. Raises :class:`SettingError` if it is not installed."""
    engine: Engine = plugins.find(plugins.ENGINES, name)
    return engine
