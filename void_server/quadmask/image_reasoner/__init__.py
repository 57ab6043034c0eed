"""What a removal affects, found from the pixels alone.

The camera's motion is taken out, the scene without the object is modelled per pixel over time, and what departs from it
is followed through the shot. A departure that touches the object at some time is its effect: a shadow, a reflection, a
thing that it set in motion. An effect comes after its cause: what lay still before the object touched it belongs to the
scene, and what is affected is that it is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from ...imaging.camera import Camera, Mask
from ...imaging.exr import FloatImage
from ...imaging.footage import Footage
from ...imaging.framefile import FrameFile
from ...imaging.paths import Paths
from ...imaging.window import Window
from . import background as scene
from .background import SCALES, Background, departure
from .chains import Chains

#: The least departure that counts, display-referred, at each scale; and how many times the noise it must be.
_LEAST = (0.012, 0.008)
_ABOVE_NOISE = 4.0
#: Frames are seen from an anchor as long as they share this much of its picture.
_OVERLAP = 0.35


@dataclass
class Reasoning:
    """The affected pixels of a shot, by frame index at the analysed size, and what an artist should know about them."""

    affected: Callable[[int], Mask]
    warnings: list[str] = field(default_factory=list)


def reason(footage: Footage, scratch: Path, report: Callable[[float], None]) -> Reasoning:
    """Find what the removal affects in every frame of ``footage``.

    ``scratch`` is a folder for what memory should not hold. ``report`` takes the share that is done.
    """
    count = len(footage.frames)
    hidden = [_hidden(footage.small_roto(index)) for index in range(count)]
    camera = Camera.track((footage.small_plate(i), cv2.dilate(hidden[i].astype(np.uint8), np.ones((9, 9))) > 0) for i in range(count))
    paths = Paths(footage, hidden, camera, scratch / "reasoner_paths.raw")
    report(0.2)
    views = _Views(footage, paths, scratch)
    for done, anchor in enumerate(anchors := _anchors(camera, footage, count)):
        model = scene.build(footage, paths, anchor, _reach(camera, footage, anchor, count))
        _restore(model)
        views.add(model)
        report(0.2 + 0.5 * (done + 1) / len(anchors))
    chains = Chains()
    labels = FrameFile(scratch / "labels.raw", footage.small_size, np.int32)
    labels.write(_label(footage, paths, views, chains, lambda share: report(0.7 + 0.3 * share)))
    wanted = {root for root, chain in chains.chains().items() if chain.contact is not None}
    roots = chains.roots()
    effect = np.isin(roots, sorted(wanted))
    effect[0] = False
    return Reasoning(lambda index: _closed(effect[labels[index]], hidden[index]), _warnings(footage, hidden, effect))


def _hidden(roto: FloatImage) -> Mask:
    return cv2.dilate((roto > 0.02).astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)


def _closed(affected: Mask, hidden: Mask) -> Mask:
    """The affected pixels with those under the object's own edge that they reach."""
    reached = cv2.dilate(affected.astype(np.uint8), np.ones((7, 7), np.uint8)).astype(bool)
    return affected | (reached & hidden)


def _warnings(footage: Footage, hidden: list[Mask], effect: Mask) -> list[str]:
    warnings = []
    ever, always = np.logical_or.reduce(hidden), np.logical_and.reduce(hidden)
    if always.sum() > 0.7 * ever.sum():
        warnings.append(
            "The object hardly moves, so its shadow, its reflection and what it carries or holds up cannot be told from "
            "the scene: look at the quadmask and paint what should change. What would fall or move without the object "
            "is not simulated."
        )
    elif not effect.any():
        warnings.append("Nothing but the object itself was found to change; paint the quadmask if something should.")
    return warnings


def _overlap(camera: Camera, footage: Footage, source: int, target: int) -> float:
    """The share of frame ``source`` that frame ``target`` sees."""
    height, width = footage.small_size
    corners = np.float32([[[0, 0]], [[width, 0]], [[width, height]], [[0, height]]])
    moved = cv2.perspectiveTransform(corners, camera.between(source, target)).astype(np.float32)
    area, _ = cv2.intersectConvexConvex(corners, cv2.convexHull(moved))
    return float(area) / (height * width)


def _reach(camera: Camera, footage: Footage, anchor: int, count: int) -> range:
    """The frames around ``anchor`` that see enough of its picture."""
    first = last = anchor
    while first > 0 and _overlap(camera, footage, anchor, first - 1) >= _OVERLAP:
        first -= 1
    while last < count - 1 and _overlap(camera, footage, anchor, last + 1) >= _OVERLAP:
        last += 1
    return range(first, last + 1)


def _anchors(camera: Camera, footage: Footage, count: int) -> list[int]:
    """Frames from which all others are seen, each frame of the shot sharing most of its picture with one of them."""
    if camera.at_rest:
        return [0]
    anchors, first = [], 0
    while first < count:
        anchor = first
        while anchor + 1 < count and _overlap(camera, footage, first, anchor + 1) > 0.8:
            anchor += 1
        last = anchor
        while last + 1 < count and _overlap(camera, footage, anchor, last + 1) > 0.8:
            last += 1
        anchors.append(anchor)
        first = last + 1
    return anchors


def _departs(rgb: FloatImage, plate: FloatImage, visible: Mask, noise: list[FloatImage]) -> Mask:
    found = np.zeros(visible.shape, bool)
    for scale, least, usual in zip(SCALES, _LEAST, noise, strict=True):
        found |= departure(rgb, plate, visible, scale) > np.maximum(least, _ABOVE_NOISE * usual)
    kernel = np.ones((3, 3), np.uint8)
    tidy = cv2.morphologyEx((found & visible).astype(np.uint8), cv2.MORPH_OPEN, kernel)
    tidy = cv2.morphologyEx(tidy, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    return tidy.astype(bool) & visible


def _near(hidden: Mask) -> Mask:
    return cv2.dilate(hidden.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)


def _restore(model: Background) -> None:
    """Give back to the background what lay still in it until the object came.

    A chain that is there from the beginning and touches the object only later was no effect of it: where it stayed
    without moving until then, its look is the scene's.
    """
    looks = model.looks
    chains, labels, before = Chains(), [], None
    for time, look in enumerate(looks):
        mask = _departs(look.rgb, model.plate, look.visible & model.known, model.noise)
        before = chains.add(time, mask, _near(~look.visible), before)
        labels.append(before)
    roots = chains.roots()
    for root, chain in chains.chains().items():
        contact = chain.contact
        if contact is None or contact < 2 or chain.first > 0:
            continue
        still = np.logical_and.reduce([(roots[labels[t]] == root) | ~looks[t].visible for t in range(contact)])
        if not still.any():
            continue
        samples = np.stack([looks[t].rgb[still] for t in range(contact)])
        seen = np.stack([looks[t].visible[still] for t in range(contact)])
        shown = seen.any(axis=0)
        rows, columns = np.nonzero(still)
        model.plate[rows[shown], columns[shown]] = scene.median(samples, seen)[shown]


class _Views:
    """The backgrounds of all anchors as each frame of the shot sees them."""

    def __init__(self, footage: Footage, paths: Paths, scratch: Path) -> None:
        self._footage, self._paths = footage, paths
        self._models: list[Background] = []

    def add(self, model: Background) -> None:
        model.looks.clear()
        self._models.append(model)
        self._models.sort(key=lambda m: m.anchor)

    def _positions(self, index: int, anchor: int) -> FloatImage | None:
        if index == anchor or self._paths.camera.at_rest:
            return None
        height, width = self._footage.small_size
        direction = 1 if anchor > index else -1
        for reached, positions, _ in self._paths.walk(index, Window(0, 0, width, height), direction):
            if reached == anchor:
                return positions
        raise AssertionError("an anchor is a frame of the shot")

    def at(self, index: int) -> tuple[FloatImage, Mask, list[FloatImage]]:
        """Plate, where it is known, and noise, as frame ``index`` sees them; the nearest anchor first."""
        height, width = self._footage.small_size
        plate = np.zeros((height, width, 3), np.float32)
        known = np.zeros((height, width), bool)
        noise = [np.zeros((height, width), np.float32) for _ in SCALES]
        for model in sorted(self._models, key=lambda m: abs(m.anchor - index))[:3]:
            positions = self._positions(index, model.anchor)
            if positions is None:
                return model.plate, model.known, model.noise
            fresh = cv2.remap(model.known.astype(np.uint8), positions, None, cv2.INTER_NEAREST, borderValue=0) > 0
            fresh &= ~known
            plate[fresh] = cv2.remap(model.plate, positions, None, cv2.INTER_CUBIC)[fresh]
            for mine, theirs in zip(noise, model.noise, strict=True):
                mine[fresh] = cv2.remap(theirs, positions, None, cv2.INTER_LINEAR)[fresh]
            known |= fresh
        return plate, known, noise


def _label(
    footage: Footage, paths: Paths, views: _Views, chains: Chains, report: Callable[[float], None]
) -> Iterator[np.ndarray]:
    height, width = footage.small_size
    everywhere = Window(0, 0, width, height)
    before = None
    for index in range(len(footage.frames)):
        plate, known, noise = views.at(index)
        visible = ~paths.hidden[index] & known
        look = scene._same_exposure(scene.Look(index, footage.small_plate(index), visible, scene.distance_from(paths.hidden[index])), plate, known)
        mask = _departs(look.rgb, plate, visible, noise)
        if before is not None and not paths.camera.at_rest:
            _, positions, _ = next(paths.walk(index, everywhere, -1))
            before = cv2.remap(before.astype(np.float32), positions, None, cv2.INTER_NEAREST, borderValue=0).astype(np.int32)
        before = chains.add(index, mask, _near(paths.hidden[index]), before)
        report((index + 1) / len(footage.frames))
        yield before
