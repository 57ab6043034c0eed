"""What an installation can be asked for: engines, reasoners, segmenters and schedulers, found by their entry points."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, PackageNotFoundError, distributions, requires
from importlib.util import find_spec
from typing import Any

from .api.errors import SettingError
from .api.settings import Declaration, declarations
from .api.settings import check as check_values

_log = logging.getLogger(__name__)

#: The kinds of plug-ins: the groups of their entry points, and what messages call one. Each is a base class.
ENGINES, REASONERS = "void_server.engines", "void_server.reasoners"
SEGMENTERS, SCHEDULERS = "void_server.segmenters", "void_server.schedulers"
_KINDS = {ENGINES: "engine", REASONERS: "reasoner", SEGMENTERS: "segmenter", SCHEDULERS: "scheduler"}


def engines() -> list[str]:
    """The engines that are installed."""
    return names(ENGINES)


def reasoners() -> list[str]:
    """The reasoners that are installed."""
    return names(REASONERS)


def names(group: str) -> list[str]:
    """The plug-ins of a kind that are installed, by the names of their entry points."""
    return sorted({point.name for point in _points(group)})


def find(group: str, name: str) -> Any:
    """A new instance of the plug-in of that name. Raises :class:`SettingError` where there is none that loads."""
    for point in _points(group):
        if point.name == name:
            return _made(point)
    raise SettingError(f"The {_KINDS[group]} {name!r} is not installed; choose from {', '.join(names(group))}.")


def declared(group: str) -> dict[str, tuple[Declaration, ...]]:
    """The settings that the plug-ins of a kind declare, by the name of each; those that do not load are left out."""
    found: dict[str, tuple[Declaration, ...]] = {}
    for point in _points(group):
        if point.name not in found:
            try:
                found[point.name] = declarations(_made(point).settings)
            except Exception as error:  # whatever somebody else's class does; a job that uses it says why
                _log.warning("The settings of the %s %s cannot be read: %r", _KINDS[group], point.name, error)
    return dict(sorted(found.items()))


def saying(group: str, what: str) -> list[str]:
    """The plug-ins of a kind whose class says that it is so, such as generative; none that does not load."""
    said = []
    for name in names(group):
        try:
            if getattr(find(group, name), what):
                said.append(name)
        except Exception as error:  # whatever somebody else's class does; a job that uses it says why
            _log.warning("Whether the %s %s is %s cannot be read: %r", _KINDS[group], name, what, error)
    return said


def check(group: str, name: str, cls: type, values: Mapping[str, Any]) -> None:
    """Raise :class:`SettingError` naming the first of the ``values`` that the plug-in would ignore or cannot use.

    ``cls`` is the dataclass that declares its settings.
    """
    kind, known = _KINDS[group], {one.name for one in declarations(cls)}
    for key, value in values.items():
        if key not in known:
            raise SettingError(
                f"The {kind} {name} would ignore {key}, set to {value!r}; leave it out, or choose another {kind}."
            )
    check_values(cls, values)


def _made(point: EntryPoint) -> Any:
    kind = _KINDS[point.group]
    try:
        return point.load()()
    except (Exception, SystemExit) as error:  # somebody else's module may do anything when it is imported
        raise SettingError(
            f"The {kind} {point.name!r} cannot be loaded ({type(error).__name__}: {error}); repair or reinstall "
            f"{point.value.partition(':')[0]}, or choose another {kind}.",
            traceback.format_exc(),
        ) from error


def _points(group: str) -> Iterator[EntryPoint]:
    """The entry points of a group; a package whose description is damaged has none, and does no harm to others."""
    for package in distributions():
        try:
            points = package.entry_points
        except Exception as error:  # whatever lies there was written by another installer
            _log.warning("The entry points of the package %s cannot be read: %r", package, error)
            continue
        yield from (point for point in points if point.group == group)


def installed(module: str) -> bool:
    """Whether a package, or a module in one, can be imported."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


@dataclass(frozen=True)
class Download:
    """Weights that are the user's to get: from where, and under which licence. None come with the package."""

    name: str
    source: str
    licence: str

    def __str__(self) -> str:
        return f"{self.source}; {self.licence}"


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
