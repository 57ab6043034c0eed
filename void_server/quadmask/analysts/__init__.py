"""Analysts: services with a vision-language model that say what a removal changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ...api.errors import SettingError
from ..question import Question

GEMINI, LOCAL = "gemini", "local"
#: The reasoners that ask a model.
NAMES = (GEMINI, LOCAL)


@dataclass(frozen=True)
class Reply:
    """A model's reply: the text, and the tokens it took."""

    text: str
    tokens_in: int = 0
    tokens_out: int = 0


class Analyst(Protocol):
    """A vision-language model to ask."""

    @property
    def host(self) -> str:
        """Where the question goes."""

    @property
    def model(self) -> str:
        """Which model answers."""

    @property
    def boxes(self) -> str:
        """The key of :data:`void_server.quadmask.analysis.ORDERS` under which it writes boxes."""

    @property
    def in_pixels(self) -> bool:
        """Whether it gives boxes in pixels of the pictures, in place of thousandths."""

    @property
    def takes_clips(self) -> bool:
        """Whether it takes a movie."""

    def ask(self, question: Question, complaint: str) -> Reply:
        """Its answer; ``complaint`` says what was wrong with the one before, empty the first time.

        Tries again by itself where the service is busy. Raises :class:`~void_server.api.errors.JobFailed` with a
        sentence where no answer comes, or the service refuses to give one.
        """


def choose(name: str, model: str = "") -> Analyst:
    """The analyst of that name; ``model`` is the one to ask, empty for its own.

    Raises :class:`SettingError` if it cannot be used here.
    """
    if name == GEMINI:
        from .gemini import Gemini

        return Gemini.from_environment(model)
    if name == LOCAL:
        from .local import Local

        return Local.from_environment(model)
    raise SettingError(f"Unknown analyst {name!r}; choose {' or '.join(NAMES)}.")
