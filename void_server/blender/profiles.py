"""The outlines of surfaces of revolution: both our Python and Blender's read this."""

from __future__ import annotations

import math
from collections.abc import Sequence


def _arc(
    centre: float, start: float, end: float, radius: float, count: int = 10, flat: float = 1.0
) -> list[tuple[float, float]]:
    """Points of a circle about the axis at a height, or of an ellipse that is ``flat`` times as high."""
    angles = [start + (end - start) * n / count for n in range(count + 1)]
    return [(radius * math.cos(a), centre + flat * radius * math.sin(a)) for a in angles]


#: The outline of each surface of revolution, as radius and height from the bottom up, in a unit cube about 0.
PROFILES: dict[str, Sequence[tuple[float, float]]] = {
    "ball": _arc(0, -math.pi / 2, math.pi / 2, 0.5, 20),
    "cylinder": ((0, -0.5), (0.47, -0.5), (0.5, -0.47), (0.5, 0.47), (0.47, 0.5), (0, 0.5)),
    "cone": ((0, -0.5), (0.5, -0.5), (0.5, -0.48), (0.02, 0.5), (0, 0.5)),
    "limb": (*_arc(-0.38, -math.pi / 2, 0, 0.5, 8, 0.24), *_arc(0.38, 0, math.pi / 2, 0.42, 8, 0.28)),
    "vase": (
        *((0, -0.5), (0.26, -0.5), (0.3, -0.47), (0.42, -0.3), (0.5, -0.08), (0.46, 0.1), (0.3, 0.27), (0.19, 0.36)),
        *((0.19, 0.42), (0.29, 0.5), (0.26, 0.5), (0.15, 0.42), (0, 0.3)),
    ),
    "pawn": (
        *((0, -0.5), (0.5, -0.5), (0.5, -0.42), (0.4, -0.36), (0.42, -0.31), (0.26, -0.24), (0.17, 0.0), (0.15, 0.1)),
        *((0.31, 0.13), (0.31, 0.16), (0.17, 0.19), *_arc(0.26, -0.25, math.pi / 2, 0.24, 10)),
    ),
    "bottle": (
        *((0, -0.5), (0.46, -0.5), (0.5, -0.46), (0.5, 0.05), (0.44, 0.16), (0.24, 0.26), (0.18, 0.32), (0.18, 0.45)),
        *((0.22, 0.45), (0.22, 0.5), (0, 0.5)),
    ),
    "cup": ((0, -0.5), (0.36, -0.5), (0.4, -0.47), (0.5, 0.5), (0.45, 0.5), (0.36, -0.38), (0, -0.4)),
    "spool": (*((0, -0.5), (0.5, -0.5), (0.5, -0.36), (0.28, -0.26), (0.28, 0.26), (0.5, 0.36), (0.5, 0.5), (0, 0.5)),),
}
