"""Turn an analysis into masks: where the things it names are, in every frame.

What the pixels themselves show comes first, then what a segmenter makes of the boxes, then the boxes or cells as they
are. Masks are at the analysed size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..imaging.exr import FloatImage
from ..imaging.footage import Footage
from .analysis import Analysis, Box, Cell, Moving, Place, Thing
from .reasoning import ARTEFACT, BELONGING, OBJECT, Mask, Region
from .segmentation import Hints, Segmenter

# Boxes are drawn by eye: pixels so far outside, as a share of the box, still belong to what is in it.
_SLACK = 0.1
# So much of a zone must depart from the background for the pixels to be believed over the box.
_EVIDENCE = 0.02
# A segment that fills less of its boxes than this, or spills over them more than that, is none.
_FILLS, _SPILLS = 0.08, 1.6


@dataclass(frozen=True)
class _Shot:
    """What the regions are found in."""

    footage: Footage
    evidence: Callable[[int], Mask | None]
    segmenter: Segmenter
    scratch: Path

    @property
    def size(self) -> tuple[int, int]:
        return self.footage.small_size

    def index(self, frame: int) -> int:
        """The index of the frame, or of the one nearest to it."""
        frames = self.footage.frames
        return min(range(len(frames)), key=lambda index: abs(frames[index] - frame))


class SmallFrames:
    """The analysed frames of a shot."""

    def __init__(self, footage: Footage) -> None:
        self._footage = footage

    def __len__(self) -> int:
        return len(self._footage.frames)

    def __getitem__(self, index: int) -> FloatImage:
        return np.clip(self._footage.small_plate(index), 0, 1)


def find(
    analysis: Analysis,
    footage: Footage,
    evidence: Callable[[int], Mask | None],
    segmenter: Segmenter,
    scratch: Path,
    report: Callable[[float], None],
) -> list[Region]:
    """The regions of all that ``analysis`` names.

    ``evidence`` gives, by frame index, what departs from the background in touch with the object. ``scratch`` is a
    folder for what memory should not hold.
    """
    shot = _Shot(footage, evidence, segmenter, scratch)
    regions = []
    kinds: list[tuple[str, Sequence[Thing]]] = [
        (BELONGING, analysis.belongings),
        (ARTEFACT, analysis.artefacts),
        (OBJECT, analysis.objects),
    ]
    named = [(kind, thing) for kind, things in kinds for thing in things if thing.places or thing.cells]
    groups = _touching([thing.cells for _, thing in named])
    for number, (kind, thing) in enumerate(named):
        regions += _regions(shot, thing, kind, analysis.grid, groups[number], f"region{number}")
        report((number + 1) / len(named))
    return regions


def _regions(
    shot: _Shot, thing: Thing, kind: str, grid: tuple[int, int] | None, cells: Sequence[Cell], name: str
) -> list[Region]:
    def region(rule: str, mask: Callable[[int], Mask]) -> Region:
        return Region(thing.name, kind, thing.why, rule, thing.confidence, mask)

    if not thing.places:
        assert grid is not None, "cells count in a grid"
        candidates = [region("grid cells named by the analysis", _same(_in_cells(cells, grid, shot.size)))]
    else:
        zone = _zones(shot, thing.places)
        shown = _evidence(shot, zone) if kind != BELONGING else None
        if shown:
            candidates = [region("differs from the background where the analysis says", shown)]
        else:
            candidates = [region(*_segmented(shot, thing.places, zone, shot.scratch / f"{name}.raw"))]
    if isinstance(thing, Moving) and thing.goal:
        candidates.append(region(f"where it would be: {thing.will}", _same(_swept(shot, thing))))
    elif isinstance(thing, Moving) and thing.goal_cells and grid:
        goal = _in_cells([*thing.cells, *thing.goal_cells], grid, shot.size)
        candidates.append(region(f"where it would be: {thing.will}", _same(goal)))
    return candidates


def _same(mask: Mask) -> Callable[[int], Mask]:
    return lambda _: mask


# -- cells


def _touching(of_things: Sequence[Sequence[Cell]]) -> list[list[Cell]]:
    """For each thing its cells, and those that close the rectangle around all things that it touches.

    A model names the cells that catch the eye. Things that touch act on each other, so the whole patch changes.
    """
    groups: list[set[int]] = []
    for number, cells in enumerate(of_things):
        reach = {(row + i, column + j) for row, column in cells for i in (-1, 0, 1) for j in (-1, 0, 1)}
        met = [group for group in groups if any(reach & set(of_things[other]) for other in group)]
        groups = [group for group in groups if group not in met] + [set.union({number}, *met)]
    closed: list[list[Cell]] = [[] for _ in of_things]
    for group in groups:
        cells = [cell for number in group for cell in of_things[number]]
        if not cells:
            continue
        rows, columns = zip(*cells, strict=True)
        for number in group:
            closed[number] = [
                (row, column)
                for row in range(min(rows), max(rows) + 1)
                for column in range(min(columns), max(columns) + 1)
            ]
    return closed


def _in_cells(cells: Sequence[Cell], grid: tuple[int, int], size: tuple[int, int]) -> Mask:
    mask = np.zeros(size, bool)
    height, width = size[0] / grid[0], size[1] / grid[1]
    for row, column in cells:
        mask[round(row * height) : round((row + 1) * height), round(column * width) : round((column + 1) * width)] = (
            True
        )
    return mask


# -- boxes


def _pixels(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the pixels that a relative box touches."""
    height, width = size
    x0, y0, x1, y1 = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    return int(x0), int(y0), min(width, int(np.ceil(x1))), min(height, int(np.ceil(y1)))


def _in_box(box: Box, size: tuple[int, int], slack: float = 0.0) -> Mask:
    dx, dy = slack * (box[2] - box[0]), slack * (box[3] - box[1])
    x0, y0, x1, y1 = _pixels((max(0, box[0] - dx), max(0, box[1] - dy), min(1, box[2] + dx), min(1, box[3] + dy)), size)
    mask = np.zeros(size, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def _zones(shot: _Shot, places: Sequence[Place]) -> Callable[[int], Mask]:
    """Where a thing may be in each frame: its boxes, and between two frames that have one, the way from box to box."""
    known = sorted((shot.index(place.frame), place.box) for place in places)
    indices = [index for index, _ in known]

    def zone(index: int) -> Mask:
        mask = np.zeros(shot.size, bool)
        if index < indices[0] or index > indices[-1]:
            # until the analysis says otherwise, it stays where it was last seen
            end = indices[0] if index < indices[0] else indices[-1]
            boxes = [box for at, box in known if at == end]
        elif index in indices:
            boxes = [box for at, box in known if at == index]
        else:
            before, after = max(i for i in indices if i < index), min(i for i in indices if i > index)
            share = (index - before) / (after - before)
            ends = [[box for at, box in known if at == end] for end in (before, after)]
            between = [
                tuple((1 - share) * a + share * b for a, b in zip(one, other, strict=True))
                for one, other in zip(*ends, strict=False)
            ]
            boxes = [(x0, y0, x1, y1) for x0, y0, x1, y1 in between]
        for box in boxes:
            mask |= _in_box(box, shot.size, _SLACK)
        return mask

    return zone


def _evidence(shot: _Shot, zone: Callable[[int], Mask]) -> Callable[[int], Mask] | None:
    """The departures from the background that reach into the zone, where there are any to speak of."""

    def shown(index: int) -> Mask:
        departing = shot.evidence(index)
        if departing is None:
            return np.zeros(shot.size, bool)
        _, parts = cv2.connectedComponents(departing.astype(np.uint8), connectivity=8)
        reaching = np.unique(parts[zone(index) & departing])
        return np.isin(parts, reaching[reaching > 0])

    for index in range(len(shot.footage.frames)):
        there = zone(index)
        departing = shot.evidence(index)
        if departing is not None and (departing & there).sum() > _EVIDENCE * there.sum():
            return shown
    return None


def _segmented(
    shot: _Shot, places: Sequence[Place], zone: Callable[[int], Mask], file: Path
) -> tuple[str, Callable[[int], Mask]]:
    """Which of both it is, and what the segmenter makes of the boxes, or the boxes where it makes nothing of them."""
    hints: dict[int, dict[int, Hints]] = {}
    met: dict[int, int] = {}
    for place in places:
        index = shot.index(place.frame)
        # several boxes in one frame are several pieces, each followed for itself
        met[index] = met.get(index, 0) + 1
        x0, y0, x1, y1 = _pixels(place.box, shot.size)
        hints.setdefault(met[index], {})[index] = Hints(box=(x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)))
    count = len(shot.footage.frames)
    file.parent.mkdir(parents=True, exist_ok=True)
    masks = np.memmap(file, bool, "w+", shape=(count, *shot.size))
    for _, index, matte in shot.segmenter.follow(SmallFrames(shot.footage), hints):
        masks[index] |= matte >= 0.5
    masks.flush()

    prompted = sorted({shot.index(place.frame) for place in places})
    inside = sum(int((masks[index] & zone(index)).sum()) for index in prompted)
    whole = sum(int(masks[index].sum()) for index in prompted)
    zones = sum(int(zone(index).sum()) for index in prompted)
    if inside < _FILLS * zones or whole > _SPILLS * zones:
        return "boxes of the analysis; nothing in them could be separated", zone
    return f"{shot.segmenter.name}, from the boxes of the analysis", lambda index: np.array(masks[index])


def _swept(shot: _Shot, thing: Moving) -> Mask:
    """What a thing passes over on its way from where it is to where it would be."""
    swept = np.zeros(shot.size, np.uint8)
    for place in thing.places:
        for goal in thing.goal:
            corners = [corner for box in (place.box, goal.box) for corner in _corners(_pixels(box, shot.size))]
            hull = cv2.convexHull(np.array(corners, np.int32))
            cv2.fillConvexPoly(swept, hull, 1)
    return swept > 0


def _corners(box: tuple[int, int, int, int]) -> list[tuple[int, int]]:
    x0, y0, x1, y1 = box[0], box[1], box[2] - 1, box[3] - 1
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
