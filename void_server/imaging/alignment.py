"""How one frame lies on another, by all that shows a slope: soft shading and long edges as well as corners.

Points spread over a frame are moved until they show what they showed there (inverse compositional: Baker and Matthews,
Lucas-Kanade 20 Years On, 2004; points: Engel et al., Direct Sparse Odometry, 2016). Each counts by how many pixels it
is off, not by its contrast, and not at all far off (Tukey's biweight): a patterned ball does not outvote a plain floor.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from .exr import FloatImage
from .masks import Mask

Homography = NDArray[np.float64]
Grey = NDArray[np.uint8]

#: Frames are compared this soft, in pixels, at their own size and at halves of it; so many steps are taken in
#: each, or until one is of fewer pixels.
_SOFT, _LEVELS, _STEPS, _SETTLED = 1.0, 3, 8, 0.01
#: The steepest pixel of each square of so many pixels is a point, but not so near to what is hidden.
_SQUARE, _BESIDE = 3, 2
#: A slope, of 255 a pixel, that tells nothing, and the least at which a point is believed: so many times the noise.
_FLAT, _LEAST_SLOPE, _OF_NOISE = 0.25, 1.0, 1.6
#: Points so many times the usual error off move by themselves; it is no less than this, in pixels.
_OWN_WAY, _LEAST_ERROR = 2.0, 0.12
#: Neighbouring points say the same: so many count as one.
_ALIKE = 10.0
#: A camera turns, rolls and zooms with a lens of about this focal length, in halves of the frame's width. Whatever else
#: a homography can do it does, from one frame to the next, by no more than about so many pixels at the frame's sides.
_LENS, _OTHERWISE = 2.4, 0.4
#: What is around a pixel lies within about so many.
_AROUND = 6.0
#: Levels of 255 between which a pixel tells of the light.
DARK, BRIGHT = 8, 240
#: Squares of so many pixels, in which points count so much at least, tell whether they agree: most of them have to be
#: so near, in pixels.
_PLACE, _TELLING, _MOST, _FITS = 16, 3.0, 0.65, 0.8
#: Fewer points tell nothing.
_FEWEST = 50
#: The levels at which motion is told from noise, and the logarithms of a likelihood ratio that noise does not reach
#: there: it is weaker in the coarser one, in which a small frame has few points.
_EVIDENT = {1: 16.0, 2: 5.0}
#: Frames of fewer pixels have too few points to ask for that.
_SMALL = 80_000

# What a point at (x, y), in halves of the width from the middle, does when the camera moves, and the generators of the
# homographies that do it: it turns to the side, up, rolls, zooms; the rest are those of a plane that is travelled past.
_BEND = 1 / _LENS**2
_GENERATORS = np.array(
    [
        [[0, 0, 1], [0, 0, 0], [-_BEND, 0, 0]],
        [[0, 0, 0], [0, 0, 1], [0, -_BEND, 0]],
        [[0, -1, 0], [1, 0, 0], [0, 0, 0]],
        [[1, 0, 0], [0, 1, 0], [0, 0, 0]],
        [[1, 0, 0], [0, -1, 0], [0, 0, 0]],
        [[0, 1, 0], [1, 0, 0], [0, 0, 0]],
        [[0, 0, 0], [0, 0, 0], [-1, 0, 0]],
        [[0, 0, 0], [0, 0, 0], [0, -1, 0]],
    ],
    np.float64,
)
_OF_PLANE = np.arange(len(_GENERATORS)) >= 4


class Frame:
    """A frame to be aligned: ``image`` (height, width), and where the scene is ``seen`` in it.

    ``evened``, only what differs from what is around counts: neither light that changes over the picture, as at the
    border of a lens, nor the softest shading.
    """

    def __init__(self, image: Grey, seen: Mask, *, evened: bool = False) -> None:
        self.size, self.evened, self._image = image.shape[1::-1], evened, image
        self.images = [cv2.GaussianBlur(image.astype(np.float32), (0, 0), _SOFT)]
        while len(self.images) < _LEVELS:
            self.images.append(cv2.pyrDown(self.images[-1]))
        sizes = [picture.shape[1::-1] for picture in self.images]
        masks = [cv2.resize(seen.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) for size in sizes]
        if evened:
            self.images = [picture - _around(picture, mask) for picture, mask in zip(self.images, masks, strict=True)]
        kernel = np.ones((2 * _BESIDE + 1,) * 2, np.uint8)
        self.seen = [cv2.erode(mask, kernel, borderValue=1) for mask in masks]

    def noise(self) -> float:
        """The standard deviation of its noise, of 255 (Immerkaer, Fast Noise Variance Estimation, 1996)."""
        kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
        return 1.4826 * float(np.median(np.abs(cv2.filter2D(self._image, cv2.CV_32F, kernel))))


class _Points(NamedTuple):
    """Points of a frame at one level, ``scale`` of its pixels to one of the level's.

    Their positions in its own pixels, (n, 1, 2); what it shows there; the derivative of that by each generator, (n, 8);
    how steep it is; and from which slope points are believed.
    """

    positions: NDArray[np.float64]
    shows: FloatImage
    derivatives: FloatImage
    slopes: FloatImage
    believed: float
    scale: float

    @property
    def weights(self) -> FloatImage:
        """How far each is believed, 0..1."""
        return np.asarray(self.slopes**2 / (self.slopes**2 + self.believed**2))

    def apart(self, difference: FloatImage) -> FloatImage:
        """How far off each is along its slope, in the frame's own pixels, where it shows so much else."""
        return np.asarray(np.abs(difference) / np.hypot(self.slopes, np.float32(self.believed)) * self.scale)


class Alignment(NamedTuple):
    """How a frame lies on the reference: the homography from there to here.

    ``agreeing`` is the share of its places in sight that this explains; ``in_sight``, how many of its points are.
    """

    matrix: Homography
    agreeing: float
    in_sight: float


class Reference:
    """A frame on which others are laid, which are ``evened`` as it is."""

    def __init__(self, frame: Frame) -> None:
        self._evened = frame.evened
        width, height = frame.size
        self._pixels = width * height
        self._half, self._middle = width / 2, ((width - 1) / 2, (height - 1) / 2)
        # from the generators' coordinates
        self._sizing = np.array([[self._half, 0, self._middle[0]], [0, self._half, self._middle[1]], [0, 0, 1]])
        noise = frame.noise()
        self._points = [self._chosen(*level, noise) for level in zip(frame.images, frame.seen, strict=True)]

    def _chosen(self, image: FloatImage, seen: NDArray[np.uint8], noise: float) -> _Points:
        x, y = (cv2.Sobel(image, -1, dx, 1 - dx, ksize=3, scale=1 / 8) for dx in (1, 0))
        slopes = np.hypot(x, y) * seen
        # beside the border, half of what a slope is taken from is made up
        slopes[[0, -1]] = slopes[:, [0, -1]] = 0
        height, width = (side // _SQUARE for side in slopes.shape)
        squares = slopes[: height * _SQUARE, : width * _SQUARE].reshape(height, _SQUARE, width, _SQUARE)
        squares = squares.transpose(0, 2, 1, 3).reshape(height, width, _SQUARE**2)
        row, column = np.divmod(squares.argmax(axis=-1), _SQUARE)
        rows = (row + _SQUARE * np.arange(height)[:, None]).ravel()
        columns = (column + _SQUARE * np.arange(width)).ravel()
        steep = slopes[rows, columns] > _FLAT
        at = rows[steep], columns[steep]
        scale = round(2 * self._half / image.shape[1])
        positions = (np.stack(at[::-1], axis=-1) + 0.5) * scale - 0.5
        u, v = ((positions - self._middle) / self._half).T
        by_x, by_y = _motions(u, v)
        derivatives = (x[at][:, None] * by_x + y[at][:, None] * by_y) * (self._half / scale)
        believed = max(_LEAST_SLOPE, _OF_NOISE * noise)
        return _Points(positions[:, None], image[at], derivatives.astype(np.float32), slopes[at], believed, scale)

    def align(self, frame: Frame, start: Homography) -> Alignment:
        """Lay ``frame`` on this one from where ``start`` takes this one's positions in it."""
        matrix, moved = start, np.zeros(len(_GENERATORS))
        for level in reversed(range(_LEVELS)):
            for _ in range(_STEPS):
                step = self._step(frame, level, matrix, moved)
                moved += step
                turn = np.tensordot(step, _GENERATORS, 1)
                change = self._sizing @ (np.eye(3) + turn + turn @ turn / 2) @ np.linalg.inv(self._sizing)
                matrix = matrix @ np.linalg.inv(change)
                matrix = matrix / matrix[2, 2]
                if np.abs(step).max() * self._half < _SETTLED:
                    break
        return self._judged(frame, matrix)

    def evident(self, frame: Frame, matrix: Homography) -> bool:
        """Whether ``matrix`` explains ``frame`` better than rest, beyond noise; always in a small frame."""
        if self._pixels < _SMALL:
            return True
        return any(self._evidence(frame, level, matrix) > bound for level, bound in _EVIDENT.items())

    def _evidence(self, frame: Frame, level: int, matrix: Homography) -> float:
        """By how much ``matrix`` explains a level of ``frame`` better, as the logarithm of a likelihood ratio."""
        points = self._points[level]
        (moved, here), (rests, there) = (self._compared(frame, level, way) for way in (matrix, np.eye(3)))
        visible = here & there
        if np.count_nonzero(visible) < _FEWEST:
            return 0.0
        apart = points.apart(moved)[visible]
        error = _usual(apart, points.scale)
        gained = _unlikely(points.apart(rests)[visible] / error) - _unlikely(apart / error)
        return float(gained.sum()) / _ALIKE

    def _step(self, frame: Frame, level: int, matrix: Homography, moved: NDArray[np.float64]) -> NDArray[np.float64]:
        """What of each generator is missing (least squares with a prior); none where too little is visible."""
        points = self._points[level]
        difference, visible = self._compared(frame, level, matrix)
        if np.count_nonzero(visible) < _FEWEST:
            return np.zeros_like(moved)
        apart = points.apart(difference)
        error = _usual(apart[visible], points.scale)
        inlying = np.square(1 - np.square(np.minimum(apart / (_OWN_WAY * error), 1))) * visible
        counts = inlying * points.scale**2 / (points.slopes**2 + points.believed**2) / (error**2 * _ALIKE)
        weighted = points.derivatives * counts[:, None].astype(np.float32)
        # what nothing tells stays as it is
        unlikely = np.where(_OF_PLANE, (self._half / _OTHERWISE) ** 2, 1e-3)
        normal = (points.derivatives.T @ weighted).astype(np.float64) + np.diag(unlikely)
        return np.linalg.solve(normal, (weighted.T @ difference).astype(np.float64) - unlikely * moved)

    def _judged(self, frame: Frame, matrix: Homography) -> Alignment:
        points = self._points[0]
        difference, visible = self._compared(frame, 0, matrix)
        counts = points.weights * visible
        places = points.positions[:, 0].astype(int) // _PLACE
        numbers = places[:, 1] * (frame.size[0] // _PLACE + 1) + places[:, 0]
        all_of, agreeing = (np.bincount(numbers, of) for of in (counts, counts * (points.apart(difference) < _FITS)))
        tell = all_of > _TELLING
        share = np.mean(agreeing[tell] > _MOST * all_of[tell]) if tell.any() else 0.0
        return Alignment(matrix, float(share), np.count_nonzero(visible) / max(len(visible), 1))

    def _compared(self, frame: Frame, level: int, matrix: Homography) -> tuple[FloatImage, Mask]:
        """How much more ``frame`` shows than the points of a level do here, and which are visible there."""
        points, image = self._points[level], frame.images[level]
        if not len(points.shows):
            return points.shows, np.zeros(0, bool)
        there = cv2.perspectiveTransform(points.positions, matrix)
        at = ((there + 0.5) / points.scale - 0.5).astype(np.float32)
        visible = cv2.remap(frame.seen[level], at, None, cv2.INTER_NEAREST, borderValue=0)[:, 0] > 0
        shows = cv2.remap(image, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:, 0]
        return shows / np.float32(1 if self._evened else _gain(points.shows, shows, visible)) - points.shows, visible


def _usual(apart: FloatImage, scale: float) -> float:
    """The usual error of points that are so far off, in the frame's own pixels."""
    return max(1.4826 * float(np.median(apart)), _LEAST_ERROR * scale)


def _unlikely(apart: FloatImage) -> FloatImage:
    """What it costs to be so many usual errors off, as the negative logarithm of a likelihood (Tukey's biweight)."""
    within = 1 - np.square(np.minimum(apart / _OWN_WAY, 1))
    return np.asarray(_OWN_WAY**2 / 6 * (1 - within**3))


def corners_at(matrix: Homography, size: tuple[int, ...]) -> NDArray[np.float64]:
    """Where a homography takes the corners of a frame of that height and width: (4, 1, 2)."""
    height, width = size
    corners = np.array([[[0, 0]], [[width, 0]], [[0, height]], [[width, height]]], np.float64)
    return np.asarray(cv2.perspectiveTransform(corners, matrix), np.float64)


def _gain(one: FloatImage, other: FloatImage, seen: Mask) -> float:
    """How many times as bright the other is usually."""
    lit = seen & (one > DARK) & (one < BRIGHT)
    return max(float(np.median(other[lit] / one[lit])), 0.1) if np.count_nonzero(lit) >= _FEWEST else 1.0


def _around(image: FloatImage, seen: NDArray[np.uint8]) -> FloatImage:
    """How bright a picture is around each pixel, as far as it is seen."""
    weight = seen.astype(np.float32) + np.float32(1e-3)
    total, known = (cv2.GaussianBlur(values, (0, 0), _AROUND) for values in (image * weight, weight))
    return np.asarray(total / known, np.float32)


def _motions(u: FloatImage, v: FloatImage) -> tuple[FloatImage, FloatImage]:
    """How points at (u, v), (n,), move by each generator: (n, 8), to the side and down."""
    one = np.ones_like(u)
    # a point q in homogeneous coordinates moves by A q, without what lies along q itself
    points = np.stack([u, v, one], axis=-1)
    ways = np.einsum("gij,nj->ngi", _GENERATORS, points)
    return ways[..., 0] - u[:, None] * ways[..., 2], ways[..., 1] - v[:, None] * ways[..., 2]
