"""Settings, each declared once: its name, type, default, what it may be, and its words for people.

A dataclass that derives from :class:`Declared` declares settings, one field each, made with :func:`setting`. All else
is derived from that: the check of a value, options of the command, knobs of the nodes, tables of the docs.
"""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from functools import cache
from typing import Any, Mapping, Optional, Sequence, TypeVar

from .errors import SettingError

_KEY = "void_setting"
#: No path, text or list of frames is longer.
_LONGEST = 20_000
_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}", re.ASCII)
#: What a setting's value can be, by the name of the type.
TYPES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (float, int),
    "str": (str,),
    "Optional[str]": (str, type(None)),
    "dict[str, int]": (dict,),
}

D = TypeVar("D", bound="Declared")


@dataclass(frozen=True)
class Declaration:
    """All that is said of a setting.

    ``type`` is bool, int, float or str. ``low`` and ``high`` bound a number, both included; ``or_zero`` allows 0 beside
    that. ``pattern`` is a regular expression for text. ``label`` is its name on a knob, ``help`` a line, ``long_help``
    a tooltip, ``slider`` where a knob's slider ends, ``give`` the words of an error that say what it may be. ``sticky``
    ones are remembered for the next job on the farm. ``stages`` are those of a job that look at it; none: all that its
    owner takes part in.
    """

    name: str
    type: str
    default: Any
    label: str = ""
    help: str = ""
    long_help: str = ""
    choices: tuple[str, ...] = ()
    low: Optional[float] = None
    high: Optional[float] = None
    or_zero: bool = False
    pattern: str = ""
    slider: Optional[float] = None
    unit: str = ""
    give: str = ""
    sticky: bool = True
    stages: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        """What it may be, in words that follow "give"."""
        if self.give:
            return self.give
        if self.choices:
            return " or ".join(filter(None, (", ".join(self.choices[:-1]), self.choices[-1])))
        if self.type not in ("int", "float"):
            return {"bool": "true or false", "str": "text"}.get(self.type, self.type)
        number = "a whole number" if self.type == "int" else "a number"
        if self.low is not None and self.high is not None:
            number += f" from {self.low:.10g} to {self.high:.10g}"
        elif self.low is not None or self.high is not None:
            number += f" of {self.low:.10g} or more" if self.low is not None else f" of at most {self.high:.10g}"
        return number + (f" {self.unit}" if self.unit else "") + (", or 0" if self.or_zero else "")

    def check(self, value: Any) -> None:
        """Raise :class:`SettingError` with what to give where ``value`` is none that the setting can have."""
        check_text(self.name, value)
        kinds = TYPES.get(self.type)
        good = kinds is None or (isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool)))
        if good and self.type in ("int", "float"):
            good = math.isfinite(value) and (
                (self.or_zero and value == 0)
                or ((self.low is None or value >= self.low) and (self.high is None or value <= self.high))
            )
        if good and self.choices:
            good = value in self.choices
        if good and self.pattern:
            good = re.fullmatch(self.pattern, value) is not None
        if not good:
            shown = f"{value:g}" if isinstance(value, float) else repr(value)
            raise SettingError(f"{self.name} is {shown}; give {self.allowed}.")

    def to_dict(self) -> dict[str, Any]:
        """The declaration as plain data."""
        return {**dataclasses.asdict(self), "choices": list(self.choices), "stages": list(self.stages)}

    @classmethod
    def from_dict(cls, data: Any) -> Declaration:
        """Rebuild one that :meth:`to_dict` made, whoever sent it. Raises ValueError for anything else."""
        if not isinstance(data, Mapping) or set(data) != {field.name for field in dataclasses.fields(cls)}:
            raise ValueError("it is no declaration of a setting")
        lists = {name: data[name] for name in ("choices", "stages")}
        texts = {name: data[name] for name in ("name", "type", "label", "help", "long_help", "pattern", "unit", "give")}
        if not all(isinstance(text, str) for text in texts.values()) or not all(map(_are_texts, lists.values())):
            raise ValueError("its words are no text")
        if not _NAME.fullmatch(data["name"]) or data["type"] not in ("bool", "int", "float", "str"):
            raise ValueError(f"{data['name']!r:.40} is no setting")
        if not all(data[name] is None or type(data[name]) in (int, float) for name in ("low", "high", "slider")):
            raise ValueError("its range is none")
        made = cls(**{**data, **{name: tuple(texts) for name, texts in lists.items()}})
        # a pattern is compiled by whoever checks with it, and a stranger's may take for ever
        dataclasses.replace(made, pattern="").check(made.default)
        return made


def check_text(name: str, value: object) -> None:
    """Raise :class:`SettingError` for text that is endless, or that no file and no message can hold."""
    if not isinstance(value, str):
        return
    if len(value) > _LONGEST:
        raise SettingError(f"{name} has {len(value)} characters; give at most {_LONGEST}.")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise SettingError(f"{name} is {value!a:.80}, which is not valid text; write it anew.") from None


def _are_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(text, str) for text in value)


def setting(default: Any, line: str, *, choices: Sequence[str] = (), **said: Any) -> Any:
    """A field of a :class:`Declared` dataclass: its default, a line of help, whatever else :class:`Declaration` has.

    ``label`` is the field's name in words where it is not given, ``long_help`` the line of help.
    """
    metadata = {_KEY: {"help": line, "choices": tuple(choices), **said}}
    if isinstance(default, (list, dict)):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def declarations(cls: type) -> tuple[Declaration, ...]:
    """What a dataclass declares, in its order: its fields that were made with :func:`setting`."""
    return tuple(_declaration(field) for field in dataclasses.fields(cls) if _KEY in field.metadata)


def _declaration(field: dataclasses.Field[Any]) -> Declaration:
    kind = field.type if isinstance(field.type, str) else field.type.__name__
    default = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
    said = dict(field.metadata.get(_KEY, {}))
    said["label"] = said.get("label") or field.name.replace("_", " ")
    said["long_help"] = said.get("long_help") or said.get("help", "")
    return Declaration(field.name, kind, default, **said)


@cache
def _known(cls: type) -> Mapping[str, Declaration]:
    # a server reads hundreds of shots to list them
    return {field.name: _declaration(field) for field in dataclasses.fields(cls)}


def check(cls: type, data: Any, what: str = "") -> dict[str, Any]:
    """The values in ``data``, once they are found to be what the dataclass ``cls`` declares; others keep their default.

    Raises :class:`SettingError` for a name that is missing or unknown, or a value of the wrong type, out of its range
    or not among its choices. ``what`` is the table's name in that.
    """
    what = what or cls.__name__.lower()
    if not isinstance(data, Mapping):
        raise SettingError(f"{what} must be a table of names and values.")
    known = _known(cls)
    if unknown := sorted(map(str, set(data) - set(known))):
        raise SettingError(f"Unknown {what} field {unknown[0]!r}; known are {', '.join(known) or 'none'}.")
    for name, value in data.items():
        known[name].check(value)
    if missing := [name for name, one in known.items() if one.default is dataclasses.MISSING and name not in data]:
        raise SettingError(f"The {what} names no {missing[0]}.")
    return dict(data)


@dataclass(frozen=True)
class Declared:
    """Base of what declares settings; its values are checked when it is made. By itself it declares none."""

    def __post_init__(self) -> None:
        check(type(self), self.__dict__)

    @classmethod
    def from_dict(cls: type[D], data: Any) -> D:
        """Rebuild it from plain data. Raises :class:`SettingError` as :func:`check`."""
        return cls(**check(cls, data))
