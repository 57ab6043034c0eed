"""Where the plugin keeps pyzmq and msgpack for each of Nuke's Python versions, as compiled packages differ."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

#: The folder that holds the plugin, its gizmos and its guides.
ROOT = Path(__file__).resolve().parents[3]
#: What the plugin imports that Nuke does not have.
NEEDED = ("zmq", "msgpack")


def guide() -> Path:
    """The artist's guide: the page that an installation has, else its source."""
    page = ROOT / "docs" / "artists.html"
    return page if page.is_file() else page.with_suffix(".md")


def this_system() -> str:
    """The system that this runs on, such as linux-x86_64."""
    return f"{platform.system()}-{platform.machine()}".lower()


def folder(root: Path = ROOT, python: tuple[int, int] = sys.version_info[:2], system: str | None = None) -> Path:
    """The packages of one Python version on one system, such as packages/py311-linux-x86_64."""
    return root / "packages" / f"py{python[0]}{python[1]}-{system or this_system()}"


def activate() -> None:
    """Let this interpreter find its packages; those that it has already come first."""
    found = folder()
    if found.is_dir() and str(found) not in sys.path:
        sys.path.append(str(found))
