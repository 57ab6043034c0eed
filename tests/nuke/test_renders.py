"""What a render gets, and what nothing may change while it runs. In a session with a window, as artists render."""

from __future__ import annotations

from pathlib import Path

import nuke
import numpy as np
import OpenImageIO as oiio  # noqa: N813
import pytest
from driving import (
    finished_version,
    picture,
    pixels,
    rendered,
    rgb,
    show_version,
    state,
    void_quadmask,
    void_remove,
    wait_for,
)
from void_nuke.job import export, session
from void_nuke.job.monitor import Update
from void_nuke.job.stamps import Stamps
from void_nuke.node.node import VoidNode
from void_nuke.node.ticket import Ticket

from void_server.api.errors import JobFailed
from void_server.api.job import Job, JobState
from void_server.api.shot import Shot


@pytest.fixture
def node(shot, sample, tmp_path):
    """A node that shows a version."""
    node = void_remove(*shot)
    show_version(node, finished_version(tmp_path / "out" / "v001", sample))
    return node


def written(node, out, frames=(1006,)):
    """Export what a node's job needs; the plan of it."""
    void = VoidNode(node)
    planned = export.plan(void, out, list(frames), "main", Stamps())
    export.write(void, planned.patterns, list(frames), "main", depth=planned.plate.depth)
    return planned


# -- what a render gets


def test_a_local_render_gets_the_result_whatever_is_viewed(node, tmp_path):
    assert nuke.GUI
    result = rgb(picture(node, 1006))
    node["view"].setValue("difference")
    assert not np.array_equal(rgb(picture(node, 1006)), result), "the viewer follows the knob"
    assert np.array_equal(rendered(node, tmp_path / "render.exr"), result)


def test_a_local_render_gets_the_plate_of_a_quadmask_node_whatever_is_viewed(shot, tmp_path):
    node = void_quadmask(*shot)
    node["view"].setValue("quadmask")
    assert np.array_equal(rendered(node, tmp_path / "render.exr"), rgb(picture(shot[0], 1006)))


def test_an_export_through_a_node_of_ours_gets_its_result_whatever_is_viewed(node, shot, tmp_path):
    result = rgb(picture(node, 1006))
    node["view"].setValue("difference")
    planned = written(void_remove(node, shot[1]), tmp_path / "next")
    assert np.array_equal(pixels(planned.plate.pattern % 1006), result)


def test_plate_roto_and_quadmask_are_one_render(shot, tmp_path):
    node = void_remove(*shot, shot[0])
    planned = written(node, tmp_path / "out", (1001, 1002))
    assert set(planned.patterns) == {"plate", "roto", "quadmask"}
    assert nuke.standin.renders == 1
    # a frame that only one of them lacks is written for that one alone
    Path(planned.roto.pattern % 1002).unlink()
    nuke.standin.rendered.clear()
    written(node, tmp_path / "out", (1001, 1002))
    assert nuke.standin.rendered == [("alpha", 1002, "main")]


DEFAULTS = {
    "Write.use_limit": "true",
    "Write.reading": "true",
    "Write.beforeRender": "studio_check()",
    "Write.exr.compression": "none",
    "Write.exr.autocrop": "true",
    "Crop.reformat": "true",
}


def test_what_a_studio_has_set_for_its_writes_does_not_leak_into_an_export(shot, tmp_path, monkeypatch):
    for name, value in DEFAULTS.items():
        nuke.knobDefault(name, value)
    seen = []
    real = nuke.executeMultiple

    def looked(nodes, *rest):
        seen.extend((node["beforeRender"].value(), node["autocrop"].value()) for node in nodes)
        real(nodes, *rest)

    monkeypatch.setattr(nuke, "executeMultiple", looked)
    node = void_remove(*shot)
    node["use_roi"].setValue(True)
    node["roi"].setValue([20.0, 0.0, 180.0, 100.0])
    planned = written(node, tmp_path / "out")
    assert seen == [("", False)] * 2
    header = oiio.ImageInput.open(planned.plate.pattern % 1006).spec()
    assert header.getattribute("compression") == "zips"


# -- what must wait for the end of a render


def arrived(node, folder):
    """News that a node's version is there."""
    ticket = Ticket("0123456789ab", "tcp://127.0.0.1:9", "", folder.parent.as_posix(), False)
    job = Job("0123456789ab", JobState.DONE, Shot("/p.%04d.exr", "/r.%04d.exr"), folder.as_posix(), 1.0, 1.0)
    return Update(VoidNode(node).id, "", ticket, job=job, folder=str(folder), arrived=True)


class News:
    """A monitor that has news of a node, once."""

    def __init__(self, *updates):
        self.updates = list(updates)

    def take(self):
        taken, self.updates = self.updates, []
        return taken

    def close(self):
        pass


def test_a_result_that_arrives_in_a_render_waits_for_its_end(node, sample, tmp_path):
    later = finished_version(tmp_path / "out" / "v002", sample)
    session._monitors["news"] = News(arrived(node, later))
    nuke.standin.executing = True
    session._news()
    nuke.standin_process_events()
    assert node["result"].value() == "v001"
    nuke.standin.executing = False
    wait_for(lambda: node["result"].value() == "v002")


def test_the_stand_in_refuses_changes_in_a_render(node):
    # else the test above could not fail
    nuke.standin.executing = True
    for change in (lambda: node["status"].setValue("x"), nuke.nodes.Dot, lambda: nuke.delete(node)):
        with pytest.raises(RuntimeError, match="in the middle of a render"):
            change()
    nuke.standin.executing = False


def test_a_failure_is_told_on_the_node_and_in_the_error_console_not_in_a_window(node):
    broken = JobFailed("The job ran out of memory [exec calc].")
    session._bring(Update(VoidNode(node).id, "", arrived(node, Path("/out/v002")).ticket, error=broken))
    assert state(node) == "failed"
    assert nuke.standin.messages == []
    assert nuke.standin.errors == [f"{node.name()}: The job ran out of memory (exec calc)."]


# -- undo, and whether the script needs saving


def test_progress_is_no_step_of_undo_and_no_reason_to_save_and_undo_stays_on(node, monkeypatch):
    monkeypatch.setattr(nuke.Undo, "disable", lambda: pytest.fail("undo was switched off"))
    nuke.root().setModified(False)
    before = len(nuke.standin.undo)
    VoidNode(node).show("running", "Working, 5 %.")
    assert (len(nuke.standin.undo), nuke.modified()) == (before, False)
    # the colour of the tile is the artist's to change, and to undo
    node["tile_color"].setValue(1)
    assert len(nuke.standin.undo) == before + 1


def test_only_what_differs_is_set(node, monkeypatch):
    VoidNode(node).show("running", "Working, 5 %.")
    monkeypatch.setattr(nuke.Knob, "setValue", lambda knob, *_: pytest.fail(f"{knob.name()} was set again"))
    VoidNode(node).show("running", "Working, 5 %.")


def test_versions_that_others_made_are_offered_without_a_reason_to_save(node, sample, tmp_path):
    finished_version(tmp_path / "out" / "v002", sample)
    nuke.root().setModified(False)
    before = len(nuke.standin.undo)
    node.showControlPanel()
    wait_for(lambda: "v002" in node["result"].values())
    assert node["result"].values() == ["none", "v001", "v002"]
    assert node["result"].value() == "v001"
    assert (len(nuke.standin.undo), nuke.modified()) == (before, False)


def test_an_export_leaves_undo_off_where_it_was_off(shot, tmp_path):
    node = void_remove(*shot)
    nuke.Undo.disable()
    written(node, tmp_path / "out")
    assert nuke.Undo.disabled()
