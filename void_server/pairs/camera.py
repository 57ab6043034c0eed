"""Cameras drawn from a seed: still, panning, zooming, held by hand, with their lenses and shutters."""

from __future__ import annotations

import math
from random import Random

from .geometry import Pose, Vector, add, eased, looking, pose
from .recipe import TICKS, Camera

KINDS = ("static", "pan", "zoom in", "zoom out", "handheld")
_WEIGHTS = (5, 2, 1, 1, 2)
_SENSOR, _ASPECT = 36.0, 16 / 9


def draw(
    random: Random,
    ticks: int,
    target: Vector,
    radius: float,
    *,
    kinds: tuple[str, ...] = KINDS,
    azimuth: float = 0.6,
    elevation: tuple[float, float] = (0.12, 0.5),
) -> Camera:
    """A camera that sees ``radius`` metres about ``target``, from the front (-y) within ``azimuth`` radians."""
    kind = random.choices(kinds, [_WEIGHTS[KINDS.index(one)] for one in kinds])[0]
    lens = random.choice((28.0, 35.0, 35.0, 50.0))
    distance = radius * _ASPECT / (_SENSOR / lens / 2) / 1.45
    around, above = random.uniform(-azimuth, azimuth), random.uniform(*elevation)
    flat = distance * math.cos(above)
    place = add(target, (flat * math.sin(around), -flat * math.cos(around), distance * math.sin(above)))
    place = (place[0], place[1], max(place[2], 0.35))
    pan = random.choice((-1, 1)) * random.uniform(0.12, 0.3)
    zoom = {"zoom in": random.uniform(1.2, 1.45), "zoom out": random.uniform(0.68, 0.82)}.get(kind, 1.0)
    shake = [(random.uniform(0.4, 2.2), random.uniform(0, math.tau), random.uniform(0.3, 1)) for _ in range(9)]
    poses: list[Pose] = []
    lenses = []
    for tick in range(ticks):
        share = eased(tick / max(ticks - 1, 1))
        seconds = tick / TICKS
        to, at, roll = target, place, 0.0
        if kind == "pan":
            angle = pan * (share - 0.5)
            to = _about(place, target, angle)
        elif kind == "handheld":
            sway = [_sway(shake[n : n + 3], seconds) for n in (0, 3, 6)]
            at = add(place, (sway[0], sway[1], sway[2]), 0.012 * distance)
            to = add(target, (sway[1], sway[2], sway[0]), 0.02 * distance)
            roll = 0.012 * sway[2]
        poses.append(pose(at, looking(at, to, roll)))
        lenses.append(lens * (1 + (zoom - 1) * share))
    shutter = random.choice((0.0, 0.5, 0.5))
    return Camera(
        kind,
        tuple(poses),
        tuple(lenses),
        shutter=shutter,
        f_stop=random.choice((0.0, 0.0, 2.8, 5.6)),
        focus=distance,
    )


def _about(place: Vector, target: Vector, angle: float) -> Vector:
    """``target`` as it is swung about the vertical through ``place``."""
    x, y, z = add(target, place, -1.0)
    return add(place, (x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle), z))


def _sway(waves: list[tuple[float, float, float]], seconds: float) -> float:
    return sum(size * math.sin(math.tau * rate * seconds + phase) / (1 + rate) for rate, phase, size in waves)
