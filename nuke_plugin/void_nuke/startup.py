"""Callbacks and menus, added while Nuke starts. Uses nuke, and imports nothing that takes time or may be missing."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, Callable

import nuke

from .node.knobs import CLASSES, KIND, PATCH_LAYER, REMOVE_NODE
from .studio import edition, packages
from .ui import panel


def _module(name: str) -> Any:
    """A module of the plugin that needs its packages."""
    packages.activate()
    return importlib.import_module(f"void_nuke.{name}")


def missing() -> str:
    """What keeps the plugin from working, as a sentence; empty if nothing does."""
    packages.activate()
    absent = [name for name in packages.NEEDED if importlib.util.find_spec(name) is None]
    if not absent:
        return ""
    return f"{' and '.join(absent)} missing for this Nuke's Python; run: void install-nuke"


def _has_void_nodes() -> bool:
    return any(node.knob(KIND) is not None for node in nuke.allNodes("Group", group=nuke.root(), recurseGroups=True))


def _node_created() -> None:
    # called for every group of every script: no import unless it is one of ours
    if nuke.thisNode().knob(KIND) is not None:
        _call("events", "node_created")


def _knob_changed() -> None:
    if nuke.thisNode().knob(KIND) is not None:
        _call("events", "knob_changed")


def _script_loaded() -> None:
    if _has_void_nodes():
        _call("events", "script_loaded")


def _script_saved() -> None:
    if _has_void_nodes():
        _call("events", "script_saved")


def _script_closed() -> None:
    if _has_void_nodes():
        _call("events", "script_closed")


def _call(module: str, function: str) -> None:
    """Call a callback; what is missing is said, never raised, as that would break the loading of a script."""
    try:
        found = getattr(_module(module), function)
    except ImportError as error:
        nuke.tprint(f"VOID for Nuke: {missing() or error}")
        return
    found()


def register() -> None:
    """Add the callbacks; doing it again changes nothing. Where the nodes do not work, they are left alone."""
    packages.activate()
    if edition.refused():
        return
    for add, remove, call, node_class in (
        (nuke.addOnCreate, nuke.removeOnCreate, _node_created, "Group"),
        (nuke.addKnobChanged, nuke.removeKnobChanged, _knob_changed, "Group"),
        (nuke.addOnScriptLoad, nuke.removeOnScriptLoad, _script_loaded, "Root"),
        (nuke.addOnScriptSave, nuke.removeOnScriptSave, _script_saved, "Root"),
        (nuke.addOnScriptClose, nuke.removeOnScriptClose, _script_closed, "Root"),
    ):
        remove(call, nodeClass=node_class)
        add(call, nodeClass=node_class)


def split_mattes() -> None:
    """Below the selected node, a Copy for each class that brings its matte into the alpha."""
    selected = nuke.selectedNodes()
    if not selected:
        nuke.message("Select a VOID Remove or VOID Quadmask first.")
        return
    source = selected[0]
    nuke.Undo.begin("VOID mattes")
    try:
        for number, name in enumerate(CLASSES):
            copy = nuke.nodes.Copy(name=f"VOID_{name}")
            copy.setInput(0, source)
            copy.setInput(1, source)
            copy["from0"].setValue(f"quadmask.{name}")
            copy["to0"].setValue("rgba.alpha")
            copy["label"].setValue(f"alpha: {name}")
            copy.setXYpos(source.xpos() + 110 * (number - 1), source.ypos() + 120)
    finally:
        nuke.Undo.end()


def lay_patch_out() -> None:
    """Below the selected node, its patch as a picture of its own, merged over its plate: to be graded in between."""
    source = next((node for node in nuke.selectedNodes() if node.knob(KIND) is not None), None)
    if source is None or source[KIND].value() != REMOVE_NODE:
        nuke.message("Select a VOID Remove first.")
        return
    nuke.Undo.begin("VOID patch")
    try:
        patch = nuke.nodes.Copy(name="VOID_patch", label="new pixels, premultiplied")
        patch.setInput(0, source)
        patch.setInput(1, source)
        for index, channel in enumerate(PATCH_LAYER):
            patch[f"from{index}"].setValue(channel)
            patch[f"to{index}"].setValue(f"rgba.{channel.partition('.')[2]}")
        patch.setXYpos(source.xpos() + 110, source.ypos() + 120)
        merge = nuke.nodes.Merge2(name="VOID_over", operation="over")
        merge.setInput(0, source.input(0))
        merge.setInput(1, patch)
        merge.setXYpos(source.xpos() - 110, source.ypos() + 240)
    finally:
        nuke.Undo.end()


def _command(module: str, function: str) -> Callable[[], None]:
    """A menu entry's command: what is missing becomes a sentence."""

    def run() -> None:
        absent = missing()
        if absent:
            nuke.message(f"VOID for Nuke: {absent}")
            return
        getattr(_module(module), function)()

    return run


def add_menus() -> None:
    """Add the menus and the panel; doing it again changes nothing."""
    absent = missing()
    nodes = nuke.menu("Nodes").addMenu("VOID", icon="void.png")
    nodes.addCommand("VOID Remove", lambda: nuke.createNode("VOID_Remove"), icon="void.png")
    nodes.addCommand("VOID Quadmask", lambda: nuke.createNode("VOID_Quadmask"), icon="void.png")
    nodes.addCommand("VOID Mattes", split_mattes, icon="void.png")
    nodes.addCommand("VOID Patch", lay_patch_out, icon="void.png")
    bar = nuke.menu("Nuke").addMenu("VOID")
    if absent:
        bar.addCommand(f"Incomplete: {absent}", _command("menu", "check"))
    bar.addCommand(panel.TITLE, _command("menu", "jobs"))
    bar.addCommand("Settings...", _command("menu", "edit_settings"))
    bar.addCommand("Submit selected to farm", _command("menu", "submit_selected"))
    bar.addCommand("Check environment", _command("menu", "check"))
    bar.addCommand("Documentation", _command("menu", "documentation"))
    if not absent:
        panel.register()
