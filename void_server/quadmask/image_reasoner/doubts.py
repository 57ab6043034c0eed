"""What an artist is warned of: what was found is next to nothing, or the camera's motion is in doubt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...imaging.camera import Camera
from ...imaging.footage import Footage
from ...imaging.masks import Mask
from ..contact import first_contact, lasting_contact
from ..reasoning import Reasoning

#: Less than this share of the object's size in so many frames after a contact is little.
_LITTLE, _AFTER = 0.1, 8
#: Where an object touches something time and again, little is found in no more than this share of the frames.
_SELDOM = 1 / 3
#: An effect of less than this share of the object's size over the shot is hardly any: a shadow alone is more.
_HARDLY = 0.15
#: Where less of the picture agrees on the camera's motion, it may be that of something else.
_SURE_OF_CAMERA = 0.75

_NOTHING = (
    "Beside the object nothing was found that it changes. A weak shadow or reflection may not have been told from the "
    "background: paint the quadmask if anything else should change."
)


def of_effects(footage: Footage, rotos: Sequence[Mask], camera: Camera, found: Reasoning) -> list[str]:
    """The warnings where little or nothing was ``found`` beside the object, which is where the ``rotos`` are."""
    if found.implied:
        return []
    nothing = [] if found.regions else [_NOTHING]
    return _little(footage, rotos, camera, found) or nothing or _hardly(rotos, found)


def of_camera(camera: Camera) -> list[str]:
    """A warning where the motion that was taken for the camera's is that of part of the picture."""
    if camera.agreement >= _SURE_OF_CAMERA:
        return []
    return [
        f"The camera's motion is in doubt: only {camera.agreement:.0%} of the picture outside the object moves "
        "alike. Things that move, or along with which the camera travels, may count as the background, and the "
        "background as affected; strong grain over a soft picture does the same: check the quadmask, and paint what it "
        "should be."
    ]


def _little(footage: Footage, rotos: Sequence[Mask], camera: Camera, found: Reasoning) -> list[str]:
    """A warning where something changes close to the object, and hardly anything was found from then on."""
    contact = first_contact(footage, rotos)
    again = None if contact is not None else lasting_contact(footage, rotos, camera)
    first = contact if contact is not None else again
    if first is None:
        return []
    masks = [found.affected(index) for index in range(first, len(rotos))]
    objects = np.array([np.count_nonzero(roto) for roto in rotos[first:]])
    beside = np.array(
        [0 if mask is None else np.count_nonzero(mask & ~roto) for mask, roto in zip(masks, rotos[first:], strict=True)]
    )
    shown = objects > 0
    if found.regions and again is not None and np.mean(beside[shown] < _LITTLE * objects[shown]) > _SELDOM:
        return [
            f"From frame {footage.frames[first]} on the object touches something time and again, but beside it "
            "something was found in some frames only: what it set in motion may move on in the others, and all of it "
            "would move otherwise without the object. Check the quadmask, and add cells or a matte, or ask a "
            "language model."
        ]
    share = float(beside[:_AFTER].sum()) / max(float(objects[:_AFTER].sum()), 1.0)
    if share >= _LITTLE:
        return []
    return [
        f"From frame {footage.frames[first]} on something moves close to the object, but what was found beside it "
        f"there has only {share:.0%} of its size: check the quadmask, and add cells or a matte, or "
        "ask a language model."
    ]


def _hardly(rotos: Sequence[Mask], found: Reasoning) -> list[str]:
    """A warning where over the shot next to nothing was found beside the object."""
    masks = [found.affected(index) for index in range(len(rotos))]
    beside = sum(np.count_nonzero(mask & ~roto) for mask, roto in zip(masks, rotos, strict=True) if mask is not None)
    share = beside / max(sum(np.count_nonzero(roto) for roto in rotos), 1)
    if share >= _HARDLY:
        return []
    return [
        f"What was found beside the object has only {share:.0%} of its size over the shot; its shadow or reflection "
        "may not have been told from the background: check the quadmask, and add cells or a matte, or ask a language "
        "model."
    ]
