"""Medians over time, for pixels that only some frames see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .exr import FloatImage
from .parallel import for_each

#: Pixels worked on at once: their samples fit into a core's cache.
_PIECE = 8192


def median(samples: FloatImage, seen: NDArray[np.bool_]) -> FloatImage:
    """The median over the seen samples: (pixels, channels) of (frames, pixels, channels); 0 where none is seen.

    ``seen`` is (frames, pixels).
    """
    result = np.zeros(samples.shape[1:], np.float32)

    def piece(begin: int) -> None:
        pixels = slice(begin, begin + _PIECE)
        shown = seen[:, pixels]
        ordered = np.where(shown[..., None], samples[:, pixels], np.float32(np.inf)).transpose(1, 2, 0)
        ordered = np.ascontiguousarray(ordered)
        ordered.sort(axis=-1)
        count = shown.sum(axis=0)[:, None, None]
        middle = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis=-1)
        other = np.take_along_axis(ordered, np.minimum(count // 2, len(samples) - 1), axis=-1)
        np.add(middle[..., 0] / 2, other[..., 0] / 2, out=result[pixels], where=count[..., 0] > 0)

    for_each(piece, range(0, len(result), _PIECE))
    return result


def agreeing_median(samples: FloatImage, seen: NDArray[np.bool_], tolerance: float) -> FloatImage:
    """The median over the seen samples, as :func:`median`; where they differ by more than ``tolerance``, one of them.

    At the edge of a lamp, channels whose medians come from different samples would make a colour that none shows. The
    sample taken there is the one whose mean of channels is the middle one, the darker of two.
    """
    result = median(samples, seen)
    light = samples.mean(axis=-1)
    least = np.where(seen, light, np.inf).min(axis=0)
    most = np.where(seen, light, -np.inf).max(axis=0)
    apart = np.flatnonzero(most - least > tolerance)
    if len(apart):
        order = np.argsort(np.where(seen, light, np.inf)[:, apart], axis=0, kind="stable")
        middle = np.take_along_axis(order, ((seen[:, apart].sum(axis=0) - 1) // 2)[None], axis=0)[0]
        result[apart] = samples[middle, apart]
    return result


def weighted_median(samples: FloatImage, weights: FloatImage) -> FloatImage:
    """The weighted median, per channel: (pixels, channels) of (frames, pixels, channels), weights (frames, pixels).

    Where all weights are 0 the result is the smallest sample.
    """
    result = np.empty(samples.shape[1:], np.float32)

    def piece(begin: int) -> None:
        pixels = slice(begin, begin + _PIECE)
        # each pixel's frames side by side, so that they are sorted in place
        beside = np.ascontiguousarray(samples[:, pixels].transpose(1, 2, 0))
        counted = np.ascontiguousarray(weights[:, pixels].T).reshape(-1)
        order = np.argsort(beside, axis=-1)
        firsts = np.arange(len(beside))[:, None, None] * len(samples)
        reached = np.cumsum(counted[order + firsts], axis=-1)
        middle = np.argmax(reached >= reached[..., -1:] / 2, axis=-1)[..., None]
        result[pixels] = np.take_along_axis(beside, np.take_along_axis(order, middle, axis=-1), axis=-1)[..., 0]

    for_each(piece, range(0, len(result), _PIECE))
    return result
