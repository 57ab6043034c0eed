"""How frames are laid on one another, and a camera that moves is followed, where corners mislead."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from void_server.imaging.alignment import Frame, Reference
from void_server.imaging.camera import Camera
from void_server.imaging.corners import grey
from void_server.imaging.exr import FloatImage
from void_server.imaging.masks import Mask
from void_server.sample.stage import paint

HEIGHT, WIDTH, COUNT = 180, 320, 14
NOTHING = np.zeros((HEIGHT, WIDTH), bool)
CORNERS = np.array([[[0, 0]], [[WIDTH, 0]], [[0, HEIGHT]], [[WIDTH, HEIGHT]]], np.float64)
LENS = np.array([[1.1 * WIDTH, 0, (WIDTH - 1) / 2], [0, 1.1 * WIDTH, (HEIGHT - 1) / 2], [0, 0, 1]])
MARGIN = 160


@pytest.fixture(scope="module")
def scenery() -> FloatImage:
    painted = paint(HEIGHT + 2 * MARGIN, WIDTH + 2 * MARGIN, np.random.default_rng(5))
    return np.clip(painted, 0, 1) ** np.float32(0.45)


def turned(degrees: float) -> NDArray[np.float64]:
    """The homography from the middle of the scenery to what a camera sees that turned so far to the right."""
    turn = cv2.Rodrigues(np.radians([0.3 * degrees, degrees, 0.2 * degrees]))[0]
    return np.asarray(LENS @ turn @ np.linalg.inv(LENS))


def seen(scenery: FloatImage, way: NDArray[np.float64]) -> FloatImage:
    within = np.array([[1, 0, -MARGIN], [0, 1, -MARGIN], [0, 0, 1.0]])
    return cv2.warpPerspective(scenery, way @ within, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC)


def off(camera: Camera, ways: list[NDArray[np.float64]]) -> float:
    """How far the corners of any frame are from where they should be, in pixels."""
    return max(
        float(np.linalg.norm(cv2.perspectiveTransform(CORNERS, camera.between(0, index)) - true, axis=-1).max())
        for index, way in enumerate(ways)
        for true in [cv2.perspectiveTransform(CORNERS, way @ np.linalg.inv(ways[0]))]
    )


def test_a_pan_over_a_plain_floor_does_not_follow_patterned_balls(scenery: FloatImage) -> None:
    rng = np.random.default_rng(8)
    floor = cv2.GaussianBlur(scenery, (0, 0), 4)
    balls = [rng.random((24, 24, 3)).astype(np.float32).repeat(2, 0).repeat(2, 1) for _ in range(4)]
    ways = [turned(1.5 * index) for index in range(COUNT)]

    def frame(index: int) -> FloatImage:
        picture = seen(floor, ways[index]) + rng.normal(0, 0.002, (HEIGHT, WIDTH, 3)).astype(np.float32)
        for number, ball in enumerate(balls):
            x, y = 20 + 55 * number + (3 + number) * index, 20 + 30 * number
            picture[y : y + 48, x : x + 48] = ball[:, : max(WIDTH - x, 0)]
        return picture

    assert off(Camera.track((frame(index), NOTHING) for index in range(COUNT)), ways) < 2


def test_a_pan_past_soft_shading_alone_is_followed(scenery: FloatImage) -> None:
    rng = np.random.default_rng(9)
    soft = cv2.GaussianBlur(scenery, (0, 0), 12)
    ways = [turned(index) for index in range(COUNT)]
    frames = [seen(soft, way) + rng.normal(0, 0.003, (HEIGHT, WIDTH, 3)).astype(np.float32) for way in ways]
    assert off(Camera.track((frame, NOTHING) for frame in frames), ways) < 3


def test_a_move_that_begins_slowly_is_followed_from_its_first_frame(scenery: FloatImage) -> None:
    ways = [turned(0.004 * index**2) for index in range(COUNT)]
    assert off(Camera.track((seen(scenery, way), NOTHING) for way in ways), ways) < 0.15


def test_a_light_that_fades_during_a_pan_moves_nothing(scenery: FloatImage) -> None:
    ways = [turned(1.2 * index) for index in range(COUNT)]
    frames = [seen(scenery, way) * np.float32(0.93**index) for index, way in enumerate(ways)]
    assert off(Camera.track((frame, NOTHING) for frame in frames), ways) < 1


def test_a_whip_pan_is_found_by_corners(scenery: FloatImage) -> None:
    ways = [turned(angle) for angle in (0, 0.5, 1, 9, 9.5, 10)]
    assert off(Camera.track((seen(scenery, way), NOTHING) for way in ways), ways) < 1.5


@pytest.mark.parametrize("shows", [0.0, 1.0])
def test_frames_that_tell_nothing_keep_the_place_before_them_and_lose_no_motion(
    scenery: FloatImage, shows: float
) -> None:
    ways = [turned(1.2 * index) for index in range(COUNT)]
    frames = [
        np.full_like(scenery, shows) if index in (6, 7, 8) else seen(scenery, way) for index, way in enumerate(ways)
    ]
    frames = [frame[:HEIGHT, :WIDTH] for frame in frames]
    camera = Camera.track((frame, NOTHING) for frame in frames)
    assert np.allclose(camera.between(5, 8), np.eye(3))
    ways[6:9] = [ways[5]] * 3
    assert off(camera, ways) < 2


def test_a_cut_is_no_flash(scenery: FloatImage) -> None:
    ways = [turned(index) for index in range(COUNT)]
    frames = [seen(scenery if index < 7 else scenery[::-1].copy(), way) for index, way in enumerate(ways)]
    camera = Camera.track((frame, NOTHING) for frame in frames)
    for first, last in ((0, 6), (8, COUNT - 1)):
        true = cv2.perspectiveTransform(CORNERS, ways[last] @ np.linalg.inv(ways[first]))
        assert np.linalg.norm(cv2.perspectiveTransform(CORNERS, camera.between(first, last)) - true, axis=-1).max() < 1


@pytest.mark.parametrize("darker", [0.3, 0.6])
def test_a_pan_is_followed_through_a_lens_that_darkens_the_corners(scenery: FloatImage, darker: float) -> None:
    y, x = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j].astype(np.float32)
    falloff = (1 - darker * (x * x + y * y) / 2)[..., None]
    ways = [turned(0.6 * index) for index in range(COUNT)]
    assert off(Camera.track((seen(scenery, way) * falloff, NOTHING) for way in ways), ways) < 4


def test_a_frame_that_is_there_twice_leads_nowhere(scenery: FloatImage) -> None:
    ways = [turned(4.0 * (index // 2)) for index in range(8)]
    assert off(Camera.track((seen(scenery, way), NOTHING) for way in ways), ways) < 1.5


@pytest.mark.parametrize("size", [(5, 48), (48, 5), (9, 16)])
def test_tiny_frames_are_no_error(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    frames = [rng.random((*size, 3)).astype(np.float32) for _ in range(3)]
    assert Camera.track((frame, np.zeros(size, bool)) for frame in frames).count == 3
    Reference(Frame(grey(frames[0]), np.ones(size, bool))).align(Frame(grey(frames[1]), np.ones(size, bool)), np.eye(3))


def test_nothing_is_told_by_what_is_hidden() -> None:
    hidden = np.ones((HEIGHT, WIDTH), bool)
    blank = np.full((HEIGHT, WIDTH, 3), 0.5, np.float32)
    found = Reference(Frame(grey(blank), ~hidden)).align(Frame(grey(blank), ~hidden), np.eye(3))
    assert np.allclose(found.matrix, np.eye(3))
    assert found.agreeing == found.in_sight == 0


@pytest.mark.parametrize("shift", [0.2, 2.0])
def test_what_is_hidden_in_either_frame_does_not_count(scenery: FloatImage, shift: float) -> None:
    way = np.array([[1, 0, shift], [0, 1, 0], [0, 0, 1.0]])
    one, other = grey(seen(scenery, np.eye(3))), grey(seen(scenery, way))
    masks: list[Mask] = [~NOTHING, ~NOTHING]
    for picture, mask, left in ((one, masks[0], 30), (other, masks[1], 150)):
        picture[20:160, left : left + 110] = np.tile(np.array([40, 200], np.uint8).repeat(5), (140, 11))
        mask[20:160, left : left + 110] = False
    found = Reference(Frame(one, masks[0])).align(Frame(other, masks[1]), np.eye(3))
    assert math.dist(found.matrix[:2, 2], (shift, 0)) < 0.15


def test_a_camera_at_rest_is_exactly_at_rest_though_corners_move(scenery: FloatImage) -> None:
    """A large thing with a pattern passes before a soft wall."""
    rng = np.random.default_rng(11)
    wall = seen(cv2.GaussianBlur(scenery, (0, 0), 4), np.eye(3))
    thing = rng.random((75, 50, 3)).astype(np.float32).repeat(2, 0).repeat(2, 1)

    def frame(index: int) -> FloatImage:
        picture = wall + rng.normal(0, 0.002, wall.shape).astype(np.float32)
        picture[15:165, 20 + 5 * index : 120 + 5 * index] = thing
        return picture

    assert Camera.track((frame(index), NOTHING) for index in range(COUNT)).at_rest


def test_a_camera_at_rest_before_a_soft_backdrop_does_not_follow_grain() -> None:
    """Grain as of scanned film, a pixel soft."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0 : 1 : 2 * HEIGHT * 1j, 0 : 1 : 2 * WIDTH * 1j].astype(np.float32)
    backdrop = np.repeat((0.25 + 0.4 * y + 0.1 * x)[..., None], 3, axis=2)

    def frame() -> FloatImage:
        grain = cv2.GaussianBlur(rng.standard_normal(backdrop.shape).astype(np.float32), (0, 0), 1)
        return backdrop + grain / grain.std() * np.float32(1 / 255)

    nothing = np.zeros(backdrop.shape[:2], bool)
    assert Camera.track((frame(), nothing) for _ in range(8)).at_rest


def test_a_slow_drift_under_grain_is_no_rest(scenery: FloatImage) -> None:
    rng = np.random.default_rng(12)
    ways = [np.array([[1, 0, 0.1 * index], [0, 1, 0], [0, 0, 1.0]]) for index in range(COUNT)]
    frames = [seen(scenery, way) + rng.normal(0, 0.02, (HEIGHT, WIDTH, 3)).astype(np.float32) for way in ways]
    camera = Camera.track((frame, NOTHING) for frame in frames)
    assert not camera.at_rest
    assert off(camera, ways) < 0.6


def test_noise_is_no_evidence_of_motion_and_a_shift_is(scenery: FloatImage) -> None:
    rng = np.random.default_rng(13)
    plain = np.full((2 * HEIGHT, 2 * WIDTH), 120.0)
    shift = np.array([[1, 0, 2.0], [0, 1, 0], [0, 0, 1.0]])

    def evident(one: NDArray[np.floating], other: NDArray[np.floating]) -> bool:
        frames = [
            Frame(
                np.clip(picture + rng.normal(0, 2, picture.shape), 0, 255).astype(np.uint8),
                np.ones(picture.shape, bool),
            )
            for picture in (one, other)
        ]
        reference = Reference(frames[0])
        return reference.evident(frames[1], reference.align(frames[1], shift).matrix)

    assert not evident(plain, plain)
    assert evident(*(grey(seen(scenery, way)).repeat(2, 0).repeat(2, 1) for way in (np.eye(3), shift)))
