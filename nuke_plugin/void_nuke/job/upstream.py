"""What a picture in the graph depends on, as one number. Uses nuke, on its main thread."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Iterator

import nuke

# Where a node lies in the graph and how it looks there changes no pixel.
_LOOKS = re.compile(
    r"^(?:xpos|ypos|selected|label|note_font\S*|tile_color|gl_color|hide_input|postage_stamp\S*|dope_sheet|bookmark|"
    r"help|cached|indicators|lifetime\S*|name|void_state|status|icon)\s"
)
_FILE_KNOBS = ("file", "proxy", "vfield_file", "cdl_file")


def fingerprint(node: nuke.Node, extra: str = "") -> str:
    """A hash of everything upstream of ``node`` and itself: classes, knobs, wires, and the files that are read.

    It holds for all frames: a changed knob, wire, file name, file size or file date changes it, a moved or renamed node
    does not. ``extra`` is what else decides the export.
    """
    digest = hashlib.sha256(extra.encode())
    numbers: dict[str, int] = {}
    for found in _upstream(node):
        numbers[found.fullName()] = len(numbers)
        inputs = [numbers.get(one.fullName(), -1) for one in found.dependencies(nuke.INPUTS | nuke.HIDDEN_INPUTS)]
        digest.update(f"\n{found.Class()} {inputs}\n".encode())
        for line in _text(found):
            digest.update(line.encode())
        for stamp in _file_stamps(found):
            digest.update(stamp.encode())
    for name in ("colorManagement", "OCIO_config", "customOCIOConfigPath", "workingSpaceLUT"):
        knob = nuke.root().knob(name)
        digest.update(f"{name} {knob.value() if knob else ''}\n".encode())
    return digest.hexdigest()[:16]


def _upstream(node: nuke.Node) -> Iterator[nuke.Node]:
    """All that ``node`` depends on by wires and expressions, and itself, sources first; groups with what is in them."""
    seen: set[str] = set()

    def visit(one: nuke.Node) -> Iterator[nuke.Node]:
        if one.fullName() in seen:
            return
        seen.add(one.fullName())
        for other in one.dependencies(nuke.INPUTS | nuke.HIDDEN_INPUTS | nuke.EXPRESSIONS):
            if other is not nuke.root():
                yield from visit(other)
        if isinstance(one, nuke.Group):
            for inner in sorted(one.nodes(), key=lambda n: n.name()):
                yield from visit(inner)
        yield one

    yield from visit(node)


def _text(node: nuke.Node) -> Iterator[str]:
    for line in sorted(node.writeKnobs(nuke.TO_SCRIPT | nuke.WRITE_NON_DEFAULT_ONLY).splitlines()):
        if not _LOOKS.match(line):
            yield line


def _file_stamps(node: nuke.Node) -> Iterator[str]:
    """Names, sizes and dates of the files that a node reads."""
    for name in _FILE_KNOBS:
        knob = node.knob(name)
        if not isinstance(knob, nuke.File_Knob) or not knob.value() or node.Class() == "Write":
            continue
        pattern = _pattern(knob)
        if not pattern.parent.is_dir():
            continue
        for file in sorted(pattern.parent.glob(pattern.name)):
            status = os.stat(file)
            yield f"{file.name} {status.st_size} {status.st_mtime_ns}\n"


def _pattern(knob: nuke.File_Knob) -> Path:
    """The knob's files with a star for frame and view."""
    if "[" not in knob.value():
        return Path(re.sub(r"%0?\d*d|#+|%[vV]", "*", knob.value()))
    path = Path(knob.evaluate() or "")
    return path.with_name(re.sub(r"\d+(?=\D*$)", "*", path.name)) if path.name else path
