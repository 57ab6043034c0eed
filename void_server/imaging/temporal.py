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
    order = np.argsort(samples, axis=0)
    ordered = np.take_along_axis(samples, order, axis=0)
    reached = np.cumsum(np.take_along_axis(weights[..., None], order, axis=0), axis=0)
    middle = np.argmax(reached >= reached[-1:] / 2, axis=0)
    return np.take_along_axis(ordered, middle[None], axis=0)[0].astype(np.float32)
