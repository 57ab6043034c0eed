"""Measure the plate's grain, and add it to new pixels that have too little.

Grain lives in scene-linear light, as noise whose strength depends on how bright a channel is. It is measured per half
stop and channel in the differences between neighbouring frames, in place or along the optical flow, and in the
variation within the flattest blocks, whichever is least; together with its correlation between pixels and between
channels. New grain is white noise shaped by that (Galerne et al., Random Phase Textures, 2011) and scaled by
brightness (Norkin and Birkbeck, Film Grain Synthesis for AV1 Video Codec, 2018).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from . import halves
from .exr import HALF_MAX, FloatImage
from .masks import Mask
from .parallel import in_order, results

Frame = TypeVar("Frame")

_BLOCK = 8
#: Below this, scene-linear, grain is taken to depend on brightness linearly; above it, steps are half stops.
_TOE = 0.02
_STEPS_PER_STOP = 2
_STEPS = 40
_FEWEST_BLOCKS = 12
#: Of all blocks of one brightness, the quietest share is taken to hold no texture, or no motion.
_FLAT, _STILL = 0.4, 0.5
#: Grain is correlated over so many pixels at most; so many blocks of a frame tell how.
_REACH, _CORRELATED = 3, 4096
#: Relative to brightness, no camera's or film's grain grows towards highlights, from this step on; what looks like it
#: is edges.
_GROWTH, _MIDDLE_GREY = 1.25, 6
#: Highlights, from this step on, are small and hard-edged: two ways of measuring must agree on them to this ratio, and
#: so must the quieter and the louder half of the blocks.
_AGREEMENT, _WHITE = 1.5, 12
#: A change shared by this many blocks counts as light, not grain.
_LIGHT = 9


@dataclass(frozen=True)
class Grain:
    """The grain of scene-linear pixels.

    ``level`` (steps, 3) is the standard deviation of each channel at each step of its brightness, NaN where that was
    not measured; ``kernels`` (3, size, size) shape white noise like the grain of each channel, ``mixing`` (3, 3) mixes
    the channels.
    """

    level: FloatImage
    kernels: FloatImage
    mixing: FloatImage

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Grain:
        """The grain that ``asdict()`` of another one describes."""
        return cls(arrays["level"], arrays["kernels"], arrays["mixing"])

    def at(self, rgb: FloatImage) -> FloatImage:
        """The standard deviation at each pixel of scene-linear ``rgb``, (..., 3); 0 where not measured."""
        # a half float tells the brightness far more finely than the steps
        with np.errstate(over="ignore"):
            stored = rgb.astype(np.float16).reshape(-1, 1, 3)
        return halves.look_up(self._of_halves, stored).reshape(rgb.shape)

    @cached_property
    def _of_halves(self) -> FloatImage:
        """The standard deviation of each channel at every half float, (halves, 1, 3), for :func:`~.halves.look_up`."""
        brightness = np.clip(np.nan_to_num(halves.ALL, nan=0.0), 0, HALF_MAX)
        position = np.clip(_position(brightness), 0, _STEPS - 1)
        result, steps = np.zeros((len(brightness), 1, 3), np.float32), np.arange(_STEPS, dtype=np.float32)
        for channel in range(3):
            known = ~np.isnan(self.level[:, channel])
            if known.any():
                level = np.interp(position, steps[known], self.level[known, channel])
                result[:, 0, channel] = np.where(known[np.round(position).astype(int)], level, 0)
        return result


def _position(linear: FloatImage) -> FloatImage:
    """Brightness in steps: half stops above the toe."""
    return (_STEPS_PER_STOP * np.log2(1 + np.maximum(linear, 0) / np.float32(_TOE))).astype(np.float32)


class Look(NamedTuple):
    """A frame to measure grain in, scene-linear (height, width, 3), and where it shows the scene."""

    rgb: FloatImage
    shown: Mask


class _Residuals(NamedTuple):
    """What is left of blocks without their content.

    ``spread``, its standard deviation, and ``brightness``, (blocks, 3); and of some of the blocks, the numbers
    ``chosen``, all of it: ``values`` (chosen, size, size, 3).
    """

    spread: FloatImage
    brightness: FloatImage
    chosen: NDArray[np.intp]
    values: FloatImage

    @classmethod
    def of(
        cls, spread: FloatImage, brightness: FloatImage, values: Callable[[NDArray[np.intp]], FloatImage]
    ) -> _Residuals:
        # at random: at regular intervals, only some columns of the frame would count
        chosen = np.sort(np.random.default_rng(0).permutation(len(spread))[:_CORRELATED])
        return cls(spread, brightness, chosen, values(chosen))

    @classmethod
    def joined(cls, several: list[_Residuals]) -> _Residuals:
        spread, brightness, chosen, values = (list(arrays) for arrays in zip(*several, strict=True))
        before = np.cumsum([0, *map(len, spread)])
        chosen = [numbers + begin for numbers, begin in zip(chosen, before[:-1], strict=True)]
        return cls(*map(np.concatenate, (spread, brightness, chosen, values)))


def _blocks(image: NDArray[Any]) -> NDArray[Any]:
    """``image`` as whole blocks, (blocks, size, size, ...)."""
    rows, columns = (n // _BLOCK for n in image.shape[:2])
    cut = image[: rows * _BLOCK, : columns * _BLOCK]
    split = cut.reshape(rows, _BLOCK, columns, _BLOCK, *image.shape[2:]).swapaxes(1, 2)
    return split.reshape(rows * columns, _BLOCK, _BLOCK, *image.shape[2:])


# As products of matrices, sums over each block's pixels take a fraction of the time.
def _each_channel(*weights: NDArray[np.floating]) -> FloatImage:
    """Weights (size, size), each for every channel of a block: (size * size * 3, 3 * number of weights)."""
    return np.concatenate([np.kron(one.reshape(-1, 1), np.eye(3)) for one in weights], axis=1).astype(np.float32)


_FLAT_BLOCK = np.ones((_BLOCK, _BLOCK))
_SLOPE = _FLAT_BLOCK * (np.arange(_BLOCK) - (_BLOCK - 1) / 2)
_MEAN = _each_channel(_FLAT_BLOCK / _BLOCK**2)
#: Orthonormal: a constant and both slopes.
_PLANES = _each_channel(*(one / np.linalg.norm(one) for one in (_FLAT_BLOCK, _SLOPE, _SLOPE.T)))


def _means(blocks: FloatImage) -> FloatImage:
    """The mean of each block and channel, (blocks, 3), of (blocks, size, size, 3)."""
    return blocks.reshape(-1, len(_MEAN)) @ _MEAN


def _without_slopes(blocks: FloatImage) -> FloatImage:
    """Blocks (blocks, size, size, 3) minus their best-fitting plane; noise keeps its variance."""
    # what is left of the mean is nothing to single precision
    flat = (blocks - _means(blocks)[:, None, None]).reshape(-1, len(_PLANES))
    flat -= (flat @ _PLANES) @ _PLANES.T
    flat *= np.float32(np.sqrt(_BLOCK**2 / (_BLOCK**2 - 3)))
    return flat.reshape(blocks.shape)


def _in_space(look: Look) -> _Residuals:
    blocks = _blocks(look.rgb)[_blocks(look.shown).all(axis=(1, 2))]
    left = _without_slopes(blocks)
    return _Residuals.of(np.sqrt(_means(left * left)), _means(blocks), left.__getitem__)


def _along_time(here: Look, there: Look, *, flow: bool) -> _Residuals:
    """The differences between two frames, block by block, each in place or along the optical flow."""
    height, width = (n // _BLOCK * _BLOCK for n in here.shown.shape)
    other, shown, variance = there.rgb[:height, :width], there.shown[:height, :width], np.float32(2)
    if flow:
        other, shown, variance = _moved(here, there, height, width)
    whole = np.asarray(_blocks(here.shown[:height, :width] & shown).all(axis=(1, 2)))
    ours = _blocks(here.rgb[:height, :width])[whole]
    difference = _blocks(other)[whole] - ours
    mean, power = _means(difference), _means(difference * difference)
    # a block that changed as a whole has moved
    same = np.flatnonzero((2 * mean**2 <= power).all(axis=-1))
    light = _light(mean, whole, height // _BLOCK)[same]
    brightness = (_means(ours) + mean / np.float32(2))[same]
    variance = np.broadcast_to(variance, whole.shape)[whole][same, None]
    # of what is left once the change of light is taken off
    spread = np.sqrt(np.maximum(power[same] - 2 * light * mean[same] + light**2, 0) / variance)

    def values(chosen: NDArray[np.intp]) -> FloatImage:
        off, by = light[chosen, None, None], np.sqrt(variance[chosen, None, None])
        return (difference[same[chosen]] - off) / by

    return _Residuals.of(spread, brightness, values)


def _light(mean: FloatImage, whole: Mask, rows: int) -> FloatImage:
    """The change of light around blocks, (blocks, 3), from the mean difference of each."""
    grid = np.zeros((len(whole), 4), np.float32)
    grid[whole] = np.column_stack([mean, np.ones(len(mean), np.float32)])
    around = cv2.blur(grid.reshape(rows, -1, 4), (_LIGHT, _LIGHT), borderType=cv2.BORDER_CONSTANT).reshape(-1, 4)[whole]
    return np.asarray(around[:, :3] / np.maximum(around[:, 3:], 1e-6), np.float32)


def _moved(here: Look, there: Look, height: int, width: int) -> tuple[FloatImage, Mask, FloatImage]:
    """The other frame brought over this one, where it is shown there, and for each block the variance of the difference
    of white noise of variance 1.
    """
    # only the mean of each block counts
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    flow = estimator.calc(_for_flow(here.rgb), _for_flow(there.rgb), None)[:height, :width]
    motion = _blocks(flow).mean(axis=(1, 2))
    per_block = motion.reshape(height // _BLOCK, width // _BLOCK, 2)
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    at = np.stack([columns, rows], axis=-1) + per_block.repeat(_BLOCK, axis=0).repeat(_BLOCK, axis=1)
    other = cv2.remap(there.rgb, at, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    shown = cv2.remap(there.shown.astype(np.float32), at, None, cv2.INTER_LINEAR, borderValue=0) > 0.999
    return other, shown, 1 + _kept_by_cubic(motion[:, 0]) * _kept_by_cubic(motion[:, 1])


def _for_flow(linear: FloatImage) -> NDArray[np.uint8]:
    grey = cv2.cvtColor(np.clip(linear, 0, 1), cv2.COLOR_RGB2GRAY)
    return np.round(255 * np.sqrt(grey)).astype(np.uint8)


def _kept_by_cubic(position: FloatImage) -> FloatImage:
    """The share of its variance that white noise keeps in OpenCV's cubic interpolation, along one axis."""
    f, a = position - np.floor(position), -0.75
    near = [((a + 2) * x - (a + 3)) * x * x + 1 for x in (f, 1 - f)]
    far = [((a * x - 5 * a) * x + 8 * a) * x - 4 * a for x in (1 + f, 2 - f)]
    return np.asarray(sum(weight**2 for weight in (*near, *far)), np.float32)


def _levels(residuals: _Residuals, quiet: float) -> FloatImage:
    """The level of each step and channel, of the ``quiet`` share of blocks; NaN where too few were seen."""
    level = np.full((_STEPS, 3), np.nan, np.float32)
    spread, step = residuals.spread, np.clip(np.round(_position(residuals.brightness)), 0, _STEPS - 1)
    for channel in range(3):
        for number in np.unique(step[:, channel]).astype(int):
            chosen = spread[step[:, channel] == number, channel]
            if len(chosen) < _FEWEST_BLOCKS:
                continue
            quieter, louder = np.quantile(chosen, (0.25, 0.75))
            if number < _WHITE or louder <= _AGREEMENT * quieter:
                level[number, channel] = np.quantile(chosen, quiet)
    return level


def _plausible(level: FloatImage) -> FloatImage:
    """Levels that, relative to brightness, do not grow towards highlights."""
    brightness = np.float32(_TOE) * np.exp2(np.arange(_STEPS, dtype=np.float32) / _STEPS_PER_STOP)
    relative = level / brightness[:, None]
    bright = relative[_MIDDLE_GREY:]
    relative[_MIDDLE_GREY:] = np.minimum(bright, _GROWTH * np.fmin.accumulate(bright, axis=0))
    return np.asarray(relative * brightness[:, None], np.float32)


def _all_ways(here: Look, there: Look | None) -> list[_Residuals]:
    """In space, and where there is a neighbour in time, in place and along the flow."""
    in_time = [] if there is None else [_along_time(here, there, flow=flow) for flow in (False, True)]
    return [_in_space(here), *in_time]


def measure(frames: Iterable[Frame], looks: Callable[[Frame], tuple[Look, Look | None]]) -> Grain:
    """The grain that some frames of a plate show; ``looks`` gives each, with a neighbour in time where it has one."""
    # one after another: together, all of a large plate would fill the memory
    found = list(results(lambda frame: _all_ways(*looks(frame)), frames))
    space = _Residuals.joined([ways[0] for ways in found])
    in_time = [ways[1:] for ways in found if len(ways) > 1]
    if not in_time:
        level = _plausible(_least(_levels(space, _FLAT)))
        return Grain(level, *_correlation(space, level))
    still, along_flow = (_Residuals.joined(list(way)) for way in zip(*in_time, strict=True))
    level = _plausible(_least(_levels(space, _FLAT), _levels(still, _STILL), _levels(along_flow, _STILL)))
    # not what was brought over along the flow: it is smoothed, and its correlation not the grain's
    stands = 2 * np.count_nonzero(_typical(still, level)) > len(still.spread)
    return Grain(level, *_correlation(still if stands else space, level))


def _least(*levels: FloatImage) -> FloatImage:
    """The least of several measurements (steps, 3); NaN for highlights on which no two agree."""
    ordered = np.sort(np.stack(levels), axis=0)  # NaN comes last
    agreed = ordered[1] <= _AGREEMENT * ordered[0] if len(ordered) > 1 else np.zeros(ordered.shape[1:], bool)
    agreed[:_WHITE] = True
    return np.where(agreed, ordered[0], np.nan)


def _expected(residuals: _Residuals, level: FloatImage) -> FloatImage:
    """The level of each block, (blocks, 3)."""
    return Grain(level, np.zeros(0, np.float32), np.zeros(0, np.float32)).at(residuals.brightness[:, None])[:, 0]


def _typical(residuals: _Residuals, level: FloatImage) -> Mask:
    """The blocks that are no louder than their level: without texture and motion.

    What never changes, such as a constant border or what is clipped, has no grain to tell of.
    """
    expected, spread = _expected(residuals, level), residuals.spread
    return np.asarray(((expected > 0) & (spread > 0) & (spread < 1.4 * expected)).all(axis=-1))


def _correlation(residuals: _Residuals, level: FloatImage) -> tuple[FloatImage, FloatImage]:
    """Kernels and mixing, from the typical blocks."""
    typical = _typical(residuals, level)[residuals.chosen]
    kernels = np.zeros((3, 2 * _REACH + 1, 2 * _REACH + 1), np.float32)
    kernels[:, _REACH, _REACH] = 1
    if np.count_nonzero(typical) < _FEWEST_BLOCKS:
        return kernels, np.eye(3, dtype=np.float32)
    noise = residuals.values[typical] / _expected(residuals, level)[residuals.chosen[typical]][:, None, None]
    channels = np.corrcoef(noise.reshape(-1, 3).T) * 0.999 + np.eye(3) * 0.001
    for channel, kernel in in_order(lambda channel: _kernel(_autocorrelation(noise[..., channel])), range(3)):
        kernels[channel] = kernel
    return kernels, np.linalg.cholesky(channels).astype(np.float32)


def _autocorrelation(noise: FloatImage) -> FloatImage:
    """The correlation of noise, (blocks, size, size), with itself moved by up to the reach: (2 reach + 1, same)."""
    size = 2 * _BLOCK
    power = np.abs(np.fft.rfft2(noise, (size, size))) ** 2
    overlap = np.abs(np.fft.rfft2(np.ones((_BLOCK, _BLOCK)), (size, size))) ** 2
    lags = np.fft.irfft2(power.mean(axis=0)) / np.maximum(np.fft.irfft2(overlap), 0.5)
    lags = np.fft.fftshift(lags)[_BLOCK - _REACH : _BLOCK + _REACH + 1, _BLOCK - _REACH : _BLOCK + _REACH + 1]
    return np.asarray(lags / lags[_REACH, _REACH], np.float32)


def _kernel(correlation: FloatImage) -> FloatImage:
    """The kernel, of energy 1, that gives white noise this autocorrelation: the root of its spectrum."""
    size = 4 * _REACH + 1
    padded = np.zeros((size, size))
    padded[: 2 * _REACH + 1, : 2 * _REACH + 1] = correlation
    spectrum = np.fft.fft2(np.roll(padded, (-_REACH, -_REACH), axis=(0, 1))).real
    kernel = np.fft.fftshift(np.fft.ifft2(np.sqrt(np.maximum(spectrum, 0))).real)
    middle = size // 2
    kernel = kernel[middle - _REACH : middle + _REACH + 1, middle - _REACH : middle + _REACH + 1]
    return np.asarray(kernel / np.sqrt((kernel**2).sum()), np.float32)


def share_of_median(samples: NDArray[np.intp]) -> FloatImage:
    """The variance of the median of n samples, as a share of theirs: pi / 2n; 1 for one sample, 0 for none."""
    share = np.minimum(np.float32(np.pi / 2) / np.maximum(samples, 1), 1)
    return np.asarray(np.where(samples > 0, share, 0), np.float32)


def add(
    rgb: FloatImage, where: Mask, grain: Grain, seed: tuple[int, ...], carried: FloatImage | None, maximum: float
) -> FloatImage:
    """Scene-linear ``rgb``, (height, width, 3), with as much grain in ``where`` as the plate has at its brightness.

    ``carried`` (height, width) is the share of the plate's variance that the pixels have already, None where that is
    not known: it is measured then. No pixel is lifted above ``maximum`` by its grain.
    """
    level = _level_in(rgb, where, grain)
    if not level.any():
        return rgb
    share = _carried(rgb, where, level) if carried is None else carried[..., None]
    white = np.random.default_rng(seed).standard_normal(rgb.shape, np.float32) @ grain.mixing.T
    # in place: a picture of all of a 4K plate takes 100 MB
    grainy = level
    for channel in range(3):
        grainy[..., channel] *= cv2.filter2D(white[..., channel], -1, grain.kernels[channel])
    grainy *= np.sqrt(1 - np.clip(share, 0, 1))
    grainy += rgb
    return np.minimum(grainy, np.maximum(rgb, np.float32(maximum)), out=grainy)


def _level_in(rgb: FloatImage, where: Mask, grain: Grain) -> FloatImage:
    """The standard deviation of the grain in ``where``, (height, width, 3), and 0 elsewhere."""
    # at an edge, neither side takes the grain of the other
    level, wanted = np.zeros_like(rgb), np.flatnonzero(where)
    soft = cv2.GaussianBlur(rgb, (0, 0), 1.5)
    here, around = (grain.at(image.reshape(-1, 3).take(wanted, axis=0)) for image in (rgb, soft))
    level.reshape(-1, 3)[wanted] = np.minimum(here, around)
    return level


def _carried(rgb: FloatImage, where: Mask, level: FloatImage) -> FloatImage:
    """The share of the variance ``level`` squared that ``rgb`` has already, (height, width, 3), by the flattest blocks
    around each.
    """
    height, width = where.shape
    padding = [(0, -height % _BLOCK), (0, -width % _BLOCK)]
    rows, columns = (height + padding[0][1]) // _BLOCK, (width + padding[1][1]) // _BLOCK
    padded = np.pad(rgb, [*padding, (0, 0)], mode="edge")
    variance = _means(_without_slopes(_blocks(padded)) ** 2)
    expected = _means(_blocks(np.pad(level, [*padding, (0, 0)])) ** 2)
    inside = _blocks(np.pad(where, padding)).mean(axis=(1, 2)) > 0.75
    measured = inside[:, None] & (expected > 0)
    share = np.where(measured, variance / np.maximum(expected, 1e-20), np.inf).reshape(rows, columns, 3)
    share = cv2.erode(np.minimum(share, 1e6).astype(np.float32), np.ones((3, 3), np.uint8))
    # where nothing can be measured, there is none
    share[share >= 1e6] = 0
    share = cv2.GaussianBlur(np.minimum(share, 1), (3, 3), 0)
    full = cv2.resize(share, (columns * _BLOCK, rows * _BLOCK), interpolation=cv2.INTER_LINEAR)
    return np.asarray(full[:height, :width])
