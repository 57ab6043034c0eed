"""The grid whose cells a quadmask's affected areas fill: that of the part of the frame that the model will see."""

from __future__ import annotations

import cv2
import numpy as np

from ..imaging.masks import Mask
from ..imaging.window import Window
from ..quadmask.grid import Grid
from ..quadmask.reasoning import Reasoning
from .context import JobContext


def fills_cells(context: JobContext) -> bool:
    """Whether affected areas fill whole cells, or else keep their shapes."""
    shape = context.shot.settings.affected_shape
    return shape == "grid" or (shape == "auto" and context.engine.whole_cells)


def grid_for(context: JobContext, reasoning: Reasoning) -> Grid | None:
    """The grid for a reasoning's affected areas, kept for the engine; None where they keep their shapes."""
    source, settings, engine = context.source, context.shot.settings, context.engine
    if not fills_cells(context):
        return None
    if not engine.whole_cells:
        return Grid(source.display)
    clip = context.clip()
    region = _region(context, reasoning).grown(clip.margin).intersection(source.canvas)
    cells = engine.cells_of(settings, region, source.canvas, source.pixel_aspect)
    if cells is None:
        return Grid(source.display)
    clip.keep_cells(cells)
    return Grid(cells, source.pixel_aspect)


def _region(context: JobContext, reasoning: Reasoning) -> Window:
    """The window of all that changes in any frame, with affected areas as they were found."""
    changed = np.zeros(context.footage.small_size, np.bool_)
    for index in range(len(context.frames)):
        changed |= context.footage.small_roto(index) > 0
        for found in (reasoning.belongings(index), reasoning.affected(index)):
            if found is not None:
                changed |= found
    return window_around(context, changed)


def window_around(context: JobContext, mask: Mask) -> Window:
    """The window, in the plate's pixels, around what is in a mask of the analysed size."""
    canvas, scale = context.source.canvas, context.footage.scale
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    left, top, right, bottom = (round(side / scale) for side in (x, y, x + width, y + height))
    return Window(canvas.x + left, canvas.y + top, right - left, bottom - top)
