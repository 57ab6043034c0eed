"""Whether a camera leaves its place, by its homographies and by what stands before a wall."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from void_server.imaging.camera import Camera
from void_server.imaging.exr import FloatImage
from void_server.imaging.footage import Footage
from void_server.imaging.parallax import turns

HEIGHT, WIDTH, COUNT = 144, 256, 13
WALL = (500, 1100)
POST, EVERY = 22, 150


def lens(focal: float) -> NDArray[np.float64]:
    """The projection by that focal length, in widths of the frame."""
    return np.array([[focal * WIDTH, 0, (WIDTH - 1) / 2], [0, focal * WIDTH, (HEIGHT - 1) / 2], [0, 0, 1]])


def texture(softness: float, seed: int) -> FloatImage:
    noise = cv2.GaussianBlur(
        np.random.default_rng(seed).standard_normal((*WALL, 3)).astype(np.float32), (0, 0), softness
    )
    return np.float32(0.5) + np.float32(0.15) * noise / noise.std()


def shot(ways: list[NDArray[np.float64]], posts: list[NDArray[np.float64]] | None = None) -> tuple[Footage, Camera]:
    """What homographies from a wall show, and those from the plane of posts before it; and the camera's motion."""
    wall, wood = texture(2.5, 1), texture(2.0, 2)
    mask = np.zeros(WALL, np.float32)
    for left in range(0, WALL[1], EVERY):
        mask[:, left : left + POST] = 1
    frames = []
    for index, way in enumerate(ways):
        picture = cv2.warpPerspective(wall, way, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
        if posts:
            before, covered = (cv2.warpPerspective(image, posts[index], (WIDTH, HEIGHT)) for image in (wood, mask))
            picture = picture + (before - picture) * covered[..., None]
        frames.append(picture)
    nothing = np.zeros((HEIGHT, WIDTH), bool)
    footage = SimpleNamespace(small_size=(HEIGHT, WIDTH), evenly_exposed=frames.__getitem__)
    return cast("Footage", footage), Camera.track((frame, nothing) for frame in frames)


def seen(focal: float, angle: float, travel: float = 0.0, depth: float = 1.0) -> NDArray[np.float64]:
    """From a plane so far away, where a frame's width is 1, to a camera that turned and travelled sideways."""
    plane = np.array([[1, 0, -WALL[1] / 2], [0, 1, -WALL[0] / 2], [0, 0, WIDTH]]) * depth / WIDTH
    plane[:, 2] -= (travel, 0, 0)
    return np.asarray(lens(focal) @ cv2.Rodrigues(np.array([0.0, angle, 0.0]))[0] @ plane)


def way(index: int) -> float:
    return index / (COUNT - 1) - 0.5


def told(footage: Footage, camera: Camera) -> bool:
    return turns(footage, [np.zeros((HEIGHT, WIDTH), bool)] * COUNT, camera)


@pytest.mark.parametrize("focal", [0.8, 1.0, 2.0])
def test_a_camera_that_turns_is_known_whatever_its_lens(focal: float) -> None:
    assert told(*shot([seen(focal, 0.3 / focal * way(index)) for index in range(COUNT)]))


def test_a_turn_is_one_with_posts_before_the_wall_too() -> None:
    ways, posts = ([seen(1, 0.3 * way(index), depth=depth) for index in range(COUNT)] for depth in (1.0, 0.4))
    assert told(*shot(ways, posts))


@pytest.mark.parametrize("travel", [0.3, -0.3])
def test_a_camera_that_travels_past_a_wall_does_not_turn(travel: float) -> None:
    assert not told(*shot([seen(1, 0, travel * way(index)) for index in range(COUNT)]))


def test_a_zoom_is_no_turn() -> None:
    assert not told(*shot([seen(1 + 0.3 * way(index), 0) for index in range(COUNT)]))


@pytest.mark.parametrize("depth", [0.2, 0.5])
def test_posts_show_that_a_tripod_turns_beside_the_lens(depth: float) -> None:
    """15 cm beside it, before a wall at 5 m, with 17 degrees: along the wall alone, this is a turn."""
    angles = [0.3 * way(index) for index in range(COUNT)]
    ways, posts = ([seen(1, angle, 0.03 * angle, at) for angle in angles] for at in (1.0, depth))
    assert told(*shot(ways))
    assert not told(*shot(ways, posts))
