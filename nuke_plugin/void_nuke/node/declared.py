"""Knobs for the settings that engines and reasoners declare, and which knob on a node is whose.

A node remembers that itself in a hidden knob: engines/void/steps/int/steps says that the setting steps of the engine
void is a whole number, which the knob steps has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, NamedTuple, Sequence

from void_server.api.settings import Declaration

from .text import KnobType, UserKnob

ENGINES, REASONERS = "engines", "reasoners"

_TYPES = {
    "bool": KnobType.BOOLEAN,
    "int": KnobType.INT,
    "float": KnobType.DOUBLE,
    "str": KnobType.STRING,
}


@dataclass(frozen=True)
class Declarations:
    """What engines and reasoners declare, by their names."""

    engines: Mapping[str, Sequence[Declaration]]
    reasoners: Mapping[str, Sequence[Declaration]]


class Place(NamedTuple):
    """Where a setting is on a node: its type, and the name of its knob."""

    type: str
    knob: str


#: By kind, then by the plug-in's name, then by the setting's.
Places = dict[str, dict[str, dict[str, Place]]]


def user_knob(one: Declaration, items: Sequence[str] = ()) -> UserKnob:
    """The knob of a setting as a node's file has it; ``items`` are choices that it does not declare itself."""
    items = items or one.choices
    if items:
        return UserKnob(
            KnobType.ENUMERATION, one.name, one.label, one.long_help, items[0], items, flags=("+STARTLINE",)
        )
    return UserKnob(
        _TYPES[one.type],
        one.name,
        one.label,
        one.long_help,
        one.default,
        range=(one.low or 0, one.slider or one.high) if one.type == "float" and one.high else None,
        flags=("+STARTLINE",) if one.type == "bool" else (),
    )


def written(known: Declarations, has_engine: bool) -> str:
    """What a new node remembers; each setting's knob has the setting's name."""
    return kept(
        {
            kind: {name: {one.name: Place(one.type, one.name) for one in found} for name, found in said.items()}
            for kind, said in ((ENGINES, known.engines if has_engine else {}), (REASONERS, known.reasoners))
        }
    )


def kept(places: Places) -> str:
    """The places as text: a word for each setting, of characters that mean nothing to Nuke."""
    return " ".join(
        "/".join((kind, name, setting, *place))
        for kind, of_kind in places.items()
        for name, of in of_kind.items()
        for setting, place in of.items()
    )


def read(text: str) -> Places:
    """The places that :func:`kept` wrote."""
    places: Places = {ENGINES: {}, REASONERS: {}}
    for word in text.split():
        kind, name, setting, type_, knob = word.split("/")
        places[kind].setdefault(name, {})[setting] = Place(type_, knob)
    return places
