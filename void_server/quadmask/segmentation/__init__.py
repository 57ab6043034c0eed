"""Segmentation: from a few points, boxes or masks to an object's matte in every frame of a shot."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ... import plugins
from ...api.errors import SettingError
from ...imaging.exr import FloatImage
from . import checkpoints
from .checkpoints import Checkpoint

__all__ = ["Frames", "Hints", "Segmenter", "check", "check_name", "choose"]

AUTO, GRABCUT, SAM2 = "auto", "grabcut", "sam2"


class Frames(Protocol):
    """A shot's frames by index, (height, width, 3), display-referred, all of one size, read when they are asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> FloatImage: ...


@dataclass(frozen=True)
class Hints:
    """The prompts for an object in one frame, in pixels of that frame from the top left.

    Points on it (x, y), points not on it, a box (x0, y0, x1, y1) around it, or a mask of it. A mask overrides points on
    it and the box; points that are not on it correct the mask. What it is ``called`` becomes a mask before a segmenter
    sees the hints.
    """

    on: tuple[tuple[float, float], ...] = ()
    off: tuple[tuple[float, float], ...] = ()
    box: tuple[float, float, float, float] | None = None
    mask: NDArray[np.bool_] | None = field(default=None, compare=False)
    called: str = ""


class Segmenter(ABC):
    """Tracks objects through a shot. One of your own is a class in the entry-point group ``void_server.segmenters``.

    It is constructed without arguments.
    """

    #: The method, for the report.
    name: str
    #: A warning for the artist; empty if there is none.
    warning: str = ""
    #: The GPU that it runs on; empty for the CPU.
    device: str = ""

    def use(self, device: str) -> None:  # noqa: B027 -- a hook
        """Prepare for the device of the settings: auto, cpu, cuda or cuda:1. Not called at submission."""

    def check(self) -> None:  # noqa: B027 -- a hook
        """Raise :class:`SettingError` if something that it needs is missing here; load nothing."""

    @abstractmethod
    def follow(self, frames: Frames, hints: Mapping[int, Mapping[int, Hints]]) -> Iterator[tuple[int, int, FloatImage]]:
        """Yield (object, index, matte) for every object and every frame, in any order; mattes are (h, w), 0..1.

        ``hints`` are by object, then by frame index; every object has at least one. Objects are followed forwards and
        backwards from each of their hints.
        """


def check_name(name: str) -> None:
    """Raise :class:`SettingError` where there is no segmenter of that name, whether or not it can run here."""
    known = AUTO, GRABCUT, SAM2, *checkpoints.NAMES
    if name not in known and name not in (others := plugins.names(plugins.SEGMENTERS)):
        raise SettingError(f"Unknown segmenter {name!r}; choose from {', '.join((*known, *others))}.")


def check(name: str) -> None:
    """Raise :class:`SettingError` where the segmenter of that name cannot run here; loads nothing."""
    check_name(name)
    if name == SAM2 or name in checkpoints.NAMES:
        _checkpoint(name)
    elif name not in (AUTO, GRABCUT):
        _other(name).check()


def choose(name: str, device: str = "auto") -> Segmenter:
    """The segmenter that the settings name; ``auto`` is SAM 2 where it is installed with weights, else GrabCut.

    Raises :class:`SettingError` where the one that is named cannot run here.
    """
    check_name(name)
    if name == GRABCUT or (name == AUTO and not any(checkpoint.runs for checkpoint in checkpoints.available())):
        from .grabcut import GrabCut

        return GrabCut()
    if name not in (AUTO, SAM2, *checkpoints.NAMES):
        other = _other(name)
        other.use(device)
        return other
    checkpoint = _checkpoint(name)
    from .streaming import device_of

    on = device_of(device)
    if name in (AUTO, SAM2) and on == "cpu":
        checkpoint = checkpoints.find(small=True)
    if checkpoint.config:
        from .sam2 import Sam2

        return Sam2(checkpoint, on)
    from .sam2_transformers import Sam2Transformers

    return Sam2Transformers(checkpoint, on)


def _checkpoint(name: str) -> Checkpoint:
    return checkpoints.find("" if name in (AUTO, SAM2) else name)


def _other(name: str) -> Segmenter:
    segmenter: Segmenter = plugins.find(plugins.SEGMENTERS, name)
    return segmenter


def by_first_hint(hints: Mapping[int, Mapping[int, Hints]]) -> dict[int, list[int]]:
    """The objects by the first frame in which something is known of them."""
    groups: dict[int, list[int]] = {}
    for number, of_frames in hints.items():
        groups.setdefault(min(of_frames), []).append(number)
    return groups
