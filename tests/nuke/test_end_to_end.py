"""From a press on Remove to the node's picture: real frames, a real server, the stand-in for Nuke."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from conftest import picture, pixels, press, read_node, rgb, void_remove, wait_until_done


def test_press_remove_and_see_the_result(plugin, server, sample):
    plate, roto = read_node(sample / "plate"), read_node(sample / "roto")
    node = void_remove(plate, roto, address=server.address)
    before = picture(node, 1005)
    assert np.array_equal(rgb(before), rgb(picture(plate, 1005)))
    press(node, "remove")
    wait_until_done(node)
    out = Path(plugin.script_directory()) / "void" / "sh010_comp" / node.name() / "v001"
    for frame in (1001, 1006, 1012):
        shown = picture(node, frame)
        assert np.array_equal(rgb(shown), pixels(out / "plate" / f"void_plate.{frame}.exr"))
