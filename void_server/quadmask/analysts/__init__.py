"""Analysts: services with a vision-language model that say what a removal changes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Protocol

from ...api.errors import JobFailed, SettingError
from ..question import Question
from .connection import Line

GEMINI, LOCAL = "gemini", "local"
#: The reasoners that ask a model.
NAMES = (GEMINI, LOCAL)


@dataclass(frozen=True)
class Reply:
    """A model's reply: the text, and the tokens it took."""

    text: str
    tokens_in: int = 0
    tokens_out: int = 0


class Unanswered(JobFailed):
    """A request had no reply. ``again``: the same one may have one later, after ``pause`` seconds if that was said."""

    def __init__(self, message: str, *, again: bool = False, pause: float | None = None) -> None:
        super().__init__(message)
        self.again, self.pause = again, pause


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

    def line(self) -> Line:
        """A new way to it, for one request."""

    def ask(self, question: Question, complaint: str, line: Line, seconds: float) -> Reply:
        """Send one request over ``line`` and wait for the answer, at most so many seconds.

        ``complaint`` says what was wrong with the answer before, empty the first time. Raises :class:`Unanswered` with
        a sentence where no answer comes, or the service refuses to give one.
        """


def seconds_in(header: str | None) -> float | None:
    """The pause that a service asks for with Retry-After, in seconds; None where it names none."""
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (when - datetime.now(when.tzinfo)).total_seconds())


#: The status codes of a service that may answer later.
BUSY = frozenset((408, 409, 425, 429, 500, 502, 503, 504, 529))


def advice(status: int, key: str, model: str) -> str:
    """What to do about a status, as a sentence; ``key`` and ``model`` name the settings."""
    if status in (401, 403):
        return f"Check the key ({key})."
    if status == 404:
        return f"Name another model with --reasoner-model, or {model} where the server runs; and check the address."
    if status == 413:
        return "Choose a shorter range of frames, or reasoner image."
    if status in BUSY:
        return "Resume later to ask again, or choose reasoner image."
    return "Choose another model, or reasoner image."


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
