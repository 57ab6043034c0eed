"""A node's job handed on: as a command for any shell, or to the studio's farm hook. Uses nuke, on its main thread."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import nuke

from void_server.api.errors import SettingError, VoidError
from void_server.api.shot import PLATE, QUADMASK

from ..node import knobs as k
from ..node import ranges
from ..node.node import VoidNode
from ..node.results import script_path
from ..node.versions import Result
from ..studio import hooks, settings
from . import shell
from .prepare import shot_settings


def command_line(void: VoidNode) -> str:
    """The command that does the node's job without a window."""
    script = script_path()
    if not script:
        raise SettingError("The script has no name yet; save it first.")
    program = Path(__file__).parents[1].joinpath("batch.py").as_posix()
    return shell.command([nuke.EXE_PATH, "-t", program, f"--script={script}", f"--node={void.name}"])


def submit_by_hook(void: VoidNode) -> Optional[str]:
    """Hand the node to the studio's own hook; the sentence that it answers, None where there is no hook."""
    found = settings.load().hooks
    if hooks.hook(found, hooks.SUBMIT_TO_FARM) is None:
        return None
    command = command_line(void)
    nuke.scriptSave()
    context = {
        "script": script_path(),
        "node": void.name,
        "command": command,
        "frames": ranges.text(void.frames()),
        "settings": shot_settings(void, PLATE if void.has(k.REMOVE) else QUADMASK),
    }
    return hooks.call(found, hooks.SUBMIT_TO_FARM, context)


def tell_result(void: VoidNode, result: Result) -> str:
    """Tell the studio's own hook of a version that has arrived; the sentence that it answers, or that it failed."""
    context = {
        "script": script_path(),
        "node": void.name,
        "version": result.folder.as_posix(),
        "frames": ranges.text(result.frames),
        "has_plate": result.has_plate,
    }
    try:
        return hooks.call(settings.load().hooks, hooks.ON_RESULT, context) or ""
    except VoidError as error:
        # the result is there all the same
        return str(error)
