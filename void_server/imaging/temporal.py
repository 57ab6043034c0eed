"""Medians over time, for pixels that only some frames see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .exr import FloatImage


def median(samples: FloatImage, seen: NDArray[np.bool_]) -> FloatImage:
    """The median over the seen samples: (pixels, channels) of (frames, pixels, channels); 0 where none is seen.

    ``seen`` is (frames, pixels).
    """
    ordered = np.where(seen[..., None], samples, np.float32(np.inf)).transpose(1, 2, 0)
    ordered = np.ascontiguousarray(ordered)
    ordered.sort(axis=-1)
    count = seen.sum(axis=0)[:, None, None]
    middle = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis=-1)
    other = np.take_along_axis(ordered, np.minimum(count // 2, len(samples) - 1), axis=-1)
    result = np.zeros(samples.shape[1:], np.float32)
    np.add(middle[..., 0] / 2, other[..., 0] / 2, out=result, where=count[..., 0] > 0)
    return result


def weighted_median(samples: FloatImage, weights: FloatImage) -> FloatImage:
    """The weighted median, per channel: (pixels, channels) of (frames, pixels, channels), weights (frames, pixels).

    Where all weights are 0 the result is the smallest sample.
    """
    order = np.argsort(samples, axis=0)
    ordered = np.take_along_axis(samples, order, axis=0)
    reached = np.cumsum(np.take_along_axis(weights[..., None], order, axis=0), axis=0)
    middle = np.argmax(reached >= reached[-1:] / 2, axis=0)
    return np.take_along_axis(ordered, middle[None], axis=0)[0].astype(np.float32)
