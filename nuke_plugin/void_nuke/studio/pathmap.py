"""One disk under different names: where it is mounted here, and where on the server."""

from __future__ import annotations

import platform
from typing import Mapping, Sequence


def here() -> str:
    """The system that this runs on: linux, windows or darwin."""
    return platform.system().lower()


def translated(path: str, disks: Sequence[Mapping[str, str]], source: str, target: str) -> str:
    """``path`` as system ``target`` sees it; the longest mount point that fits counts, none leaves it as it is."""
    slashed = path.replace("\\", "/")
    best: tuple[str, str] = ("", "")
    for disk in disks:
        old, new = (disk.get(system, "").replace("\\", "/").rstrip("/") for system in (source, target))
        if not old or target not in disk:
            continue
        # Windows does not tell capitals apart
        fits = slashed.lower() if source == "windows" else slashed
        start = old.lower() if source == "windows" else old
        if (fits == start or fits.startswith(start + "/")) and len(old) > len(best[0]):
            best = old, new
    return best[1] + slashed[len(best[0]) :] if best[0] else slashed
