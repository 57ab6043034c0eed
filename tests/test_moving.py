"""Where new pixels for a moving camera are looked up."""

from __future__ import annotations

import numpy as np
import pytest

from void_server.engines.cleanplate.moving import _Source
from void_server.engines.cleanplate.sampling import lookup


@pytest.mark.parametrize(
    "place", [(slice(12, 20), slice(30, 33)), (slice(0, 9), slice(50, 64)), (slice(40), slice(64))]
)
def test_a_part_of_a_window_tells_of_its_pixels_what_the_whole_does(place: tuple[slice, slice]) -> None:
    rng = np.random.default_rng(3)
    height, width = 40, 64
    positions = (rng.random((height, width, 2), np.float32) + 1) * 50
    take = np.zeros((height, width), bool)
    take[place] = rng.random((height, width))[place] < 0.7
    # the plate's pixels at the border lie up to half an analysed pixel beyond its centres
    at = rng.random((20_000, 2), np.float32) * np.array([width, height], np.float32) - np.float32(0.5)
    source = _Source.around(positions, take)
    asked, there = source.asked(at)
    expected = lookup(take.astype(np.float32), at) > 0
    assert 0 < len(asked) < len(at)
    assert np.array_equal(asked, np.flatnonzero(expected))
    assert np.array_equal(there, lookup(positions, at)[expected])
    if place[1].stop < width:
        assert source.positions.size < positions.size / 4
