"""Laying an engine's new pixels over the plate, at full size and in the plate's own colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import overshoot
from .engines import Clip, NewPixels
from .imaging import exr, grain, sequence
from .imaging.grain import Grain, Look
from .imaging.kept import keep, kept
from .imaging.parallel import in_order
from .imaging.window import Window
from .quadmask import classes

MATTE_CHANNELS = (*classes.CHANNELS, "blend.A")
#: Grain is measured in so many frames.
_MEASURED_FRAMES = 5
_GRAIN = "grain.npz"


class Finisher:
    """Finishes the frames of one clip."""

    def __init__(self, clip: Clip, *, grain: bool) -> None:
        self._clip = clip
        self._grain = _plates_grain(clip) if grain and not clip.whole_region.empty else None

    def mattes(self, index: int, window: Window) -> NDArray[np.float16]:
        """The mattes of the four classes and the blend in ``window``, in the order of :data:`MATTE_CHANNELS`."""
        blend = np.zeros((window.height, window.width), np.float16)
        region = self._clip.region(index).intersection(window)
        if not region.empty:
            blend[window.slices(region)] = self._clip.blend(index, region)
        return np.dstack([classes.mattes(self._clip.codes(index, window)), blend])

    def write_plate(self, new: NewPixels, path: Path) -> None:
        """Write the counterfactual plate of a frame: the new pixels over the plate by the blend."""
        footage, window = self._clip.footage, new.window
        frame = footage.frames[new.index]
        source = footage.plate.path(frame)
        if window.empty:
            exr.rewrite(source, path, window, new.rgb, np.zeros((0, 0), bool))
            return
        blend = self._clip.blend(new.index, window)
        touched = blend > 0
        linear = footage.curve.to_linear(new.rgb)
        if self._grain is not None:
            seed = self._clip.seed, new.index
            linear = grain.add(linear, touched, self._grain, seed, new.grain, footage.survey.maximum)
        rgb = footage.colour.from_linear(linear)
        plate = exr.read_rgb(source, window)
        plate = np.where(np.isfinite(plate), plate, rgb)
        mixed = plate + (rgb - plate) * blend[..., None]
        # before the frame is there, so that a job that goes on from it still knows
        written = footage.colour.to_linear(mixed)
        overshoot.note(self._clip.kept, overshoot.find(frame, written, window, touched, footage.survey.maximum))
        exr.rewrite(source, path, window, mixed, touched)


def keep_grain(clip: Clip) -> None:
    """Measure the plate's grain, for whoever goes on with the job."""
    if clip.settings.grain and not clip.whole_region.empty:
        _plates_grain(clip)


def _plates_grain(clip: Clip) -> Grain:
    """The plate's grain, from a few frames spread over the shot; measured once per job."""
    file = clip.kept / _GRAIN
    if not file.is_file():
        busy = [index for index in range(len(clip)) if not clip.region(index).empty]
        chosen = [busy[position] for position in sequence.spread(len(busy), _MEASURED_FRAMES)]
        keep(file, **vars(grain.measure(looks for _, looks in in_order(lambda index: _looks(clip, index), chosen))))
    return Grain.from_arrays(kept(file))


def _looks(clip: Clip, index: int) -> tuple[Look, Look | None]:
    """A frame and the one after it, or before it at the end, around what is rewritten."""
    canvas = clip.footage.canvas
    window = clip.region(index).grown(max(canvas.width, canvas.height) // 4).intersection(canvas)
    other = index + 1 if index + 1 < len(clip) else index - 1

    def look(index: int) -> Look:
        return Look(clip.footage.read_linear(clip.footage.frames[index], window), ~clip.rewritten(index, window))

    return look(index), look(other) if other >= 0 else None
