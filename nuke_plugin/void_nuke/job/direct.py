"""Plates and rotos that a job reads where they lie, without an export. Uses nuke, on its main thread."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Callable, Optional, Sequence

import nuke

from . import colour, upstream

#: Numbered in its name alone, and nothing in it that Nuke evaluates, but for the view.
_SEQUENCE = re.compile(r"[^%#\[$]*/[^%#\[$/]*(?:%0\d+d|#+)[^%#\[$/]*\.exr", re.IGNORECASE)
_NUMBER = re.compile(r"%0\d+d|#+")
_ALPHA = "rgba.alpha"
_COLOURS = {f"rgba.{colour}" for colour in ("red", "green", "blue")}
#: Nuke's own linear, as it labels it where nothing else was chosen, too.
_NUKE_LINEAR = ("linear", "default (linear)")


@dataclass(frozen=True)
class Direct:
    """What the files themselves must be: in the working space of the graph, and where the job can read them.

    ``ocio`` is None under Nuke's own colour management. ``reads`` says whether the job reads a path.
    """

    frames: Sequence[int]
    space: str
    ocio: Optional[str]
    reads: Callable[[str], bool]

    def pattern(self, role: str, source: nuke.Node, view: str) -> Optional[str]:
        """The files that hold, number for number, what ``source`` shows in a view; None where there are none."""
        read = upstream.untouched(source)
        if read is None or not self._is_plain(read):
            return None
        channels = set(read.channels())
        # a file with more may be a roto's colour, or one of many layers and parts
        fits = channels == {_ALPHA} if role == "roto" else _COLOURS <= channels <= {*_COLOURS, _ALPHA}
        if not fits or not (role == "roto" or self._is_in_space(read)):
            return None
        path = str(read["file"].value()).replace("%V", view).replace("%v", view[:1])
        if not _SEQUENCE.fullmatch(path) or not os.path.isabs(path):
            return None
        # a # alone stands for a number of any width, and for none that begins with 0
        pattern = _NUMBER.sub(lambda found: found[0] if "%" in found[0] else f"%0{len(found[0])}d", path)
        folder, _, name = pattern.rpartition("/")
        there = set(os.listdir(folder)) if os.path.isdir(folder) else set()
        whole = all(name % frame in there for frame in self.frames)
        return pattern if whole and self.reads(pattern % self.frames[0]) else None

    def _is_plain(self, read: nuke.Node) -> bool:
        """Whether the Read shows the frames of its file as they are numbered."""
        if any(read[name].value() for name in ("disable", "premultiplied", "frame")):
            return False
        within = int(read["first"].value()) <= self.frames[0] and self.frames[-1] <= int(read["last"].value())
        return within and str(read["frame_mode"].value()) == "expression"

    def _is_in_space(self, read: nuke.Node) -> bool:
        if read["raw"].value():
            return True
        label = str(read["colorspace"].value())
        if str(nuke.root()["colorManagement"].value()) != "OCIO":
            return label in _NUKE_LINEAR
        return colour.space_in(label, colour.roles_of(self.ocio)) == self.space
