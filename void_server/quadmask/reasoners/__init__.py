"""Reasoners: what finds the pixels that a removal affects.

A reasoner is a class in the entry-point group ``void_server.reasoners`` that derives from :class:`Reasoner`. Nothing
heavy is imported here, so that what reasoners declare can be read at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from ... import plugins
from ...api.settings import Declared
from ...api.shot import Settings, Shot

if TYPE_CHECKING:
    from ...imaging.footage import Footage
    from ..reasoning import Reasoning

__all__ = ["Image", "Nothing", "Reasoner", "Report", "check_settings", "find"]


class Report(Protocol):
    """What a reasoner tells of its work; raises what stops the job."""

    def __call__(self, share: float, sending: str = "") -> None:
        """The ``share`` that is done; with ``sending``, what is about to be sent to a service, and where."""


class Reasoner(ABC):
    """Finds the pixels that a removal affects. The smallest reasoner has one method, :meth:`reason`.

    Constructed without arguments.
    """

    #: Its own settings, beyond :class:`~void_server.api.shot.Settings`; see ``settings.of_reasoner``.
    settings: ClassVar[type[Declared]] = Declared
    #: Whether it reads the shot's analysis; only then must, and may, the shot name one.
    reads_analysis: ClassVar[bool] = False
    #: Whether it sends frames off the studio's network; so it is taken of one that does not say.
    cloud: ClassVar[bool] = True
    #: Whether it has the segmenter cut things out.
    segments: ClassVar[bool] = False

    def check_shot(self, shot: Shot) -> None:  # noqa: B027 -- a hook
        """Raise :class:`~void_server.api.errors.SettingError` if the shot lacks something that it needs."""

    def check(self, settings: Settings) -> str:
        """Raise SettingError if something it needs is missing here; else return a few words on what it uses."""
        del settings
        return "available"

    @abstractmethod
    def reason(self, shot: Shot, footage: Footage, scratch: Path, report: Report) -> Reasoning:
        """Find what the removal affects, and what belongs to the object.

        ``scratch`` is a folder for what memory should not hold; ``report`` is told how far it is. Raises
        :class:`~void_server.api.errors.JobFailed` if a service gives no usable answer.
        """


class Image(Reasoner):
    """Finds shadows, reflections and things set in motion from the pixels alone."""

    cloud = False

    def reason(self, shot: Shot, footage: Footage, scratch: Path, report: Report) -> Reasoning:
        """See :class:`Reasoner`."""
        from .. import image_reasoner

        del shot
        return image_reasoner.reason(footage, scratch, report)


class Nothing(Reasoner):
    """Finds nothing: only the object itself is removed."""

    cloud = False

    def reason(self, shot: Shot, footage: Footage, scratch: Path, report: Report) -> Reasoning:
        """See :class:`Reasoner`."""
        from ..reasoning import Reasoning

        del shot, footage, scratch, report
        return Reasoning()


def find(name: str) -> Reasoner:
    """The reasoner of that name, whether or not it can run here. Raises SettingError if it is not installed."""
    reasoner: Reasoner = plugins.find(plugins.REASONERS, name)
    return reasoner


def check_settings(settings: Settings) -> None:
    """Raise SettingError naming the first setting that the reasoner would ignore or cannot use."""
    plugins.check(plugins.REASONERS, settings.reasoner, find(settings.reasoner).settings, settings.reasoner_settings)
