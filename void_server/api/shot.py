"""A shot: everything that a job needs to know, as plain data that travels and is kept in the manifest."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass, field
from typing import Any, Callable, ClassVar, Mapping, Optional

from .errors import SettingError

#: The default colour space of plates, under the name that OpenImageIO's built-in configuration knows.
SCENE_LINEAR_REC709 = "lin_rec709"


@dataclass(frozen=True)
class Settings:
    """How a shot is worked on.

    ``reasoner`` finds what the removal affects, ``engine`` makes the new pixels. ``feather`` is the width in pixels
    over which new pixels fade into the plate, outside the rewritten region. ``grain`` matches the plate's grain in the
    new pixels. ``seed`` decides all randomness. With ``only_roto`` the job stops when the object is found, with
    ``only_quadmask`` after the reasoning.

    ``segmenter`` makes a roto of the shot's prompts, and masks of what a language model names: sam2 (the best
    checkpoint there is), sam2.1_hiera_large and its like, grabcut, or auto, which is sam2 where that is installed.
    ``reasoner_model`` is the language model to ask, empty for the server's own. ``cells`` says whether what is affected
    is given as whole cells of a grid: grid, as the VOID model was trained, tight, or auto, by the engine.

    For the engine ``void``: ``steps`` and ``guidance`` of the diffusion (0: as published), ``second_pass`` over noise
    that moves with the picture, ``negative_prompt`` where guidance is above 1, ``working_height`` of the model's
    frames, which are about 7/4 as wide, ``memory`` (auto, full, balanced, low), ``device`` (auto, cpu, cuda). With
    ``published`` it does as the published code does, also where we know better. ``quality`` is exact or fast.
    ``attention`` names one of diffusers' attention backends; ``compiled`` lets torch compile the transformer first.
    ``strength`` below 1 begins with the plate, so much of it noise. ``checkpoint`` names another file of this
    architecture in the weights' folder for the first pass. A shot longer than ``piece_length`` (0: no shot is) is made
    in pieces that are faded into each other, which machines can share.
    """

    engine: str = "cleanplate"
    reasoner: str = "image"
    feather: float = 6.0
    grain: bool = True
    seed: int = 0
    only_quadmask: bool = False
    only_roto: bool = False
    segmenter: str = "auto"
    reasoner_model: str = ""
    cells: str = "auto"
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
    piece_length: int = 0
    checkpoint: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.feather) and 0 <= self.feather <= 200):
            raise SettingError(f"feather is {self.feather:g}; give a width of 0 to 200 pixels.")
        if not 0 <= self.seed < 2**32:
            raise SettingError(f"seed is {self.seed}; give a whole number from 0 to {2**32 - 1}.")
        if self.cells not in ("auto", "grid", "tight"):
            raise SettingError(f"cells is {self.cells!r}; take auto, grid or tight.")
        if not 0 <= self.steps <= 1000:
            raise SettingError(f"steps is {self.steps}; give 1 to 1000, or 0 for the published number.")
        if not (math.isfinite(self.guidance) and 0 <= self.guidance <= 30):
            raise SettingError(f"guidance is {self.guidance:g}; give 1 to 30, or 0 for the published strength.")
        if self.memory not in ("auto", "full", "balanced", "low"):
            raise SettingError(f"memory is {self.memory!r}; take auto, full, balanced or low.")
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise SettingError(f"device is {self.device!r}; take auto, cpu or cuda.")
        if self.quality not in ("exact", "fast"):
            raise SettingError(f"quality is {self.quality!r}; take exact or fast.")
        if not (math.isfinite(self.strength) and 0 < self.strength <= 1):
            raise SettingError(f"strength is {self.strength:g}; give more than 0, up to 1.")
        if self.piece_length and not 85 <= self.piece_length <= 100_000:
            raise SettingError(f"piece_length is {self.piece_length}; give 85 frames or more, or 0 for all at once.")
        if self.checkpoint != self.checkpoint.replace("\\", "/").rpartition("/")[2] or self.checkpoint in (".", ".."):
            raise SettingError(f"checkpoint is {self.checkpoint!r}; give the name of a file in the weights' folder.")
        if not 64 <= self.working_height <= 2160:
            raise SettingError(f"working_height is {self.working_height}; give 64 to 2160 pixels, 384 is published.")


@dataclass(frozen=True)
class Prompt:
    """A hint at an object in one frame, in pixels of the plate from its format's top left corner.

    ``kind`` is point (on the object), not (a point that is not on it) or box; ``at`` is (x, y), or (x0, y0, x1, y1).
    ``object`` tells objects apart that are to be followed each for itself.
    """

    frame: int
    kind: str
    at: tuple[float, ...]
    object: int = 1

    POINT: ClassVar[str] = "point"
    NOT: ClassVar[str] = "not"
    BOX: ClassVar[str] = "box"

    def __post_init__(self) -> None:
        wanted = {self.POINT: 2, self.NOT: 2, self.BOX: 4}.get(self.kind)
        if wanted is None:
            raise SettingError(f"A prompt is of kind {self.kind!r}; take point, not or box.")
        if len(self.at) != wanted or not all(math.isfinite(value) for value in self.at):
            raise SettingError(f"A {self.kind} in frame {self.frame} has {len(self.at)} numbers; give {wanted}.")
        if self.kind == self.BOX and not (self.at[0] < self.at[2] and self.at[1] < self.at[3]):
            raise SettingError(f"The box in frame {self.frame} is empty; give left, top, right, bottom.")

    @classmethod
    def parse(cls, text: str, kind: str) -> Prompt:
        """A prompt from ``frame:x,y``, with ``object@`` before it where there are several. Raises SettingError."""
        match = re.fullmatch(r"(?:(\d+)@)?(-?\d+):(-?[\d.]+(?:,-?[\d.]+)+)", text.replace(" ", ""))
        if not match:
            example = "1001:10,20,300,400" if kind == cls.BOX else "1001:640,360"
            raise SettingError(f"{text!r} is no {kind}; write it like {example}, or 2@{example} for a second object.")
        try:
            at = tuple(float(number) for number in match[3].split(","))
        except ValueError:
            raise SettingError(f"{text!r} has a number that is none.") from None
        return cls(int(match[2]), kind, at, int(match[1] or 1))


@dataclass(frozen=True)
class Shot:
    """A plate, the roto of what to remove, and how to go about it.

    ``plate``, ``roto`` and ``quadmask`` name sequences (``name.%04d.exr``, ``name.####.exr``, ``name.1001-1100#.exr``),
    folders with one sequence, or movie files. ``frames`` is a range such as ``1001-1032``; without it the job takes all
    frames of the plate. ``prompt`` describes the scene after the removal. ``colorspace`` is the plate's, a name of the
    OCIO configuration ``ocio`` (a path, or OpenImageIO's own configuration where it is None).

    With ``prompts`` the roto is made: it may then be left out, or be a rough one of a few frames. It may be left out
    too where ``quadmask`` says what the object is. ``roto_offset`` and ``quadmask_offset`` are added to their frame
    numbers to get the plate's. ``analysis`` is a file that says what the removal affects, for the reasoner ``file``.
    """

    plate: str
    roto: str = ""
    frames: Optional[str] = None
    quadmask: Optional[str] = None
    prompt: str = ""
    colorspace: str = SCENE_LINEAR_REC709
    ocio: Optional[str] = None
    prompts: tuple[Prompt, ...] = ()
    analysis: Optional[str] = None
    roto_offset: int = 0
    quadmask_offset: int = 0
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        if not self.plate.strip():
            raise SettingError("The shot names no plate; name its files like plate.%04d.exr.")
        if self.settings.only_roto and not (self.roto or self.prompts):
            raise SettingError("The shot names no point, no box and no rough roto to make a roto from.")
        if not (self.roto or self.prompts or self.quadmask):
            raise SettingError("The shot names no roto, no quadmask, and no point or box to make one from.")

    #: What names files, by what they are; those in the second are no sequences.
    SEQUENCES: ClassVar[tuple[str, ...]] = ("plate", "roto", "quadmask")
    FILES: ClassVar[tuple[str, ...]] = ("ocio", "analysis")

    def paths(self) -> dict[str, str]:
        """All files that the shot names, by what they are."""
        found = {name: getattr(self, name) for name in (*self.SEQUENCES, *self.FILES)}
        return {name: path for name, path in found.items() if path}

    def with_paths(self, convert: Callable[[str], str]) -> Shot:
        """The shot with every path converted."""
        return self.from_dict({**self.to_dict(), **{name: convert(path) for name, path in self.paths().items()}})

    def to_dict(self) -> dict[str, Any]:
        """The shot as plain data."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Shot:
        """Rebuild a shot that :meth:`to_dict` made.

        Raises :class:`SettingError` for a field that is missing, unknown, or of the wrong type.
        """
        values = dict(_checked(cls, data))
        prompts = values.get("prompts", ())
        if not isinstance(prompts, (list, tuple)):
            raise SettingError(f"prompts is {prompts!r}; it must be a list.")
        values["prompts"] = tuple(_prompt(entry) for entry in prompts)
        values["settings"] = Settings(**_checked(Settings, values.get("settings", {})))
        return cls(**values)


def _prompt(data: Any) -> Prompt:
    if not isinstance(data, Mapping) or not isinstance(data.get("at"), (list, tuple)):
        raise SettingError("A prompt must be a table with frame, kind and at.")
    rest = {name: value for name, value in data.items() if name != "at"}
    try:
        at = tuple(float(value) for value in data["at"])
    except (TypeError, ValueError):
        raise SettingError(f"A prompt is at {data['at']!r}; give numbers.") from None
    return Prompt(at=at, **_checked(Prompt, rest, given=("at",)))


def _checked(cls: type, data: Any, given: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of dataclass ``cls`` in ``data``, each of the type that its default or its name asks for."""
    if not isinstance(data, Mapping):
        raise SettingError(f"{cls.__name__.lower()} must be a table of names and values.")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    unknown = sorted(map(str, set(data) - set(fields)))
    if unknown:
        raise SettingError(f"Unknown {cls.__name__.lower()} field {unknown[0]!r}; known are {', '.join(fields)}.")
    for name, value in data.items():
        annotation = str(fields[name].type)
        if name in ("settings", "prompts"):
            continue
        kinds: dict[str, tuple[type, ...]] = {"float": (float, int), "int": (int,), "bool": (bool,), "str": (str,)}
        allowed = kinds.get(annotation, (str, type(None)))
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            raise SettingError(f"{name} is {value!r}; it must be {annotation}.")
    needed = [name for name, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING]
    if missing := [name for name in needed if name not in data and name not in given]:
        raise SettingError(f"The {cls.__name__.lower()} names no {missing[0]}.")
    return dict(data)
