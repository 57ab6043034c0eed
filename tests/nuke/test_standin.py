"""The stand-in is as strict as Nuke is said to be: each trap that the plugin relies on, by its documented behaviour."""

from __future__ import annotations

import threading

import nuke
import numpy as np
import pytest
from driving import pixels, read_node


@pytest.fixture(autouse=True)
def fresh():
    nuke.standin_reset()


def in_thread(call):
    result = []

    def run():
        try:
            result.append(call())
        except Exception as error:
            result.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(timeout=5)
    return result[0]


def test_unknown_knobs_classes_and_wrong_types_are_refused():
    node = nuke.nodes.Dot()
    with pytest.raises(NameError):
        node["nothing"]
    assert node.knob("nothing") is None
    with pytest.raises(RuntimeError, match="Unknown command"):
        nuke.createNode("NoSuchNode")
    read = nuke.nodes.Read()
    for name, wrong in (("file", 3), ("first", "1001"), ("first", 1.5), ("raw", "yes"), ("on_error", "explode")):
        with pytest.raises((TypeError, ValueError)):
            read[name].setValue(wrong)
    with pytest.raises(TypeError):
        node.setInput(0, "Read1")


def test_nuke_is_for_the_main_thread_only():
    node = nuke.nodes.Dot()
    assert isinstance(in_thread(nuke.allNodes), RuntimeError)
    assert isinstance(in_thread(node.name), RuntimeError)
    assert isinstance(in_thread(lambda: node["label"].setValue("x")), RuntimeError)


def test_the_main_thread_works_on_its_queue_when_it_is_free():
    seen = []
    in_thread(lambda: nuke.executeInMainThread(seen.append, ([1],)))
    assert seen == []
    nuke.standin_process_events()
    assert seen == [[1]]
    # a list as args is one argument
    in_thread(lambda: nuke.executeInMainThread(seen.append, [2, 3]))
    nuke.standin_process_events()
    assert seen == [[1], [2, 3]]


def test_waiting_for_the_main_thread_on_the_main_thread_is_an_error():
    with pytest.raises(RuntimeError):
        nuke.executeInMainThreadWithResult(print)


def test_deleted_nodes_are_not_attached():
    node = nuke.nodes.Dot()
    nuke.delete(node)
    with pytest.raises(ValueError, match="not attached"):
        node.name()


def test_a_read_does_not_find_its_range_when_its_file_is_set():
    read = nuke.nodes.Read()
    read["file"].setValue("/a/b.%04d.exr")
    assert (read["first"].value(), read["last"].value()) == (1, 1)
    read["file"].fromUserText("/a/b.%04d.exr 1001-1010")
    assert (read["first"].value(), read["origlast"].value()) == (1001, 1010)
    with pytest.raises(RuntimeError, match="No such file"):
        read._image()


def test_a_write_has_the_knobs_of_its_type_only_once_it_has_one():
    write = nuke.nodes.Write()
    with pytest.raises(NameError):
        write["datatype"]
    write["file_type"].setValue("exr")
    assert write["datatype"].value() == "16 bit half"
    with pytest.raises(RuntimeError, match="backslashes"):
        write["file"].setValue("C:\\out.exr")


def test_renders_cannot_be_nested_and_need_a_write(sample, tmp_path):
    read = read_node(sample / "plate")
    with pytest.raises(RuntimeError, match="not executable"):
        nuke.execute(read, 1001, 1001)
    write = nuke.nodes.Write()
    write["file_type"].setValue("exr")
    write["file"].setValue(f"{tmp_path.as_posix()}/new/a.%04d.exr")
    write.setInput(0, read)
    nuke.standin.executing = True
    with pytest.raises(RuntimeError, match="already executing"):
        nuke.execute(write, 1001, 1001)
    nuke.standin.executing = False
    with pytest.raises(RuntimeError, match="No such file"):
        nuke.execute(write, 1001, 1001)
    write["create_directories"].setValue(True)
    nuke.execute(write, 1001, 1002)
    assert np.array_equal(pixels(tmp_path / "new" / "a.1002.exr"), pixels(sample / "plate" / "plate.1002.exr"))
    # proxy mode renders at the proxy's size
    nuke.root()["proxy"].setValue(True)
    nuke.execute(write, 1001, 1001)
    assert pixels(tmp_path / "new" / "a.1001.exr").shape == (54, 96, 3)


def test_a_switch_asks_only_for_what_it_shows(sample):
    broken, good = nuke.nodes.Read(file="/nothing.exr"), read_node(sample / "plate")
    switch = nuke.nodes.Switch()
    switch.setInput(0, good)
    switch.setInput(1, broken)
    nuke.frame(1001)
    assert switch._image().channels
    switch["which"].setValue(1)
    with pytest.raises(RuntimeError, match="Read1"):
        switch._image()


def test_text_in_brackets_is_run_and_unescaped_ones_do_not_load():
    node = nuke.nodes.Dot()
    node["label"].setValue("[value xpos]")
    assert node["label"].value() == "0"
    assert node["label"].getText() == "[value xpos]"
    with pytest.raises(nuke.TclError, match="unescaped"):
        node.readKnobs('label "[value xpos]"')


def test_knob_changed_and_created_callbacks_know_what_they_are_about():
    seen = []
    nuke.addOnCreate(lambda: seen.append(("created", nuke.thisNode().name())), nodeClass="Dot")
    nuke.addKnobChanged(lambda: seen.append((nuke.thisNode().name(), nuke.thisKnob().name())), nodeClass="Dot")
    nuke.nodes.NoOp()["label"].setValue("other class")
    nuke.nodes.Dot()["label"].setValue("x")
    assert seen == [("created", "Dot1"), ("Dot1", "label")]
    with pytest.raises(ValueError, match="no node"):
        nuke.thisNode()


def test_wires_do_not_cross_the_border_of_a_group():
    group, outside = nuke.nodes.Group(), nuke.nodes.Dot()
    with group:
        inside = nuke.nodes.Dot()
    assert nuke.toNode("Group1.Dot1") is inside
    with pytest.raises(ValueError, match="another group"):
        inside.setInput(0, outside)


def test_paste_makes_names_that_are_free_and_copies_all_else():
    node = nuke.nodes.Dot()
    node["label"].setValue("x")
    node.selectOnly()
    nuke.nodeCopy("%clipboard%")
    copy = nuke.nodePaste("%clipboard%")
    assert (copy.name(), copy["label"].value()) == ("Dot2", "x")


def test_a_window_is_needed_for_messages_and_menus():
    nuke.standin_reset(gui=False)
    with pytest.raises(RuntimeError):
        nuke.message("x")
    with pytest.raises(RuntimeError):
        nuke.menu("Nodes")
