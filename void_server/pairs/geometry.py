"""Places and turns as plain numbers, which both our Python and Blender's understand.

A pose is ``(x, y, z, qw, qx, qy, qz)``: metres, z up, and a unit quaternion.
"""

from __future__ import annotations

import math

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]
Pose = tuple[float, float, float, float, float, float, float]

UPRIGHT: Quaternion = (1.0, 0.0, 0.0, 0.0)


def pose(place: Vector, turn: Quaternion = UPRIGHT) -> Pose:
    """A pose from a place and a turn."""
    return (*place, *turn)


def add(a: Vector, b: Vector, times: float = 1.0) -> Vector:
    """``a + times * b``."""
    return (a[0] + times * b[0], a[1] + times * b[1], a[2] + times * b[2])


def between(a: Vector, b: Vector, share: float) -> Vector:
    """The point at ``share`` of the way from ``a`` to ``b``."""
    return add(a, add(b, a, -1.0), share)


def length(a: Vector) -> float:
    """The length of a vector."""
    return math.sqrt(a[0] ** 2 + a[1] ** 2 + a[2] ** 2)


def unit(a: Vector) -> Vector:
    """The direction of a vector; straight up for one without length."""
    size = length(a)
    return (a[0] / size, a[1] / size, a[2] / size) if size > 1e-9 else (0.0, 0.0, 1.0)


def cross(a: Vector, b: Vector) -> Vector:
    """The cross product."""
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def about(axis: Vector, angle: float) -> Quaternion:
    """A turn about an axis, in radians."""
    x, y, z = unit(axis)
    sine = math.sin(angle / 2)
    return (math.cos(angle / 2), x * sine, y * sine, z * sine)


def times(a: Quaternion, b: Quaternion) -> Quaternion:
    """The turn ``b`` and then ``a``."""
    aw, ax, ay, az = a
    bw, bx, by, bz = b
    return (
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    )


def turned(turn: Quaternion, vector: Vector) -> Vector:
    """A vector after a turn."""
    w, x, y, z = turn
    twice = cross((x, y, z), vector)
    twice = (2 * twice[0], 2 * twice[1], 2 * twice[2])
    return add(add(vector, twice, w), cross((x, y, z), twice))


def of_axes(right: Vector, forward: Vector, up: Vector) -> Quaternion:
    """The turn that brings x, y and z to these directions, which stand at right angles."""
    (a, d, g), (b, e, h), (c, f, i) = right, forward, up
    trace = a + e + i
    if trace > 0:
        s = 2 * math.sqrt(trace + 1)
        return (s / 4, (h - f) / s, (c - g) / s, (d - b) / s)
    if a > e and a > i:
        s = 2 * math.sqrt(1 + a - e - i)
        return ((h - f) / s, s / 4, (b + d) / s, (c + g) / s)
    if e > i:
        s = 2 * math.sqrt(1 + e - a - i)
        return ((c - g) / s, (b + d) / s, s / 4, (f + h) / s)
    s = 2 * math.sqrt(1 + i - a - e)
    return ((d - b) / s, (c + g) / s, (f + h) / s, s / 4)


def upwards_to(direction: Vector, forward: Vector = (0.0, 1.0, 0.0)) -> Quaternion:
    """The turn that brings z to ``direction``, and y as near to ``forward`` as it goes."""
    up = unit(direction)
    side = cross(forward, up)
    right = unit(side) if length(side) > 1e-6 else unit(cross((1.0, 0.0, 0.0), up))
    return of_axes(right, cross(up, right), up)


def looking(place: Vector, target: Vector, roll: float = 0.0) -> Quaternion:
    """The turn of a camera, which looks along -z with y up, at ``place`` to see ``target``; ``roll`` in radians."""
    back = unit(add(place, target, -1.0))
    right = unit(cross((0.0, 0.0, 1.0), back))
    return times(of_axes(right, cross(back, right), back), about((0.0, 0.0, 1.0), roll))


def heading(angle: float) -> Quaternion:
    """A turn about the vertical, in radians."""
    return about((0.0, 0.0, 1.0), angle)


def eased(share: float) -> float:
    """A share from 0 to 1 of a movement that begins and ends gently; held at the ends."""
    share = min(max(share, 0.0), 1.0)
    return share * share * (3 - 2 * share)
