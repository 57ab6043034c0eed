"""The stage that writes the counterfactual plate, its patch and the mattes.

An engine's new pixels become a patch at full size, in the plate's own colours, with the grain that they lack. The
counterfactual plate is that patch over the plate, by the formula of every compositing program.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..api.version import MATTES, REMOVAL
from ..engines import Clip, NewPixels, origin
from ..imaging import arrays, exr, grain, sequence
from ..imaging.exr import FloatImage
from ..imaging.grain import Grain, Look
from ..imaging.parallel import for_each, in_order
from ..imaging.runs import neighbour
from ..imaging.window import Window
from ..quadmask import classes
from . import origins, overshoot
from .context import JobContext

MATTE_CHANNELS = (*classes.CHANNELS, "void_blend.A", *origin.CHANNELS)
#: The mattes of what is kept.
_KEPT = tuple(float(name == f"quadmask.{classes.NAMES[classes.KEEP]}") for name in MATTE_CHANNELS)
PATCH_CHANNELS = (*exr.RGB, "A")
#: Grain is measured in so many frames: in fewer of large ones, each of which tells more.
_MEASURED_FRAMES, _FEWEST_MEASURED, _MEASURED_PIXELS = 5, 2, 12e6
_GRAIN = "grain.npz"
#: The smallest blend above 0 that a half float holds.
_TINY = 2.0**-24


def rewrite(context: JobContext, clip: Clip, frames: tuple[int, ...]) -> list[str]:
    """Write what is missing of the plates, patches and mattes of ``frames``; returns warnings."""
    version, tracker = context.version, context.tracker
    missing = set(version.missing(frames, *REMOVAL))
    indices = [index for index, frame in enumerate(context.frames) if frame in missing]
    compositor = Compositor(clip, grain=clip.settings.grain)

    def new_frames() -> Iterator[NewPixels]:
        """The engine's frames, and between them those in which there is nothing to rewrite."""
        rest = iter(indices)
        for new in context.engine.synthesise(clip, indices, lambda share: tracker.at(0.4 * share)):
            for index in rest:
                if index == new.index:
                    yield new
                    break
                yield _nothing(index)
        yield from map(_nothing, rest)

    def write(new: NewPixels) -> int:
        frame = context.frames[new.index]
        header = exr.read_header(context.source.plate.path(frame))
        _write_mattes(context, compositor, new.index, header.data_window, new)
        patch = compositor.patch(new, half=header.half)
        cropped = patch.cropped(header.data_window)
        context.write(version.patch(frame), cropped.rgba, PATCH_CHANNELS, cropped.window)
        compositor.write_plate(patch, version.plate(frame), context.header)
        context.digests.note(version.plate(frame))
        return frame

    for done, (_, frame) in enumerate(in_order(write, new_frames())):
        tracker.at(0.4 + 0.6 * (done + 1) / len(indices), frame)
    return clip.warnings


def _nothing(index: int) -> NewPixels:
    return NewPixels(index, Window(0, 0, 0, 0), np.zeros((0, 0, 3), np.float32))


def write_all_mattes(context: JobContext) -> None:
    """Write the mattes of a quadmask for review, with the blend that rewriting would use."""
    compositor = Compositor(context.clip(), grain=False)
    lacking = set(context.version.missing(context.frames, MATTES))
    missing = [index for index, frame in enumerate(context.frames) if frame in lacking]

    def write(index: int) -> None:
        _write_mattes(context, compositor, index, context.plate_window(context.frames[index]))

    for_each(write, missing)


def _write_mattes(
    context: JobContext, compositor: Compositor, index: int, data: Window, new: NewPixels | None = None
) -> None:
    frame = context.frames[index]
    part = compositor.part(index, data)
    made = compositor.origins(index, part, new)
    if new is not None:
        # before the frame exists, so that a resumed job still knows
        origins.note(context.version.intermediate, frame, made)
    mattes = compositor.mattes(index, part, made)
    context.write_mattes(context.version.mattes(frame), mattes, part, _KEPT, MATTE_CHANNELS, data)


class Compositor:
    """Lays new pixels over the plates of one clip."""

    def __init__(self, clip: Clip, *, grain: bool) -> None:
        self._clip = clip
        self._grain = _plates_grain(clip) if grain and not clip.whole_region.empty else None

    def origins(self, index: int, window: Window, new: NewPixels | None) -> NDArray[np.uint8]:
        """Where each pixel in ``window`` comes from; 0 where none is ``new``."""
        made = np.zeros((window.height, window.width), np.uint8)
        if new is not None and not new.window.empty and not window.empty:
            both = new.window.intersection(window)
            codes = np.uint8(origin.GENERATED) if new.origin is None else new.origin[new.window.slices(both)]
            blended = self._clip.blend(index, new.window)[new.window.slices(both)] > 0
            made[window.slices(both)] = np.where(blended, codes, 0)
        return made

    def part(self, index: int, data: Window) -> Window:
        """The part of a frame's window ``data`` beyond which all is kept."""
        return self._clip.region(index).intersection(data)

    def mattes(self, index: int, window: Window, made: NDArray[np.uint8]) -> NDArray[np.float16]:
        """The mattes of classes, blend and origin in ``window``, in the order of :data:`MATTE_CHANNELS`.

        ``made`` is what :meth:`origins` says.
        """
        region, mattes = self._clip.region(index), np.empty((*made.shape, len(MATTE_CHANNELS)), np.float16)
        if not window.empty:
            codes, blend = self._clip.codes(index, window), self._clip.blend(index, region)[region.slices(window)]
            parts = classes.mattes(codes), blend[..., None], origin.mattes(made)
            np.concatenate(parts, axis=-1, out=mattes, casting="same_kind")
        return mattes

    def patch(self, new: NewPixels, *, half: bool) -> Patch:
        """The new pixels of a frame with the blend, as the files hold them: in ``half`` or whole floats."""
        footage, window = self._clip.footage, new.window
        kind = np.float16 if half else np.float32
        rgba = np.zeros((window.height, window.width, 4), kind)
        if window.empty:
            return Patch(new.index, window, rgba)
        blend = self._clip.blend(new.index, window)
        linear = footage.curve.to_linear(new.rgb)
        if self._grain is not None:
            seed = self._clip.seed, new.index
            linear = grain.add(linear, blend > 0, self._grain, seed, new.grain, footage.survey.maximum)
        rgb = footage.colour.from_linear(linear) * blend[..., None]
        np.copyto(rgb, 0, where=(blend == 0)[..., None])
        rgba[..., :3] = np.clip(rgb, -exr.HALF_MAX, exr.HALF_MAX, out=rgb) if kind == np.float16 else rgb
        rgba[..., 3] = blend
        return Patch(new.index, window, rgba)

    def write_plate(self, patch: Patch, path: Path, header: Mapping[str, str] | None = None) -> None:
        """Write the counterfactual plate of a frame: the patch over the plate, with ``header`` beside the plate's."""
        footage, window = self._clip.footage, patch.window
        frame = footage.frames[patch.index]
        rgb, blend = patch.rgba[..., :3].astype(np.float32), patch.rgba[..., 3:].astype(np.float32)
        touched = blend[..., 0] > 0

        def over(plate: FloatImage) -> FloatImage:
            # what is not finite in the plate is replaced wholly
            finite = np.isfinite(plate)
            known = plate if finite.all() else np.where(finite, plate, 0)
            result = known * (1 - blend)
            result += rgb
            if known is not plate:
                result = np.where(finite, result, rgb / np.maximum(blend, _TINY))
            # before the frame exists, so that a resumed job still knows
            written = footage.colour.to_linear(result)
            overshoot.note(self._clip.kept, overshoot.find(frame, written, window, touched, footage.survey.maximum))
            return result

        exr.rewrite(footage.plate.path(frame), path, window, touched, over, header)


@dataclass(frozen=True)
class Patch:
    """New pixels to lay over a frame of the plate: RGB multiplied by the blend, and the blend, in ``window``.

    ``rgba`` is (height, width, 4), in the plate's colour space, in half or whole floats as the plate is.
    """

    index: int
    window: Window
    rgba: NDArray[np.floating]

    def cropped(self, data: Window) -> Patch:
        """The part that is not empty, inside the plate's window ``data``; one empty pixel of it where there is none."""
        inner = self.window.intersection(data)
        rgba = self.rgba[self.window.slices(inner)]
        touched = rgba[..., 3] > 0
        if not touched.any():
            return Patch(self.index, Window(data.x, data.y, 1, 1), np.zeros((1, 1, 4), rgba.dtype))
        x, y, width, height = cv2.boundingRect(touched.astype(np.uint8))
        window = Window(inner.x + x, inner.y + y, width, height)
        return Patch(self.index, window, rgba[inner.slices(window)])


def keep_grain(clip: Clip) -> None:
    """Measure the plate's grain, for every process that continues the job."""
    if clip.settings.grain and not clip.whole_region.empty:
        _plates_grain(clip)


def _plates_grain(clip: Clip) -> Grain:
    """The plate's grain, from a few frames spread over the shot; measured once per job."""
    file = clip.kept / _GRAIN
    if not file.is_file():
        busy = [index for index in range(len(clip)) if not clip.region(index).empty]
        canvas = clip.footage.canvas
        count = max(_FEWEST_MEASURED, min(_MEASURED_FRAMES, round(_MEASURED_PIXELS / (canvas.width * canvas.height))))
        chosen = [busy[position] for position in sequence.spread(len(busy), count)]
        arrays.save(file, **asdict(grain.measure(chosen, partial(_looks, clip))))
    return Grain.from_arrays(arrays.load(file))


def _looks(clip: Clip, index: int) -> tuple[Look, Look | None]:
    """A frame and the one beside it in time, if there is one, around what is rewritten."""
    canvas = clip.footage.canvas
    window = clip.region(index).grown(max(canvas.width, canvas.height) // 4).intersection(canvas)
    other = neighbour(clip.footage.frames, index)

    def look(index: int) -> Look:
        return Look(clip.footage.read_linear(clip.footage.frames[index], window), ~clip.rewritten(index, window))

    return look(index), look(other) if other is not None else None
