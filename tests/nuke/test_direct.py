"""Which plates and rotos a job reads where they lie: those whose files hold, number for number, what the node gets."""

from __future__ import annotations

import shutil

import nuke
import pytest
from driving import read_node, void_remove
from void_nuke.job import export, submission
from void_nuke.job.direct import Direct
from void_nuke.job.monitor import Line
from void_nuke.job.stamps import Stamps
from void_nuke.node.node import VoidNode

from void_server.api.client import ServerInfo

FRAMES = list(range(1001, 1013))


@pytest.fixture
def plate(plugin, sample):
    node = read_node(sample / "plate")
    node["raw"].setValue(True)
    return node


def found(source, role="plate", *, frames=FRAMES, space="lin_rec709", ocio=None, reads=lambda _: True):
    return Direct(frames, space, ocio, reads).pattern(role, source, "main")


def below(source, node_class):
    node = getattr(nuke.nodes, node_class)()
    node.setInput(0, source)
    return node


def test_a_raw_exr_with_nothing_in_between_is_read_where_it_lies(plate, sample):
    assert found(plate) == f"{sample.as_posix()}/plate/plate.%04d.exr"
    assert found(below(below(plate, "Dot"), "Dot")) == found(plate)
    plate["file"].setValue(f"{sample.as_posix()}/plate/plate.####.exr")
    assert found(plate) == f"{sample.as_posix()}/plate/plate.%04d.exr"
    assert found(read_node(sample / "roto"), "roto") == f"{sample.as_posix()}/roto/roto.%04d.exr"


CHANGES = {
    "a colour conversion": lambda read: read["raw"].setValue(False),
    "a frame that is another": lambda read: read["frame"].setValue("frame + 1"),
    "a start at another frame": lambda read: read["frame_mode"].setValue("start at"),
    "frames that are held": lambda read: read["last"].setValue(1010),
    "division by the alpha": lambda read: read["premultiplied"].setValue(True),
    "a Read that is switched off": lambda read: read["disable"].setValue(True),
    "one file for all frames": lambda read: read["file"].setValue(read["file"].evaluate(1006)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_the_read_changes_is_exported(plate, change):
    CHANGES[change](plate)
    nuke.frame(1006)
    assert found(plate) is None


def test_what_lies_between_is_exported(plate):
    assert found(below(plate, "Expression")) is None


def test_a_path_that_nuke_evaluates_is_exported(plate, sample, monkeypatch):
    monkeypatch.setenv("SHOW", sample.as_posix())
    nuke.frame(1006)
    plate["file"].setValue("[getenv SHOW]/plate/plate.%04d.exr")
    assert found(plate) is None


def test_a_colour_picture_is_no_roto_to_read_where_it_lies(plate):
    """The server would have to choose between its alpha and its colour."""
    assert found(plate, "roto") is None


def test_a_file_that_is_missing_or_out_of_reach_is_exported(plate, sample, tmp_path):
    assert found(plate, reads=lambda _: False) is None
    shutil.copytree(sample / "plate", tmp_path / "plate")
    nuke.frame(1001)
    plate["file"].setValue(f"{tmp_path.as_posix()}/plate/plate.%04d.exr")
    assert found(plate)
    (tmp_path / "plate" / "plate.1006.exr").unlink()
    assert found(plate) is None
    assert found(plate, frames=[1001, 1011])


@pytest.mark.parametrize(
    ("management", "label", "space", "good"),
    [
        ("Nuke", "linear", "lin_rec709", True),
        ("Nuke", "default (linear)", "lin_rec709", True),
        ("Nuke", "sRGB", "lin_rec709", False),
        ("OCIO", "ACEScg\tColorspaces/ACES/ACEScg\t\tACES - ACEScg,lin_ap1", "ACEScg", True),
        ("OCIO", "scene_linear (ACEScg)", "ACEScg", True),
        ("OCIO", "default (ACES2065-1)", "ACEScg", False),
    ],
)
def test_a_read_that_converts_to_its_own_space_converts_nothing(plate, tmp_path, management, label, space, good):
    config = tmp_path / "config.ocio"
    config.write_text("roles:\n  default: ACES2065-1\n  scene_linear: ACEScg\n")
    nuke.root()["colorManagement"].setValue(management)
    plate["raw"].setValue(False)
    plate["colorspace"].setValue(label)
    assert (found(plate, space=space, ocio=config.as_posix()) is not None) == good


def test_a_region_of_interest_and_an_upload_are_exported(plate, sample, tmp_path):
    node = void_remove(plate, read_node(sample / "roto"))

    def lies():
        own = Direct(FRAMES, "lin_rec709", None, lambda _: True).pattern
        return export.plan(VoidNode(node), tmp_path, FRAMES, "main", Stamps(), own).plate.in_place

    assert lies()
    assert not export.plan(VoidNode(node), tmp_path, FRAMES, "main", Stamps()).plate.in_place
    node["use_roi"].setValue(True)
    node["roi"].setValue([0.0, 0.0, 50.0, 50.0])
    assert not lies()


def test_only_what_lies_below_a_servers_folders_is_read_there(plate, sample, tmp_path):
    def reads(root, file):
        info = ServerInfo("1", 1, 1, (str(root),), (), (), {})
        return submission._reads(Line("tcp://127.0.0.1:9"), info, str(file))

    assert reads(sample, sample / "plate" / "plate.1001.exr")
    assert not reads(tmp_path, sample / "plate" / "plate.1001.exr")
    (tmp_path / "link").symlink_to(sample)
    assert not reads(tmp_path, tmp_path / "link" / "plate" / "plate.1001.exr"), "the server follows links, too"
    assert not submission._reads(Line("tcp://127.0.0.1:9"), None, "/a.exr")
