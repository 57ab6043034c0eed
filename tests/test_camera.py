"""What the homographies of a camera tell of how it moves."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from void_server.imaging.camera import Camera

HEIGHT, WIDTH, COUNT = 144, 256, 12


def projection(lens: float) -> NDArray[np.float64]:
    """Of a lens with that focal length, in widths of the frame."""
    return np.array([[lens * WIDTH, 0, (WIDTH - 1) / 2], [0, lens * WIDTH, (HEIGHT - 1) / 2], [0, 0, 1]])


def turned(x: float, y: float) -> NDArray[np.float64]:
    """The rotation by so many degrees about these axes."""
    return np.asarray(cv2.Rodrigues(np.radians([x, y, 0]))[0], np.float64)


@pytest.mark.parametrize("lens", [0.7, 1.0, 2.4])
def test_a_camera_that_turns_is_known_whatever_its_lens(lens: float) -> None:
    project = projection(lens)
    turns = [turned(2 * math.sin(index), 1.2 * index / lens) for index in range(COUNT)]
    assert Camera([project @ turn @ np.linalg.inv(project) for turn in turns]).only_turns((HEIGHT, WIDTH))


@pytest.mark.parametrize("wall", [(0.0, 0.0, 1.0), (0.5, 0.0, 0.8), (0.0, 0.9, 0.3)])
@pytest.mark.parametrize("turns", [0.0, 1.0])
def test_a_camera_that_travels_past_a_wall_or_over_a_floor_does_not_only_turn(
    wall: tuple[float, float, float], turns: float
) -> None:
    project = projection(1.0)
    ways = [np.outer([0.03 * index, 0, 0], wall) for index in range(COUNT)]
    turning = [turned(0, turns * index) for index in range(COUNT)]
    matrices = [
        project @ turn @ (np.eye(3) + way) @ np.linalg.inv(project) for turn, way in zip(turning, ways, strict=True)
    ]
    assert not Camera(matrices).only_turns((HEIGHT, WIDTH))


def test_a_zoom_is_no_turning() -> None:
    first = np.linalg.inv(projection(1.0))
    assert not Camera([projection(1 + 0.04 * index) @ first for index in range(COUNT)]).only_turns((HEIGHT, WIDTH))


def test_a_little_travel_does_not_hide_in_a_hand_that_trembles() -> None:
    project, count = projection(1.0), 24
    hand = [turned(0.4 * math.sin(index), 0.5 * math.sin(index / 2 + 1)) for index in range(count)]
    travel = [np.outer([0.004 * math.sin(index / 3), 0, 0], [0, 0, 1]) for index in range(count)]
    matrices = [
        project @ turn @ (np.eye(3) + way) @ np.linalg.inv(project) for turn, way in zip(hand, travel, strict=True)
    ]
    assert not Camera(matrices).only_turns((HEIGHT, WIDTH))
    assert Camera([project @ turn @ np.linalg.inv(project) for turn in hand]).only_turns((HEIGHT, WIDTH))
