"""Textures in motion, such as water or leaves, behind what is removed, under a camera at rest.

What such a place usually shows is a still, soft picture of it. It is set in motion by the same texture beside it at the
same time, over all frames from the same place, so that it moves as it does there, and is as bright as the place itself.
Towards the border it gives way to what is seen there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...imaging.channels import largest
from ...imaging.exr import FloatImage
from ...imaging.fill import smooth_fill
from ...imaging.masks import Mask, grown
from ...imaging.sequence import spread
from ...imaging.temporal import median
from ...imaging.window import Window
from ..clip import Clip
from ..origin import FILLED
from .resting import Resting
from .sampling import analysed_positions, lookup

#: A texture moves where frames usually depart by so much from what is usual, display-referred, and by this share of it
#: from one frame to the next.
_LIVELY, _LIVES = 0.035, 0.4
#: So many pairs of neighbouring frames tell that.
_PAIRS = 16
#: Less of a frame is no texture.
_LEAST = 0.004
#: Places are compared at this share of the analysed size.
_COARSE = 4
#: So many places at most lend their motion; each ends softly, over so many analysed pixels.
_PLACES, _SOFT = 6, 4.0
#: A place beside lies so much of the frame away at most, and at the same height, or nearly.
_ACROSS, _UP = 0.6, 0.12
#: A place that moves more or less than this, over what it lends its motion to, is another texture.
_ALIKE = 1.6
#: Brightness and colour are those of so many analysed pixels around.
_AROUND = 10.0
#: The share of the motion that is taken; all of it would be as far from the truth as two strangers.
_STRENGTH = 0.75
#: What departs at the border says something of so many analysed pixels.
_REACH = 4.0


@dataclass(frozen=True)
class Living:
    """All textures in motion of a shot, at the analysed size.

    ``usual`` (height, width, 3) is the colour around each pixel over space and time; ``lively`` (height, width) is 1
    where it moves. ``places`` (n, 2) say how far away, x and y, motion is borrowed; ``weights`` (n, height, width), how
    much of each.
    """

    usual: FloatImage
    lively: FloatImage
    places: NDArray[np.int32]
    weights: FloatImage

    @classmethod
    def none(cls) -> Living:
        """No such texture."""
        nothing = np.zeros((0, 0), np.float32)
        return cls(nothing[..., None], nothing, np.zeros((0, 2), np.int32), nothing[None][:0])

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]]) -> Living:
        """Those that :meth:`arrays` describes."""
        return cls(*(arrays[f"living_{name}"] for name in ("usual", "lively", "places", "weights")))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that :meth:`load` needs."""
        return {f"living_{name}": value for name, value in vars(self).items()}

    def lay_over(
        self, clip: Clip, index: int, window: Window, rgb: FloatImage, grain: FloatImage, origin: NDArray[np.uint8]
    ) -> None:
        """Set the scene ``rgb``, (height, width, 3), display-referred, in ``window`` of a frame in motion; in place.

        ``grain``, (height, width), the share of the plate's grain that each pixel has, and ``origin`` follow.
        """
        if not len(self.places):
            return
        at, hidden = analysed_positions(clip, window), clip.rewritten(index, window)
        new = (cv2.remap(self.lively, at, None, cv2.INTER_LINEAR) > 0.5) & (clip.blend(index, window) > 0)
        if not (new & hidden).any():
            return
        rows, columns = np.nonzero(new)
        here = at[rows, columns]
        usual = lookup(self.usual, here)
        total, power = np.zeros((2, len(here), 3), np.float32)
        canvas, scale = clip.footage.canvas, clip.footage.scale
        lowest, highest = np.full(3, np.inf, np.float32), np.full(3, -np.inf, np.float32)
        for place, weights in zip(self.places, self.weights, strict=True):
            weight = lookup(weights, here)
            across, down = (round(float(side) / scale) for side in place)
            part = Window(window.x + across, window.y + down, window.width, window.height)
            inside = part.intersection(canvas)
            y, x = rows + part.y - inside.y, columns + part.x - inside.x
            take = (weight > 0.01) & (y >= 0) & (x >= 0) & (y < inside.height) & (x < inside.width)
            if inside.empty or not take.any():
                continue
            there = analysed_positions(clip, inside)[y[take], x[take]]
            free = ~clip.rewritten(index, inside)[y[take], x[take]] & (lookup(self.lively, there) > 0.5)
            colours = clip.plate(index, inside)[y[take], x[take]]
            if free.any():
                lowest = np.minimum(lowest, colours[free].min(axis=0))
                highest = np.maximum(highest, colours[free].max(axis=0))
            share = (weight[take] * free)[:, None]
            total[take] += (colours - lookup(self.usual, there)) * share
            power[take] += share**2
        if not np.isfinite(lowest).all():
            return
        moving = rgb[rows, columns]
        # a mean of two places moves less than each
        borrowed = usual + total / np.sqrt(np.maximum(power, 1e-4))
        share = _STRENGTH * np.clip(power / 0.05, 0, 1)
        moving += (np.clip(borrowed, lowest, highest) - moving) * share
        result = rgb.copy()
        result[rows, columns] = moving
        # what is seen at the border goes on behind it
        border = new & ~hidden
        off = (clip.plate(index, window) - result) * border[..., None]
        away = cv2.distanceTransform((~border).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
        near = np.exp(-away * np.float32(scale / _REACH))[..., None]
        result += smooth_fill(off, border) * near
        rgb[rows, columns] = np.clip(result[rows, columns], lowest, highest)
        # where hardly anything lends its motion, it is the median that it was
        lent = share.max(axis=-1) > _STRENGTH / 2
        grain[rows[lent], columns[lent]], origin[rows[lent], columns[lent]] = _STRENGTH**2, FILLED


def find(shot: Resting) -> Living:
    """Find the textures in motion behind what is hidden, and where motion may be borrowed for them."""
    if shot.lit is not None:
        # a light that changes and a texture that moves cannot be told apart beside the hole
        return Living.none()
    motion = _motion(shot)
    wanted = np.logical_or.reduce(list(shot.hidden)) & (motion > 0)
    if not wanted.any():
        return Living.none()
    places, weights = _places(shot, motion, wanted)
    if not len(places):
        return Living.none()
    lively = motion > 0
    weight = cv2.GaussianBlur(lively.astype(np.float32), (0, 0), _AROUND)[..., None]
    usual = cv2.GaussianBlur(shot.rest * lively[..., None], (0, 0), _AROUND) / np.maximum(weight, 1e-3)
    return Living(usual, lively.astype(np.float32), places, weights)


def _motion(shot: Resting) -> FloatImage:
    """How far each pixel usually departs from what it usually shows, where that changes from frame to frame; else 0."""
    firsts = [index for run in shot.runs for index in run[:-1]]
    pairs = [(firsts[position], firsts[position] + 1) for position in spread(len(firsts), _PAIRS)]
    changes, seen = [], []
    for one, other in pairs:
        change = cv2.GaussianBlur(shot.plate(other) - shot.plate(one), (0, 0), 1.2)
        changes.append(largest(np.abs(change)).reshape(-1, 1))
        seen.append(~(shot.hidden[one] | shot.hidden[other]).ravel())
    if not pairs:
        return np.zeros(shot.rest.shape[:2], np.float32)
    change = median(np.stack(changes), np.stack(seen)).reshape(shot.rest.shape[:2])
    lively = (shot.noise > _LIVELY) & (cv2.blur(change, (5, 5)) > _LIVES * shot.noise)
    tidy = cv2.morphologyEx(lively.astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(tidy, connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] > _LEAST * tidy.size
    large[0] = False
    # what is usual was measured over so many pixels
    inner = cv2.erode(large[labels].astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    return np.where(inner, shot.noise, 0).astype(np.float32)


def _places(shot: Resting, motion: FloatImage, wanted: Mask) -> tuple[NDArray[np.int32], FloatImage]:
    """From how far away motion may be borrowed, (n, 2), and with which weights, (n, height, width).

    A place serves a pixel if it lies in the same texture and is seen whenever the pixel is hidden. As few places as
    possible, so that motion stays whole.
    """
    height, width = motion.shape
    size = width // _COARSE, height // _COARSE

    def coarse(mask: Mask) -> FloatImage:
        return cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)

    lively = coarse(motion > 0) > 0.9
    level = cv2.resize(motion, size, interpolation=cv2.INTER_AREA)
    open_ = coarse(wanted) > 0
    hidden = [coarse(mask) > 0 for mask in shot.hidden]
    taken = [grown(mask, 1) for mask in hidden]
    most = round(_ACROSS * size[0]), round(_UP * size[1])
    steps = [
        (x, y) for y in range(-most[1], most[1] + 1, 3) for x in range(-most[0], most[0] + 1, 2) if (x, y) != (0, 0)
    ]
    serves: dict[tuple[int, int], Mask] = {}
    for step in steps:
        there, other = _shifted(lively, step), _shifted(level, step)
        fits = open_ & there & (other < _ALIKE * level + 1e-6) & (level < _ALIKE * other + 1e-6)
        if not fits.any():
            continue
        for mask, occupied in zip(hidden, taken, strict=True):
            fits &= ~(mask & _shifted(occupied, step))
        serves[step] = fits
    chosen: list[tuple[tuple[int, int], Mask]] = []
    while open_.any() and len(chosen) < _PLACES and serves:
        # of equals, the nearest
        step = max(serves, key=lambda s: (serves[s] & open_).sum() * (1 - 0.3 * np.hypot(*s) / size[0]))
        part = serves[step] & open_
        if part.sum() < 4:
            break
        chosen.append((step, part))
        open_ &= ~part
    weights = np.zeros((len(chosen), height, width), np.float32)
    for number, (step, part) in enumerate(chosen):
        full = cv2.resize(part.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST)
        allowed = cv2.resize(serves[step].astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST)
        weights[number] = cv2.GaussianBlur(grown(full > 0, _COARSE).astype(np.float32), (0, 0), _SOFT) * (
            grown(allowed > 0, _COARSE)
        )
    return _COARSE * np.array([step for step, _ in chosen], np.int32).reshape(-1, 2), weights


def _shifted(image: NDArray[Any], step: tuple[int, int]) -> NDArray[Any]:
    """What lies ``step``, x and y, from each pixel; 0 beyond the frame."""
    x, y = step
    height, width = image.shape
    result = np.zeros_like(image)
    rows, columns = slice(max(0, -y), min(height, height - y)), slice(max(0, -x), min(width, width - x))
    there = slice(max(0, y), min(height, height + y)), slice(max(0, x), min(width, width + x))
    result[rows, columns] = image[there]
    return result
