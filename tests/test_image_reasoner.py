"""The image reasoner and the clean plate on small painted shots whose answer is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from void_server import engines
from void_server.api.shot import SCENE_LINEAR_REC709, Settings, Shot
from void_server.engines import Clip, NewPixels
from void_server.imaging import exr, sequence
from void_server.imaging.camera import Camera
from void_server.imaging.colour import ColourSpace
from void_server.imaging.exr import FloatImage
from void_server.imaging.footage import Footage
from void_server.imaging.window import Window
from void_server.quadmask import classes, image_reasoner
from void_server.quadmask.contact import first_contact, lasting_contact
from void_server.quadmask.image_reasoner import background, doubts, shade
from void_server.quadmask.image_reasoner.standing import stands
from void_server.quadmask.reasoning import Reasoning
from void_server.sample import SCENES, Film, Frames
from void_server.sample.stage import paint

HEIGHT, WIDTH, COUNT = 144, 256, 20
Mask = NDArray[np.bool_]
#: A frame by its index: the plate, and the object's mask.
Scene = Callable[[int], tuple[FloatImage, Mask]]


@pytest.fixture(scope="module")
def empty() -> FloatImage:
    """The scene without anything in it, scene-linear."""
    scenery = np.clip(paint(HEIGHT, WIDTH, np.random.default_rng(3)), 0.02, 0.8)
    floor = scenery.mean() * (0.7 + 0.6 * np.random.default_rng(4).random((HEIGHT, WIDTH, 1)))
    return (0.5 * scenery + 0.5 * floor).astype(np.float32)


def footage(folder: Path, scene: Scene, gap: int = COUNT, noise: float = 0.01) -> Footage:
    """From frame index ``gap`` on, frames are numbered as if a hundred were left out; ``noise`` is a share of light."""
    rng = np.random.default_rng(9)
    for index in range(COUNT):
        plate, mask = scene(index)
        grain = plate * (1 + noise * rng.standard_normal(plate.shape))
        frame = index + 100 * (index >= gap)
        exr.write(folder / f"plate/plate.{frame:04d}.exr", grain.astype(np.float16), exr.RGB)
        exr.write(folder / f"roto/roto.{frame:04d}.exr", mask[..., None].astype(np.float16), ("A",))
    plate, roto = (sequence.find(str(folder / name)) for name in ("plate", "roto"))
    canvas = Window(0, 0, WIDTH, HEIGHT)
    found = Footage(plate, roto, plate.frames, ColourSpace(SCENE_LINEAR_REC709), canvas, folder / "work")
    found.look(lambda _: None)
    return found


def reasoned(folder: Path, scene: Scene, gap: int = COUNT, noise: float = 0.01) -> list[Mask]:
    found = image_reasoner.reason(footage(folder, scene, gap, noise), folder, lambda _: None)
    nothing = np.zeros((HEIGHT, WIDTH), bool)
    masks = [found.affected(index) for index in range(COUNT)]
    return [nothing if mask is None else mask for mask in masks]


def box(x: float, y: float, width: int, height: int) -> Mask:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[max(round(y), 0) : round(y) + height, max(round(x), 0) : max(round(x) + width, 0)] = True
    return mask


def painted(image: FloatImage, *things: tuple[Mask, tuple[float, float, float]]) -> FloatImage:
    image = image.copy()
    for mask, colour in things:
        image[mask] = colour
    return image


def held_by_hand(picture: NDArray[np.float32], index: int) -> NDArray[np.float32]:
    """The picture as a camera that trembles sees it, somewhat nearer so that nothing beyond its edge shows."""
    x, y = 5 * math.sin(index / 3), 4 * math.sin(index / 2 + 1)
    turned = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), 0.8 * math.sin(index / 4), 1.1 + 0.01 * math.sin(index))
    turned[:, 2] += x, y
    return cv2.warpAffine(picture, turned, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def panned(picture: NDArray[np.float32], index: int) -> NDArray[np.float32]:
    """What a camera that turns by up to 16 degrees sees of a picture nearly as wide as three of its frames."""
    lens, angle = WIDTH, math.radians(0.8 * (index - COUNT / 2))
    project = np.array([[lens, 0, WIDTH / 2], [0, lens, HEIGHT / 2], [0, 0, 1]])
    turn = cv2.Rodrigues(np.array([0, angle, 0]))[0]
    within = np.array([[1, 0, -(picture.shape[1] - WIDTH) / 2], [0, 1, -(picture.shape[0] - HEIGHT) / 2], [0, 0, 1]])
    matrix = project @ turn @ np.linalg.inv(project) @ within
    return cv2.warpPerspective(picture, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)


GREEN, RED, BLUE = (0.1, 0.4, 0.15), (0.6, 0.05, 0.05), (0.05, 0.1, 0.5)


def fading(empty: FloatImage, index: int) -> FloatImage:
    """The empty scene lit by a constant lamp, and by one on the left half only, which fades."""
    key = np.where(np.arange(WIDTH) < WIDTH // 2, 1.0, 0.25).astype(np.float32)[None, :, None]
    return empty * (np.float32(0.4) + key * np.float32(1 - 0.6 * index / COUNT))


def passes(index: int) -> Mask:
    return box(10 + 11 * index, 50, 24, 60)


def test_a_light_that_fades_over_the_frame_is_no_effect(empty: FloatImage, tmp_path: Path) -> None:
    def scene(index: int) -> tuple[FloatImage, Mask]:
        return painted(fading(empty, index), (passes(index), GREEN)), passes(index)

    affected = reasoned(tmp_path, scene)
    assert np.mean([mask & ~passes(index) for index, mask in enumerate(affected)]) < 0.005


def rewritten(folder: Path, scene: Scene) -> tuple[Clip, list[NewPixels]]:
    """A shot whose quadmask is the object alone, and the new pixels of its frames."""
    found = footage(folder, scene)
    for index in range(COUNT):
        codes = np.where(scene(index)[1], classes.REMOVE, classes.KEEP) / np.float32(255)
        exr.write(folder / f"quadmask.{index}.exr", codes[..., None].astype(np.float16), ("Y",))
    shot = Shot("plate", "roto", settings=Settings(grain=False))
    clip = Clip(found, lambda frame: folder / f"quadmask.{frame}.exr", shot, folder)
    return clip, list(engines.load(Settings()).synthesise(clip, range(COUNT), lambda _: None))


def test_new_pixels_follow_a_light_that_fades(empty: FloatImage, tmp_path: Path) -> None:
    clip, new = rewritten(
        tmp_path, lambda index: (painted(fading(empty, index), (passes(index), GREEN)), passes(index))
    )
    assert len(new) == COUNT
    for frame in new:
        window = frame.window
        truth = fading(empty, frame.index)[window.y : window.bottom, window.x : window.right]
        error = np.abs(clip.footage.curve.to_linear(frame.rgb) / truth - 1)[clip.blend(frame.index, window) > 0]
        assert np.median(error) < 0.01
        assert np.quantile(error, 0.95) < 0.04


def test_what_one_frame_shows_otherwise_is_not_taken_for_the_scene_where_something_is_never_seen(
    empty: FloatImage, tmp_path: Path
) -> None:
    post, spot = box(120, 20, 10, 16), box(125, 80, 12, 12)

    def scene(index: int) -> tuple[FloatImage, Mask]:
        """Something stands in the way throughout; in the last frame, where nothing passes, a shadow is missed."""
        if index == COUNT - 1:
            return painted(empty * np.where(spot, 0.4, 1)[..., None].astype(np.float32), (post, GREEN)), post
        return painted(empty, (post | passes(index), GREEN)), post | passes(index)

    clip, new = rewritten(tmp_path, scene)
    hidden = next(frame for frame in new if (spot & passes(frame.index)).sum() == spot.sum())
    window = hidden.window
    there = spot[window.y : window.bottom, window.x : window.right]
    linear = clip.footage.curve.to_linear(hidden.rgb)[there]
    assert np.median(linear / empty[spot]) > 0.95


def test_what_stands_in_the_first_frames_is_the_scene_also_when_a_chain_of_causes_reaches_it(
    empty: FloatImage, tmp_path: Path
) -> None:
    bars = [box(90 + 30 * number, 50, 10, 40) for number in range(4)]
    lying = [box(90 + 30 * number, 82, 32, 8) for number in range(4)]

    def scene(index: int) -> tuple[FloatImage, Mask]:
        ball = box(min(10 + 12 * index, 64), 66, 24, 24)
        shadow = box(min(10 + 12 * index, 64) - 4, 88, 34, 7)
        plate = np.where(shadow[..., None], empty * np.float32(0.5), empty)
        fallen = [index >= 6 + number for number in range(4)]
        things = [(lying[n] if fallen[n] else bars[n], RED if n % 2 else BLUE) for n in range(4)]
        return painted(plate, *things, (ball, GREEN)), ball

    affected = reasoned(tmp_path, scene)
    for bar, fallen in zip(bars, lying, strict=True):
        assert not (affected[2] & bar).any()
        # what lies there looks the same
        assert np.mean(affected[-1][bar & ~fallen]) > 0.9


def test_what_stands_is_the_scene_also_where_a_shadow_passes_in_the_first_frames(
    empty: FloatImage, tmp_path: Path
) -> None:
    """The bar falls late, so most frames in which the object is far show the floor without the bar's shadow."""
    bar, lying, shadow = box(80, 50, 10, 58), box(90, 96, 50, 12), box(50, 104, 30, 8)

    def scene(index: int) -> tuple[FloatImage, Mask]:
        thing, ahead = box(4 + 9 * index, 60, 24, 40), box(28 + 9 * index, 104, 14, 8)
        stands = index < 14
        plate = np.where((shadow & stands)[..., None], empty * np.float32(0.7), empty)
        plate = np.where((box(4 + 9 * index, 100, 24, 12) | ahead)[..., None], plate * np.float32(0.4), plate)
        return painted(plate, (bar if stands else lying, RED), (thing, GREEN)), thing

    affected = reasoned(tmp_path, scene)
    assert np.mean([mask[shadow].mean() for mask in affected[9:14]]) < 0.1
    assert affected[-1][shadow].mean() > 0.9


def test_what_is_pushed_away_slowly_has_no_life_of_its_own(empty: FloatImage, tmp_path: Path) -> None:
    """In a picture without noise, where a little light that comes off the things is all that changes."""
    before = box(104, 40, 12, 50)

    def bar(index: int) -> Mask:
        return box(104 + max(2 * index - 10, 0), 40, 12, 50)

    def scene(index: int) -> tuple[FloatImage, Mask]:
        ball = box(64 + 2 * index, 66, 26, 24)
        lit = empty + np.float32(0.002 * index) * box(90, 20, 60, 90)[..., None]
        return painted(lit, (bar(index), RED), (ball, GREEN)), ball

    affected = reasoned(tmp_path, scene, noise=0.0)
    last = COUNT - 1
    assert np.mean(affected[last][before & ~bar(last) & ~scene(last)[1]]) > 0.9


def test_a_place_seen_lit_less_often_than_in_a_tinted_shadow_is_found_in_it(empty: FloatImage, tmp_path: Path) -> None:
    """A lamp is hidden, the blue of the sky stays."""
    floor = cv2.GaussianBlur(empty, (0, 0), 3)

    def panel(index: int) -> Mask:
        return box(196 - 4 * index, 30, 22, 80)

    def shade(index: int) -> Mask:
        length = 60 + 16 * (index % 2)
        return box(196 - 4 * index - length, 84, length, 26)

    def scene(index: int) -> tuple[FloatImage, Mask]:
        tinted = floor * np.array([0.33, 0.45, 0.56], np.float32)
        plate = np.where(shade(index)[..., None], tinted, floor)
        return painted(plate, (panel(index), (0.6, 0.3, 0.05))), panel(index)

    # the place that the object uncovers at last
    place = box(160, 84, 28, 26)
    found = [np.mean(mask[shade(index) & place]) for index, mask in enumerate(reasoned(tmp_path, scene)[:8])]
    assert np.mean(found) > 0.9


def test_a_reflection_that_never_touches_is_an_effect_from_the_first_frame_on(
    empty: FloatImage, tmp_path: Path
) -> None:
    def image(index: int) -> Mask:
        return box(70 + 6 * index, 12, 14, 26)

    def scene(index: int) -> tuple[FloatImage, Mask]:
        objects = box(20 + 8 * index, 80, 24, 50)
        dim = (GREEN[0] * 0.6, GREEN[1] * 0.6, GREEN[2] * 0.6)
        return painted(empty, (image(index), dim), (objects, GREEN)), objects

    affected = reasoned(tmp_path, scene)
    assert min(np.mean(mask[image(index)]) for index, mask in enumerate(affected)) > 0.9


def checked(x: float, y: float, width: int, height: int) -> Mask:
    """Every second square of a box, which go along with it."""
    rows, columns = np.indices((HEIGHT, WIDTH))
    squares = ((rows - round(y)) // 8 + (columns - round(x)) // 8) % 2 == 0
    return box(x, y, width, height) & squares


def test_a_slow_reflection_is_an_effect_though_most_frames_show_it_where_it_is(
    empty: FloatImage, tmp_path: Path
) -> None:
    def reflection(index: int) -> tuple[float, float, int, int]:
        return 70 + 3 * index, 8, 40, 32

    def scene(index: int) -> tuple[FloatImage, Mask]:
        squares = checked(10 + 11 * index, 50, 24, 60), checked(*reflection(index))
        things = [(passes(index), RED), (box(*reflection(index)), RED), *((mask, GREEN) for mask in squares)]
        return painted(empty, *things), passes(index)

    affected = reasoned(tmp_path, scene)
    shares = [mask[box(*reflection(index))].mean() for index, mask in enumerate(affected)]
    assert min(shares) > 0.9
    assert np.mean([mask & ~box(*reflection(i)) & ~passes(i) for i, mask in enumerate(affected)]) < 0.02


def test_a_bystander_that_passes_behind_the_object_is_kept(empty: FloatImage, tmp_path: Path) -> None:
    def car(index: int) -> Mask:
        return box(200 - 9 * index, 70, 34, 18)

    def scene(index: int) -> tuple[FloatImage, Mask]:
        objects = box(20 + 9 * index, 40, 20, 70)
        return painted(empty, (car(index), RED), (objects, GREEN)), objects

    affected = reasoned(tmp_path, scene)
    assert max(np.mean(mask[car(index)]) for index, mask in enumerate(affected)) < 0.1


def walker(x: int, index: int) -> tuple[Mask, FloatImage]:
    """Somebody in a checked suit who walks, with legs that swing: the mask, and the colours of its pixels."""
    swing = round(8 * math.sin(index))
    mask = box(x, 40, 18, 42) | box(x + swing, 82, 8, 26) | box(x + 10 - swing, 82, 8, 26)
    rows, columns = np.nonzero(mask)
    check = 0.3 + 0.7 * ((rows // 5 + (columns - x) // 5) % 2)
    return mask, check[:, None].astype(np.float32) * np.float32(RED)


def test_who_walks_behind_the_object_is_kept_where_neither_is_ever_far_away(empty: FloatImage, tmp_path: Path) -> None:
    def scene(index: int) -> tuple[FloatImage, Mask]:
        objects = box(164 - 5 * index, 38, 26, 74)
        mask, colours = walker(70 + 4 * index, index)
        image = empty.copy()
        image[mask] = colours
        return painted(image, (objects, GREEN)), objects

    affected = reasoned(tmp_path, scene)
    assert np.mean(affected) < 0.002


def test_a_bystander_is_kept_whose_shadow_meets_that_of_the_object(empty: FloatImage, tmp_path: Path) -> None:
    def parts(index: int) -> tuple[Mask, Mask, Mask]:
        own, other = 180 - 6 * index, 56 + 6 * index
        # from one to the other, never long in one place
        shadow = box(min(own, other) - 4, 52 + 5 * (index % 8), abs(own - other) + 34, 5)
        return box(other, 40, 18, 50), box(own, 40, 26, 74), shadow

    def scene(index: int) -> tuple[FloatImage, Mask]:
        other, objects, shadow = parts(index)
        plate = np.where(shadow[..., None], empty * np.float32(0.4), empty)
        return painted(plate, (other, RED), (objects, GREEN)), objects

    for index, mask in enumerate(reasoned(tmp_path, scene)):
        other, objects, shadow = parts(index)
        other &= ~objects & ~shadow
        assert np.count_nonzero(mask & other) <= 0.2 * np.count_nonzero(other)


@pytest.mark.parametrize("lets_go", [6, 10])
def test_what_a_slow_object_lets_go_is_no_bystander(empty: FloatImage, lets_go: int, tmp_path: Path) -> None:
    """Until then it may have been behind it, as far as one sees."""

    def ball(index: int) -> Mask:
        return box(150 - index - 4 * max(index - lets_go, 0), 60, 14, 14)

    def scene(index: int) -> tuple[FloatImage, Mask]:
        objects = box(140 - index, 40, 48, 70)
        return painted(empty, (ball(index), RED), (objects, GREEN)), objects

    affected = reasoned(tmp_path, scene)
    for index in range(lets_go + 5, COUNT):
        assert np.mean(affected[index][ball(index) & ~scene(index)[1]]) > 0.9


def test_the_whole_of_a_reflection_is_an_effect_of_which_a_part_is_like_shade(tmp_path: Path) -> None:
    wall = np.full((HEIGHT, WIDTH, 3), 0.3, np.float32) + 0.02 * np.random.default_rng(2).random((HEIGHT, WIDTH, 1))

    def figure(x: int, y: int) -> tuple[Mask, Mask]:
        return box(x, y, 16, 22), box(x, y + 22, 16, 22)

    def scene(index: int) -> tuple[FloatImage, Mask]:
        shirt, trousers = figure(20 + 9 * index, 84)
        image, other = figure(20 + 9 * index, 10)
        colours = [(0.6, 0.05, 0.05), (0.1, 0.1, 0.1)]
        plate = painted(wall.astype(np.float32), *zip((shirt, trousers), colours, strict=True))
        return painted(plate, *zip((image, other), colours, strict=True)), shirt | trousers

    affected = reasoned(tmp_path, scene)
    for index in range(COUNT):
        assert np.mean(affected[index][np.logical_or(*figure(20 + 9 * index, 10))]) > 0.9


def test_a_camera_whose_motion_is_that_of_half_the_picture_is_a_warning(empty: FloatImage, tmp_path: Path) -> None:
    wide = cv2.resize(empty, (2 * WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    upper = HEIGHT * 3 // 5

    def scene(index: int) -> tuple[FloatImage, Mask]:
        above, below = (np.roll(wide, shift, axis=1)[:, :WIDTH] for shift in (4 * index, -4 * index))
        picture = np.concatenate([above[:upper], below[upper:]]).copy()
        return painted(picture, (passes(index), GREEN)), passes(index)

    found = image_reasoner.reason(footage(tmp_path, scene), tmp_path, lambda _: None)
    assert any("in doubt" in warning for warning in found.warnings)


def test_what_is_pushed_while_the_camera_pans_is_an_effect_in_its_old_place_and_its_new(
    empty: FloatImage, tmp_path: Path
) -> None:
    tall, wide = HEIGHT + 80, 2 * WIDTH
    scenery = cv2.copyMakeBorder(empty, 40, 40, WIDTH // 2, WIDTH // 2, cv2.BORDER_REFLECT)

    def placed(x: int, y: int, width: int, height: int) -> Mask:
        mask = np.zeros((tall, wide), bool)
        mask[y : y + height, x : x + width] = True
        return mask

    def cube(index: int) -> Mask:
        return placed(240 + 6 * min(max(index - 5, 0), 8), 90, 34, 34)

    def ball(index: int) -> Mask:
        return placed(180 + 6 * min(index, 13), 94, 24, 30)

    def seen(mask: Mask, index: int) -> Mask:
        return panned(mask.astype(np.float32), index) > 0.5

    def scene(index: int) -> tuple[FloatImage, Mask]:
        return panned(painted(scenery, (cube(index), RED), (ball(index), GREEN)), index), seen(ball(index), index)

    affected = reasoned(tmp_path, scene)
    last = COUNT - 1
    for place in (cube(last), cube(0) & ~cube(last) & ~ball(last)):
        assert np.mean(affected[last][seen(place, last)]) > 0.9
    assert np.mean(affected[2]) < 0.005


def test_what_the_object_throws_is_no_bystander(empty: FloatImage, tmp_path: Path) -> None:
    def ball(index: int) -> Mask:
        return box(140 - 3 * min(index, 8) + 9 * max(index - 8, 0), 60, 14, 14)

    def scene(index: int) -> tuple[FloatImage, Mask]:
        objects = box(120 - 3 * index, 40, 24, 70)
        return painted(empty, (ball(index), RED), (objects, GREEN)), objects

    affected = reasoned(tmp_path, scene)
    assert min(np.mean(affected[index][ball(index)]) for index in range(9, 19)) > 0.9


def water(empty: FloatImage, index: int) -> FloatImage:
    """The scene with moving water in its upper part."""
    rng = np.random.default_rng(5)
    waves = [cv2.GaussianBlur(rng.standard_normal((HEIGHT, WIDTH)).astype(np.float32), (0, 0), 3) for _ in range(6)]
    mixed = sum(np.roll(wave, (number - 3) * 2 * index, axis=number % 2) for number, wave in enumerate(waves))
    image = empty.copy()
    level = np.clip(0.25 + 0.8 * np.asarray(mixed), 0.02, 0.8)[: HEIGHT // 2, :, None]
    image[: HEIGHT // 2] = level * np.array([0.4, 0.8, 1], np.float32)
    return image


def test_water_behind_the_object_is_no_effect_and_moves_no_camera(empty: FloatImage, tmp_path: Path) -> None:
    def scene(index: int) -> tuple[FloatImage, Mask]:
        return painted(water(empty, index), (passes(index), GREEN)), passes(index)

    found = footage(tmp_path / "shot", scene)
    nothing = np.zeros((HEIGHT, WIDTH), bool)
    assert Camera.track((found.small_plate(i), found.small_roto(i) > 0) for i in range(COUNT)).at_rest
    masks = image_reasoner.reason(found, tmp_path, lambda _: None)
    affected = [nothing if (mask := masks.affected(i)) is None else mask & ~passes(i) for i in range(COUNT)]
    assert np.mean(affected) < 0.01


@pytest.mark.parametrize("dark", [0.5, 0.9])
def test_it_says_how_sure_it_is_and_what_is_a_shadow(dark: float, empty: FloatImage, tmp_path: Path) -> None:
    def scene(index: int) -> tuple[FloatImage, Mask]:
        here, below = box(20 + 8 * index, 50, 24, 40), box(20 + 8 * index, 90, 40, 20)
        image = empty.copy()
        image[below] *= dark
        return painted(image, (here, GREEN)), here

    found = image_reasoner.reason(footage(tmp_path, scene), tmp_path, lambda _: None)
    (shadow,) = (region for region in found.regions if region.name == "shadow")
    assert shadow.confidence is not None
    assert (shadow.confidence > 0.6) == (dark == 0.5)
    assert 0.1 < shadow.confidence < 0.99
    assert (shadow.mask(10) & box(100, 90, 40, 20)).sum() > 400


@pytest.mark.parametrize("leaves", [True, False])
def test_little_found_beside_an_object_that_touches_something_is_a_warning(
    leaves: bool, empty: FloatImage, tmp_path: Path
) -> None:
    """Leaves that always move are no effect where the object reaches them; there may be one all the same."""
    there = box(150, 30, 60, 100)

    def scene(index: int) -> tuple[FloatImage, Mask]:
        here = box(10 + 7 * index, 50, 30, 40)
        image = empty.copy()
        if leaves:
            rng = np.random.default_rng(index)
            image[there] *= (1 + 0.3 * rng.uniform(-1, 1, (int(there.sum()), 1))).astype(np.float32)
        return painted(image, (here, GREEN)), here

    found = image_reasoner.reason(footage(tmp_path, scene), tmp_path, lambda _: None)
    said = [text for text in found.warnings if "moves close to the object" in text]
    assert len(said) == leaves, found.warnings
    assert not leaves or said[0].startswith("From frame 1")


@pytest.mark.parametrize("wide", [8, 30])
def test_next_to_nothing_found_beside_an_object_that_moves_is_a_warning(
    wide: int, empty: FloatImage, tmp_path: Path
) -> None:
    def scene(index: int) -> tuple[FloatImage, Mask]:
        here, shade = box(10 + 9 * index, 50, 30, 40), box(10 + 9 * index, 90, wide, 12)
        image = empty.copy()
        image[shade] *= 0.4
        return painted(image, (here, GREEN)), here

    found = image_reasoner.reason(footage(tmp_path, scene), tmp_path, lambda _: None)
    assert [region.name for region in found.regions] == ["shadow"]
    assert any("of its size over the shot" in text for text in found.warnings) == (wide == 8), found.warnings


@pytest.mark.parametrize("gap", [COUNT, 10])
def test_a_thing_that_moves_by_itself_is_not_followed_across_a_gap(empty: FloatImage, gap: int, tmp_path: Path) -> None:
    """Another one goes on where it would be, which the object pushes: it seems to pass behind the object, else."""

    def scene(index: int) -> tuple[FloatImage, Mask]:
        thing = box(10 + 8 * index, 60, 24, 24)
        here = box(230 - 5 * index, 5, 20, 30) if index < 10 else box(34 + 8 * index, 50, 20, 40)
        return painted(empty, (thing, RED), (here, GREEN)), here

    affected = reasoned(tmp_path, scene, gap)
    shares = [affected[index][box(10 + 8 * index, 60, 24, 24)].mean() for index in range(12, COUNT)]
    assert all((share > 0.7) == (gap == 10) for share in shares)


def test_what_the_object_left_behind_is_its_effect_also_beyond_a_gap(empty: FloatImage, tmp_path: Path) -> None:
    """A camera at rest sees the same place there."""
    left = box(90, 84, 16, 16)

    def scene(index: int) -> tuple[FloatImage, Mask]:
        image = painted(empty, (left, RED)) if index >= 8 else empty
        return painted(image, (passes(index), GREEN)), passes(index)

    affected = reasoned(tmp_path, scene, gap=14)
    assert min(mask[left].mean() for mask in affected[14:]) > 0.7


def test_what_changes_in_a_gap_is_no_contact(empty: FloatImage, tmp_path: Path) -> None:
    def scene(index: int) -> tuple[FloatImage, Mask]:
        beside = box(100 + 2 * index, 35, 40, 12) if index >= 10 else box(0, 0, 0, 0)
        here = box(100 + 2 * index, 50, 30, 40)
        return painted(empty, (beside, RED), (here, GREEN)), here

    def contact(gap: int) -> int | None:
        shot = footage(tmp_path / str(gap), scene, gap)
        return first_contact(shot, [shot.small_roto(index) >= 0.5 for index in range(COUNT)])

    assert contact(COUNT) == 10 != contact(gap=10)


@pytest.mark.parametrize("alone", [False, True])
def test_noise_is_no_contact_of_an_object_that_few_frames_show(
    empty: FloatImage, tmp_path: Path, *, alone: bool
) -> None:
    """Frames in which there is no object tell nothing of what usually changes beside it."""

    def seen(index: int) -> Mask:
        return box(60 + 2 * index, 60, 20, 40) if alone or 12 <= index < 16 else box(0, 0, 0, 0)

    # noise is stronger where it is light
    light = np.where((box(40, 40, 120, 80))[..., None], empty, empty / 20)
    shot = footage(tmp_path, lambda index: (painted(light, (seen(index), GREEN)), seen(index)), noise=0.05)
    assert first_contact(shot, [seen(index) for index in range(COUNT)]) is None


@pytest.mark.parametrize("gives", [False, True])
def test_an_object_that_touches_what_gives_time_and_again_is_in_contact(
    gives: bool, empty: FloatImage, tmp_path: Path
) -> None:
    """Somebody jumps on a bed all the time, before a camera held by hand: no frame is striking among the others."""
    noise = np.random.default_rng(8)

    def scene(index: int) -> tuple[FloatImage, Mask]:
        here = box(100, 40 + 8 * (index % 3), 40, 50)
        image, bed = empty.copy(), box(80, 92 + 8 * (index % 3), 80, 16)
        if gives:
            image[bed] *= (1 + 0.7 * noise.uniform(-1, 1, (int(bed.sum()), 1))).astype(np.float32)
        plate = held_by_hand(painted(image, (here, GREEN)), index)
        return plate, held_by_hand(here.astype(np.float32), index) > 0.1

    shot = footage(tmp_path, scene)
    rotos = [shot.small_roto(index) >= 0.5 for index in range(COUNT)]
    hidden = [cv2.dilate(mask.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0 for mask in rotos]
    camera = Camera.track((shot.evenly_exposed(index), hidden[index]) for index in range(COUNT))
    assert not camera.at_rest
    assert (lasting_contact(shot, rotos, camera) is not None) == gives


def bed_jumped_on(
    empty: FloatImage, index: int, period: int, leaves: int = COUNT, *, gives: bool
) -> tuple[FloatImage, Mask]:
    """Somebody who touches :data:`BED` in the first half of each ``period``, until he leaves; it may give under him."""
    low = index % period < period // 2 and index < leaves
    here = box(100, (66 if low else 16) + 4 * (index % 2), 30, 40) & (index < leaves)
    image = empty.copy()
    if gives and low:
        # what were the same in less light would be a shadow
        image[BED] = BLUE
    return painted(image, (here, GREEN)), here


BED = box(70, 112, 90, 16)


@pytest.mark.parametrize("gives", [False, True])
@pytest.mark.parametrize("leaves", [COUNT, 9])
def test_what_is_set_in_motion_time_and_again_moves_on_until_the_end(
    gives: bool, leaves: int, empty: FloatImage, tmp_path: Path
) -> None:
    shot = footage(tmp_path, lambda index: bed_jumped_on(empty, index, 5, leaves, gives=gives))
    found = image_reasoner.reason(shot, tmp_path, lambda _: None)
    assert bool(found.implied) == gives
    assert not any("time and again" in text for text in found.warnings)
    for index in range(COUNT) if gives else ():
        (region,) = found.implied
        moves = region.mask(index)
        assert (moves & BED).sum() > 0.8 * BED.sum()
        assert moves.sum() < 1.6 * BED.sum()
        assert index % 5 < 2 or not (found.affected(index) & BED).any()


@pytest.mark.parametrize("gives", [False, True])
def test_what_gives_in_parts_under_an_object_that_jumps_on_it_and_is_found_now_and_then_is_a_warning(
    gives: bool, empty: FloatImage, tmp_path: Path
) -> None:
    def scene(index: int) -> tuple[FloatImage, Mask]:
        plate, here = bed_jumped_on(empty, index, 5, 9, gives=False)
        if gives and here.any() and index % 5 < 2:
            rng = np.random.default_rng(index)
            plate[BED & ~here] *= (1 + 0.5 * rng.uniform(-1, 1, (int((BED & ~here).sum()), 1))).astype(np.float32)
        return plate, here

    found = image_reasoner.reason(footage(tmp_path, scene), tmp_path, lambda _: None)
    assert not found.implied
    assert any("time and again" in text for text in found.warnings) == gives, found.warnings


def test_the_shadow_of_somebody_who_walks_to_and_fro_is_not_set_in_motion(empty: FloatImage, tmp_path: Path) -> None:
    def scene(index: int) -> tuple[FloatImage, Mask]:
        here = 20 + 180 * abs(index % 10 - 5) / 5
        body, shadow = box(here, 50, 20, 60), box(here - 14, 110, 40, 10)
        return painted(np.where(shadow[..., None], empty * np.float32(0.5), empty), (body, GREEN)), body

    found = image_reasoner.reason(footage(tmp_path, scene), tmp_path, lambda _: None)
    assert found.regions
    assert not found.implied


@pytest.mark.parametrize("noise", [0.01, 0.06])
def test_the_shadow_of_somebody_who_jumps_on_the_spot_is_not_set_in_motion(
    noise: float, empty: FloatImage, tmp_path: Path
) -> None:
    def scene(index: int) -> tuple[FloatImage, Mask]:
        low = index % 7 < 3
        body = box(110, 60 if low else 10, 24, 60)
        shadow = low * cv2.GaussianBlur(box(95, 112, 54, 12).astype(np.float32), (0, 0), 3)[..., None]
        return painted(empty * (1 - np.float32(0.5) * shadow), (body, GREEN)), body

    found = image_reasoner.reason(footage(tmp_path, scene, noise=noise), tmp_path, lambda _: None)
    assert found.regions
    assert not found.implied


def test_two_things_far_apart_that_are_set_in_motion_are_not_one(empty: FloatImage, tmp_path: Path) -> None:
    beds = box(8, 112, 50, 12) | box(198, 112, 50, 12)

    def scene(index: int) -> tuple[FloatImage, Mask]:
        low = index % 5 < 2
        bodies = box(22, 66 if low else 16, 20, 40) | box(212, 66 if low else 16, 20, 40)
        image = empty.copy()
        if low:
            image[beds] = RED
        return painted(image, (bodies, GREEN)), bodies

    found = image_reasoner.reason(footage(tmp_path, scene), tmp_path, lambda _: None)
    one, other = (region.mask(COUNT - 1) for region in found.implied)
    moves = one | other
    assert (moves & beds).sum() > 0.8 * beds.sum()
    assert moves.sum() < 1.6 * beds.sum()


def test_what_moves_by_itself_between_two_touches_does_not_rest(empty: FloatImage, tmp_path: Path) -> None:
    """A box comes near somebody twice, and once to the same place while he is away."""

    def scene(index: int) -> tuple[FloatImage, Mask]:
        here = box(150 if index in (3, 4, 11, 12) else 20, 50, 20, 60)
        comes = box(172 if index in (3, 4, 7, 8, 11, 12) else 220, 60, 24, 30)
        return painted(empty, (comes, BLUE), (here, GREEN)), here

    found = image_reasoner.reason(footage(tmp_path, scene), tmp_path, lambda _: None)
    assert not found.implied


def test_what_touches_in_two_of_many_frames_does_not_touch_time_and_again(empty: FloatImage, tmp_path: Path) -> None:
    def seen(index: int) -> Mask:
        return box(60 + 6 * index, 60, 20, 40) & (index in (10, 11))

    def scene(index: int) -> tuple[FloatImage, Mask]:
        shadow = cv2.GaussianBlur(np.roll(seen(index), 14, axis=1).astype(np.float32), (0, 0), 4)
        return painted(empty * (1 - np.float32(0.7) * shadow[..., None]), (seen(index), GREEN)), seen(index)

    rotos = [seen(index) for index in range(COUNT)]
    assert lasting_contact(footage(tmp_path, scene), rotos, Camera([np.eye(3)] * COUNT)) is None


def test_where_nothing_was_found_no_warning_says_that_something_was(empty: FloatImage, tmp_path: Path) -> None:
    def scene(index: int) -> tuple[FloatImage, Mask]:
        here, bed = box(100, 66 + 4 * (index % 2), 30, 40), box(70, 112, 90, 16)
        image = empty.copy()
        image[bed] *= np.random.default_rng(index).uniform(0.5, 1.5, (int(bed.sum()), 1)).astype(np.float32)
        return painted(image, (here, GREEN)), here

    rotos = [scene(index)[1] for index in range(COUNT)]
    shot, rests = footage(tmp_path, scene), Camera([np.eye(3)] * COUNT)
    assert lasting_contact(shot, rotos, rests) is not None
    (warning,) = doubts.of_effects(shot, rotos, rests, Reasoning())
    assert "time and again" not in warning


def rolls_up(empty: FloatImage, index: int) -> tuple[FloatImage, Mask, Mask]:
    """The frame, the object and its shadow: the object rolls up from nearby in three frames, and stays."""
    x = min(96 + 8 * index, 120)
    objects, shadow = box(x, 60, 30, 40), box(x + 30, 80, 8, 20)
    return painted(np.where(shadow[..., None], empty * np.float32(0.5), empty), (objects, GREEN)), objects, shadow


def test_a_shadow_is_found_where_the_place_is_seen_without_it_in_the_first_frames_only(
    empty: FloatImage, tmp_path: Path
) -> None:
    affected = reasoned(tmp_path, lambda index: rolls_up(empty, index)[:2])
    found = [np.mean(mask[rolls_up(empty, index)[2]]) for index, mask in enumerate(affected)]
    assert np.mean(found[3:]) > 0.6


def test_a_shadow_longer_than_the_way_of_what_throws_it_is_an_effect(empty: FloatImage, tmp_path: Path) -> None:
    shadow = [box(80 + 2.5 * index, 92, 50, 18) for index in range(COUNT)]

    def scene(index: int) -> tuple[FloatImage, Mask]:
        walker = box(128 + 2.5 * index, 50, 18, 60)
        dark = painted(np.where(shadow[index][..., None], empty * np.float32(0.4), empty), (walker, GREEN))
        return dark, walker

    for mask, where in zip(reasoned(tmp_path, scene), shadow, strict=True):
        assert mask[where].mean() > 0.8


def test_a_place_that_lies_in_the_shade_of_one_lamp_and_then_of_another_is_found_in_both(
    empty: FloatImage, tmp_path: Path
) -> None:
    def shade(index: int, side: int) -> Mask:
        return box(60 + 5 * index + (44 if side > 0 else -70), 92, 66, 16)

    def scene(index: int) -> tuple[FloatImage, Mask]:
        walker = box(60 + 5 * index, 40, 40, 70)
        plate = empty
        for side in (-1, 1):
            plate = np.where(shade(index, side)[..., None], plate * np.float32(0.6), plate)
        return painted(plate, (walker, GREEN)), walker

    affected = reasoned(tmp_path, scene)
    shares = [mask[shade(index, -1) | shade(index, 1)].mean() for index, mask in enumerate(affected)]
    assert min(shares) > 0.8


@pytest.mark.parametrize("grain", [0.0, 0.004])
def test_a_black_shadow_tells_nothing_of_what_lies_in_it(empty: FloatImage, grain: float) -> None:
    """Its noise is not the scene, however much brighter that is made."""
    rng = np.random.default_rng(1)
    looks = []
    for index in range(COUNT):
        thing = box(60 + 3 * index, 30, 14, 50)
        rgb = empty * ~box(52 + 3 * index, 50, 78, 30)[..., None] + grain * rng.standard_normal(empty.shape)
        picture = painted(rgb.astype(np.float32), (thing, GREEN))
        looks.append(background.Look(index, picture, ~thing, background.distance_from(thing)))
    shaded = np.median([look.rgb for look in looks], axis=0)
    noise = [np.full((HEIGHT, WIDTH), 0.004, np.float32)] * len(background.SCALES)
    model = background.Background(shaded.copy(), np.ones((HEIGHT, WIDTH), bool), noise, looks)
    shade.lift(model)
    # where a frame shows it lit, that is the scene
    lit = (model.plate != shaded).any(axis=-1)
    assert np.count_nonzero(lit) > 500
    assert np.median(np.abs(model.plate - empty)[lit]) < 0.01
    assert model.plate.min() > -0.1
    assert model.plate.max() < 1.1 * empty.max()


@pytest.mark.parametrize("gap", [COUNT, 11])
def test_a_shadow_that_runs_ahead_of_what_throws_it_is_an_effect_before_it_is_touched(
    empty: FloatImage, gap: int, tmp_path: Path
) -> None:
    """Where frames are left out between, nobody knows whether it is the same."""
    ahead = box(150, 100, 18, 10)

    def scene(index: int) -> tuple[FloatImage, Mask]:
        # it touches the object from frame 11 on
        dark = ahead if 10 <= index <= 13 else box(0, 0, 0, 0)
        return painted(np.where(dark[..., None], empty * np.float32(0.5), empty), (passes(index), GREEN)), passes(index)

    affected = reasoned(tmp_path, scene, gap)
    assert (np.mean(affected[10][ahead]) > 0.7) == (gap == COUNT)
    assert np.mean(affected[11][ahead]) > 0.7
    assert not any(mask[ahead].any() for mask in affected[:10])


def test_a_shadow_that_the_end_of_the_shot_cuts_off_is_an_effect_near_another(
    empty: FloatImage, tmp_path: Path
) -> None:
    ahead, far = box(236, 124, 14, 10), box(30, 20, 16, 10)

    def scene(index: int) -> tuple[FloatImage, Mask]:
        dark = box(10 + 11 * index, 106, 24, 8)
        dark |= (ahead | far) & (index >= COUNT - 3)
        return painted(np.where(dark[..., None], empty * np.float32(0.5), empty), (passes(index), GREEN)), passes(index)

    affected = reasoned(tmp_path, scene)
    assert min(mask[ahead].mean() for mask in affected[-3:]) > 0.7
    assert not any(mask[far].any() for mask in affected)


@pytest.mark.parametrize("alone", [True, False])
def test_a_faint_glint_away_from_the_object_is_an_effect_where_nothing_else_moves(
    empty: FloatImage, alone: bool, tmp_path: Path
) -> None:
    soft = cv2.GaussianBlur(empty, (0, 0), 6)
    glint = box(60, 12, 2, 24)

    def scene(index: int) -> tuple[FloatImage, Mask]:
        brighter = glint & (8 <= index < 15) | box(200, 8, 2, 24) & (index == 12)
        plate = np.where(brighter[..., None], soft * np.float32(1.12), soft)
        plate = np.where(box(10 + 11 * index, 106, 34, 8)[..., None], plate * np.float32(0.5), plate)
        other = box(0 if alone else 230 - 8 * index, 20, 0 if alone else 24, 16)
        return painted(plate, (other, BLUE), (passes(index), GREEN)), passes(index)

    affected = reasoned(tmp_path, scene, noise=0.002)
    assert (np.mean([mask[glint].mean() for mask in affected[8:15]]) > 0.7) == alone
    # what comes for a frame may be noise
    assert not affected[12][box(200, 8, 2, 24)].any()


def test_the_first_frame_alone_does_not_say_how_a_place_looks(empty: FloatImage, tmp_path: Path) -> None:
    """The object throws its shadow ahead, stops over the place and turns back a little: then that is seen in light."""
    place = box(112, 60, 6, 20)

    def scene(index: int) -> tuple[FloatImage, Mask]:
        x = 64 if index == 0 else 122 if index > 10 else 96
        here = box(x, 40, 36, 60)
        image = empty.copy()
        image[box(100, 60, 18 if index == 0 else 0, 20)] *= np.float32(0.5)
        return painted(image, (here, GREEN)), here

    affected = reasoned(tmp_path, scene)
    assert affected[0][place].mean() > 0.7
    assert max(mask[place & box(112, 60, 3, 20)].mean() for mask in affected[11:]) < 0.1


@pytest.mark.parametrize("exposure", [0.25, 4.0])
def test_the_exposure_of_a_shot_changes_nothing(empty: FloatImage, tmp_path: Path, exposure: float) -> None:
    def scene(index: int) -> tuple[FloatImage, Mask]:
        shadow = box(4 + 11 * index, 108, 50, 12)
        return painted(np.where(shadow[..., None], empty * np.float32(0.86), empty), (passes(index), GREEN)), passes(
            index
        )

    def exposed(index: int) -> tuple[FloatImage, Mask]:
        plate, mask = scene(index)
        return plate * np.float32(exposure), mask

    usual, other = np.array(reasoned(tmp_path / "usual", scene)), np.array(reasoned(tmp_path / "other", exposed))
    assert usual.mean() > 0.005
    assert (usual & other).sum() > 0.97 * (usual | other).sum()


@pytest.mark.parametrize("apart", [1, 2, 3, COUNT])
def test_a_run_of_few_frames_of_a_moving_camera_is_no_fault(empty: FloatImage, tmp_path: Path, apart: int) -> None:
    """A pan of which ``apart`` frames lie beyond a gap, or all of them before it."""
    wide = np.tile(empty, (1, 3, 1))

    def scene(index: int) -> tuple[FloatImage, Mask]:
        return painted(wide[:, 12 * index : 12 * index + WIDTH], (passes(index), GREEN)), passes(index)

    affected = reasoned(tmp_path, scene, gap=COUNT - apart)
    assert np.mean(affected) < 0.02


def test_an_object_that_one_frame_of_many_shows_does_not_stand() -> None:
    still = Camera([np.eye(3)] * COUNT)
    nothing = box(0, 0, 0, 0)
    assert not stands([passes(3) if index == 12 else nothing for index in range(COUNT)], still)
    assert stands([passes(3)], Camera([np.eye(3)]))
    assert stands([passes(3) if index > 12 else nothing for index in range(COUNT)], still)


def test_a_strong_effect_does_not_spread_beyond_its_edge(empty: FloatImage, tmp_path: Path) -> None:
    def thing(index: int) -> Mask:
        return box(34 + 11 * index, 70, 20, 20)

    def scene(index: int) -> tuple[FloatImage, Mask]:
        return painted(empty, (thing(index), (0.9, 0.9, 0.9)), (passes(index), GREEN)), passes(index)

    affected = reasoned(tmp_path, scene)
    for index, mask in enumerate(affected[:14]):
        beside = cv2.dilate((thing(index) | passes(index)).astype(np.uint8), np.ones((9, 9), np.uint8)) == 0
        assert np.mean(mask[thing(index)]) > 0.9
        assert np.count_nonzero(mask & beside) < 0.1 * np.count_nonzero(thing(index))


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("name", ["chain", "mirror", "fade", "water", "pan"])
def test_the_effects_in_a_sample_scene(tmp_path: Path, name: str, held: bool) -> None:
    film = Film(SCENES[name], WIDTH, HEIGHT)
    frames = [film.frame(index / (COUNT - 1), index) for index in range(COUNT)]
    if held:
        frames = [Frames(*(held_by_hand(p, index) for p in vars(frame).values())) for index, frame in enumerate(frames)]
    affected = np.array(reasoned(tmp_path, lambda index: (frames[index].plate, frames[index].roto > 0.1)))
    objects = np.array([frame.roto >= 0.5 for frame in frames])
    true = np.array([frame.change > 0.5 for frame in frames])
    mine = affected & ~objects
    assert (mine & true).sum() >= 0.5 * (mine | true).sum()
    near = np.array(
        [cv2.dilate((a | b).astype(np.uint8), np.ones((17, 17))) > 0 for a, b in zip(true, objects, strict=True)]
    )
    assert np.mean(mine[~near]) < 0.005
