"""Cells that an artist may want affected, and that were left as they are."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

from ..api.cells import AFFECTED, CellEdit
from ..imaging.window import Window
from ..quadmask.grid import Grid
from ..quadmask.reasoning import Reasoning
from .context import JobContext
from .gridding import window_around


def of_contact(context: JobContext, reasoning: Reasoning) -> None:
    """Offer the cells in which an object that stands meets what it stands on, where a shadow is most likely."""
    canvas = context.source.canvas
    if reasoning.contact is None:
        return
    left, top, right, bottom = (
        round(side * length) for side, length in zip(reasoning.contact, 2 * (canvas.width, canvas.height), strict=True)
    )
    edit = _edit(context, Window(canvas.x + left, canvas.y + top, right - left, bottom - top))
    if edit is None:
        return
    reasoning.suggested.append(str(edit))
    reasoning.warnings.append(
        f"The object meets what it stands on in the cells {str(edit).partition('=')[0]}, which were left as they are; "
        f"to have a shadow there rewritten, give void edit this quadmask and --grid {edit}, or VOID Quadmask that edit."
    )


def of_implied(context: JobContext, reasoning: Reasoning) -> None:
    """Offer the cells, frame by frame, of what changes although no picture shows it."""
    for region in reasoning.implied:
        masks = (region.mask(index) for index in range(len(context.frames)))
        blocks = (_edit(context, window_around(context, mask)) if mask.any() else None for mask in masks)
        edits = []
        for block, pairs in groupby(zip(context.frames, blocks, strict=True), key=lambda pair: pair[1]):
            frames = [frame for frame, _ in pairs]
            if block is not None:
                edits.append(replace(block, first=frames[0], last=frames[-1]))
        if not edits:
            continue
        reasoning.suggested += map(str, edits)
        reasoning.warnings.append(
            f"From frame {edits[0].first} on something is {region.name}. Where it looks as at rest it was left as it "
            "is, and a clean plate needs no more. An engine that draws what it would do instead needs all of it: make "
            f"the quadmask with --engine void, or add the cells that reasoning.json suggests, such as {edits[0]}."
        )


def _edit(context: JobContext, window: Window) -> CellEdit | None:
    """What makes the cells that a window touches affected; None where it touches none."""
    block = Grid(context.source.display).block(window)
    if block is None:
        return None
    row, last_row, column, last_column = block
    return CellEdit(row, column, last_row, last_column, AFFECTED)
