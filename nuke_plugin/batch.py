"""A node's job without a window: ``nuke -t batch.py --script=shot.nk --node=VOID_Remove1``. Uses nuke.

Exits with 0 when the result is there, 1 when the job failed, 2 when the request was wrong. ``--save`` saves the script
with the result shown; without it the script stays as it is, and the artist picks the new version in the node.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# Nuke runs this as a file; the plugin's folder may not be on its path then
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import nuke

from nuke_plugin import actions, session
from nuke_plugin import knobs as k
from nuke_plugin.voidnode import VoidNode, is_void
from void_server.api.errors import InputError, SettingError, VoidError


def run(script: str, names: list[str], *, frames: str = "", save: bool = False) -> None:
    """Open a script and do the jobs of its VOID nodes, one after the other. Raises VoidError."""
    try:
        nuke.scriptOpen(script)
    except RuntimeError as error:
        raise SettingError(f"The script {script} cannot be opened: {error}") from error
    for name in names:
        node = nuke.toNode(name)
        if node is None or not is_void(node):
            raise SettingError(f"{script} has no VOID node named {name}.")
        void = VoidNode(node)
        if frames:
            void.node[k.FRAMES].setValue(k.CUSTOM)
            void.node[k.CUSTOM_RANGE].setValue(frames)
        if void.has(k.REMOVE):
            actions.remove(void)
        else:
            actions.generate_quadmask(void)
        session.wait(void, nuke.tprint)
        shown = void.shown
        nuke.tprint(f"{name}: {shown.folder if shown else 'no result'}")
    if save:
        nuke.scriptSave()


def main() -> int:
    """Read the command line; Nuke adds words of its own, and takes bare ranges for itself."""
    parser = argparse.ArgumentParser(prog="batch.py")
    parser.add_argument("--script", required=True)
    parser.add_argument("--node", action="append", required=True)
    parser.add_argument("--frames", default="", help="--frames=1001-1040 instead of the node's own range")
    parser.add_argument("--save", action="store_true")
    options, _ = parser.parse_known_args()
    try:
        run(options.script, options.node, frames=options.frames, save=options.save)
    except VoidError as error:
        print(f"void: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    finally:
        session.forget_all()
    return 0


if __name__ == "__main__":
    sys.exit(main())
