"""Frames of the plate at positions between their pixels."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from functools import reduce

import cv2
import numpy as np
from numpy.typing import NDArray

from ...imaging.exr import FloatImage
from ...imaging.masks import Mask
from ...imaging.window import Window
from ..clip import Clip

#: The share of its variance that white noise keeps in cubic interpolation, on average over all positions.
INTERPOLATED = 0.7
#: Plates are kept by blocks of so many rows in so many bytes, those in floats with so much more to both sides than was
#: asked for.
_ROWS, _BESIDE, _MEMORY = 256, 0.5, 320 * 2**20
#: Positions looked up at once: their values fit into a core's cache.
_PIECE = 1 << 14
#: The ways from the upper left of four pixels to each, x and y.
_SQUARE = ((0, 0), (1, 0), (0, 1), (1, 1))


class Plates:
    """The plates of a shot, of which parts are asked for again and again: the last are kept.

    Frames near each other look at the same parts of the frames around, and reading is most of the work.
    """

    def __init__(self, clip: Clip) -> None:
        self.clip = clip
        self._blocks: OrderedDict[tuple[int, int], tuple[Window, NDArray[np.floating]]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def read(self, index: int, window: Window) -> FloatImage:
        """RGB of the plate in ``window``, (height, width, 3), display-referred, as :meth:`Clip.plate`."""
        first, last = window.y // _ROWS, (window.bottom - 1) // _ROWS
        parts = []
        for number in range(first, last + 1):
            rows = Window(window.x, number * _ROWS, window.width, _ROWS).intersection(self.clip.footage.canvas)
            wanted = rows.intersection(window)
            known, image = self._block(index, number, rows)
            parts.append(self.clip.footage.displayed(image[known.slices(wanted)]))
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def _block(self, index: int, number: int, rows: Window) -> tuple[Window, NDArray[np.floating]]:
        key = index, number
        with self._lock:
            known = self._blocks.get(key)
            if known is not None:
                self._blocks.move_to_end(key)
        if known is not None and known[0].intersection(rows) == rows:
            return known
        canvas = self.clip.footage.canvas
        if self.clip.footage.is_compact:
            # rows are unpacked as a whole in any case
            wide = Window(canvas.x, rows.y, canvas.width, rows.height)
        else:
            beside = int(_BESIDE * rows.width)
            wide = Window(rows.x - beside, rows.y, rows.width + 2 * beside, rows.height)
            wide = (wide if known is None else wide.union(known[0])).intersection(canvas)
        found = wide, self.clip.footage.read_compact(self.clip.footage.frames[index], wide)
        with self._lock:
            old = self._blocks.pop(key, None)
            self._size += found[1].nbytes - (old[1].nbytes if old is not None else 0)
            self._blocks[key] = found
            while self._size > _MEMORY and len(self._blocks) > 1:
                self._size -= self._blocks.popitem(last=False)[1][1].nbytes
        return found


def analysed_positions(clip: Clip, window: Window) -> FloatImage:
    """The positions of the plate's pixels ``window`` at the analysed size, (height, width, 2)."""
    canvas, scale = clip.footage.canvas, clip.footage.scale
    x = (np.arange(window.x, window.right, dtype=np.float32) - canvas.x + 0.5) * scale - 0.5
    y = (np.arange(window.y, window.bottom, dtype=np.float32) - canvas.y + 0.5) * scale - 0.5
    return np.stack(np.meshgrid(x, y), axis=-1)


def in_plate(clip: Clip, analysed: FloatImage) -> FloatImage:
    """Analysed positions, (n, 2), in the plate's coordinates."""
    canvas = clip.footage.canvas
    return (analysed + 0.5) / clip.footage.scale - 0.5 + np.array([canvas.x, canvas.y], np.float32)


def sample(plates: Plates, source: int, there: FloatImage, take: Mask) -> tuple[FloatImage, Mask]:
    """The plate of frame ``source`` at analysed positions (n, 2), where asked: (n, 3), and where it shows the scene."""
    clip = plates.clip
    canvas, full = clip.footage.canvas, in_plate(clip, there[take])
    values = np.zeros((len(there), 3), np.float32)
    visible = np.zeros(len(there), bool)
    # column by column, which is many times as fast
    (left, right), (top, bottom) = ((math.floor(side.min()) - 4, math.ceil(side.max()) + 5) for side in full.T)
    window = Window(left, top, right - left, bottom - top).intersection(canvas)
    if window.empty:
        return values, visible
    at = full - np.array([window.x, window.y], np.float32)
    values[take] = cubic(plates.read(source, window), at)
    free = ~clip.rewritten(source, window)
    x, y = at.T
    inside = (x >= 0) & (y >= 0) & (x <= window.width - 1) & (y <= window.height - 1)
    visible[take] = (lookup(free.astype(np.float32), at) > 0.99) & inside
    return values, visible


def lookup(image: FloatImage, at: FloatImage, interpolation: int = cv2.INTER_LINEAR) -> FloatImage:
    """``image`` at (n, 2) positions: (n,) or (n, channels)."""
    # remap wants a picture of positions, no side longer than 32767
    columns = 4096
    rows = max(1, -(-len(at) // columns))
    grid = np.zeros((rows * columns, 2), np.float32)
    grid[: len(at)] = at
    values = cv2.remap(image, grid.reshape(rows, columns, 2), None, interpolation, borderMode=cv2.BORDER_REPLICATE)
    return values.reshape(rows * columns, *image.shape[2:])[: len(at)]


def cubic(image: FloatImage, at: FloatImage) -> FloatImage:
    """``image`` at (n, 2) positions, between the least and the largest of the four pixels around each.

    Beyond them cubic interpolation rings at hard edges, and the way back from display-referred to a lamp's linear light
    magnifies that many times.
    """
    values = np.empty((len(at), *image.shape[2:]), image.dtype)
    for begin in range(0, len(at), _PIECE):
        here, piece = at[begin : begin + _PIECE], values[begin : begin + _PIECE]
        corner = np.floor(here)
        around = [lookup(image, corner + np.array(step, np.float32), cv2.INTER_NEAREST) for step in _SQUARE]
        np.maximum(lookup(image, here, cv2.INTER_CUBIC), reduce(np.minimum, around), out=piece)
        np.minimum(piece, reduce(np.maximum, around), out=piece)
    return values
