"""From a press on Remove to the node's picture: real frames, a real server, the stand-in for Nuke."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import nuke
import numpy as np
import pytest
from driving import (
    ROOT,
    RunningServer,
    picture,
    pixels,
    press,
    read_node,
    rgb,
    state,
    void_quadmask,
    void_remove,
    wait_for,
    wait_until_done,
    wait_until_submitted,
)
from void_nuke.node.node import VoidNode

from void_server.api.shot import PLATE

pytestmark = pytest.mark.slow


def versions(node):
    return Path(nuke.script_directory()) / "void" / "sh010_comp" / node.name()


def matte(image, name):
    return image.channel(f"quadmask.{name}", image.bbox)


def drawn(plate, where):
    """A matte that is white where the expression holds."""
    node = nuke.nodes.Expression(expr3=where)
    node.setInput(0, plate)
    return node


def slow(node):
    """Make the node's job long enough to be met while it runs: the same frames many times over."""
    node["frames"].setValue("custom")
    node["custom_range"].setValue("1001-1012")


# -- the way of a press


@pytest.mark.oldest
def test_press_remove_and_see_the_result(shot, server):
    plate, roto = shot
    node = void_remove(plate, roto, address=server.address)
    assert np.array_equal(rgb(picture(node, 1005)), rgb(picture(plate, 1005)))
    press(node, "remove")
    wait_until_done(node)
    assert node["result"].value() == "v001"
    for frame in (1001, 1006, 1012):
        shown, original = picture(node, frame), picture(plate, frame)
        assert np.array_equal(rgb(shown), pixels(versions(node) / "v001/plate" / f"void_plate.{frame}.exr"))
        blend = shown.channel("void_blend.alpha", shown.bbox)
        assert 0 < (blend > 0).mean() < 0.6
        # not one bit differs where nothing was rewritten, and something does where it was
        assert np.array_equal(rgb(shown)[blend == 0], rgb(original)[blend == 0])
        assert not np.array_equal(rgb(shown)[blend > 0], rgb(original)[blend > 0])
        assert np.array_equal(sum(matte(shown, name) for name in ("remove", "overlap", "affected", "keep")),
                              np.ones_like(blend))  # fmt: skip
        assert "void_scratch.red" not in shown.channels


def test_the_press_returns_at_once_and_progress_is_seen(shot, server):
    node = void_remove(*shot, address=server.address)
    press(node, "remove")
    assert state(node) == "waiting"
    seen = set()
    wait_for(lambda: seen.add((state(node), node["tile_color"].value())) or state(node) == "done")
    assert {"waiting", "done"} <= {one for one, _ in seen}
    assert len({colour for _, colour in seen}) == len({one for one, _ in seen})


def test_outside_the_results_frames_the_plate_passes(shot, server):
    plate, roto = shot
    node = void_remove(plate, roto, address=server.address)
    node["frames"].setValue("custom")
    node["custom_range"].setValue("1003-1006")
    press(node, "remove")
    wait_until_done(node)
    assert not np.array_equal(rgb(picture(node, 1005)), rgb(picture(plate, 1005)))
    assert np.array_equal(rgb(picture(node, 1010)), rgb(picture(plate, 1010)))


def test_views_of_the_node(shot, server):
    plate, roto = shot
    node = void_remove(plate, roto, address=server.address)
    press(node, "remove")
    wait_until_done(node)
    result = rgb(picture(node, 1006))
    shown = {}
    for view in node["view"].values():
        node["view"].setValue(view)
        shown[view] = rgb(picture(node, 1006))
    node["view"].setValue("result")
    assert np.array_equal(shown["plate"], rgb(picture(plate, 1006)))
    assert np.allclose(shown["difference"], np.abs(shown["plate"] - result))
    for name in ("remove", "affected", "keep"):
        assert np.array_equal(shown[name][..., 0], matte(picture(node, 1006), name))
    reddened = shown["quadmask"][..., 0] - shown["plate"][..., 0]
    assert reddened[shown["remove"][..., 0] > 0].mean() > reddened[shown["keep"][..., 0] > 0].mean() + 0.1
    # all that is new has an origin, in colour, and all else is the plate
    tinted = np.abs(shown["origin"] - result).max(axis=-1) > 0
    assert tinted[shown["remove"][..., 0] > 0].mean() > 0.99
    assert np.array_equal(shown["origin"][shown["blend"][..., 0] == 0], shown["plate"][shown["blend"][..., 0] == 0])
    # whatever the viewer shows, a render gets the result
    node["view"].setValue("difference")
    nuke.standin.gui = False
    assert np.array_equal(rgb(picture(node, 1006)), result)


# -- quadmasks


def test_a_generated_quadmask_is_used_by_remove(shot, server):
    node = void_remove(*shot, address=server.address)
    press(node, "generate_quadmask")
    wait_until_done(node)
    mask = picture(node, 1006)
    assert matte(mask, "remove").any()
    assert np.array_equal(rgb(mask), rgb(picture(shot[0], 1006)))
    press(node, "remove")
    wait_until_done(node)
    job = json.loads((versions(node) / "v002" / "job.json").read_text())
    assert job["shot"]["quadmask"].startswith((versions(node) / "v001" / "quadmask").as_posix())


def test_a_generated_quadmask_is_not_used_after_the_roto_changed(shot, server):
    plate, roto = shot
    change = nuke.nodes.Expression()
    change.setInput(0, roto)
    node = void_remove(plate, change, address=server.address)
    press(node, "generate_quadmask")
    wait_until_done(node)
    change["expr3"].setValue("x < 96 ? a : 0")
    press(node, "remove")
    wait_until_done(node)
    assert json.loads((versions(node) / "v002" / "job.json").read_text())["shot"]["quadmask"] is None


def test_a_painted_patch_is_rewritten(shot, server):
    plate, roto = shot
    quadmask = void_quadmask(plate, roto, address=server.address)
    press(quadmask, "generate_quadmask")
    wait_until_done(quadmask)
    # as RotoPaint does: affected becomes 1 in a patch, keep is left as it was
    paint = nuke.nodes.Expression()
    paint.setInput(0, quadmask)
    layer = ["quadmask.remove", "quadmask.overlap", "quadmask.affected", "quadmask.keep"]
    paint["channel0"].fromScript("{-quadmask.remove -quadmask.overlap quadmask.affected -quadmask.keep}")
    paint["expr0"].setValue("x < 20 && y < 20 ? 1 : quadmask.affected")
    for row in (1, 2, 3):
        paint[f"channel{row}"].fromScript("{none none none -rgba.alpha}")
    node = void_remove(plate, roto, paint, address=server.address)
    press(node, "remove")
    wait_until_done(node)
    shown = picture(node, 1006)
    assert matte(shown, "affected")[-20:, :20].all()
    assert (shown.channel("void_blend.alpha", shown.bbox)[-20:, :20] == 1).all()
    assert matte(shown, "remove").any()
    assert set(layer) <= set(shown.channels)


def test_the_quadmask_node_makes_it_for_the_engine_that_will_use_it(shot, server):
    node = void_quadmask(*shot, address=server.address)
    affected = {}
    for engine in ("cleanplate", "void"):
        node["engine"].setValue(engine)
        press(node, "generate_quadmask")
        wait_until_done(node)
        affected[engine] = [(matte(picture(node, frame), "affected") > 0.5) for frame in (1001, 1006)]
    # the model was trained without affected pixels on the first frame, and on whole cells elsewhere
    assert affected["cleanplate"][0].any()
    assert not affected["void"][0].any()
    assert affected["void"][1].sum() > affected["cleanplate"][1].sum() > 0


def test_without_a_roto_the_quadmasks_object_is_removed(shot, server):
    plate, roto = shot
    quadmask = void_quadmask(plate, roto, address=server.address)
    node = void_remove(plate, None, quadmask, address=server.address)
    press(node, "remove")
    wait_until_done(node)
    shown = picture(node, 1006)
    expected = picture(roto, 1006).channel("rgba.alpha", shown.bbox) > 0.5
    assert np.array_equal(matte(shown, "remove") > 0, expected)


def test_quadmask_node_edits_live(shot):
    plate, roto = shot
    node = void_quadmask(plate, roto, drawn(plate, "x >= 100"), drawn(plate, "y >= 54"))
    shown = picture(node, 1006)
    objects = picture(roto, 1006).channel("rgba.alpha", shown.bbox) > 0.5
    y, x = np.mgrid[107:-1:-1, 0:192]
    kept = y >= 54
    assert np.array_equal(matte(shown, "keep") > 0, kept | (~objects & (x < 100)))
    assert np.array_equal(matte(shown, "overlap") > 0, ~kept & objects & (x >= 100))
    assert np.array_equal(matte(shown, "remove") > 0, ~kept & objects & (x < 100))
    assert np.array_equal(matte(shown, "affected") > 0, ~kept & ~objects & (x >= 100))


def test_the_grid_shows_over_the_quadmask(shot):
    from void_server.api.cells import counts

    node = void_quadmask(*shot)
    node["view"].setValue("quadmask")
    before = rgb(picture(node, 1006))
    node["show_grid"].setValue(True)
    lined = (rgb(picture(node, 1006)) != before).any(axis=-1)
    rows, columns = counts(192, 108)
    # where nothing but the other lines cross
    assert (lined.mean(axis=1) > 0.9).sum() == rows
    assert (lined.mean(axis=0) > 0.9).sum() == columns
    node["cell_edits"].setValue("r1c1=affected")
    VoidNode(node).apply_grid()
    ys, xs = np.where(matte(picture(node, 1006), "affected") > 0)
    assert lined[ys.min(), xs.min() :].mean() > 0.9
    assert lined[ys.min() :, xs.min()].mean() > 0.9
    assert not (lined.mean(axis=0) > 0.9)[xs.min() + 1 : xs.max() + 1].any()


def test_the_nodes_edits_are_those_of_void_edit(shot, tmp_path):
    pytest.importorskip("cv2", reason="void_server itself needs OpenCV: node and command were NOT compared")
    from void_server.imaging import exr
    from void_server.imaging.sequence import find
    from void_server.imaging.window import Window
    from void_server.quadmask import classes
    from void_server.quadmask.edits import CellEdit, Edits

    plate, roto = shot
    node = void_quadmask(plate, roto, drawn(plate, "x >= 100"), drawn(plate, "y >= 54 && x < 150"))
    lines = ["r6c0-r7c13=affected", "1001-1004:r0c0=affected", "r7c0-r7c9=keep", "1006:r0c3=affected"]
    node["cell_edits"].setValue("\n".join(lines))
    VoidNode(node).apply_grid()
    shown = picture(node, 1006)

    y, x = np.mgrid[107:-1:-1, 0:192]
    for name, mask in (("add", x >= 100), ("protect", (y >= 54) & (x < 150))):
        exr.write(tmp_path / name / "m.1006.exr", mask.astype(np.float16)[..., None], ("A",))
    files = [find(str(tmp_path / name), name) for name in ("add", "protect")]
    edits = Edits(tuple(map(CellEdit.parse, lines)), *files)
    objects = picture(roto, 1006).channel("rgba.alpha", shown.bbox)
    before = classes.assemble(objects.astype(np.float32), np.zeros(objects.shape, bool))
    codes = edits.apply(before, 1006, Window(0, 0, 192, 108), Window(0, 0, 192, 108))
    for name, code in (("remove", 0), ("overlap", 63), ("affected", 127), ("keep", 255)):
        assert (codes == code).any()
        assert np.array_equal(matte(shown, name) > 0, codes == code), name


def test_grid_cells_toggle(shot):
    node = void_quadmask(*shot)
    node["cell"].setValue([30.0, 20.0])
    press(node, "grid_affected")
    assert node["cell_edits"].getText() == "1001-1012:r6c2=affected"
    y, x = np.mgrid[107:-1:-1, 0:192]
    # 8 rows, and at 16:9 14 columns
    across, down = (x + 0.5) * 14 / 192, (107.5 - y) * 8 / 108
    cell = (across > 2) & (across <= 3) & (down > 6) & (down <= 7)
    shown = picture(node, 1006)
    assert np.array_equal((matte(shown, "affected") + matte(shown, "overlap")) > 0, cell)
    press(node, "grid_keep")
    assert not (matte(picture(node, 1006), "affected")).any()
    press(node, "grid_clear")
    assert node["cell_edits"].getText() == ""
    node["cell_edits"].setValue("1001-1003:r1c1=affected")
    assert matte(picture(node, 1002), "affected").any()
    assert not matte(picture(node, 1004), "affected").any()
    node["cell_edits"].setValue("1001:r1c1=maybe")
    assert "Line 1 of the cell edits" in node["status"].value()


@pytest.mark.oldest
def test_points_stand_for_a_roto(shot, server):
    plate, roto = shot
    node = void_quadmask(plate, None, address=server.address)
    press(node, "generate_quadmask")
    assert "or set points on the object" in node["status"].value()
    # on the figure's jacket, which is where the roto is; Nuke's y goes up
    matte_of_roto = picture(roto, 1006).channel("rgba.alpha", picture(plate, 1006).bbox)
    rows, columns = np.where(matte_of_roto > 0.9)
    middle = np.argsort(rows)[len(rows) // 3]
    nuke.frame(1006)
    node["click"].setValue([float(columns[middle]), float(107 - rows[middle])])
    press(node, "click_on")
    node["click"].setValue([5.0, 100.0])
    press(node, "click_off")
    assert node["clicks"].getText() == f"1006: on {columns[middle]},{107 - rows[middle]}\n1006: off 5,100"
    node["segmenter"].setValue("grabcut")
    press(node, "generate_quadmask")
    wait_until_done(node)
    shown = picture(node, 1006)
    removed = (matte(shown, "remove") + matte(shown, "overlap")) > 0
    # a part of the figure at least, and nothing but it
    assert removed[rows[middle], columns[middle]]
    assert (removed & (matte_of_roto > 0)).sum() > 0.8 * removed.sum()
    press(node, "click_clear")
    assert node["clicks"].getText() == ""
    node["clicks"].setValue("1006: near 5,5")
    press(node, "generate_quadmask")
    assert "Line 1 of the points" in node["status"].value()


def test_a_point_beside_the_frame_is_refused(shot):
    node = void_quadmask(*shot)
    node["click"].setValue([500.0, 5.0])
    press(node, "click_on")
    assert "outside the frame" in nuke.standin.messages[-1]
    assert node["clicks"].getText() == ""


# -- exports


def test_a_plate_and_a_roto_in_the_working_space_are_read_where_they_lie(shot, server):
    plate, roto = shot
    plate["raw"].setValue(True)
    node = void_remove(plate, roto, address=server.address)
    press(node, "remove")
    wait_until_done(node)
    assert nuke.standin.rendered == []
    assert not (versions(node) / "source").exists()
    shown, original = picture(node, 1006), picture(plate, 1006)
    blend = shown.channel("void_blend.alpha", shown.bbox)
    assert blend.any()
    assert np.array_equal(rgb(shown)[blend == 0], rgb(original)[blend == 0])
    described = json.loads((versions(node) / "v001" / "job.json").read_text())
    assert described["shot"]["plate"] == plate["file"].value()
    # and its quadmask is used by the next press, as nothing has changed
    assert VoidNode(node).source_of_shown


def test_unchanged_frames_are_not_exported_again(shot, server):
    plate, roto = shot
    node = void_remove(plate, roto, address=server.address)
    press(node, "remove")
    wait_until_done(node)
    assert len(nuke.standin.rendered) == 12
    node["feather"].setValue(2.0)
    plate.setXYpos(300, 200)
    press(node, "remove")
    wait_until_done(node)
    assert len(nuke.standin.rendered) == 12, "a moved node is no reason to export again"
    grade = nuke.nodes.Expression()
    grade.setInput(0, plate)
    grade["expr0"].setValue("r * 2")
    node.setInput(0, grade)
    press(node, "remove")
    wait_until_done(node)
    assert len(nuke.standin.rendered) == 24
    assert list(node["result"].values()) == ["none", "v001", "v002", "v003"]


def test_a_changed_file_is_exported_again(shot, server, sample, tmp_path):
    copied = tmp_path / "plate"
    copied.mkdir()
    for file in (sample / "plate").iterdir():
        (copied / file.name).write_bytes(file.read_bytes())
    node = void_remove(read_node(copied), shot[1], address=server.address)
    press(node, "remove")
    wait_until_done(node)
    newer = copied / "plate.1006.exr"
    assert newer.is_file()
    os.utime(newer, (time.time() + 5, time.time() + 5))
    press(node, "remove")
    wait_until_done(node)
    assert len(nuke.standin.rendered) == 24


def test_a_longer_range_exports_only_what_is_missing(shot, server):
    node = void_remove(*shot, address=server.address)
    node["frames"].setValue("custom")
    node["custom_range"].setValue("1001-1004")
    press(node, "remove")
    wait_until_done(node)
    node["custom_range"].setValue("1001-1006")
    press(node, "remove")
    wait_until_done(node)
    assert len(nuke.standin.rendered) == 6


def test_nothing_is_left_or_changed_by_an_export(shot, server):
    plate, roto = shot
    node = void_remove(plate, roto, address=server.address)
    nuke.scriptSave()
    inside, undo = len(node.nodes()), len(nuke.standin.undo)
    nuke.root()["proxy"].setValue(True)
    nuke.root().setModified(False)
    press(node, "remove")
    assert len(node.nodes()) == inside
    assert len(nuke.standin.undo) == undo + 1, "the proxy knob that this test set"
    assert nuke.root()["proxy"].value()
    assert not any(one.Class() == "Write" for one in nuke.allNodes(recurseGroups=True))
    wait_until_done(node)


def test_proxy_mode_does_not_shrink_the_export(shot, server):
    nuke.root()["proxy"].setValue(True)
    node = void_remove(*shot, address=server.address)
    press(node, "remove")
    wait_until_done(node)
    assert pixels(versions(node) / "v001/plate/void_plate.1006.exr").shape == (108, 192, 3)


def test_a_plate_that_was_computed_is_exported_in_float(shot, server):
    plate, roto = shot
    grade = nuke.nodes.Expression()
    grade.setInput(0, plate)
    grade["expr0"].setValue("r * 1.0001")
    node = void_remove(grade, roto, address=server.address)
    press(node, "remove")
    wait_until_done(node)
    shown, original = picture(node, 1006), picture(grade, 1006)
    blend = shown.channel("void_blend.alpha", shown.bbox)
    assert np.array_equal(rgb(shown)[blend == 0], rgb(original)[blend == 0])
    exported = pixels(versions(node) / "v001/plate/void_plate.1006.exr")
    assert np.array_equal(exported[blend == 0], rgb(original)[blend == 0])


def test_region_of_interest(shot, server):
    plate, roto = shot
    node = void_remove(plate, roto, address=server.address)
    node["use_roi"].setValue(True)
    node["roi"].setValue([20.0, 0.0, 180.0, 100.0])
    press(node, "remove")
    wait_until_done(node)
    shown = picture(node, 1006)
    assert (shown.bbox.left, shown.bbox.right) == (0, 192)
    assert matte(shown, "keep")[:, :20].all(), "beyond the region all is kept"
    assert np.array_equal(rgb(shown)[:, :20], rgb(picture(plate, 1006))[:, :20])
    assert pixels(versions(node) / "v001/plate/void_plate.1006.exr").shape == (100, 160, 3)


def test_frames_that_nuke_did_not_write_are_named(shot, server, monkeypatch):
    from nuke import _images

    node = void_remove(*shot, address=server.address)
    real = _images.write
    monkeypatch.setattr(_images, "write", lambda write, frame, view: frame == 1007 or real(write, frame, view))
    press(node, "remove")
    assert state(node) == "failed"
    assert "did not write frame 1007 of the plate" in node["status"].value()
    assert nuke.standin.messages[-1] == node["status"].value()
    monkeypatch.setattr(_images, "write", real)
    press(node, "remove")
    wait_until_done(node)


def test_a_stopped_export_leaves_nothing_half_written(shot, server, monkeypatch):
    from nuke import _images

    node = void_remove(*shot, address=server.address)
    real = _images.write

    def cancelled(write, frame, view):
        if frame == 1005:
            raise nuke.CancelledError("cancelled")
        real(write, frame, view)

    monkeypatch.setattr(_images, "write", cancelled)
    press(node, "remove")
    assert "nothing was submitted" in node["status"].value()
    assert not list(versions(node).rglob("*.exr"))
    assert not node["void_jobs"].value()


# -- plates of all kinds


def rewritten_plate(sample, folder, change):
    """The sample's plate and roto with another header."""
    import OpenImageIO as oiio  # noqa: N813

    for part in ("plate", "roto"):
        (folder / part).mkdir(parents=True)
        for file in sorted((sample / part).glob("*.exr")):
            source = oiio.ImageInput.open(str(file))
            spec = oiio.ImageSpec(source.spec())
            data = source.read_image(0, 0, 0, spec.nchannels, "half")
            source.close()
            number = change(spec, int(file.name.split(".")[1]))
            output = oiio.ImageOutput.create("x.exr")
            assert output.open(str(folder / part / f"{part}.{number:04d}.exr"), spec)
            assert output.write_image(data)
            output.close()
    return folder


def test_anamorphic_plate(sample, plugin, server, tmp_path):
    def squeeze(spec, frame):
        spec.attribute("PixelAspectRatio", 2.0)
        return frame

    folder = rewritten_plate(sample, tmp_path / "ana", squeeze)
    node = void_remove(read_node(folder / "plate"), read_node(folder / "roto"), address=server.address)
    press(node, "remove")
    wait_until_done(node)
    assert node.pixelAspect() == 2.0
    assert node.node("ResultPlate").pixelAspect() == 2.0


def test_overscan(sample, plugin, server, tmp_path):
    def overscan(spec, frame):
        spec.x, spec.y, spec.full_x, spec.full_y = 0, 0, 16, 8
        spec.full_width, spec.full_height = spec.width - 32, spec.height - 16
        return frame

    folder = rewritten_plate(sample, tmp_path / "over", overscan)
    plate = read_node(folder / "plate")
    node = void_remove(plate, read_node(folder / "roto"), address=server.address)
    press(node, "remove")
    wait_until_done(node)
    box = picture(node, 1006).bbox
    assert (box.left, box.bottom, box.right, box.top) == (-16, -8, 176, 100)
    blend = picture(node, 1006).channel("void_blend.alpha", box)
    assert blend.any()
    assert np.array_equal(rgb(picture(node, 1006))[blend == 0], rgb(picture(plate, 1006))[blend == 0])


def test_frames_997_to_1003(sample, plugin, server, tmp_path):
    def renumber(spec, frame):
        return frame - 4

    folder = rewritten_plate(sample, tmp_path / "range", renumber)
    plate = read_node(folder / "plate", (997, 1008))
    node = void_remove(plate, read_node(folder / "roto", (997, 1008)), address=server.address)
    node["frames"].setValue("custom")
    node["custom_range"].setValue("997-1003")
    press(node, "remove")
    wait_until_done(node)
    for frame in (997, 1000, 1003):
        assert not np.array_equal(rgb(picture(node, frame)), rgb(picture(plate, frame)))


@pytest.mark.oldest
def test_stereo_script(sample, plugin, server, tmp_path):
    nuke.standin.views = ["left", "right"]
    for view in nuke.views():
        for part in ("plate", "roto"):
            folder = tmp_path / "stereo" / part / view
            folder.mkdir(parents=True)
            for file in (sample / part).glob("*.exr"):
                (folder / file.name).write_bytes(file.read_bytes())
    reads = []
    for part in ("plate", "roto"):
        read = nuke.nodes.Read()
        stem = next((sample / part).glob("*.exr")).name.split(".")[0]
        read["file"].fromUserText(f"{tmp_path.as_posix()}/stereo/{part}/%V/{stem}.%04d.exr 1001-1012")
        reads.append(read)
    node = void_remove(*reads, address=server.address)
    press(node, "remove")
    wait_until_done(node)
    assert node["result"].value() == "v001"
    assert "%V" in node.node("ResultPlate")["file"].value()
    from nuke import _images

    for view in ("left", "right"):
        shown = _images.evaluate(node, 1006, view)
        assert (shown.channel("void_blend.alpha", shown.bbox) > 0).any()
    node["result"].setValue("none")
    node["result"].setValue("v001")
    assert node["void_has_plate"].value() == 1


# -- what goes wrong


def test_untitled_script_is_refused_with_what_to_do(shot, server):
    nuke.root()._knobs["name"]._value = ""
    node = void_remove(*shot, address=server.address)
    press(node, "remove")
    assert "save it first" in node["status"].value()
    assert not nuke.standin.rendered
    node["output_folder"].setValue(nuke.standin.tmp_path.as_posix() + "/elsewhere")
    press(node, "remove")
    wait_until_done(node)
    assert (nuke.standin.tmp_path / "elsewhere" / "v001" / "job.json").is_file()


def test_an_output_folder_that_nuke_would_evaluate(plugin, server, sample, tmp_path):
    (tmp_path / "a [show] for $5").mkdir()
    nuke.scriptSaveAs((tmp_path / "a [show] for $5" / "sh_v001.nk").as_posix())
    node = void_remove(read_node(sample / "plate"), read_node(sample / "roto"), address=server.address)
    press(node, "remove")
    assert "Nuke would evaluate in a file name (left square bracket)" in node["status"].value()
    node["output_folder"].setValue((tmp_path / "plain").as_posix())
    press(node, "remove")
    wait_until_done(node)


def test_server_that_does_not_answer(shot):
    node = void_remove(*shot, address="tcp://127.0.0.1:9")
    press(node, "remove")
    assert "No VOID server answers at tcp://127.0.0.1:9" in node["status"].value()
    assert state(node) == "failed"
    assert not nuke.standin.rendered, "nothing is exported in vain"
    assert np.array_equal(rgb(picture(node, 1005)), rgb(picture(shot[0], 1005)))


def test_inputs_that_are_missing(shot, server):
    node = void_remove(None, None, address=server.address)
    press(node, "remove")
    assert "connect a plate" in node["status"].value()
    node.setInput(0, shot[0])
    press(node, "remove")
    assert "connect a roto" in node["status"].value()


def test_settings_of_the_engine_void_reach_the_server(shot, server):
    from void_nuke.job import prepare
    from void_nuke.node.node import VoidNode

    node = void_remove(*shot, address=server.address)
    for name, value in (("engine", "void"), ("steps", 12), ("guidance", 3.0), ("second_pass", True), ("memory", "low")):
        node[name].setValue(value)
    made = prepare.shot_settings(VoidNode(node), PLATE)
    assert made.engine == "void"
    expected = {"steps": 12, "guidance": 3.0, "second_pass": True, "memory": "low", "working_height": 384}
    assert expected.items() <= made.engine_settings.items()
    press(node, "remove")
    wait_for(lambda: state(node) == "failed")
    # this server has neither the weights nor, maybe, what runs them
    assert "VOID" in node["status"].value()
    node["steps"].setValue(-1)
    press(node, "remove")
    assert "steps is -1" in node["status"].value()
    # they are no business of another engine, which would refuse them
    node["engine"].setValue("cleanplate")
    assert prepare.shot_settings(VoidNode(node), PLATE).engine_settings == {}
    press(node, "remove")
    wait_until_done(node)


@pytest.fixture
def studio_server(tmp_path, own_home, monkeypatch):
    """A server with the engines of docs/engines.md, which have a package of their own."""
    guide = (ROOT / "docs" / "engines.md").read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", guide, re.DOTALL))
    points = re.findall(r'^(\w+) = "(studio_engines:.*?)"', guide, re.MULTILINE)
    package = tmp_path / "package"
    info = package / "studio_engines-1.0.dist-info"
    info.mkdir(parents=True)
    (package / "studio_engines.py").write_text(code)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: studio-engines\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join(["[void_server.engines]", *map(" = ".join, points)]))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(package), os.environ.get("PYTHONPATH")))))
    running = RunningServer(tmp_path.parent).start()
    yield running
    running.stop()


def test_settings_of_a_servers_own_engine_get_knobs_and_reach_the_manifest(shot, studio_server, tmp_path):
    node = void_remove(*shot, address=studio_server.address)
    press(node, "remove")
    wait_until_done(node)
    assert "lifted" in node["engine"].values()
    lift = node["lift"]
    assert (lift.Class(), lift.value(), lift.tooltip()) == (
        "Double_Knob",
        0.0,
        "lifted: For hidden parts that lie darker.",
    )
    count = len(node.knobs())
    node["engine"].setValue("lifted")
    lift.setValue(2.0)
    press(node, "remove")
    assert "lift is 2; give a number from -1 to 1" in node["status"].value()
    lift.setValue(0.25)
    press(node, "remove")
    wait_until_done(node)
    assert len(node.knobs()) == count, "each once"
    manifest = json.loads((Path(node["void_folder"].value()) / "job.json").read_text())
    assert manifest["settings"]["lift"] == 0.25
    assert manifest["settings"]["engine"] == "lifted"


def test_the_pulldowns_offer_what_the_server_has(shot, server):
    node = void_remove(*shot, address=server.address)
    node["engine"].setValues(["cleanplate", "of yesterday"])
    press(node, "remove")
    assert node["engine"].values() == ["cleanplate", "void"]
    assert node["engine"].value() == "cleanplate"
    wait_until_done(node)
    node["engine"].setValues(["cleanplate", "of yesterday"])
    node["engine"].setValue("of yesterday")
    press(node, "remove")
    assert "the server has no method 'of yesterday'; it has cleanplate, void" in node["status"].value()


def test_ranges_that_are_wrong(shot, server):
    node = void_remove(*shot, address=server.address)
    node["frames"].setValue("custom")
    for text in ("", "ten", "1001-"):
        node["custom_range"].setValue(text)
        press(node, "remove")
        assert "is not like 1001-1040" in node["status"].value()
    node["custom_range"].setValue("1001-1020")
    press(node, "remove")
    wait_for(lambda: state(node) == "done" or state(node) == "failed")


def test_output_folder_that_cannot_be_written(shot, server, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    node = void_remove(*shot, address=server.address)
    node["output_folder"].setValue((tmp_path / "file" / "deeper").as_posix())
    press(node, "remove")
    assert state(node) == "failed"
    assert "cannot be written" in node["status"].value() or "could not write" in node["status"].value()


@pytest.mark.oldest
def test_full_disk_while_the_server_writes(shot, tmp_path):
    """The server's own check of the disk says that it is full, in a server that believes it."""
    full = RunningServer(tmp_path)
    probe = "import shutil, types; shutil.disk_usage = lambda path: types.SimpleNamespace(total=9, used=9, free=0)"
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(probe)
    os.environ["PYTHONPATH"] = str(tmp_path / "site")
    try:
        full.start()
    finally:
        del os.environ["PYTHONPATH"]
    node = void_remove(*shot, address=full.address)
    press(node, "remove")
    wait_for(lambda: state(node) == "failed")
    assert "full" in node["status"].value() or "free" in node["status"].value()
    full.stop()
    assert np.array_equal(rgb(picture(node, 1005)), rgb(picture(shot[0], 1005)))


def test_a_second_press_is_refused_while_the_first_is_at_work(shot, server):
    node = void_remove(*shot, address=server.address)
    press(node, "remove")
    press(node, "remove")
    assert "already running" in nuke.standin.messages[-1]
    wait_until_done(node)


def test_nuke_editions_that_cannot_do_it(shot, server, monkeypatch):
    monkeypatch.setitem(nuke.env, "indie", True)
    node = void_remove(*shot, address=server.address)
    press(node, "remove")
    assert "Nuke Indie" in node["status"].value()


# -- jobs that are stopped, lost and found


@pytest.mark.oldest
def test_stop_and_resume(shot, server):
    node = void_remove(*shot, address=server.address)
    for _ in range(5):
        press(node, "remove")
        wait_until_submitted(node)
        press(node, "stop")
        wait_for(lambda: state(node) in ("stopped", "done"))
        if state(node) == "stopped":
            break
        # done before it could be stopped
    assert state(node) == "stopped"
    versions_before = len(node["result"].values())
    press(node, "resume")
    wait_until_done(node)
    assert len(node["result"].values()) == versions_before + 1


def test_stop_and_resume_without_a_job_leave_the_node_as_it_is(shot, server):
    node = void_remove(*shot, address=server.address)
    press(node, "remove")
    wait_until_done(node)
    for button, words in (("stop", "no job to stop"), ("resume", "no stopped job")):
        press(node, button)
        assert words in nuke.standin.messages[-1]
        assert state(node) == "done"


def test_two_nodes_at_once(shot, server):
    one, other = (void_remove(*shot, address=server.address) for _ in range(2))
    assert one["void_id"].value() != other["void_id"].value()
    press(one, "remove")
    press(other, "remove")
    wait_until_done(one)
    wait_until_done(other)
    assert one.node("ResultPlate")["file"].value() != other.node("ResultPlate")["file"].value()


def test_script_closed_and_opened_during_the_job(shot, server):
    node = void_remove(*shot, address=server.address)
    name = node.name()
    press(node, "remove")
    wait_until_submitted(node)
    nuke.scriptSave()
    script = nuke.scriptName()
    nuke.scriptClear()
    nuke.scriptOpen(script)
    node = nuke.toNode(name)
    wait_until_done(node)
    assert (picture(node, 1006).channel("void_blend.alpha", picture(node, 1006).bbox) > 0).any()


def test_a_script_closed_before_the_job_was_submitted(shot, server):
    node = void_remove(*shot, address=server.address)
    node["void_state"].setValue("waiting submitting")
    nuke.scriptSave()
    nuke.scriptOpen(nuke.scriptName())
    node = nuke.toNode(node._knobs["name"]._value)
    assert "start it again" in node["status"].value()
    assert state(node) == ""


@pytest.mark.oldest
def test_nuke_closed_until_the_job_is_over(shot, own_server):
    from void_server.api import Client

    node = void_remove(*shot, address=own_server.address)
    name = node.name()
    press(node, "remove")
    wait_until_submitted(node)
    nuke.scriptSave()
    script = nuke.scriptName()
    nuke.scriptClear()
    with Client(own_server.address) as client:
        job = client.jobs()[0]
        *_, last = client.watch(job.id)
    assert last.state.value == "done"
    nuke.scriptOpen(script)
    wait_until_done(nuke.toNode(name))


@pytest.mark.oldest
def test_server_killed_and_started_again_during_the_job(shot, own_server):
    node = void_remove(*shot, address=own_server.address)
    press(node, "remove")
    wait_for(lambda: state(node) in ("running", "done"))
    own_server.kill()
    wait_for(lambda: "does not answer" in node["status"].value() or state(node) == "done")
    own_server.start()
    wait_until_done(node)


@pytest.mark.oldest
def test_frames_travel_to_a_server_without_our_disks(shot, tmp_path):
    remote = RunningServer().start()
    try:
        node = void_remove(*shot, address=remote.address)
        node["transfer"].setValue("upload")
        press(node, "remove")
        wait_until_done(node)
        assert (versions(node) / "v001" / "job.json").is_file()
        assert (picture(node, 1006).channel("void_blend.alpha", picture(node, 1006).bbox) > 0).any()
        press(node, "generate_quadmask")
        wait_until_done(node)
        press(node, "remove")
        wait_until_done(node)
    finally:
        remote.stop()


def test_an_analysis_travels_with_the_frames_and_becomes_the_quadmask(shot, tmp_path):
    analysis = tmp_path / "analysis of mine.json"
    analysis.write_text('{"objects": [{"name": "painting", "cells": [[1, 2]]}], "grid": [8, 14]}')
    remote = RunningServer().start()
    try:
        node = void_remove(*shot, address=remote.address)
        node["transfer"].setValue("upload")
        node["reasoner"].setValues([*node["reasoner"].values(), "file"])
        node["reasoner"].setValue("file")
        node["analysis"].setValue(str(analysis))
        press(node, "generate_quadmask")
        wait_until_done(node)
        affected = matte(picture(node, 1006), "affected") > 0.5
        # the cell in row 1 and column 2, of a plate of 192 x 108
        assert affected[15:26, 29:40].all()
        assert affected.mean() < 0.05
        node["reasoner"].setValue("image")
        press(node, "generate_quadmask")
        wait_for(lambda: "Only the reasoner file reads the analysis" in node["status"].value())
    finally:
        remote.stop()


@pytest.fixture
def local(tmp_path):
    """The address of a server on this machine that the plugin has to start, and the processes that it has started."""
    import socket

    from driving import PYTHON
    from void_nuke.job import local_server, session
    from void_nuke.studio import settings

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    values = {"server": address, "void_command": [PYTHON, "-c", "from void_server.cli import main; main()"]}
    settings.save_user({**values, "server_options": ["--workers", "2"], "local_roots": [str(tmp_path)]})
    yield address, local_server._started
    session.forget_all()
    end(local_server._started, address)


def end(started, address):
    """End the server, as it does by itself after an idle hour."""
    process = started.pop(address, None)
    if process:
        process.terminate()
        process.wait(timeout=60)


def test_a_server_on_this_machine_starts_by_itself_and_outlives_nuke(shot, local):
    from void_nuke.job import session

    from void_server.api import Client

    address, _ = local
    node = void_remove(*shot)
    press(node, "remove")
    wait_until_done(node)
    session.forget_all()
    with Client(address) as client:
        pid = client.hello().pid
    # it is nobody's child: Nuke may go, the server stays
    assert os.getsid(pid) != os.getsid(0)


@pytest.mark.parametrize("how", ["resume", "open"])
def test_a_server_on_this_machine_that_ended_is_started_again_for_a_job(shot, local, how):
    from void_nuke.job import session
    from void_nuke.node.ticket import Ticket

    from void_server.api import Client

    address, started = local
    node = void_remove(*shot)
    name = node.name()
    press(node, "remove")
    wait_until_done(node)
    with Client(address) as client:
        job = client.jobs()[0].id
    # as the script was while the job ran
    node["result"].setValue("none")
    node["void_jobs"].setValue(Ticket(job, address, "", versions(node).as_posix(), False).text)
    nuke.scriptSave()
    session.forget_all()
    end(started, address)
    if how == "resume":
        press(node, "resume")
    else:
        nuke.scriptClear()
        nuke.scriptOpen(nuke.standin.tmp_path.as_posix() + "/shots/sh010_comp_v003.nk")
        node = nuke.toNode(name)
    wait_until_done(node)
    assert node["result"].value() == "v001"
    assert started[address].poll() is None


# -- nodes that are copied, deleted, undone, versions


def test_a_copy_has_its_own_id_and_keeps_the_result(shot, server):
    node = void_remove(*shot, address=server.address)
    press(node, "remove")
    wait_until_done(node)
    node.selectOnly()
    nuke.nodeCopy("%clipboard%")
    copy = nuke.nodePaste("%clipboard%")
    assert copy["void_id"].value() != node["void_id"].value()
    assert copy["result"].value() == "v001"
    copy.setInput(0, shot[0])
    assert np.array_equal(rgb(picture(copy, 1006)), rgb(picture(node, 1006)))


def test_a_copy_made_during_a_job_does_not_take_it_over(shot, server):
    node = void_remove(*shot, address=server.address)
    press(node, "remove")
    wait_until_submitted(node)
    node.selectOnly()
    nuke.nodeCopy("%clipboard%")
    copy = nuke.nodePaste("%clipboard%")
    assert not copy["void_jobs"].value()
    shown = copy["result"].value()
    wait_until_done(node)
    assert copy["result"].value() == shown, "the original's result goes to the original alone"


def test_a_node_deleted_during_its_job_harms_nothing(shot, server):
    node, other = (void_remove(*shot, address=server.address) for _ in range(2))
    press(node, "remove")
    nuke.delete(node)
    press(other, "remove")
    wait_until_done(other)


def test_deleting_and_undoing_brings_the_node_back_as_it_was(shot, server):
    node = void_remove(*shot, address=server.address)
    press(node, "remove")
    wait_until_done(node)
    identity = node["void_id"].value()
    nuke.delete(node)
    nuke.undo()
    assert node["void_id"].value() == identity
    assert node["result"].value() == "v001"


def test_a_result_is_one_step_of_undo(shot, server):
    node = void_remove(*shot, address=server.address)
    before = len(nuke.standin.undo)
    press(node, "remove")
    wait_until_done(node)
    assert len(nuke.standin.undo) == before + 1
    nuke.undo()
    assert node["result"].value() == "none"
    assert np.array_equal(rgb(picture(node, 1006)), rgb(picture(shot[0], 1006)))


def test_earlier_versions_stay_and_can_be_picked(shot, server):
    node = void_remove(*shot, address=server.address)
    press(node, "remove")
    wait_until_done(node)
    first = rgb(picture(node, 1006))
    node["feather"].setValue(0.0)
    press(node, "remove")
    wait_until_done(node)
    second = rgb(picture(node, 1006))
    assert not np.array_equal(first, second)
    node["result"].setValue("v001")
    assert np.array_equal(rgb(picture(node, 1006)), first)
    node["result"].setValue("none")
    assert np.array_equal(rgb(picture(node, 1006)), rgb(picture(shot[0], 1006)))
    nuke.scriptSave()
    nuke.scriptOpen(nuke.scriptName())
    node = nuke.toNode("VOID_Remove1")
    node["result"].setValue("v002")
    assert np.array_equal(rgb(picture(node, 1006)), second)


# -- without a window


@pytest.mark.oldest
def test_in_a_terminal_the_press_waits_for_the_result(terminal, server, sample, capsys):
    node = void_remove(read_node(sample / "plate"), read_node(sample / "roto"), address=server.address)
    press(node, "remove")
    assert state(node) == "done"
    assert "Done: v001" in capsys.readouterr().out


def test_in_a_terminal_errors_are_raised(terminal, sample):
    from void_server.api.errors import ServerUnreachable

    node = void_remove(read_node(sample / "plate"), read_node(sample / "roto"), address="tcp://127.0.0.1:9")
    with pytest.raises(ServerUnreachable):
        press(node, "remove")


@pytest.mark.oldest
def test_batch(terminal, server, sample, monkeypatch, capsys):
    import sys

    from void_nuke import batch

    node = void_remove(read_node(sample / "plate"), read_node(sample / "roto"), address=server.address)
    nuke.scriptSave()
    script = nuke.scriptName()
    arguments = ["batch.py", f"--script={script}", f"--node={node.name()}", "--frames=1003-1006", "--save"]
    monkeypatch.setattr(sys, "argv", arguments)
    assert batch.main() == 0
    assert "v001" in capsys.readouterr().out
    nuke.scriptOpen(script)
    assert nuke.toNode("VOID_Remove1")["result"].value() == "v001"
    monkeypatch.setattr(sys, "argv", [*arguments[:2], "--node=Blur1"])
    assert batch.main() == 2
    assert "no VOID node named Blur1" in capsys.readouterr().err
