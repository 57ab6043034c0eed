"""The camera's motion over a shot, as homographies that follow the background.

Whether it moves at all is told by corners of the background (Lucas-Kanade with a backward check) and the homography of
those that agree (MAGSAC, then least squares), if motion then explains the picture better than rest does. A camera at
rest has exactly the identity, so nothing is resampled. From where it moves, each frame is aligned to an anchor frame by
all that shows a slope, as plain scenery has few corners and patterned things many. The anchor stays while most of it is
in sight and agrees, so that errors do not add up from frame to frame; then the last frame becomes the next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from .alignment import Alignment, Frame, Homography, Reference, corners_at
from .corners import Anchor, as_bright, follow, grey
from .exr import FloatImage
from .masks import Mask

# Motion of no corner of the frame by more than this many analysed pixels since the anchor counts as a camera at rest.
_AT_REST = 0.25
_FEWEST = 24
#: In analysed pixels, the error of a corner that a homography explains.
_FITS = 0.8
#: A homography is fitted again so many times to the corners that it explains by so many times the usual error.
_REFITS, _EXPLAINED = 3, 2.5
#: A move may have begun unnoticed so many frames before.
_BEFORE = 24
#: Where fewer of the anchor's corners are found, a camera at rest has this frame as its next anchor.
_FOUND = 0.5
#: The next anchor of one that moves is taken where less of it is in sight, or where less of that agrees than this share
#: of what did at best: where grain is strong, little ever does.
_IN_SIGHT, _AGREE = 0.6, 0.8
#: Where less than this agrees, or so much less than in the frame before, corners tell where to look; where less than
#: this does, nothing was found.
_LOST, _DROP, _NOTHING = 0.6, 0.05, 0.2
#: Where less than this agrees, the light may be uneven, if so much more agrees without it.
_EVEN, _BETTER = 0.85, 0.15
#: The camera rests where so many of all corners do, and of the others so few agree on a motion, ...
_RESTING, _AGREEING = 0.12, 0.6
#: ... and those at rest lie this far apart, as shares of both sides.
_WIDE, _TALL = 0.6, 0.4
#: The picture, this soft, is compared in so many cells: one tells that it rests where its slope, of 255 a pixel, is
#: more than the first, and that it does not where it changes by more than the other.
_SOFT, _CELLS, _SLOPE, _LEAST = 1.5, (16, 9), 0.4, 1.0
#: It rests where so much of the cells that tell say so, which are this share of all at least.
_RESTING_CELLS, _TELLING = 0.42, 0.25


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
    moved = corners_at(matrix, shape) - corners_at(np.eye(3), shape)
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


def _picture_rests(anchor: Anchor, frame: Anchor) -> bool:
    """Whether much of the picture rests since the anchor, by area: things that move may have most of the corners."""
    image = as_bright(frame.image, anchor.image, frame.seen)
    now, before = (cv2.GaussianBlur(picture.astype(np.float32), (0, 0), _SOFT) for picture in (image, anchor.image))
    compared = (anchor.seen & frame.seen).astype(np.float32)
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

    Pairs of (n, 2) positions; the homography between them, None where they agree on none; and the share of the corners
    in sight that were found.
    """

    source: FloatImage
    target: FloatImage
    matrix: Homography | None
    share: float

    def moved(self, shape: tuple[int, ...]) -> Homography | None:
        """How the camera moved since the anchor, as far as corners tell; None if it rests."""
        if self.matrix is None or _rests(self.matrix, shape) or _most_rest(self.source, self.target):
            return None
        return None if _ground_rests(self.source, self.target, self.matrix) else self.matrix


def _since(anchor: Anchor, frame: Anchor) -> _Found:
    """Follow the anchor's corners to a frame."""
    source, target = follow(anchor, frame.image, ~frame.seen)
    x, y = anchor.corners.reshape(-1, 2).astype(int).T
    share = len(source) / max(int(np.count_nonzero(frame.seen[y, x])), 1)
    return _Found(source, target, _fit(source, target), share)


class _View(Anchor):
    """A frame that is laid on others and others on it: as it is, and without light that changes over the picture."""

    @cached_property
    def plain(self) -> Frame:
        return Frame(self.image, self.seen)

    @cached_property
    def evened(self) -> Frame:
        return Frame(self.image, self.seen, evened=True)

    @cached_property
    def plain_reference(self) -> Reference:
        return Reference(self.plain)

    @cached_property
    def evened_reference(self) -> Reference:
        return Reference(self.evened)

    def lay(self, frame: _View, *starts: Homography) -> Alignment:
        """How a frame lies on this one, from the best of some starts."""
        found = _aligned(self.plain_reference, frame.plain, starts)
        if found.agreeing >= _EVEN:
            return found
        other = _aligned(self.evened_reference, frame.evened, starts)
        return other if other.agreeing > found.agreeing + _BETTER else found


class _Mover:
    """A camera that moves, followed frame by frame since it was at ``anchor``, the first."""

    def __init__(self, anchor: _View) -> None:
        self._take(anchor, np.eye(3))
        self._way: Homography = np.eye(3)  # from the last frame but one to the last
        self._lost: _View | None = None  # the last frame, where nothing was found

    def _take(self, anchor: _View, from_first: Homography) -> None:
        self._anchor, self._from_first = anchor, from_first
        self._latest: Homography = np.eye(3)  # since the anchor
        self._agreed = self._agreed_last = 0.0  # at best, and in the last frame

    def follow(self, frame: _View) -> tuple[Homography, float]:
        """The homography from the first frame to the next one, and how much of the background agrees."""
        found = self._found(frame)
        if found.agreeing < _NOTHING and self._lost is not None:
            since = self._lost.lay(frame, np.eye(3))
            if since.agreeing >= _NOTHING:
                # no flash, but a cut: the shot goes on from there
                self._take(self._lost, self._latest @ self._from_first)
                found = since
        if found.agreeing < _NOTHING:
            self._lost, self._way = frame, np.eye(3)
            return self._latest @ self._from_first, found.agreeing
        self._lost = None
        self._way = found.matrix @ np.linalg.inv(self._latest)
        self._latest, self._agreed_last = found.matrix, found.agreeing
        from_first = found.matrix @ self._from_first
        self._agreed = max(self._agreed, found.agreeing)
        if found.in_sight < _IN_SIGHT or found.agreeing < _AGREE * self._agreed:
            self._take(frame, from_first)
        return from_first, found.agreeing

    def _found(self, frame: _View) -> Alignment:
        """How a frame lies on the anchor: from where a hand trembles, a head pans on, and where corners went."""
        found = self._anchor.lay(frame, self._latest, self._way @ self._latest)
        if found.agreeing < max(_LOST, self._agreed_last - _DROP):
            corners = _since(self._anchor, frame).matrix
            found = found if corners is None else max(found, self._anchor.lay(frame, corners), key=_agreeing)
        return found


def _aligned(reference: Reference, frame: Frame, starts: Sequence[Homography]) -> Alignment:
    return max((reference.align(frame, start) for start in starts), key=_agreeing)


def _agreeing(found: Alignment) -> float:
    return found.agreeing


class Camera:
    """Homographies between any two frames of a shot, in pixels of the size that was analysed.

    ``from_first`` holds, for each frame, the homography from the first frame to it. ``agreement`` is the share of the
    background's places that move as it says, in the median of the frames in which it moves.
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

        A frame in which nothing can be tracked (black, a flash, or all excluded) keeps the previous frame's position;
        the next is compared with the last one that told something.
        """
        homographies: list[Homography] = []
        agreeing: list[float] = []
        mover: _Mover | None = None
        anchor: _View | None = None
        way: Homography = np.eye(3)  # since the anchor, as far as it is known
        lately: deque[_View] = deque(maxlen=_BEFORE)
        for rgb, excluded in frames:
            frame = _View(grey(rgb), ~excluded)
            lately.append(frame)
            homographies.append(np.eye(3))
            if mover is None:
                anchor = anchor or frame
                found = _since(anchor, frame)
                matrix = found.moved(frame.image.shape)
                if matrix is not None and not _picture_rests(anchor, frame):
                    # corners that grain makes before plain tones may agree: the anchor stays until the picture does
                    way = anchor.lay(frame, np.eye(3), matrix, way).matrix
                    if anchor.plain_reference.evident(frame.plain, way):
                        mover = _Mover(lately.popleft())
                elif found.share < _FOUND:
                    anchor, way = frame, np.eye(3)
            if mover is not None:
                for place in range(-len(lately), 0):
                    homographies[place], share = mover.follow(lately.popleft())
                    agreeing.append(share)
        if mover is None or all(_rests(matrix, frame.image.shape) for matrix in homographies):
            return cls([np.eye(3)] * len(homographies))
        return cls(homographies, float(np.median(agreeing)))

    @property
    def count(self) -> int:
        """The number of frames."""
        return len(self._from_first)

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
