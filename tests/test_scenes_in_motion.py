"""The aims of quality on rendered scenes in which much happens, where they are at hand: each is computed once."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
import scenes

pytestmark = pytest.mark.slow


@cache
def figures(folder: Path, method: str) -> Mapping[str, float]:
    """What a job's result is like."""
    return dict(scenes.rows(folder, (method,), ("psnr", "iou", "kept", "detail")))[method]


@pytest.mark.parametrize("name", ["dimming", "dominoes", "living_wall", "mirror", "passer"])
def test_the_reasoner_finds_effects_and_keeps_the_rest(shared: Path, name: str) -> None:
    own = figures(shared / "scenes" / name, "own reasoner")
    assert own["iou"] >= 0.5
    assert own["kept"] >= 98


@pytest.mark.parametrize(("name", "psnr", "detail"), [("passer", 32, 0.9), ("living_wall", 21.5, 0.8)])
def test_what_moves_behind_the_object_is_completed(shared: Path, name: str, psnr: float, detail: float) -> None:
    given = figures(shared / "scenes" / name, "given quadmask")
    assert given["psnr"] >= psnr
    assert detail <= given["detail"] <= 1.3
