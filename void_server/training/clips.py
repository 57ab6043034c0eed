"""Pairs as the model sees them: clips of plate, truth and quadmask, cropped, at its size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..engines.void import fit
from ..engines.void.detail import enlarged
from ..engines.void.inputs import small_codes
from ..imaging.exr import FloatImage
from ..quadmask import classes
from ..quadmask.classes import Quadmask
from .config import LEAST_FRAMES, Data
from .material import Pair


@dataclass(frozen=True)
class Clip:
    """Some frames of a pair, at a size of height and width; as many as the model takes."""

    pair: Pair
    frames: tuple[int, ...]
    fit: fit.Fit

    @property
    def name(self) -> str:
        """What the log and the page call it."""
        return f"{self.pair.name} {self.frames[0]}-{self.frames[-1]} at {self.fit.size[0]} x {self.fit.size[1]}"

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
    """The clips of a pair: at each height, parts of the longest length that cover it, none of them across a gap."""
    for height in data.heights:
        share = min(1.0, (data.full_length_height / height) ** 2)
        for frames in (part for run in pair.runs for part in _parts(run, int(data.frames * share))):
            crop = pair.canvas
            if data.crop == "engine" and not (region := pair.changing(frames)).empty:
                crop = fit.around(region, pair.canvas, pair.pixel_aspect, height)
            yield Clip(pair, frames, fit.fit(crop, pair.pixel_aspect, height))


def _parts(run: tuple[int, ...], most: int) -> Iterator[tuple[int, ...]]:
    """Parts of one length, of ``most`` frames at most, that cover a run of frames."""
    length = _length(min(len(run), most))
    count = max(1, round(len(run) / length))
    for start in np.linspace(0, len(run) - length, count).round().astype(int):
        yield run[start : start + length]


def _length(frames: int) -> int:
    """The longest clip that the model takes of so many frames."""
    return max(LEAST_FRAMES, (frames - LEAST_FRAMES) // 8 * 8 + LEAST_FRAMES)
