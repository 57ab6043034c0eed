"""An object that stands: whether it does, where it meets what it stands on, and the shadow that it casts there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from ...imaging.camera import Camera
from ...imaging.footage import Footage
from ...imaging.masks import Mask
from ...imaging.sequence import spread
from ..analysis import Box
from ..reasoning import Reasoning, Region
from . import cast
from .following import EFFECTS, SHADOW

#: An object of which so much stays in one place of the scene stands.
_STANDS = 0.65
# Shares of the object's height: above its lowest line, what is its feet; and how far around these its contact reaches.
_FEET, _AROUND = 0.06, 0.05
_STANDING = (
    "The object hardly moves, so its shadow, its reflection and what it carries or holds up cannot be told "
    "apart from the background: check the quadmask and paint what should change. What would fall or move "
    "without the object is not simulated."
)
_STANDING_IN_SHADOW = (
    "The object hardly moves. A shadow was found on the ground that begins at its feet; its reflection, and what it "
    "carries or holds up, cannot be told apart from the background: check the quadmask and paint what is missing or "
    "too much. What would fall or move without the object is not simulated."
)
#: So many frames tell how the shadow of an object that stands falls.
_LOOKS = 3


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


def reason(footage: Footage, rotos: Sequence[Mask], camera: Camera) -> Reasoning:
    """What can be known of an object that stands: the shadow that it casts on the ground, where that is plain."""
    contact = contact_of(rotos)
    if contact is None:
        # a shadow begins where the frame has cut the object off
        return Reasoning(warnings=[_STANDING])
    seen = [index for index, roto in enumerate(rotos) if roto.any()]
    chosen = [seen[position] for position in spread(len(seen), _LOOKS)]
    pictures = [footage.even_curve.to_linear(footage.evenly_exposed(index)) for index in chosen]
    found = cast.find(pictures, [rotos[index] for index in chosen])
    if found is None:
        return Reasoning(warnings=[_STANDING], contact=contact)
    name, kind, _ = EFFECTS[SHADOW]
    why = "a band of the ground that begins at the object's feet has less light than the ground on both sides"
    looks = dict(zip(chosen, found.masks, strict=True))

    def mask(index: int) -> Mask:
        return _laid(looks, index, rotos[index], camera)

    shadow = Region(name, kind, why, "a few frames' pixels", found.certainty, mask)
    return Reasoning([shadow], [_STANDING_IN_SHADOW], contact=contact)


def _laid(looks: Mapping[int, Mask], index: int, roto: Mask, camera: Camera) -> Mask:
    """Where a shadow on the ground is in a frame, as most of the frames that were looked at show it."""
    if not roto.any():
        return np.zeros_like(roto)
    there = [
        cv2.warpPerspective(mask.astype(np.float32), camera.between(look, index), roto.shape[::-1])
        for look, mask in looks.items()
    ]
    return (np.mean(there, axis=0) >= 0.5) & ~roto
