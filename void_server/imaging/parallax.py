"""What one homography a frame does not explain: near things shift before far ones when a camera leaves its place."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from .alignment import Homography, corners_at
from .camera import Camera
from .corners import Anchor, follow, grey
from .exr import FloatImage
from .footage import Footage
from .masks import Mask, grown
from .sequence import spread

#: Fewer corners tell nothing, nor do those so near to what is hidden.
_FEWEST, _BESIDE = 24, 4
#: Most corners are so many of all; one that is farther off than this moves by itself.
_MOST, _OWN_WAY = 0.6, 2.0
#: A camera turns where rotations explain so many frames to such a root mean square, a share of the diagonal and of the
#: motion, as a little travel hides in what trembles, ...
_TURNED, _TURNS, _OF_MOTION = 24, 0.004, 0.05
#: ... by a lens of a focal length between these, in widths of the frame, tried in so many steps.
_SHORTEST, _LONGEST, _LENSES = 0.5, 4.0, 61
#: So many frames are compared with one before and one after: the first that lie off by so much of the width, or that
#: are so far off in time, if they lie off by so many pixels.
_COMPARED, _FAR, _LONG, _LEAST = 10, 0.1, 8, 4.0
#: A corner is nearer or farther than others where it lies off so many pixels in both, by the same share of how far the
#: frames lie off, to within this share.
_SHIFTED, _ALIKE = 0.5, 0.3
#: Where the camera only turns, usually fewer corners do: these move by themselves.
_MOST_SHIFTED = 0.035


def slip(one: FloatImage, other: FloatImage, excluded: Mask) -> float:
    """How far most corners of the background lie apart in two pictures of one view, in pixels: parallax that is left.

    Corners farther apart than :data:`_OWN_WAY` go their own way.
    """
    source, target = follow(Anchor(grey(one), ~excluded), grey(other), excluded)
    apart = np.linalg.norm(target - source, axis=1)
    apart = apart[apart < _OWN_WAY]
    return float(np.quantile(apart, _MOST)) if len(apart) >= _FEWEST else 0.0


def turns(footage: Footage, hidden: Sequence[Mask], camera: Camera) -> bool:
    """Whether the camera only turns, with one lens, so that near and far things move alike.

    ``hidden`` says, frame by frame, where the background is not seen. Along a wall, travel beside a turn has the
    homographies of a turn with another lens: what stands before the wall tells.
    """
    return _as_if_turned(footage.small_size, camera) and _shifting(footage, hidden, camera) <= _MOST_SHIFTED


def _as_if_turned(size: tuple[int, int], camera: Camera) -> bool:
    """Whether the homographies between frames are K R inv(K), of a rotation R and the lens K.

    After Hartley, Self-Calibration of Stationary Cameras, 1997. A camera that travels past a wall shifts the picture
    without turning it.
    """
    height, width = size
    chosen = spread(camera.count, _TURNED)
    matrices = [camera.between(chosen[len(chosen) // 2], index) for index in chosen]
    moved = [corners_at(matrix, size) for matrix in matrices]

    def away(matrices: Sequence[Homography]) -> float:
        """The root mean square of how far from there these homographies take the corners, in pixels."""
        there = [corners_at(matrix, size) for matrix in matrices]
        return float(np.sqrt(np.mean(np.sum(np.square(np.subtract(there, moved)), axis=-1))))

    lenses = width * np.geomspace(_SHORTEST, _LONGEST, _LENSES)
    error = min(away([_turned(matrix, lens, size) for matrix in matrices]) for lens in lenses)
    motion = away([np.eye(3)] * len(matrices))
    return error <= min(_TURNS * float(np.hypot(height, width)), _OF_MOTION * motion)


def _turned(matrix: Homography, lens: float, size: tuple[int, int]) -> Homography:
    """The homography nearest to ``matrix`` of a camera that only turns, with a lens of that focal length in pixels."""
    height, width = size
    project = np.array([[lens, 0, (width - 1) / 2], [0, lens, (height - 1) / 2], [0, 0, 1]])
    rays = np.linalg.inv(project) @ matrix @ project
    left, _, right = np.linalg.svd(rays)
    return np.asarray(project @ left @ right @ np.linalg.inv(project), np.float64)


def _shifting(footage: Footage, hidden: Sequence[Mask], camera: Camera) -> float:
    """How many of the corners usually shift with the camera against the rest: a share, 0 where too few tell."""
    shares = []
    for index in spread(camera.count, _COMPARED):
        before, after = (_far_off(index, direction, footage.small_size, camera) for direction in (-1, 1))
        if before is None or after is None:
            continue
        anchor = Anchor(grey(footage.evenly_exposed(index)), ~grown(hidden[index], _BESIDE))
        offs = [_off(anchor, index, other, footage, hidden, camera) for other, _ in (before, after)]
        common = sorted(offs[0].keys() & offs[1].keys())
        if len(common) >= _FEWEST:
            found = [np.array([off[corner] for corner in common]) for off in offs]
            shares.append(float(np.mean(_shifts(found, (before[1], after[1])))))
    return float(np.median(shares)) if shares else 0.0


def _far_off(
    index: int, direction: int, size: tuple[int, int], camera: Camera
) -> tuple[int, NDArray[np.float64]] | None:
    """The first frame that lies far off this one, and how far its middle does, (2,); None if none lies off enough."""
    height, width = size
    middle = np.array([[[width / 2, height / 2]]])
    found = None
    for other in range(index + direction, index + (_LONG + 1) * direction, direction):
        if not 0 <= other < camera.count:
            break
        off = (cv2.perspectiveTransform(middle, camera.between(index, other)) - middle)[0, 0]
        distance = float(np.linalg.norm(off))
        found = (other, off) if distance >= _LEAST else found
        if distance > _FAR * width:
            break
    return found


def _off(
    anchor: Anchor, index: int, other: int, footage: Footage, hidden: Sequence[Mask], camera: Camera
) -> dict[tuple[float, float], NDArray[np.float64]]:
    """How far the corners of frame ``index`` lie off in another, which is laid on it, by where they are."""
    height, width = footage.small_size
    back = camera.between(other, index)
    there = cv2.warpPerspective(
        grey(footage.evenly_exposed(other)),
        back,
        (width, height),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    mask = cv2.warpPerspective(
        hidden[other].astype(np.uint8), back, (width, height), flags=cv2.INTER_NEAREST, borderValue=1
    )
    source, target = follow(anchor, there, mask > 0)
    return {(float(x), float(y)): off for (x, y), off in zip(source, target - source, strict=True)}


def _shifts(offs: Sequence[FloatImage], ways: Sequence[NDArray[np.float64]]) -> Mask:
    """Which corners, (n,), lie ``offs``, (n, 2), in two frames as if they were nearer or farther than others.

    ``ways`` is how far the frames themselves lie off, (2,).
    """
    shares = [off @ way / (way @ way) for off, way in zip(offs, ways, strict=True)]
    along = [np.abs(share) * np.linalg.norm(way) for share, way in zip(shares, ways, strict=True)]
    across = [
        np.linalg.norm(off - share[:, None] * way, axis=1) for off, share, way in zip(offs, shares, ways, strict=True)
    ]
    same = np.abs(shares[0] - shares[1]) < _ALIKE * np.maximum(*np.abs(shares))
    return np.asarray((np.minimum(*along) > _SHIFTED) & same & (np.add(*across) < _ALIKE * np.add(*along)))
