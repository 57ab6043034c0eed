"""An object that stands: whether it does, and where it meets what it stands on."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ...imaging.camera import Camera, Mask
from ..analysis import Box

#: An object of which so much stays in one place of the scene stands.
_STANDS = 0.65
# Shares of the object's height: above its lowest line, what is its feet; and how far around these its contact reaches.
_FEET, _AROUND = 0.06, 0.05


def stands(hidden: Sequence[Mask], camera: Camera) -> bool:
    """Whether the object stays in its place of the scene throughout; one that a single frame of many shows does not."""
    height, width = hidden[0].shape
    if len(hidden) > 1 and sum(mask.any() for mask in hidden) == 1:
        return False
    ever, always = np.zeros((height, width), bool), np.ones((height, width), bool)
    for index, mask in enumerate(hidden):
        if mask.any():
            matrix = camera.between(index, 0)
            there = cv2.warpPerspective(mask.astype(np.uint8), matrix, (width, height), flags=cv2.INTER_NEAREST) > 0
            ever |= there
            always &= there
    return bool(always.sum() > _STANDS * ever.sum())


def contact_of(rotos: Sequence[Mask]) -> Box | None:
    """Where the object's lowest parts are in any frame, with a little around; None where the frame cuts these off."""
    places = []
    for mask in rotos:
        if not mask.any():
            continue
        rows = np.flatnonzero(mask.any(axis=1))
        height, lowest = rows[-1] + 1 - rows[0], rows[-1] + 1
        if lowest >= mask.shape[0] - 1:
            return None
        feet = np.flatnonzero(mask[lowest - max(1, round(_FEET * height)) : lowest].any(axis=0))
        edge = max(1, round(_AROUND * height))
        places.append((feet[0] - edge, lowest - edge, feet[-1] + 1 + edge, lowest + edge))
    if not places:
        return None
    tall, wide = rotos[0].shape
    left, top = np.min(places, axis=0)[:2]
    right, bottom = np.max(places, axis=0)[2:]
    return (
        max(0.0, float(left / wide)),
        max(0.0, float(top / tall)),
        min(1.0, float(right / wide)),
        min(1.0, float(bottom / tall)),
    )
