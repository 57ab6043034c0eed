"""The patterns that a surface may have, as the shader nodes that draw them: both our Python and Blender's read this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Pattern:
    """A texture node, whose first output runs from 0 to 1 between a surface's two colours."""

    node: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)


#: A surface of one colour.
PLAIN = "plain"
#: The one that may drift.
NOISE = "noise"

_BRICK_COLOURS = {"Color1": (0.0, 0.0, 0.0, 1), "Color2": (0.45, 0.45, 0.45, 1), "Mortar": (1, 1, 1, 1)}
PATTERNS = {
    "bricks": Pattern(
        "ShaderNodeTexBrick",
        {**_BRICK_COLOURS, "Mortar Size": 0.012, "Brick Width": 0.5, "Row Height": 0.22},
    ),
    "planks": Pattern(
        "ShaderNodeTexBrick",
        {**_BRICK_COLOURS, "Mortar Size": 0.004, "Brick Width": 1.6, "Row Height": 0.22},
    ),
    "checker": Pattern("ShaderNodeTexChecker", {"Color1": (1, 1, 1, 1), "Color2": (0, 0, 0, 1)}),
    "stripes": Pattern("ShaderNodeTexWave", {"Distortion": 0.0, "Detail": 3.0}, {"bands_direction": "Z"}),
    "marble": Pattern("ShaderNodeTexWave", {"Distortion": 9.0, "Detail": 3.0}, {"bands_direction": "DIAGONAL"}),
    "cells": Pattern("ShaderNodeTexVoronoi"),
    NOISE: Pattern("ShaderNodeTexNoise", {"Detail": 6.0}, {"noise_dimensions": "4D"}),
}
