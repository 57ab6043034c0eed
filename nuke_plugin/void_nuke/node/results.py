"""The versions that a node offers and shows, and the folder they are in. Uses nuke, on its main thread."""

from __future__ import annotations

from pathlib import Path

import nuke

from void_server.api.errors import SettingError

from ..studio import hooks, settings
from . import knobs as k
from . import ranges, versions
from .node import VoidNode
from .tile import of_version


def script_path() -> str:
    """The path of the script, empty while it has none; Nuke calls such a script Root."""
    name = nuke.root().name()
    return "" if name == "Root" else name


def output_folder(void: VoidNode) -> Path:
    """The folder for the node's versions: by its knob, the studio's hook, or the settings' template.

    Raises :class:`SettingError`.
    """
    now = settings.load()
    script = script_path()
    chosen = void.path(k.OUTPUT)
    if not chosen:
        context = {"script": script, "node": void.name}
        chosen = hooks.call(now.hooks, hooks.OUTPUT_FOLDER, context) or now.output
    return versions.output_folder(chosen, script, void.name)


def show_chosen(void: VoidNode) -> None:
    """Show the version that the artist has picked. Raises :class:`SettingError` where it is gone."""
    name = void.text(k.RESULT)
    if name == k.NO_RESULT:
        void.show_result(None)
        return
    result = versions.result_in(folder(void) / name)
    if result is None:
        raise SettingError(
            f"{void.name}: version {name} is no longer in {folder(void)}; choose another in the pulldown result."
        )
    void.show_result(result)
    what = "result" if result.has_plate else "quadmask"
    status = f"Showing the {what} {result.name}, frames {ranges.text(result.frames)}."
    void.show(k.DONE, status, of_version(result))


def folder(void: VoidNode) -> Path:
    """Where the node's versions are: beside the one it shows, as the script may have been renamed since."""
    shown = void.text(k.FOLDER)
    return Path(shown).parent if shown else output_folder(void)


def before_after(void: VoidNode) -> None:
    """Show plate and result side by side in the viewer, or, where they are, the result alone."""
    view = void.node[k.VIEW]
    view.setValue(k.VIEW_RESULT if view.value() == k.VIEW_WIPE else k.VIEW_WIPE)
