"""A script's jobs without a window: what :mod:`void_nuke.job.headless` does, run by Nuke as a file.

nuke -t batch.py --script=shot.nk --node=VOID_Remove1             does the job, by the node's server
nuke -t batch.py --script=shot.nk --node=A --node=B --farm=slurm  hands nodes to the render farm, as one group
nuke -t batch.py --export=FILE                                    writes frames, as a task of a farm job asks for it
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Optional, Sequence

_OURS = ("void_nuke", "void_server")


class _BesideThis(MetaPathFinder):
    """Finds our two packages where this file lies, and nothing else that may lie there, as that is not Nuke's."""

    def find_spec(
        self, fullname: str, path: Optional[Sequence[str]], target: Optional[ModuleType] = None
    ) -> Optional[ModuleSpec]:
        del path
        # installed, both lie side by side; in a checkout, ours lies in a folder beside the other
        places = [str(folder) for folder in list(Path(__file__).resolve().parents)[1:3]]
        return PathFinder.find_spec(fullname, places, target) if fullname in _OURS else None


def main() -> int:
    """Do what the command line says, with the packages that belong to this file; returns the exit code."""
    sys.meta_path.insert(0, _BesideThis())
    if any(word.startswith("--export") for word in sys.argv):
        # a blade's Nuke may have begun with another version of the plugin
        for name in [name for name in sys.modules if name.partition(".")[0] in _OURS]:
            del sys.modules[name]
    from void_nuke.job import headless

    return headless.main()


if __name__ == "__main__":
    sys.exit(main())
