"""How well two masks agree."""

from __future__ import annotations

from collections.abc import Iterable

from ..imaging.masks import Mask


def overlap(pairs: Iterable[tuple[Mask, Mask]]) -> float:
    """The overlap (intersection over union) of pairs of masks, all pixels together; 0 where all are empty."""
    both = either = 0
    for one, other in pairs:
        both += int((one & other).sum())
        either += int((one | other).sum())
    return both / max(either, 1)
