"""Points on the object, clicked in the viewer."""

from __future__ import annotations

import nuke
import pytest
from driving import void_quadmask


@pytest.fixture
def node(shot):
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
