"""Frames of the plate at positions between their pixels."""

from __future__ import annotations

import cv2
import numpy as np

from ...imaging.camera import Mask
from ...imaging.exr import FloatImage
from ...imaging.window import Window
from ..clip import Clip

#: The share of its variance that white noise keeps in cubic interpolation, on average over all positions.
INTERPOLATED = 0.7


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


def sample(clip: Clip, source: int, there: FloatImage, take: Mask) -> tuple[FloatImage, Mask]:
    """The plate of frame ``source`` at analysed positions (n, 2), where asked: (n, 3), and where it shows the scene."""
    canvas, full = clip.footage.canvas, in_plate(clip, there[take])
    values = np.zeros((len(there), 3), np.float32)
    visible = np.zeros(len(there), bool)
    low, high = np.floor(full.min(axis=0)) - 4, np.ceil(full.max(axis=0)) + 5
    window = Window(int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])).intersection(canvas)
    if window.empty:
        return values, visible
    at = full - np.array([window.x, window.y], np.float32)
    values[take] = cubic(clip.plate(source, window), at)
    free = ~clip.rewritten(source, window)
    inside = (at >= 0).all(axis=1) & (at <= [window.width - 1, window.height - 1]).all(axis=1)
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
    values = lookup(image, at, cv2.INTER_CUBIC)
    corner = np.floor(at)
    around = np.ones((2, 2), np.uint8)
    # anchored so that each pixel looks at itself and its right and lower neighbours
    least = lookup(cv2.erode(image, around, anchor=(0, 0)), corner, cv2.INTER_NEAREST)
    largest = lookup(cv2.dilate(image, around, anchor=(0, 0)), corner, cv2.INTER_NEAREST)
    return np.clip(values, least, largest)
