"""Segmentation: from a few points, boxes or masks to an object's matte in every frame of a shot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...api.errors import SettingError
from ...imaging.exr import FloatImage
from ...plugins import how_to_install, installed
from . import checkpoints
from .checkpoints import Checkpoint

__all__ = ["Frames", "Hints", "Segmenter", "check_name", "checkpoint_for", "choose"]

AUTO, GRABCUT, SAM2 = "auto", "grabcut", "sam2"


class Frames(Protocol):
    """A shot's frames by index, (height, width, 3), display-referred, all of one size, read when they are asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> FloatImage: ...


@dataclass(frozen=True)
class Hints:
    """The prompts for an object in one frame, in pixels of that frame from the top left.

    Points on it (x, y), points not on it, a box (x0, y0, x1, y1) around it, or a mask of it. A mask overrides points on
    it and the box; points that are not on it correct the mask.
    """

    on: tuple[tuple[float, float], ...] = ()
    off: tuple[tuple[float, float], ...] = ()
    box: tuple[float, float, float, float] | None = None
    mask: NDArray[np.bool_] | None = field(default=None, compare=False)


class Segmenter(Protocol):
    """Tracks objects through a shot."""

    #: The method, for the report.
    name: str
    #: A warning for the artist; empty if there is none.
    warning: str
    #: The GPU that it runs on; empty for the CPU.
    device: str

    def follow(self, frames: Frames, hints: Mapping[int, Mapping[int, Hints]]) -> Iterator[tuple[int, int, FloatImage]]:
        """Yield (object, index, matte) for every object and every frame, in any order; mattes are (h, w), 0..1.

        ``hints`` are by object, then by frame index; every object has at least one. Objects are followed forwards and
        backwards from each of their hints.
        """


def sam2_installed() -> bool:
    """Whether the package sam2 and torch are here."""
    return installed("sam2") and installed("torch")


def check_name(name: str) -> None:
    """Raise :class:`SettingError` where there is no segmenter of that name, whether or not it can run here."""
    known = AUTO, GRABCUT, SAM2, *checkpoints.NAMES
    if name not in known:
        raise SettingError(f"Unknown segmenter {name!r}; choose from {', '.join(known)}.")


def choose(name: str, device: str = "auto") -> Segmenter:
    """The segmenter that the settings name; ``auto`` is SAM 2 where it is installed with weights, else GrabCut.

    Raises :class:`SettingError` where the one that is named cannot run here.
    """
    checkpoint = checkpoint_for(name)
    if checkpoint is None:
        from .grabcut import GrabCut

        return GrabCut()
    from .sam2 import Sam2

    return Sam2(checkpoint, device)


def checkpoint_for(name: str) -> Checkpoint | None:
    """SAM 2's checkpoint for the segmenter that the settings name, None for GrabCut; loads nothing.

    Raises :class:`SettingError` as :func:`choose`.
    """
    check_name(name)
    if name == GRABCUT or (name == AUTO and not (sam2_installed() and checkpoints.available())):
        return None
    checkpoint = checkpoints.find("" if name in (AUTO, SAM2) else name)
    if not sam2_installed():
        raise SettingError(f"SAM 2 is not installed where the server runs: {how_to_install('sam2')}")
    return checkpoint


def by_first_hint(hints: Mapping[int, Mapping[int, Hints]]) -> dict[int, list[int]]:
    """The objects by the first frame in which something is known of them."""
    groups: dict[int, list[int]] = {}
    for number, of_frames in hints.items():
        groups.setdefault(min(of_frames), []).append(number)
    return groups
