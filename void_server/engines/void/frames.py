"""Read the model's output for a clip, piece by piece, and turn it into the shot's frames; needs no model."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from ...api.files import write_atomically
from ...imaging.exr import FloatImage
from ...imaging.framefile import FrameFile
from ...imaging.window import Window
from ...quadmask.classes import is_removed
from .. import NewPixels
from ..cleanplate import CleanPlate
from ..clip import Clip
from . import fit
from .detail import restored
from .inputs import Inputs
from .pieces import at, faded, planned, sources
from .settings import VoidSettings

# What is kept beside so much of a frame tells nothing of what lies behind it.
_ALL = 0.999
# Of a frame more of which is the object, a clean plate shows more than the plate.
_MOSTLY = 0.5
# Marks a piece as complete, and records what made it.
_DONE = "void_{}.json"


class Made:
    """The model's frames of one clip, in ``clip.kept``, shared by all processes of the job."""

    def __init__(self, clip: Clip, region: Window) -> None:
        self.clip = clip
        self.settings = clip.settings.of_engine(VoidSettings)
        height, crop = self.settings.working_height, clip.cells
        if crop is None:
            crop = fit.around(region, clip.footage.canvas, clip.pixel_aspect, height)
        self.fit = fit.fit(crop, clip.pixel_aspect, height)
        #: The frames that the model makes, by their index in the clip; pieces count in these.
        self.indices, self.pieces = planned(clip.footage.frames, self.settings.frame_step, self.settings.piece_length)
        self.inputs = Inputs(clip, self.fit)
        #: Of a model's frame, (height, width, 3).
        self.shape = (*self.fit.size, 3)

    def file(self, number: int) -> FrameFile:
        """The frames of a piece, display-referred."""
        return FrameFile(self.clip.kept / f"void_{number}.raw", self.shape, np.float16)

    def first_pass(self, number: int, made_from: Mapping[str, str]) -> FrameFile:
        """The same of a first pass, for the second; ``made_from`` tells it from those of other weights."""
        name = hashlib.sha256(repr(sorted(made_from.items())).encode()).hexdigest()[:16]
        return FrameFile(self.clip.kept / f"void_{number}_pass1_{name}.raw", self.shape, np.float16)

    def _done(self, number: int) -> Path:
        return self.clip.kept / _DONE.format(number)

    def note(self, number: int, made_with: Mapping[str, str]) -> None:
        """Note that a piece is complete."""
        write_atomically(self._done(number), json.dumps(dict(made_with)))

    @property
    def missing(self) -> list[int]:
        """The numbers of the missing pieces. One in which nothing changes is none: no pixel of it is used."""
        changing = [index for index in range(len(self.clip)) if not self.clip.region(index).empty]
        used = {number for index in changing for number in sources(index, self.indices)}
        found = [number for number, piece in enumerate(self.pieces) if not used.isdisjoint(piece)]
        return [number for number in found if not self._done(number).is_file()]

    def frames(self, wanted: Sequence[int], report: Callable[[float], None]) -> Iterator[NewPixels]:
        """The new frames at full size, once no piece is missing; see :class:`void_server.engines.Engine`."""
        crop = self.fit.crop
        for guide in self._guides(wanted, report):
            index, window, grain = guide.index, guide.window, guide.grain
            plate = self.clip.plate(index, crop)
            inner = window.intersection(crop)
            plate[crop.slices(inner)] = guide.rgb[window.slices(inner)]
            whole, gain = restored(at(index, self.indices, self._model_frame), plate)
            if grain is not None:
                # detail comes with its grain
                grain = grain[window.slices(inner)] * (gain[crop.slices(inner)] ** 2).mean(axis=-1)
            yield NewPixels(index, inner, whole[crop.slices(inner)], grain)

    def prepare_guides(self, report: Callable[[float], None]) -> None:
        """Make what the clean plates of all frames that take their detail from one need; nothing if that is there."""
        if shown := [index for index in range(len(self.clip)) if index not in self._wholly_affected]:
            CleanPlate().prepare(self.clip, report, shown)

    def _guides(self, wanted: Sequence[int], report: Callable[[float], None]) -> Iterator[NewPixels]:
        """What the detail of each wanted frame is taken from: its clean plate, or the plate where all is affected."""
        self.prepare_guides(report)
        affected = [index for index in wanted if index in self._wholly_affected]
        shown = [index for index in wanted if index not in self._wholly_affected]
        clean = CleanPlate().synthesise(self.clip, shown, report) if shown else iter(())
        return heapq.merge(self._plates(affected), clean, key=lambda guide: guide.index)

    @cached_property
    def _wholly_affected(self) -> frozenset[int]:
        """The frames all of which is rewritten, most of it not as the object, as where the light changes.

        The plate has more of their detail than what other frames show. If all of every frame is rewritten, nothing else
        is there to take detail from: all count.
        """
        clip, canvas = self.clip, self.clip.footage.canvas
        whole = frozenset(index for index in range(len(clip)) if clip.small_rewritten(index).mean() > _ALL)
        if len(whole) == len(clip):
            return whole
        return frozenset(index for index in whole if is_removed(clip.codes(index, canvas)).mean() < _MOSTLY)

    def _plates(self, wanted: Sequence[int]) -> Iterator[NewPixels]:
        """In place of the clean plate the plate: what of it the model shows in other light is graded to match."""
        crop = self.fit.crop
        for index in wanted:
            plate = self.clip.plate(index, crop)
            yield NewPixels(index, crop, plate, np.ones(plate.shape[:2], np.float32))

    def _model_frame(self, number: int) -> FloatImage:
        """The frame of that number among those that the model makes."""
        return faded(self.pieces, number, lambda piece, index: self.file(piece)[index].astype(np.float32))


def made_with(kept: Path) -> dict[str, str]:
    """The devices that made the pieces, and the weights' hashes by file."""
    records = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(kept.glob(_DONE.format("*")))]
    names = sorted({name for one in records for name in one})
    return {name: "; ".join(sorted({one[name] for one in records if name in one})) for name in names}
