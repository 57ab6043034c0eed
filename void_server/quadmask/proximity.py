"""Leave out of a model's answer the objects that are too far away for the removal to matter to them."""

from __future__ import annotations

import cv2
import numpy as np

from ..imaging.footage import Footage
from ..imaging.masks import Mask
from .analysis import Analysis, Moving

# As a share of the frame's short side: further apart, two things do not touch, however roughly they are boxed.
_REACH = 0.25


def reachable(analysis: Analysis, footage: Footage) -> tuple[Analysis, list[str]]:
    """The analysis without objects that come near neither the object nor any other that does, and notes on those.

    Shadows and reflections may be anywhere, and stay.
    """
    place = np.zeros(footage.small_size, bool)
    for index in range(len(footage.frames)):
        place |= footage.small_roto(index) >= 0.5
    if not place.any():
        return analysis, []
    far = list(analysis.objects)
    while met := [thing for thing in far if _touches(thing, place)]:
        far = [thing for thing in far if thing not in met]
        for thing in met:
            _paint(thing, place)
    notes = [f"{thing.name} was left out, as it is nowhere near the object" for thing in far]
    kept = [thing for thing in analysis.objects if thing not in far]
    return analysis.model_copy(update={"objects": kept}), notes


def _touches(thing: Moving, place: Mask) -> bool:
    if not thing.places:
        return True
    there = np.zeros_like(place)
    _paint(thing, there)
    distance = cv2.distanceTransform((~place).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    return bool(distance[there].min(initial=np.inf) <= _REACH * min(place.shape))


def _paint(thing: Moving, mask: Mask) -> None:
    """Fill the boxes of a thing."""
    height, width = mask.shape
    for box in (place.box for place in thing.places if place.box):
        x0, y0 = int(box[0] * width), int(box[1] * height)
        mask[y0 : max(y0 + 1, round(box[3] * height)), x0 : max(x0 + 1, round(box[2] * width))] = True
