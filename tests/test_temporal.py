"""Medians over time."""

from __future__ import annotations

import numpy as np

from void_server.imaging.temporal import agreeing_median, median


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
