"""The files in gizmos/: as the writer makes them, readable by others, and in step with the code."""

from __future__ import annotations

import re
import sys
from importlib.metadata import entry_points

import nuke
import pytest
from driving import ROOT
from void_nuke import buttons
from void_nuke.node import declared, definition, knobs
from void_nuke.node.text import Expression, Group, Node, formatted, quoted

from void_server.api.settings import declarations
from void_server.api.shot import Settings

FILES = sorted((ROOT / "gizmos").glob("*.gizmo"))
_INSTALLED = sys.version_info >= (3, 10) and entry_points(group="void_server.engines")
VOID_KNOBS = {
    value for name, value in vars(knobs).items() if name.isupper() and isinstance(value, str) and name not in ("BLEND",)
}


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def gizmo(request, plugin):
    """A node of each kind, loaded from its file."""
    return nuke.nodePaste(str(request.param))


@pytest.mark.skipif(not _INSTALLED, reason="files are written where all of VOID is installed")
def test_files_are_what_the_writer_writes():
    assert {file.stem for file in FILES} == set(definition.ALL)
    for file in FILES:
        assert file.read_text() == definition.ALL[file.stem]().text(), "run: python -m void_nuke.node.definition"


def test_files_begin_with_group():
    for file in FILES:
        assert file.read_text().startswith("Group {\n"), "scripts must open without the plugin"
        assert file.stem.startswith("VOID_")


@pytest.mark.skipif(sys.version_info < (3, 10), reason="nkparser needs Python 3.10")
def test_files_parse_with_nkparser():
    nkparser = pytest.importorskip("nkparser")
    for file in FILES:
        # nkparser takes what follows a Group's closing brace for no part of it, unlike Nuke: so the parts one by one
        text = file.read_text().replace("Group {", "NoOp {", 1).replace("end_group\n", "")
        script = nkparser.Script.from_string(text)
        found = [d for d in script.diagnostics if d.code != "missing-root"]
        assert not found
        assert len(list(script.all_nodes())) == len(definition.ALL[file.stem]().nodes) + 1


@pytest.mark.skipif(sys.version_info < (3, 10), reason="nkparser needs Python 3.10")
def test_scripts_saved_by_the_standin_parse_with_nkparser(plugin, tmp_path):
    nkparser = pytest.importorskip("nkparser")
    read = nuke.nodes.Read(file="/a/b.%04d.exr")
    dot = nuke.nodes.Dot()
    dot.setInput(0, read)
    nuke.scriptSaveAs(str(tmp_path / "saved.nk"))
    script = nkparser.Script.from_string((tmp_path / "saved.nk").read_text())
    assert [(node.class_name, node.name) for node in script.all_nodes() if node.class_name != "Root"] == [
        ("Read", "Read1"),
        ("Dot", "Dot1"),
    ]


def test_knobs_and_code_agree(gizmo):
    own = {name for name, knob in gizmo.knobs().items() if getattr(knob, "_user", False)}
    decoration = {name for name in own if name.startswith(("tab_", "line_")) or name == "about"}
    places = declared.read(gizmo[knobs.DECLARED].getText())
    settings = {one.name for one in declarations(Settings)}
    settings |= {place.knob for kind in places.values() for of in kind.values() for place in of.values()}
    assert own - decoration <= VOID_KNOBS | settings, "a knob that the code has no name for"
    for name in (knobs.RESULT_MATTES, knobs.PLATE_INPUT, knobs.ROTO_INPUT):
        assert gizmo.node(name) is not None


def test_every_knob_that_the_code_names_is_on_a_node(plugin):
    on_nodes = {name for file in FILES for name in nuke.nodePaste(str(file)).knobs()}
    named = {
        value
        for name, value in vars(knobs).items()
        if name in _knob_constants() and isinstance(value, str)
    }  # fmt: skip
    assert named <= on_nodes


def _knob_constants():
    """The constants of the first two blocks of knobs.py."""
    text = (ROOT / "nuke_plugin" / "void_nuke" / "node" / "knobs.py").read_text().split("# which node it is")[0]
    return set(re.findall(r"^([A-Z_]+) = ", text, re.MULTILINE))


def test_every_button_compiles_and_has_an_action(gizmo):
    found = [knob for knob in gizmo.knobs().values() if knob.Class() == "PyScript_Knob"]
    assert found
    for knob in found:
        compile(knob.command(), knob.name(), "exec")
        assert knob.name() in buttons._ACTIONS
        assert f'press("{knob.name()}")' in knob.command()


def test_a_button_without_the_plugin_says_so(gizmo, monkeypatch):
    monkeypatch.setitem(sys.modules, "void_nuke", None)
    gizmo["stop"].execute()
    assert "void install-nuke --check" in nuke.standin.messages[-1]


def test_every_visible_knob_has_a_tooltip(gizmo):
    for name, knob in gizmo.knobs().items():
        shown = getattr(knob, "_user", False) and knob.visible()
        if shown and knob.Class() not in ("Tab_Knob", "Text_Knob"):
            assert knob.tooltip(), name
            assert knob.tooltip().rstrip().endswith("."), name


def test_no_label_on_the_panel_is_a_word_of_ours(gizmo):
    """An engine called void, on a node called VOID Remove, and a reasoner mean nothing to an artist."""
    for name, knob in gizmo.knobs().items():
        if getattr(knob, "_user", False) and knob.visible():
            assert not {"engine", "reasoner", "void"} & set(re.findall(r"[a-z]+", knob.label())), name


def test_what_artists_call_the_choice_stands_beside_it(plugin, tmp_path):
    node = nuke.createNode("VOID_Remove")
    assert node["engine_title"].value() == "clean plate (from other frames)"
    node["engine"].setValue("void")
    nuke.standin_process_events()
    assert (node["engine"].value(), node["engine_title"].value()) == ("void", "VOID model (generative)")
    node["reasoner"].setValue("none")
    assert node["reasoner_title"].value() == "the object alone"
    nuke.scriptSaveAs((tmp_path / "a.nk").as_posix())
    nuke.scriptOpen((tmp_path / "a.nk").as_posix())
    again = nuke.allNodes("Group")[0]
    assert again["engine_title"].value() == "VOID model (generative)"
    # a studio's own has only its name
    again["engine"].setValues(["cleanplate", "void", "acme"])
    again["engine"].setValue("acme")
    assert again["engine_title"].value() == "acme"


def test_the_tooltip_of_submit_to_farm_says_what_the_button_does(gizmo):
    """It opens the dialog; only the studio's hook needs the script to be saved, and its press does that."""
    tooltip = gizmo[knobs.FARM_SUBMIT].tooltip()
    assert "dialog" in tooltip
    assert "script is saved first" not in tooltip


def test_state_is_invisible_and_saved(gizmo):
    for name in (knobs.ID, knobs.JOBS, knobs.FOLDER, knobs.HAS_PLATE):
        assert not gizmo[name].visible()
        assert not gizmo[name].getFlag(nuke.DO_NOT_WRITE)


def test_a_node_survives_saving(gizmo, tmp_path):
    gizmo.setSelected(False)
    gizmo["custom_range"].setValue('1001-1004 "quoted" {braced} $x')
    before = {name: knob.toScript() for name, knob in gizmo.knobs().items()}
    inside = {node.name(): node.writeKnobs() for node in gizmo.nodes()}
    nuke.scriptSaveAs(str(tmp_path / "a.nk"))
    nuke.scriptOpen(str(tmp_path / "a.nk"))
    again = nuke.allNodes("Group")[0]
    assert {name: knob.toScript() for name, knob in again.knobs().items()} == before
    assert {node.name(): node.writeKnobs() for node in again.nodes()} == inside


def test_text_that_nuke_would_evaluate_is_quoted():
    assert quoted("[value x]") == '"\\[value x\\]"'
    assert quoted("plain") == "plain"
    assert quoted("") == '""'
    assert formatted(Expression("a && b")) == '{{"a && b"}}'
    assert formatted(True) == "true"


def test_a_node_cannot_take_what_comes_after_it():
    group = Group("A", [], {}, [Node("Dot", "One", {}, ("Two",)), Node("Dot", "Two")])
    with pytest.raises(ValueError, match="Two, which does not come before"):
        group.text()


def test_no_inner_node_is_called_like_a_layer(gizmo):
    # an expression would not know whether quadmask.remove is a channel or a knob
    assert not {node.name() for node in gizmo.nodes()} & {*nuke.standin.layers, "rgba"}


def test_no_two_inner_nodes_lie_on_one_spot(gizmo):
    """Whoever opens the group sees them all."""
    places = [(node.xpos(), node.ypos()) for node in gizmo.nodes()]
    assert len(set(places)) == len(places)
