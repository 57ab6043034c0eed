"""What stood in the scene before the object came: it is the background, however long the shot shows it otherwise."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from ...imaging.exr import FloatImage
from ...imaging.masks import Mask
from ...imaging.temporal import median
from .background import SCALES, Background, departure
from .causes import around, effects
from .departing import beyond_noise, departing, over_noise

#: What stands in the first frames is seen unchanged in so many looks.
_STANDS = 3
#: A thing is put back whole: gaps of so many pixels in it are closed.
_WHOLE = 15
#: Where so much of its rim changes meanwhile, it moves.
_MOVING_RIM = 0.25
#: It stands again where a look is nearer to the first than to the background by this factor.
_NEARER = 0.5
#: The cause of a change is there within so many looks.
_SOON = 3


def restore(model: Background) -> None:
    """Give back to ``model`` what stood there until the object, or something it set in motion, reached it.

    What stands unchanged in the first looks, away from the object, and departs from the background is tried as
    the background. It stays where the object's effects reach it later; what leaves by itself goes again.
    """
    first, standing = _first_state(model)
    if not standing.any():
        return
    later, noise = model.plate.copy(), [level.copy() for level in model.noise]
    count, things = cv2.connectedComponents(standing.astype(np.uint8), connectivity=8)
    model.plate[standing] = first[standing]
    for level in model.noise:
        level[standing] = np.minimum(level[standing], np.median(level))
    gone = standing & ~_reached(model, things, count)[things]
    model.plate[gone] = later[gone]
    for level, before in zip(model.noise, noise, strict=True):
        level[gone] = before[gone]


def _reached(model: Background, things: NDArray[np.int32], count: int) -> NDArray[np.bool_]:
    """Which of the numbered ``things`` were changed by an effect of the object: it is there where and when they change.

    A thing that left by itself before, as a passing car did, is none of them.
    """
    effect = np.zeros(things.shape, bool)
    since = np.zeros(things.shape, np.uint8)
    caused = np.zeros(things.shape, bool)
    for look in model.looks:
        departs = departing(beyond_noise(look, model), look.visible & model.known)
        effect = effects(departs, around(look.distance == 0) | effect)
        since = np.where(departs & (since < 255), since + 1, since).astype(np.uint8)
        caused |= effect & (since <= _SOON)
    changed = np.bincount(things[since > 0], minlength=count)
    return np.bincount(things[caused], minlength=count) > changed / 2


def _first_state(model: Background) -> tuple[FloatImage, Mask]:
    """How each pixel looks when it is first seen, (height, width, 3), and where that stands and is not the background.

    Only where the object is not at hand then: what lies beside it may be its shadow.
    """
    shape = model.known.shape
    first, standing = model.plate.copy(), np.zeros(shape, bool)
    if len(model.looks) <= _STANDS:
        return first, standing
    looks = model.looks[:_STANDS]
    seen = np.logical_and.reduce([look.visible for look in looks])
    samples = np.stack([look.rgb.reshape(-1, 3) for look in looks])
    early = median(samples, np.broadcast_to(seen.reshape(-1), (len(looks), seen.size))).reshape(*shape, 3)
    # both are noisy
    change = np.float32(math.sqrt(2)) * over_noise(model, 0)
    moved = np.zeros(shape, bool)
    for look in model.looks[: _STANDS + 1]:
        moved |= departure(look.rgb, looks[0].rgb, seen & look.visible, SCALES[0]) > change
    again = seen & _comes_back(model)
    early = np.where((moved & again)[..., None], looks[0].rgb, early)
    changed, moved = _tidy(moved), _tidy(moved & ~again)
    other = departure(early, model.plate, seen, SCALES[0]) > over_noise(model, 0)
    still = cv2.morphologyEx((seen & other & ~moved).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, parts = cv2.connectedComponents(still, connectivity=8)
    at_hand = around(np.logical_or.reduce([look.distance == 0 for look in looks]))
    area, beside, returns = (np.bincount(parts[mask], minlength=count) for mask in (parts > 0, at_hand, again))
    # what comes back is no shadow of the object, and what passed there is not its own motion
    own = np.where(2 * returns > area, _moving(parts, count, moved), (beside > 0) | _moving(parts, count, changed))
    standing = ~own[parts] & (parts > 0)
    # a thing is whole, also where it looks like what lies behind it
    whole = cv2.morphologyEx(standing.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((_WHOLE, _WHOLE), np.uint8))
    whole = cv2.dilate(whole, np.ones((5, 5), np.uint8))
    standing = (whole > 0) & seen & ~moved
    if not standing.any():
        return first, standing
    # each look tells of it for as long as it stood unchanged
    unchanged = standing.copy()
    stack, shown = [], []
    for number, look in enumerate(model.looks):
        differs = departure(look.rgb, early, look.visible & standing, SCALES[0]) > over_noise(model, 0)
        unchanged &= ~(differs & look.visible) | (number < _STANDS)
        stack.append(look.rgb[standing])
        shown.append((unchanged & look.visible)[standing])
    first[standing] = median(np.stack(stack), np.stack(shown))
    return first, standing


def _tidy(moved: Mask) -> Mask:
    """The same without the specks that noise alone makes."""
    return np.asarray(cv2.morphologyEx(moved.astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8)) > 0)


def _comes_back(model: Background) -> Mask:
    """What is as in the first look again, in so many looks on end after something else, such as a shadow that passed.

    Not after the background was seen there: that is a shadow that comes twice.
    """
    begun, shape = model.looks[0].rgb, model.known.shape
    gone, away, back, on_end = (np.zeros(shape, kind) for kind in (bool, bool, bool, np.uint8))
    for look in model.looks:
        from_first, from_plate = (departure(look.rgb, than, look.visible, SCALES[0]) for than in (begun, model.plate))
        away |= look.visible & (from_plate < _NEARER * from_first)
        same = look.visible & (from_first < _NEARER * from_plate) & ~away
        gone |= ~same
        on_end = np.where(gone & same, on_end + 1, 0).astype(np.uint8)
        back |= on_end >= _STANDS
    return back


def _moving(parts: NDArray[np.int32], count: int, moved: Mask) -> NDArray[np.bool_]:
    """Which parts are the middle of something that moves, as a shadow does: its edges change first."""
    rim = cv2.dilate(parts.astype(np.float32), np.ones((7, 7), np.uint8)).astype(np.int32)
    rim[parts > 0] = 0
    around_it, changing = (np.bincount(rim[mask], minlength=count) for mask in (rim > 0, (rim > 0) & moved))
    return np.asarray(changing > _MOVING_RIM * around_it)
