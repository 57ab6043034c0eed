"""Frames of the plate at positions between their pixels."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from functools import reduce
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ...imaging.exr import FloatImage
from ...imaging.masks import Mask
from ...imaging.window import Window
from ..clip import Clip

#: The share of its variance that white noise keeps in cubic interpolation, on average over all positions.
INTERPOLATED = 0.7
#: Plates are kept in square tiles, so many pixels wide, in so many bytes. Rows are unpacked as a whole: so many tiles
#: to both sides of what was asked for are kept, too, as the camera will lead there.
_TILE, _BESIDE, _MEMORY = 256, 2, 320 * 2**20
#: Positions looked up at once: their values fit into a core's cache.
_PIECE = 1 << 14
#: The ways from the upper left of four pixels to each, x and y.
_SQUARE = ((0, 0), (1, 0), (0, 1), (1, 1))


class _Tile(NamedTuple):
    """A tile of a frame's plate: the index of the frame, and the row and the column that the tile is in."""

    frame: int
    row: int
    column: int

    @property
    def window(self) -> Window:
        """Its pixels, also such as lie beyond the plate."""
        return Window(self.column * _TILE, self.row * _TILE, _TILE, _TILE)


class Plates:
    """The plates of a shot, of which parts are asked for again and again: the last are kept.

    Frames near each other look at the same parts of the frames around, and reading is most of the work.
    """

    def __init__(self, clip: Clip) -> None:
        self.clip = clip
        self._tiles: OrderedDict[_Tile, NDArray[np.floating]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def read(self, index: int, window: Window) -> FloatImage:
        """RGB of the plate in ``window``, (height, width, 3), display-referred, as :meth:`Clip.plate`."""
        image = np.empty((window.height, window.width, 3), np.float32)
        columns = range(window.x // _TILE, (window.right - 1) // _TILE + 1)
        for row in range(window.y // _TILE, (window.bottom - 1) // _TILE + 1):
            for tile, stored in self._row([_Tile(index, row, column) for column in columns]).items():
                place = self._place(tile)
                part = place.intersection(window)
                image[window.slices(part)] = self.clip.footage.displayed(stored[place.slices(part)])
        return image

    def _place(self, tile: _Tile) -> Window:
        """The tile's part of the plate."""
        return tile.window.intersection(self.clip.footage.canvas)

    def _row(self, wanted: list[_Tile]) -> dict[_Tile, NDArray[np.floating]]:
        """Tiles beside each other."""
        with self._lock:
            known = {tile: self._tiles[tile] for tile in wanted if tile in self._tiles}
            for tile in known:
                self._tiles.move_to_end(tile)
        if len(known) == len(wanted):
            return known
        frame, row, first = wanted[0]
        columns = range(first - _BESIDE, wanted[-1].column + _BESIDE + 1)
        tiles = [tile for tile in (_Tile(frame, row, column) for column in columns) if not self._place(tile).empty]
        wide = self._place(tiles[0]).union(self._place(tiles[-1]))
        read = self.clip.footage.read_compact(self.clip.footage.frames[frame], wide)
        # copies, as a tile that goes is to leave its memory
        found = {tile: read[wide.slices(self._place(tile))].copy() for tile in tiles}
        self._keep(found)
        return {tile: found[tile] for tile in wanted}

    def _keep(self, tiles: dict[_Tile, NDArray[np.floating]]) -> None:
        """Keep what was read last, and let go what was asked for longest ago."""
        with self._lock:
            for tile, stored in tiles.items():
                old = self._tiles.pop(tile, None)
                self._size += stored.nbytes - (0 if old is None else old.nbytes)
                self._tiles[tile] = stored
            while self._size > _MEMORY:
                self._size -= self._tiles.popitem(last=False)[1].nbytes


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


def sample(plates: Plates, source: int, there: FloatImage) -> tuple[FloatImage, Mask]:
    """The plate of frame ``source`` at analysed positions (n, 2): RGB (n, 3), and where it shows the scene."""
    clip = plates.clip
    canvas, full = clip.footage.canvas, in_plate(clip, there)
    # column by column, which is many times as fast
    (left, right), (top, bottom) = ((math.floor(side.min()) - 4, math.ceil(side.max()) + 5) for side in full.T)
    window = Window(left, top, right - left, bottom - top).intersection(canvas)
    if window.empty:
        return np.zeros((len(there), 3), np.float32), np.zeros(len(there), bool)
    at = full - np.array([window.x, window.y], np.float32)
    free = ~clip.rewritten(source, window)
    x, y = at.T
    inside = (x >= 0) & (y >= 0) & (x <= window.width - 1) & (y <= window.height - 1)
    return cubic(plates.read(source, window), at), (lookup(free.astype(np.float32), at) > 0.99) & inside


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
