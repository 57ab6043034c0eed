"""Writes nodes as the text that Nuke reads: the one place that knows its syntax and its quoting."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Iterator, Mapping, Sequence, Union

#: A knob's value: text is quoted, an :class:`Expression` is linked, a tuple is several values.
Value = Union[str, int, float, bool, "Expression", "tuple[Value, ...]"]


class KnobType(enum.IntEnum):
    """The numbers of ``addUserKnob``, as Nuke's own files use them."""

    STRING = 1
    FILE = 2
    INT = 3
    ENUMERATION = 4
    BOOLEAN = 6
    DOUBLE = 7
    POSITION = 12
    BBOX = 15
    TAB = 20
    PYTHON_BUTTON = 22
    TEXT = 26
    EYEDROPPER = 36
    MULTILINE = 43


@dataclass(frozen=True)
class Expression:
    """A knob's value that Nuke computes, such as ``parent.view``."""

    text: str


@dataclass(frozen=True)
class UserKnob:
    """A knob that the node adds. ``items`` are a pulldown's choices, ``text`` a button's code or a text's words."""

    type: KnobType
    name: str
    label: str = ""
    tooltip: str = ""
    value: Value = ""
    items: Sequence[str] = ()
    text: str = ""
    range: tuple[float, float] | None = None
    flags: Sequence[str] = ()

    def lines(self) -> Iterator[str]:
        """The definition, and the value where it has one."""
        words = [str(int(self.type)), quoted(self.name), "l", quoted(self.label)]
        if self.tooltip:
            words += ["t", quoted(self.tooltip)]
        words += self.flags
        if self.items:
            words += ["M", "{" + " ".join(quoted(item) for item in self.items) + "}"]
        if self.text:
            words += ["T", quoted(self.text)]
        if self.range:
            words += ["R", f"{self.range[0]:g}", f"{self.range[1]:g}"]
        yield "addUserKnob {" + " ".join(words) + "}"
        if self.value != "":
            yield f"{self.name} {formatted(self.value)}"


@dataclass(frozen=True)
class Node:
    """A node inside a group; ``inputs`` names others of it by their order, input 0 first, None where open."""

    type: str
    name: str
    knobs: Mapping[str, Value] = field(default_factory=dict)
    inputs: Sequence[str | None] = ()
    position: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Group:
    """A group node: its knobs, the layers that it needs, its nodes in the order of their evaluation."""

    name: str
    user_knobs: Sequence[UserKnob]
    layers: Mapping[str, Sequence[str]]
    nodes: Sequence[Node]
    knobs: Mapping[str, Value] = field(default_factory=dict)

    def text(self) -> str:
        """The whole file. Raises ValueError where a node names an input that does not come before it."""
        lines = ["Group {", f" name {self.name}"]
        lines += [f" {name} {formatted(value)}" for name, value in self.knobs.items()]
        lines += [f" {line}" for knob in self.user_knobs for line in knob.lines()]
        lines += ["}"]
        lines += [
            f" add_layer {{{layer} {' '.join(f'{layer}.{channel}' for channel in channels)}}}"
            for layer, channels in self.layers.items()
        ]
        lines += [f" {line}" for line in _lines(self.nodes)]
        return "\n".join([*lines, "end_group", ""])


def script(nodes: Sequence[Node]) -> str:
    """Nodes as a script of their own, in the order of their evaluation. Raises ValueError as :meth:`Group.text`."""
    return "\n".join([*_lines(nodes), ""])


def _lines(nodes: Sequence[Node]) -> Iterator[str]:
    known: set[str] = set()
    taken = {name for node in nodes for name in node.inputs}
    for node in nodes:
        yield from _node_lines(node, known)
        if node.name in taken:
            yield f"set {_variable(node.name)} [stack 0]"
        known.add(node.name)


def _node_lines(node: Node, known: set[str]) -> Iterator[str]:
    missing = [name for name in node.inputs if name is not None and name not in known]
    if missing:
        raise ValueError(f"{node.name} takes {missing[0]}, which does not come before it")
    # a node takes its inputs from the stack, input 0 from its top
    for name in reversed(node.inputs):
        yield f"push ${_variable(name)}" if name else "push 0"
    yield f"{node.type} {{"
    yield f" inputs {len(node.inputs)}"
    for knob, value in node.knobs.items():
        yield f" {knob} {formatted(value)}"
    yield f" name {node.name}"
    yield f" xpos {node.position[0]}"
    yield f" ypos {node.position[1]}"
    yield "}"


def _variable(name: str) -> str:
    return f"N_{name}"


def formatted(value: Value) -> str:
    """A knob's value as it stands in a file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, Expression):
        return "{{" + quoted(value.text) + "}}"
    if isinstance(value, tuple):
        return "{" + " ".join(formatted(part) for part in value) + "}"
    return quoted(value)


_SPECIAL = set(' \t\n"\\[]{}$;#')
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "[": "\\[", "]": "\\]", "{": "\\{", "}": "\\}", "$": "\\$"}


def quoted(text: str) -> str:
    """``text`` as one word: nothing in it is evaluated while the file is read."""
    if text and not _SPECIAL & set(text):
        return text
    return '"' + "".join(_ESCAPES.get(character, character) for character in text) + '"'
