"""From a seed to a recipe."""

from __future__ import annotations

from random import Random

from .kinds import KINDS
from .recipe import TICKS, Recipe

#: What a seed of a whole set may be: each pair has its own, made of that and its number.
_STRIDE = 1_000_003


def seed_of(seed: int, number: int) -> int:
    """The seed of pair ``number`` of a set."""
    return seed * _STRIDE + number


def draw(seed: int, seconds: float, kind: str) -> Recipe:
    """The recipe of a seed, of one of the :data:`KINDS`: always the same one."""
    ticks = max(2, round(seconds * TICKS)) + 1
    return KINDS[kind](Random(seed), ticks).recipe(kind, seed)
