"""The shapes that bodies have, as meshes of their own: surfaces of revolution, boxes and sheets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import bpy

from .profiles import PROFILES

_SEGMENTS = 40
# corners sharper than this stay corners
_SHARP = math.radians(38)


#: What physics takes each shape for; the convex hull where it is not named.
COLLISION = {"ball": "SPHERE", "box": "BOX", "cylinder": "CYLINDER", "sheet": "BOX"}


def _turned(profile: Sequence[tuple[float, float]]) -> tuple[list[Any], list[Any]]:
    vertices: list[Any] = []
    rings: list[list[int]] = []
    for radius, height in profile:
        if radius < 1e-6:
            rings.append([len(vertices)] * _SEGMENTS)
            vertices.append((0.0, 0.0, height))
            continue
        rings.append(list(range(len(vertices), len(vertices) + _SEGMENTS)))
        angles = [2 * math.pi * n / _SEGMENTS for n in range(_SEGMENTS)]
        vertices += [(radius * math.cos(a), radius * math.sin(a), height) for a in angles]
    faces = []
    for low, high in pairwise(rings):
        for n in range(_SEGMENTS):
            after = (n + 1) % _SEGMENTS
            corners = dict.fromkeys((low[n], low[after], high[after], high[n]))
            if len(corners) > 2:
                faces.append(tuple(corners))
    return vertices, faces


def _box(size: Sequence[float]) -> tuple[list[Any], list[Any]]:
    """A box with edges that catch the light."""
    cut = 0.06 * min(size)
    vertices = []
    for x in (-1, 1):
        for y in (-1, 1):
            for z in (-1, 1):
                for axis in range(3):
                    halves = [extent / 2 - (0 if a == axis else cut) for a, extent in enumerate(size)]
                    vertices.append((x * halves[0], y * halves[1], z * halves[2]))
    # each corner n has the vertices 3n (on the x face), 3n + 1 (y), 3n + 2 (z)
    corner = {(x, y, z): 4 * x + 2 * y + z for x in (0, 1) for y in (0, 1) for z in (0, 1)}
    faces = []
    for axis in range(3):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        for side in (0, 1):
            ring = []
            for u, v in ((0, 0), (1, 0), (1, 1), (0, 1)):
                place = [0, 0, 0]
                place[axis], place[a], place[b] = side, u, v
                ring.append(3 * corner[tuple(place)] + axis)  # type: ignore[index]
            faces.append(tuple(ring if side else reversed(ring)))
        for u in (0, 1):
            for v in (0, 1):
                low, high = [0, 0, 0], [0, 0, 0]
                low[a], low[b], high[a], high[b] = u, v, u, v
                low[axis], high[axis] = 0, 1
                m, n = 3 * corner[tuple(low)], 3 * corner[tuple(high)]  # type: ignore[index]
                ring = [m + a, n + a, n + b, m + b]
                faces.append(tuple(ring if u != v else reversed(ring)))
    for x, y, z in corner:
        n = 3 * corner[x, y, z]
        ring = [n, n + 1, n + 2]
        faces.append(tuple(ring if (x + y + z) % 2 else reversed(ring)))
    return vertices, faces


def mesh(name: str, shape: str, size: Sequence[float]) -> Any:
    """A mesh of a shape with these extents."""
    if shape == "box":
        vertices, faces = _box(size)
    elif shape == "sheet":
        x, y = size[0] / 2, size[1] / 2
        vertices, faces = [(-x, -y, 0), (x, -y, 0), (x, y, 0), (-x, y, 0)], [(0, 1, 2, 3)]
    else:
        unit, faces = _turned(PROFILES[shape])
        vertices = [tuple(c * s for c, s in zip(vertex, size, strict=True)) for vertex in unit]
    made = bpy.data.meshes.new(name)
    made.from_pydata(vertices, [], faces)
    if shape not in ("box", "sheet"):
        made.shade_smooth()
        made.set_sharp_from_angle(angle=_SHARP)
    made.update()
    return made
