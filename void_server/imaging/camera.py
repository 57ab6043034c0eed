"""The camera's motion over a shot, as homographies that follow the background.

Corners of the background are tracked from an anchor frame (Lucas-Kanade with a backward check) and a homography is
fitted to those that agree (MAGSAC, then least squares). The anchor stays while most of its corners are found and agree,
so that errors do not add up from frame to frame; then the last frame becomes the next. A camera at rest has exactly the
identity, so nothing is resampled.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from .exr import FloatImage
from .masks import Mask

Homography = NDArray[np.float64]
Grey = NDArray[np.uint8]

# Motion of no corner of the frame by more than this many analysed pixels since the anchor counts as a camera at rest.
_AT_REST = 0.25
_FEWEST = 24
#: Darker and brighter pixels, of 255, tell nothing of the light; less of a change is none.
_DARK, _BRIGHT, _SAME = 8, 240, 0.03
#: In analysed pixels, the error of a corner that a homography explains.
_FITS = 0.8
#: A homography is fitted again so many times to the corners that it explains by so many times the usual error.
_REFITS, _EXPLAINED = 3, 2.5
#: The next anchor is taken where fewer of its corners in sight are found, and where fewer of these agree.
_FOUND, _AGREE = 0.5, 0.8
#: Most corners are so many of all; one that is farther off than this moves by itself.
_MOST, _OWN_WAY = 0.6, 2.0
#: The camera rests where so many of all corners do, and of the others so few agree on a motion, ...
_RESTING, _AGREEING = 0.12, 0.6
#: ... and those at rest lie this far apart, as shares of both sides.
_WIDE, _TALL = 0.6, 0.4
#: The picture, this soft, is compared in so many cells: one tells that it rests where its slope, of 255 a pixel, is
#: more than the first, and that it does not where it changes by more than the other.
_SOFT, _CELLS, _SLOPE, _LEAST = 1.5, (16, 9), 0.4, 1.0
#: It rests where so much of the cells that tell say so, which are this share of all at least.
_RESTING_CELLS, _TELLING = 0.42, 0.25


class _Anchor(NamedTuple):
    image: Grey
    seen: Mask
    corners: FloatImage  # (n, 1, 2)
    from_first: Homography


def grey(rgb: FloatImage) -> Grey:
    """Display-referred RGB as 8-bit luma."""
    return np.clip(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) * 255 + 0.5, 0, 255).astype(np.uint8)


def _anchor(image: Grey, excluded: Mask, from_first: Homography) -> _Anchor:
    free = np.where(excluded, 0, 255).astype(np.uint8)
    corners = cv2.goodFeaturesToTrack(image, 1200, 0.003, 5, mask=free)
    return _Anchor(image, ~excluded, corners if corners is not None else np.zeros((0, 1, 2), np.float32), from_first)


def _follow(anchor: _Anchor, image: Grey, excluded: Mask) -> tuple[FloatImage, FloatImage]:
    """Where the anchor's corners are in ``image``: pairs of (n, 2) positions, there and here."""
    if not len(anchor.corners):
        return anchor.corners.reshape(-1, 2), anchor.corners.reshape(-1, 2)
    image = _as_bright(image, anchor.image, ~excluded)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 0.003)
    there, status, _ = cv2.calcOpticalFlowPyrLK(
        anchor.image, image, anchor.corners, None, winSize=(17, 17), maxLevel=4, criteria=criteria
    )
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(
        image, anchor.image, there, None, winSize=(17, 17), maxLevel=4, criteria=criteria
    )
    good = (status.ravel() > 0) & (found_back.ravel() > 0)
    good &= np.linalg.norm((back - anchor.corners).reshape(-1, 2), axis=1) < 0.4
    there = there.reshape(-1, 2)
    height, width = image.shape
    x, y = np.round(there).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    good &= inside
    good[inside] &= ~excluded[y[inside], x[inside]]
    return anchor.corners.reshape(-1, 2)[good], there[good]


def _as_bright(image: Grey, other: Grey, seen: Mask) -> Grey:
    """``image`` as bright as the other: where the light fades, corners would slip."""
    compared = seen & (other > _DARK) & (other < _BRIGHT)
    if np.count_nonzero(compared) < _FEWEST:
        return image
    gain = float(np.median(other[compared] / np.maximum(image[compared], 1.0)))
    return image if abs(gain - 1) < _SAME else cv2.convertScaleAbs(image, alpha=gain)


def _fit(source: FloatImage, target: FloatImage) -> Homography | None:
    """The homography that takes ``source`` points to ``target`` points, None where too few agree on one."""
    if len(source) < _FEWEST:
        return None
    matrix, inliers = cv2.findHomography(source, target, cv2.USAC_MAGSAC, _FITS, maxIters=5000, confidence=0.999)
    if matrix is None or inliers.sum() < _FEWEST / 2:
        return None
    # of the few points that gave it, it has the error
    agreeing = inliers.ravel() > 0
    for _ in range(_REFITS):
        refitted, _ = cv2.findHomography(source[agreeing], target[agreeing], 0)
        if refitted is None:
            break
        matrix, off = refitted, _error(source, target, refitted)
        agreeing = off <= min(_FITS, _EXPLAINED * float(np.median(off[agreeing])) + 1e-3)
        if np.count_nonzero(agreeing) < _FEWEST / 2:
            break
    return np.asarray(matrix, np.float64)


def _error(source: FloatImage, target: FloatImage, matrix: Homography) -> NDArray[np.float64]:
    """How far a homography takes each ``source`` point from its ``target``."""
    there = cv2.perspectiveTransform(source[:, None].astype(np.float64), matrix)[:, 0]
    return np.asarray(np.linalg.norm(there - target, axis=1))


def _rests(matrix: Homography, shape: tuple[int, ...]) -> bool:
    height, width = shape
    corners = np.array([[[0, 0]], [[width, 0]], [[0, height]], [[width, height]]], np.float64)
    moved = cv2.perspectiveTransform(corners, matrix) - corners
    return bool(np.linalg.norm(moved, axis=-1).max() < _AT_REST)


def _most_rest(source: FloatImage, target: FloatImage) -> bool:
    # in a small picture, a thing that moves can win the homography over a background of few corners
    return bool(np.median(np.linalg.norm(target - source, axis=1)) < _AT_REST)


def _ground_rests(source: FloatImage, target: FloatImage, matrix: Homography) -> bool:
    """Whether the scene rests although most corners move, each its own way: water, leaves or a crowd before a lens."""
    rest = np.linalg.norm(target - source, axis=1) < _AT_REST
    agreeing = _error(source, target, matrix) < _FITS
    if rest.mean() < _RESTING or rest.all() or agreeing[~rest].mean() > _AGREEING:
        return False
    # the far distance rests under a travelling camera too, but not the ground before it
    (left, top), (right, bottom) = np.quantile(source, 0.02, axis=0), np.quantile(source, 0.98, axis=0)
    (first, highest), (last, lowest) = source[rest].min(axis=0), source[rest].max(axis=0)
    wide = last - first > _WIDE * (right - left) and lowest - highest > _TALL * (bottom - top)
    return bool(wide and lowest >= bottom - (bottom - top) / 8)


def _picture_rests(anchor: _Anchor, image: Grey, excluded: Mask) -> bool:
    """Whether much of the picture rests since the anchor, by area: things that move may have most of the corners."""
    image = _as_bright(image, anchor.image, ~excluded)
    now, before = (cv2.GaussianBlur(picture.astype(np.float32), (0, 0), _SOFT) for picture in (image, anchor.image))
    compared = (anchor.seen & ~excluded).astype(np.float32)
    slope = np.hypot(*(cv2.Sobel(before, -1, dx, 1 - dx, ksize=3, scale=1 / 8) for dx in (1, 0)))
    weight = np.maximum(cv2.resize(compared, _CELLS, interpolation=cv2.INTER_AREA), 0.1)
    change, slopes = (
        cv2.resize(values * compared, _CELLS, interpolation=cv2.INTER_AREA) / weight
        for values in (np.abs(now - before), slope)
    )
    rest = (slopes > _SLOPE) & (change < _AT_REST * slopes)
    telling = np.count_nonzero(rest | (change > np.maximum(_LEAST, _AT_REST * slopes)))
    if telling < _TELLING * rest.size or np.count_nonzero(rest) < _RESTING_CELLS * telling:
        return False
    rows, columns = np.nonzero(rest)
    return bool(np.ptp(columns) >= _WIDE * (_CELLS[0] - 1) and rows.max() >= _CELLS[1] - 2)


class _Found(NamedTuple):
    """What became of an anchor's corners in a frame.

    Pairs of (n, 2) positions; the homography between them, None where they agree on none; and the shares of the corners
    in sight that were found, and of these that agree.
    """

    source: FloatImage
    target: FloatImage
    matrix: Homography | None
    share: float
    agreeing: float

    def rests(self, shape: tuple[int, ...]) -> bool:
        """Whether the camera did not move since the anchor."""
        assert self.matrix is not None
        return (
            _rests(self.matrix, shape)
            or _most_rest(self.source, self.target)
            or _ground_rests(self.source, self.target, self.matrix)
        )


def _since(anchor: _Anchor, image: Grey, excluded: Mask, expected: Homography) -> _Found:
    """Follow the anchor's corners to a frame that is ``expected`` to lie about there."""
    size = image.shape[1::-1]
    expects = not np.array_equal(expected, np.eye(3))
    there, hidden = image, excluded
    if expects:
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        there = cv2.warpPerspective(image, expected, size, flags=flags)
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        hidden = cv2.warpPerspective(excluded.astype(np.uint8), expected, size, flags=flags, borderValue=1) > 0
    source, target = _follow(anchor, there, hidden)
    x, y = anchor.corners.reshape(-1, 2).astype(int).T
    share = len(source) / max(int(np.count_nonzero(~hidden[y, x])), 1)
    if expects and len(target):
        target = cv2.perspectiveTransform(target[:, None].astype(np.float64), expected)[:, 0].astype(np.float32)
    matrix = _fit(source, target)
    agreeing = 1.0 if matrix is None else float(np.mean(_error(source, target, matrix) < _FITS))
    return _Found(source, target, matrix, share, agreeing)


def slip(one: FloatImage, other: FloatImage, excluded: Mask) -> float:
    """How far most corners of the background lie apart in two pictures of one view, in pixels: parallax that is left.

    Corners farther apart than :data:`_OWN_WAY` go their own way.
    """
    source, target = _follow(_anchor(grey(one), excluded, np.eye(3)), grey(other), excluded)
    apart = np.linalg.norm(target - source, axis=1)
    apart = apart[apart < _OWN_WAY]
    return float(np.quantile(apart, _MOST)) if len(apart) >= _FEWEST else 0.0


class Camera:
    """Homographies between any two frames of a shot, in pixels of the size that was analysed.

    ``from_first`` holds, for each frame, the homography from the first frame to it. ``agreement`` is the share of the
    background's corners that move as it says, in the median of the frames in which it moves.
    """

    def __init__(self, from_first: Iterable[Homography], agreement: float = 1.0) -> None:
        self._from_first = list(from_first)
        self.agreement = agreement

    @property
    def from_first(self) -> NDArray[np.float64]:
        """All homographies from the first frame, (frames, 3, 3)."""
        return np.stack(self._from_first)

    @classmethod
    def track(cls, frames: Iterable[tuple[FloatImage, Mask]]) -> Camera:
        """Track the background through ``frames``, pairs of display-referred RGB and the pixels to ignore.

        A frame in which nothing can be tracked (black, or all excluded) keeps the previous frame's position.
        """
        homographies: list[Homography] = []
        agreeing: list[float] = []
        anchor: _Anchor | None = None
        latest, moving = np.eye(3), False  # since the anchor
        for rgb, excluded in frames:
            image = grey(rgb)
            if anchor is None:
                anchor = _anchor(image, excluded, np.eye(3))
            found = _since(anchor, image, excluded, latest)
            if not moving:
                moving = (
                    found.matrix is not None
                    and not found.rests(image.shape)
                    and not _picture_rests(anchor, image, excluded)
                )
            if moving and found.matrix is not None:
                latest = found.matrix
                agreeing.append(found.agreeing)
            homographies.append(latest @ anchor.from_first)
            if found.share < _FOUND or (moving and found.agreeing < _AGREE):
                anchor = _anchor(image, excluded, homographies[-1])
                latest, moving = np.eye(3), False
        return cls(homographies, float(np.median(agreeing)) if agreeing else 1.0)

    @property
    def at_rest(self) -> bool:
        """Whether the camera does not move at all."""
        return all(np.array_equal(m, np.eye(3)) for m in self._from_first)

    def between(self, source: int, target: int, scale: float = 1.0) -> Homography:
        """The homography from frame index ``source`` to frame index ``target``.

        ``scale`` is the size of the pixels' image relative to the analysed one.
        """
        if source == target:
            return np.eye(3)
        matrix = self._from_first[target] @ np.linalg.inv(self._from_first[source])
        # pixel centres lie at half coordinates, so a change of scale moves them
        sizing = np.array([[scale, 0, scale / 2 - 0.5], [0, scale, scale / 2 - 0.5], [0, 0, 1]])
        matrix = sizing @ matrix @ np.linalg.inv(sizing)
        return np.asarray(matrix / matrix[2, 2])
