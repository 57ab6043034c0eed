"""A shot: everything that a job needs to know, as plain data that travels and is kept in the manifest."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Mapping, Optional

from .errors import SettingError

#: The default colour space of plates, under the name that OpenImageIO's built-in configuration knows.
SCENE_LINEAR_REC709 = "lin_rec709"


@dataclass(frozen=True)
class Settings:
    """How a shot is worked on.

    ``reasoner`` finds what the removal affects, ``engine`` makes the new pixels. ``feather`` is the width in pixels
    over which new pixels fade into the plate, outside the rewritten region. ``grain`` matches the plate's grain in the
    new pixels. ``seed`` decides all randomness. With ``only_quadmask`` the job stops after the reasoning.

    For the engine ``void``: ``steps`` and ``guidance`` of the diffusion (0: as published), ``second_pass`` over noise
    that moves with the picture, ``negative_prompt`` where guidance is above 1, ``working_height`` of the model's
    frames, which are about 7/4 as wide, ``memory`` (auto, full, balanced, low), ``device`` (auto, cpu, cuda). With
    ``published`` it does as the published code does, also where we know better. ``quality`` is exact or fast.
    ``attention`` names one of diffusers' attention backends; ``compiled`` lets torch compile the transformer first.
    ``strength`` below 1 begins with the plate, so much of it noise. ``checkpoint`` names another file of this
    architecture in the weights' folder for the first pass.
    """

    engine: str = "cleanplate"
    reasoner: str = "image"
    feather: float = 6.0
    grain: bool = True
    seed: int = 0
    only_quadmask: bool = False
    steps: int = 0
    guidance: float = 0.0
    second_pass: bool = False
    negative_prompt: str = ""
    working_height: int = 384
    memory: str = "auto"
    device: str = "auto"
    published: bool = False
    quality: str = "exact"
    attention: str = "native"
    compiled: bool = False
    strength: float = 1.0
    checkpoint: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.feather) and 0 <= self.feather <= 200):
            raise SettingError(f"feather is {self.feather:g}; give a width of 0 to 200 pixels.")
        if not 0 <= self.seed < 2**32:
            raise SettingError(f"seed is {self.seed}; give a whole number from 0 to {2**32 - 1}.")
        if not 0 <= self.steps <= 1000:
            raise SettingError(f"steps is {self.steps}; give 1 to 1000, or 0 for the published number.")
        if not (math.isfinite(self.guidance) and 0 <= self.guidance <= 30):
            raise SettingError(f"guidance is {self.guidance:g}; give 1 to 30, or 0 for the published strength.")
        if self.quality not in ("exact", "fast"):
            raise SettingError(f"quality is {self.quality!r}; take exact or fast.")
        if not (math.isfinite(self.strength) and 0 < self.strength <= 1):
            raise SettingError(f"strength is {self.strength:g}; give more than 0, up to 1.")
        if self.checkpoint != self.checkpoint.replace("\\", "/").rpartition("/")[2] or self.checkpoint in (".", ".."):
            raise SettingError(f"checkpoint is {self.checkpoint!r}; give the name of a file in the weights' folder.")
        if not 64 <= self.working_height <= 2160:
            raise SettingError(f"working_height is {self.working_height}; give 64 to 2160 pixels, 384 is published.")


@dataclass(frozen=True)
class Shot:
    """A plate, the roto of what to remove, and how to go about it.

    ``plate``, ``roto`` and ``quadmask`` name sequences (``name.%04d.exr``, ``name.####.exr``, ``name.1001-1100#.exr``),
    folders with one sequence, or movie files. ``frames`` is a range such as ``1001-1032``; without it the job takes all
    frames of the plate. ``prompt`` describes the scene after the removal. ``colorspace`` is the plate's, a name of the
    OCIO configuration ``ocio`` (a path, or OpenImageIO's own configuration where it is None).
    """

    plate: str
    roto: str
    frames: Optional[str] = None
    quadmask: Optional[str] = None
    prompt: str = ""
    colorspace: str = SCENE_LINEAR_REC709
    ocio: Optional[str] = None
    settings: Settings = field(default_factory=Settings)

    def to_dict(self) -> dict[str, Any]:
        """The shot as plain data."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Shot:
        """Rebuild a shot that :meth:`to_dict` made.

        Raises :class:`SettingError` for a field that is missing, unknown, or of the wrong type.
        """
        values = dict(_checked(cls, data))
        values["settings"] = Settings(**_checked(Settings, values.get("settings", {})))
        return cls(**values)


def _checked(cls: type, data: Any) -> dict[str, Any]:
    """The fields of dataclass ``cls`` in ``data``, each of the type that its default or its name asks for."""
    if not isinstance(data, Mapping):
        raise SettingError(f"{cls.__name__.lower()} must be a table of names and values.")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    unknown = sorted(set(data) - set(fields))
    if unknown:
        raise SettingError(f"Unknown {cls.__name__.lower()} field {unknown[0]!r}; known are {', '.join(fields)}.")
    for name, value in data.items():
        annotation = str(fields[name].type)
        if name == "settings":
            continue
        kinds: dict[str, tuple[type, ...]] = {"float": (float, int), "int": (int,), "bool": (bool,), "str": (str,)}
        allowed = kinds.get(annotation, (str, type(None)))
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            raise SettingError(f"{name} is {value!r}; it must be {annotation}.")
    missing = [n for n, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING and n not in data]
    if missing:
        raise SettingError(f"The shot names no {missing[0]}.")
    return dict(data)
