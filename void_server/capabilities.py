"""What an installation can be asked for, found without loading any of it."""

from __future__ import annotations

from importlib.metadata import entry_points
from importlib.util import find_spec

from .quadmask import REASONERS

ENGINES = "void_server.engines"


def engines() -> list[str]:
    """The engines that are installed, by the names of their entry points."""
    return sorted(point.name for point in entry_points(group=ENGINES))


def reasoners() -> list[str]:
    """The reasoners that there are."""
    return list(REASONERS)


def installed(module: str) -> bool:
    """Whether a package, or a module in one, can be imported."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
