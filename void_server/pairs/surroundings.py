"""Materials, floors, walls and light drawn from a seed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from random import Random

from .geometry import Vector, about, heading, times
from .recipe import Body, Colour, Light, Material, Role, Sky

#: Colours by their names, linear Rec.709.
COLOURS: dict[str, Colour] = {
    "red": (0.6, 0.03, 0.03),
    "orange": (0.75, 0.22, 0.02),
    "yellow": (0.75, 0.5, 0.03),
    "green": (0.05, 0.32, 0.06),
    "turquoise": (0.02, 0.36, 0.36),
    "blue": (0.03, 0.09, 0.5),
    "purple": (0.22, 0.04, 0.36),
    "pink": (0.7, 0.16, 0.3),
    "white": (0.75, 0.75, 0.72),
    "grey": (0.25, 0.25, 0.26),
    "black": (0.025, 0.025, 0.028),
    "brown": (0.18, 0.08, 0.03),
}


def _shade(random: Random, colour: Colour, by: float = 0.25) -> Colour:
    level = random.uniform(1 - by, 1 + by)
    return (min(colour[0] * level, 0.9), min(colour[1] * level, 0.9), min(colour[2] * level, 0.9))


def thing(random: Random, colour: str = "") -> tuple[str, Material]:
    """The material of a thing, and the word for it, such as "red striped"; of this ``colour`` where one is named."""
    name = colour or random.choice(list(COLOURS))
    base = _shade(random, COLOURS[name])
    other = COLOURS[random.choice([one for one in COLOURS if one != name])]
    look = random.choices(
        ("plain", "glossy", "metal", "stripes", "checker", "cells", "marble", "noise"), (3, 2, 1, 2, 1, 1, 1, 1)
    )[0]
    material = Material("plain", (base, other), roughness=random.uniform(0.3, 0.7))
    if look == "glossy":
        return f"glossy {name}", replace(material, roughness=0.08)
    if look == "metal":
        return f"{name} metal", replace(material, metallic=1.0, roughness=random.uniform(0.1, 0.35))
    words = {"stripes": "striped ", "checker": "chequered ", "cells": "spotted ", "marble": "marbled "}.get(look, "")
    scale = {"stripes": 2.0, "checker": 6.0, "cells": 7.0, "marble": 2.0}.get(look, 5.0)
    return f"{words}{name}", replace(material, pattern=look, scale=scale * random.uniform(0.8, 1.6))


@dataclass(frozen=True)
class Surroundings:
    """A floor, walls, light and sky, and the words for them."""

    bodies: tuple[Body, ...]
    lights: tuple[Light, ...]
    sky: Sky
    words: str
    effects: tuple[str, ...]


_FLOORS = (
    ("a wooden floor", Material("planks", ((0.3, 0.15, 0.06), (0.16, 0.07, 0.025)), 1.4, 0.35, bump=0.15)),
    ("a dark wooden floor", Material("planks", ((0.1, 0.05, 0.025), (0.045, 0.02, 0.01)), 1.2, 0.22, bump=0.1)),
    ("a concrete floor", Material("noise", ((0.32, 0.31, 0.3), (0.2, 0.2, 0.19)), 2.5, 0.7, bump=0.2)),
    ("a chequered floor", Material("checker", ((0.5, 0.48, 0.44), (0.06, 0.06, 0.07)), 1.6, 0.15)),
    ("a marble floor", Material("marble", ((0.62, 0.6, 0.56), (0.35, 0.33, 0.32)), 0.7, 0.06)),
    ("a tiled floor", Material("bricks", ((0.42, 0.36, 0.3), (0.15, 0.13, 0.12)), 1.8, 0.25, bump=0.2)),
    ("a carpet", Material("cells", ((0.34, 0.08, 0.07), (0.14, 0.03, 0.05)), 9.0, 0.95, bump=0.4)),
    ("a polished black floor", Material("noise", ((0.02, 0.02, 0.024), (0.045, 0.045, 0.05)), 3.0, 0.07)),
    ("sand", Material("noise", ((0.5, 0.38, 0.24), (0.34, 0.25, 0.15)), 12.0, 0.95, bump=0.6)),
)
_WALLS = (
    ("a brick wall", Material("bricks", ((0.36, 0.13, 0.08), (0.34, 0.31, 0.28)), 2.2, 0.85, bump=0.6)),
    ("a plastered wall", Material("noise", ((0.58, 0.54, 0.46), (0.48, 0.44, 0.38)), 1.5, 0.9, bump=0.15)),
    ("a blue wall", Material("noise", ((0.1, 0.2, 0.36), (0.08, 0.16, 0.3)), 1.2, 0.8)),
    ("a green wall", Material("noise", ((0.14, 0.25, 0.15), (0.11, 0.2, 0.12)), 1.2, 0.8)),
    ("a panelled wall", Material("planks", ((0.36, 0.22, 0.11), (0.12, 0.06, 0.03)), 1.0, 0.5, bump=0.3)),
    ("a striped wallpaper", Material("stripes", ((0.55, 0.45, 0.3), (0.4, 0.14, 0.13)), 1.2, 0.8)),
    (
        "a screen on which a pattern flows",
        Material("noise", ((0.1, 0.25, 0.6), (0.7, 0.4, 0.15)), 1.3, 0.6, 0, 0, 0.6, drift=0.6),
    ),
)
_SKIES = (
    Sky((0.75, 0.8, 0.9), (0.25, 0.45, 0.85), 0.7),
    Sky((0.95, 0.75, 0.55), (0.3, 0.35, 0.6), 0.5),
    Sky((0.6, 0.62, 0.66), (0.5, 0.53, 0.58), 0.6),
    Sky((0.3, 0.33, 0.4), (0.1, 0.12, 0.2), 0.3),
)
_UPRIGHT_WALL = about((1.0, 0.0, 0.0), math.pi / 2)


def fixed(name: str, words: str, shape: str, size: Vector, place: Vector, material: Material, **more: object) -> Body:
    """A body of the stage."""
    return Body(name, words, shape, size, place, material, Role.STAGE, **more)  # type: ignore[arg-type]


def draw(random: Random, centre: Vector, *, dark: bool = False, wall: float = 3.0, still: bool = False) -> Surroundings:
    """A place to stand on about ``centre``, with a wall ``wall`` metres behind it where there is one.

    ``dark`` leaves the light to lamps in the scene; ``still`` draws nothing that moves.
    """
    floor_words, floor = random.choice(_FLOORS)
    bodies = [fixed("floor", floor_words, "sheet", (40, 40, 0), (centre[0], centre[1], 0.0), floor, friction=0.6)]
    words = f"on {floor_words}"
    effects = ["reflection in the floor"] if floor.roughness < 0.2 else []
    if random.random() < 0.85:
        wall_words, material = random.choice(_WALLS[:-1] if still else _WALLS)
        lean = heading(random.uniform(-0.25, 0.25))
        bodies.append(
            fixed(
                *("wall", wall_words, "sheet", (40, 16, 0), (centre[0], centre[1] + wall, 4.0), material),
                turn=times(lean, _UPRIGHT_WALL),
            )
        )
        words += f" in front of {wall_words}"
        if material.drift:
            effects.append("moving background")
    sky = random.choice(_SKIES)
    if dark:
        sky = replace(sky, strength=0.04)
        return Surroundings(tuple(bodies), (), sky, words, tuple(effects))
    lights = []
    if random.random() < 0.5:
        side = random.uniform(-1.0, 1.0)
        warm = random.uniform(0.75, 1.0)
        colour = (1.0, 0.6 + 0.38 * warm, 0.3 + 0.66 * warm)
        place = (centre[0] + 5 * side, centre[1] - random.uniform(1, 4), random.uniform(4, 8))
        lights.append(Light("sun", place, centre, colour, random.uniform(2.0, 4.5), random.choice((0.01, 0.04, 0.15))))
    else:
        for side in random.choice(((-1,), (1,), (-1, 1))):
            place = (centre[0] + side * random.uniform(2, 4), centre[1] - random.uniform(1.5, 4), random.uniform(3, 5))
            colour = (1.0, random.uniform(0.75, 1.0), random.uniform(0.55, 1.0))
            power = random.uniform(300, 800) / (2 if random.random() < 0.3 else 1)
            lights.append(Light("area", place, centre, colour, power, random.uniform(0.4, 2.0)))
        sky = replace(sky, strength=sky.strength * 0.6)
    return Surroundings(tuple(bodies), tuple(lights), sky, words, tuple(effects))
