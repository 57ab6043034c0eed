"""The same way in Nuke itself where there is one, and in the stand-in, so that the program for Nuke does not rot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from void_server.cli import install_nuke
from void_server.imaging import exr
from void_server.sample import write_sample
from void_server.service.embedded import embedded_server

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
RUN = ROOT / "tests" / "nuke_real" / "run.py"
NUKE = os.environ.get("NUKE_EXECUTABLE")


@pytest.fixture
def places(tmp_path: Path) -> Iterator[list[str]]:
    """The arguments of run.py: a sample shot, a folder for its output, a server."""
    write_sample(tmp_path / "sample", "walkby", (192, 108), range(1001, 1013))
    (tmp_path / "out").mkdir()
    with embedded_server([tmp_path]) as address:
        yield [f"--sample={tmp_path / 'sample'}", f"--out={tmp_path / 'out'}", f"--server={address}"]


def examine(out: Path, sample: Path) -> None:
    """What Nuke reported, and whether what it rendered is the result's own pixels."""
    report = json.loads((out / "report.json").read_text())
    print(json.dumps(report, indent=2))
    assert [check for check in report["checks"] if not check["ok"]] == []
    result = next(out.glob("void/real_comp/*/v001"))
    after = out / "after.exr"
    assert np.array_equal(exr.read_rgb(out / "before.exr"), exr.read_rgb(sample / "plate" / "plate.1006.exr"))
    assert np.array_equal(exr.read_rgb(after), exr.read_rgb(result / "plate" / "void_plate.1006.exr"))
    window = exr.windows(after)[0]
    names = ("quadmask.remove", "quadmask.affected", "quadmask.keep")
    plate = exr.read_rgb(sample / "plate" / "plate.1006.exr")
    delivered = exr.read_rgb(result / "plate" / "void_plate.1006.exr")
    # a plain Merge of the patch, and the node's live knobs
    merged, feathered, mixed = (exr.read_rgb(out / f"{name}.exr") for name in ("merged", "live_feather", "live_mix"))
    assert np.array_equal(merged.astype(np.float16), delivered.astype(np.float16))
    blend = exr.read_channels(result / "mattes" / "void_mattes.1006.exr", ["void_blend.A"], exr.windows(after)[0])
    beyond = blend[..., 0] == 0
    assert np.array_equal(feathered[beyond], plate[beyond])
    assert np.array_equal(mixed[beyond], plate[beyond])
    of_object = exr.read_matte(sample / "roto" / "roto.1006.exr", exr.windows(after)[0]) > 0.02
    assert np.array_equal(feathered[of_object], delivered[of_object])
    assert not np.array_equal(feathered, delivered)
    assert np.allclose(mixed, (plate + delivered) / 2, rtol=2e-3, atol=1e-5)
    mattes = exr.read_channels(result / "mattes" / "void_mattes.1006.exr", names, window)
    assert np.array_equal(exr.read_channels(after, names, window), mattes)


@pytest.mark.skipif(not NUKE, reason="NUKE_EXECUTABLE is not set: nothing was tested in Nuke itself")
def test_in_nuke(places: list[str], tmp_path: Path) -> None:
    plugin = install_nuke.install(tmp_path / "home", install_nuke.NUKE_PYTHONS, [install_nuke.this_system()])
    command = [str(NUKE), "-t", str(RUN), f"--plugin={plugin.as_posix()}", *places]
    done = subprocess.run(command, check=False, timeout=600)
    assert (tmp_path / "out" / "report.json").is_file(), f"Nuke ended with {done.returncode} and wrote no report"
    examine(tmp_path / "out", tmp_path / "sample")


def test_in_the_standin(places: list[str], tmp_path: Path) -> None:
    start = "import nuke, runpy, sys; nuke.standin_reset(gui=False); sys.argv = sys.argv[1:]; "
    start += "runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", start, str(RUN), f"--plugin={ROOT.as_posix()}", *places]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "tests" / "nuke_standin"), str(ROOT)])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    examine(tmp_path / "out", tmp_path / "sample")
