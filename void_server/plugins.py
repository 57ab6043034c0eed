"""What an installation can be asked for: engines and reasoners, found by their entry points."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, PackageNotFoundError, distributions, requires
from importlib.util import find_spec
from typing import Any

from .api.errors import SettingError
from .api.settings import Declaration, declarations
from .api.settings import check as check_values

_log = logging.getLogger(__name__)

#: The kinds of plug-ins, by the groups of their entry points; each is a base class with defaults.
ENGINES, REASONERS = "void_server.engines", "void_server.reasoners"
_WORDS = {ENGINES: "engine", REASONERS: "reasoner"}


def engines() -> list[str]:
    """The engines that are installed, by the names of their entry points."""
    return names(ENGINES)


def reasoners() -> list[str]:
    """The reasoners that are installed, by the names of their entry points."""
    return names(REASONERS)


def names(kind: str) -> list[str]:
    """The plug-ins of a kind that are installed."""
    return sorted({point.name for point in _points(kind)})


def find(kind: str, name: str) -> Any:
    """A new plug-in of that kind and name. Raises :class:`SettingError` where there is none, or it cannot be loaded."""
    for point in _points(kind):
        if point.name == name:
            return _made(point)
    raise SettingError(f"There is no {_WORDS[kind]} {name!r} here; installed are {', '.join(names(kind))}.")


def declared(kind: str) -> dict[str, tuple[Declaration, ...]]:
    """The settings that the plug-ins of a kind declare, by the name of each; what cannot be loaded is left out."""
    found: dict[str, tuple[Declaration, ...]] = {}
    for point in _points(kind):
        if point.name not in found:
            try:
                found[point.name] = declarations(_made(point).settings)
            except Exception as error:  # whatever somebody else's class does; using it says why
                _log.warning("The settings of the %s %s cannot be read: %r", _WORDS[kind], point.name, error)
    return dict(sorted(found.items()))


def check(kind: str, name: str, cls: type, said: Mapping[str, Any]) -> None:
    """Raise :class:`SettingError` naming the first setting that the plug-in, which declares ``cls``, does not have.

    Or that has a value that cannot be.
    """
    known = {one.name for one in declarations(cls)}
    for key, value in said.items():
        if key not in known:
            word = _WORDS[kind]
            raise SettingError(
                f"The {word} {name} would ignore {key}, which is {value!r}; leave it out, or take another {word}."
            )
    check_values(cls, said)


def _points(kind: str) -> Iterator[EntryPoint]:
    """The entry points of a kind; a package whose description is damaged has none, and does no harm to others."""
    for package in distributions():
        try:
            points = package.entry_points
        except Exception as error:  # whatever lies there was written by another installer
            _log.warning("The entry points of the package %s cannot be read: %r", package, error)
            continue
        yield from (point for point in points if point.group == kind)


def _made(point: EntryPoint) -> Any:
    try:
        return point.load()()
    except (Exception, SystemExit) as error:  # somebody else's module may do anything when it is imported
        raise SettingError(
            f"The {_WORDS[point.group]} {point.name!r} cannot be loaded ({type(error).__name__}: {error}); mend or "
            f"reinstall {point.value.partition(':')[0]}, or choose another {_WORDS[point.group]}.",
            traceback.format_exc(),
        ) from error


def installed(module: str) -> bool:
    """Whether a package, or a module in one, can be imported."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def how_to_install(extra: str = "") -> str:
    """The command that installs what an extra needs, or this package itself, wherever that was installed from.

    It calls the pip of this very Python, and can be pasted into any shell.
    """
    packages = " ".join(f'"{requirement}"' for requirement in _requirements(extra))
    if not packages:
        return f"install the extra {extra} of void-nuke"
    python = f'"{sys.executable}"' if " " in sys.executable else sys.executable
    return f"{python} -m pip install {packages}"


def _requirements(extra: str) -> list[str]:
    try:
        wanted = [line.partition(";") for line in requires("void-nuke") or []]
    except PackageNotFoundError:
        return []
    marks = (f'extra == "{extra}"', f"extra == '{extra}'") if extra else ("",)
    return [requirement.strip() for requirement, _, marker in wanted if marker.strip() in marks]
