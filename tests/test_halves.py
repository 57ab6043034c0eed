"""Tables of a value for each half float, and short axes of channels: quicker ways to what NumPy says, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from void_server.imaging import channels, halves


@pytest.mark.parametrize("shape", [(4096, 16), (32, 64, 32), (65536,), (256, 256, 1), (0, 5, 3)])
@pytest.mark.parametrize("kind", [np.float32, np.uint8])
def test_each_half_has_its_value_in_the_table(shape: tuple[int, ...], kind: type) -> None:
    every = np.arange(np.prod(shape), dtype=np.uint16).view(np.float16).reshape(shape)
    table = np.random.default_rng(0).permutation(2**16).astype(kind)
    found = halves.look_up(table, every)
    assert found.dtype == kind
    assert np.array_equal(found, table[every.view(np.uint16)])


def test_a_part_of_a_picture_is_looked_up_too() -> None:
    picture = np.random.default_rng(0).random((20, 30, 3)).astype(np.float16)
    part = picture[3:9, 5:20]
    assert np.array_equal(halves.look_up(halves.ALL, part), part.astype(np.float32))


def test_largest_least_and_mean_are_those_of_numpy() -> None:
    pixels = np.random.default_rng(0).normal(size=(50, 60, 3)).astype(np.float32)
    pixels[0, 0, 1] = np.nan
    assert np.array_equal(channels.largest(pixels), pixels.max(axis=-1), equal_nan=True)
    assert np.array_equal(channels.least(pixels), pixels.min(axis=-1), equal_nan=True)
    assert np.array_equal(channels.mean(pixels), pixels.mean(axis=-1), equal_nan=True)
