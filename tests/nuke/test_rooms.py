"""The rooms of the plugin: which modules need Nuke or Qt, who imports whom, which names saved scripts contain."""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
import sys

import nuke
import pytest
from driving import ROOT
from void_nuke import buttons
from void_nuke.node import definition

PACKAGE = ROOT / "nuke_plugin" / "void_nuke"
FILES = {
    ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts): file
    for file in sorted(PACKAGE.rglob("*.py"))
    if file.name != "__init__.py"
}
#: The rooms and what each may import besides itself; the modules on top may import all of them.
ROOMS = {"studio": set(), "node": {"studio"}, "job": {"node", "studio"}, "ui": {"job", "node", "studio"}}

#: Imports every module in a Python that has neither Nuke nor Qt, and names those that cannot be imported.
IMPORT_ALL = """
import importlib, json, sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("nuke", "nukescripts", "PySide2", "PySide6"):
            raise ModuleNotFoundError("no " + name, name=name)
sys.meta_path.insert(0, Without())
sys.path[:0] = sys.argv[1:3]
failed = []
for name in sys.argv[3:]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        assert error.name.partition(".")[0] in ("nuke", "nukescripts", "PySide2", "PySide6"), (name, error)
        failed.append(name)
print(json.dumps(failed))
"""


def first_line(file):
    return (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n")[0]


def test_the_first_line_of_a_module_says_whether_it_needs_nuke_or_qt():
    command = [sys.executable, "-c", IMPORT_ALL, str(PACKAGE.parent), str(ROOT), *FILES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = {name for name, file in FILES.items() if re.search(r"Uses (nuke|Qt)\b", first_line(file))}
    assert set(json.loads(done.stdout)) == said


def imported(file):
    """Every module of ours that a file imports, inside functions too, as the names of its path."""
    inside = ["void_nuke", *file.relative_to(PACKAGE).with_suffix("").parts]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = inside[: len(inside) - node.level] if node.level else []
            module = base + (node.module.split(".") if node.module else [])
            # a name in a room may be a module of it; a name on top may be a room
            yield from ([*module, alias.name] for alias in node.names)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_the_rooms_below_it(room):
    assert (PACKAGE / room).is_dir()
    allowed, wrong = ROOMS[room] | {room}, []
    for name, file in FILES.items():
        if name.split(".")[1] == room:
            ours = {names[1] for names in imported(file) if names[0] == "void_nuke"}
            wrong += [f"{name} imports {other}" for other in sorted(ours - allowed)]
    assert not wrong


def test_every_folder_is_a_room():
    assert {file.parent.name for file in FILES.values()} - {"void_nuke"} == set(ROOMS)


#: Node files are written where all of VOID is installed.
WRITING = {("void_nuke.node.definition", "plugins")}


def test_nothing_of_the_server_but_its_api_is_imported():
    wrong = [
        f"{name} imports {'.'.join(names)}"
        for name, file in FILES.items()
        for names in imported(file)
        # the package itself only for its version
        if names[0] == "void_server"
        and len(names) > 1
        and names[1] not in ("api", "__version__")
        and (name, names[1]) not in WRITING
    ]
    assert not wrong


# -- what saved scripts contain


def listed():
    """The names in docs/td.md, by what they name."""
    text = (ROOT / "docs" / "td.md").read_text().partition("## Names in saved scripts")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| ")]
    return {what.strip(): set(re.findall(r"`([^`]+)`", names)) for what, names in rows}


def test_saved_scripts_press_buttons_that_are_still_there():
    assert buttons.__name__ == "void_nuke.buttons"
    assert list(inspect.signature(buttons.press).parameters) == ["action"]
    assert set(buttons._ACTIONS) == listed()["buttons"]
    assert "frozen interface" in buttons.__doc__


@pytest.mark.parametrize("name", definition.ALL)
def test_the_names_in_saved_scripts_are_those_in_the_guide(plugin, name):
    node, known = nuke.createNode(name), listed()
    own = {knob.name(): knob for knob in node.knobs().values() if getattr(knob, "_user", False)}
    shown = {n for n, knob in own.items() if knob.Class() not in ("Tab_Knob", "Text_Knob", "PyScript_Knob")}
    assert shown == known["knobs of both nodes"] | known[f"knobs of {name.replace('_', ' ')}"]
    assert {n for n, knob in own.items() if knob.Class() == "PyScript_Knob"} <= known["buttons"]
    assert {f"{layer}.{c}" for layer, channels in nuke.standin.layers.items() for c in channels if layer != "rgba"} == (
        known["channels"]
    )
    assert node.knob("output") is None, "Nuke shows the value of a knob of that name on the tile"
