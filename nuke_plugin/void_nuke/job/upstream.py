"""What a picture in the graph depends on. Uses nuke, on its main thread."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Iterator, Optional

import nuke

from ..node import knobs as k
from ..node.node import is_void
from . import stamps
from .stamps import Stamps

# Where a node lies in the graph and how it looks there changes no pixel.
_LOOKS = re.compile(
    r"^(?:xpos|ypos|selected|label|note_font\S*|tile_color|gl_color|hide_input|postage_stamp\S*|dope_sheet|bookmark|"
    r"help|cached|indicators|lifetime\S*|name|icon)\s"
)
#: The only knobs of a node of ours that decide what a render gets from it; others say what its next job does.
_OF_OURS = re.compile(rf"^(?:disable|{'|'.join(k.PICTURE)})\s")
#: What the script as a whole sets; `gsv` are Nuke 17's Graph Scope Variables, which paths may contain.
_SCRIPT = (
    *("colorManagement", "OCIO_config", "customOCIOConfigPath", "OCIOConfigPath", "workingSpaceLUT"),
    *("format", "fps", "gsv"),
)
#: What is more than a frame's or a view's number in a file knob, and evaluated.
_EVALUATED = re.compile(r"[\[$]|%\{|%(?![vVd\d])\w")
_LAST_NUMBER = re.compile(r"\d+(?=\D*$)")
_ALL_INPUTS = nuke.INPUTS | nuke.HIDDEN_INPUTS | nuke.EXPRESSIONS


@dataclass(frozen=True)
class Upstream:
    """All that is upstream of a node: a hash of classes, knobs and wires, and the sequences that are read there."""

    graph: str
    files: tuple[str, ...]

    def fingerprint(self, known: Stamps) -> str:
        """A hash of the graph and of the files' names, sizes and dates. Any thread may ask for it: this takes time."""
        digest = hashlib.sha256(self.graph.encode())
        for files in self.files:
            digest.update(known.of(files).encode())
        return digest.hexdigest()[:16]


def look(node: nuke.Node, extra: str = "") -> Upstream:
    """What ``node`` shows depends on, for all frames, without a look at any file.

    A changed knob, wire or file name changes it; a moved or renamed node does not, and neither does what a node of
    ours only shows in the viewer. ``extra`` is what else decides the export.
    """
    digest = hashlib.sha256(extra.encode())
    files: dict[str, None] = {}
    numbers: dict[str, int] = {}
    for found in _upstream(node):
        numbers[found.fullName()] = len(numbers)
        wires = [numbers.get(one.fullName(), -1) if one else None for one in _inputs(found)]
        others = sorted(numbers.get(one.fullName(), -1) for one in found.dependencies(_ALL_INPUTS))
        digest.update(f"\n{found.Class()} {wires} {others}\n".encode())
        for line in _text(found):
            digest.update(f"{line}\n".encode())
        files.update(dict.fromkeys(_files(found)))
    for name in _SCRIPT:
        knob = nuke.root().knob(name)
        digest.update(f"{name} {knob.toScript() if knob else ''}\n".encode())
    return Upstream(digest.hexdigest(), tuple(files))


def untouched(node: Optional[nuke.Node]) -> Optional[nuke.Node]:
    """The Read whose pictures ``node`` passes on as they are; None where anything lies in between."""
    while node is not None and node.Class() in ("Dot", "Input"):
        node = _outside(node) if node.Class() == "Input" else node.input(0)
    return node if node is not None and node.Class() == "Read" else None


def _outside(inner: nuke.Node) -> Optional[nuke.Node]:
    """What an Input of a group stands for there."""
    group, number = inner.parent(), inner.knob("number")
    return group.input(int(number.value())) if number is not None and isinstance(group, nuke.Group) else None


def _inputs(node: nuke.Node) -> list[Optional[nuke.Node]]:
    """The node's wires by their number, None for one that is open."""
    if node.Class() == "Input":
        return [_outside(node)]
    return [node.input(index) for index in range(node.inputs())]


def _behind(node: nuke.Node) -> list[nuke.Node]:
    """What a node takes its picture from, by wires and expressions, and what is inside it."""
    found = [one for one in _inputs(node) if one is not None]
    found += [one for one in node.dependencies(_ALL_INPUTS) if one != nuke.root()]
    if isinstance(node, nuke.Group):
        found += sorted(node.nodes(), key=lambda inner: inner.name())
    return found


def _upstream(node: nuke.Node) -> Iterator[nuke.Node]:
    """``node`` and all that is behind it, sources first; without recursion, as scripts may be long."""
    seen = {node.fullName()}
    waiting = [(node, iter(_behind(node)))]
    while waiting:
        one, behind = waiting[-1]
        for other in behind:
            if other.fullName() not in seen:
                seen.add(other.fullName())
                waiting.append((other, iter(_behind(other))))
                break
        else:
            waiting.pop()
            yield one


def _text(node: nuke.Node) -> Iterator[str]:
    ours = is_void(node)
    for line in sorted(node.writeKnobs(nuke.TO_SCRIPT | nuke.WRITE_NON_DEFAULT_ONLY).splitlines()):
        if _OF_OURS.match(line) if ours else not _LOOKS.match(line):
            yield line


def _files(node: nuke.Node) -> Iterator[str]:
    """The sequences that a node reads, as patterns."""
    reading = node.knob("reading")
    if node.Class() == "Write" and not (reading is not None and reading.value()):
        return
    for knob in node.knobs().values():
        if not isinstance(knob, nuke.File_Knob) or not knob.value():
            continue
        path = str(knob.value())
        if _EVALUATED.search(path):
            path = str(knob.evaluate() or "")
            folder, slash, name = path.rpartition("/")
            # evaluated, the frame is a number, and the last one of the name
            path = folder + slash + _LAST_NUMBER.sub("####", name)
        if path:
            yield stamps.pattern(path)
