"""New pixels for a moving camera: each is looked up in the frames before and after that see what lies behind it.

What none of them sees is filled once, in one frame, and carried to the others along the same paths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from ...imaging.camera import Camera, Mask
from ...imaging.exr import FloatImage
from ...imaging.parallel import in_order
from ...imaging.paths import Paths
from ...imaging.sequence import spread
from ...imaging.temporal import median
from ...imaging.window import Window
from ..clip import Clip
from .inpaint import inpaint

#: So many frames on either side are asked for each pixel.
_SIDE = 3
#: Rows of a frame that are worked on at once.
_BAND = 256
#: Farther frames than this are not asked: steps add up.
_REACH = 150

#: The frame to fill what is never seen is chosen among so many.
_CANDIDATES = 16


class _Sources(NamedTuple):
    """Where to find what lies behind a small window of a frame.

    ``frames``: for each frame to ask, the window's positions in it and which pixels to take there; ``unseen``: the
    pixels that none shows; ``in_anchor``: the positions in the anchor frame, where its picture fills those.
    """

    frames: dict[int, tuple[FloatImage, Mask]]
    unseen: Mask
    in_anchor: FloatImage | None


def _sources(paths: Paths, index: int, window: Window, anchor: int | None) -> _Sources:
    found: dict[int, tuple[FloatImage, Mask]] = {}
    unseen = np.ones((window.height, window.width), bool)
    in_anchor = None
    for direction in (-1, 1):
        count = np.zeros(unseen.shape, np.int32)
        for steps, (source, positions, seen) in enumerate(paths.walk(index, window, direction)):
            if source == anchor:
                in_anchor = positions
            take = seen & (count < _SIDE)
            if take.any():
                found[source] = positions, take
                count += take
            if steps >= _REACH or (count >= _SIDE).all():
                break
        unseen &= count == 0
    return _Sources(found, unseen, in_anchor)


class _Background:
    """The background of a shot, frame by frame."""

    def __init__(self, clip: Clip, camera: Camera) -> None:
        self._clip = clip
        self._scale = clip.footage.scale
        hidden = [clip.small_rewritten(index) for index in range(len(clip))]
        self._paths = Paths(clip.footage, hidden, camera, clip.scratch / "paths.raw")
        #: The share of each frame's region that no frame shows.
        self.unseen: dict[int, float] = {}
        self._anchor: int | None = None
        self._fill = np.zeros((0, 0, 3), np.float32)
        self._fill_unseen()

    def _fill_unseen(self) -> None:
        """Fill what no frame shows once, in the frame where it is most, from which the others take it."""
        busy = [index for index in range(len(self._clip)) if not self._clip.region(index).empty]
        chosen = [busy[position] for position in spread(len(busy), _CANDIDATES)]

        def count(index: int) -> int:
            window = self._small(self._clip.region(index))
            hidden = self._paths.hidden[index][window.y : window.bottom, window.x : window.right]
            return int(np.count_nonzero(_sources(self._paths, index, window, None).unseen & hidden))

        unseen = {index: number for index, number in in_order(count, chosen) if number}
        if unseen:
            anchor = max(unseen, key=lambda index: unseen[index])
            self._fill = inpaint(self._clip.footage.small_plate(anchor), self._paths.hidden[anchor])
            self._anchor = anchor

    def _small(self, window: Window) -> Window:
        """The window of the analysed size that holds ``window`` of the plate, with a pixel to spare."""
        canvas, (height, width) = self._clip.footage.canvas, self._clip.footage.small_size
        x, y = (window.x - canvas.x) * self._scale, (window.y - canvas.y) * self._scale
        left, top = int(np.floor(x)) - 1, int(np.floor(y)) - 1
        right = int(np.ceil(x + window.width * self._scale)) + 1
        bottom = int(np.ceil(y + window.height * self._scale)) + 1
        return Window(left, top, right - left, bottom - top).intersection(Window(0, 0, width, height))

    def _positions(self, window: Window) -> FloatImage:
        """The positions of the plate's pixels ``window`` at the analysed size, (height, width, 2)."""
        canvas = self._clip.footage.canvas
        x = (np.arange(window.x, window.right, dtype=np.float32) - canvas.x + 0.5) * self._scale - 0.5
        y = (np.arange(window.y, window.bottom, dtype=np.float32) - canvas.y + 0.5) * self._scale - 0.5
        return np.stack(np.meshgrid(x, y), axis=-1)

    def frame(self, index: int) -> tuple[Window, FloatImage]:
        """The region of frame ``index`` to rewrite, and what lies behind it."""
        window = self._clip.region(index)
        if window.empty:
            return window, np.zeros((0, 0, 3), np.float32)
        small = self._small(window)
        sources = _sources(self._paths, index, small, self._anchor)
        result = np.zeros((window.height, window.width, 3), np.float32)
        missing = np.zeros((window.height, window.width), bool)
        for top in range(0, window.height, _BAND):
            band = Window(window.x, window.y + top, window.width, min(_BAND, window.height - top))
            rows = slice(top, top + band.height)
            result[rows], missing[rows] = self._band(index, window, band, small, sources)
        return window, inpaint(result, missing)

    def _band(
        self, index: int, window: Window, band: Window, small: Window, sources: _Sources
    ) -> tuple[FloatImage, Mask]:
        needed = self._clip.blend(index, window)[window.slices(band)] > 0
        plate = self._clip.plate(index, band)
        rows, columns = np.nonzero(needed)
        at = self._positions(band)[rows, columns] - np.array([small.x, small.y], np.float32)
        samples, seen = [], []
        for source, (positions, take) in sorted(sources.frames.items()):
            asked = _lookup(take.astype(np.float32), at) > 0
            if not asked.any():
                continue
            # the motion from the pixel, not the position, is what may be interpolated
            there = _lookup(positions, at)
            values, visible = self._sample(source, there, asked)
            samples.append(values)
            seen.append(visible)
        found = np.zeros(len(at), bool)
        if samples:
            found = np.any(seen, axis=0)
            plate[rows[found], columns[found]] = median(np.stack(samples), np.stack(seen))[found]
        self.unseen[index] = self.unseen.get(index, 0.0) + np.count_nonzero(~found) / (window.width * window.height)
        anchored = self._in_anchor(index, small, sources, at)
        if anchored is not None:
            height, width = self._fill.shape[:2]
            carried = ~found & (anchored >= 0).all(axis=1) & (anchored <= [width - 1, height - 1]).all(axis=1)
            plate[rows[carried], columns[carried]] = _lookup(self._fill, anchored[carried])
            found |= carried
        missing = np.zeros(needed.shape, bool)
        missing[rows[~found], columns[~found]] = True
        return plate, missing

    def _in_anchor(self, index: int, small: Window, sources: _Sources, at: FloatImage) -> FloatImage | None:
        """Where positions ``at`` of the window ``small`` of frame ``index`` lie in the anchor, None where unknown."""
        if index == self._anchor:
            return at + np.array([small.x, small.y], np.float32)
        return None if sources.in_anchor is None else _lookup(sources.in_anchor, at)

    def _sample(self, source: int, there: FloatImage, asked: Mask) -> tuple[FloatImage, Mask]:
        """The plate of frame ``source`` at small positions (n, 2), where asked: (n, 3), and where it is seen."""
        canvas = self._clip.footage.canvas
        full = (there + 0.5) / self._scale - 0.5 + np.array([canvas.x, canvas.y], np.float32)
        low, high = np.floor(full[asked].min(axis=0)) - 4, np.ceil(full[asked].max(axis=0)) + 5
        window = Window(int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])).intersection(canvas)
        values = np.zeros((len(there), 3), np.float32)
        visible = np.zeros(len(there), bool)
        if window.empty:
            return values, visible
        at = full[asked] - np.array([window.x, window.y], np.float32)
        values[asked] = _lookup(self._clip.plate(source, window), at, cv2.INTER_CUBIC)
        free = ~self._clip.rewritten(source, window)
        inside = (at >= 0).all(axis=1) & (at <= [window.width - 1, window.height - 1]).all(axis=1)
        visible[asked] = (_lookup(free.astype(np.float32), at) > 0.99) & inside
        return values, visible


def _lookup(image: FloatImage, at: FloatImage, interpolation: int = cv2.INTER_LINEAR) -> FloatImage:
    """``image`` at (n, 2) positions: (n,) or (n, channels)."""
    # remap wants a picture of positions, no side longer than 32767
    columns = 4096
    rows = max(1, -(-len(at) // columns))
    grid = np.zeros((rows * columns, 2), np.float32)
    grid[: len(at)] = at
    found = cv2.remap(image, grid.reshape(rows, columns, 2), None, interpolation, borderMode=cv2.BORDER_REPLICATE)
    return found.reshape(rows * columns, *image.shape[2:])[: len(at)]


def synthesise(
    clip: Clip, camera: Camera, wanted: Sequence[int], report: Callable[[float], None]
) -> Iterator[tuple[int, Window, FloatImage]]:
    """Yield (index, window, RGB) for each wanted frame that has pixels to rewrite; see the engine."""
    background = _Background(clip, camera)
    report(1.0)
    for index, (window, rgb) in in_order(background.frame, wanted):
        if not window.empty:
            yield index, window, rgb
    clip.warn_of_unseen(background.unseen)
