"""Writes the tables of api.md from the code: python tools/api_tables.py."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from void_server import plugins
from void_server.api import Client, Job, JobState, Progress, Prompt, Settings, Shot
from void_server.api.errors import InputError, VoidError
from void_server.api.settings import declarations

PAGE = Path(__file__).resolve().parents[1] / "docs" / "api.md"
#: The engines and reasoners that come with VOID, others may be installed beside them.
_OURS = {
    plugins.ENGINES: ("cleanplate", "void"),
    plugins.REASONERS: ("image", "gemini", "local", "file", "none"),
}


def tables() -> dict[str, str]:
    """The tables, and the list of states, by their names."""
    return {
        "client": _table(("method", "does"), _methods()),
        "shot": _table(("field", "type", "default"), _fields(Shot)),
        "settings": _table(("setting", "type", "default", "belongs to", "may be", "meaning"), _settings()),
        "prompt": _table(("field", "type", "default"), _fields(Prompt)),
        "states": ", ".join(f"`{state.value}`" for state in JobState) + ".",
        "job": _table(("field", "type", "default"), _fields(Job)),
        "progress": _table(("field", "type", "default"), _fields(Progress)),
        "errors": _table(("error", "is a", "means", "exit code of `void`"), _errors(VoidError)),
    }


def page(text: str) -> str:
    """The page with its tables as the code has them."""
    for name, table in tables().items():
        text = re.sub(
            rf"(<!-- {name} -->\n).*?(<!-- end -->)", lambda m, t=table: f"{m[1]}{t}\n{m[2]}", text, flags=re.DOTALL
        )
    return text


def _table(heading: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [heading, ("---",) * len(heading), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def _words(thing: Any) -> str:
    """What the code says of itself, without Sphinx's marks."""
    words = " ".join((inspect.getdoc(thing) or "").split())
    return re.sub(r":\w+:`[~.\w]*?(\w+)`", r"`\1`", words).replace("``", "`")


def _methods() -> Iterator[tuple[str, ...]]:
    for name, method in inspect.getmembers(Client, inspect.isfunction):
        if not name.startswith("_"):
            signature = str(inspect.signature(method)).replace("'", "")
            # a function has no name that could be written there
            signature = re.sub(
                r" = <function .*?>", " = ...", signature.replace("(self, ", "(").replace("(self)", "()")
            )
            yield f"`{name}{signature}`", _words(method)


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return f"`{field.default!r}`"
    return f"`{field.type}()`" if field.default_factory is not dataclasses.MISSING else "needed"


def _fields(kind: Any) -> Iterator[tuple[str, ...]]:
    for field in dataclasses.fields(kind):
        yield f"`{field.name}`", f"`{field.type}`", _default(field)


def _settings() -> Iterator[tuple[str, ...]]:
    owners = [("any", declarations(Settings))]
    for kind, word in ((plugins.ENGINES, "engine"), (plugins.REASONERS, "reasoner")):
        owners += [(f"{word} {name}", declarations(plugins.find(kind, name).settings)) for name in _OURS[kind]]
    for owner, declared in owners:
        for one in declared:
            yield f"`{one.name}`", f"`{one.type}`", f"`{one.default!r}`", owner, one.allowed, one.help


def _errors(kind: type[VoidError]) -> Iterator[tuple[str, ...]]:
    base = kind.__bases__[0].__name__
    yield f"`{kind.__name__}`", f"`{base}`", _words(kind), "2" if issubclass(kind, InputError) else "1"
    for child in kind.__subclasses__():
        if child.__module__ == kind.__module__:
            yield from _errors(child)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
