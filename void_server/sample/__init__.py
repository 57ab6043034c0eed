"""Sample shots with exact ground truth, painted and animated here: to try the product, and to measure it.

Every frame is made twice, with the object and without; the grain is the same in both, so that plate and truth are equal
bit for bit wherever the object does nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..api.errors import SettingError
from ..imaging import exr
from ..imaging.exr import FloatImage
from ..imaging.parallel import for_each
from . import actors, stage

_SMALLEST, _LARGEST = (64, 36), (8192, 8192)
_SHADOW = 0.6
_REFLECTION = 0.14
#: What counts as a visible change: this share of the level, which is taken to be at least this.
_VISIBLE, _FLOOR = 0.06, 0.04
#: How much faster than the wall the columns pass when the camera pans: it does not turn about its lens exactly.
_NEARER = 1.05
_SEED = 20
_BLOCKS = ((0.55, 0.5, 0.35), (0.08, 0.2, 0.45), (0.5, 0.2, 0.06))


@dataclass(frozen=True)
class Scene:
    """What happens in a sample shot.

    ``pan`` is how far the camera turns, ``shake`` how far it trembles, in heights; ``fades`` is the share of the key
    light that is gone at the end.
    """

    description: str
    expected: str
    camera: str
    effects: tuple[str, ...] = ("shadow", "reflection", "HDR emitters behind")
    pan: float = 0.0
    shake: float = 0.0
    ball: bool = False
    blocks: int = 0
    mirror: bool = False
    passer: bool = False
    stands: bool = False
    water: bool = False
    fades: float = 0.0


SCENES = {
    "walkby": Scene("A figure walks past a wall with lamps.", "The empty set, evenly lit.", "static"),
    "pan": Scene(
        "A figure walks past columns; the camera pans with it.",
        "The empty set under the same pan.",
        "pan",
        ("shadow", "reflection", "camera motion", "parallax"),
        pan=0.55,
    ),
    "handheld": Scene(
        "A figure walks past a wall, filmed handheld.",
        "The empty set, with the same camera shake.",
        "handheld",
        ("shadow", "reflection", "camera motion"),
        shake=0.012,
    ),
    "knock": Scene(
        "A figure walks by and kicks a ball at rest.",
        "No figure; the ball rests in the same place in all frames.",
        "static",
        ("physics", "shadow", "reflection"),
        ball=True,
    ),
    "chain": Scene(
        "A figure walks up to a row of blocks and topples the first, which topples the others.",
        "No figure; all blocks stand in all frames.",
        "static",
        ("physics", "chain of causes", "shadow", "reflection"),
        blocks=5,
    ),
    "mirror": Scene(
        "A figure walks past a wall; a mirror high up shows it.",
        "The empty set, also in the mirror.",
        "static",
        ("reflection apart", "shadow", "reflection"),
        mirror=True,
    ),
    "stand": Scene(
        "A figure stands in the set, with a soft shadow.",
        "The empty set.",
        "static",
        ("shadow", "reflection", "object at rest"),
        stands=True,
    ),
    "passer": Scene(
        "A figure walks past a wall; another, in blue, passes behind it.",
        "The figure in blue alone, with its shadow.",
        "static",
        ("shadow", "reflection", "bystander"),
        passer=True,
    ),
    "fade": Scene(
        "A figure walks past a wall while the light on one side goes out.",
        "The empty set under the same light.",
        "static",
        ("shadow", "reflection", "changing light"),
        fades=0.55,
    ),
    "water": Scene(
        "A figure walks past a canal.",
        "The empty set; the water moves on.",
        "static",
        ("shadow", "reflection", "moving background"),
        water=True,
    ),
}


@dataclass(frozen=True)
class Frames:
    """One frame: plate and truth (height, width, 3), roto and change (height, width), scene-linear Rec.709."""

    plate: FloatImage
    truth: FloatImage
    roto: FloatImage
    change: FloatImage


class Film:
    """Makes the frames of a scene at one size, at any ``moment`` from 0, the shot's begin, to 1, its end."""

    def __init__(self, scene: Scene, width: int, height: int, *, grain: bool = True) -> None:
        self._scene, self._width, self._height, self._with_grain = scene, width, height, grain
        rng = np.random.default_rng(_SEED)
        self._margin = 4 + math.ceil(height * (scene.pan * _NEARER + scene.shake) / 2)
        self._set = stage.paint(height, width + 2 * self._margin, rng)
        self._columns = stage.columns(height, width + 2 * self._margin, rng) if scene.pan else None
        rows = self._canal()
        self._water = stage.Water(rows.stop - rows.start, width, rng) if scene.water else None
        self._grain = rng.standard_normal((height + 64, width + 64, 3)).astype(np.float32)

    def _camera(self, moment: float) -> tuple[float, float]:
        """How far the camera looks to the right and down, in pixels."""
        scene, height = self._scene, self._height
        wobble = [sum(math.sin(2 * math.pi * f * moment + p) / f for f, p in w) for w in _WOBBLE]
        return height * (scene.pan * (moment - 0.5) + scene.shake * wobble[0] / 3), height * scene.shake * wobble[1] / 3

    def _shifted(self, picture: FloatImage, x: float, y: float) -> FloatImage:
        matrix = np.array([[1, 0, -self._margin - x], [0, 1, -y]], np.float32)
        size = self._width, self._height
        flags, border = cv2.INTER_CUBIC, cv2.BORDER_REFLECT_101
        return np.maximum(cv2.warpAffine(picture, matrix, size, flags=flags, borderMode=border), 0)

    def _grounded(self, below: FloatImage, sprite: FloatImage, x: float, y: float) -> tuple[FloatImage, FloatImage]:
        """The picture with a sprite standing on the floor at x, y, with shadow and reflection; and its alpha."""
        height = len(sprite)
        left, right = (int(np.clip(x + side * 1.6 * height, 0, self._width)) for side in (-1, 1))
        top = int(np.clip(y - 1.1 * height, 0, self._height))
        picture, alpha = below.copy(), np.zeros(below.shape[:2], np.float32)
        if left < right:
            inner = np.s_[top:, left:right]
            picture[inner], alpha[inner] = self._stood(below[inner], sprite, x - left, y - top, top)
        return picture, alpha

    def _stood(
        self, below: FloatImage, sprite: FloatImage, x: float, y: float, top: int
    ) -> tuple[FloatImage, FloatImage]:
        rows, size = np.arange(len(below)), below.shape[1::-1]
        tall, wide = sprite.shape[:2]
        actor = cv2.warpAffine(sprite, np.array([[1, 0, x - wide / 2], [0, 1, y - tall]], np.float32), size)
        floor = (rows + top > self._height * stage.HORIZON)[:, None].astype(np.float32)
        # the shadow is the silhouette laid on the floor, away from the light
        lean = np.array([[1, -0.9, 0.9 * y], [0, -0.28, 1.28 * y]], np.float32)
        cast = cv2.warpAffine(np.ascontiguousarray(actor[..., 3]), lean, size)
        cast = cv2.GaussianBlur(cast, (0, 0), max(self._height * 0.008, 0.5))
        shadow = np.where(cast > 0.004, cast, 0) * floor
        mirror = np.array([[1, 0, 0], [0, -1, 2 * y]], np.float32)
        image = cv2.GaussianBlur(cv2.warpAffine(actor, mirror, size), (0, 0), max(self._height * 0.004, 0.5))
        fade = np.clip(1 - (rows - y) / (0.3 * self._height), 0, 1)[:, None].astype(np.float32)
        image *= (np.where(image[..., 3] > 0.01, _REFLECTION, 0) * fade * floor)[..., None]
        ground = below * ((1 - _SHADOW * shadow) * (1 - image[..., 3]))[..., None] + image[..., :3]
        return ground * (1 - actor[..., 3:]) + actor[..., :3], actor[..., 3]

    def _canal(self) -> slice:
        return slice(round(0.5 * self._height), round(stage.HORIZON * self._height))

    def _walked(self, moment: float) -> float:
        """Where the figure is, in pixels from the left."""
        if self._scene.stands:
            return 0.45 * self._width
        walked = (0.04 + 0.92 * moment) * self._width
        return min(walked, self._first_block - 0.13 * self._height) if self._scene.blocks else walked

    @property
    def _first_block(self) -> float:
        return 0.5 * self._width

    def _figure(self, moment: float) -> FloatImage:
        walked = (self._walked(moment) / self._width - 0.04) / 0.92
        return actors.figure(max(8, round(0.5 * self._height)), 3 * walked)

    def _props(self, truth: FloatImage, moment: float, camera: tuple[float, float]) -> tuple[FloatImage, FloatImage]:
        """What is in the set beside the figure: the frame without it, and with what it did."""
        width, height, (right, down) = self._width, self._height, camera
        ground = 0.88 * height - down
        if self._scene.passer:
            # the same figure in other colours, farther away
            other = actors.figure(max(8, round(0.4 * height)), -2 * moment)[..., [2, 1, 0, 3]]
            truth, _ = self._grounded(truth, other, (0.96 - 0.92 * moment) * width, 0.76 * height - down)
        plate = truth
        if self._scene.ball:
            diameter = max(4, round(0.13 * height))
            rest, kicked = 0.5 * width, (0.5 * width - 0.1 * height - 0.04 * width) / (0.92 * width)
            rolled = 1.5 * width * max(0.0, moment - kicked) * (1 - 0.25 * max(0.0, moment - kicked))
            still, rolling = actors.ball(diameter, 0.0), actors.ball(diameter, rolled / diameter)
            truth, _ = self._grounded(truth, still, rest - right, ground)
            plate, _ = self._grounded(plate, rolling, rest + rolled - right, ground) if rolled else (truth, None)
        # from the right, as each block falls over the next
        for number in reversed(range(self._scene.blocks)):
            tall, place = max(8, round(0.2 * height)), self._first_block + 0.11 * height * number - right
            hit = (self._first_block / width - 0.13 * height / width - 0.04) / 0.92 + 0.05 * number
            fallen = 0.8 * min(max((moment - hit) / 0.12, 0.0), 1.0) ** 2
            colour = _BLOCKS[number % len(_BLOCKS)]
            truth, _ = self._grounded(truth, actors.block(tall, 0.0, colour), place, ground)
            plate, _ = self._grounded(plate, actors.block(tall, fallen, colour), place, ground)
        return truth, plate

    def _mirrored(self, below: FloatImage, sprite: FloatImage | None, x: float) -> FloatImage:
        """The picture with a mirror high on the wall that shows a sprite which stands at x."""
        width, height = self._width, self._height
        rows, columns = (
            slice(round(a), round(b)) for a, b in ((0.04 * height, 0.3 * height), (0.2 * width, 0.8 * width))
        )
        picture = below.copy()
        glass = cv2.GaussianBlur(below[rows, columns][:, ::-1], (0, 0), 0.02 * height)
        if sprite is not None:
            share = 0.24 * height / len(sprite)
            left = 0.5 * width + 0.6 * (x - 0.5 * width) - columns.start - share * sprite.shape[1] / 2
            matrix = np.array([[share, 0, left], [0, share, 0.02 * height]], np.float32)
            image = cv2.warpAffine(sprite, matrix, glass.shape[1::-1], flags=cv2.INTER_AREA)
            glass = glass * (1 - image[..., 3:]) + 0.8 * image[..., :3]
        picture[rows, columns] = glass
        return picture

    def frame(self, moment: float, number: int) -> Frames:
        """The frame at ``moment``; ``number`` decides its grain."""
        width, height = self._width, self._height
        right, down = self._camera(moment)
        truth = self._shifted(self._set, right, down)
        if self._columns is not None:
            near = self._shifted(self._columns, _NEARER * right, down)
            truth = truth * (1 - near[..., 3:]) + near[..., :3]
        if self._water is not None:
            truth[self._canal()] = self._water.at(moment)
        ground, walked = height * 0.88, self._walked(moment)
        if self._scene.mirror:
            truth, plate = self._mirrored(truth, None, 0.0), self._mirrored(truth, self._figure(moment), walked)
        else:
            truth, plate = self._props(truth, moment, (right, down))
        follow = 0.0 if self._scene.pan else right
        plate, roto = self._grounded(plate, self._figure(moment), walked - follow, ground - down)
        roto = np.clip(roto, 0, 1)
        if self._scene.fades:
            left = np.linspace(1, 0, width, dtype=np.float32)[None, :, None] ** 2
            key = 1 - np.float32(self._scene.fades * moment) * (np.float32(0.3) + np.float32(0.7) * left)
            plate, truth = plate * key, truth * key
        level = cv2.transform(plate + truth, np.full((1, 3), 1 / 6, np.float32)) + _FLOOR
        red, green, blue = cv2.split(cv2.absdiff(plate, truth))
        change = (cv2.max(red, cv2.max(green, blue)) > _VISIBLE * level) & (roto < 0.5)
        if not self._with_grain:
            return Frames(plate, truth, roto, change.astype(np.float32))
        y, x = np.random.default_rng((_SEED, number & 0xFFFFFFFF)).integers(0, 64, 2)
        grain = self._grain[y : y + height, x : x + width]
        return Frames(_grainy(plate, grain), _grainy(truth, grain), roto, change.astype(np.float32))


#: Frequencies and phases of a hand, horizontally and vertically.
_WOBBLE = (((1.0, 0.3), (2.3, 1.1), (5.1, 2.0)), ((1.4, 1.9), (2.9, 0.2), (6.3, 0.7)))


def _grainy(picture: FloatImage, grain: FloatImage) -> FloatImage:
    return picture + grain * (np.float32(0.0015) + np.float32(0.012) * np.sqrt(np.clip(picture, 0, 1)))


def write_sample(
    out: Path,
    scene: str = "walkby",
    size: tuple[int, int] = (1280, 720),
    frames: Sequence[int] = range(1001, 1041),
    *,
    grain: bool = True,
) -> None:
    """Write plate/, roto/, truth/ and change/ EXR sequences of a sample shot into the folder ``out``.

    Half, scene-linear Rec.709; roto in A; change in Y, 1 where plate and truth differ visibly outside the object; and
    meta.json, which says what happens. Without ``grain`` it is the same shot on a perfect sensor. Raises
    :class:`SettingError` where the scene is not known, the size too small or too large, or ``out`` holds something
    already.
    """
    if scene not in SCENES:
        raise SettingError(f"Unknown scene {scene!r}; choose from {', '.join(SCENES)}.")
    width, height = size
    if width < _SMALLEST[0] or height < _SMALLEST[1]:
        raise SettingError(f"Size {width}x{height} is too small; use {_SMALLEST[0]}x{_SMALLEST[1]} or more.")
    if width > _LARGEST[0] or height > _LARGEST[1]:
        raise SettingError(f"Size {width}x{height} is too large; use {_LARGEST[0]}x{_LARGEST[1]} or less.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingError(f"{out} is not empty; name another folder.")
    film = Film(SCENES[scene], width, height, grain=grain)
    moments = {frame: index / max(len(frames) - 1, 1) for index, frame in enumerate(frames)}

    def write(frame: int) -> None:
        made = film.frame(moments[frame], frame)
        for name, picture, channels in (
            ("plate", made.plate, exr.RGB),
            ("truth", made.truth, exr.RGB),
            ("roto", made.roto[..., None], ("A",)),
            ("change", made.change[..., None], ("Y",)),
        ):
            exr.write(out / name / f"{name}.{frame:04d}.exr", _half(picture), channels)

    for_each(write, frames)
    _write_meta(out, SCENES[scene], width, height, frames)


def _half(picture: FloatImage) -> NDArray[np.float16]:
    return picture.astype(np.float16)


def _write_meta(out: Path, scene: Scene, width: int, height: int, frames: Sequence[int]) -> None:
    meta = {
        "fps": 24,
        "first": frames[0],
        "last": frames[-1],
        "description": scene.description,
        "removed": "the figure in the red coat",
        "expected": scene.expected,
        "camera": scene.camera,
        "effects": scene.effects,
        "width": width,
        "height": height,
        "colour": "scene-linear Rec.709, half",
    }
    (out / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")
