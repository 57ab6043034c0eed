"""What the scene looks like when the object is far away, seen from an anchor frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from ...imaging.camera import Mask
from ...imaging.exr import FloatImage
from ...imaging.footage import Footage
from ...imaging.paths import Paths
from ...imaging.temporal import median, weighted_median
from ...imaging.window import Window

#: So many frames at most make a background.
_SAMPLES = 48
#: Rows that are worked on at once.
_BAND = 32
#: Departures are looked for at these scales, in pixels: edges and textures, and faint broad shadows.
SCALES = (1.2, 4.0)
#: Pixels nearer to the object than this share of the diagonal say nothing about noise.
_NEAR = 0.12


class Look(NamedTuple):
    """One frame as the anchor sees it: its index, RGB, where it shows the scene, and how far off the object is.

    The distance is a share of the frame's diagonal.
    """

    index: int
    rgb: FloatImage
    visible: Mask
    distance: FloatImage


@dataclass
class Background:
    """The scene without the object as seen from frame ``anchor``.

    ``plate`` is (height, width, 3), display-referred; ``known`` where any frame shows it; ``noise`` the usual departure
    from it at each of the :data:`SCALES`.
    """

    anchor: int
    plate: FloatImage
    known: Mask
    noise: list[FloatImage]
    looks: list[Look]


def distance_from(hidden: Mask) -> FloatImage:
    """How far each pixel is from the hidden ones, as a share of the diagonal; 1 where nothing is hidden."""
    if not hidden.any():
        return np.ones(hidden.shape, np.float32)
    pixels = cv2.distanceTransform((~hidden).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    return pixels / np.float32(np.hypot(*hidden.shape))


def departure(rgb: FloatImage, plate: FloatImage, visible: Mask, scale: float) -> FloatImage:
    """How far a frame departs from the background around each pixel, leaving out what is not visible: (height, width).

    The largest of the channels' weighted mean differences under a Gaussian of ``scale`` pixels.
    """
    weight = visible.astype(np.float32)
    size = (2 * int(3 * scale) + 1,) * 2
    mean = cv2.GaussianBlur((rgb - plate) * weight[..., None], size, scale)
    total = np.maximum(cv2.GaussianBlur(weight, size, scale), 1e-3)
    return np.abs(mean).max(axis=-1) / total


def _look(footage: Footage, paths: Paths, index: int, positions: FloatImage | None, seen: Mask) -> Look:
    rgb, distance = footage.small_plate(index), distance_from(paths.hidden[index])
    if positions is not None:
        rgb = cv2.remap(rgb, positions, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        distance = cv2.remap(distance, positions, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return Look(index, rgb, seen, distance)


def _looks(footage: Footage, paths: Paths, anchor: int, reach: Sequence[int]) -> list[Look]:
    wanted = {reach[round(i)] for i in np.linspace(0, len(reach) - 1, min(len(reach), _SAMPLES))} | {anchor}
    height, width = footage.small_size
    window = Window(0, 0, width, height)
    looks = [_look(footage, paths, anchor, None, ~paths.hidden[anchor])]
    for direction in (-1, 1):
        for index, positions, seen in paths.walk(anchor, window, direction):
            if index not in reach:
                break
            if index in wanted:
                looks.append(_look(footage, paths, index, None if paths.camera.at_rest else positions, seen))
    return sorted(looks, key=lambda look: look.index)


def _same_exposure(look: Look, plate: FloatImage, known: Mask) -> Look:
    """The look with its exposure changed to the background's, where it differs."""
    compared = look.visible & known & (look.distance > _NEAR) & (plate.min(axis=-1) > 0.05)
    if np.count_nonzero(compared) < 500:
        return look
    gain = np.median(look.rgb[compared] / plate[compared], axis=0)
    if np.abs(gain - 1).max() < 0.004 or gain.min() <= 0.2:
        return look
    return look._replace(rgb=look.rgb / gain.astype(np.float32))


def _far_median(looks: Sequence[Look]) -> FloatImage:
    """The median over time in which a frame counts the more, the farther away the object is then."""
    height, width = looks[0].visible.shape
    plate = np.empty((height, width, 3), np.float32)
    for top in range(0, height, _BAND):
        rows = slice(top, top + _BAND)
        samples = np.stack([look.rgb[rows].reshape(-1, 3) for look in looks])
        weights = np.stack([(look.visible * (0.02 + np.minimum(look.distance, 0.5)))[rows].ravel() for look in looks])
        plate[rows] = weighted_median(samples, weights.astype(np.float32)).reshape(-1, width, 3)
    return plate


def _noise(looks: Sequence[Look], plate: FloatImage, scale: float) -> FloatImage:
    """The usual departure at each pixel while the object is far, at least that of its surroundings."""
    values = np.stack([departure(look.rgb, plate, look.visible, scale) for look in looks])
    far = np.stack([look.visible & (look.distance > _NEAR) for look in looks])
    shape = plate.shape[:2]
    usual = median(values.reshape(len(looks), -1, 1), far.reshape(len(looks), -1)).reshape(shape)
    measured = far.any(axis=0)
    usual[~measured] = np.median(usual[measured]) if measured.any() else 0.0
    return np.maximum(usual, cv2.blur(usual, (7, 7)))


def build(footage: Footage, paths: Paths, anchor: int, reach: Sequence[int]) -> Background:
    """The background as seen from frame ``anchor``, from the frames ``reach`` around it."""
    looks = _looks(footage, paths, anchor, reach)
    known = np.logical_or.reduce([look.visible for look in looks])
    plate = _far_median(looks)
    looks = [_same_exposure(look, plate, known) for look in looks]
    plate = _far_median(looks)
    return Background(anchor, plate, known, [_noise(looks, plate, scale) for scale in SCALES], looks)
