"""New pixels get the grain of the plate at their brightness, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from void_server import pipeline
from void_server.api.shot import Settings, Shot
from void_server.api.version import VersionFolder
from void_server.imaging import exr, grain
from void_server.imaging.exr import FloatImage
from void_server.sample import write_sample

EVERYWHERE = np.ones((240, 320), bool)


def picture(texture: float = 0.0) -> FloatImage:
    """Scene-linear, from 0.02 to 0.9, with a hard edge, a lamp of 12, and texture if wanted."""
    ramp = np.geomspace(0.02, 0.9, 320, dtype=np.float32)[None, :, None] * np.ones((240, 1, 3), np.float32)
    ramp[120:] *= 0.6
    pattern = cv2.GaussianBlur(np.random.default_rng(1).standard_normal((240, 320)).astype(np.float32), (0, 0), 2)
    ramp *= 1 + texture * (pattern / pattern.std())[..., None]
    ramp[20:60, 20:60] = 12
    return ramp


def noise(seed: int, softness: float = 0.0) -> FloatImage:
    """Noise of deviation 1, correlated between neighbours and channels where ``softness`` is above 0."""
    white = np.random.default_rng(seed).standard_normal((240, 320, 3)).astype(np.float32)
    if softness:
        white = cv2.GaussianBlur(white, (0, 0), softness) + 0.5 * cv2.GaussianBlur(white, (0, 0), softness)[..., 1:2]
        white /= white.std(axis=(0, 1))
    return white


def grainy(rgb: FloatImage, seed: int, softness: float = 0.0) -> FloatImage:
    """With the noise of a sensor: read noise, and shot noise that grows with the root of light."""
    return rgb + noise(seed, softness) * expected(rgb)


def expected(rgb: FloatImage) -> FloatImage:
    return np.asarray(0.002 + 0.02 * np.sqrt(np.maximum(rgb, 0)), np.float32)


def looks(*frames: FloatImage) -> tuple[grain.Look, grain.Look | None]:
    here, there = (grain.Look(frame, EVERYWHERE) for frame in frames)
    return here, there


def measure(pairs: Sequence[tuple[grain.Look, grain.Look | None]]) -> grain.Grain:
    return grain.measure(pairs, lambda pair: pair)


@pytest.mark.parametrize("softness", [0.0, 0.8])
@pytest.mark.parametrize("texture", [0.0, 0.2])
def test_grain_is_matched_at_every_brightness_in_strength_and_softness(softness: float, texture: float) -> None:
    clean = picture(texture)
    measured = measure([looks(*(grainy(clean, 2 * i + n, softness) for n in (1, 2))) for i in range(3)])
    added = grain.add(clean, EVERYWHERE, measured, (1, 2), np.zeros(EVERYWHERE.shape, np.float32), 99.0) - clean
    inner = np.s_[70:]
    for channel in range(3):
        light = clean[inner][..., channel]
        for low, high in ((0.02, 0.05), (0.05, 0.2), (0.2, 0.5)):
            band = (light >= low) & (light < high)
            ratio = added[inner][..., channel][band].std() / expected(light)[band].mean()
            assert 0.8 < ratio < 1.25, (low, ratio)
    # correlated as it was, from pixel to pixel and from channel to channel
    for mine, true in zip(correlations(added / expected(clean)), correlations(noise(9, softness)), strict=True):
        assert mine == pytest.approx(true, abs=0.12)


def correlations(unit: FloatImage) -> list[float]:
    red, green = unit[70:, :, 0], unit[70:, :, 1]
    pairs = (red[:, 1:], red[:, :-1]), (red[1:], red[:-1]), (red[:, 2:], red[:, :-2]), (red, green)
    return [float(np.corrcoef(one.ravel(), other.ravel())[0, 1]) for one, other in pairs]


def test_a_moving_cameras_texture_is_not_taken_for_grain() -> None:
    scenes = [np.roll(picture(0.3), shift, axis=(0, 1)) for shift in (0, 3)]
    measured = measure([looks(grainy(scenes[0], 1), grainy(scenes[1], 2))])
    level = measured.at(np.full((1, 1, 3), 0.3, np.float32))
    assert level == pytest.approx(float(expected(np.float32(0.3))), rel=0.35)


def test_nothing_is_added_at_a_brightness_that_was_not_measured() -> None:
    dark = np.full((240, 320, 3), 0.1, np.float32)
    measured = measure([looks(grainy(dark, 1), grainy(dark, 2))])
    lamp = np.full((240, 320, 3), 9.0, np.float32)
    assert np.array_equal(grain.add(lamp, EVERYWHERE, measured, (1,), None, 99.0), lamp)


def test_the_level_at_a_brightness_is_worked_out_once_not_pixel_by_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, position = [], grain._position

    def counted(linear: FloatImage) -> FloatImage:
        asked.append(linear.size)
        return position(linear)

    monkeypatch.setattr(grain, "_position", counted)
    level = np.linspace(0.01, 0.4, grain._STEPS, dtype=np.float32)[:, None].repeat(3, axis=1)
    known = grain.Grain(level, np.zeros((3, 7, 7), np.float32), np.eye(3, dtype=np.float32))
    rgb = np.geomspace(1e-3, 50, 300_000, dtype=np.float32).reshape(-1, 100, 3)
    found = known.at(rgb)
    assert np.array_equal(known.at(rgb), found)
    assert sum(asked) <= 2**16
    exact = np.interp(position(rgb), np.arange(grain._STEPS), level[:, 0])
    assert np.allclose(found, exact, rtol=2e-3)


@pytest.mark.parametrize("count", [1, 3, 64])
def test_the_level_at_what_is_no_brightness_is_that_of_black_or_of_the_brightest(count: int) -> None:
    level = np.linspace(0.01, 0.4, grain._STEPS, dtype=np.float32)[:, None].repeat(3, axis=1)
    known = grain.Grain(level, np.zeros((3, 7, 7), np.float32), np.eye(3, dtype=np.float32))
    for value, same in ((-0.0, 0), (-1, 0), (-np.inf, 0), (np.nan, 0), (1e6, exr.HALF_MAX), (np.inf, exr.HALF_MAX)):
        # as many as a processor's registers take at once, and not
        odd, usual = (np.full((count, 3), one, np.float32) for one in (value, same))
        assert np.array_equal(known.at(odd), known.at(usual)), value


def test_edges_of_lamps_are_not_taken_for_grain() -> None:
    scene = np.full((240, 320, 3), 0.1, np.float32)
    scene[::6, ::6] = 300
    measured = measure([looks(grainy(scene, 1), np.roll(grainy(scene, 2), 1, axis=1))])
    assert measured.at(np.full((1, 1, 3), 8.0, np.float32)).max() < 0.5


def test_no_pixel_gets_brighter_than_the_plate_by_its_grain() -> None:
    measured = measure([looks(grainy(picture(), 1), grainy(picture(), 2))])
    added = grain.add(picture(), EVERYWHERE, measured, (1,), np.zeros(EVERYWHERE.shape, np.float32), 12.01)
    assert 12 < added.max() <= np.float32(12.01)


@pytest.mark.parametrize("known", [True, False])
def test_pixels_that_carry_the_plates_grain_get_no_more(known: bool) -> None:
    plates = [grainy(picture(), seed) for seed in (1, 2, 3)]
    measured = measure([looks(*plates[:2])])
    share = np.ones(EVERYWHERE.shape, np.float32) if known else None
    added = (grain.add(plates[2], EVERYWHERE, measured, (1,), share, 99.0) - plates[2])[70:]
    assert added.std() <= (0 if known else 0.6 * expected(picture()[70:]).mean())


def test_pixels_without_grain_get_it_where_that_is_not_known() -> None:
    measured = measure([looks(grainy(picture(), 1), grainy(picture(), 2))])
    added = (grain.add(picture(), EVERYWHERE, measured, (1,), None, 99.0) - picture())[70:]
    assert 0.8 < added.std() / expected(picture()[70:]).mean() < 1.25


def test_grain_is_the_seeds_and_stays_inside() -> None:
    target = measure([looks(grainy(picture(), 1), grainy(picture(), 2))])
    where = EVERYWHERE.copy()
    where[:, :100] = False
    one, same, other = (grain.add(picture(), where, target, seed, None, 99.0) for seed in ((1, 2), (1, 2), (1, 3)))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert np.array_equal(one[:, :100], picture()[:, :100])


def test_a_clean_plate_stays_clean() -> None:
    measured = measure([looks(picture(0.2), picture(0.2))])
    assert np.array_equal(grain.add(picture(), EVERYWHERE, measured, (1,), None, 99.0), picture())


def test_a_single_frame_and_no_block_at_all() -> None:
    alone = measure([(grain.Look(grainy(picture(), 1), EVERYWHERE), None)])
    assert float(alone.at(np.full((1, 1, 3), 0.3, np.float32)).max()) == pytest.approx(0.013, rel=0.3)
    nothing = measure([(grain.Look(picture(), ~EVERYWHERE), None)])
    assert not nothing.at(picture()).any()


@pytest.mark.filterwarnings("ignore:overflow")
def test_pixels_that_an_encoding_has_no_light_for_are_no_error(shot: Path, tmp_path: Path) -> None:
    # scene-linear values of 12 read as logarithmic are beyond any float
    wrong = Shot(str(shot / "plate"), str(shot / "roto"), colorspace="ACEScct", frames="1005-1007")
    pipeline.run("0123456789ab", wrong, tmp_path, lambda _: None)
    new = exr.read_rgb(VersionFolder(tmp_path).plate(1006))
    assert np.isfinite(new).all()


@pytest.mark.parametrize("scene", ["knock", "handheld", "pan"])
def test_default_settings_make_no_fireflies(scene: str, tmp_path: Path) -> None:
    write_sample(tmp_path / "shot", scene, (320, 180), range(1001, 1011))
    results = {}
    for name, with_grain in (("grainy", True), ("clean", False)):
        folder = tmp_path / name
        folder.mkdir()
        shot = Shot(
            str(tmp_path / "shot/plate"), str(tmp_path / "shot/roto"), settings=Settings(grain=with_grain, seed=3)
        )
        pipeline.run("0123456789ab", shot, folder, lambda _: None)
        results[name] = VersionFolder(folder)

    def read(path: Path) -> NDArray[np.float32]:
        return exr.read_rgb(path)

    for frame in range(1001, 1011):
        plate = read(tmp_path / f"shot/plate/plate.{frame}.exr")
        result, clean = read(results["grainy"].plate(frame)), read(results["clean"].plate(frame))
        assert result.max() <= 13.5, frame
        # nowhere more than a five-fold deviation of the loudest grain that the scene has
        assert np.abs(result - clean).max() < 5 * 0.0135 * 1.25, frame
        blend = exr.read_matte(results["grainy"].mattes(frame), exr.windows(results["grainy"].mattes(frame))[0])
        assert np.array_equal(result[blend == 0], plate[blend == 0])


def test_four_times_the_pixels_need_hardly_more_memory_and_show_the_same_grain() -> None:
    small, large = (np.tile(grainy(picture(), 1, 0.8), (2 * n, 2 * n, 1)) for n in (1, 2))
    kept, measured = [], []
    for frame in (small, large):
        look = grain.Look(frame, np.ones(frame.shape[:2], bool))
        kept.append(sum(array.nbytes for array in grain._in_space(look)))
        measured.append(measure([(look, None)]))
    assert kept[1] < 2 * kept[0]
    for name, values in vars(measured[0]).items():
        assert np.allclose(values, getattr(measured[1], name), atol=0.02, equal_nan=True), name
