"""Turn an analysis into masks: where the things it names are, in every frame.

A thing is there while the analysis sees it: in frames nearer to one in which it is than to one in which it is not. What
belongs to the object is cut out of its boxes. Of an artefact the pixels are believed where they show most of it; of all
else its boxes, what a segmenter makes of them, and what the pixels show there are united. Masks are at the analysed
size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..imaging.exr import FloatImage
from ..imaging.footage import Footage
from ..imaging.masks import Mask
from .analysis import Analysis, Box, Cell, Moving, Place, Thing
from .question import chosen
from .reasoning import ARTEFACT, BELONGING, OBJECT, Region
from .segmentation import Hints, Segmenter
from .segmentation.names import Finder

#: The mask of something by frame index.
Masks = Callable[[int], Mask]
# Boxes are drawn by eye: pixels so far outside, as a share of the box, still belong to what is in it. What is cut out
# of a box, or departs from the background there, may reach out of it by so much.
_SLACK, _REACH = 0.1, 0.5
_ROUNDING = 0.01
# So much of its boxes, in half of the frames in which it was seen, must depart from the background for the pixels alone
# to be an artefact. A shadow that lies across its box, or around the object, fills a tenth of it.
_EVIDENCE = 0.08
# As a share of the frame's short side: of several things of one name, those meant are so near the object. The published
# pipeline takes 25 pixels of a picture that is some 720 high.
_NEAR = 0.035
# A segment that fills less of its boxes than this is none, and neither it nor what departs may be more than that many
# times as large.
_FILLS, _SPILLS = 0.08, 1.6


@dataclass(frozen=True)
class _Shot:
    """What the regions are found in."""

    footage: Footage
    evidence: Callable[[int], Mask | None]
    segmenter: Segmenter
    finder: Finder | None
    scratch: Path
    analysis: Analysis

    @property
    def size(self) -> tuple[int, int]:
        return self.footage.small_size

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns that cells count in."""
        assert self.analysis.grid, "an analysis with cells has a grid"
        return self.analysis.grid

    def index(self, frame: int) -> int:
        """The index of a frame of the analysis, or of the one nearest to it."""
        frames = self.footage.frames
        if self.analysis.first_frame is not None:
            return min(max(frame - self.analysis.first_frame, 0), len(frames) - 1)
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
    finder: Finder | None,
    scratch: Path,
    report: Callable[[float], None],
) -> tuple[list[Region], list[str]]:
    """The regions of all that ``analysis`` names, and the names of what could not be found.

    ``evidence`` gives, by frame index, what departs from the background in touch with the object. ``finder`` finds what
    the analysis gives no place for. ``scratch`` is a folder for what memory should not hold.
    """
    shot = _Shot(footage, evidence, segmenter, finder, scratch, analysis)
    regions, lost = [], []
    kinds: list[tuple[str, Sequence[Thing]]] = [
        (BELONGING, analysis.belongings),
        (ARTEFACT, analysis.artefacts),
        (OBJECT, analysis.objects),
    ]
    named = [(kind, thing) for kind, things in kinds for thing in things]
    groups = _touching([thing.cells for _, thing in named])
    for number, (kind, thing) in enumerate(named):
        found = _regions(shot, thing, kind, groups[number], f"region{number}")
        if thing.is_only_named:
            by_name = _by_name(shot, thing, shot.scratch / f"region{number}.raw")
            lost += [] if by_name else [thing.name]
            found = [region for region in (by_name and _region(thing, kind, *by_name), *found) if region]
        regions += found
        report((number + 1) / len(named))
    return regions, lost


def _regions(shot: _Shot, thing: Thing, kind: str, cells: Sequence[Cell], name: str) -> list[Region]:
    found: list[tuple[str, Masks]] = []
    if any(place.box for place in thing.places):
        found.append(_in_boxes(shot, thing, kind, shot.scratch / f"{name}.raw"))
    elif thing.places:
        found.append(("grid cells named by the analysis, frame by frame", _there(shot, thing.places)))
    elif cells:
        found.append(("grid cells named by the analysis", _same(_in_cells(cells, shot.grid, shot.size))))
    if isinstance(thing, Moving) and (thing.path or (thing.should_have_stayed and thing.places)):
        found.append((f"where it would be: {thing.will}", _along(shot, thing)))
    elif isinstance(thing, Moving) and thing.goal_cells:
        goal = _in_cells([*thing.cells, *thing.goal_cells], shot.grid, shot.size)
        found.append((f"where it would be: {thing.will}", _same(goal)))
    return [_region(thing, kind, rule, masks) for rule, masks in found]


def _region(thing: Thing, kind: str, rule: str, masks: Masks) -> Region:
    why = ": ".join(filter(None, (thing.category, thing.why)))
    return Region(thing.name, kind, why, rule, thing.confidence, masks)


def _same(mask: Mask) -> Masks:
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


# -- places


def _pixels(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the pixels that a relative box touches."""
    height, width = size
    x0, y0, x1, y1 = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    # the edge of a pixel, as a fraction of the frame, is not exact
    left, top, right, bottom = int(x0 + _ROUNDING), int(y0 + _ROUNDING), x1 - _ROUNDING, y1 - _ROUNDING
    return left, top, min(width, int(np.ceil(right))), min(height, int(np.ceil(bottom)))


def _in_box(box: Box, size: tuple[int, int], slack: float = 0.0) -> Mask:
    dx, dy = slack * (box[2] - box[0]), slack * (box[3] - box[1])
    x0, y0, x1, y1 = _pixels((max(0, box[0] - dx), max(0, box[1] - dy), min(1, box[2] + dx), min(1, box[3] + dy)), size)
    mask = np.zeros(size, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def _by_index(shot: _Shot, places: Sequence[Place]) -> dict[int, list[Place]]:
    known: dict[int, list[Place]] = {}
    for place in places:
        known.setdefault(shot.index(place.frame), []).append(place)
    return known


def _there(shot: _Shot, places: Sequence[Place], slack: float = 0.0) -> Masks:
    """Where a thing is in each frame, each box larger by ``slack`` of its size on each side; nowhere while unseen.

    Between two frames that have it, its boxes go from place to place, and cells stay those of the nearer frame.
    """
    known = _by_index(shot, places)
    looked = sorted({*known, *map(shot.index, shot.analysis.frames)})

    def at(index: int) -> list[Place]:
        earlier, later = ([i for i in looked if i <= index], [i for i in looked if i >= index])
        # before the first frame that was looked at, and after the last, all is as there
        before, after = (earlier or later)[-1 if earlier else 0], (later or earlier)[0 if later else -1]
        nearer = before if before in known and (after not in known or index - before <= after - index) else after
        if before in known and after in known and before != after:
            return _between(known[before], known[after], (index - before) / (after - before)) or known[nearer]
        near_enough = before == after or 2 * abs(index - nearer) <= after - before
        return known[nearer] if nearer in known and near_enough else []

    def masks(index: int) -> Mask:
        mask = np.zeros(shot.size, bool)
        for place in at(index):
            mask |= _in_box(place.box, shot.size, slack) if place.box else _in_cells(place.cells, shot.grid, shot.size)
        return mask

    return masks


def _between(before: Sequence[Place], after: Sequence[Place], share: float) -> list[Place]:
    """The boxes a ``share`` of the way from those before to those after; none where they do not correspond."""
    boxes, ends = ([place.box for place in places if place.box] for places in (before, after))
    if len(boxes) != len(ends):
        return []
    between = []
    for box in boxes:
        end = min(ends, key=lambda other: sum(abs(a - b) for a, b in zip(box, other, strict=True)))
        ends.remove(end)
        x0, y0, x1, y1 = ((1 - share) * a + share * b for a, b in zip(box, end, strict=True))
        between.append(Place(frame=before[0].frame, box=(x0, y0, x1, y1)))
    return between


# -- what is in the boxes


def _in_boxes(shot: _Shot, thing: Thing, kind: str, file: Path) -> tuple[str, Masks]:
    """Which rule applies to a thing that the analysis gives boxes for, and its masks."""
    places = [place for place in thing.places if place.box]
    boxes, zone, reach = (_there(shot, places, slack) for slack in (0.0, _SLACK, _REACH))
    if kind == ARTEFACT and _is_shown(shot, places, zone):
        return "differs from the background where the analysis says", _departing(shot, zone)
    segment = _segmented(shot, places, zone, file)
    if kind == BELONGING:
        if segment:
            return f"{shot.segmenter.name}, from the boxes of the analysis", segment
        return "boxes of the analysis; nothing in them could be separated", boxes
    departing = _departing(shot, zone)

    def united(index: int) -> Mask:
        near = reach(index)
        inner = _mostly_in(near, departing(index))
        return boxes(index) | ((inner | segment(index) if segment else inner) & near)

    cut = f"what {shot.segmenter.name} makes of them, and " if segment else ""
    return f"boxes of the analysis, {cut}what differs from the background there", united


def _departing(shot: _Shot, zone: Masks) -> Masks:
    """The departures from the background that reach into the zone."""

    def shown(index: int) -> Mask:
        departing = shot.evidence(index)
        if departing is None:
            return np.zeros(shot.size, bool)
        _, parts = cv2.connectedComponents(departing.astype(np.uint8), connectivity=8)
        reaching = np.unique(parts[zone(index) & departing])
        return np.isin(parts, reaching[reaching > 0])

    return shown


def _mostly_in(near: Mask, departing: Mask) -> Mask:
    """The connected parts of what departs that lie mostly in ``near``; others are of something else, too."""
    count, parts = cv2.connectedComponents(departing.astype(np.uint8), connectivity=8)
    inside, whole = (np.bincount(parts[mask], minlength=count) for mask in (near, np.ones_like(near)))
    good = 2 * inside >= whole
    good[0] = False
    return good[parts]


def _is_shown(shot: _Shot, places: Sequence[Place], zone: Masks) -> bool:
    """Whether enough of the zone departs from the background, and little beyond, in half of the frames with places."""
    departing = _departing(shot, zone)
    filled, spilled = [], []
    for index in _by_index(shot, places):
        shown, there = departing(index), zone(index)
        filled.append((shown & there).sum() / max(there.sum(), 1))
        spilled.append(shown.sum() / max(there.sum(), 1))
    return bool(np.median(filled) > _EVIDENCE and np.median(spilled) < _SPILLS)


def _segmented(shot: _Shot, places: Sequence[Place], zone: Masks, file: Path) -> Masks | None:
    """What the segmenter makes of the boxes; None where it makes nothing of them."""
    hints: dict[int, dict[int, Hints]] = {}
    for index, of_frame in _by_index(shot, places).items():
        # several boxes in one frame are several pieces, each followed for itself
        for number, place in enumerate(of_frame):
            assert place.box
            x0, y0, x1, y1 = _pixels(place.box, shot.size)
            hints.setdefault(number, {})[index] = Hints(box=(x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)))
    masks = _followed(shot, hints, file)
    prompted = sorted(_by_index(shot, places))
    inside = sum(int((masks[index] & zone(index)).sum()) for index in prompted)
    whole = sum(int(masks[index].sum()) for index in prompted)
    zones = sum(int(zone(index).sum()) for index in prompted)
    if inside < _FILLS * zones or whole > _SPILLS * zones:
        return None
    return lambda index: np.array(masks[index])


def _followed(shot: _Shot, hints: dict[int, dict[int, Hints]], file: Path) -> NDArray[np.bool_]:
    """What the segmenter makes of the hints, all objects as one: (frames, height, width), kept in ``file``."""
    file.parent.mkdir(parents=True, exist_ok=True)
    masks = np.memmap(file, bool, "w+", shape=(len(shot.footage.frames), *shot.size))
    for _, index, matte in shot.segmenter.follow(SmallFrames(shot.footage), hints):
        masks[index] |= matte >= 0.5
    masks.flush()
    return masks


# -- what is only named


def _by_name(shot: _Shot, thing: Thing, file: Path) -> tuple[str, Masks] | None:
    """Which rule applies to a thing that has a name but no place, and its masks; None where it is not found.

    It is looked for in frames over the whole shot, and followed from those that have it near the object.
    """
    if shot.finder is None:
        return None
    frames, hints, elsewhere = SmallFrames(shot.footage), {}, {}
    for index in chosen(shot.footage):
        called = shot.finder.find(frames[index], thing.name)
        near = [mask for mask in called if _is_near(mask, shot.footage.small_roto(index) >= 0.5)]
        if near:
            hints[index] = Hints(mask=np.logical_or.reduce(near))
        elif len(called) == 1:
            elsewhere[index] = Hints(mask=called[0])
    # the only one of its name is meant wherever it is
    if not (hints := hints or elsewhere):
        return None
    masks = _followed(shot, {0: hints}, file)
    return f"SAM 3 by its name, followed by {shot.segmenter.name}", lambda index: np.array(masks[index])


def _is_near(mask: Mask, roto: Mask) -> bool:
    distance = cv2.distanceTransform((~roto).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    return bool(roto.any() and distance[mask].min(initial=np.inf) <= _NEAR * min(roto.shape))


# -- where things would be


def _along(shot: _Shot, thing: Moving) -> Masks:
    """Where a thing would be in each frame: on the path from its last place before, and from then on at its end."""
    path = thing.path or [min(thing.places, key=lambda place: place.frame)]
    boxes = {shot.index(place.frame): _bounds(place, shot) for place in path}
    first = min(boxes)
    earlier = {shot.index(place.frame): _bounds(place, shot) for place in thing.places}
    if begin := [index for index in earlier if index < first]:
        boxes[max(begin)] = earlier[max(begin)]
    known = sorted(boxes)
    corners = np.array([boxes[index] for index in known])

    def at(index: float) -> Box:
        x0, y0, x1, y1 = (float(np.interp(index, known, corners[:, side])) for side in range(4))
        return x0, y0, x1, y1

    def masks(index: int) -> Mask:
        mask = np.zeros(shot.size, np.uint8)
        if index >= known[0]:
            # what it passes over from the frame before to the next one
            ways = [_corners(_pixels(at(max(index + step, known[0])), shot.size)) for step in (-1, 0, 1)]
            for one, other in pairwise(ways):
                cv2.fillConvexPoly(mask, cv2.convexHull(np.array(one + other, np.int32)), 1)
        return mask > 0

    return masks


def _bounds(place: Place, shot: _Shot) -> Box:
    """The box of a place, or the one around its cells."""
    if place.box:
        return place.box
    rows, columns = zip(*place.cells, strict=True)
    of_rows, of_columns = shot.grid
    return (
        min(columns) / of_columns,
        min(rows) / of_rows,
        (max(columns) + 1) / of_columns,
        (max(rows) + 1) / of_rows,
    )


def _corners(box: tuple[int, int, int, int]) -> list[tuple[int, int]]:
    x0, y0, x1, y1 = box[0], box[1], box[2] - 1, box[3] - 1
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
