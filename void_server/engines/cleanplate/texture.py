"""Continue texture into what no frame shows, from the pixels around it.

From coarse to fine, each patch that touches the hole looks for the patch outside that is most like it (PatchMatch,
Barnes et al. 2009), and the hole takes the colours that its patches agree on (Wexler et al. 2007). In the end each
pixel is copied from the one place that comes closest to what they agree on, so that nothing is averaged away and
highlights stay, and the seams between them are taken out. Where the surroundings are smooth, so is the fill.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ...imaging.exr import FloatImage
from ...imaging.fill import smooth_fill
from ...imaging.masks import Mask
from ...imaging.parallel import for_each
from .inpaint import correction, inpaint

Places = NDArray[np.intp]

#: Patches reach so many pixels from their middle.
_RADIUS = 3
#: Sources are looked for this far around the hole, as a share of its longer side, and at least so many pixels.
_AROUND, _LEAST_AROUND = 1.0, 48
#: Longer holes are matched at a smaller size; the pixels are copied at full size.
_LONGEST = 220
_COARSEST = 24
#: Rounds of matching and agreeing at each size, and of matching within each.
_ROUNDS, _MATCHES = {"first": 10, "middle": 4, "last": 2}, 2
#: By this factor with each pixel from the border, less is known of what belongs there.
_LESS_SURE = 1.6
#: Things stand upright and what lies level is farther away the higher it is seen: a source as far above or below as the
#: hole is high costs as much as this mean difference of its patch.
_LEVEL = 0.4
#: Display-referred mean gradient of the surroundings, below which the fill is smooth.
_SMOOTH = 0.006
#: Display-referred: where a seam would take more to hide, it stays.
_FARTHEST = 0.1
#: Patches compared at once.
_PIECE = 1 << 13
_PATCH = [(dy, dx) for dy in range(2 * _RADIUS + 1) for dx in range(2 * _RADIUS + 1)]


class _Level(NamedTuple):
    """The picture at one size, display-referred; the hole; and where the middle of a source patch may lie."""

    image: FloatImage
    hole: Mask
    sources: Places


def complete(image: FloatImage, hole: Mask, usable: Mask) -> FloatImage:
    """Fill ``hole`` of ``image``, (height, width, 3), display-referred, from pixels that are ``usable``.

    The same pixels always give the same fill. Where there is too little to copy from, or it is smooth, the fill is the
    membrane.
    """
    membrane = inpaint(image, hole)
    if not hole.any():
        return membrane
    x, y, width, height = cv2.boundingRect(hole.astype(np.uint8))
    margin = max(_LEAST_AROUND, round(_AROUND * max(width, height)))
    rows = slice(max(y - margin, 0), y + height + margin)
    columns = slice(max(x - margin, 0), x + width + margin)
    result = membrane.copy()
    inner, free = hole[rows, columns], usable[rows, columns] & ~hole[rows, columns]
    filled = _textured(membrane[rows, columns], inner, free, max(width, height))
    if filled is None:
        return membrane
    share = _texture_share(image[rows, columns], inner, free)[..., None]
    result[rows, columns] = np.where(
        inner[..., None], membrane[rows, columns] * (1 - share) + filled * share, result[rows, columns]
    )
    return result


def _texture_share(image: FloatImage, hole: Mask, free: Mask) -> FloatImage:
    """Where the fill is textured (1) or smooth (0), by the gradients around: (height, width)."""
    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    slope = np.hypot(*(cv2.Sobel(grey, cv2.CV_32F, dx, 1 - dx, ksize=3, scale=1 / 8) for dx in (1, 0)))
    inside = cv2.erode(free.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    near = cv2.dilate(hole.astype(np.uint8), np.ones((25, 25), np.uint8)) > 0
    level = smooth_fill(slope[..., None], inside & near)[..., 0]
    return np.clip((cv2.GaussianBlur(level, (0, 0), 6) - _SMOOTH / 2) / (_SMOOTH / 2), 0, 1)


def _textured(start: FloatImage, hole: Mask, free: Mask, longest: int) -> FloatImage | None:
    """The picture with its hole filled by copied pixels; None where there is too little to copy."""
    scale = min(1.0, _LONGEST / longest)
    levels = [_level(start, hole, free, scale)]
    while max(levels[-1].hole.any(axis=1).sum(), levels[-1].hole.any(axis=0).sum()) > _COARSEST and len(levels) < 6:
        levels.append(_level(start, hole, free, scale * 0.5 ** len(levels)))
    levels = [level for level in levels if len(level.sources) > 50 and level.hole.any()]
    if not levels or min(levels[0].hole.shape) < 4 * _RADIUS:
        return None
    rng = np.random.default_rng(0)
    found: FloatImage | None = None
    current = levels[-1].image
    for number, level in enumerate(reversed(levels)):
        if number:
            size = level.hole.shape[1::-1]
            grown = cv2.resize(current, size, interpolation=cv2.INTER_CUBIC)
            current = np.where(level.hole[..., None], grown, level.image)
        when = "first" if number == 0 else "middle" if number < len(levels) - 1 else "last"
        current, found = _agree(level, current, found, _ROUNDS[when], rng)
    assert found is not None
    return _copied(start, hole, free, found)


def _level(image: FloatImage, hole: Mask, free: Mask, scale: float) -> _Level:
    size = max(8, round(hole.shape[1] * scale)), max(8, round(hole.shape[0] * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    covered = cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.01
    clear = cv2.resize(free.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.99
    whole = np.zeros_like(clear)
    whole[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS] = True
    whole &= cv2.erode(clear.astype(np.uint8), np.ones((2 * _RADIUS + 1,) * 2, np.uint8), borderValue=0) > 0
    return _Level(small.astype(np.float32), covered, np.argwhere(whole))


class _Search:
    """Patches of the hole, and the best source of each so far."""

    def __init__(self, level: _Level, rng: np.random.Generator) -> None:
        self.level, self.rng = level, rng
        height, width = level.hole.shape
        kernel = np.ones((2 * _RADIUS + 1,) * 2, np.uint8)
        touching = cv2.dilate(level.hole.astype(np.uint8), kernel) > 0
        self.at = np.argwhere(touching)
        self.number = np.full((height + 2, width + 2), -1, np.intp)
        self.number[self.at[:, 0] + 1, self.at[:, 1] + 1] = np.arange(len(self.at))
        self.allowed = np.zeros((height, width), bool)
        self.allowed[level.sources[:, 0], level.sources[:, 1]] = True
        distance = cv2.distanceTransform(level.hole.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
        self.sure = np.exp(-distance * np.float32(np.log(_LESS_SURE)))
        self.padded_sure = cv2.copyMakeBorder(self.sure, *(_RADIUS,) * 4, cv2.BORDER_REFLECT_101)
        self.weights = np.zeros(len(self.at), np.float32)
        for dy, dx in _PATCH:
            self.weights += self.padded_sure[self.at[:, 0] + dy, self.at[:, 1] + dx]
        self.tall = max(int(level.hole.any(axis=1).sum()), 2 * _RADIUS)
        self.best = level.sources[rng.integers(0, len(level.sources), len(self.at))]
        self.cost = np.full(len(self.at), np.inf, np.float32)

    def start(self, current: FloatImage, found: FloatImage | None) -> None:
        """Take the sources of the coarser size, where there are any; look at everything anew."""
        if found is not None:
            height, width = self.level.hole.shape
            ratio = np.array([height / found.shape[0], width / found.shape[1]])
            coarse = np.minimum((self.at / ratio).astype(np.intp), np.array(found.shape[:2]) - 1)
            offset = found[coarse[:, 0], coarse[:, 1]] * ratio
            self._keep_allowed(np.round(self.at + offset).astype(np.intp))
        self.renew(current)

    def _keep_allowed(self, places: Places) -> None:
        inside = self._inside(places)
        self.best = np.where(inside[:, None], places, self.best)

    def _inside(self, places: Places) -> Mask:
        height, width = self.allowed.shape
        good = (places >= 0).all(axis=1) & (places[:, 0] < height) & (places[:, 1] < width)
        good[good] = self.allowed[places[good, 0], places[good, 1]]
        return np.asarray(good)

    def renew(self, current: FloatImage) -> None:
        """Compare with a new picture of the hole."""
        self.padded = cv2.copyMakeBorder(current, *(_RADIUS,) * 4, cv2.BORDER_REFLECT_101)
        self.source = cv2.copyMakeBorder(self.level.image, *(_RADIUS,) * 4, cv2.BORDER_REFLECT_101)
        self._wide = np.int64(self.padded.shape[1])
        self.cost = np.full(len(self.at), np.inf, np.float32)
        self._improve(np.arange(len(self.at)), self.best)

    def _improve(self, which: Places, places: Places) -> None:
        """Take those ``places`` whose patches are more like what is known, weighted by how sure their pixels are, and
        how far from level, than the best so far.
        """
        ours, theirs, sure = self.padded.reshape(-1, 3), self.source.reshape(-1, 3), self.padded_sure.ravel()

        def piece(begin: int) -> None:
            one, other = which[begin : begin + _PIECE], places[begin : begin + _PIECE]
            climb = (other[:, 0] - self.at[one, 0]) / np.float32(self.tall)
            uneven, unlike = 3 * (_LEVEL * climb) ** 2, np.zeros(len(one), np.float32)
            for dy in range(2 * _RADIUS + 1):
                here, there = (places @ [self._wide, 1] + dy * self._wide for places in (self.at[one], other))
                for dx in range(2 * _RADIUS + 1):
                    difference = ours[here + dx] - theirs[there + dx]
                    unlike += sure[here + dx] * np.einsum("pc,pc->p", difference, difference)
                # it only grows
                cost = (unlike / self.weights[one] + uneven).astype(np.float32)
                left = cost < self.cost[one]
                if not left.all():
                    one, other, unlike, uneven, cost = (a[left] for a in (one, other, unlike, uneven, cost))
            self.best[one], self.cost[one] = other, cost

        for_each(piece, range(0, len(which), _PIECE))

    def _try(self, which: Places, places: Places) -> None:
        new = self._inside(places) & (places != self.best[which]).any(axis=1)
        self._improve(which[new], places[new])

    def match(self) -> None:
        """Let neighbours tell each other of their sources, and look around at random, ever nearer."""
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            neighbour = self.number[self.at[:, 0] + 1 + dy, self.at[:, 1] + 1 + dx]
            which = np.flatnonzero(neighbour >= 0)
            self._try(which, self.best[neighbour[which]] - np.array([dy, dx]))
        everyone = np.arange(len(self.at))
        self._try(everyone, self.level.sources[self.rng.integers(0, len(self.level.sources), len(self.at))])
        reach = max(self.allowed.shape) / 2
        while reach > 1:
            jump = self.rng.integers(-round(reach), round(reach) + 1, (len(self.at), 2))
            self._try(everyone, self.best + jump)
            reach /= 3

    def proposals(self, image: FloatImage) -> FloatImage:
        """For each hole pixel the mean of what the patches over it propose."""
        height, width = self.level.hole.shape
        typical = max(float(np.quantile(self.cost, 0.5)), 1e-6)
        weight = np.exp(-self.cost / (2 * typical)).astype(np.float32) * self.sure[self.at[:, 0], self.at[:, 1]]
        weight += np.float32(1e-6)
        total = np.zeros((height + 2 * _RADIUS, width + 2 * _RADIUS, 3), np.float32)
        sums = np.zeros(total.shape[:2], np.float32)
        source = cv2.copyMakeBorder(image, *(_RADIUS,) * 4, cv2.BORDER_REFLECT_101)
        for dy, dx in _PATCH:
            y, x = self.at[:, 0] + dy, self.at[:, 1] + dx
            total[y, x] += weight[:, None] * source[self.best[:, 0] + dy, self.best[:, 1] + dx]
            sums[y, x] += weight
        inner = np.s_[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS]
        return total[inner] / np.maximum(sums[inner], np.float32(1e-6))[..., None]

    def offsets(self, agreed: FloatImage) -> FloatImage:
        """For each pixel that a patch covers the way to the source that comes closest to what all agree on."""
        height, width = self.level.hole.shape
        result = np.zeros((height, width, 2), np.float32)
        least = np.full((height, width), np.inf, np.float32)
        for step in _PATCH:
            by = np.array(step) - _RADIUS
            y, x = (self.at + by).T
            inside = (y >= 0) & (x >= 0) & (y < height) & (x < width)
            y, x = y[inside], x[inside]
            there = self.best[inside] + by
            difference = self.level.image[there[:, 0], there[:, 1]] - agreed[y, x]
            away = np.einsum("pc,pc->p", difference, difference) + self.cost[inside]
            better = away < least[y, x]
            least[y[better], x[better]] = away[better]
            result[y[better], x[better]] = (self.best - self.at)[inside][better]
        return result


def _agree(
    level: _Level, current: FloatImage, found: FloatImage | None, rounds: int, rng: np.random.Generator
) -> tuple[FloatImage, FloatImage]:
    """The hole filled at one size, and for each of its pixels the way to its source."""
    search = _Search(level, rng)
    search.start(current, found)
    for _ in range(rounds):
        for _ in range(_MATCHES):
            search.match()
        agreed = search.proposals(level.image)
        current = np.where(level.hole[..., None], agreed, level.image).astype(np.float32)
        search.renew(current)
    return current, search.offsets(current)


def _copied(image: FloatImage, hole: Mask, free: Mask, found: FloatImage) -> FloatImage:
    """Each pixel of the hole from its source, at full size."""
    height, width = hole.shape
    ratio = np.array([height / found.shape[0], width / found.shape[1]], np.float32)
    x, y, across, down = cv2.boundingRect(hole.astype(np.uint8))
    top, left = max(y - 1, 0), max(x - 1, 0)
    box = np.s_[top : min(y + down + 1, height), left : min(x + across + 1, width)]
    rows, columns = np.nonzero(hole[box])
    places = np.stack([rows + top, columns + left], axis=-1)
    # the way of the nearest pixel at the size that was matched
    near = np.minimum((places / ratio).astype(np.intp), np.array(found.shape[:2]) - 1)
    sources = np.indices(hole[box].shape).transpose(1, 2, 0) + np.array([top, left])
    sources[rows, columns] = np.clip(np.round(places + found[_at(near)] * ratio), 0, (height - 1, width - 1))
    result = image.copy()
    result[box] = _joined(image, hole[box], free, sources)
    return result


def _joined(image: FloatImage, hole: Mask, free: Mask, sources: Places) -> FloatImage:
    """The pixels at ``sources``, (height, width, 2) rows and columns, without seams where the ``hole`` is.

    Each pixel differs from its neighbours as its source and theirs do from the pixels beside them (Pérez et al.,
    Poisson Image Editing, 2003).
    """
    last, farthest = np.array(hole.shape) - 1, np.array(free.shape) - 1
    pixels, known = image.reshape(-1, image.shape[-1]), free.ravel()

    def number(places: Places) -> Places:
        return places[..., 0] * free.shape[1] + places[..., 1]

    copied = pixels[number(sources)]
    # only what is in the hole bends
    rows, columns = np.nonzero(hole)
    here, bent = sources[rows, columns], np.zeros((len(rows), copied.shape[-1]), np.float32)
    ours = copied[rows, columns]
    for step in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        next_to = np.clip(rows + step[0], 0, last[0]), np.clip(columns + step[1], 0, last[1])
        neighbour = sources[next_to]
        beside = number(np.clip(here + np.array(step), 0, farthest))
        before = number(np.clip(neighbour - step, 0, farthest))
        mine, own = ours - pixels[beside], known[beside]
        theirs, others = pixels[before] - pixels[number(neighbour)], hole[next_to] & known[before]
        # what lies beside a source may be the hole or the object, which says nothing
        told = own[:, None] * mine + others[:, None] * theirs
        count = (own.astype(np.float32) + others)[:, None]
        bent += np.where(count > 0, told / np.maximum(count, 1) - (ours - copied[next_to]), 0)
    bend = np.zeros_like(copied)
    bend[rows, columns] = bent
    return copied + np.clip(correction(bend, hole), -_FARTHEST, _FARTHEST)


def _at(places: Places) -> tuple[Places, Places]:
    """Rows and columns, as an index."""
    return places[..., 0], places[..., 1]
