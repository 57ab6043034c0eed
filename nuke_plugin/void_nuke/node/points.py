"""Points on the object to remove, in place of a roto: a list that artists can read and edit."""

from __future__ import annotations

import re
from dataclasses import dataclass

from void_server.api.errors import SettingError
from void_server.api.shot import Prompt

from . import lists

ON, OFF = "on", "off"
_LINE = re.compile(r"(-?\d+):(on|off)(-?\d+\.?\d*),(-?\d+\.?\d*)")


@dataclass(frozen=True)
class Click:
    """A point in one frame, on the object or not on it, in Nuke's pixels, whose y goes up."""

    frame: int
    what: str
    x: float
    y: float

    def __str__(self) -> str:
        return f"{self.frame}: {self.what} {self.x:g},{self.y:g}"

    def prompt(self, height: int) -> Prompt:
        """The point as the server counts, from the top left of a frame of ``height``."""
        kind = Prompt.POINT if self.what == ON else Prompt.NOT
        return Prompt(self.frame, kind, (self.x, height - self.y))


def parse(text: str) -> list[Click]:
    """The points in ``text``, one per line; text after # is a remark. Raises :class:`SettingError` naming the line."""
    return lists.parse(text, "points", _read)


def _read(words: str) -> Click:
    match = _LINE.fullmatch(words.replace(" ", ""))
    if match is None:
        raise SettingError(f"{words!r} is not like 1001: on 640,360.")
    return Click(int(match[1]), match[2], float(match[3]), float(match[4]))
