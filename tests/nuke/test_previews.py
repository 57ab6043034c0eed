"""Previews: some frames at a reduced size, which no render gets."""

from __future__ import annotations

import json
from pathlib import Path

import nuke
import numpy as np
import pytest
from driving import (
    finished_version,
    picture,
    press,
    rendered,
    rgb,
    show_version,
    state,
    void_quadmask,
    void_remove,
    wait_for,
    wait_until_done,
)
from void_nuke.node.node import VoidNode
from void_nuke.node.versions import result_in

PREVIEWED = "Preview at a reduced size"
MANIFEST = "job.json"


@pytest.fixture
def small(monkeypatch):
    """Previews that are smaller than the plates of the tests."""
    from void_nuke.job import preview

    monkeypatch.setattr(preview, "_WIDTH", 96)


def wait_for_preview(node):
    wait_for(lambda: PREVIEWED in node["status"].value() or state(node) in ("failed", "stopped"))
    assert PREVIEWED in node["status"].value(), node["status"].value()


def manifest_of(node):
    folder = Path(node.node("ReadPreview")["file"].value()).parents[1]
    return json.loads((folder / MANIFEST).read_text())


def test_a_preview_is_small_soon_there_and_no_version(shot, server, small):
    plate, roto = shot
    node = void_remove(plate, roto, address=server.address)
    nuke.frame(1003)
    press(node, "preview_frame")
    wait_for_preview(node)
    manifest = manifest_of(node)
    assert manifest["frames"] == [*range(1001, 1008), 1010]
    assert manifest["shot"]["settings"]["feather"] == 3.0
    assert node["view"].value() == "preview"
    read = node.node("ReadPreview")
    assert (read.width(), read.height()) == (96, 54)
    shown, original = picture(node, 1003), picture(plate, 1003)
    assert (shown.format.width(), shown.format.height()) == (192, 108)
    assert np.allclose(rgb(shown)[:, 0], (0.87, 0.40, 0.02))
    inside = picture(roto, 1003).channel("rgba.alpha", shown.bbox) > 0.9
    assert np.abs(rgb(shown) - rgb(original))[inside].mean() > 0.05
    # and it is none of the node's versions
    assert node["result"].value() == "none"
    assert state(node) == ""


def test_a_render_never_gets_a_preview(shot, sample, server, tmp_path):
    plate, _ = shot
    node = void_remove(*shot, address=server.address)
    press(node, "preview_range")
    wait_for_preview(node)
    assert manifest_of(node)["frames"] == [1001, 1011]
    assert np.array_equal(rendered(node, tmp_path / "plate.exr"), rgb(picture(plate, 1006)))
    show_version(node, finished_version(tmp_path / "out" / "v001", sample))
    assert node["view"].value() == "preview"
    node["view"].setValue("result")
    result = rgb(picture(node, 1006))
    node["view"].setValue("preview")
    assert np.array_equal(rendered(node, tmp_path / "result.exr"), result)


def test_a_preview_leaves_the_shown_version(shot, sample, server, tmp_path):
    node = void_remove(*shot, address=server.address)
    show_version(node, finished_version(tmp_path / "out" / "v001", sample))
    press(node, "preview_range")
    wait_for_preview(node)
    assert node["result"].value() == "v001"
    assert state(node) == "done"


def test_after_a_preview_a_version_of_another_plate_is_still_marked(shot, sample, server, tmp_path):
    node = void_remove(*shot, address=server.address)
    VoidNode(node).show_result(result_in(finished_version(tmp_path / "out" / "v001", sample)), "of another plate")
    press(node, "preview_range")
    wait_for(lambda: state(node) == "plate changed")


def test_what_is_wrong_with_the_points_is_said_before_anything_is_written(shot, server):
    node = void_quadmask(*shot, address=server.address)
    node["clicks"].setValue("1006: near 5,5")
    press(node, "generate_quadmask")
    assert "Line 1 of the points" in node["status"].value()
    assert nuke.standin.rendered == []


def test_a_result_takes_the_previews_place_in_the_viewer(shot, server):
    node = void_remove(*shot, address=server.address)
    press(node, "preview_range")
    wait_for_preview(node)
    press(node, "remove")
    wait_until_done(node)
    assert node["view"].value() == "result"
    assert node["result"].value() == "v001"


def test_a_preview_is_found_again_when_the_script_is_opened(plugin):
    from void_nuke.node import ticket

    kept = ticket.Ticket("0123456789ab", "tcp://127.0.0.1:1", "", "/out", False, "", True)
    assert ticket.parse(kept.text) == [kept]


def test_after_a_click_what_is_taken_for_the_object_shows(shot, server, no_key_held):
    plate, roto = shot
    node = void_quadmask(plate, None, address=server.address)
    node["segmenter"].setValue("grabcut")
    nuke.frame(1006)
    matte = picture(roto, 1006).channel("rgba.alpha", picture(plate, 1006).bbox)
    rows, columns = np.where(matte > 0.9)
    middle = np.argsort(rows)[len(rows) // 3]
    x, y = float(columns[middle]), float(107 - rows[middle])
    node["pick_on"].setValue([0, 0, 0, 1, x, y, x + 1, y + 1])
    wait_for_preview(node)
    assert node["view"].value() == "roto"
    assert manifest_of(node)["frames"] == [1006]
    changed = np.abs(rgb(picture(node, 1006)) - rgb(picture(plate, 1006))).sum(axis=-1) > 0.01
    assert changed[rows[middle], columns[middle]]
    assert (changed & (matte > 0)).sum() > 0.8 * changed.sum()
    node["show_roto"].setValue(False)
    node["pick_off"].setValue([0, 0, 0, 1, 5, 100, 6, 101])
    assert state(node) == ""
    assert node["clicks"].getText().count("\n") == 1


def test_a_click_without_a_server_is_still_a_point(shot, no_key_held):
    node = void_quadmask(shot[0], None, address="tcp://127.0.0.1:9")
    nuke.frame(1006)
    node["pick_on"].setValue([0, 0, 0, 1, 60, 40, 61, 41])
    wait_for(lambda: "127.0.0.1:9" in node["status"].value())
    assert node["clicks"].getText() == "1006: on 60.5,40.5"
    assert nuke.standin.messages == []
