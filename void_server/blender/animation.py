"""Poses and numbers over time, as Blender's curves."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import bpy


def linear(owner: Any, path: str, index: int, frames: Sequence[float], values: Sequence[float]) -> None:
    """Have a property run through these values at these frames."""
    if owner.animation_data is None:
        owner.animation_data_create()
    data = owner.animation_data
    if data.action is None:
        data.action = bpy.data.actions.new(owner.name)
    curve = data.action.fcurve_ensure_for_datablock(owner, path, index=index)
    points = curve.keyframe_points
    points.add(len(frames))
    points.foreach_set("co", array("f", [number for pair in zip(frames, values, strict=True) for number in pair]))
    for point in points:
        point.interpolation = "LINEAR"
    curve.extrapolation = "CONSTANT"
    curve.update()


def poses(owner: Any, path: Sequence[Sequence[float]], per_frame: int) -> None:
    """Have an object take these poses, one a tick, from frame 1 on; ``per_frame`` ticks are a frame."""
    owner.rotation_mode = "QUATERNION"
    frames = [1 + tick / per_frame for tick in range(len(path))]
    near = [tuple(path[0][3:])]
    for one in path[1:]:
        # the same turn has two quaternions; the nearer one, or it would spin between two ticks
        turn = tuple(one[3:])
        back = sum(a * b for a, b in zip(turn, near[-1], strict=True)) < 0
        near.append(tuple(-c for c in turn) if back else turn)
    for axis in range(3):
        linear(owner, "location", axis, frames, [one[axis] for one in path])
    for axis in range(4):
        linear(owner, "rotation_quaternion", axis, frames, [turn[axis] for turn in near])
