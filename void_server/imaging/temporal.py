"""Medians over time, for pixels that only some frames see."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .exr import FloatImage
from .parallel import for_each

#: Pixels worked on at once: their samples fit into a core's cache.
_PIECE = 8192


def gathered(pixels: int, shown: Sequence[tuple[NDArray[np.intp], FloatImage]]) -> tuple[FloatImage, NDArray[np.bool_]]:
    """What several frames show of ``pixels`` pixels, for :func:`median`: samples (n, pixels, 3), and which are seen.

    ``shown``: for each frame, which of the pixels it shows, and their RGB, (count, 3). n is the most that are seen of
    one pixel: of many frames, each pixel may be seen by few. A pixel's samples keep the order of the frames.
    """
    count = np.zeros(pixels, np.intp)
    for here, _ in shown:
        count[here] += 1
    samples, taken = np.zeros((int(count.max(initial=0)), pixels, 3), np.float32), np.zeros_like(count)
    for here, rgb in shown:
        samples[taken[here], here] = rgb
        taken[here] += 1
    return samples, np.arange(len(samples))[:, None] < count


def median(samples: FloatImage, seen: NDArray[np.bool_]) -> FloatImage:
    """The median over the seen samples: (pixels, channels) of (frames, pixels, channels); 0 where none is seen.

    ``seen`` is (frames, pixels).
    """
    result = np.zeros(samples.shape[1:], np.float32)

    def piece(begin: int) -> None:
        pixels = slice(begin, begin + _PIECE)
        _median(samples[:, pixels], seen[:, pixels], result[pixels])

    for_each(piece, range(0, len(result), _PIECE))
    return result


def _median(samples: FloatImage, seen: NDArray[np.bool_], result: FloatImage) -> None:
    """Write the median to ``result``, which is 0."""
    frames, channels = len(samples), samples.shape[-1]
    # what is not seen may be anything, NaN too
    ordered = samples.copy() if seen.all() else np.where(_for_all(seen, channels), samples, _beyond(seen, channels))
    rows, spare = list(ordered), np.empty_like(ordered[0])
    for low, high in _comparisons(frames):
        np.minimum(rows[low], rows[high], out=spare)
        np.maximum(rows[low], rows[high], out=rows[high])
        rows[low], spare = spare, rows[low]
    count = seen.sum(axis=0, dtype=np.uint16)
    odd, even = (_for_all(mask, channels) for mask in (count % 2 == 1, (count % 2 == 0) & (count > 0)))
    np.copyto(result, rows[(frames - 1) // 2], where=odd)
    np.add(rows[frames // 2 - 1] / 2, rows[frames // 2] / 2, out=result, where=even)


def _beyond(seen: NDArray[np.bool_], channels: int) -> FloatImage:
    """What stands for samples that are not seen: for half of them minus infinity, for half infinity, so that the middle
    of all is that of those that are seen.
    """
    odd = ~seen
    # row by row, as NumPy accumulates one pixel after the other
    for before, row in pairwise(odd):
        np.logical_xor(before, row, out=row)
    return _for_all(np.where(odd, np.float32(np.inf), np.float32(-np.inf)), channels)


def _for_all(values: NDArray[Any], channels: int) -> NDArray[Any]:
    """The same value for all channels, (..., channels): OpenCV copies far quicker than NumPy into so short an axis."""
    plane = values.view(np.uint8) if values.dtype == bool else values
    return cv2.merge([plane] * channels).view(values.dtype).reshape(*values.shape, channels)


@cache
def _comparisons(count: int) -> tuple[tuple[int, int], ...]:
    """What to compare and swap, one after the other, so that the middle ones of ``count`` values come to their places.

    Batcher's merge exchange (Knuth, The Art of Computer Programming, 5.2.2 M), without what decides other places.
    """
    pairs: list[tuple[int, int]] = []
    run = 1
    while run < count:
        step = run
        while step:
            for first in range(step % run, count - step, 2 * step):
                lows = range(first, min(first + step, count - step))
                pairs += [(low, low + step) for low in lows if low // (2 * run) == (low + step) // (2 * run)]
            step //= 2
        run *= 2
    wanted, needed = {count // 2 - 1, count // 2}, []
    for pair in reversed(pairs):
        if wanted & {*pair}:
            wanted |= {*pair}
            needed.append(pair)
    return tuple(reversed(needed))


def agreeing_median(samples: FloatImage, seen: NDArray[np.bool_], tolerance: float) -> FloatImage:
    """The median over the seen samples, as :func:`median`; where they differ by more than ``tolerance``, one of them.

    At the edge of a lamp, channels whose medians come from different samples would make a colour that none shows. The
    sample taken there is the one whose mean of channels is the middle one, the darker of two.
    """
    result = np.zeros(samples.shape[1:], np.float32)

    def piece(begin: int) -> None:
        pixels = slice(begin, begin + _PIECE)
        looks, shown, found = samples[:, pixels], seen[:, pixels], result[pixels]
        _median(looks, shown, found)
        light = looks @ np.full(looks.shape[-1], 1 / looks.shape[-1], np.float32)
        darkest = np.where(shown, light, np.float32(np.inf)).min(axis=0)
        apart = np.flatnonzero(np.where(shown, light, np.float32(-np.inf)).max(axis=0) - darkest > tolerance)
        if len(apart):
            order = np.argsort(np.where(shown, light, np.float32(np.inf))[:, apart], axis=0, kind="stable")
            middle = np.take_along_axis(order, ((shown[:, apart].sum(axis=0) - 1) // 2)[None], axis=0)[0]
            found[apart] = looks[middle, apart]

    for_each(piece, range(0, len(result), _PIECE))
    return result


def weighted_median(samples: FloatImage, weights: FloatImage) -> FloatImage:
    """The weighted median, per channel: (pixels, channels) of (frames, pixels, channels), weights (frames, pixels).

    Where all weights are 0 the result is the smallest sample.
    """
    return weighted_medians(samples, [weights])[0]


def weighted_medians(samples: FloatImage, weights: Sequence[FloatImage]) -> list[FloatImage]:
    """The weighted medians of the same samples, as :func:`weighted_median`, one for each of the ``weights``."""
    results = [np.empty(samples.shape[1:], np.float32) for _ in weights]

    def piece(begin: int) -> None:
        pixels = slice(begin, begin + _PIECE)
        # each pixel's frames side by side, so that they are sorted in place
        beside = np.ascontiguousarray(samples[:, pixels].transpose(1, 2, 0))
        order = np.argsort(beside, axis=-1)
        firsts = np.arange(len(beside))[:, None, None] * len(samples)
        for result, weight in zip(results, weights, strict=True):
            counted = np.ascontiguousarray(weight[:, pixels].T).reshape(-1)[order + firsts]
            middle = np.take_along_axis(order, _middle(counted)[..., None], axis=-1)
            result[pixels] = np.take_along_axis(beside, middle, axis=-1)[..., 0]

    for_each(piece, range(0, samples.shape[1], _PIECE))
    return results


def _middle(weights: FloatImage) -> NDArray[np.intp]:
    """At which of the last axis' places half of the weights is reached, (...) of (..., places)."""
    # row by row, as NumPy accumulates one pixel after the other
    sums = np.ascontiguousarray(np.moveaxis(weights, -1, 0))
    for before, row in pairwise(sums):
        np.add(before, row, out=row)
    half, place = sums[-1] / 2, np.zeros(sums.shape[1:], np.intp)
    for row in sums[:-1]:
        place += row < half
    return place
