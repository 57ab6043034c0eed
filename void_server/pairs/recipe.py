"""A scene in words and numbers: all that is drawn from a seed, before Blender is asked for a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ..blender.patterns import PATTERNS, PLAIN
from .geometry import UPRIGHT, Pose, Quaternion, Vector

#: Poses a second, in recipes and simulations: two a frame at 24 frames a second, four at 12.
TICKS = 48

Colour = Vector


class Role(str, Enum):
    """What a body is to the pair."""

    #: Taken away in the truth.
    REMOVED = "removed"
    #: Whatever it does without the removed is up to physics.
    THING = "thing"
    #: Moves on its own, the same with and without the removed.
    MOVER = "mover"
    #: Floor, walls, lamps: stays where it is.
    STAGE = "stage"


@dataclass(frozen=True)
class Material:
    """A surface. ``pattern`` is plain, or one of :data:`~void_server.blender.patterns.PATTERNS`, in two colours.

    ``scale`` counts repeats a metre. ``emission`` is radiance; ``drift`` how fast the pattern changes, a second.
    """

    pattern: str = PLAIN
    colours: tuple[Colour, Colour] = ((0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    scale: float = 3.0
    roughness: float = 0.5
    metallic: float = 0.0
    transmission: float = 0.0
    emission: float = 0.0
    bump: float = 0.0
    drift: float = 0.0

    def __post_init__(self) -> None:
        assert self.pattern == PLAIN or self.pattern in PATTERNS, self.pattern


@dataclass(frozen=True)
class Body:
    """Something in the scene, of a ``shape`` with the whole extents ``size`` about its ``place``.

    A ``mass`` above 0 leaves it to physics, from ``velocity`` (m/s) on. A ``path`` has a pose for each tick, from the
    first: what has a mass follows it until tick ``released``, and in the truth is free from the first tick on where
    ``held``, as whoever led it is not there.
    """

    name: str
    words: str
    shape: str
    size: Vector
    place: Vector
    material: Material
    role: Role = Role.THING
    turn: Quaternion = UPRIGHT
    mass: float = 0.0
    friction: float = 0.5
    restitution: float = 0.2
    velocity: Vector = (0.0, 0.0, 0.0)
    path: tuple[Pose, ...] = ()
    released: int | None = None
    held: bool = False
    #: Whether others collide with it.
    solid: bool = True


@dataclass(frozen=True)
class Light:
    """A light: sun (``power`` W/m2, ``size`` its angle in radians), or area (W, ``size`` in metres)."""

    kind: str
    place: Vector
    target: Vector
    colour: Colour
    power: float
    size: float


@dataclass(frozen=True)
class Sky:
    """What surrounds the scene: the colours at the horizon and above, and how bright."""

    horizon: Colour
    zenith: Colour
    strength: float


@dataclass(frozen=True)
class Camera:
    """A camera: a pose and a focal length (mm, on a 36 mm sensor) for each tick.

    ``shutter`` is the share of a frame for which it is open, 0 for none; ``f_stop`` 0 means all is sharp.
    """

    kind: str
    poses: tuple[Pose, ...]
    lens: tuple[float, ...]
    shutter: float = 0.0
    f_stop: float = 0.0
    focus: float = 5.0


@dataclass(frozen=True)
class Recipe:
    """A whole scene, with words for the facts of the pair."""

    kind: str
    seed: int
    ticks: int
    bodies: tuple[Body, ...]
    lights: tuple[Light, ...]
    sky: Sky
    camera: Camera
    description: str
    #: What the scene looks like without the removed, but for what its things do.
    setting: str
    effects: tuple[str, ...] = field(default=())

    def of_role(self, *roles: Role) -> Sequence[Body]:
        """The bodies with one of these roles."""
        return [body for body in self.bodies if body.role in roles]

    @property
    def removed(self) -> str:
        """What is removed, in words, each thing once."""
        return " and ".join(dict.fromkeys(body.words for body in self.of_role(Role.REMOVED)))

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain data."""
        return dataclasses.asdict(self)
