"""What Nuke runs while it starts: paths, callbacks, menus; and what happens where something is missing."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
from pathlib import Path

import nuke
import pytest
from driving import ROOT, finished_version, press, read_node, void_remove, wait_for
from void_nuke import startup
from void_nuke.job import diagnostics

pytestmark = [pytest.mark.slow, pytest.mark.oldest]


def entries(name):
    return [item.name() for item in nuke.menu(name).findItem("VOID").items()]


def test_menus(plugin):
    assert entries("Nodes") == ["VOID Remove", "VOID Quadmask", "VOID Mattes", "VOID Patch"]
    assert entries("Nuke")[:2] == ["VOID Jobs", "Settings..."]
    assert nuke.menu("Nodes").findItem("VOID").icon() == "void.png"
    assert any((Path(folder) / "void.png").is_file() for folder in nuke.pluginPath())
    assert "void.jobs" in nuke.standin.panels


def test_starting_twice_changes_nothing(plugin):
    callbacks = {name: list(one.entries) for name, one in nuke.standin.callbacks.items()}
    menus, paths = (entries("Nodes"), entries("Nuke")), nuke.pluginPath()
    for file in ("init.py", "menu.py"):
        nuke.standin_run(str(ROOT / file))
    assert {name: list(one.entries) for name, one in nuke.standin.callbacks.items()} == callbacks
    assert (entries("Nodes"), entries("Nuke")) == menus
    assert nuke.pluginPath() == paths


def test_a_session_without_a_window_has_no_menus(terminal):
    assert not nuke.standin.menus
    assert nuke.standin.callbacks["onScriptLoad"].entries


def test_missing_packages_become_a_sentence(plugin, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "zmq" else real(name, *rest))
    nuke.standin_reset()
    for file in ("init.py", "menu.py"):
        nuke.standin_run(str(ROOT / file))
    assert "zmq" in entries("Nuke")[0]
    nuke.menu("Nuke").findItem("VOID").findItem("Check environment").invoke()
    assert "void install-nuke" in nuke.standin.messages[-1]


def test_other_groups_cost_no_import():
    """The callbacks of groups that are not ours load nothing."""
    program = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "import nuke\n"
        "for file in ('init.py', 'menu.py'): nuke.standin_run(sys.argv[1] + '/' + file)\n"
        "nuke.nodes.Group()['label'].setValue('x')\n"
        "nuke.scriptClear()\n"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in ('zmq', 'msgpack', 'PySide6', 'void_server')))"
    )
    command = [sys.executable, "-c", program, str(ROOT), str(ROOT / "tests" / "nuke_standin")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_mattes_entry_makes_an_alpha_of_each_class(plugin, server, sample):
    node = void_remove(read_node(sample / "plate"), read_node(sample / "roto"), address=server.address)
    node.selectOnly()
    startup.split_mattes()
    made = [one for one in nuke.allNodes("Copy") if one.name().startswith("VOID_")]
    assert [one["from0"].value() for one in made] == [
        "quadmask.remove",
        "quadmask.overlap",
        "quadmask.affected",
        "quadmask.keep",
    ]
    assert all(one.input(0) is node and one.input(1) is node for one in made)


def test_check_environment(plugin, server, sample):
    node = void_remove(read_node(sample / "plate"), read_node(sample / "roto"), address=server.address)
    press(node, "check_environment")
    lines = nuke.standin.messages[-1].splitlines()
    assert [line.split()[1].rstrip(":") for line in lines] == ["packages", "settings", "output", "server"]
    assert all(line.startswith("ok") for line in lines)
    node["server"].setValue("tcp://127.0.0.1:9")
    press(node, "check_environment")
    assert "WRONG  server: No VOID server answers" in nuke.standin.messages[-1]


def test_diagnostics_hold_what_support_needs_and_no_keys(plugin, sample, tmp_path):
    from void_nuke.node.node import VoidNode
    from void_nuke.studio import settings

    settings.save_user({"server": "tcp://127.0.0.1:9", "key": str(tmp_path / "me.key_secret"), "server_key": "s.key"})
    (tmp_path / "me.key_secret").write_text("very secret")
    node = void_remove(read_node(sample / "plate"), read_node(sample / "roto"))
    text = diagnostics.everything(VoidNode(node))
    assert nuke.NUKE_VERSION_STRING in text
    assert node["void_id"].value() in text
    assert "very secret" not in text


def test_farm_hook_and_command_line(plugin, sample, tmp_path):
    from void_nuke.studio import settings

    node = void_remove(read_node(sample / "plate"), read_node(sample / "roto"))
    hooks = tmp_path / "hooks.py"
    hooks.write_text("def submit_to_farm(context):\n    return f\"job 42: {context['frames']} {context['command']}\"\n")
    settings.save_user({"hooks": str(hooks)})
    press(node, "farm_submit")
    assert nuke.standin.messages[-1].startswith("VOID_Remove1: job 42: 1001-1012 ")
    assert f"--script={nuke.scriptName()} --node={node.name()}" in nuke.standin.messages[-1]
    assert Path(nuke.scriptName()).stat().st_size > 1000, "saved before it was handed over"


def test_an_error_in_the_plugin_itself_is_told(plugin, sample, monkeypatch):
    from void_nuke import buttons

    def broken(void):
        raise KeyError("oops")

    monkeypatch.setitem(buttons._ACTIONS, "remove", broken)
    node = void_remove(read_node(sample / "plate"), read_node(sample / "roto"))
    press(node, "remove")
    assert "Copy diagnostics" in nuke.standin.messages[-1]


def test_callbacks_never_raise(plugin, sample, monkeypatch, capsys):
    from void_nuke.job import session

    void_remove(read_node(sample / "plate"), read_node(sample / "roto"))
    monkeypatch.setattr(session, "follow_all", lambda: 1 / 0)
    nuke.scriptSave()
    nuke.scriptOpen(nuke.scriptName())
    assert "ZeroDivisionError" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["indie", "nc"])
def test_where_the_nodes_do_not_work_no_callback_is_registered(plugin, monkeypatch, name):
    """Each script's groups count against what such an edition allows to Python."""
    nuke.standin_reset()
    monkeypatch.setitem(nuke.env, name, True)
    nuke.standin_run(str(ROOT / "init.py"))
    assert not any(one.entries for one in nuke.standin.callbacks.values())


def test_what_there_is_to_choose_is_there_before_the_first_press(plugin, server, sample, monkeypatch):
    from void_nuke.node.node import VoidNode
    from void_nuke.node.results import output_folder

    node = void_remove(read_node(sample / "plate"), read_node(sample / "roto"), address=server.address)
    node["engine"].setValues(["cleanplate", "of yesterday"])
    finished_version(output_folder(VoidNode(node)) / "v001", sample)
    nuke.root().setModified(False)
    node.showControlPanel()
    wait_for(lambda: "void" in node["engine"].values() and "v001" in node["result"].values())
    assert (node["engine"].value(), node["result"].value()) == ("cleanplate", "none")


def test_opening_a_panel_waits_for_nobody(plugin, sample, monkeypatch):
    """Neither the server nor a disk is asked on the main thread."""
    from void_nuke.job import choices
    from void_nuke.node import versions

    from void_server.api.client import Client
    from void_server.api.errors import ServerUnreachable

    node = void_remove(read_node(sample / "plate"), read_node(sample / "roto"), address="tcp://127.0.0.1:9")
    asked = []

    def results(_):
        asked.append(threading.current_thread() is threading.main_thread())
        return []

    def hello(_):
        results(None)
        raise ServerUnreachable("nobody answers")

    monkeypatch.setattr(Client, "hello", hello)
    monkeypatch.setattr(versions, "results", results)
    # the panel opens when a node is made, and again here
    node.showControlPanel()
    wait_for(lambda: len(asked) >= 2 and not choices._asking)
    assert not any(asked)
