"""Points on the object, clicked in the viewer."""

from __future__ import annotations

import nuke
import pytest
from driving import void_quadmask

from void_server.api.errors import SettingError
from void_server.api.shot import Prompt


@pytest.fixture
def node(shot, no_key_held):
    nuke.frame(1006)
    return void_quadmask(shot[0], None)


@pytest.fixture
def clock(monkeypatch):
    """The time that the plugin sees: a list of one number."""
    from void_nuke.node import handles

    now = [1000.0]
    monkeypatch.setattr(handles.time, "monotonic", lambda: now[0])
    return now


def clicked(node, knob, x, y, size=1):
    """What Nuke does where an eyedropper is used: the colour, then the corners of what was picked."""
    node[knob].setValue([0.2, 0.3, 0.4, 1.0, x, y, x + size, y + size])


def test_each_click_with_an_eyedropper_is_a_point(node, clock):
    clicked(node, "pick_on", 60, 40)
    clock[0] += 2
    clicked(node, "pick_on", 80, 50)
    clock[0] += 2
    clicked(node, "pick_off", 120, 20)
    assert node["clicks"].getText() == "1006: on 60.5,40.5\n1006: on 80.5,50.5\n1006: off 120.5,20.5"


def test_a_drag_is_one_point_where_it_ends(node, clock):
    clicked(node, "pick_on", 10, 10)
    clock[0] += 2
    for step in range(30):
        clock[0] += 0.02
        clicked(node, "pick_on", 40 + step, 40)
    assert node["clicks"].getText() == "1006: on 10.5,10.5\n1006: on 69.5,40.5"


def test_with_alt_a_click_counts_for_the_other_side(node, clock, monkeypatch):
    from void_nuke.ui import keyboard

    monkeypatch.setattr(keyboard, "alt_is_held", lambda: True)
    clicked(node, "pick_on", 60, 40)
    assert node["clicks"].getText() == "1006: off 60.5,40.5"


def test_a_reset_eyedropper_and_clicks_beside_the_plate_are_no_points(node, clock):
    node["pick_on"].setValue([0.0] * 8)
    clicked(node, "pick_on", 5000, 40)
    assert node["clicks"].getText() == ""


def test_in_proxy_mode_a_click_is_refused_and_the_state_stays(node, clock):
    nuke.root()["proxy"].setValue(True)
    clicked(node, "pick_on", 60, 40)
    assert node["clicks"].getText() == ""
    assert "proxy mode" in node["status"].value()
    assert node["void_state"].value() == ""


def test_a_click_is_one_step_of_undo(node, clock):
    clicked(node, "pick_on", 60, 40)
    clock[0] += 2
    nuke.frame(1007)
    clicked(node, "pick_on", 80, 40)
    nuke.undo()
    assert node["clicks"].getText() == "1006: on 60.5,40.5"
    nuke.undo()
    assert node["clicks"].getText() == ""


def test_boxes_and_several_objects_are_lines_of_the_list(node):
    from void_nuke.node import handles
    from void_nuke.node.node import VoidNode

    node["clicks"].setValue(
        "1006: box 60,20,100,90 # the ball\n2@1006: on 150,40\n2@1006: off 120.5,20\n1008: named man in red"
    )
    height = 108
    assert handles.prompts(VoidNode(node)) == (
        Prompt(1006, Prompt.BOX, (60.0, height - 90.0, 100.0, height - 20.0)),
        Prompt(1006, Prompt.POINT, (150.0, height - 40.0), 2),
        Prompt(1006, Prompt.NOT, (120.5, height - 20.0), 2),
        Prompt(1008, Prompt.NAMED, (), 1, "man in red"),
    )
    # a click adds to the list as it is
    node["click"].setValue([10.0, 20.0])
    node["click_on"].execute()
    assert node["clicks"].getText() == (
        "1006: box 60,20,100,90\n2@1006: on 150,40\n2@1006: off 120.5,20\n1008: named man in red\n1006: on 10,20"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1006: box 60,20", "is not like 1001: on 640,360, 2@1001"),
        ("1006: on 60,20,30,40", "is not like"),
        ("1006: box 60,20,50,90", "is an empty box; give left, bottom, right and top"),
        ("1006: named ", "is not like"),
        ("1006: box 1..2,20,50,90", "is not like"),
    ],
)
def test_a_line_that_is_wrong_is_named(node, line, message):
    from void_nuke.node import points

    with pytest.raises(SettingError, match=f"Line 2 of the points: .*{message}"):
        points.parse(f"1006: on 5,5\n{line}")
