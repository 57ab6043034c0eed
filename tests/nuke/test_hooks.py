"""The studio's hook on_result hears of every version that arrives, and spoils none."""

from __future__ import annotations

import json

import pytest
from driving import press, void_remove, wait_until_done
from void_nuke.node import knobs as k
from void_nuke.studio import settings

pytestmark = [pytest.mark.slow, pytest.mark.oldest]


@pytest.fixture
def hook(tmp_path):
    file = tmp_path / "hooks.py"
    settings.save_user({"hooks": str(file)})
    return file


def removed(shot, server):
    node = void_remove(*shot, address=server.address)
    node["frames"].setValue("custom")
    node["custom_range"].setValue("1001-1003")
    press(node, "remove")
    wait_until_done(node)
    return node


def test_a_hook_is_told_of_a_version_that_has_arrived(shot, server, hook, tmp_path):
    heard = tmp_path / "heard.json"
    hook.write_text(
        "import json, pathlib\ndef on_result(context):\n"
        f"    pathlib.Path({str(heard)!r}).write_text(json.dumps(context))\n    return 'On the review list.'\n"
    )
    node = removed(shot, server)
    context = json.loads(heard.read_text())
    assert context["node"] == node.name()
    assert context["version"] == node["void_folder"].value()
    assert (context["frames"], context["has_plate"]) == ("1001-1003", True)
    assert "On the review list." in node[k.STATUS].value()


def test_a_hook_that_fails_is_told_and_the_result_stays(shot, server, hook):
    hook.write_text("def on_result(context):\n    raise OSError('no tracker')\n")
    node = removed(shot, server)
    assert node["result"].value() == "v001"
    assert "on_result in the hooks file" in node[k.STATUS].value()
    assert "no tracker" in node[k.STATUS].value()


def test_a_hook_that_answers_nothing_adds_nothing(shot, server, hook):
    hook.write_text("def on_result(context):\n    pass\n")
    assert "None" not in removed(shot, server)[k.STATUS].value()
