"""New pixels get the grain of their surroundings, and no more."""

from __future__ import annotations

import numpy as np
import pytest

from void_server.imaging import grain

EVERYWHERE = np.ones((128, 256), bool)


def ramp() -> np.ndarray:
    """From dark to bright, with an edge that is no grain."""
    picture = np.repeat(np.linspace(0.05, 0.95, 256, dtype=np.float32)[None, :, None], 128, axis=0).repeat(3, axis=-1)
    picture[64:] *= 0.6
    return picture


@pytest.mark.parametrize("level", [0.005, 0.02])
def test_grain_is_matched(level: float) -> None:
    rng = np.random.default_rng(8)
    grainy = ramp() + rng.normal(0, level, (128, 256, 3)).astype(np.float32)
    target = grain.measure(grainy, EVERYWHERE)
    assert np.median(target.level) == pytest.approx(level, rel=0.25)
    matched = grain.add(ramp(), EVERYWHERE, target, (1, 2))
    assert np.median(grain.measure(matched, EVERYWHERE).level) == pytest.approx(np.median(target.level), rel=0.25)
    # what has enough gets no more
    again = grain.add(matched, EVERYWHERE, target, (1, 3))
    assert np.median(grain.measure(again, EVERYWHERE).level) < 1.3 * np.median(target.level)


def test_grain_is_the_seeds_and_stays_inside() -> None:
    target = grain.Grain(np.full((6, 3), 0.02, np.float32))
    where = EVERYWHERE.copy()
    where[:, :100] = False
    one, same, other = (grain.add(ramp(), where, target, seed) for seed in ((1, 2), (1, 2), (1, 3)))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert np.array_equal(one[:, :100], ramp()[:, :100])


def test_a_clean_plate_stays_clean() -> None:
    assert np.array_equal(grain.add(ramp(), EVERYWHERE, grain.measure(ramp(), EVERYWHERE), (1,)), ramp())
