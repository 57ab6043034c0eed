"""What an export depends on: a change of the picture is seen, a change of its looks is not, and nobody waits for it."""

from __future__ import annotations

import os
import shutil
import sys
import time

import nuke
import pytest
from driving import finished_version, read_node, show_version, void_remove
from void_nuke.job import export, stamps, upstream
from void_nuke.job.stamps import Stamps
from void_nuke.node import results
from void_nuke.node.node import VoidNode


def fingerprint(node, extra=""):
    return upstream.look(node, extra).fingerprint(Stamps())


def below(source, node_class="NoOp"):
    node = getattr(nuke.nodes, node_class)()
    node.setInput(0, source)
    return node


def test_the_fingerprint_follows_pixels_not_looks(plugin, sample, tmp_path):
    read = nuke.nodes.Read(file=(sample / "plate" / "plate.%04d.exr").as_posix())
    group = nuke.nodes.Group()
    group.setInput(0, read)
    with group:
        inside = nuke.nodes.Expression()
    top = nuke.nodes.Dot()
    top.setInput(0, group)
    seen = [fingerprint(top)]

    def changed(change, expected):
        change()
        now = fingerprint(top)
        assert (now != seen[-1]) == expected
        seen.append(now)

    changed(lambda: read.setXYpos(100, 100), False)
    changed(lambda: read.setName("Plate"), False)
    changed(lambda: top["label"].setValue("hello"), False)
    changed(lambda: inside["expr0"].setValue("r * 2"), True)
    changed(lambda: inside["expr0"].setExpression("frame"), True)
    changed(lambda: top.setInput(0, read), True)
    changed(lambda: read["first"].setValue(5), True)
    changed(lambda: nuke.root()["colorManagement"].setValue("OCIO"), True)
    assert fingerprint(top, "half") != fingerprint(top, "float")


def test_a_thousand_nodes_in_a_row_have_a_fingerprint(plugin, sample):
    last = read_node(sample / "plate")
    for _ in range(sys.getrecursionlimit() + 100):
        last = below(last)
    assert fingerprint(last)


def test_a_merge_of_only_a_is_not_one_of_only_b(plugin, sample):
    read = read_node(sample / "plate")
    seen = set()
    for index in (0, 1):
        merge = nuke.nodes.Merge2()
        merge.setInput(index, read)
        seen.add(fingerprint(merge))
        nuke.delete(merge)
    assert len(seen) == 2


def test_what_an_expression_names_is_upstream(plugin, sample):
    control, grade = nuke.nodes.NoOp(), below(read_node(sample / "plate"), "Expression")
    control.addKnob(nuke.Double_Knob("gain"))
    grade["disable"].setExpression("NoOp1.gain")
    before = fingerprint(grade)
    control["gain"].setValue(1.0)
    assert fingerprint(grade) != before


def test_what_feeds_the_group_around_a_node_is_upstream(plugin, sample):
    read = read_node(sample / "plate")
    group = nuke.nodes.Group()
    group.setInput(0, read)
    with group:
        source = nuke.nodes.Input()
    before = fingerprint(source)
    read["first"].setValue(1003)
    assert fingerprint(source) != before


@pytest.mark.parametrize("folder", ["%V", "%v_plates", "%04d"])
def test_a_changed_file_below_a_folder_of_each_view_or_frame_is_seen(plugin, sample, tmp_path, folder):
    files = tmp_path / folder.replace("%V", "main").replace("%v", "m").replace("%04d", "1006")
    shutil.copytree(sample / "plate", files)
    read = nuke.nodes.Read(file=f"{tmp_path.as_posix()}/{folder}/plate.%04d.exr")
    before = fingerprint(read)
    os.utime(files / "plate.1006.exr", (time.time() + 5, time.time() + 5))
    assert fingerprint(read) != before


def test_a_path_that_nuke_evaluates_is_followed(plugin, sample, tmp_path, monkeypatch):
    shutil.copytree(sample / "plate", tmp_path / "plate")
    monkeypatch.setenv("SHOW", tmp_path.as_posix())
    read = nuke.nodes.Read(file="[getenv SHOW]/plate/plate.%04d.exr")
    before = fingerprint(read)
    os.utime(tmp_path / "plate" / "plate.1006.exr", (time.time() + 5, time.time() + 5))
    assert fingerprint(read) != before


def test_a_variable_of_the_script_in_a_path_is_followed(plugin, sample, tmp_path):
    """Nuke 16's Graph Scope Variables may stand in any path."""
    shutil.copytree(sample / "plate", tmp_path / "sh010")
    read = nuke.nodes.Read(file=f"{tmp_path.as_posix()}/%{{shot}}/plate.%04d.exr")
    nuke.root()["gsv"].setGsvValue("__default__.shot", "sh010")
    before = fingerprint(read)
    os.utime(tmp_path / "sh010" / "plate.1006.exr", (time.time() + 5, time.time() + 5))
    changed = fingerprint(read)
    assert changed != before
    nuke.root()["gsv"].setGsvValue("__default__.shot", "sh020")
    assert fingerprint(read) != changed


def test_a_variable_of_the_script_in_the_output_folder_is_filled_in(plugin, sample, tmp_path):
    node = void_remove(read_node(sample / "plate"), read_node(sample / "roto"))
    nuke.root()["gsv"].setGsvValue("__default__.show_root", tmp_path.as_posix())
    node["output_folder"].setValue("%{show_root}/void/{node}")
    assert results.output_folder(VoidNode(node)) == tmp_path / "void" / node.name()


def test_files_are_looked_at_once_for_all_that_a_press_exports(plugin, sample, tmp_path, monkeypatch):
    plate, roto = read_node(sample / "plate"), read_node(sample / "roto")
    node = void_remove(plate, below(roto), plate)
    looked = []
    real = stamps._stamp
    monkeypatch.setattr(stamps, "_stamp", lambda file: looked.append(file) or real(file))
    files = Stamps()
    for view in ("main", "main"):
        export.plan(VoidNode(node), tmp_path, [1001], view, files)
    assert sorted(looked) == sorted(map(str, [*(sample / "plate").iterdir(), *(sample / "roto").iterdir()]))


def test_no_file_is_looked_at_on_the_main_thread_to_know_the_graph(plugin, sample, monkeypatch):
    monkeypatch.setattr(stamps, "_stamp", lambda _: pytest.fail("a file was looked at"))
    assert upstream.look(read_node(sample / "plate")).files


@pytest.mark.parametrize(
    ("between", "depth"), [([], "16 bit half"), (["Dot"], "16 bit half"), (["Expression", "Dot"], "32 bit float")]
)
def test_a_dot_below_a_grade_is_no_untouched_source(plugin, sample, tmp_path, between, depth):
    source = read_node(sample / "plate")
    for node_class in between:
        source = below(source, node_class)
    node = void_remove(source, read_node(sample / "roto"))
    assert export.plan(VoidNode(node), tmp_path, [1001], "main", Stamps()).plate.depth == depth


def test_what_a_node_of_ours_shows_in_the_viewer_is_no_change_of_the_plate(plugin, sample, tmp_path):
    upper = void_remove(read_node(sample / "plate"), read_node(sample / "roto"))
    show_version(upper, finished_version(tmp_path / "out" / "v001", sample))
    before = fingerprint(upper)
    upper["output_folder"].setValue((tmp_path / "out").as_posix())
    for name, value in (("view", "difference"), ("prompt", "A lime."), ("status", "Busy."), ("engine", "void")):
        upper[name].setValue(value)
    (tmp_path / "out" / "v003").mkdir()
    assert fingerprint(upper) == before
    show_version(upper, finished_version(tmp_path / "out" / "v002", sample, range(1001, 1005)))
    assert fingerprint(upper) != before
