"""A press obeys the studio's policy, before anything is exported."""

from __future__ import annotations

import json
from pathlib import Path

import nuke
import pytest
from driving import PYTHON, press, void_quadmask, void_remove

pytestmark = [pytest.mark.slow, pytest.mark.oldest]

FORBIDDEN = [
    ("remove", {"generative": False}, {"engine": "void"}, "forbids generated pixels, which the engine void makes"),
    ("preview_frame", {"generative": False}, {"engine": "void"}, "forbids generated pixels"),
    ("remove", {"engines": ["void"]}, {}, "forbids the engine cleanplate; choose void"),
    ("remove", {"cloud": False}, {"reasoner": "gemini"}, "sending footage off the studio network"),
    ("generate_quadmask", {"cloud": False}, {"reasoner": "gemini"}, "sending footage off the studio network"),
]


@pytest.mark.parametrize(("button", "decided", "knobs", "sentence"), FORBIDDEN)
def test_a_press_that_the_policy_forbids_exports_nothing(
    shot, server, tmp_path, monkeypatch, button, decided, knobs, sentence
):
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(decided))
    monkeypatch.setenv("VOID_POLICY", str(file))
    made = void_quadmask if button == "generate_quadmask" else void_remove
    node = made(*shot, address=server.address)
    for name, value in knobs.items():
        # as a server offers them
        node[name].setValues(list(dict.fromkeys([*node[name].values(), value])))
        node[name].setValue(value)
    press(node, button)
    assert sentence in nuke.standin.messages[-1]
    assert str(file) in nuke.standin.messages[-1]
    assert not list((Path(nuke.script_directory()) / "void").rglob("*.exr"))


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize(
    ("decided", "knobs", "sentence"),
    [(decided, knobs, said) for name, decided, knobs, said in FORBIDDEN if name == "remove"],
)
def test_a_node_that_the_policy_keeps_from_the_farm_exports_nothing(
    shot, tmp_path, monkeypatch, there, decided, knobs, sentence
):
    from void_nuke.job import farm
    from void_nuke.node.node import VoidNode
    from void_nuke.studio import settings

    from void_server.api.errors import NotPermitted

    settings.save_user({"void_command": [PYTHON, "-c", "from void_server.cli import main; main()"]})
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(decided))
    monkeypatch.setenv("VOID_POLICY", str(file))
    node = void_remove(*shot)
    for name, value in knobs.items():
        node[name].setValues(list(dict.fromkeys([*node[name].values(), value])))
        node[name].setValue(value)
    with pytest.raises(NotPermitted, match=sentence):
        farm.submit([VoidNode(node)], "openjd", {}, export_there=there)
    assert not (Path(nuke.script_directory()) / "void").exists()
