"""Where the background of a shot lies from frame to frame, on frames whose motion is known."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import cv2
import numpy as np

from void_server.imaging.camera import Camera
from void_server.imaging.exr import FloatImage
from void_server.imaging.footage import Footage
from void_server.imaging.trajectories import Trajectories
from void_server.imaging.window import Window

HEIGHT, WIDTH, COUNT = 160, 256, 8


class Zooming:
    """A lens that widens before a flat wall and a textured floor, with new noise in each frame."""

    small_size = HEIGHT, WIDTH

    def __init__(self) -> None:
        rng = np.random.default_rng(4)
        floor = cv2.GaussianBlur(rng.random((HEIGHT, WIDTH), np.float32), (0, 0), 2.5)
        scene = np.full((HEIGHT, WIDTH), 0.4, np.float32)
        scene[HEIGHT // 2 :] += 3 * (floor - floor.mean())[HEIGHT // 2 :]
        self.from_first = np.stack([_zoom(0.985**index) for index in range(COUNT)])
        noise = np.float32(0.012) * rng.standard_normal((COUNT, HEIGHT, WIDTH)).astype(np.float32)
        self._frames = [
            cv2.warpPerspective(scene, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
            + noise[index]
            for index, matrix in enumerate(self.from_first)
        ]

    def evenly_exposed(self, index: int) -> FloatImage:
        return cv2.merge([self._frames[index]] * 3)


def _zoom(scale: float) -> np.ndarray:
    x, y = (WIDTH - 1) / 2, (HEIGHT - 1) / 2
    return np.array([[scale, 0, x * (1 - scale)], [0, scale, y * (1 - scale)], [0, 0, 1]])


def test_noise_on_a_flat_wall_does_not_move_what_is_hidden_before_it(tmp_path: Path) -> None:
    shot = Zooming()
    hidden = np.zeros((HEIGHT, WIDTH), bool)
    hidden[40:100, 90:150] = True
    camera = Camera(shot.from_first)
    paths = Trajectories(cast("Footage", shot), [hidden] * COUNT, camera, tmp_path / "paths.raw")
    window = Window(90, 40, 60, 60)
    *_, (last, found, _) = paths.walk(0, window, 1)
    columns, rows = np.meshgrid(np.arange(90, 150, dtype=np.float32), np.arange(40, 100, dtype=np.float32))
    expected = cv2.perspectiveTransform(np.stack([columns, rows], axis=-1), camera.between(0, last))
    assert np.median(np.linalg.norm(found - expected, axis=-1)) < 0.2


class Nearing:
    """Textured ground that creeps past a tracked camera, slower than its frames are noisy to the eye."""

    small_size = HEIGHT, WIDTH
    camera, parallax, count = 0.5, 0.2, 25

    def __init__(self) -> None:
        rng = np.random.default_rng(4)
        ground = cv2.GaussianBlur(rng.random((HEIGHT, 2 * WIDTH)).astype(np.float32), (0, 0), 2.5)
        ground = (ground - ground.mean()) / ground.std() * np.float32(0.05) + np.float32(0.4)
        moves = [np.float32([[1, 0, self.camera * index], [0, 1, 0], [0, 0, 1]]) for index in range(self.count)]
        self.from_first = np.stack(moves).astype(np.float64)
        noise = np.float32(0.006) * rng.standard_normal((self.count, HEIGHT, WIDTH)).astype(np.float32)
        self._frames = []
        for index in range(self.count):
            moved = np.float32([[1, 0, (self.camera + self.parallax) * index - WIDTH / 2], [0, 1, 0]])
            self._frames.append(cv2.warpAffine(ground, moved, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC) + noise[index])

    def evenly_exposed(self, index: int) -> FloatImage:
        return cv2.merge([self._frames[index]] * 3)


def test_ground_that_moves_less_than_a_pixel_a_frame_is_followed(tmp_path: Path) -> None:
    shot = Nearing()
    hidden = np.zeros((HEIGHT, WIDTH), bool)
    hidden[60:100, 100:140] = True
    paths = Trajectories(cast("Footage", shot), [hidden] * shot.count, Camera(shot.from_first), tmp_path / "paths.raw")
    *_, (last, found, _) = paths.walk(0, Window(60, 20, 30, 30), 1)
    columns, rows = np.meshgrid(np.arange(60, 90, dtype=np.float32), np.arange(20, 50, dtype=np.float32))
    expected = np.stack([columns + (shot.camera + shot.parallax) * last, rows], axis=-1)
    # of 4.8 pixels
    assert np.median(np.linalg.norm(found - expected, axis=-1)) < 0.7


class Darkened:
    """A plain wall with two posts, seen by a camera that turns, whose lens faintly darkens parts of every frame."""

    small_size = HEIGHT, WIDTH
    camera = 2.0

    def __init__(self) -> None:
        rng = np.random.default_rng(4)
        lens = sum(_soft(rng, softness, level) for softness, level in ((3.0, 0.15), (16.0, 0.5)))
        scene = np.full((HEIGHT, WIDTH), 0.5, np.float32)
        for left in (80, 158):
            scene[40:130, left : left + 12] = np.float32(0.7)
        self.from_first = np.stack([np.array([[1, 0, -self.camera * i], [0, 1, 0], [0, 0, 1]]) for i in range(COUNT)])
        options = {"flags": cv2.INTER_CUBIC, "borderMode": cv2.BORDER_REPLICATE}
        self._frames = [
            cv2.warpAffine(scene, matrix[:2], (WIDTH, HEIGHT), **options) + lens for matrix in self.from_first
        ]

    def evenly_exposed(self, index: int) -> FloatImage:
        return cv2.merge([self._frames[index]] * 3)


def _soft(rng: np.random.Generator, softness: float, level: float) -> FloatImage:
    """A soft pattern with a deviation of so many levels of 255."""
    pattern = cv2.GaussianBlur(rng.standard_normal((HEIGHT, WIDTH)).astype(np.float32), (0, 0), softness)
    return pattern * np.float32(level / 255) / pattern.std()


def test_what_a_lens_faintly_darkens_hardly_holds_the_wall_that_is_hidden(tmp_path: Path) -> None:
    shot = Darkened()
    hidden = np.zeros((HEIGHT, WIDTH), bool)
    hidden[30:140, 100:150] = True
    paths = Trajectories(cast("Footage", shot), [hidden] * COUNT, Camera(shot.from_first), tmp_path / "paths.raw")
    *_, (last, found, _) = paths.walk(0, Window(100, 30, 50, 110), 1)
    expected = np.arange(50) + 100 - shot.camera * last
    # of 14 pixels that the camera turns
    assert np.median(np.abs(found[..., 0] - expected)) < 3.5


class Passing:
    """A plain column, round by its shading alone, that passes a textured wall as the camera travels."""

    small_size = HEIGHT, WIDTH
    camera, parallax, left, right = -4.0, -2.0, 100, 130

    def __init__(self) -> None:
        rng = np.random.default_rng(4)
        wall = cv2.GaussianBlur(rng.random((HEIGHT, 2 * WIDTH)).astype(np.float32), (0, 0), 2.0)
        wall = (wall - wall.mean()) / wall.std() * np.float32(0.08) + np.float32(0.4)
        across = np.linspace(0, np.pi, self.right - self.left, dtype=np.float32)
        column = np.broadcast_to(np.float32(0.3) + np.float32(0.3) * np.sin(across), (HEIGHT, len(across)))
        self.from_first = np.stack([np.array([[1, 0, self.camera * i], [0, 1, 0], [0, 0, 1]]) for i in range(COUNT)])
        noise = np.float32(0.004) * rng.standard_normal((COUNT, HEIGHT, WIDTH)).astype(np.float32)
        self._frames = []
        for index in range(COUNT):
            moved = self.from_first[index][:2]
            picture = cv2.warpAffine(wall, moved, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC)
            at = self.left + round((self.camera + self.parallax) * index)
            picture[:, at : at + len(across)] = column
            self._frames.append(picture + noise[index])

    def evenly_exposed(self, index: int) -> FloatImage:
        return cv2.merge([self._frames[index]] * 3)


def test_a_plain_column_keeps_its_own_motion_before_a_textured_wall(tmp_path: Path) -> None:
    shot = Passing()
    hidden = np.zeros((HEIGHT, WIDTH), bool)
    paths = Trajectories(cast("Footage", shot), [hidden] * COUNT, Camera(shot.from_first), tmp_path / "paths.raw")
    *_, (last, found, _) = paths.walk(0, Window(shot.left + 10, 40, 10, 80), 1)
    expected = np.arange(10) + shot.left + 10 + (shot.camera + shot.parallax) * last
    # of 14 pixels before the wall; along itself, nothing shows how the column moves
    assert np.median(np.abs(found[..., 0] - expected)) < 1.5


def test_what_moves_by_itself_carries_nothing_along_where_the_camera_only_turns(tmp_path: Path) -> None:
    """A pan past a wall, with something that moves to both sides of what is hidden."""
    rng = np.random.default_rng(3)
    wall, thing = (
        0.5 + cv2.GaussianBlur(rng.standard_normal((*size, 3)).astype(np.float32), (0, 0), 2)
        for size in ((2 * HEIGHT, 2 * WIDTH), (HEIGHT, WIDTH))
    )
    lens = np.array([[WIDTH, 0, (WIDTH - 1) / 2], [0, WIDTH, (HEIGHT - 1) / 2], [0, 0, 1.0]])
    middle = np.array([[1, 0, -WIDTH / 2], [0, 1, -HEIGHT / 2], [0, 0, 1.0]])
    turns = [cv2.Rodrigues(np.radians([0.0, 1.2 * index, 0]))[0] for index in range(COUNT)]
    camera = Camera([lens @ turn @ np.linalg.inv(lens) for turn in turns])

    def frame(index: int) -> FloatImage:
        picture = cv2.warpPerspective(wall, camera.between(0, index) @ middle, (WIDTH, HEIGHT))
        picture[30:90, 50:110] = np.roll(thing, 4 * index, axis=1)[30:90, 50:110]
        return picture

    shot = SimpleNamespace(small_size=(HEIGHT, WIDTH), evenly_exposed=frame)
    hidden = np.zeros((HEIGHT, WIDTH), bool)
    hidden[40:80, 60:100] = True
    paths = Trajectories(cast("Footage", shot), [hidden] * COUNT, camera, tmp_path / "paths.raw")
    *_, (last, positions, _) = paths.walk(0, Window(60, 40, 40, 40), 1)
    x, y = np.meshgrid(np.arange(60, 100, dtype=np.float64), np.arange(40, 80, dtype=np.float64))
    expected = cv2.perspectiveTransform(np.stack([x, y], axis=-1), camera.between(0, last))
    assert np.abs(positions - expected).max() < 0.01
