"""The painted set of the sample shots: a wall with posters and lamps, a floor of planks, columns."""

from __future__ import annotations

import cv2
import numpy as np

from ..imaging.exr import FloatImage

#: Where the wall meets the floor, as a share of the picture's height.
HORIZON = 0.6


def clouds(height: int, width: int, rng: np.random.Generator, coarsest: int = 4, octaves: int = 6) -> FloatImage:
    """Smooth noise of several octaves, mean 0, standard deviation 1."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        cells = coarsest * 2**octave
        grid = rng.standard_normal((cells + 3, max(cells * width // height, 1) + 3)).astype(np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * 0.62**octave
    return (total - total.mean()) / total.std()


def _brick_wall(height: int, width: int, rng: np.random.Generator) -> FloatImage:
    course = height / 13
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    row = np.floor(rows / course)
    along = columns / (course * 2.4) + 0.5 * (row % 2)
    brick = np.floor(along)
    kind = np.sin(row * 12.9898 + brick * 78.233) * 43758.5453
    kind -= np.floor(kind)
    joint = np.minimum(rows % course, course - rows % course) / course
    joint = np.minimum(joint, np.minimum(along - brick, brick + 1 - along) * 2.4)
    mortar = np.clip(1 - joint * 14, 0, 1)[..., None]
    colour = np.array([0.24, 0.085, 0.05], np.float32) * (0.75 + 0.6 * kind[..., None])
    colour = colour * (1 - mortar) + np.array([0.2, 0.18, 0.16], np.float32) * mortar
    return colour * np.exp(0.16 * clouds(height, width, rng))[..., None]


def _planks(height: int, width: int, rng: np.random.Generator) -> FloatImage:
    """The floor seen from above, then tilted away."""
    rows, columns = np.mgrid[0:512, 0:1024].astype(np.float32)
    plank = np.floor(columns / 64)
    joint = np.floor(rows / 300 + plank * 0.377)
    tone = np.sin(plank * 5.77 + joint * 9.31) * 6151.7
    tone -= np.floor(tone)
    fibre = cv2.resize(rng.standard_normal((16, 1024)).astype(np.float32), (1024, 512), interpolation=cv2.INTER_LINEAR)
    gap = (columns % 64 < 2) | ((rows + plank * 113) % 300 < 2)
    flat = np.array([0.3, 0.185, 0.095], np.float32) * (0.72 + 0.5 * tone[..., None])
    flat = flat * (1 + 0.08 * fibre[..., None]) * np.where(gap, 0.35, 1)[..., None]
    spread = width * 0.55
    corners = np.array([[0, 0], [1024, 0], [1024, 512], [0, 512]], np.float32)
    seen = np.array([[0, 0], [width, 0], [width + spread, height], [-spread, height]], np.float32)
    tilted = cv2.warpPerspective(
        flat.astype(np.float32), cv2.getPerspectiveTransform(corners, seen), (width, height), flags=cv2.INTER_AREA
    )
    return tilted * np.linspace(0.75, 1.1, height, dtype=np.float32)[:, None, None]


def _poster(size: int, rng: np.random.Generator) -> FloatImage:
    """A sheet of coloured stones on white."""
    count = 26
    seeds = rng.random((count, 2)) * size
    rows, columns = np.mgrid[0:size, 0:size]
    distance = np.hypot(rows[..., None] - seeds[:, 0], columns[..., None] - seeds[:, 1])
    nearest = np.sort(distance, axis=-1)
    palette = np.array([[0.5, 0.08, 0.05], [0.05, 0.2, 0.3], [0.55, 0.4, 0.1], [0.1, 0.22, 0.1], [0.45, 0.42, 0.36]])
    sheet = palette[np.argmin(distance, axis=-1) % len(palette)]
    edge = np.clip((nearest[..., 1] - nearest[..., 0]) / (0.02 * size) - 0.5, 0, 1)[..., None]
    sheet = sheet * edge + 0.6 * (1 - edge)
    frame = np.minimum.reduce([rows, columns, size - 1 - rows, size - 1 - columns]) < 0.05 * size
    sheet[frame] = 0.62
    return sheet.astype(np.float32)


def _glow(height: int, width: int, x: float, y: float, radius: float) -> FloatImage:
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    return np.hypot(columns - x, rows - y) / np.float32(radius)


def paint(height: int, width: int, rng: np.random.Generator) -> FloatImage:
    """The set, (height, width, 3), scene-linear Rec.709, with lamps of radiance 12."""
    horizon = round(height * HORIZON)
    stage = np.concatenate([_brick_wall(horizon, width, rng), _planks(height - horizon, width, rng)])
    stage[horizon : horizon + max(1, height // 60)] *= 0.45
    side = round(0.2 * height)
    for centre in np.arange(0.35 * height, width, 0.95 * height):
        left = round(centre - side / 2)
        if left >= 0 and left + side <= width:
            top = round(0.2 * height)
            stage[top : top + side, left : left + side] = _poster(side, rng)
    lamps = np.arange(0.82 * height, width, 0.95 * height)
    light = np.full((height, width), 0.55, np.float32)
    for x in lamps:
        light += 1.5 / (1 + (_glow(height, width, x, 0.45 * height, 0.22 * height)) ** 2)
    stage *= light[..., None] * np.array([1.0, 0.93, 0.82], np.float32)
    for x in lamps:
        disc = np.clip((1 - _glow(height, width, x, 0.45 * height, 0.035 * height)) * 0.035 * height + 0.5, 0, 1)
        stage = stage * (1 - disc[..., None]) + disc[..., None] * np.array([12.0, 10.4, 8.2], np.float32)
    return stage.astype(np.float32)


def columns(height: int, width: int, rng: np.random.Generator) -> FloatImage:
    """White columns nearer than the wall, as premultiplied RGBA (height, width, 4)."""
    layer = np.zeros((height, width, 4), np.float32)
    thick, foot = 0.045 * height, round(height * (HORIZON + 0.06))
    x = np.arange(width, dtype=np.float32)
    for centre in np.arange(0.1 * height, width, 0.72 * height):
        across = (x - centre) / thick
        cover = np.clip((1 - np.abs(across)) * thick + 0.5, 0, 1)
        shade = np.sqrt(np.clip(1 - across**2, 0, 1)) * (0.75 - 0.35 * across)
        body = np.stack([0.5 * shade, 0.47 * shade, 0.43 * shade, np.ones_like(shade)], axis=-1) * cover[:, None]
        layer[:foot] = layer[:foot] * (1 - cover[None, :, None]) + body[None]
    layer[..., :3] *= np.exp(0.05 * clouds(height, width, rng))[..., None]
    return layer


class Water:
    """A canal before the wall, (rows, width, 3), whose waves never rest."""

    def __init__(self, rows: int, width: int, rng: np.random.Generator) -> None:
        self._waves = [clouds(rows, width, rng, coarsest=3 + number) for number in range(4)]

    def at(self, moment: float) -> FloatImage:
        """How it looks at a moment of the shot, 0 to 1."""
        width = self._waves[0].shape[1]
        drift = [round(width * moment * speed) for speed in (0.2, -0.15, 0.4, -0.3)]
        waves = sum(np.roll(wave, by, axis=1) for wave, by in zip(self._waves, drift, strict=True))
        level = np.clip(0.2 + 0.06 * np.asarray(waves, np.float32), 0.02, 0.7)[..., None]
        return level * np.array([0.35, 0.75, 1.0], np.float32)
