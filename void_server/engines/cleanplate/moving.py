"""New pixels for a moving camera: each is looked up in the frames before and after that see what lies behind it.

What no frame sees is filled once, in one frame, and carried to the others along the same trajectories. Those end at
gaps between frames: nobody knows how the camera got to the other side.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ...imaging import arrays
from ...imaging.camera import Camera
from ...imaging.exr import FloatImage
from ...imaging.grain import share_of_median
from ...imaging.masks import Mask, Masks
from ...imaging.parallel import in_order, results
from ...imaging.recent import Recent
from ...imaging.runs import run_of, runs
from ...imaging.sequence import spread
from ...imaging.temporal import agreeing_median, gathered
from ...imaging.trajectories import Trajectories
from ...imaging.window import Window
from .. import NewPixels
from ..clip import Clip
from ..origin import FILLED, RECOVERED
from .exposure import matched
from .inpaint import inpaint, nothing_to_fill_from
from .sampling import INTERPOLATED, Plates, analysed_positions, cubic, in_plate, lookup, sample
from .shade import Shade, fill_and_lift, lay_over, shown

#: The number of frames on either side to look up each pixel in.
_SIDE = 3
#: Rows of a frame to process at once.
_BAND = 256
#: Farther frames are not used: errors of the steps add up.
_REACH = 150
_PATHS = "paths.raw"
#: A file for each run, and memory for those that were used last, in bytes.
_FILL, _FILLS = "fill_{}.npz", 256 * 2**20
#: Samples of which the darkest and the brightest differ by more, display-referred, do not show the same.
_APART = 0.1
#: The number of candidates for the anchor frame.
_CANDIDATES = 16


class _Fill(NamedTuple):
    """What no frame of a run shows, filled in the one with most of it, the ``anchor`` (-1 for none).

    ``rgb`` (height, width, 3) is its ``window`` of the plate's, and ``shade`` how shaded what is there is.
    """

    anchor: int
    rgb: FloatImage
    window: Window
    shade: Shade

    @classmethod
    def none(cls) -> _Fill:
        """Of a run that shows all."""
        return cls(-1, np.zeros((0, 0, 3), np.float32), Window(0, 0, 0, 0), Shade.none())

    @classmethod
    def load(cls, file: Path) -> _Fill:
        """That which :meth:`save` wrote."""
        own = arrays.load(file)
        return cls(int(own["anchor"]), own["fill"], Window(*own["window"].tolist()), Shade.load(own))

    def save(self, file: Path) -> None:
        """Write it for every process that continues the job."""
        window = np.array(self.window)
        arrays.save(file, anchor=np.array(self.anchor), fill=self.rgb, window=window, **self.shade.arrays())

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""
        return self.rgb.nbytes + self.shade.light.nbytes + self.shade.share.nbytes


class _Source(NamedTuple):
    """A frame that shows some of a small window's pixels.

    ``take``: the pixels of ``part`` of the window to take there, and ``positions``, (height, width, 2), where they lie.
    """

    part: Window
    positions: FloatImage
    take: Mask

    @classmethod
    def around(cls, positions: FloatImage, take: Mask) -> _Source:
        """Without what of a window is farther from the pixels to take than interpolation between them needs."""
        whole = Window(0, 0, *take.shape[::-1])
        part = Window(*cv2.boundingRect(take.astype(np.uint8))).grown(1).intersection(whole)
        here = whole.slices(part)
        return cls(part, positions[here].copy(), take[here].copy())

    def asked(self, at: FloatImage) -> tuple[NDArray[np.intp], FloatImage]:
        """Which of the window's positions ``at``, (n, 2), are to be taken there, and where they lie."""
        part = self.part.grown(1)
        x, y = at.T
        near = np.flatnonzero((x > part.x) & (x < part.right) & (y > part.y) & (y < part.bottom))
        inside = at[near] - np.array([self.part.x, self.part.y], np.float32)
        asked = lookup(self.take.astype(np.float32), inside) > 0
        # interpolate the motion of the pixel, not its position
        return near[asked], lookup(self.positions, inside[asked])


class _Sources(NamedTuple):
    """Where to find what lies behind a small window of a frame.

    ``frames``: those to ask, by index, ascending; ``unseen``: the pixels that none shows; ``in_anchor``: the positions
    in the anchor frame, where its picture fills those.
    """

    frames: dict[int, _Source]
    unseen: Mask
    in_anchor: FloatImage | None


def _sources(paths: Trajectories, index: int, window: Window, run: range, anchor: int | None) -> _Sources:
    sources: dict[int, _Source] = {}
    unseen = np.ones((window.height, window.width), bool)
    in_anchor = None
    for direction in (-1, 1):
        count = np.zeros(unseen.shape, np.int32)
        for steps, (source, positions, seen) in enumerate(paths.walk(index, window, direction)):
            if source not in run:
                break
            if source == anchor:
                in_anchor = positions
            take = seen & (count < _SIDE)
            if take.any():
                sources[source] = _Source.around(positions, take)
                count += take
            if steps >= _REACH or (count >= _SIDE).all():
                break
        unseen &= count == 0
    return _Sources(dict(sorted(sources.items())), unseen, in_anchor)


def prepare(clip: Clip, camera: Camera, wanted: Collection[int]) -> dict[str, NDArray[Any]]:
    """Prepare what the wanted frames need: what is hidden and, in own files, the trajectories and each run's fill.

    Raises :class:`~void_server.api.errors.SequenceError` where nothing is known of what lies behind one of them.
    """
    hidden = Masks.of(clip.small_rewritten(index) for index in range(len(clip)))
    paths = Trajectories(clip.footage, hidden, camera, clip.kept / _PATHS)
    _check_seen(clip, paths, wanted)
    for number, run in enumerate(runs(clip.footage.frames)):
        anchor = _anchor(clip, paths, run, wanted)
        fill = _Fill.none() if anchor is None else _fill(clip, anchor)
        fill.save(clip.kept / _FILL.format(number))
    return {"hidden": hidden.packed}


def _check_seen(clip: Clip, paths: Trajectories, wanted: Collection[int]) -> None:
    """Refuse wanted frames that are hidden wholly, and of which no frame of their run shows anything."""
    height, width = clip.footage.small_size
    whole = Window(0, 0, width, height)
    unknown = [
        clip.footage.frames[index]
        for run in runs(clip.footage.frames)
        for index in run
        if index in wanted and paths.hidden[index].all() and _sources(paths, index, whole, run, None).unseen.all()
    ]
    if unknown:
        raise nothing_to_fill_from(unknown)


def _anchor(clip: Clip, paths: Trajectories, run: range, wanted: Collection[int]) -> int | None:
    """The wanted frame of a run with most of what none of its frames shows; None where they show all.

    What is hidden wholly has nothing to fill from.
    """
    busy = [index for index in run if index in wanted and not (clip.region(index).empty or paths.hidden[index].all())]
    chosen = [busy[position] for position in spread(len(busy), _CANDIDATES)]

    def count(index: int) -> int:
        window = clip.footage.analysed(clip.region(index))
        covered = paths.hidden[index][window.y : window.bottom, window.x : window.right]
        return int(np.count_nonzero(_sources(paths, index, window, run, None).unseen & covered))

    unseen = {index: number for index, number in in_order(count, chosen) if number}
    return max(unseen, key=lambda index: unseen[index], default=None)


def _fill(clip: Clip, anchor: int) -> _Fill:
    """The region of the anchor frame with what is hidden filled from around it."""
    canvas, region = clip.footage.canvas, clip.region(anchor)
    around = region.grown(max(region.width, region.height)).intersection(canvas)
    hidden = clip.rewritten(anchor, around)
    # what one analysed pixel mixes with the object is left out too
    edge = 2 * math.ceil(2 / clip.footage.scale) + 1
    beside = cv2.dilate(hidden.astype(np.uint8), np.ones((edge, edge), np.uint8)) > 0
    window = region.grown(edge).intersection(canvas)
    part = around.slices(window)
    plate, surface = clip.plate(anchor, around), shown(clip, anchor, around)
    filled, shade = fill_and_lift(clip, plate, hidden, ~beside, surface)
    return _Fill(anchor, filled[part], window, shade.cut(part))


class _Background:
    """The background of a shot, frame by frame."""

    def __init__(self, clip: Clip, camera: Camera, prepared: Mapping[str, NDArray[Any]]) -> None:
        self._clip, self._plates = clip, Plates(clip)
        hidden = Masks(prepared["hidden"], clip.footage.small_size[1])
        self._paths = Trajectories(clip.footage, hidden, camera, clip.kept / _PATHS, measured=True)
        self._runs = runs(clip.footage.frames)
        self._fills: Recent[int, _Fill] = Recent(lambda number: _Fill.load(clip.kept / _FILL.format(number)), _FILLS)

    def frame(self, index: int) -> NewPixels:
        """What lies behind the region of frame ``index`` that is to be rewritten."""
        window = self._clip.region(index)
        if window.empty:
            return NewPixels(index, window, np.zeros((0, 0, 3), np.float32))
        small = self._clip.footage.analysed(window)
        run = run_of(index, self._runs)
        fill = self._fills[self._runs.index(run)]
        sources = _sources(self._paths, index, small, run, fill.anchor)
        result = np.zeros((window.height, window.width, 3), np.float32)
        grain = np.zeros((window.height, window.width), np.float32)
        missing = np.zeros((window.height, window.width), bool)
        blended, shade = self._clip.blend(index, window) > 0, _unshaded(fill, missing.shape)
        for top in range(0, window.height, _BAND):
            band = Window(window.x, window.y + top, window.width, min(_BAND, window.height - top))
            rows = slice(top, top + band.height)
            result[rows], grain[rows], missing[rows] = self._band(
                index, band, blended[rows], small, sources, fill, shade.cut((rows, slice(None)))
            )
        own = self._plates.read(index, window)
        if not shade.empty:
            lay_over(self._clip, index, window, shade, own, result, grain)
        # what no frame shows has no grain
        origin = np.where(grain > 0, RECOVERED, FILLED).astype(np.uint8)
        new = NewPixels(index, window, inpaint(result, missing), grain, origin)
        return matched(self._clip, new, own)

    def _band(
        self, index: int, band: Window, blended: Mask, small: Window, sources: _Sources, fill: _Fill, shade: Shade
    ) -> tuple[FloatImage, FloatImage, Mask]:
        """The band's new pixels where ``blended``, the share of the plate's grain that they have, and what is still
        missing. What the fill knows of the ``shade`` there is put into it.
        """
        plate, grain = self._plates.read(index, band).copy(), np.zeros(blended.shape, np.float32)
        rows, columns = np.nonzero(blended)
        at = analysed_positions(self._clip, band)[rows, columns] - np.array([small.x, small.y], np.float32)
        shown = []
        for index_there, source in sources.frames.items():
            asked, there = source.asked(at)
            if len(asked):
                values, visible = sample(self._plates, index_there, there)
                shown.append((asked[visible], values[visible]))
        samples, seen = gathered(len(at), shown)
        filled = seen.any(axis=0)
        plate[rows[filled], columns[filled]] = agreeing_median(samples[:, filled], seen[:, filled], _APART)
        grain[rows, columns] = INTERPOLATED * share_of_median(seen.sum(axis=0))
        anchored = _in_anchor(fill.anchor, index, small, sources, at)
        if anchored is not None:
            height, width = fill.rgb.shape[:2]
            there = in_plate(self._clip, anchored) - np.array([fill.window.x, fill.window.y], np.float32)
            carried = ~filled & (there >= 0).all(axis=1) & (there <= [width - 1, height - 1]).all(axis=1)
            here, there = (rows[carried], columns[carried]), there[carried]
            plate[here] = cubic(fill.rgb, there)
            if not fill.shade.empty:
                shade.light[here], shade.share[here] = (
                    lookup(known, there) for known in (fill.shade.light, fill.shade.share)
                )
            filled |= carried
        missing = np.zeros(blended.shape, bool)
        missing[rows[~filled], columns[~filled]] = True
        return plate, grain, missing


def _unshaded(fill: _Fill, shape: tuple[int, ...]) -> Shade:
    """A picture of that shape in full light, to take the shade of the fill; none where it has none."""
    if fill.shade.empty:
        return Shade.none()
    return Shade(np.ones((*shape, 3), np.float32), np.zeros(shape, np.float32))


def _in_anchor(anchor: int, index: int, small: Window, sources: _Sources, at: FloatImage) -> FloatImage | None:
    """Where positions ``at`` of the window ``small`` of frame ``index`` lie in the anchor, None where unknown."""
    if index == anchor:
        return at + np.array([small.x, small.y], np.float32)
    return None if sources.in_anchor is None else lookup(sources.in_anchor, at)


def synthesise(
    clip: Clip, camera: Camera, prepared: Mapping[str, NDArray[Any]], wanted: Sequence[int]
) -> Iterator[NewPixels]:
    """Yield the new pixels of each wanted frame that has any; see the engine."""
    background = _Background(clip, camera, prepared)
    for frame in results(background.frame, wanted):
        if not frame.window.empty:
            yield frame
