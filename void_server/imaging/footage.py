"""The frames of a shot at two sizes: full, and small enough to analyse all of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..api.files import write_atomically
from ..api.version import SURVEY
from . import exr, halves
from .colour import ColourSpace, Curve
from .exr import FloatImage
from .framefile import FrameFile
from .halves import look_up
from .parallel import in_order
from .sequence import Sequence
from .window import Window

#: Frames are analysed at this width at most.
ANALYSIS_WIDTH = 640

# A lone firefly at half's limit would push the rest of the shot into the darkest part of the curve.
_DISPLAYED_MAXIMUM = 4096.0
#: Rows looked at at once: they fit into a core's cache.
_ROWS = 16
#: Analysis sees every shot exposed so that its usual brightness is this, scene-linear.
_EXPOSED = 0.27
#: An exposure lies within this factor of the shot's own: what is darker has nothing to see.
_MOST_EXPOSURE = 1024.0


def curve_up_to(maximum: float) -> Curve:
    """The curve from scene-linear to display for a shot whose brightest value that is."""
    return Curve(min(maximum, _DISPLAYED_MAXIMUM))


@dataclass
class Survey:
    """Statistics from one pass over every frame.

    The brightest finite value of the scene, how many pixels of plate and roto are not finite, by frame, and the share
    of each frame that the roto covers; ``highest`` is the roto's highest value, and ``brightness`` is how bright the
    shot usually is.
    """

    maximum: float = 0.0
    brightness: float = 0.0
    broken: dict[int, int] = field(default_factory=dict)
    broken_roto: dict[int, int] = field(default_factory=dict)
    removed: dict[int, float] = field(default_factory=dict)
    highest: float = 0.0


class Footage:
    """Plate and roto of a shot over ``frames``, on one canvas that holds every frame's data window.

    Without a roto, an empty one is read.

    Plates are read display-referred; NaN and Inf become 0 there. Pixels outside a frame's data window are 0.
    """

    def __init__(
        self,
        plate: Sequence,
        roto: Sequence | None,
        frames: tuple[int, ...],
        colour: ColourSpace,
        canvas: Window,
        work: Path,
    ) -> None:
        self.plate, self.roto, self.frames, self.colour, self.canvas = plate, roto, frames, colour, canvas
        self.scale = min(1.0, ANALYSIS_WIDTH / canvas.width)
        self._work = work
        self._plates = FrameFile(work / "plates.raw", (*self.small_size, 3), np.float16)
        self._rotos = FrameFile(work / "rotos.raw", self.small_size, np.uint8)

    @property
    def small_size(self) -> tuple[int, int]:
        """Height and width of the analysed frames."""
        return max(1, round(self.canvas.height * self.scale)), max(1, round(self.canvas.width * self.scale))

    def read_plate(self, frame: int, window: Window) -> FloatImage:
        """RGB of ``window``, (height, width, 3), display-referred: 0..1 up to the shot's maximum."""
        return self.displayed(self.read_compact(frame, window))

    def read_compact(self, frame: int, window: Window) -> NDArray[np.floating]:
        """What :meth:`displayed` makes the same of as :meth:`read_plate`: halves where the plate :attr:`is_compact`."""
        stored = exr.read_stored_rgb(self.plate.path(frame), window)
        if self.colour.is_linear and stored.dtype == np.float16:
            return stored
        return self.curve.to_display(self.linear(stored))

    def displayed(self, compact: NDArray[np.floating]) -> FloatImage:
        """Display-referred floats of what :meth:`read_compact` gave, or of a part of it."""
        if compact.dtype == np.float16:
            return look_up(self._displayed, np.asarray(compact, np.float16))
        return np.asarray(compact, np.float32)

    @cached_property
    def is_compact(self) -> bool:
        """Whether the plate is of scene-linear halves, which take half the memory and are displayed in no time."""
        return self.colour.is_linear and exr.read_header(self.plate.path(self.frames[0])).half

    def read_linear(self, frame: int, window: Window) -> FloatImage:
        """RGB of ``window``, (height, width, 3), scene-linear Rec.709."""
        return self._read_linear(frame, window)[0]

    def read_roto(self, frame: int, window: Window) -> FloatImage:
        """The roto in ``window``, (height, width), 0..1."""
        return self._read_roto(frame, window)[0]

    def _read_roto(self, frame: int, window: Window) -> tuple[FloatImage, int]:
        """That, and how many pixels are not finite."""
        if self.roto is None:
            return np.zeros((window.height, window.width), np.float32), 0
        stored = exr.read_stored_matte(self.roto.path(frame), window, self.roto.channels)
        if stored.dtype == np.float16 and _all_finite(stored):
            return look_up(_matte_of_halves(), np.asarray(stored, np.float16)), 0
        values = stored.astype(np.float32, copy=False)
        return _as_matte(values), values.size - int(np.count_nonzero(np.isfinite(values)))

    def _read_linear(self, frame: int, window: Window) -> tuple[FloatImage, int]:
        return self._counted(exr.read_stored_rgb(self.plate.path(frame), window))

    def linear(self, stored: NDArray[np.floating]) -> FloatImage:
        """RGB (height, width, 3) in the plate's own colours, halves or floats, scene-linear Rec.709; 0 for what is not
        finite.
        """
        return self._counted(stored)[0]

    def _counted(self, stored: NDArray[np.floating]) -> tuple[FloatImage, int]:
        """Those, and how many pixels are not finite."""
        if self.colour.is_linear and stored.dtype == np.float16 and _all_finite(stored):
            # as most plates are: nothing is to be converted, and nothing lies beyond what a half holds
            return look_up(halves.FINITE, np.asarray(stored, np.float16)), 0
        pixels = stored.astype(np.float32, copy=False)
        finite = np.isfinite(pixels)
        broken = pixels.size - int(np.count_nonzero(finite))
        if broken:
            broken = int(np.count_nonzero(~finite.all(axis=-1)))
            pixels = np.where(finite, pixels, np.float32(0))
        linear = np.clip(self.colour.to_linear(pixels), -exr.HALF_MAX, exr.HALF_MAX)
        # an encoding may make any number, or none, of what is far beyond its range
        linear[np.isnan(linear)] = 0
        return linear, broken

    @cached_property
    def curve(self) -> Curve:
        """The curve from scene-linear to display for this shot; needs :meth:`look`."""
        return curve_up_to(self.survey.maximum)

    @cached_property
    def survey(self) -> Survey:
        """The survey that :meth:`look` made."""
        data = json.loads((self._work / SURVEY).read_text())
        by_frame = {name: {int(f): n for f, n in data[name].items()} for name in ("broken", "broken_roto", "removed")}
        return Survey(data["maximum"], data["brightness"], highest=data["highest"], **by_frame)

    @cached_property
    def even_curve(self) -> Curve:
        """The curve of :meth:`evenly_exposed`, for light times :attr:`exposure`."""
        return curve_up_to(self.survey.maximum * self.exposure)

    @cached_property
    def _displayed(self) -> FloatImage:
        return self.curve.displayed_halves()

    @cached_property
    def _evenly_displayed(self) -> FloatImage:
        return self.even_curve.displayed_halves(self.exposure)

    @cached_property
    def exposure(self) -> float:
        """By how much the shot is exposed for analysis, so that dark and bright shots look alike to it."""
        brightness = self.survey.brightness
        return min(max(_EXPOSED / brightness, 1 / _MOST_EXPOSURE), _MOST_EXPOSURE) if brightness > 0 else 1.0

    def look(self, report: Callable[[int], None]) -> None:
        """Read every frame once: survey the shot and store the small frames. Runs once per job, even if resumed."""
        done = self._work / SURVEY
        if done.is_file():
            return
        survey = Survey()
        brightness: list[float] = []

        def small_plates() -> Iterator[NDArray[np.float16]]:
            for frame, (plate, roto, brightest, broken, broken_roto) in in_order(self._look_at, self.frames):
                rotos(roto)
                survey.maximum = max(survey.maximum, brightest)
                survey.removed[frame] = float(np.mean(roto >= 128))
                survey.highest = max(survey.highest, float(roto.max(initial=0)) / 255)
                brightness.append(_brightness(plate))
                if broken:
                    survey.broken[frame] = broken
                if broken_roto:
                    survey.broken_roto[frame] = broken_roto
                report(frame)
                yield plate

        with self._rotos.writing() as rotos:
            self._plates.write(small_plates())
        survey.brightness = float(np.median(brightness))
        write_atomically(done, json.dumps(asdict(survey)))

    def _look_at(self, frame: int) -> tuple[NDArray[np.float16], NDArray[np.uint8], float, int, int]:
        linear, broken = self._read_linear(frame, self.canvas)
        height, width = self.small_size
        # the mean of linear light is what a smaller sensor would record
        small = cv2.resize(linear, (width, height), interpolation=cv2.INTER_AREA)
        roto, broken_roto = self._read_roto(frame, self.canvas)
        # the largest value of each block: an edge that is soft at full size must not get lost
        block = max(1, math.ceil(1 / self.scale))
        roto = cv2.dilate(roto, np.ones((block, block), np.uint8)) if block > 1 else roto
        roto = cv2.resize(roto, (width, height), interpolation=cv2.INTER_AREA)
        half = np.clip(small, -exr.HALF_MAX, exr.HALF_MAX).astype(np.float16)
        return half, np.round(roto * 255).astype(np.uint8), float(linear.max(initial=0)), broken, broken_roto

    def small_plate(self, index: int) -> FloatImage:
        """The small frame number ``index`` of the shot, (height, width, 3), display-referred."""
        return look_up(self._displayed, self._plates[index])

    def small_linear(self, index: int, exposure: float = 1.0) -> FloatImage:
        """The small frame number ``index``, (height, width, 3), scene-linear, times ``exposure``."""
        return self._plates[index].astype(np.float32) * np.float32(exposure)

    def evenly_exposed(self, index: int) -> FloatImage:
        """The small frame number ``index``, (height, width, 3), display-referred at the shot's :attr:`exposure`."""
        return look_up(self._evenly_displayed, self._plates[index])

    def small_roto(self, index: int) -> FloatImage:
        """The roto of small frame number ``index``, (height, width), 0..1."""
        return self._rotos[index].astype(np.float32) / np.float32(255)

    def analysed(self, window: Window) -> Window:
        """The window of analysed pixels that holds ``window`` of the plate, with a pixel to spare."""
        height, width = self.small_size
        x, y = (window.x - self.canvas.x) * self.scale, (window.y - self.canvas.y) * self.scale
        left, top = math.floor(x) - 1, math.floor(y) - 1
        right = math.ceil(x + window.width * self.scale) + 1
        bottom = math.ceil(y + window.height * self.scale) + 1
        return Window(left, top, right - left, bottom - top).intersection(Window(0, 0, width, height))

    def at_full_size(self, small: Window) -> Window:
        """The plate's pixels that a window of analysed ones covers."""
        canvas, scale = self.canvas, self.scale
        left, top = canvas.x + math.floor(small.x / scale), canvas.y + math.floor(small.y / scale)
        right = canvas.x + math.ceil(small.right / scale)
        bottom = canvas.y + math.ceil(small.bottom / scale)
        return Window(left, top, right - left, bottom - top)

    def enlarged(self, small: NDArray[np.bool_], window: Window) -> NDArray[np.bool_]:
        """An analysis-size mask at full size, in ``window``, with smooth edges."""
        size = self.canvas.width, self.canvas.height
        full = cv2.resize(small.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) >= 0.5
        return full[self.canvas.slices(window)]


def _all_finite(stored: NDArray[np.floating]) -> bool:
    """Whether no half float is NaN or Inf: those have all bits of the exponent."""
    rows = (stored[top : top + _ROWS].view(np.uint16) for top in range(0, len(stored), _ROWS))
    return all(bool(((bits & np.uint16(0x7C00)) < 0x7C00).all()) for bits in rows)


def _as_matte(values: FloatImage) -> FloatImage:
    """Values as a matte, 0..1; NaN is 0."""
    return np.minimum(np.fmax(values, np.float32(0)), np.float32(1))


@cache
def _matte_of_halves() -> FloatImage:
    """What :func:`_as_matte` makes of all halves."""
    return _as_matte(halves.ALL)


def _brightness(plate: NDArray[np.floating]) -> float:
    """How bright a scene-linear frame is: the mean in which lamps count little, and so do black corners."""
    return float(np.mean(np.sqrt(np.maximum(plate.astype(np.float32), 0)))) ** 2
