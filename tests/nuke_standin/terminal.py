"""The STAND-IN as a program: ``terminal.py -t PROGRAM WORDS``, as ``nuke -t`` is called on a farm."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "nuke_standin")]

if __name__ == "__main__":
    import nuke

    assert sys.argv[1] == "-t"
    # a blade's Nuke: without pyzmq and msgpack, and begun with another version of the plugin
    sys.modules.update({"zmq": None, "msgpack": None})  # type: ignore[dict-item]
    sys.modules.update({name: ModuleType(name) for name in ("void_nuke", "void_nuke.job.export", "void_server")})
    nuke.standin_reset(gui=False)
    sys.argv = sys.argv[2:]
    runpy.run_path(sys.argv[0], run_name="__main__")
