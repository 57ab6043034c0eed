"""A script's jobs without a window, and the export of frames as a task of a farm. Uses nuke.

Exits with 0 when the result is there, 1 when the job failed, 2 when the request was wrong. ``--save`` saves the script
with the result shown; without it the script stays as it is, and the artist picks the new version in the node.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Callable

import nuke

from void_server.api.errors import InputError, SettingError, VoidError

from ..node import knobs as k
from ..node.node import VoidNode, is_void
from ..node.plain import lines
from . import export


def run(options: argparse.Namespace) -> None:
    """Open a script and do the jobs of its VOID nodes, or hand them to the farm. Raises VoidError."""
    _open(options.script)
    nodes = [_node(name, options.script) for name in options.node]
    for void in nodes:
        if options.frames:
            void.node[k.FRAMES].setValue(k.CUSTOM)
            void.node[k.CUSTOM_RANGE].setValue(options.frames)
    if options.farm:
        _submit(nodes, options.farm, options.set)
    else:
        _do(nodes)
    if options.save:
        nuke.scriptSave()


def _do(nodes: list[VoidNode]) -> None:
    """The nodes' jobs, one after the other."""
    from . import session, submission

    try:
        for void in nodes:
            if void.has(k.REMOVE):
                submission.remove(void)
            else:
                submission.generate_quadmask(void)
            session.wait(void, nuke.tprint)
            shown = void.shown
            nuke.tprint(f"{void.name}: {shown.folder if shown else 'no result'}")
    finally:
        session.forget_all()


def _submit(nodes: list[VoidNode], scheduler: str, said: list[str]) -> None:
    """One submission; what Nuke has to write, the farm's Nuke writes where it has one."""
    from . import farm

    site = farm.schedulers()
    fields = {name: site.fields[name] for name in site.expresses.get(scheduler, []) if name in site.fields}
    # nobody waits at a window, and the scheduler may be this machine itself
    for folder in farm.submit(nodes, scheduler, fields, export_there=site.has_nuke, said=said, limit=None):
        nuke.tprint(folder)


def write_frames(order: Path) -> None:
    """Write what ``void farm run`` asks for. Raises VoidError."""
    wanted = json.loads(order.read_text(encoding="utf-8"))
    _open(wanted["script"])
    # by its own name, expressions find what lies beside the artist's script
    nuke.root()["name"].setValue(wanted["name"])
    void = _node(wanted["node"], wanted["name"])
    export.write(void, wanted["patterns"], wanted["frames"], wanted["view"], depth=wanted["depth"])


def _open(script: str) -> None:
    try:
        nuke.scriptOpen(script)
    except RuntimeError as error:
        raise SettingError(f"The script {script} cannot be opened: {error}") from error


def _node(name: str, script: str) -> VoidNode:
    node = nuke.toNode(name)
    if node is None or not is_void(node):
        raise SettingError(f"{script} has no VOID node named {name}.")
    return VoidNode(node)


def main() -> int:
    """Read the command line; Nuke adds words of its own, and takes bare ranges for itself."""
    parser = argparse.ArgumentParser(prog="batch.py")
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--script")
    asked.add_argument("--export", type=Path, help="what a farm task asks for")
    parser.add_argument("--node", action="append", default=[])
    parser.add_argument("--frames", default="", help="--frames=1001-1040 instead of the node's own range")
    parser.add_argument("--farm", default="", help="--farm=slurm hands the nodes to that scheduler")
    parser.add_argument("--set", action="append", default=[], help="--set=priority=60, a field of the farm job")
    parser.add_argument("--save", action="store_true")
    options, _ = parser.parse_known_args()
    if options.script and not options.node:
        parser.error("name at least one --node")
    task: Callable[[], None] = (lambda: write_frames(options.export)) if options.export else (lambda: run(options))
    try:
        task()
    except VoidError as error:
        print(f"void: {lines(str(error))}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    return 0
