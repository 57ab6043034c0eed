"""What an installation can be asked for, found without loading any of it."""

from __future__ import annotations

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


def how_to_install(extra: str) -> str:
    """The command that installs what an extra needs, wherever this package itself was installed from."""
    try:
        wanted = [line.partition(";") for line in requires("void-nuke") or []]
    except PackageNotFoundError:
        wanted = []
    marks = f'extra == "{extra}"', f"extra == '{extra}'"
    packages = [f'"{package.strip()}"' for package, _, marker in wanted if marker.strip() in marks]
    return f"pip install {' '.join(packages)}" if packages else f"install the extra {extra} of void-nuke"
