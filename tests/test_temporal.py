"""Medians over time."""

from __future__ import annotations

import itertools
import threading

import numpy as np

from void_server.imaging.parallel import in_order
from void_server.imaging.temporal import _comparisons, agreeing_median, gathered, median, weighted_median


def test_where_samples_agree_it_is_the_median() -> None:
    samples = np.random.default_rng(4).uniform(0.4, 0.45, (5, 200, 3)).astype(np.float32)
    seen = np.random.default_rng(5).random((5, 200)) < 0.7
    assert np.array_equal(agreeing_median(samples, seen, 0.1), median(samples, seen))


def test_at_a_lamps_edge_it_is_a_colour_that_a_frame_shows() -> None:
    samples = np.array([[[0.9, 0.2, 0.6]], [[0.3, 0.8, 0.1]], [[0.2, 0.4, 0.9]], [[5, 5, 5]]], np.float32)
    seen = np.array([[True], [True], [True], [False]])
    assert agreeing_median(samples, seen, 0.1).tolist() in [samples[index].tolist() for index in range(3)]
    # each channel by itself makes one that none shows
    assert median(samples, seen).tolist() not in samples.tolist()
    assert not agreeing_median(samples, np.zeros_like(seen), 0.1).any()


def test_what_few_frames_show_of_each_pixel_takes_few_samples() -> None:
    rng = np.random.default_rng(8)
    looks, seen = rng.random((40, 500, 3), np.float32), rng.random((40, 500)) < 0.1
    seen[:, 0] = False
    samples, there = gathered(500, [(np.flatnonzero(row), look[row]) for look, row in zip(looks, seen, strict=True)])
    assert len(samples) == len(there) == seen.sum(axis=0).max() < 40
    for pixel in range(500):
        assert np.array_equal(samples[there[:, pixel], pixel], looks[seen[:, pixel], pixel])
    assert np.array_equal(agreeing_median(samples, there, 0.1), agreeing_median(looks, seen, 0.1))
    samples, there = gathered(500, [])
    assert samples.shape == (0, 500, 3)
    assert not there.any()


def test_many_pixels_have_the_medians_of_few() -> None:
    rng = np.random.default_rng(6)
    samples, weights = rng.random((7, 20_000, 3), np.float32), rng.random((7, 20_000), np.float32)
    everywhere = np.ones((7, 20_000), bool)
    assert np.allclose(median(samples, everywhere), np.median(samples, axis=0))
    found, last = weighted_median(samples, weights), weighted_median(samples[:, -9:], weights[:, -9:])
    assert np.array_equal(found[-9:], last)
    below = (weights[..., None] * (samples < found)).sum(axis=0) / weights.sum(axis=0)[:, None]
    above = (weights[..., None] * (samples > found)).sum(axis=0) / weights.sum(axis=0)[:, None]
    assert max(below.max(), above.max()) <= 0.5 + 1e-5


def test_comparisons_bring_the_middle_to_its_place() -> None:
    for count in range(1, 11):
        # what sorts zeros and ones sorts everything (Knuth, 5.3.4 Z)
        rows = np.array(list(itertools.product((0, 1), repeat=count))).T.copy()
        middle = np.sort(rows, axis=0)[(count - 1) // 2 : count // 2 + 1]
        for low, high in _comparisons(count):
            rows[low], rows[high] = np.minimum(rows[low], rows[high]), np.maximum(rows[low], rows[high])
        assert np.array_equal(rows[(count - 1) // 2 : count // 2 + 1], middle)
    # to sort all takes half as many again
    assert len(_comparisons(6)) <= 12
    assert len(_comparisons(48)) < 400


def test_the_median_is_of_those_that_are_seen() -> None:
    rng = np.random.default_rng(7)
    for count in range(1, 9):
        samples, seen = rng.random((count, 300, 2), np.float32), rng.random((count, 300)) < 0.5
        samples[~seen] = np.nan
        found = median(samples, seen)
        for pixel in range(300):
            shown = samples[seen[:, pixel], pixel]
            assert np.allclose(found[pixel], np.median(shown, axis=0) if len(shown) else 0)


def test_what_runs_on_a_core_already_asks_for_no_more() -> None:
    def inner(_: int) -> int:
        return threading.get_ident()

    def outer(_: int) -> tuple[int, set[int]]:
        return threading.get_ident(), {ident for _, ident in in_order(inner, range(20))}

    for _, (own, of_inner) in in_order(outer, range(4)):
        assert of_inner == {own} != {threading.get_ident()}
