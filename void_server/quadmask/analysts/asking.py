"""Ask a service with patience: again where it is busy, but within limits, on the record, and stopped at once."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...api.errors import JobFailed, SettingError
from . import Analyst, Reply, Unanswered

if TYPE_CHECKING:
    from ..question import Question
    from ..reasoners import Report

# Seconds between two looks whether the job was stopped; the first pause before a busy service is asked again, which
# then doubles, and the longest.
_BEAT, _FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 2.0, 60.0


@dataclass(frozen=True)
class Limits:
    """What a job may take of a service: requests, tokens asked and answered, and seconds from the first request on."""

    requests: int = 8
    tokens: int = 500_000
    seconds: int = 1200

    @classmethod
    def from_environment(cls) -> Limits:
        """As the server is set up. Raises :class:`SettingError` for what is no number."""
        given = {}
        for name in cls.__dataclass_fields__:
            if text := os.environ.get(variable(name), "").strip():
                if not text.isdecimal() or not int(text):
                    raise SettingError(f"{variable(name)} is {text!r}; give a whole number above 0.")
                given[name] = int(text)
        return cls(**given)


def variable(limit: str) -> str:
    """The environment variable of a limit."""
    return f"VOID_REASONER_{limit.upper()}"


class Conversation:
    """The requests of a job to a service.

    ``asked`` is the record of them, also of those before the job was resumed, and ``keep`` is called when it changes:
    before a request leaves, and when it has ended in whatever way. ``report`` is told what is sent before the first
    leaves; it is called several times a second, and raises what stops the job.
    """

    def __init__(
        self,
        analyst: Analyst,
        question: Question,
        asked: list[dict[str, Any]],
        keep: Callable[[], None],
        report: Report,
    ) -> None:
        self._analyst, self._question, self._asked, self._keep, self._report = analyst, question, asked, keep, report
        self._told = False
        self._limits = Limits.from_environment()
        self._end = time.monotonic() + self._limits.seconds

    def ask(self, complaint: str = "") -> Reply:
        """The service's reply; ``complaint`` says what was wrong with the one before.

        Raises :class:`JobFailed` where none comes within the limits.
        """
        pause = _FIRST_PAUSE
        while True:
            self._check_limits()
            if not self._told:
                self._report(0.0, f"{self._question.contents}, to {self._analyst.model} at {self._analyst.host}")
                self._told = True
            try:
                return self._request(complaint)
            except Unanswered as error:
                # half of it at random, so that many jobs do not come back at once
                wait = error.pause if error.pause is not None else pause * random.uniform(0.5, 1)
                if not error.again or wait > self._end - time.monotonic() or self._left() < 1:
                    raise JobFailed(str(error), error.detail) from None
            self._sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _left(self) -> int:
        return self._limits.requests - len(self._asked)

    def _check_limits(self) -> None:
        spent = sum(entry.get("tokens_in", 0) + entry.get("tokens_out", 0) for entry in self._asked)
        for name, used, unit in (("requests", len(self._asked), "requests"), ("tokens", spent, "tokens")):
            if used >= getattr(self._limits, name):
                raise JobFailed(
                    f"{self._analyst.model} at {self._analyst.host} gave no usable answer within this job's limit of "
                    f"{getattr(self._limits, name)} {unit} ({variable(name)} where the server runs); choose another "
                    "model or reasoner."
                )

    def _request(self, complaint: str) -> Reply:
        """One request, in a thread, so that the job can be stopped meanwhile."""
        analyst, begin = self._analyst, time.monotonic()
        entry: dict[str, Any] = {"to": analyst.host, "model": analyst.model, "what": self._question.contents}
        self._asked.append(entry)
        entry["failed"] = "stopped before an answer came"
        self._keep()
        line, ended = analyst.line(), threading.Event()
        outcome: list[Reply | BaseException] = []

        def work() -> None:
            try:
                outcome.append(analyst.ask(self._question, complaint, line, max(1.0, self._end - begin)))
            except BaseException as error:
                outcome.append(error)
            finally:
                ended.set()

        try:
            threading.Thread(target=work, daemon=True).start()
            while not ended.wait(_BEAT):
                self._report(0.0)
        finally:
            entry |= {"reached": line.reached, "seconds": round(time.monotonic() - begin, 1)}
            result = outcome[0] if outcome else None
            if isinstance(result, Reply):
                del entry["failed"]
                entry |= {"tokens_in": result.tokens_in, "tokens_out": result.tokens_out}
            elif result is not None:
                entry["failed"] = str(result)
            self._keep()
        if isinstance(result, Reply):
            return result
        assert isinstance(result, BaseException), "the thread has ended"
        raise result

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._report(0.0)
            time.sleep(min(_BEAT, left))
