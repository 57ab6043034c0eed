"""Pairs as the model sees them: clips of plate, truth and quadmask, cropped, at its size, display-referred."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from pathlib import Path

import cv2
import numpy as np

from ..api.errors import SequenceError
from ..api.shot import SCENE_LINEAR_REC709
from ..engines.void import fit
from ..engines.void.detail import enlarged
from ..engines.void.inputs import small_codes
from ..imaging import exr
from ..imaging.colour import ColourSpace, Curve
from ..imaging.exr import FloatImage
from ..imaging.footage import curve_up_to
from ..imaging.window import Window
from ..pairs import PairFacts, PairFolder
from ..pairs.layout import PLATE, TRUTH
from ..quadmask import classes
from ..quadmask.classes import Quadmask
from .config import LEAST_FRAMES, Data


class Pair:
    """A pair whose files were found. Raises :class:`~void_server.api.errors.InputError` where one is wrong."""

    def __init__(self, folder: PairFolder, data: Data) -> None:
        self.folder = folder
        self.facts: PairFacts = folder.facts()
        self._plate, self._truth = folder.sequence(PLATE), folder.sequence(TRUTH)
        self._quadmask = folder.sequence(data.quadmask)
        step = max(1, round(self.facts.fps / data.fps)) if data.fps else 1
        self.frames = self._plate.frames[::step]
        if len(self.frames) < LEAST_FRAMES:
            raise SequenceError(
                f"{folder.folder} has {len(self.frames)} frames to learn from, and {LEAST_FRAMES} are the least; leave "
                "it out, or set data.fps higher."
            )
        header = exr.read_header(self._plate.path(self.frames[0]))
        self.canvas, self.pixel_aspect = header.display_window, header.pixel_aspect
        self._colour = ColourSpace(SCENE_LINEAR_REC709)

    @property
    def files(self) -> list[Path]:
        """All files of the pair that are learnt from."""
        found = [self._plate.path(f) for f in self.frames] + [self._quadmask.path(f) for f in self.frames]
        return [*found, *dict.fromkeys(self._truth_file(f) for f in self.frames)]

    def _truth_file(self, frame: int) -> Path:
        """The truth's file for a frame; a single one serves all."""
        only = self._truth.frames[0] if len(self._truth.frames) == 1 else frame
        return self._truth.path(only)

    @cached_property
    def curve(self) -> Curve:
        """As the engine has it for the plate: all of the shot decides."""
        return curve_up_to(max(float(self._linear(self._plate.path(f), self.canvas).max()) for f in self.frames))

    def _linear(self, path: Path, window: Window) -> FloatImage:
        pixels = np.nan_to_num(exr.read_rgb(path, window), nan=0.0, posinf=0.0, neginf=0.0)
        return np.clip(self._colour.to_linear(pixels), -exr.HALF_MAX, exr.HALF_MAX)

    def plate(self, frame: int, window: Window) -> FloatImage:
        """RGB of the plate, (height, width, 3), display-referred."""
        return self.curve.to_display(self._linear(self._plate.path(frame), window))

    def truth(self, frame: int, window: Window) -> FloatImage:
        """The same of the truth, by the plate's curve."""
        return self.curve.to_display(self._linear(self._truth_file(frame), window))

    def codes(self, frame: int, window: Window) -> Quadmask:
        """The quadmask, (height, width)."""
        return classes.read(self._quadmask.path(frame), window)

    def changing(self, frames: Sequence[int]) -> Window:
        """The smallest window that holds all that is not kept in ``frames``; empty where nothing is."""
        canvas = self.canvas

        def changed(frame: int) -> Window:
            x, y, width, height = cv2.boundingRect((self.codes(frame, canvas) != classes.KEEP).astype(np.uint8))
            return Window(canvas.x + x, canvas.y + y, width, height)

        return reduce(Window.union, map(changed, frames))


@dataclass(frozen=True)
class Clip:
    """Some frames of a pair, at a size of height and width; as many as the model takes."""

    pair: Pair
    frames: tuple[int, ...]
    fit: fit.Fit

    @property
    def name(self) -> str:
        """What the log and the page call it."""
        return f"{self.pair.folder.name} {self.frames[0]}-{self.frames[-1]} at {self.fit.size[0]} x {self.fit.size[1]}"

    def plates(self, frames: Sequence[int]) -> FloatImage:
        """Plates (frames, height, width, 3) in 0..1, by their index in the clip."""
        return np.stack([self._small(self.pair.plate(self.frames[index], self.fit.crop)) for index in frames])

    def truths(self, frames: Sequence[int]) -> FloatImage:
        """The same of the truth."""
        return np.stack([self._small(self.pair.truth(self.frames[index], self.fit.crop)) for index in frames])

    def codes(self, frames: Sequence[int]) -> Quadmask:
        """Quadmasks (frames, height, width); on the clip's first frame nothing is affected, as in VOID's training."""
        found = [small_codes(self.pair.codes(self.frames[index], self.fit.crop), self.fit.size) for index in frames]
        return np.stack(
            [classes.unaffected(one) if index == 0 else one for index, one in zip(frames, found, strict=True)]
        )

    def _small(self, rgb: FloatImage) -> FloatImage:
        height, width = self.fit.size
        return np.clip(enlarged(rgb, width, height), 0, 1).astype(np.float32)


def clips_of(pair: Pair, data: Data) -> Iterator[Clip]:
    """The clips of a pair: at each height, parts of the longest length that cover it."""
    for height in data.heights:
        share = min(1.0, (data.full_length_height / height) ** 2)
        length = _length(min(len(pair.frames), int(data.frames * share)))
        count = max(1, round(len(pair.frames) / length))
        for start in np.linspace(0, len(pair.frames) - length, count).round().astype(int):
            frames = pair.frames[start : start + length]
            crop = pair.canvas
            if data.crop == "engine" and not (region := pair.changing(frames)).empty:
                crop = fit.around(region, pair.canvas, pair.pixel_aspect, height)
            yield Clip(pair, frames, fit.fit(crop, pair.pixel_aspect, height))


def _length(frames: int) -> int:
    """The longest clip that the model takes of so many frames."""
    return max(LEAST_FRAMES, (frames - LEAST_FRAMES) // 8 * 8 + LEAST_FRAMES)
