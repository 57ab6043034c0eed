"""A shot as engines see it."""

from __future__ import annotations

import json
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ..api.files import write_atomically
from ..api.shot import Shot
from ..imaging.exr import FloatImage
from ..imaging.footage import Footage
from ..imaging.masks import packed_rows, unpacked_rows
from ..imaging.parallel import for_each
from ..imaging.recent import Recent
from ..imaging.window import Window
from ..quadmask import classes, extent

_REGIONS, _CELLS = "regions.json", "cells.json"
#: Memory for the frames under way, in bytes: their quadmasks, their blends, and their rewritten pixels when small, of
#: which packed all of thousands fit.
_MASKS, _BLENDS, _SMALL = 256 * 2**20, 64 * 2**20, 64 * 2**20


class _Masks(NamedTuple):
    """The quadmask in a frame's region, beyond which all is kept, and the pixels to replace completely."""

    codes: classes.Quadmask
    rewritten: NDArray[np.bool_]

    @property
    def nbytes(self) -> int:
        return self.codes.nbytes + self.rewritten.nbytes


class QuadmaskFiles(Protocol):
    """The quadmask sequence on disk."""

    def __call__(self, frame: int) -> Path:
        """The file that holds the quadmask of ``frame``."""


class Clip:
    """A shot with its quadmask, by frame index; all pixels display-referred, all windows in the plate's coordinates."""

    def __init__(
        self,
        footage: Footage,
        quadmask: QuadmaskFiles,
        shot: Shot,
        scratch: Path,
        *,
        kept: Path | None = None,
        pixel_aspect: float = 1.0,
    ) -> None:
        self.footage = footage
        #: This process's own folder, for data too large for memory.
        self.scratch = scratch
        #: A folder shared by all processes of the job, for results that others reuse.
        self.kept = kept or scratch
        self.settings = shot.settings
        self.prompt = shot.prompt
        #: Whether the quadmask came with the shot; else it was found by a reasoner.
        self.quadmask_given = shot.quadmask is not None
        self.pixel_aspect = pixel_aspect
        self._quadmask = quadmask
        #: Warnings for the artist; engines add to them.
        self.warnings: list[str] = []
        self._masks = Recent(self._known, _MASKS)
        self._blends = Recent(self._blended, _BLENDS)
        self._small = Recent(self._small_rewritten, _SMALL)
        known = self.kept / _REGIONS
        found = json.loads(known.read_text(encoding="utf-8")) if known.is_file() else []
        self._regions: dict[int, Window] = {index: Window(*sides) for index, sides in enumerate(found)}

    def __len__(self) -> int:
        return len(self.footage.frames)

    @property
    def seed(self) -> int:
        """Decides all randomness."""
        return self.settings.seed

    @property
    def feather(self) -> float:
        """The width in pixels over which new pixels fade into the plate."""
        return self.settings.feather

    @property
    def margin(self) -> int:
        """How many pixels around a rewritten one new pixels can reach."""
        return int(np.ceil(self.feather)) + 2

    def plate(self, index: int, window: Window) -> FloatImage:
        """RGB of the plate in ``window``, (height, width, 3)."""
        return self.footage.read_plate(self.footage.frames[index], window)

    def pixels(self, index: int, window: Window, at: NDArray[np.intp]) -> FloatImage:
        """RGB of some of the plate's pixels in ``window``, (n, 3): those ``at`` numbers (n,), counted row by row."""
        stored = self.footage.read_compact(self.footage.frames[index], window)
        return self.footage.displayed(stored.reshape(-1, 3).take(at, axis=0))

    def codes(self, index: int, window: Window) -> classes.Quadmask:
        """The quadmask in ``window``; not to be written to."""
        return self._in_window(self._masks[index].codes, index, window, classes.KEEP)

    def rewritten(self, index: int, window: Window) -> NDArray[np.bool_]:
        """The pixels in ``window`` to replace completely, which show nothing of the clean scene; not to be written to.

        A frame's own region holds all of them, and all of its quadmask that is not kept. That is read whole and
        remembered for a while: the frames around ask for it again and again.
        """
        return self._in_window(self._masks[index].rewritten, index, window, False)

    def _in_window(self, known: NDArray[Any], index: int, window: Window, beyond: int) -> NDArray[Any]:
        region = self.region(index)
        if window == region:
            return known
        result = np.full((window.height, window.width), beyond, known.dtype)
        inside = window.intersection(region)
        if not inside.empty:
            result[window.slices(inside)] = known[region.slices(inside)]
        return result

    def _known(self, index: int) -> _Masks:
        region = self._regions.get(index)
        known = self._find(index) if region is None else self._read(index, region)
        for array in known:
            array.flags.writeable = False
        return known

    def _read(self, index: int, window: Window) -> _Masks:
        if window.empty:
            return _Masks(np.zeros((0, 0), np.uint8), np.zeros((0, 0), bool))
        codes = classes.read(self._quadmask(self.footage.frames[index]), window)
        roto = self.footage.read_roto(self.footage.frames[index], window)
        return _Masks(codes, extent.rewritten(codes, roto))

    def _find(self, index: int) -> _Masks:
        """Read the whole frame, and note its region."""
        canvas = self.footage.canvas
        whole = self._read(index, canvas)
        x, y, width, height = cv2.boundingRect(whole.rewritten.astype(np.uint8))
        found = Window(canvas.x + x, canvas.y + y, width, height)
        region = found.grown(self.margin).intersection(canvas) if width else Window(0, 0, 0, 0)
        self._regions[index] = region
        return _Masks(*(array[canvas.slices(region)].copy() for array in whole))

    def blend(self, index: int, window: Window) -> FloatImage:
        """The matte with which new pixels are laid over the plate."""
        if window != self.region(index):
            return extent.blend(self.rewritten(index, window), self.feather)
        return self._blends[index].astype(np.float32)

    def _blended(self, index: int) -> NDArray[np.float16]:
        # half floats hold it exactly
        return extent.blend(self.rewritten(index, self.region(index)), self.feather).astype(np.float16)

    def region(self, index: int) -> Window:
        """The smallest window that holds all pixels of the frame whose blend is above 0; empty where there are none."""
        if index not in self._regions:
            self._masks[index]
        return self._regions[index]

    def keep_regions(self) -> None:
        """Store the regions for every process that continues the job; finding them reads the whole quadmask."""
        write_atomically(self.kept / _REGIONS, json.dumps(self._all_regions()))

    def keep_cells(self, part: Window) -> None:
        """Store the part of the frame whose grid the affected areas fill, for every process that continues the job."""
        write_atomically(self.kept / _CELLS, json.dumps(part))

    @property
    def cells(self) -> Window | None:
        """That part; None where the quadmask was not made for this job in cells of the engine's own."""
        known = self.kept / _CELLS
        return Window(*json.loads(known.read_text(encoding="utf-8"))) if known.is_file() else None

    @property
    def whole_region(self) -> Window:
        """The smallest window that holds the regions of all frames."""
        return reduce(Window.union, self._all_regions())

    def _all_regions(self) -> list[Window]:
        for_each(self.region, [index for index in range(len(self)) if index not in self._regions])
        return [self._regions[index] for index in range(len(self))]

    def small_rewritten(self, index: int) -> NDArray[np.bool_]:
        """The rewritten pixels at the analysed size, each that holds any; not to be written to."""
        _, width = self.footage.small_size
        small = unpacked_rows(self._small[index], width)
        small.flags.writeable = False
        return small

    def _small_rewritten(self, index: int) -> NDArray[np.uint8]:
        """Packed, eight pixels of a row to the byte: every frame's are asked for, time and again."""
        given_up = self.rewritten(index, self.footage.canvas).astype(np.float32)
        height, width = self.footage.small_size
        return packed_rows(cv2.resize(given_up, (width, height), interpolation=cv2.INTER_AREA) > 0)
