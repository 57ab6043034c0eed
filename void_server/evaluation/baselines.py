"""What results are compared with: the simplest things that one could do, given which pixels change."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from ..imaging import temporal
from ..imaging.camera import Camera
from ..imaging.exr import FloatImage
from .material import Material
from .pictures import Pictures

#: A rig is removed with frames at least and at most so far away.
_NEAREST, _FARTHEST = 4, 25
#: Brightness is matched in a ring so wide around a hole.
_RING = np.ones((25, 25), np.uint8)
_NEAR = np.ones((3, 3), np.uint8)
#: So many bytes of frames are stacked at a time for a median.
_STACKED = 256 * 2**20

Shown = Pictures[FloatImage]


def untouched(material: Material) -> Shown:
    """The plate as it is: what doing nothing is worth."""
    return _plate(material)


def telea(material: Material) -> Shown:
    """Each frame for itself, filled from around what changes (Telea, 2004)."""
    plate = _plate(material)

    def fill(index: int) -> FloatImage:
        hole = material.changed(index).astype(np.uint8)
        image = np.ascontiguousarray(np.round(plate[index] * 255).astype(np.uint8))
        return cv2.inpaint(image, hole, 3, cv2.INPAINT_TELEA).astype(np.float32) / np.float32(255)

    return Pictures(fill, len(plate))


def masked_median(material: Material) -> Shown:
    """At each pixel the median over time of what never changes; where all does, Telea's."""
    plate, unseen = _plate(material), telea(material)
    height, width = material.codes[0].shape
    rows = max(1, _STACKED // (len(plate) * width * 3 * 4))
    median, known = np.zeros((height, width, 3), np.float32), np.zeros((height, width), bool)
    for top in range(0, height, rows):
        part = slice(top, min(top + rows, height))
        samples = np.stack([image[part] for image in plate])
        seen = np.stack([~material.changed(index)[part] for index in range(len(plate))])
        flat = temporal.median(samples.reshape(len(plate), -1, 3), seen.reshape(len(plate), -1))
        median[part], known[part] = flat.reshape(median[part].shape), seen.any(axis=0)

    def fill(index: int) -> FloatImage:
        hole, image = material.changed(index), plate[index].copy()
        image[hole & known] = median[hole & known]
        if (hidden := hole & ~known).any():
            image[hidden] = unseen[index][hidden]
        return image

    return Pictures(fill, len(plate))


def neighbours(material: Material) -> Shown:
    """As compositors remove a rig: the nearest of the frames 4 to 25 before and after that shows a pixel.

    Aligned by the camera's homography, matched in brightness; where none shows it, Telea's.
    """
    plate, unseen = _plate(material), telea(material)
    holes: Pictures[NDArray[np.bool_]] = Pictures(
        lambda index: cv2.dilate(material.changed(index).astype(np.uint8), _NEAR) > 0, len(plate)
    )
    camera = Camera.track(zip(plate, holes, strict=True))

    def fill(index: int) -> FloatImage:
        image, missing = plate[index].copy(), material.changed(index)
        size = image.shape[1::-1]
        ring = cv2.dilate(holes[index].astype(np.uint8), _RING) > 0
        for away in sorted(range(-_FARTHEST, _FARTHEST + 1), key=abs):
            source = index + away
            if abs(away) < _NEAREST or not 0 <= source < len(plate) or not missing.any():
                continue
            matrix = camera.between(source, index)
            there = cv2.warpPerspective(plate[source], matrix, size, flags=cv2.INTER_CUBIC)
            hidden = cv2.warpPerspective(holes[source].astype(np.uint8), matrix, size, borderValue=1) > 0
            both = ring & ~holes[index] & ~hidden & (there.min(axis=-1) > 0.02)
            gain = np.median(plate[index][both] / there[both], axis=0) if both.any() else np.ones(3)
            take = missing & ~hidden
            image[take] = (there * gain)[take]
            missing = missing & hidden
        if missing.any():
            image[missing] = unseen[index][missing]
        return np.clip(image, 0, 1).astype(np.float32)

    return Pictures(fill, len(plate))


def _plate(material: Material) -> Shown:
    assert material.plate is not None, "a baseline starts from the plate"
    return material.plate


#: The baselines that need no engine, by the name that tables give them.
BASELINES: Mapping[str, Callable[[Material], Shown]] = {
    "untouched": untouched,
    "telea": telea,
    "masked median": masked_median,
    "neighbours": neighbours,
}
