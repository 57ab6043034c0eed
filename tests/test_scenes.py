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
    figures = dict(scenes.rows(shared / "scenes" / name))
    better = max(figures["telea"]["psnr"], figures["masked median"]["psnr"])
    given, own = figures["given quadmask"], figures["own reasoner"]
    aim = better + 5 if name == "pan_walkby" else min(better - 0.5, 40)
    assert given["psnr"] >= aim
    assert own["psnr"] >= given["psnr"] - 3
    assert own["iou"] >= 0.5
    assert own["kept"] >= 99


@pytest.mark.parametrize("name", ["dimming", "dominoes", "living_wall", "mirror", "passer"])
def test_the_reasoner_finds_effects_and_keeps_the_rest(shared: Path, name: str) -> None:
    figures = dict(scenes.rows(shared / "scenes" / name))
    assert figures["own reasoner"]["iou"] >= 0.5
    assert figures["own reasoner"]["kept"] >= 98


@pytest.mark.parametrize(("name", "psnr", "detail"), [("passer", 32, 0.9), ("living_wall", 21.5, 0.8)])
def test_what_moves_behind_the_object_is_completed(shared: Path, name: str, psnr: float, detail: float) -> None:
    figures = dict(scenes.rows(shared / "scenes" / name))["given quadmask"]
    assert figures["psnr"] >= psnr
    assert detail <= figures["detail"] <= 1.3
