"""A scene while it is put together: its things by their names, and the recipe that comes of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random
from typing import Any

from ..blender.protocol import CLOTH
from . import surroundings
from .camera import draw as draw_camera
from .geometry import Vector, heading
from .recipe import Body, Camera, Material, Recipe, Role

NOUNS = {
    "ball": "ball",
    "box": "box",
    "cylinder": "drum",
    "cone": "cone",
    "vase": "vase",
    "pawn": "chess piece",
    "bottle": "bottle",
    "cup": "cup",
    "spool": "spool",
}
# what stands upright and is not simply as wide as it is high
_SLENDER = {"vase": 0.62, "pawn": 0.5, "bottle": 0.34, "cup": 0.9, "spool": 0.8, "cone": 0.8, "cylinder": 0.75}
# what is smoother is no cloth
_CLOTH_ROUGHNESS = 0.3


def upright(shape: str, height: float) -> Vector:
    """The extents of a shape that stands upright and is so high."""
    wide = height * _SLENDER.get(shape, 1.0)
    return (wide, wide, height)


def _beside(body: Body, other: Body) -> float:
    """How far apart the middles of two that stand beside each other must be, whichever way they are turned."""
    return sum(math.hypot(*one.size[:2]) / 2 for one in (body, other)) + 0.05


@dataclass
class Scene:
    """What a kind of scene puts together: bodies, and words for the facts."""

    random: Random
    ticks: int
    description: str = ""
    effects: list[str] = field(default_factory=list)
    bodies: list[Body] = field(default_factory=list)
    camera: Camera | None = None
    around: surroundings.Surroundings | None = None

    def thing(
        self,
        shape: str,
        size: Vector,
        place: Vector,
        *,
        role: Role = Role.THING,
        mass: float = 1.0,
        words: str = "",
        material: Material | None = None,
        **more: Any,
    ) -> Body:
        """Add a body, of a material of its own where none is given, and called after it and its shape."""
        if material is None:
            said, material = surroundings.thing(self.random)
            words = words or f"the {said} {NOUNS[shape]}"
        body = Body(f"{len(self.bodies):02d} {shape}", words, shape, size, place, material, role, mass=mass, **more)
        self.bodies.append(body)
        return body

    def any_thing(self, place: Vector, height: float, *, shapes: tuple[str, ...] = tuple(NOUNS), **more: Any) -> Body:
        """Add a body of some shape that stands at ``place`` on the floor, about ``height`` high."""
        shape = self.random.choice(shapes)
        size = upright(shape, height)
        if shape == "box":
            size = (height * self.random.uniform(0.5, 1.3), height * self.random.uniform(0.5, 1.3), height)
        turn = heading(self.random.uniform(0, math.tau))
        return self.thing(shape, size, (place[0], place[1], place[2] + height / 2 + 0.002), turn=turn, **more)

    def cloth(self, place: Vector, width: float, length: float) -> Body:
        """Add a cloth that is spread out flat above what it comes to lie on."""
        said, material = surroundings.thing(self.random)
        while material.metallic or material.roughness < _CLOTH_ROUGHNESS:
            said, material = surroundings.thing(self.random)
        return self.thing(CLOTH, (width, length, 0.0), place, material=material, words=f"the {said} cloth", solid=False)

    def by_the_way(self, count: int, inner: float, outer: float, *, centre: Vector = (0, 0, 0)) -> None:
        """Add things that stand about and have no part in it."""
        for _ in range(count):
            angle = self.random.uniform(0.15 * math.pi, 0.85 * math.pi)
            radius = self.random.uniform(inner, outer)
            place = (centre[0] + radius * math.cos(angle), centre[1] + 0.8 * radius * math.sin(angle), 0.0)
            if all(math.dist(place[:2], body.place[:2]) > 0.8 for body in self.bodies):
                self.aside(place, self.random.uniform(0.3, 0.8), mass=2.0)

    def aside(self, place: Vector, height: float, **more: Any) -> None:
        """Add a body that stands about, but not where what is led along a path would pass through it."""
        body = self.any_thing(place, height, **more)
        if any(math.dist(at[:2], place[:2]) < _beside(body, other) for other in self.bodies for at in other.path):
            self.bodies.remove(body)

    def look(self, target: Vector, radius: float, *, dark: bool = False, wall: float = 3.0, **more: Any) -> None:
        """Draw what is around it, and the camera."""
        still = self.random.random() < 0.7
        self.around = surroundings.draw(self.random, (target[0], target[1], 0.0), dark=dark, wall=wall, still=still)
        self.camera = draw_camera(self.random, self.ticks, target, radius, **more)

    def recipe(self, kind: str, seed: int) -> Recipe:
        """The scene as a recipe."""
        assert self.around
        assert self.camera
        effects = [*dict.fromkeys([*self.effects, "shadow", *self.around.effects])]
        return Recipe(
            kind,
            seed,
            self.ticks,
            (*self.around.bodies, *self.bodies),
            self.around.lights,
            self.around.sky,
            self.camera,
            self.description,
            self.around.words,
            tuple(effects),
        )
