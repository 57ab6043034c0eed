"""How the light changes over a shot whose camera rests.

Light adds up: where lamps fade and nothing moves, each pixel in linear light is a constant plus the lamps' curves over
time, each times what that lamp gives to the pixel. The curves are the principal ones among the changes of brightness of
patches all over the frame; what each lamp gives is then fitted pixel by pixel, so that a change is followed
exactly, also at the border of a shadow that fades with its lamp.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .channels import least
from .colour import Curve
from .exr import FloatImage
from .fill import smooth_fill
from .masks import Mask
from .parallel import for_each, in_order, results
from .sequence import spread
from .temporal import median

#: The side of a patch, in analysed pixels, and how much of one must be visible in every frame.
_PATCH, _SEEN = 16, 0.4
#: So many lamps at most change independently.
_MOST = 2
#: So many patches at least tell of the light.
_FEWEST = 12
#: Shorter shots tell nothing.
_SHORTEST = 3
#: So many frames at most tell what is usual.
_SAMPLES = 32
#: Less change than this, root mean square over time and frame, is none; a curve also exceeds the next so many times.
_LEAST, _STANDS_OUT = 0.004, 2.5
#: A change of light shows in at least this share of the patches.
_EVERYWHERE = 0.5
#: Scene-linear: darker pixels tell nothing of a lamp.
_DARK = 0.002
#: How many samples the patches around a pixel count for in its fit.
_PRIOR = 0.5
_ROUNDS = 6
#: Light never falls below this share of its mean.
_FAINTEST = 0.02
#: Pixels fitted at once: their samples fit into a core's cache.
_PIECE = 4096
#: Rows of a frame fitted at once.
_ROWS = 32


@dataclass(frozen=True)
class Light:
    """The change of light over a shot.

    ``curves`` (frames, lamps) have mean 0 and variance 1; ``shares`` (lamps, rows, columns, 3) say for patches all over
    the frame how strongly each lamp's curve acts there, relative to the mean light.
    """

    curves: FloatImage
    shares: FloatImage

    @classmethod
    def measure(cls, count: int, frame: Callable[[int], tuple[FloatImage, Mask]]) -> Light:
        """Measure it in ``count`` frames of a camera at rest.

        ``frame`` gives each: scene-linear RGB (height, width, 3), and where the scene is seen.
        """
        looks = dict(in_order(frame, spread(count, _SAMPLES)))
        usual = _usual(list(looks.values()))
        if count < _SHORTEST or min(usual.shape[:2]) < _PATCH:
            return cls(np.zeros((count, 0), np.float32), np.zeros((0, 1, 1, 3), np.float32))
        bright = least(usual) > _DARK

        def patches(index: int) -> FloatImage:
            rgb, seen = looks.get(index) or frame(index)
            return _patches(rgb, seen & bright, usual)

        levels = np.stack(list(results(patches, range(count))))
        usable: Mask = np.asarray(np.isfinite(levels).all(axis=(0, -1)))
        mean = np.maximum(levels.mean(axis=0), _FAINTEST)
        none = cls(np.zeros((len(levels), 0), np.float32), np.zeros((0, *mean.shape), np.float32))
        if np.count_nonzero(usable) < _FEWEST:
            return none
        changes = (levels[:, usable] / mean[usable] - 1).reshape(len(levels), -1)
        curves, strengths, _ = np.linalg.svd(changes, full_matrices=False)
        sizes = strengths / np.sqrt(changes.size)
        lamps = 0
        while (
            lamps < min(_MOST, len(sizes) - 1)
            and sizes[lamps] > max(_LEAST, _STANDS_OUT * sizes[lamps + 1])
            and _spread_out(curves[:, lamps] @ changes) >= _EVERYWHERE
        ):
            lamps += 1
        found = (curves[:, :lamps] * np.sqrt(len(levels))).astype(np.float32)
        shares = np.zeros((lamps, *mean.shape), np.float32)
        for lamp in range(lamps):
            sparse = np.zeros(mean.shape, np.float32)
            sparse[usable] = (found[:, lamp] @ changes / len(levels)).reshape(-1, 3)
            shares[lamp] = smooth_fill(sparse, usable)
        return cls(found, shares)

    @property
    def changes(self) -> bool:
        """Whether the light changes at all."""
        return self.curves.shape[1] > 0

    def fit(self, indices: Sequence[int], samples: FloatImage, weights: FloatImage, places: FloatImage) -> FloatImage:
        """How strongly each lamp acts on each pixel, relative to its mean light: (lamps, pixels, 3).

        Of scene-linear samples (frames, pixels, 3) in frames ``indices``, weighted (frames, pixels); ``places``
        (pixels, 2) are x and y relative to the frame, 0..1. Least absolute deviations, so that frames in which
        something else is seen do not count; where there are few, the patches decide.
        """
        result = np.empty((self.curves.shape[1], *samples.shape[1:]), np.float32)
        for begin in range(0, samples.shape[1], _PIECE):
            piece = slice(begin, begin + _PIECE)
            expected = self.expected(places[piece][:, None])[:, :, 0]
            for channel in range(3):
                result[:, piece, channel] = _fit(
                    self.curves[list(indices)], samples[:, piece, channel], weights[:, piece], expected[..., channel]
                )
        return result

    def expected(self, places: FloatImage) -> FloatImage:
        """How strongly each lamp acts at places (height, width, 2), relative to the frame, by the patches around:
        (lamps, height, width, 3).
        """
        size = np.array(self.shares.shape[2:0:-1], np.float32)
        at = (places * size - 0.5).astype(np.float32)
        options = cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
        return np.stack([cv2.remap(share, at, None, options[0], borderMode=options[1]) for share in self.shares])

    def gain(self, index: int, strengths: FloatImage) -> FloatImage:
        """The light in frame ``index`` over its mean, of strengths (lamps, ...): (...)."""
        change = sum((share * lamp for share, lamp in zip(self.curves[index], strengths, strict=True)), np.float32(1))
        return np.maximum(change, np.float32(_FAINTEST))


@dataclass(frozen=True)
class LitScene:
    """Pixels in a changing light, of ``strengths`` (lamps, ..., 3), displayed with ``curve``."""

    light: Light
    strengths: FloatImage
    curve: Curve

    @classmethod
    def fitted(
        cls,
        light: Light,
        curve: Curve,
        indices: Sequence[int],
        pictures: Sequence[FloatImage],
        weights: Sequence[NDArray[Any]],
    ) -> LitScene:
        """How strongly the light acts on each pixel of whole frames, by those of these ``indices``.

        Their ``pictures`` (height, width, 3) are display-referred; ``weights`` (height, width) say how much each pixel
        counts.
        """
        height, width = weights[0].shape
        strengths = np.empty((light.curves.shape[1], height, width, 3), np.float32)
        x = (np.arange(width, dtype=np.float32) + 0.5) / width
        for top in range(0, height, _ROWS):
            rows = slice(top, min(top + _ROWS, height))
            y = (np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5) / height
            places = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
            samples = np.stack([curve.to_linear(picture[rows]).reshape(-1, 3) for picture in pictures])
            counted = np.stack([weight[rows].ravel() for weight in weights]).astype(np.float32)
            found = light.fit(indices, samples, counted, places)
            strengths[:, rows] = found.reshape(len(found), -1, width, 3)
        return cls(light, strengths, curve)

    def in_mean_light(self, index: int, rgb: FloatImage) -> FloatImage:
        """Display-referred pixels (..., 3) of frame ``index`` as they would be in the mean light."""
        return self.curve.to_display(self.curve.to_linear(rgb) / self.light.gain(index, self.strengths))

    def in_light_of(self, index: int, rgb: FloatImage) -> FloatImage:
        """Display-referred pixels (..., 3) in the mean light as they would be in frame ``index``."""
        return self.curve.to_display(self.curve.to_linear(rgb) * self.light.gain(index, self.strengths))


def _usual(looks: list[tuple[FloatImage, Mask]]) -> FloatImage:
    """The median of all looks at each pixel."""
    usual = np.empty_like(looks[0][0])

    def row(at: int) -> None:
        usual[at] = median(np.stack([rgb[at] for rgb, _ in looks]), np.stack([seen[at] for _, seen in looks]))

    for_each(row, range(len(usual)))
    return usual


def _patches(rgb: FloatImage, seen: Mask, usual: FloatImage) -> FloatImage:
    """The median brightness of each patch over the usual one, (rows, columns, 3); NaN where too little is seen."""
    rows, columns = (side // _PATCH for side in seen.shape)
    inside = np.s_[: rows * _PATCH, : columns * _PATCH]
    ratio = np.where(seen[..., None], rgb / np.maximum(usual, _DARK), np.float32(np.nan))[inside]
    ratio = ratio.reshape(rows, _PATCH, columns, _PATCH, 3).transpose(0, 2, 4, 1, 3).reshape(rows, columns, 3, -1)
    ratio.sort(axis=-1)
    count = np.isfinite(ratio).sum(axis=-1)
    middle = np.take_along_axis(ratio, np.maximum(count - 1, 0)[..., None] // 2, axis=-1)[..., 0]
    return np.where(count >= _SEEN * _PATCH * _PATCH, middle, np.float32(np.nan))


def _spread_out(strengths: NDArray[np.floating]) -> float:
    """The share of the patches in which a change is visible beside its strongest places."""
    return float(np.mean(np.abs(strengths) > 0.2 * np.quantile(np.abs(strengths), 0.9)))


def _fit(curves: FloatImage, samples: FloatImage, weights: FloatImage, expected: FloatImage) -> FloatImage:
    """The strengths (lamps, pixels) of one channel's samples, (frames, pixels)."""
    lamps = curves.shape[1]
    basis = np.concatenate([np.ones((len(samples), 1), np.float32), curves], axis=1)
    # the prior: the constant times what is expected, less the lamp's part, is 0
    prior = np.zeros((lamps + 1, lamps + 1, samples.shape[1]), np.float32)
    for lamp in range(lamps):
        row = np.zeros((lamps + 1, samples.shape[1]), np.float32)
        row[0], row[1 + lamp] = expected[lamp], -1
        prior += _PRIOR * row[:, None] * row[None]
    # no matter how few are seen
    prior += 1e-4 * np.eye(lamps + 1, dtype=np.float32)[..., None]
    # each pixel's frames side by side, so that sums and medians over them are quick
    samples, given = np.ascontiguousarray(samples.T), np.ascontiguousarray(weights.T)
    products = (basis[:, :, None] * basis[:, None, :]).reshape(len(basis), -1)
    counted, away = given.copy(), np.empty_like(samples)
    unseen, middle = given == 0, np.count_nonzero(given, axis=1)[:, None] // 2
    for _ in range(_ROUNDS):
        normal = (products.T @ counted.T).reshape(lamps + 1, lamps + 1, -1)
        normal += (normal[0, 0] / len(basis) + np.float32(1e-6)) * prior
        right = basis.T @ np.multiply(counted, samples, out=away).T
        found = _solved(normal, right)
        np.abs(np.subtract(samples, np.matmul(found.T, basis.T, out=away), out=away), out=away)
        # what is not seen tells nothing, and counts for nothing; for so few, sorting is quicker than a partition
        away[unseen] = 1
        typical = np.take_along_axis(np.sort(np.where(unseen, np.float32(np.inf), away), axis=1), middle, axis=1)
        typical = np.maximum(typical, np.float32(1e-4))
        np.divide(given, np.maximum(np.divide(away, typical, out=away), np.float32(0.3), out=away), out=counted)
    fitted = found[1:] / np.maximum(found[0], _DARK / 4)
    return np.where(given.any(axis=1), fitted, expected).astype(np.float32)


def _solved(normal: FloatImage, right: FloatImage) -> FloatImage:
    """The solution, (n, pixels), of each pixel's n equations, (n, n, pixels) and (n, pixels), symmetric and positive.

    Written over both. For two or three equations many times, this is far quicker than LAPACK.
    """
    size = len(right)
    for i in range(size):
        for j in range(i + 1, size):
            factor = normal[j, i] / normal[i, i]
            normal[j, i:] -= factor * normal[i, i:]
            right[j] -= factor * right[i]
    for i in reversed(range(size)):
        for j in range(i + 1, size):
            right[i] -= normal[i, j] * right[j]
        right[i] /= normal[i, i]
    return right
