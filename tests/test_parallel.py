"""Work done beside other work: in order, bounded, and with its errors where they belong."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from void_server.imaging.parallel import ahead


def test_items_come_in_order_and_two_at_most_are_made_before_they_are_used() -> None:
    made: list[int] = []
    third = threading.Event()

    def numbers() -> Iterator[int]:
        for number in range(9):
            made.append(number)
            if number == 2:
                third.set()
            yield number

    seen = []
    for number in ahead(numbers()):
        seen.append(number)
        if number == 0:
            assert third.wait(60), "made while the first is used"
        assert len(made) <= number + 3
    assert seen == made == list(range(9))


def test_what_fails_there_is_raised_where_the_item_would_have_come() -> None:
    def numbers() -> Iterator[int]:
        yield 0
        raise OSError("the disk is gone")

    items = ahead(numbers())
    assert next(items) == 0
    with pytest.raises(OSError, match="the disk is gone"):
        next(items)


def test_whoever_stops_early_leaves_no_thread_behind() -> None:
    made: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(1000):
            made.append(number)
            yield number

    before = threading.active_count()
    items = ahead(numbers())
    next(items)
    with pytest.raises(KeyboardInterrupt):
        items.throw(KeyboardInterrupt)  # type: ignore[attr-defined]
    assert threading.active_count() == before
    assert len(made) <= 4


def test_nothing_at_all() -> None:
    assert list(ahead([])) == []
