"""The patch in the node: over the live plate, with knobs for its edge and its strength, and as a picture of its own."""

from __future__ import annotations

import json

import nuke
import numpy as np
import pytest
from driving import picture, pixels, press, read_node, rendered, rgb, show_version, void_remove, write_exr
from void_nuke import startup
from void_nuke.job import export
from void_nuke.job.stamps import Stamps
from void_nuke.node import knobs as k
from void_nuke.node.node import VoidNode
from void_nuke.node.versions import result_in

FRAME = 1006
NEW = 5.0
#: What the removal affects: beside the object in the sample's frame, and at its lower edge.
ROWS, COLUMNS = slice(60, 108), slice(110, 190)
#: From the patch's edge down the middle of that.
DOWN = slice(59, 108), 150, 0
ODD = (np.nan, np.inf, -np.inf, -0.0, 60000.0, -3.0, 1e-40)


@pytest.fixture
def shot(plugin, sample, tmp_path):
    """A plate in whole floats, with all that a float can be in its top rows, and the roto."""
    plate = pixels(sample / "plate" / f"plate.{FRAME}.exr").astype(np.float32)
    plate[:20, : 2 * len(ODD)] = np.repeat(np.array(ODD, np.float32), 2)[None, :, None]
    write_exr(tmp_path / "plate" / f"p.{FRAME}.exr", plate, ("R", "G", "B"), "float")
    return read_node(tmp_path / "plate", (FRAME, FRAME)), read_node(sample / "roto")


@pytest.fixture
def node(shot, tmp_path):
    """A node that shows a version: object and what it affects in one bright colour, with a soft edge around."""
    folder = tmp_path / "out" / "v001"
    node = void_remove(*shot)
    plate, matte = live(node.input(0)), alpha(node.input(1))
    affected = np.zeros_like(matte, bool)
    affected[ROWS, COLUMNS] = True
    remove = (matte > 0.5) & ~affected
    blend = ((matte > 0.02) | affected).astype(np.float32)
    edge = np.pad(blend, 1)
    edge = np.max([edge[1:-1, :-2], edge[1:-1, 2:], edge[:-2, 1:-1], edge[2:, 1:-1]], axis=0)
    blend = np.maximum(blend, 0.5 * edge)
    new, beyond = np.full_like(plate, NEW), blend == 0
    patch = np.dstack([new * blend[..., None], blend])
    result = np.where(beyond[..., None], plate, patch[..., :3] + np.nan_to_num(plate) * (1 - blend[..., None]))
    mattes = np.dstack([remove, 0 * blend, affected & ~remove, ~(remove | affected), blend]).astype(np.float32)
    write_exr(folder / "plate" / f"void_plate.{FRAME}.exr", result, ("R", "G", "B"), "float")
    write_exr(folder / "patch" / f"void_patch.{FRAME}.exr", patch, ("R", "G", "B", "A"), "float")
    write_exr(
        folder / "mattes" / f"void_mattes.{FRAME}.exr", mattes, (*(f"quadmask.{c}" for c in k.CLASSES), "void_blend.A")
    )
    (folder / "job.json").write_text(json.dumps({"frames": [FRAME], "shot": {"settings": {"until": "plate"}}}))
    show_version(node, folder)
    return node


def live(node):
    """The colours that a node shows."""
    return rgb(picture(node, FRAME))


def alpha(node):
    shown = picture(node, FRAME)
    return shown.channel("rgba.alpha", shown.bbox)


def blend_of(node):
    shown = picture(node, FRAME)
    return shown.channel("void_blend.alpha", shown.bbox)


def bits(colours):
    return np.ascontiguousarray(colours, np.float32).view(np.uint32)


def same_bits_beyond(node, plate, shown):
    """Whether the live plate is untouched, bit for bit, wherever the job has no new pixels."""
    beyond = blend_of(node) == 0
    assert 0.3 < beyond.mean() < 0.9
    return np.array_equal(bits(shown)[beyond], bits(plate)[beyond])


SETTINGS = [(0.0, 1.0), (1.0, 1.0), (7.0, 1.0), (40.0, 1.0), (0.0, 0.5), (9.0, 0.25), (0.0, 0.0), (5.0, 7.0)]


@pytest.mark.parametrize(("feather", "mix"), SETTINGS)
def test_beyond_the_patch_the_plate_is_untouched_to_the_bit(node, feather, mix):
    node["patch_feather"].setValue(feather)
    node["patch_mix"].setValue(mix)
    assert same_bits_beyond(node, live(node.input(0)), live(node))


def test_the_untouched_plate_is_the_live_one(node):
    grade = doubled(node.input(0))
    node.setInput(0, grade)
    node["patch_feather"].setValue(6.0)
    assert same_bits_beyond(node, live(grade), live(node))


def test_by_default_the_node_shows_what_was_delivered_to_the_bit(node, tmp_path):
    delivered = pixels(tmp_path / "out" / "v001" / "plate" / f"void_plate.{FRAME}.exr")
    assert np.array_equal(bits(live(node)), bits(delivered))
    # without a look at the patch
    (tmp_path / "out" / "v001" / "patch" / f"void_patch.{FRAME}.exr").unlink()
    nuke.toNode(f"{node.name()}.ResultPatch")["on_error"].setValue("black")
    assert np.array_equal(bits(live(node)), bits(delivered))


def test_mix_lays_less_of_the_patch_over_the_plate(node):
    plate, whole = live(node.input(0)), live(node)
    inside = blend_of(node) > 0
    for mix in (0.25, 0.75):
        node["patch_mix"].setValue(mix)
        assert np.allclose(live(node)[inside], ((1 - mix) * plate + mix * whole)[inside], rtol=1e-5)
    node["patch_mix"].setValue(0.0)
    assert np.array_equal(bits(live(node)), bits(plate))


@pytest.mark.parametrize("feather", [2.0, 8.0, 16.0])
def test_feather_moves_the_edge_inwards_over_what_was_affected(node, feather):
    # down the affected box, far from the object; the frame's own edge below is no edge of the patch
    plate, whole = (live(one)[DOWN] for one in (node.input(0), node))
    node["patch_feather"].setValue(feather)
    column = (live(node)[DOWN] - plate) / (whole - plate)
    assert column[0] < 0.3
    assert (np.diff(column) >= -1e-6).all()
    assert np.isclose(column[int(1.5 * feather) + 2 :], 1, atol=1e-3).all()


@pytest.mark.parametrize("feather", [1.0, 8.0, 30.0])
def test_nothing_of_the_object_shows_however_soft_the_edge(node, feather):
    """Down to the faintest edge of its roto, which motion blur makes wide."""
    whole, of_object = live(node), alpha(node.input(1)) > 0.02
    assert of_object.sum() > 100
    assert ((alpha(node.input(1)) > 0.02) & (alpha(node.input(1)) < 0.5)).any()
    node["patch_feather"].setValue(feather)
    assert np.array_equal(live(node)[of_object], whole[of_object])


def test_a_soft_edge_leaves_the_bounding_box_of_the_plate(node):
    before = picture(node, FRAME).bbox
    node["patch_feather"].setValue(20.0)
    assert picture(node, FRAME).bbox == before == picture(node.input(0), FRAME).bbox


def test_a_render_gets_the_live_patch(node, tmp_path):
    node["patch_feather"].setValue(8.0)
    node["patch_mix"].setValue(0.5)
    shown = live(node)
    node["view"].setValue("patch")
    assert np.array_equal(bits(rendered(node, tmp_path / "render.exr", (FRAME,))), bits(shown))


def test_the_live_knobs_count_as_a_change_of_the_plate_below(node, shot):
    below = VoidNode(void_remove(node, shot[1]))
    seen = set()
    for feather, mix in ((0.0, 1.0), (4.0, 1.0), (4.0, 0.5)):
        node["patch_feather"].setValue(feather)
        node["patch_mix"].setValue(mix)
        seen.add(export.source_of([export.look(below, "main")], Stamps()))
    assert len(seen) == 3
    node["wipe"].setValue(0.1)
    node["view"].setValue("wipe")
    assert export.source_of([export.look(below, "main")], Stamps()) in seen


def test_live_knobs_do_not_go_with_a_job(node):
    """They are no settings: a version says nothing of them, and needs no new one for them."""
    assert "patch_feather" not in node["void_declared"].getText()
    assert result_in(VoidNode(node).shown.folder) == VoidNode(node).shown


# -- the patch as a picture of its own


def doubled(node):
    """A grade of a stop."""
    grade = nuke.nodes.Expression()
    grade.setInput(0, node)
    for index, channel in enumerate("rgb"):
        grade[f"expr{index}"].setValue(f"2*{channel}")
    grade["expr3"].setValue("a")
    return grade


def test_a_grade_goes_on_the_patch_and_on_the_plate_alike(node):
    for one in nuke.allNodes():
        one.setSelected(one is node)
    nuke.menu("Nodes").findItem("VOID").findItem("VOID Patch").invoke()
    patch, over = nuke.toNode("VOID_patch"), nuke.toNode("VOID_over")
    inside, whole = blend_of(node) > 0, live(node)
    assert np.allclose(live(over)[inside], whole[inside], rtol=1e-5)
    plate = doubled(node.input(0))
    over.setInput(0, plate)
    over.setInput(1, doubled(patch))
    assert np.allclose(live(over)[inside], 2 * whole[inside], rtol=1e-5)
    finite = np.isfinite(live(plate)).all(-1) & ~inside
    assert np.array_equal(live(over)[finite], live(plate)[finite])
    # as the knobs of the node leave it
    node["patch_mix"].setValue(0.5)
    assert np.allclose(alpha(patch), 0.5 * blend_of(node))


def test_the_patch_is_taken_from_a_void_remove_only(shot):
    for one in nuke.allNodes():
        one.setSelected(one is shot[0])
    before = len(nuke.allNodes())
    startup.lay_patch_out()
    assert nuke.standin.messages[-1] == "Select a VOID Remove first."
    assert len(nuke.allNodes()) == before


# -- before and after


def test_one_press_puts_plate_and_result_side_by_side_in_the_viewer_only(node, tmp_path):
    plate, whole = live(node.input(0)), live(node)
    press(node, "before_after")
    assert node["view"].value() == "wipe"
    node["wipe"].setValue(0.75)
    shown = live(node)
    assert np.array_equal(bits(shown[:, :144]), bits(plate[:, :144]))
    assert np.array_equal(bits(shown[:, 144:]), bits(whole[:, 144:]))
    assert np.array_equal(bits(rendered(node, tmp_path / "render.exr", (FRAME,))), bits(whole))
    press(node, "before_after")
    assert node["view"].value() == "result"
