"""What an installation can be asked for, found without loading any of it."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, entry_points, requires
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
