"""The aims of quality, on rendered scenes with ground truth, where they are at hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
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
