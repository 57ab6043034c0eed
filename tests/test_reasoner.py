"""The parts of the image reasoner, on pictures whose answer is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from void_server.engines.cleanplate.inpaint import inpaint
from void_server.imaging.camera import Camera
from void_server.imaging.exr import FloatImage
from void_server.imaging.fill import smooth_fill
from void_server.imaging.light import Light
from void_server.imaging.temporal import median, weighted_median
from void_server.quadmask.image_reasoner.causes import STALE, aged, around, effects
from void_server.quadmask.image_reasoner.following import Found, foretold
from void_server.sample.stage import paint

NOTHING = np.zeros((180, 320), bool)


@pytest.fixture(scope="module")
def scenery() -> FloatImage:
    return np.clip(paint(240, 420, np.random.default_rng(5)), 0, 1) ** np.float32(0.45)


def view(scenery: FloatImage, x: float, y: float) -> FloatImage:
    matrix = np.array([[1, 0, -x], [0, 1, -y]], np.float32)
    return cv2.warpAffine(scenery, matrix, (320, 180), flags=cv2.INTER_CUBIC)


def test_a_camera_at_rest_is_exactly_at_rest_despite_grain(scenery: FloatImage) -> None:
    rng = np.random.default_rng(6)
    frames = [view(scenery, 20, 20) + rng.normal(0, 0.01, (180, 320, 3)).astype(np.float32) for _ in range(6)]
    assert Camera.track((frame, NOTHING) for frame in frames).at_rest


def test_a_camera_at_rest_does_not_follow_things_that_have_most_of_the_corners(scenery: FloatImage) -> None:
    """Balls with a pattern roll over a soft floor."""
    rng = np.random.default_rng(8)
    floor = view(cv2.GaussianBlur(scenery, (0, 0), 5), 20, 20)
    balls = [rng.random((44, 44, 3)).astype(np.float32).repeat(2, 0).repeat(2, 1)[:44, :44] for _ in range(5)]

    def frame(index: int) -> FloatImage:
        picture = floor + rng.normal(0, 0.002, floor.shape).astype(np.float32)
        for number, ball in enumerate(balls):
            x, y = 30 + 40 * number + 4 * index, 40 + 18 * number
            picture[y : y + 44, x : x + 44] = ball
        return picture

    assert Camera.track((frame(index), NOTHING) for index in range(8)).at_rest


def test_a_camera_that_moves_or_creeps_is_followed(scenery: FloatImage) -> None:
    for step in (5.0, 0.1):
        camera = Camera.track((view(scenery, 20 + step * i, 20), NOTHING) for i in range(16))
        assert not camera.at_rest
        moved = camera.between(0, 15) @ np.array([160, 90, 1])
        assert moved[0] / moved[2] == pytest.approx(160 - 15 * step, abs=0.4)
        twice = camera.between(0, 15, scale=2.0) @ np.array([320.5, 180.5, 1])
        assert twice[0] / twice[2] == pytest.approx(320.5 - 30 * step, abs=0.8)


def test_how_much_of_the_picture_agrees_on_the_motion_of_the_camera_is_known(scenery: FloatImage) -> None:
    for height, agree in ((0, True), (72, False)):

        def frame(index: int, height: int = height) -> FloatImage:
            picture = view(scenery, 20 + 3 * index, 20)
            picture[:height] = view(scenery, 60 - 2 * index, 20)[:height]
            return picture

        agreement = Camera.track((frame(index), NOTHING) for index in range(10)).agreement
        assert (agreement > 0.9) == agree, agreement
        assert (agreement < 0.75) != agree, agreement
    assert Camera.track((view(scenery, 20, 20), NOTHING) for _ in range(3)).agreement == 1


def test_a_camera_held_by_hand_does_not_drift(scenery: FloatImage) -> None:
    time = np.arange(40) / 8
    ways = zip(
        5 * np.sin(time), 4 * np.sin(1.7 * time + 1), 0.6 * np.sin(1.3 * time), 1 + 0.006 * np.sin(time), strict=True
    )
    paths = []
    for x, y, degrees, zoom in ways:
        path = cv2.getRotationMatrix2D((160, 90), degrees, zoom)
        path[:, 2] += x - 20, y - 20
        paths.append(np.vstack([path, [0, 0, 1]]))
    noise = np.random.default_rng(7)

    def frame(path: np.ndarray) -> FloatImage:
        picture = cv2.warpAffine(scenery, path[:2], (320, 180), flags=cv2.INTER_CUBIC)
        return picture + noise.normal(0, 0.01, picture.shape).astype(np.float32)

    # someone walks through
    camera = Camera.track((frame(path), box(60, 4 * index, 60)) for index, path in enumerate(paths))
    corners = np.array([[[10, 10]], [[310, 10]], [[10, 170]], [[310, 170]]], np.float64)
    for index, path in enumerate(paths):
        true = cv2.perspectiveTransform(corners, path @ np.linalg.inv(paths[0]))
        assert np.linalg.norm(cv2.perspectiveTransform(corners, camera.between(0, index)) - true, axis=-1).max() < 0.4


def test_a_black_shot_is_at_rest() -> None:
    black = np.zeros((180, 320, 3), np.float32)
    assert Camera.track((black, NOTHING) for _ in range(3)).at_rest


def box(top: int, left: int, size: int = 20) -> np.ndarray:
    mask = NOTHING.copy()
    mask[top : top + size, left : left + size] = True
    return mask


def test_what_touches_is_caused_and_what_stands_apart_is_not() -> None:
    near = around(box(50, 50))
    touching, apart = box(50, 71), box(120, 200)
    assert np.array_equal(effects(touching | apart, near, NOTHING), touching)


def test_an_effect_goes_on_by_itself() -> None:
    rolling = box(100, 100)
    assert np.array_equal(effects(box(100, 110), rolling, NOTHING), box(100, 110))


def test_what_was_there_before_has_no_cause() -> None:
    age = np.zeros(NOTHING.shape, np.uint8)
    lasting = box(50, 71)
    for _ in range(STALE):
        age = aged(age, ~NOTHING, lasting)
    assert not effects(lasting, around(box(50, 50)), age >= STALE).any()
    assert (aged(age, ~NOTHING, NOTHING) == 0).all()
    assert np.array_equal(aged(age, NOTHING, NOTHING), age)


def test_a_shadow_near_an_effect_at_the_end_of_a_run_is_one_if_it_has_just_come_up() -> None:
    effect, comes = NOTHING.copy(), NOTHING.copy()
    effect[100:120, 100:140], comes[100:120, 148:158] = True, True

    def found(frame: int, *, ends: bool) -> Found:
        wanders = NOTHING.copy()
        wanders[124:130, 100 + 2 * frame : 112 + 2 * frame] = True
        new = comes & (frame >= 8 and ends)
        return Found(frame, effect.copy(), NOTHING, wanders | new)

    frames = list(foretold((found(index, ends=True) for index in range(10)), {0}))
    assert all((frame.effect == (effect | comes if frame.frame >= 8 else effect)).all() for frame in frames)
    # after a gap it is another shot
    frames = list(foretold((found(index, ends=index < 10) for index in range(20)), {0, 10}))
    assert (frames[9].effect & comes).any()
    assert not (frames[19].effect & ~effect).any()


def test_medians() -> None:
    rng = np.random.default_rng(7)
    samples = rng.random((9, 50, 3)).astype(np.float32)
    seen = rng.random((9, 50)) > 0.4
    seen[:, 0] = False
    expected = [np.median(samples[seen[:, p], p], axis=0) if seen[:, p].any() else np.zeros(3) for p in range(50)]
    assert np.allclose(median(samples, seen), expected)
    ones = np.ones((9, 50), np.float32)
    assert np.allclose(weighted_median(samples, ones), np.median(samples, axis=0))
    heavy = ones.copy()
    heavy[4] = 100
    assert np.array_equal(weighted_median(samples, heavy), samples[4])


def test_fills_keep_what_is_known_and_continue_it() -> None:
    ramp = np.repeat(np.linspace(0, 1, 64, dtype=np.float32)[None, :, None], 48, axis=0).repeat(3, axis=-1)
    hole = np.zeros((48, 64), bool)
    hole[16:32, 20:44] = True
    broken = np.where(hole[..., None], np.float32(9), ramp)
    filled = inpaint(broken, hole)
    assert np.array_equal(filled[~hole], ramp[~hole])
    assert np.abs(filled - ramp).max() < 0.03
    assert np.isfinite(smooth_fill(broken, ~hole)).all()
    assert (smooth_fill(broken, np.zeros_like(hole)) == 0).all()


def test_the_light_of_a_tiny_or_short_shot_does_not_change() -> None:
    rgb = np.full((8, 12, 3), 0.5, np.float32)
    assert not Light.measure(5, lambda index: (rgb * (1 + index), np.ones(rgb.shape[:2], bool))).changes
    wide = np.full((64, 96, 3), 0.5, np.float32)
    assert not Light.measure(2, lambda index: (wide * (1 + index), np.ones(wide.shape[:2], bool))).changes
    changing = Light.measure(6, lambda index: (wide * (1 + index), np.ones(wide.shape[:2], bool)))
    assert changing.changes
    assert np.allclose(changing.gain(5, changing.shares)[0, 0] / changing.gain(0, changing.shares)[0, 0], 6, rtol=0.02)


def test_how_a_light_acts_on_a_place_is_told_by_the_frames_that_show_it() -> None:
    """Something bright passes in one of few frames that show a place; what hides the place is brighter still."""
    rgb, count = np.full((64, 96, 3), 0.5, np.float32), 48
    strong = 1 + np.arange(count, dtype=np.float32) / count
    light = Light.measure(count, lambda index: (rgb * strong[index], np.ones(rgb.shape[:2], bool)))
    seen = np.arange(count) % 6 == 0
    samples = np.where(seen, 0.2 * strong, 5).astype(np.float32)
    samples[42] = 2
    samples = np.repeat(samples[:, None, None], 3, axis=-1)
    weights = seen[:, None].astype(np.float32)
    strengths = light.fit(range(count), samples, weights, np.full((1, 2), 0.5, np.float32))
    gain = light.gain(count - 1, strengths) / light.gain(0, strengths)
    assert np.allclose(gain, strong[-1], rtol=0.05)
