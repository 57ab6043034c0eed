"""Find what a removal affects from the pixels alone.

The camera's motion is removed (one held by hand is held still), the scene without the object is modelled per pixel over
time, and what departs from it is tracked through the shot. A departure that touches the object at some time is its
effect: a shadow, a reflection, a thing it set in motion. An effect comes after its cause: what lay still before the
object touched it belongs to the scene, and what is affected is that it is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ...imaging.camera import Camera
from ...imaging.footage import Footage
from ...imaging.framefile import FrameFile
from ...imaging.masks import Mask, Masks, grown
from ...imaging.trajectories import Trajectories
from ..reasoning import Reasoning, Region
from . import doubts, glints, recurring, standing
from .departures import Departures
from .following import EFFECTS, begins_of, effects_of
from .steady import Steady

#: The object hides what its roto covers by more than this, with so many pixels around; the camera is tracked, and an
#: effect reaches under the object's edge, so many pixels beside that.
_COVERS, _EDGE, _BESIDE = 0.02, 2, 4


def reason(footage: Footage, scratch: Path, report: Callable[[float], None]) -> Reasoning:
    """Find what the removal affects in every frame of ``footage``.

    ``scratch`` is a folder for data too large for memory. ``report`` takes the fraction done.
    """
    count = len(footage.frames)
    hidden = Masks.of(grown(footage.small_roto(index) > _COVERS, _EDGE) for index in range(count))
    camera = Camera.track((footage.evenly_exposed(index), grown(hidden[index], _BESIDE)) for index in range(count))
    rotos = Masks.of(footage.small_roto(index) >= 0.5 for index in range(count))
    if standing.stands(hidden, camera):
        # what moves near a stationary object moves by itself
        found = standing.reason(footage, rotos, camera)
        found.warnings += doubts.of_camera(camera)
        return found
    shot = Steady(footage, hidden, camera)
    paths = None if shot.rests else Trajectories(footage, hidden, camera, scratch / "reasoner_paths.raw")
    report(0.3)
    affected = FrameFile(scratch / "affected.raw", shot.size, np.uint8)
    departures = Departures(shot, paths, scratch / "departing.raw", lambda share: report(0.3 + 0.6 * share))
    affected.write(effects_of(shot, paths, departures, lambda share: report(0.9 + 0.1 * share)))
    if paths is None and glints.alone(affected, departures, count):
        affected.write(glints.added(affected, departures, count, begins_of(shot)))
    certainties = _certainties(affected, departures, count)
    regions = [
        Region(name, kind, why, "the pixels alone", certainties[of], _of_kind(shot, affected, hidden, of))
        for of, (name, kind, why) in EFFECTS.items()
        if of in certainties
    ]
    found = Reasoning(regions)
    if certainties:
        found.implied = recurring.find(shot, camera, departures, affected, min(certainties.values()))
    found.warnings += doubts.of_effects(footage, rotos, camera, found) + doubts.of_camera(camera)
    return found


def _certainties(affected: FrameFile, departures: Departures, count: int) -> dict[int, float]:
    """How sure the effects of each kind that there is are: the mean of their pixels in all frames."""
    totals, pixels = np.zeros((2, 1 + max(EFFECTS)))
    for index in range(count):
        kinds = affected[index].ravel()
        totals += np.bincount(kinds, departures.certainty(index).ravel(), minlength=len(totals))
        pixels += np.bincount(kinds, minlength=len(pixels))
    return {of: round(float(totals[of] / pixels[of]), 2) for of in EFFECTS if pixels[of]}


def _of_kind(shot: Steady, affected: FrameFile, hidden: Sequence[Mask], of: int) -> Callable[[int], Mask]:
    return lambda index: _closed(shot.in_frame(index, affected[index]) == of, hidden[index])


def _closed(affected: Mask, hidden: Mask) -> Mask:
    """The affected pixels with those under the object's own edge that they reach."""
    return affected | (grown(affected, _BESIDE) & hidden)
