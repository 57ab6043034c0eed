"""Laying an engine's new pixels over the plate, at full size and in the plate's own colours."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .engines import Clip
from .imaging import exr, grain, sequence
from .imaging.exr import FloatImage
from .imaging.window import Window
from .quadmask import classes

MATTE_CHANNELS = (*classes.CHANNELS, "blend.A")
#: Grain is measured this far around what is rewritten, and from so many frames.
_SURROUNDINGS = 64
_MEASURED_FRAMES = 5


class Finisher:
    """Finishes the frames of one clip."""

    def __init__(self, clip: Clip, *, grain: bool) -> None:
        self._clip = clip
        self._with_grain = grain

    def mattes(self, index: int, window: Window) -> NDArray[np.float16]:
        """The mattes of the four classes and the blend in ``window``, in the order of :data:`MATTE_CHANNELS`."""
        blend = np.zeros((window.height, window.width), np.float16)
        region = self._clip.region(index).intersection(window)
        if not region.empty:
            blend[window.slices(region)] = self._clip.blend(index, region)
        return np.dstack([classes.mattes(self._clip.codes(index, window)), blend])

    @cached_property
    def _grain(self) -> grain.Grain:
        """The plate's grain around what is rewritten, from a few frames spread over the shot."""
        busy = [index for index in range(len(self._clip)) if not self._clip.region(index).empty]
        levels = []
        for index in (busy[position] for position in sequence.spread(len(busy), _MEASURED_FRAMES)):
            window = self._clip.region(index).grown(_SURROUNDINGS).intersection(self._clip.footage.canvas)
            levels.append(grain.measure(self._clip.plate(index, window), ~self._clip.rewritten(index, window)).level)
        return grain.Grain(np.median(levels, axis=0))

    def write_plate(self, index: int, window: Window, rgb: FloatImage, path: Path) -> None:
        """Write the counterfactual plate of a frame: ``rgb``, display-referred, over the plate by the blend."""
        footage = self._clip.footage
        frame = footage.frames[index]
        if window.empty:
            exr.rewrite(footage.plate.path(frame), path, window, rgb, np.zeros((0, 0), bool))
            return
        blend = self._clip.blend(index, window)
        touched = blend > 0
        if self._with_grain:
            rgb = grain.add(rgb, touched, self._grain, (self._clip.seed, index))
        new = footage.colour.from_linear(footage.curve.to_linear(rgb))
        plate = exr.read_rgb(footage.plate.path(frame), window)
        plate = np.where(np.isfinite(plate), plate, new)
        mixed = plate + (new - plate) * blend[..., None]
        exr.rewrite(footage.plate.path(frame), path, window, mixed, touched)
