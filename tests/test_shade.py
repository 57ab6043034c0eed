"""The shadow of an object that stands: found on the ground at its feet, and taken off the surface that it lies on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from void_server import engines
from void_server.api.shot import SCENE_LINEAR_REC709, Settings, Shot
from void_server.engines import Clip
from void_server.engines.cleanplate import moving
from void_server.engines.origin import FILLED, RECOVERED
from void_server.imaging import exr, sequence
from void_server.imaging.colour import ColourSpace
from void_server.imaging.exr import FloatImage
from void_server.imaging.footage import Footage
from void_server.imaging.window import Window
from void_server.quadmask import classes, image_reasoner
from void_server.quadmask.image_reasoner import cast

HEIGHT, WIDTH, COUNT = 180, 320, 8
Mask = NDArray[np.bool_]


def _ground() -> FloatImage:
    """A floor of coloured tiles of many sizes, no two alike, scene-linear."""
    rng = np.random.default_rng(7)
    noise = sum(cv2.GaussianBlur(rng.standard_normal((HEIGHT, WIDTH, 3)), (0, 0), s) * s * 0.15 for s in (1.0, 2.0))
    return (np.array([0.4, 0.34, 0.3]) * np.exp(np.clip(noise, -1, 1))).astype(np.float32)


def _figure() -> Mask:
    """A figure that is narrow above its foot, and has a head."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillPoly(mask, [np.array([[110, 150], [146, 150], [136, 90], [120, 90]])], 1)
    cv2.circle(mask, (128, 78), 16, 1, -1)
    return mask > 0


def _light() -> FloatImage:
    """How much light the figure's shadow leaves: 0.4, softly; it falls to the right and away from the camera."""
    laid = cv2.warpAffine(
        _figure().astype(np.float32), np.array([[1, -0.9, 0.9 * 150], [0, 0.35, 150 * 0.65]]), (WIDTH, HEIGHT)
    )
    return 1 - 0.6 * cv2.GaussianBlur(laid, (0, 0), 2)[..., None]


def _seen(picture: FloatImage, index: int, held: bool) -> FloatImage:
    """The picture as a camera at rest sees it, or one that is held by hand, somewhat nearer."""
    if not held:
        return picture
    turned = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), 0.4 * math.sin(index / 2), 1.06)
    turned[:, 2] += 3 * math.sin(index), 2 * math.sin(index / 2 + 1)
    return cv2.warpAffine(picture, turned, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def _shot(
    folder: Path, plate: FloatImage, held: bool = False, exposure: float = 1.0, light: Sequence[float] = (1,) * COUNT
) -> Footage:
    rng = np.random.default_rng(9)
    for index in range(COUNT):
        seen = _seen(plate, index, held) * exposure * light[index]
        grain = seen * (1 + 0.01 * rng.standard_normal(seen.shape))
        roto = _seen(_figure().astype(np.float32), index, held)
        exr.write(folder / f"plate/plate.{index:04d}.exr", grain.astype(np.float16), exr.RGB)
        exr.write(folder / f"roto/roto.{index:04d}.exr", roto[..., None].astype(np.float16), ("A",))
    found, matte = (sequence.find(str(folder / name)) for name in ("plate", "roto"))
    canvas = Window(0, 0, WIDTH, HEIGHT)
    footage = Footage(found, matte, found.frames, ColourSpace(SCENE_LINEAR_REC709), canvas, folder / "work")
    footage.look(lambda _: None)
    return footage


def _clip(
    folder: Path, plate: FloatImage, affected: Mask, held: bool = False, light: Sequence[float] = (1,) * COUNT
) -> Clip:
    footage = _shot(folder, plate, held, light=light)
    for index in range(COUNT):
        own, changed = (_seen(mask.astype(np.float32), index, held) >= 0.5 for mask in (_figure(), affected))
        codes = np.where(own, classes.REMOVE, np.where(changed, classes.AFFECTED, classes.KEEP)) / np.float32(255)
        exr.write(folder / f"quadmask.{index}.exr", codes[..., None].astype(np.float16), ("Y",))
    shot = Shot("plate", "roto", settings=Settings(grain=False))
    return Clip(footage, lambda frame: folder / f"quadmask.{frame}.exr", shot, folder)


def _around(mask: Mask, pixels: int) -> Mask:
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * pixels + 1,) * 2, np.uint8)) > 0


@pytest.mark.parametrize("held", [False, True], ids=["at rest", "held by hand"])
def test_a_surface_that_is_never_seen_but_in_the_shade_keeps_its_own_texture(held: bool, tmp_path: Path) -> None:
    shadow = (_light()[..., 0] < 0.95) & ~_figure()
    plate = np.where(_figure()[..., None], np.array([0.05, 0.3, 0.1], np.float32), _ground() * _light())
    clip = _clip(tmp_path, plate.astype(np.float32), shadow, held)
    for frame in engines.load(Settings()).synthesise(clip, [0, 3, COUNT - 1], lambda _: None):
        part = Window(0, 0, WIDTH, HEIGHT).slices(frame.window)
        deep = (_light()[..., 0] < 0.7) & ~_around(_figure(), 5)
        inner = _seen(deep.astype(np.float32), frame.index, held)[part] > 0.99
        truth = clip.footage.curve.to_display(_seen(_ground(), frame.index, held))[part]
        assert np.mean(np.abs(frame.rgb - truth)[inner]) < 0.03
        assert np.corrcoef(frame.rgb[inner].ravel(), truth[inner].ravel())[0, 1] > 0.8
        assert frame.origin is not None
        assert np.mean(frame.origin[inner] == RECOVERED) > 0.9


def test_what_is_lifted_does_not_depend_on_where_a_band_of_rows_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shadow = (_light()[..., 0] < 0.95) & ~_figure()
    plate = np.where(_figure()[..., None], np.array([0.05, 0.3, 0.1], np.float32), _ground() * _light())
    clip = _clip(tmp_path, plate.astype(np.float32), shadow, held=True, light=np.linspace(1, 0.8, COUNT))
    results = []
    for rows in (HEIGHT, 12):
        monkeypatch.setattr(moving, "_BAND", rows)
        results.append([frame.rgb for frame in engines.load(Settings()).synthesise(clip, [0, 3], lambda _: None)])
    for whole, banded in zip(*results, strict=True):
        assert np.array_equal(whole, banded)


@pytest.mark.parametrize("depth", [1.0, 1.7], ids=["0.4 is left", "0.2 is left"])
def test_what_is_lifted_out_of_the_shade_is_as_bright_as_in_full_light(depth: float, tmp_path: Path) -> None:
    plate = np.where(_figure()[..., None], np.array([0.05, 0.3, 0.1], np.float32), _ground() * _light() ** depth)
    clip = _clip(tmp_path, plate.astype(np.float32), (_light()[..., 0] < 0.95) & ~_figure())
    frame = next(iter(engines.load(Settings()).synthesise(clip, [3], lambda _: None)))
    part = Window(0, 0, WIDTH, HEIGHT).slices(frame.window)
    deep = ((_light()[..., 0] < 0.7) & ~_around(_figure(), 5))[part]
    lifted = clip.footage.curve.to_linear(frame.rgb)[deep].mean()
    assert lifted == pytest.approx(_ground()[part][deep].mean(), rel=0.036)


@pytest.mark.parametrize("light", [(1, 0.5), (0.5, 1)], ids=["dimming", "brightening"])
def test_the_shade_is_lifted_as_much_in_a_light_that_changes(light: tuple[float, float], tmp_path: Path) -> None:
    lamps = np.linspace(*light, COUNT).tolist()
    plate = np.where(_figure()[..., None], np.array([0.05, 0.3, 0.1], np.float32), _ground() * _light())
    clip = _clip(tmp_path, plate.astype(np.float32), (_light()[..., 0] < 0.95) & ~_figure(), light=lamps)
    for frame in engines.load(Settings()).synthesise(clip, [0, 4, COUNT - 1], lambda _: None):
        part = Window(0, 0, WIDTH, HEIGHT).slices(frame.window)
        deep = ((_light()[..., 0] < 0.7) & ~_around(_figure(), 5))[part]
        lifted = clip.footage.curve.to_linear(frame.rgb)[deep].mean()
        assert lifted == pytest.approx(lamps[frame.index] * _ground()[part][deep].mean(), rel=0.04)
        assert frame.origin is not None
        assert np.mean(frame.origin[deep] == RECOVERED) > 0.9


_STRIPES = np.where(np.arange(WIDTH) // 5 % 2 > 0, 1.3, 0.7)[None, :, None]


@pytest.mark.parametrize("stripes", [_STRIPES, 1.0], ids=["striped", "plain"])
@pytest.mark.parametrize("grey", [0.18, 0.05, 0.01], ids=["grey", "dark", "black"])
def test_a_grey_thing_that_stays_is_told_from_shade_by_its_texture(
    grey: float, stripes: NDArray[np.float64] | float, tmp_path: Path
) -> None:
    box = np.zeros((HEIGHT, WIDTH), bool)
    box[110:150, 150:200] = True
    plate = np.where(box[..., None], grey * stripes * np.ones((HEIGHT, WIDTH, 3)), _ground())
    plate[_figure()] = 0.05, 0.3, 0.1
    clip = _clip(tmp_path, plate.astype(np.float32), box)
    frame = next(iter(engines.load(Settings()).synthesise(clip, [0], lambda _: None)))
    part = Window(0, 0, WIDTH, HEIGHT).slices(frame.window)
    assert frame.origin is not None
    assert (frame.origin[box[part]] == FILLED).all()


def test_a_thing_that_stays_is_not_taken_for_the_ground_in_less_light(tmp_path: Path) -> None:
    box = np.zeros((HEIGHT, WIDTH), bool)
    box[110:150, 150:200] = True
    plate = _ground()
    plate[box] = 0.5 * plate[box] * np.array([1.6, 0.1, 0.1], np.float32)
    plate[_figure()] = 0.05, 0.3, 0.1
    clip = _clip(tmp_path, plate, box)
    for frame in engines.load(Settings()).synthesise(clip, [0, COUNT - 1], lambda _: None):
        part = Window(0, 0, WIDTH, HEIGHT).slices(frame.window)
        assert frame.origin is not None
        assert (frame.origin[box[part]] == FILLED).all()
        red, green, _ = clip.footage.curve.to_linear(frame.rgb)[box[part]].mean(axis=0)
        assert red / green == pytest.approx(0.4 / 0.34, rel=0.15)


@pytest.mark.parametrize("exposure", [1 / 8, 1.0, 8.0])
def test_the_plain_shadow_of_an_object_that_stands_is_found(exposure: float, tmp_path: Path) -> None:
    plate = np.where(_figure()[..., None], np.array([0.05, 0.3, 0.1], np.float32), _ground() * _light()).astype(
        np.float32
    )
    found = image_reasoner.reason(_shot(tmp_path, plate, exposure=exposure), tmp_path, lambda _: None)
    assert [region.name for region in found.regions] == ["shadow"]
    mask, true = found.affected(0), (_light()[..., 0] < 0.95) & ~_figure()
    assert mask is not None
    assert (mask & true).sum() > 0.6 * (mask | true).sum()
    assert "A shadow was found on the ground" in found.warnings[0]


def test_the_shadow_of_an_object_that_stands_stays_on_the_ground_under_a_camera_held_by_hand(tmp_path: Path) -> None:
    plate = np.where(_figure()[..., None], np.array([0.05, 0.3, 0.1], np.float32), _ground() * _light()).astype(
        np.float32
    )
    found = image_reasoner.reason(_shot(tmp_path, plate, held=True), tmp_path, lambda _: None)
    shaded = ((_light()[..., 0] < 0.95) & ~_figure()).astype(np.float32)
    for index in range(COUNT):
        mask, true = found.affected(index), _seen(shaded, index, held=True) > 0.5
        assert mask is not None
        assert (mask & true).sum() > 0.6 * (mask | true).sum()


def test_no_shadow_is_found_of_an_object_that_stands_and_throws_none(tmp_path: Path) -> None:
    plate = np.where(_figure()[..., None], np.array([0.05, 0.3, 0.1], np.float32), _ground()).astype(np.float32)
    found = image_reasoner.reason(_shot(tmp_path, plate), tmp_path, lambda _: None)
    assert not found.regions
    assert "cannot be told apart" in found.warnings[0]


@pytest.mark.parametrize("width", [1, 2])
def test_an_object_thinner_than_a_pixel_of_the_size_that_is_analysed_is_no_fault(
    width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pole = np.zeros((HEIGHT, WIDTH), bool)
    pole[4:172, 150 : 150 + width] = True
    monkeypatch.setattr(f"{__name__}._figure", lambda: pole)
    plate = np.where(pole[..., None], np.array([0.05, 0.3, 0.1], np.float32), _ground()).astype(np.float32)
    found = image_reasoner.reason(_shot(tmp_path, plate), tmp_path, lambda _: None)
    assert not found.regions
    assert "cannot be told apart" in found.warnings[0]


def _even(height: int = HEIGHT, width: int = WIDTH) -> FloatImage:
    """A floor of one grey with hardly any texture, scene-linear."""
    noise = np.random.default_rng(0).normal(0, 0.02, (height, width, 3))
    return (0.3 * np.exp(noise)).astype(np.float32)


def _lit_from_the_side(sideways: float, upwards: float, leaves: float = 0.4) -> FloatImage:
    """How much light the figure's shadow leaves, laid down from its foot by so much for each pixel of its height."""
    matrix = np.array([[1, -sideways, sideways * 150], [0, upwards, 150 * (1 - upwards)]])
    laid = cv2.warpAffine(_figure().astype(np.float32), matrix, (WIDTH, HEIGHT))
    return 1 - (1 - leaves) * cv2.GaussianBlur(laid, (0, 0), 1.5)[..., None]


@pytest.mark.parametrize("sideways", [-1.1, 1.1])
@pytest.mark.parametrize("upwards", [0.13, -0.2])
@pytest.mark.parametrize("times", [1.0, 1.5, 3.0])
def test_a_flat_shadow_is_found_at_every_size(times: float, upwards: float, sideways: float) -> None:
    light = _lit_from_the_side(sideways, upwards)
    picture = np.where(_figure()[..., None], np.float32(0.1), _ground() * light).astype(np.float32)
    picture = cv2.resize(picture, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)
    size = picture.shape[1::-1]
    roto = cv2.resize(_figure().astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    true = (cv2.resize(light[..., 0], size) < 0.9) & ~roto
    found = cast.find([picture], [roto])
    assert found is not None
    (mask,) = found.masks
    assert not mask[roto].any()
    assert (mask & true).sum() > 0.4 * (mask | true).sum()


def test_what_is_dark_upright_behind_an_object_is_no_shadow() -> None:
    for sideways, upwards, found in ((1.0, 0.3, True), (0.4, 1.2, False)):
        picture = (_even() * _lit_from_the_side(sideways, upwards)).astype(np.float32)
        assert (cast.find([picture], [_figure()]) is not None) == found, upwards


def test_a_coloured_band_at_the_feet_is_no_shadow() -> None:
    light = _lit_from_the_side(1.1, 0.1)
    for colour, found in (((0.2, 0.2, 0.2), True), ((0.8, 0.1, 0.1), False), ((0.1, 0.8, 0.1), False)):
        picture = _even() * (1 - (1 - light) * (1 - np.array(colour, np.float32)) / 0.6)
        assert (cast.find([picture.astype(np.float32)], [_figure()]) is not None) == found, colour


@pytest.mark.parametrize("height", range(1, 40, 3))
def test_a_tiny_object_that_stands_is_no_fault(height: int) -> None:
    roto = np.zeros((HEIGHT, WIDTH), bool)
    roto[120 - height : 120, 150:158] = True
    assert cast.find([_even()], [roto]) is None


def test_the_shadow_is_found_where_most_of_the_picture_is_black() -> None:
    lit = np.zeros((2 * HEIGHT, WIDTH, 3), np.float32)
    lit[:HEIGHT] = _even() * _lit_from_the_side(1.1, 0.13)
    lit[:40] = 0
    roto = np.zeros((2 * HEIGHT, WIDTH), bool)
    roto[:HEIGHT] = _figure()
    found = cast.find([lit], [roto])
    assert found is not None
    assert np.count_nonzero(found.masks[0]) > 500


def test_a_dark_band_among_others_is_no_shadow() -> None:
    rows = np.arange(HEIGHT)[:, None, None]
    for first in range(132, 148, 3):
        floor = np.where((rows - first) % 24 < 9, _even() * np.float32(0.4), _even())
        assert cast.find([floor], [_figure()]) is None, first


def _floor(light: FloatImage | tuple[float, float, float] | float, first: int = 128, last: int = 300) -> FloatImage:
    """The floor with a band of less light that begins at the figure's feet, between two columns."""
    picture = _even()
    picture[138:152, first:last] *= np.asarray(light, np.float32)
    return picture


def _beside(light: float) -> FloatImage:
    """The same, with less light below it, too."""
    picture = _floor(0.4)
    picture[152:, 128:300] *= np.float32(light)
    return picture


def _both_ways(light: float) -> FloatImage:
    """The same, and another band on the other side of the feet."""
    picture = _floor(0.4)
    picture[138:152, 20:128] *= np.float32(light)
    return picture


def _among(light: float, columns: int, band: tuple[float, float] = (0.4, 0.4)) -> FloatImage:
    """The same, with this light at both ends, and so many columns of the floor with less light, from top to bottom."""
    picture = _floor(np.linspace(*band, 300 - 128, dtype=np.float32)[:, None])
    picture[:, 20 : 20 + columns] *= np.float32(light)
    return picture


def _in_pieces(length: int) -> FloatImage:
    """The same with less light on every other piece of it, so many columns long."""
    lit = (np.arange(300 - 128) // length % 2)[:, None]
    return _floor(np.where(lit, 1.0, 0.5).astype(np.float32))


@pytest.mark.parametrize(
    ("shadow", "none"),
    [
        (lambda: _floor(0.7), lambda: _floor(0.85)),
        (lambda: _floor(0.7), lambda: _floor(0.7, last=175)),
        (lambda: _floor((0.4, 0.4, 0.4)), lambda: _floor((0.56, 0.4, 0.3))),
        (lambda: _beside(0.8), lambda: _beside(0.55)),
        (lambda: _both_ways(1.0), lambda: _both_ways(0.45)),
        (lambda: _among(0.35, 5), lambda: _among(0.35, 30)),
        (lambda: _among(0.38, 5, (0.3, 0.5)), lambda: _among(0.38, 60, (0.3, 0.5))),
        (lambda: _in_pieces(1), lambda: _in_pieces(24)),
    ],
    ids=["faint", "short", "redder", "darker on one side", "two ways", "one of many", "one of many as light", "pieces"],
)
def test_a_band_is_a_shadow_only_where_it_is_plain(
    shadow: Callable[[], FloatImage], none: Callable[[], FloatImage]
) -> None:
    assert cast.find([shadow()], [_figure()]) is not None
    assert cast.find([none()], [_figure()]) is None


def test_a_shadow_ends_where_the_dark_goes_on() -> None:
    """A dark road from the feet to the border of the frame."""
    roto = np.zeros((HEIGHT, 4 * WIDTH), bool)
    roto[:, :WIDTH] = _figure()
    picture = _even(width=4 * WIDTH)
    picture[138:152, 128:] *= np.float32(0.5)
    found = cast.find([picture], [roto])
    assert found is not None
    height = int(roto.any(axis=1).sum())
    assert np.flatnonzero(found.masks[0].any(axis=0))[-1] < 128 + 2.2 * height
