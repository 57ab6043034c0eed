"""Points, boxes and names of the objects to remove, in place of a roto: a list that artists can read and edit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Union

from void_server.api.errors import SettingError
from void_server.api.shot import Prompt

from . import lists

ON, OFF = "on", "off"
_NUMBER = r"-?\d+(?:\.\d*)?"
_NAMED = re.compile(rf"(?:(\d+)@)?(-?\d+):\s*{Prompt.NAMED}\s+(\S.*)")
_LINE = re.compile(rf"(?:(\d+)@)?(-?\d+):(on|off|box)({_NUMBER}(?:,{_NUMBER})+)")
#: How many numbers stand in a line of each kind.
_NUMBERS = {ON: 2, OFF: 2, Prompt.BOX: 4}


@dataclass(frozen=True)
class Click:
    """A point in one frame, on an object or not on it, in Nuke's pixels, whose y goes up.

    ``object`` tells objects apart that are followed each for itself.
    """

    frame: int
    what: str
    x: float
    y: float
    object: int = 1

    def __str__(self) -> str:
        return f"{_whose(self.object)}{self.frame}: {self.what} {self.x:g},{self.y:g}"

    def prompt(self, height: int) -> Prompt:
        """The point as the server counts, from the top left of a frame of ``height``."""
        kind = Prompt.POINT if self.what == ON else Prompt.NOT
        return Prompt(self.frame, kind, (self.x, height - self.y), self.object)


@dataclass(frozen=True)
class Box:
    """A box around an object in one frame: left, bottom, right and top in Nuke's pixels."""

    frame: int
    left: float
    bottom: float
    right: float
    top: float
    object: int = 1

    def __str__(self) -> str:
        sides = f"{self.left:g},{self.bottom:g},{self.right:g},{self.top:g}"
        return f"{_whose(self.object)}{self.frame}: {Prompt.BOX} {sides}"

    def prompt(self, height: int) -> Prompt:
        """The box as the server counts, from the top left of a frame of ``height``."""
        return Prompt(
            self.frame, Prompt.BOX, (self.left, height - self.top, self.right, height - self.bottom), self.object
        )


@dataclass(frozen=True)
class Named:
    """What an object is called, to be found by that in one frame."""

    frame: int
    called: str
    object: int = 1

    def __str__(self) -> str:
        return f"{_whose(self.object)}{self.frame}: {Prompt.NAMED} {self.called}"

    def prompt(self, height: int) -> Prompt:
        """The name as the server takes it."""
        del height
        return Prompt(self.frame, Prompt.NAMED, (), self.object, self.called)


#: What a line of the list stands for.
Mark = Union[Click, Box, Named]


def _whose(number: int) -> str:
    return f"{number}@" if number != 1 else ""


def parse(text: str) -> list[Mark]:
    """The points, boxes and names in ``text``, one per line; text after # is a remark.

    Raises :class:`SettingError` naming the line that is wrong.
    """
    return lists.parse(text, "points", _read)


def _read(words: str) -> Mark:
    if named := _NAMED.fullmatch(words):
        return Named(int(named[2]), named[3], int(named[1] or 1))
    match = _LINE.fullmatch(words.replace(" ", ""))
    numbers = [float(number) for number in match[4].split(",")] if match else []
    if match is None or len(numbers) != _NUMBERS[match[3]]:
        raise SettingError(
            f"{words!r} is not like 1001: on 640,360, 2@1001: on 640,360, 1001: box 600,300,700,420 or "
            "1001: named man in red."
        )
    number, frame = int(match[1] or 1), int(match[2])
    if match[3] != Prompt.BOX:
        return Click(frame, match[3], numbers[0], numbers[1], number)
    left, bottom, right, top = numbers
    if left >= right or bottom >= top:
        raise SettingError(f"{words!r} is an empty box; give left, bottom, right and top.")
    return Box(frame, left, bottom, right, top, number)
