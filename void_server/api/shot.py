"""A shot: everything that a job needs to know, as plain data that travels and is kept in the manifest."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Callable, ClassVar, Mapping, Optional

from .errors import SettingError
from .settings import D, Declared, check, check_text, setting

#: No shot has more points and boxes.
_MOST_PROMPTS = 1_000
#: The default colour space of plates, under the name that OpenImageIO's built-in configuration knows.
SCENE_LINEAR_REC709 = "lin_rec709"
#: What the name of a configuration begins with that OCIO has built in, and that is no file.
BUILT_IN_OCIO = "ocio://"


#: Where a job can end: with the roto, with the quadmask, or with the new plate.
ROTO, QUADMASK, PLATE = "roto", "quadmask", "plate"
#: What the engines and reasoners that come with VOID are called where artists read: on the node, in the report.
_TITLES = {
    "cleanplate": "clean plate (from other frames)",
    "void": "VOID model (generative)",
    "image": "by the pixels",
    "gemini": "Gemini (in Google's cloud)",
    "local": "language model (in-house)",
    "file": "analysis file",
    "none": "the object alone",
}


def title(name: str) -> str:
    """What artists call an engine or a reasoner; its name where it is a studio's own."""
    return _TITLES.get(name, name)


@dataclass(frozen=True)
class Settings(Declared):
    """How to process a shot: the settings that all engines and reasoners share, and those of the chosen ones.

    ``engine_settings`` and ``reasoner_settings`` are plain data. The engine and the reasoner declare what they may
    contain; :meth:`of_engine` and :meth:`of_reasoner` return them as declared. They are checked at submission.
    """

    engine: str = setting(
        "cleanplate",
        "Creates the new pixels.",
        label="method",
        long_help="Creates the new pixels. cleanplate: from other frames, on any machine. "
        "void: Netflix's VOID model; the server needs its weights.",
        stages=("reasoning", "plate"),
    )
    reasoner: str = setting(
        "image",
        "Finds what the removal affects: image, gemini, local, file, or none.",
        label="analysis",
        long_help="Finds what the removal affects. image: by analysing the pixels, on the CPU. gemini, local: by "
        "asking a language model; gemini sends frames to Google. none: only the object itself.",
        stages=("reasoning",),
    )
    until: str = setting(PLATE, "Stop after the roto, the quadmask, or the new plate.", choices=(ROTO, QUADMASK, PLATE))
    segmenter: str = setting(
        "auto",
        "Cuts objects out: sam2, sam2.1_hiera_tiny, ..., grabcut, or auto.",
        long_help="Segments what points and language models select. auto: SAM 2 if the server has it, otherwise "
        "GrabCut.",
        stages=("roto",),
    )
    device: str = setting(
        "auto",
        "Where models run: auto, cpu or cuda.",
        pattern=r"auto|cpu|cuda(:\d+)?",
        give="auto, cpu or cuda",
        stages=("roto", "model"),
    )
    affected_shape: str = setting(
        "auto",
        "Shape of the affected region: grid (whole cells), tight, or auto, by the engine.",
        label="affected shape",
        long_help="Shape of the affected region. grid: whole cells, as the VOID model was trained on. tight: follows "
        "the pixels. auto: whatever suits the method.",
        choices=("auto", "tight", "grid"),
        stages=("reasoning",),
    )
    feather: float = setting(
        6.0,
        "Width of the soft edge, in pixels.",
        long_help="Width in pixels of the soft edge outside the rewritten region.",
        low=0,
        high=200,
        slider=50,
        unit="pixels",
        stages=("quadmask", "plate"),
    )
    grain: bool = setting(
        True,
        "Match the plate's grain in the new pixels.",
        label="match grain",
        long_help="Add the plate's grain to the new pixels.",
        stages=("plate",),
    )
    seed: int = setting(
        0,
        "Random seed.",
        long_help="Random seed; the same seed gives the same frames.",
        low=0,
        high=2**32 - 1,
        stages=("plate",),
    )
    engine_settings: Mapping[str, Any] = field(default_factory=dict)
    reasoner_settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("engine_settings", "reasoner_settings"):
            said = getattr(self, name)
            if not isinstance(said, Mapping) or not all(isinstance(key, str) for key in said):
                raise SettingError(f"{name} must be a table of names and values.")
            for key, value in said.items():
                check_text(key, value)
                if not isinstance(value, (bool, int, float, str)):
                    raise SettingError(f"{key} is {value!r}; give a number, text, true or false.")

    def of_engine(self, cls: type[D]) -> D:
        """The engine's settings, as the class ``cls`` that declares them; the rest have their defaults.

        Raises :class:`SettingError` for an unknown setting or an invalid value.
        """
        return cls.from_dict(self.engine_settings)

    def of_reasoner(self, cls: type[D]) -> D:
        """The same for the reasoner."""
        return cls.from_dict(self.reasoner_settings)


@dataclass(frozen=True)
class Prompt:
    """A hint at an object in one frame, in pixels of the plate from its format's top left corner.

    ``kind`` is point (on the object), not (a point that is not on it), box or named; ``at`` is (x, y), or (x0, y0, x1,
    y1), and empty for what is ``called`` by name. ``object`` tells objects apart, each of which is followed for itself.
    """

    frame: int
    kind: str
    at: tuple[float, ...]
    object: int = 1
    called: str = ""

    POINT: ClassVar[str] = "point"
    NOT: ClassVar[str] = "not"
    BOX: ClassVar[str] = "box"
    NAMED: ClassVar[str] = "named"

    def __post_init__(self) -> None:
        wanted = {self.POINT: 2, self.NOT: 2, self.BOX: 4, self.NAMED: 0}.get(self.kind)
        if wanted is None:
            raise SettingError(f"A prompt is of kind {self.kind!r}; take point, not, box or named.")
        if len(self.at) != wanted or not all(math.isfinite(value) for value in self.at):
            raise SettingError(f"A {self.kind} in frame {self.frame} has {len(self.at)} numbers; give {wanted}.")
        check_text("called", self.called)
        if bool(self.called.strip()) != (self.kind == self.NAMED):
            raise SettingError(f"The {self.kind} in frame {self.frame} is called {self.called!r}; name what is named.")
        if self.kind == self.BOX and not (self.at[0] < self.at[2] and self.at[1] < self.at[3]):
            raise SettingError(f"The box in frame {self.frame} is empty; give left, top, right, bottom.")

    @classmethod
    def parse(cls, text: str, kind: str) -> Prompt:
        """A prompt from ``frame:x,y``, with ``object@`` before it where there are several. Raises SettingError."""
        if kind == cls.NAMED:
            return cls._named(text)
        match = re.fullmatch(r"(?:(\d+)@)?(-?\d+):(-?[\d.]+(?:,-?[\d.]+)+)", text.replace(" ", ""))
        if not match:
            example = "1001:10,20,300,400" if kind == cls.BOX else "1001:640,360"
            raise SettingError(f"{text!r} is no {kind}; write it like {example}, or 2@{example} for a second object.")
        try:
            at = tuple(float(number) for number in match[3].split(","))
        except ValueError:
            raise SettingError(f"{text!r} has a number that is none.") from None
        return cls(int(match[2]), kind, at, int(match[1] or 1))

    @classmethod
    def _named(cls, text: str) -> Prompt:
        match = re.fullmatch(r"\s*(?:(\d+)@)?(-?\d+):\s*(\S.*?)\s*", text)
        if not match:
            raise SettingError(f"{text!r} names no frame and thing; write it like 1001:the man in red.")
        return cls(int(match[2]), cls.NAMED, (), int(match[1] or 1), match[3])


@dataclass(frozen=True)
class Shot:
    """A plate, the roto of what to remove, and how to go about it.

    ``plate``, ``roto`` and ``quadmask`` name sequences (``name.%04d.exr``, ``name.####.exr``, ``name.1001-1100#.exr``),
    folders with one sequence, or movie files. ``frames`` is a range such as ``1001-1032``; without it the job takes all
    frames of the plate. ``prompt`` describes the scene after the removal. ``colorspace`` is the plate's, a name of the
    OCIO configuration ``ocio`` (a path, or $OCIO, else the one built in that the guide names, where it is None).

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
        for one in dataclasses.fields(self):
            check_text(one.name, getattr(self, one.name))
        if len(self.prompts) > _MOST_PROMPTS:
            raise SettingError(f"The shot has {len(self.prompts)} points and boxes; give at most {_MOST_PROMPTS}.")
        if not self.plate.strip():
            raise SettingError("The shot names no plate; name its files like plate.%04d.exr.")
        if self.settings.until == ROTO and not (self.roto or self.prompts):
            raise SettingError("The shot names no point, no box and no rough roto to make a roto from.")
        if not (self.roto or self.prompts or self.quadmask):
            raise SettingError("The shot names no roto, no quadmask, and no point or box to make one from.")

    #: What names files, by what they are; those in the second are no sequences.
    SEQUENCES: ClassVar[tuple[str, ...]] = ("plate", "roto", "quadmask")
    FILES: ClassVar[tuple[str, ...]] = ("ocio", "analysis")

    def paths(self) -> dict[str, str]:
        """All files that the shot names, by what they are."""
        found = {name: getattr(self, name) for name in (*self.SEQUENCES, *self.FILES)}
        return {name: path for name, path in found.items() if path and not path.startswith(BUILT_IN_OCIO)}

    def with_paths(self, convert: Callable[[str], str]) -> Shot:
        """The shot with every path converted."""
        return self.from_dict({**self.to_dict(), **{name: convert(path) for name, path in self.paths().items()}})

    def to_dict(self) -> dict[str, Any]:
        """The shot as plain data, in which nothing may be changed but the fields themselves."""
        return dict(self._plain)

    @cached_property
    def _plain(self) -> dict[str, Any]:
        # found once, as a server says it with each answer about a job
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Shot:
        """Rebuild a shot that :meth:`to_dict` made.

        Raises :class:`SettingError` for a field that is missing, unknown, or of the wrong type.
        """
        values = check(cls, data)
        prompts = values.get("prompts", ())
        if not isinstance(prompts, (list, tuple)):
            raise SettingError(f"prompts is {prompts!r}; it must be a list.")
        values["prompts"] = tuple(_prompt(entry) for entry in prompts)
        values["settings"] = Settings.from_dict(values.get("settings", {}))
        return cls(**values)


def _prompt(data: Any) -> Prompt:
    if not isinstance(data, Mapping) or not isinstance(data.get("at"), (list, tuple)):
        raise SettingError("A prompt must be a table with frame, kind and at.")
    try:
        at = tuple(float(value) for value in data["at"])
    except (TypeError, ValueError):
        raise SettingError(f"A prompt is at {data['at']!r}; give numbers.") from None
    return Prompt(**{**check(Prompt, data), "at": at})
