"""From a seed to a recipe: which kind of scene, and what is in it."""

from __future__ import annotations

from random import Random

from ..api.errors import SettingError
from .kinds import KINDS
from .recipe import TICKS, Recipe

#: What a seed of a whole set may be: each pair has its own, made of that and its number.
_STRIDE = 1_000_003


def seed_of(seed: int, number: int) -> int:
    """The seed of pair ``number`` of a set."""
    return seed * _STRIDE + number


def draw(seed: int, seconds: float, kind: str = "") -> Recipe:
    """The recipe of a seed: always the same one. ``kind`` is drawn too where none is named.

    Raises :class:`SettingError` for a kind that there is not.
    """
    if kind and kind not in KINDS:
        raise SettingError(f"There is no kind of scene {kind!r}; take one of {', '.join(KINDS)}.")
    random = Random(seed)
    drawn = random.choice(list(KINDS))
    ticks = max(2, round(seconds * TICKS)) + 1
    scene = KINDS[kind or drawn](random, ticks)
    return scene.recipe(kind or drawn, seed, ticks)
