"""A jointed figure of our own that walks, carries, pushes, lifts and sits down, as poses of its limbs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from .geometry import (
    Pose,
    Quaternion,
    Vector,
    about,
    add,
    between,
    cross,
    eased,
    heading,
    length,
    pose,
    times,
    turned,
    unit,
    upwards_to,
)
from .recipe import TICKS, Body, Material, Role
from .surroundings import COLOURS

# parts of the height
_LEG, _ARM, _TRUNK = 0.245, 0.172, 0.30
_HIP, _SHOULDER, _ANKLE, _NECK = 0.055, 0.115, 0.045, 0.06
_THICK = {"thigh": 0.09, "shin": 0.07, "upper arm": 0.055, "forearm": 0.047}
_STRIDE = 0.36


@dataclass(frozen=True)
class Stance:
    """A figure at one tick, in metres: pelvis, ``facing`` (radians about the vertical, 0 looks along +y), feet, hands.

    ``lean`` bends it forward (radians). A hand that is None swings beside the body by ``swing`` (radians, the left).
    """

    pelvis: Vector
    facing: float
    feet: tuple[Vector, Vector]
    hands: tuple[Vector | None, Vector | None] = (None, None)
    lean: float = 0.0
    swing: float = 0.0


def standing(height: float) -> float:
    """How high the pelvis of a figure is that stands."""
    return height * (2 * _LEG + _ANKLE) * 0.985


def stepping(height: float, route: Callable[[float], tuple[Vector, float]], distance: float) -> Stance:
    """The figure after it has walked so far; ``route`` gives place and facing after a distance."""
    stride = _STRIDE * height
    place, facing = route(distance)
    feet = []
    for side, phase in ((1, 0.0), (-1, 1.0)):
        # a foot stands for one stride of the body, and is brought forward by two during the next
        steps = distance / stride + phase
        pair, within = math.floor(steps / 2), steps % 2
        ahead = (2 * pair - phase + 0.5 + (eased(within - 1) * 2 if within > 1 else 0.0)) * stride + 0.5 * stride
        lift = math.sin(math.pi * (within - 1)) * 0.07 * height if within > 1 else 0.0
        floor, turn = route(ahead - 0.5 * stride)
        out = turned(heading(turn), (-side * _HIP * height, 0.0, 0.0))
        feet.append(add(add(floor, out), (0.0, 0.0, _ANKLE * height + lift)))
    bob = 0.012 * height * math.cos(2 * math.pi * distance / stride)
    swing = 0.45 * math.sin(math.pi * distance / stride)
    pelvis = (place[0], place[1], standing(height) - 0.015 * height + bob)
    return Stance(pelvis, facing, (feet[0], feet[1]), lean=0.05, swing=swing)


def straight(start: Vector, facing: float) -> Callable[[float], tuple[Vector, float]]:
    """A route straight on from ``start``."""
    ahead = turned(heading(facing), (0.0, 1.0, 0.0))
    return lambda distance: (add(start, ahead, distance), facing)


def body_parts(height: float, stance: Stance) -> dict[str, Pose]:
    """Where each part of a figure is."""
    facing = heading(stance.facing)
    lean = times(facing, about((1.0, 0.0, 0.0), -stance.lean))
    up, forward = turned(lean, (0.0, 0.0, 1.0)), turned(facing, (0.0, 1.0, 0.0))
    right = turned(facing, (1.0, 0.0, 0.0))
    chest = add(stance.pelvis, up, _TRUNK * height)
    parts = {
        "pelvis": pose(add(stance.pelvis, up, 0.01 * height), facing),
        "trunk": pose(between(stance.pelvis, chest, 0.55), lean),
        "head": pose(add(chest, up, (_NECK + 0.065) * height), facing),
        "neck": pose(add(chest, up, 0.025 * height), lean),
    }
    for side, name, foot, hand in zip((-1, 1), ("left", "right"), stance.feet, stance.hands, strict=True):
        hip = add(stance.pelvis, right, side * _HIP * height)
        knee, ankle = _bent(hip, foot, _LEG * height, _LEG * height, forward)
        parts[f"{name} thigh"] = _limb(hip, knee, forward)
        parts[f"{name} shin"] = _limb(knee, ankle, forward)
        parts[f"{name} foot"] = pose(add(ankle, add((0, 0, -0.02 * height), forward, 0.03 * height)), facing)
        shoulder = add(add(chest, right, side * _SHOULDER * height), up, -0.03 * height)
        if hand is None:
            angle = -side * stance.swing
            down = turned(lean, (side * 0.12, math.sin(angle), -math.cos(angle)))
            hand = add(shoulder, unit(down), 1.93 * _ARM * height)
        back = add(add((0.0, 0.0, 0.0), forward, -1.0), right, 0.5 * side)
        elbow, wrist = _bent(shoulder, hand, _ARM * height, _ARM * height, back)
        parts[f"{name} upper arm"] = _limb(shoulder, elbow, forward)
        parts[f"{name} forearm"] = _limb(elbow, wrist, forward)
        parts[f"{name} hand"] = pose(wrist, _limb(elbow, wrist, forward)[3:])
    return parts


def _bent(root: Vector, tip: Vector, upper: float, lower: float, towards: Vector) -> tuple[Vector, Vector]:
    """The joint between two bones from ``root`` to ``tip``, bent ``towards`` a direction, and the tip they reach."""
    way = add(tip, root, -1.0)
    reach = min(length(way), 0.999 * (upper + lower))
    direction = unit(way)
    along = (upper**2 - lower**2 + reach**2) / (2 * max(reach, 1e-6))
    off = math.sqrt(max(upper**2 - along**2, 0.0))
    aside = unit(cross(cross(direction, towards), direction))
    return add(add(root, direction, along), aside, off), add(root, direction, reach)


def _limb(a: Vector, b: Vector, forward: Vector) -> Pose:
    """The pose of a limb whose thicker end, below in its own shape, is at ``a``."""
    return pose(between(a, b, 0.5), upwards_to(add(b, a, -1.0), forward))


def bodies(
    random: Random, height: float, stances: list[Stance], role: Role, name: str = "figure"
) -> tuple[str, list[Body]]:
    """The figure's body parts with their paths, and what to call it."""
    coat, trousers = random.sample([one for one in COLOURS if one not in ("pink", "white")], 2)
    skin = Material(colours=((random.uniform(0.18, 0.6), 0.2, 0.13), (0.2, 0.2, 0.2)), roughness=0.45)
    cloth = Material("noise", (COLOURS[coat], tuple(0.7 * c for c in COLOURS[coat])), 14.0, 0.85)  # type: ignore[arg-type]
    legs = Material("noise", (COLOURS[trousers], tuple(0.7 * c for c in COLOURS[trousers])), 20.0, 0.8)  # type: ignore[arg-type]
    shoe = Material(colours=((0.03, 0.025, 0.02), (0.1, 0.1, 0.1)), roughness=0.3)
    words = f"the figure in {coat} and {trousers}"
    poses = [body_parts(height, stance) for stance in stances]
    looks: dict[str, tuple[str, Vector, Material]] = {
        "pelvis": ("ball", (0.19, 0.14, 0.16), legs),
        "trunk": ("limb", (0.235, 0.145, 0.36), cloth),
        "neck": ("cylinder", (0.06, 0.06, 0.1), skin),
        "head": ("ball", (0.115, 0.135, 0.16), skin),
    }
    for side in ("left", "right"):
        looks[f"{side} thigh"] = ("limb", (0.1, 0.1, _LEG + 0.07), legs)
        looks[f"{side} shin"] = ("limb", (0.075, 0.075, _LEG + 0.05), legs)
        looks[f"{side} foot"] = ("box", (0.055, 0.14, 0.045), shoe)
        looks[f"{side} upper arm"] = ("limb", (0.065, 0.065, _ARM + 0.05), cloth)
        looks[f"{side} forearm"] = ("limb", (0.055, 0.055, _ARM + 0.04), cloth)
        looks[f"{side} hand"] = ("ball", (0.045, 0.045, 0.07), skin)
    made = []
    for part, (shape, size, look) in looks.items():
        path = tuple(one[part] for one in poses)
        extents = (size[0] * height, size[1] * height, size[2] * height)
        place, turn = path[0][:3], path[0][3:]
        made.append(Body(f"{name} {part}", words, shape, extents, place, look, role, turn, path=path, solid=False))
    return words, made


def carried(stances: list[Stance], offset: Vector, turn: Quaternion = (1.0, 0.0, 0.0, 0.0)) -> tuple[Pose, ...]:
    """The poses of a thing held at ``offset`` from the pelvis, in the figure's own directions."""
    found = []
    for stance in stances:
        facing = heading(stance.facing)
        found.append(pose(add(stance.pelvis, turned(facing, offset)), times(facing, turn)))
    return tuple(found)


def grip(stance: Stance, offset: Vector, width: float) -> tuple[Vector, Vector]:
    """Where the hands are that hold a thing of this width at ``offset`` from the pelvis from its sides."""
    facing = heading(stance.facing)
    middle = add(stance.pelvis, turned(facing, offset))
    right = turned(facing, (1.0, 0.0, 0.0))
    return add(middle, right, -width / 2 - 0.01), add(middle, right, width / 2 + 0.01)


def walking(height: float, start: Vector, facing: float, speed: float, ticks: int) -> list[Stance]:
    """A walk straight on, at ``speed`` metres a second."""
    return [stepping(height, straight(start, facing), speed * tick / TICKS) for tick in range(ticks)]
