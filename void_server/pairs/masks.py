"""What the removal changes, from renders: VOID's own rule, and one that counts shadows and reflections too.

Three renders of a frame: **A** with everything; **C** the physics of A without the removed object; **B** the physics
without it. All are (height, width, 3), scene-linear; ``roto`` is (height, width), 0..1.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ..imaging.colour import Curve
from ..imaging.exr import FloatImage
from ..imaging.masks import Mask
from ..quadmask.classes import Quadmask, assemble

# plain sRGB, as the published renders are
_SRGB = Curve(1.0)

#: The published rule's step: what differs by it in a channel, of 255, has moved.
MOVED = 15
#: What counts as a visible change: this share of the level, which is taken to be at least this.
VISIBLE, FLOOR = 0.06, 0.04
# pieces of a change that are smaller than this share of the frame are the renderer's noise
_PIECE = 40 / (512 * 288)
# cells along the shorter side, as the model was shown them
_CELLS = 8


def moved(c: FloatImage, b: FloatImage) -> Mask:
    """What moves otherwise without the object, by the published rule; its shadow and reflection are not in it."""
    difference = np.abs(_eight_bit(c) - _eight_bit(b)).max(axis=-1)
    return _without_specks(difference >= MOVED)


def _eight_bit(linear: FloatImage) -> NDArray[np.int16]:
    return np.rint(255 * np.clip(_SRGB.to_display(linear), 0, 1)).astype(np.int16)


def changed(a: FloatImage, b: FloatImage) -> Mask:
    """Where plate and truth differ visibly, beyond the renderer's noise."""
    difference = _blurred(np.abs(a - b).mean(axis=-1))
    level = _blurred(((a + b) / 2).mean(axis=-1))
    return _without_specks(difference > VISIBLE * (level + FLOOR))


def _without_specks(found: Mask) -> Mask:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8), connectivity=8)
    large = np.arange(count) > 0
    large &= stats[:, cv2.CC_STAT_AREA] >= _PIECE * found.size
    return np.asarray(large[labels])


def _blurred(image: NDArray[np.float32]) -> NDArray[np.float32]:
    return cv2.blur(image.astype(np.float32), (5, 5))


def outside(roto: NDArray[np.floating], mask: Mask) -> Mask:
    """A mask without what the object covers, be it by a trace."""
    return mask & (roto < 0.02)


def quadmask(roto: NDArray[np.floating], c: FloatImage, b: FloatImage) -> Quadmask:
    """The quadmask of the published rule."""
    return assemble(roto, moved(c, b))


def effects(roto: NDArray[np.floating], a: FloatImage, c: FloatImage, b: FloatImage) -> Quadmask:
    """The quadmask that also counts what the object's shadow and reflection change around it."""
    return assemble(roto, moved(c, b) | outside(roto, changed(a, b)))


def gridded(codes: Quadmask) -> Quadmask:
    """The quadmask with what is affected in whole cells: those that hold one affected pixel; the object stays exact."""
    height, width = codes.shape
    size = min(height, width) / _CELLS
    rows, columns = (max(_CELLS, round(extent / size)) for extent in (height, width))
    object_, affected = codes <= 63, (codes == 63) | (codes == 127)
    whole = np.zeros_like(affected)
    for row in range(rows):
        for column in range(columns):
            cell = (
                slice(row * height // rows, (row + 1) * height // rows),
                slice(column * width // columns, (column + 1) * width // columns),
            )
            whole[cell] = affected[cell].any()
    return assemble(object_.astype(np.float32), whole)
