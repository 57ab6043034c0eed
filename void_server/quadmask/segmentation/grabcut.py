"""Objects followed without any model: GrabCut (Rother et al., 2004) where hints are, optical flow from there on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from ...imaging.exr import FloatImage
from ...imaging.masks import Mask
from . import Frames, Hints, Segmenter

_Labels = NDArray[np.uint8]

#: Frames are cut at this width at most.
_WIDTH = 640
_ROUNDS = 5
# Shares of the frame's short side: a point's sure surroundings, an object's extent where only points are known,
# how far an edge may be off after a frame of flow, and how far an object may go in one.
_POINT, _EXTENT, _DRIFT, _FASTEST = 0.012, 0.3, 0.015, 0.2
# As a share of the extent of the points on an object, how far it may reach beyond them.
_BEYOND = 0.5
# How far colours may lie apart, in steps of 8-bit Lab, to be taken for one thing.
_ALIKE = 18
# Below this many pixels there is nothing to cut any more.
_LEAST = 12


class GrabCut(Segmenter):
    """Separates by colour: good for things that stand out, and says so."""

    name = "GrabCut and optical flow"
    warning = (
        "The object was separated by colour, without a model: check the roto, and add points or boxes where "
        "it is wrong. SAM 2 does this far better; see `void doctor`."
    )

    def follow(self, frames: Frames, hints: Mapping[int, Mapping[int, Hints]]) -> Iterator[tuple[int, int, FloatImage]]:
        """See :class:`void_server.quadmask.segmentation.Segmenter`."""
        for number, of_frames in hints.items():
            hinted = sorted(of_frames)
            for position, index in enumerate(hinted):
                # each hint serves the frames that are nearest to it
                begin = 0 if position == 0 else (hinted[position - 1] + index) // 2 + 1
                end = len(frames) - 1 if position == len(hinted) - 1 else (index + hinted[position + 1]) // 2
                for at, matte in _spread(frames, index, of_frames[index], begin, end):
                    yield number, at, matte


def _spread(frames: Frames, index: int, hints: Hints, begin: int, end: int) -> Iterator[tuple[int, FloatImage]]:
    """The object's matte from ``begin`` to ``end``, from what is known of it at ``index``."""
    frame = frames[index]
    size = frame.shape[1], frame.shape[0]
    start = _small(frame)
    scale = start.shape[1] / size[0]
    colours = _Colours()
    mask = _cut(start, _labels(hints, start, scale), colours)
    yield index, _matte(mask, size)
    for way in (range(index + 1, end + 1), range(index - 1, begin - 1, -1)):
        before, there = start, mask
        for at in way:
            now = _small(frames[at])
            if there.sum() >= _LEAST:
                there = _cut(now, _expected(_carried(there, before, now)), colours)
            yield at, _matte(there, size)
            before = now


def _small(frame: FloatImage) -> NDArray[np.uint8]:
    scale = min(1.0, _WIDTH / frame.shape[1])
    size = max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale))
    return np.round(cv2.resize(np.clip(frame, 0, 1), size, interpolation=cv2.INTER_AREA) * 255).astype(np.uint8)


def _matte(mask: Mask, size: tuple[int, int]) -> FloatImage:
    return cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)


def _disc(radius: float) -> NDArray[np.uint8]:
    width = 2 * max(1, round(radius)) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width)).astype(np.uint8)


def _labels(hints: Hints, frame: NDArray[np.uint8], scale: float) -> _Labels:
    """GrabCut's labels for what is known in ``frame``, which is ``scale`` times as large as the hints' frame."""
    shape = frame.shape[:2]
    short = min(shape)
    if hints.mask is not None:
        mask = cv2.resize(hints.mask.astype(np.uint8), shape[::-1], interpolation=cv2.INTER_AREA) > 0
        return _without(_expected(mask), hints, scale)
    labels = np.full(shape, cv2.GC_BGD, np.uint8)
    if hints.box:
        x0, y0, x1, y1 = (round(value * scale) for value in hints.box)
        labels[max(0, y0) : y1, max(0, x0) : x1] = cv2.GC_PR_FGD
    else:
        labels[:] = cv2.GC_PR_BGD
        for point in hints.on:
            labels[_alike(frame, _at(point, scale), round(_EXTENT * short))] = cv2.GC_PR_FGD
        _bound(labels, [_at(point, scale) for point in hints.on])
    _mark(labels, hints.on, scale, cv2.GC_FGD)
    return _without(labels, hints, scale)


def _bound(labels: _Labels, points: list[tuple[int, int]]) -> None:
    """Between three points or more the object is probable, and far beyond them it is not; fewer say nothing of that."""
    hull = cv2.convexHull(np.array(points, np.int32))
    if len(hull) < 3:
        return
    inside = cv2.fillConvexPoly(np.zeros(labels.shape, np.uint8), hull, 1)
    _, _, width, height = cv2.boundingRect(hull)
    distance = cv2.distanceTransform(1 - inside, cv2.DIST_L2, cv2.DIST_MASK_5)
    labels[inside > 0] = cv2.GC_PR_FGD
    labels[distance > _BEYOND * max(width, height)] = cv2.GC_BGD


def _without(labels: _Labels, hints: Hints, scale: float) -> _Labels:
    """The labels, with what is surely not the object around points that are not on it."""
    _mark(labels, hints.off, scale, cv2.GC_BGD)
    return labels


def _mark(labels: _Labels, points: Iterable[tuple[float, float]], scale: float, label: int) -> None:
    radius = max(2, round(_POINT * min(labels.shape)))
    for point in points:
        cv2.circle(labels, _at(point, scale), radius, label, cv2.FILLED)


def _alike(frame: NDArray[np.uint8], point: tuple[int, int], extent: int) -> Mask:
    """The pixels around a point, no further than ``extent``, that have its colour and are connected with it."""
    height, width = frame.shape[:2]
    allowed = np.ones((height + 2, width + 2), np.uint8)
    cv2.circle(allowed, (point[0] + 1, point[1] + 1), extent, 0, cv2.FILLED)
    filled = allowed.copy()
    seed = min(max(point[0], 0), width - 1), min(max(point[1], 0), height - 1)
    lab = cv2.GaussianBlur(cv2.cvtColor(frame, cv2.COLOR_RGB2LAB), (5, 5), 0)
    cv2.floodFill(
        lab, filled, seed, 0, (_ALIKE,) * 3, (_ALIKE,) * 3, cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE | 2 << 8
    )
    return (filled == 2)[1:-1, 1:-1]


def _at(point: tuple[float, float], scale: float) -> tuple[int, int]:
    return round(point[0] * scale), round(point[1] * scale)


def _expected(mask: Mask) -> _Labels:
    """Labels for an object that is about where ``mask`` is: sure inside and far outside, open at its edge."""
    disc = _disc(_DRIFT * min(mask.shape))
    inner = cv2.erode(mask.astype(np.uint8), disc) > 0
    near = cv2.dilate(mask.astype(np.uint8), disc, iterations=2) > 0
    labels = np.full(mask.shape, cv2.GC_BGD, np.uint8)
    labels[near] = cv2.GC_PR_BGD
    labels[mask] = cv2.GC_PR_FGD
    labels[inner] = cv2.GC_FGD
    return labels


@dataclass
class _Colours:
    """The mixtures of colours of object and surroundings, learned where the hint is and kept from there on."""

    outside: NDArray[np.float64] = field(default_factory=lambda: np.zeros((1, 65)))
    inside: NDArray[np.float64] = field(default_factory=lambda: np.zeros((1, 65)))
    learned: bool = False


def _cut(frame: NDArray[np.uint8], labels: _Labels, colours: _Colours) -> Mask:
    """GrabCut's object, without the specks that touch no sure or probable part of it."""
    object_ = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if object_.sum() < _LEAST or (~object_).sum() < _LEAST:
        return object_
    # its mixtures of colours begin at random
    cv2.setRNGSeed(0)
    cut = labels.copy()
    mode = cv2.GC_EVAL_FREEZE_MODEL if colours.learned else cv2.GC_INIT_WITH_MASK
    cv2.grabCut(frame, cut, None, colours.outside, colours.inside, 1 if colours.learned else _ROUNDS, mode)
    colours.learned = True
    mask = np.isin(cut, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) | (labels == cv2.GC_FGD)
    count, parts = cv2.connectedComponents(mask, connectivity=8)
    sure = labels == cv2.GC_FGD
    if sure.any():
        return np.isin(parts, np.unique(parts[sure]))
    sizes = np.bincount(parts.ravel(), minlength=count)
    # with a box alone, small pieces are other things that lie in it
    return np.isin(parts, 1 + np.flatnonzero(sizes[1:] >= 0.1 * sizes[1:].max(initial=1)))


def _carried(mask: Mask, before: NDArray[np.uint8], now: NDArray[np.uint8]) -> Mask:
    """The mask of one frame in the next: where the object as a whole went, then where the flow takes its parts."""
    x, y = _shift(mask, before, now)
    shift = np.array([[1, 0, x], [0, 1, y]], np.float32)
    size = mask.shape[1], mask.shape[0]
    before = cv2.warpAffine(before, shift, size, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpAffine(mask.astype(np.uint8), shift, size) > 0
    one, other = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (now, before))
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = estimator.calc(one, other, np.zeros((*mask.shape, 2), np.float32))
    columns, rows = np.meshgrid(np.arange(size[0], dtype=np.float32), np.arange(size[1], dtype=np.float32))
    warped = cv2.remap(mask.astype(np.float32), columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_LINEAR)
    return warped >= 0.5


def _shift(mask: Mask, before: NDArray[np.uint8], now: NDArray[np.uint8]) -> tuple[int, int]:
    """How far, in x and y, the object moved as a whole: where its pixels are found again."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    reach = round(_FASTEST * min(mask.shape))
    # an object may come into the frame, or leave it
    padded = cv2.copyMakeBorder(now, reach, reach, reach, reach, cv2.BORDER_REPLICATE)
    searched = padded[y : y + height + 2 * reach, x : x + width + 2 * reach]
    patch = before[y : y + height, x : x + width]
    weight = mask[y : y + height, x : x + width].astype(np.float32)
    error = cv2.matchTemplate(
        searched.astype(np.float32), patch.astype(np.float32), cv2.TM_SQDIFF, mask=np.dstack([weight] * 3)
    )
    _, _, best, _ = cv2.minMaxLoc(error)
    return best[0] - reach, best[1] - reach
