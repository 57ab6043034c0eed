"""The version that a node shows: in which frames, what it shows in others, and whether its plate is still the same."""

from __future__ import annotations

import sys

import nuke
import numpy as np
import pytest
from driving import (
    finished_version,
    picture,
    press,
    rgb,
    show_version,
    state,
    void_quadmask,
    void_remove,
    wait_for,
)
from void_nuke.job import export, freshness
from void_nuke.job.prepare import shot_settings
from void_nuke.job.stamps import Stamps
from void_nuke.node import knobs as k
from void_nuke.node import ranges, results
from void_nuke.node.node import VoidNode
from void_nuke.node.versions import result_in

from void_server.api.shot import PLATE, Shot

STEPPED = (1001, 1004, 1007, 1010)


# -- lists of frames


@pytest.mark.parametrize(
    ("frames", "text"),
    [
        ([1001], "1001"),
        ([1001, 1002, 1003], "1001-1003"),
        ([1001, 1011, 1021], "1001-1021x10"),
        ([1001, 1007], "1001,1007"),
        ([-2, -1, 0, 5, 7, 9, 20], "-2-0,5-9x2,20"),
        (list(STEPPED), "1001-1010x3"),
    ],
)
def test_frames_as_artists_the_server_and_nuke_read_them(plugin, frames, text):
    assert ranges.text(frames) == text
    knob = nuke.nodes.NoOp()["disable"]
    knob.setExpression(ranges.expression(frames))
    assert [frame for frame in range(-5, 1030) if knob._number(frame)] == frames
    assert nuke.FrameRanges([ranges.text(frames, " ")]).toFrameList() == frames


# -- frames that a version does not have


@pytest.fixture
def stepped(shot, sample, tmp_path):
    """A node that shows a version of every third frame."""
    node = void_remove(*shot)
    show_version(node, finished_version(tmp_path / "out" / "v001", sample, STEPPED))
    return node


def result_of(node, shot, frame):
    """What the version made by driving.finished_version looks like over the plate."""
    plate = rgb(picture(shot[0], frame))
    plate[:, ::2] = rgb(picture(node, frame))[:, ::2]
    return plate


def test_between_the_frames_of_a_stepped_range_the_plate_passes(stepped, shot):
    for frame in range(1000, 1014):
        same = np.array_equal(rgb(picture(stepped, frame)), rgb(picture(shot[0], frame)))
        assert same == (frame not in STEPPED), frame


def test_between_the_frames_of_a_stepped_range_the_nearest_is_held(stepped, shot):
    stepped["outside"].setValue("hold")
    for frame, held in ((1005, 1004), (1006, 1007), (1012, 1010), (1000, 1001)):
        shown, there = rgb(picture(stepped, frame)), rgb(picture(stepped, held))
        # its new pixels, over the plate as it is
        assert np.array_equal(shown[:, ::2], there[:, ::2])
        assert np.array_equal(shown[:, 1::2], rgb(picture(shot[0], frame))[:, 1::2])


def test_frames_that_the_version_does_not_have_can_be_an_error(stepped):
    stepped["outside"].setValue("error")
    picture(stepped, 1004)
    for frame in (1000, 1005, 1012):
        with pytest.raises(RuntimeError, match=f"void_mattes.{frame}.exr: No such file"):
            picture(stepped, frame)


def test_a_frame_that_is_missing_from_a_version_is_an_error(stepped, tmp_path):
    """It is to be seen: a version on a farm has frames that are not there yet."""
    (tmp_path / "out" / "v001" / "plate" / "void_plate.1004.exr").unlink()
    with pytest.raises(RuntimeError, match="No such file"):
        picture(stepped, 1004)


def test_a_quadmask_of_a_stepped_range_gives_way_to_the_roto_between_its_frames(shot, sample, tmp_path):
    node = void_quadmask(*shot)
    show_version(node, finished_version(tmp_path / "out" / "v001", sample, STEPPED))
    for frame in (1004, 1005):
        shown = picture(node, frame)
        objects = picture(shot[1], frame).channel("rgba.alpha", shown.bbox) > 0.5
        assert np.array_equal(shown.channel("quadmask.remove", shown.bbox) > 0, objects) == (frame == 1005)


def test_a_stepped_range_survives_saving(stepped, shot, tmp_path):
    name = stepped.name()
    nuke.scriptSaveAs((tmp_path / "a.nk").as_posix())
    nuke.scriptOpen((tmp_path / "a.nk").as_posix())
    again = nuke.toNode(name)
    assert again["void_has_frame"]._number(1004) == 1
    assert again["void_has_frame"]._number(1005) == 0
    assert Shot(plate="/p", roto="/r", frames=ranges.text(STEPPED)).frames == "1001-1010x3"


# -- whether the plate is still the one it was made from


@pytest.fixture
def made(shot, sample, tmp_path):
    """A node that shows a version of its plate and roto as they are."""
    node = void_remove(*shot)
    void = VoidNode(node)
    source = export.source_of([export.look(void, "main")], Stamps())
    result = result_in(finished_version(tmp_path / "out" / "v001", sample))
    void.show_result(result, source)
    results.show_chosen(void)
    assert state(node) == "done"
    return node


def looked(node):
    """Open the panel, and wait until the node knows."""
    node.showControlPanel()
    nuke.standin_process_events()
    wait_for(lambda: not freshness._looking)
    nuke.standin_process_events()


def test_a_grade_above_makes_the_tile_say_that_the_plate_has_changed(made, shot):
    looked(made)
    assert state(made) == "done"
    grade = nuke.nodes.Expression()
    grade.setInput(0, shot[0])
    grade["expr0"].setValue("r * 2")
    made.setInput(0, grade)
    nuke.root().setModified(False)
    looked(made)
    assert made._tile() == f"{made.name()}\nplate changed v001 1001-1012"
    assert made["tile_color"].value() == k.TILES[k.STALE]
    assert "has changed since v001 was made" in made["status"].value()
    assert not nuke.modified()
    made.setInput(0, shot[0])
    looked(made)
    assert state(made) == "done"


def test_saving_the_script_looks_at_the_plates_too(made, shot):
    made.setInput(0, shot[1])
    nuke.scriptSave()
    wait_for(lambda: state(made) == "plate changed")


def test_a_version_that_is_picked_again_still_knows_what_it_was_made_from(made, shot, sample, tmp_path):
    show_version(made, finished_version(tmp_path / "out" / "v002", sample))
    made["result"].setValue("v001")
    made.setInput(0, shot[1])
    looked(made)
    assert state(made) == "plate changed"


def test_a_version_of_unknown_source_is_not_doubted(made, shot, sample, tmp_path):
    show_version(made, finished_version(tmp_path / "out" / "v002", sample))
    made.setInput(0, shot[1])
    looked(made)
    assert state(made) == "done"


def test_in_a_render_no_tile_changes(made, shot):
    made.setInput(0, shot[1])
    freshness.look(VoidNode(made))
    nuke.standin.executing = True
    wait_for(lambda: not freshness._looking)
    nuke.standin_process_events()
    nuke.standin.executing = False
    assert state(made) == "done"


# -- what made it, and what to do with it


@pytest.fixture
def described(shot, sample, tmp_path):
    """A node that shows a version whose manifest says how it was made; the node is set otherwise by now."""
    node = void_remove(*shot)
    void = VoidNode(node)
    node["frames"].setValue("custom")
    for name, value in (("feather", 12.0), ("prompt", "A lime falls."), ("engine", "void"), ("steps", 9)):
        node[name].setValue(value)
    node["custom_range"].setValue("1001-1010x3")
    made = Shot(
        plate="/p.%04d.exr",
        roto="/r.%04d.exr",
        frames=ranges.text(void.frames()),
        prompt="A lime falls.",
        colorspace="ACEScg",
        settings=shot_settings(void, PLATE),
    )
    show_version(node, finished_version(tmp_path / "out" / "v001", sample, STEPPED, shot=made.to_dict()))
    for name, value in (("feather", 2.0), ("prompt", "A dog."), ("engine", "cleanplate"), ("steps", 0)):
        node[name].setValue(value)
    node["custom_range"].setValue("1001-1012")
    return node


def test_a_version_says_what_made_it_and_in_what_the_node_differs_now(described, tmp_path):
    press(described, "about_version")
    first, *others = nuke.standin.messages[-1].splitlines()
    assert first.startswith("v001: VOID model (generative), frames 1001-1010x3, 20")
    assert (tmp_path / "out" / "v001").as_posix() in others
    assert "feather: 12.0, now 2.0" in others
    assert "prompt: A lime falls., now A dog." in others
    assert "steps: 9, now 0" in others
    assert not any(line.startswith("grain") for line in others)


def test_the_settings_of_a_version_are_restored_in_one_step(described):
    before = len(nuke.standin.undo)
    press(described, "restore_settings")
    values = {name: described[name].value() for name in ("feather", "prompt", "engine", "steps", "custom_range")}
    assert values == {
        "feather": 12.0,
        "prompt": "A lime falls.",
        "engine": "void",
        "steps": 9,
        "custom_range": "1001-1010x3",
    }
    assert len(nuke.standin.undo) == before + 1
    press(described, "about_version")
    assert nuke.standin.messages[-1].endswith("Set as the node is now.")


def test_what_the_node_does_not_offer_is_not_restored_by_halves(described):
    described["engine"].setValues(["cleanplate"])
    press(described, "restore_settings")
    assert "method 'void' is no longer there" in nuke.standin.messages[-1]
    assert described["feather"].value() == 2.0


def test_text_of_a_manifest_runs_nothing(described, tmp_path):
    file = tmp_path / "out" / "v001" / "job.json"
    file.write_text(file.read_text().replace("A lime falls.", "[exec calc] $x"))
    press(described, "restore_settings")
    assert described["prompt"].getText() == "(exec calc) x"
    assert ["exec", "calc"] not in nuke.standin.commands


@pytest.mark.parametrize(
    ("labels", "colourspace"),
    [
        (["scene_linear (ACEScg)", "ACEScg", "ACES2065-1"], "ACEScg"),
        (["ACEScg\tColorspaces/ACES/ACEScg\t\tACES - ACEScg", "Raw\tColorspaces/Raw"], "ACEScg"),
        (["sRGB"], None),
    ],
)
def test_reads_of_a_version_need_nothing_of_ours(described, tmp_path, labels, colourspace):
    nuke.standin.colour_labels = labels
    before = set(nuke.allNodes("Read"))
    press(described, "create_reads")
    mattes, patch, plate = sorted(set(nuke.allNodes("Read")) - before, key=lambda node: node.name())
    assert plate["file"].value() == f"{(tmp_path / 'out' / 'v001').as_posix()}/plate/void_plate.%04d.exr"
    assert (plate["first"].value(), plate["last"].value()) == (1001, 1010)
    assert patch["file"].value().endswith("/v001/patch/void_patch.%04d.exr")
    assert patch["premultiplied"].value()
    assert mattes["raw"].value()
    for node in (plate, patch):
        if colourspace:
            assert (node["colorspace"].value(), node["raw"].value()) == (colourspace, False)
        else:
            assert node["raw"].value()
    assert "quadmask.remove" in picture(mattes, 1004).channels


def test_the_path_of_a_version_is_copied(described, tmp_path, monkeypatch):
    from void_nuke.ui import clipboard

    put = []
    monkeypatch.setattr(clipboard, "put", put.append)
    press(described, "copy_path")
    assert put == [(tmp_path / "out" / "v001").as_posix()]


@pytest.mark.skipif(sys.platform == "win32" or sys.platform == "darwin", reason="xdg-open is Linux's")
def test_the_folder_of_a_version_is_opened_by_the_system(described, tmp_path, monkeypatch):
    program = tmp_path / "bin" / "xdg-open"
    program.parent.mkdir()
    part = tmp_path / "part"
    program.write_text(f'#!/bin/sh\necho "$1 $LD_LIBRARY_PATH" > {part}\nmv {part} {tmp_path}/opened\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/nukes/own")
    press(described, "reveal_folder")
    wait_for((tmp_path / "opened").is_file)
    assert (tmp_path / "opened").read_text().strip() == (tmp_path / "out" / "v001").as_posix()
    program.unlink()
    monkeypatch.setenv("PATH", str(program.parent))
    press(described, "reveal_folder")
    assert "no program to open folders" in nuke.standin.messages[-1]
    assert state(described) != "failed"


def test_without_a_version_the_buttons_say_so(shot):
    node = void_remove(*shot)
    for button in ("about_version", "restore_settings", "create_reads", "copy_path", "reveal_folder"):
        press(node, button)
        assert "shows no version" in nuke.standin.messages[-1]
        assert state(node) == ""
