"""The aims of quality, on rendered scenes with ground truth, where they are at hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from void_server.api.shot import Settings, Shot
from void_server.imaging import exr
from void_server.quadmask import classes

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
import reasoning
import scenes

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["shadow_slide", "knock_ball", "hdr_light", "pan_walkby"])
def test_rendered_scenes(shared: Path, name: str) -> None:
    methods = ("telea", "masked median", "given quadmask", "own reasoner")
    figures = dict(scenes.rows(shared / "scenes" / name, methods, ("psnr", "iou", "kept")))
    better = max(figures["telea"]["psnr"], figures["masked median"]["psnr"])
    given, own = figures["given quadmask"], figures["own reasoner"]
    aim = better + 5 if name == "pan_walkby" else min(better - 0.5, 40)
    assert given["psnr"] >= aim
    assert own["psnr"] >= given["psnr"] - 3
    assert own["iou"] >= 0.5
    assert own["kept"] >= 99


def test_the_bed_of_a_trampoline_is_affected_as_published(shared: Path, tmp_path: Path) -> None:
    """Of real footage, by a camera held by hand: somebody jumps, and it moves on while he is in the air."""
    theirs = reasoning.lay_out(shared / "samples" / "trampoline", tmp_path / "shot")
    settings = Settings(until="quadmask", affected_shape="grid")
    results = reasoning.job(
        tmp_path / "job", Shot(str(tmp_path / "shot/plate"), str(tmp_path / "shot/roto"), settings=settings)
    )
    window = exr.windows(results.quadmask(1))[1]
    ours = {frame: classes.read(results.quadmask(frame), window) for frame in theirs}
    recall, precision = reasoning.recall_and_precision(ours, theirs)
    assert recall >= 0.5
    assert precision >= 0.9
