"""How long a job takes yet, as people are told."""

from __future__ import annotations

from void_server.pipeline.progress import Remaining

# seconds and fraction of a real job: 60 frames of 960 x 540 on a machine that others used too
RECORDED = [
    (0.0, 0.0),
    (1.2, 0.048),
    (2.4, 0.087),
    (5.2, 0.222),
    (20.1, 0.225),
    (21.3, 0.253),
    (22.6, 0.281),
    (23.9, 0.303),
    (25.4, 0.326),
    (26.6, 0.348),
    (27.9, 0.368),
    (29.2, 0.387),
    (30.4, 0.431),
    (41.2, 0.49),
    (47.3, 0.605),
    (49.9, 0.65),
    (51.1, 0.665),
    (52.4, 0.695),
    (53.9, 0.73),
    (55.3, 0.76),
    (56.5, 0.785),
    (58.1, 0.8),
    (59.3, 0.82),
    (60.8, 0.835),
    (62.2, 0.85),
    (63.6, 0.865),
    (65.2, 0.88),
    (66.8, 0.9),
    (68.2, 0.92),
    (69.5, 0.94),
    (69.8, 0.95),
]


def told(course: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """How long it takes yet in truth, and as is told, whenever something is."""
    remaining, end = Remaining(0.0), course[-1][0]
    said = [(end - now, remaining.at(fraction, now)) for now, fraction in course]
    return [(truth, left) for truth, left in said if left is not None]


def test_time_left_never_rises_and_is_right_in_the_second_half() -> None:
    pairs = told(RECORDED)
    lefts = [left for _, left in pairs]
    assert lefts == sorted(lefts, reverse=True)
    half = [(truth, left) for truth, left in pairs if 5 < truth < RECORDED[-1][0] / 2]
    assert len(half) > 10
    assert all(0.5 < left / truth < 2 for truth, left in half)


def test_what_a_resumed_job_skips_says_nothing_of_the_rest() -> None:
    skipped = [(0.5 * step / 40, 0.6 * step / 40) for step in range(41)]
    made = [(0.5 + 3 * step, 0.6 + 0.01 * step) for step in range(1, 41)]
    pairs = told(skipped + made)
    assert len(pairs) > 30
    assert all(abs(left - truth) < 1 for truth, left in pairs)
