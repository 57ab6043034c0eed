"""A script that trains CopyCat on pairs: Reads of Input and Ground Truth, one after the other, into one CopyCat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

from .text import Node, script

_APART, _DOWN = 140, 160


@dataclass(frozen=True)
class TrainingClip:
    """A pair: the patterns (``name.%04d.exr``) of its Input and its Ground Truth, and its first and last frame."""

    input: str
    ground_truth: str
    first: int
    last: int


def training_script(clips: Sequence[TrainingClip], data_directory: str) -> str:
    """The script for these pairs; CopyCat keeps its networks in ``data_directory``. Its other knobs have defaults."""
    reads, ends = [], []
    for column, role in enumerate(("Input", "GroundTruth")):
        names = []
        for number, clip in enumerate(clips, 1):
            pattern = clip.input if role == "Input" else clip.ground_truth
            name = f"{role}{number}"
            place = ((column * (len(clips) + 1) + number) * _APART, 0)
            reads.append(Node("Read", name, _knobs(pattern, clip), position=place))
            names.append(name)
        if len(clips) > 1:
            place = (reads[-1].position[0], _DOWN)
            reads.append(Node("AppendClip", f"All{role}", {"firstFrame": 1}, names, place))
        ends.append(reads[-1].name)
    place = (reads[-1].position[0], 2 * _DOWN)
    return script([*reads, Node("CopyCat", "CopyCat1", {"dataDirectory": data_directory}, ends, place)])


def _knobs(pattern: str, clip: TrainingClip) -> dict[str, str | int | bool]:
    return {
        "file": pattern,
        "first": clip.first,
        "last": clip.last,
        "origfirst": clip.first,
        "origlast": clip.last,
        "origset": True,
    }
