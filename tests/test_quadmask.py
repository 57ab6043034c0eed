"""Quadmasks keep their four classes through files, sizes and codecs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from void_server.api.errors import ImageError
from void_server.imaging import exr
from void_server.imaging.window import Window
from void_server.quadmask import classes, extent

CODES = sorted(classes.NAMES)
quadmasks = arrays(np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24)), elements=st.sampled_from(CODES))


@given(quadmasks)
def test_mattes_sum_to_one_and_tell_the_classes(codes: classes.Quadmask) -> None:
    mattes = classes.mattes(codes)
    assert (mattes.sum(axis=-1) == 1).all()
    assert np.array_equal(np.array(CODES, np.uint8)[mattes.argmax(axis=-1)], codes)


@given(quadmasks, st.integers(1, 60), st.integers(1, 60))
def test_resizing_never_invents_a_class(codes: classes.Quadmask, width: int, height: int) -> None:
    resized = classes.resize(codes, width, height)
    assert resized.shape == (height, width)
    assert set(np.unique(resized)) <= set(np.unique(codes))


@given(quadmasks, st.integers(0, 2**32 - 1))
def test_codec_drift_is_tolerated(codes: classes.Quadmask, seed: int) -> None:
    drift = np.random.default_rng(seed).integers(-12, 13, codes.shape)
    assert np.array_equal(classes.quantise(np.clip(codes.astype(float) + drift, 0, 255)), codes)


def test_a_picture_is_no_quadmask() -> None:
    picture = np.tile(np.arange(256.0), (16, 1))
    with pytest.raises(
        ImageError, match=r"plate.exr is no quadmask: \d+% of its pixels are far from 0, 63, 127 and 255"
    ):
        classes.quantise(picture, "plate.exr")


def test_half_holds_the_codes_exactly(tmp_path: Path) -> None:
    codes = np.random.default_rng(3).choice(np.array(CODES, np.uint8), (20, 30))
    path = tmp_path / "q.exr"
    exr.write(path, (codes / np.float32(255)).astype(np.float16)[..., None], ("Y",))
    assert np.array_equal(classes.read(path, Window(0, 0, 30, 20)), codes)
    beyond = classes.read(path, Window(-2, -2, 34, 24))
    assert np.array_equal(beyond[2:22, 2:32], codes)
    assert (beyond[:2] == classes.KEEP).all()


def test_halves_are_looked_up_and_mean_what_floats_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(5).choice(np.float16([0, 0.01, 63 / 255, 0.5, 1, 1.02]), (40, 50, 1))
    values[:3, :3, 0] = np.nan, np.inf, -1
    exr.write(tmp_path / "half.exr", values, ["Y"])
    exr.write(tmp_path / "float.exr", values.astype(np.float32), ["Y"])
    window = Window(-2, 0, 50, 30)
    expected = classes.read(tmp_path / "float.exr", window)
    classes.read(tmp_path / "half.exr", window)
    monkeypatch.setattr(classes, "nearest", None)
    assert np.array_equal(classes.read(tmp_path / "half.exr", window), expected)
    exr.write(tmp_path / "grey.exr", np.full((9, 9, 1), 0.37, np.float16), ["Y"])
    with pytest.raises(ImageError, match=r"grey\.exr is no quadmask: 100%"):
        classes.read(tmp_path / "grey.exr", window)


def test_png_and_painted_mattes(tmp_path: Path) -> None:
    codes = np.random.default_rng(4).choice(np.array(CODES, np.uint8), (12, 16))
    cv2.imwrite(str(tmp_path / "q.png"), codes)
    assert np.array_equal(classes.read(tmp_path / "q.png", Window(0, 0, 16, 12)), codes)
    painted = classes.mattes(codes) * np.float16(0.8)
    exr.write(tmp_path / "m.exr", painted, classes.CHANNELS)
    assert np.array_equal(classes.read(tmp_path / "m.exr", Window(0, 0, 16, 12)), codes)


def test_not_a_number_is_no_class(tmp_path: Path) -> None:
    exr.write(tmp_path / "q.exr", np.full((4, 4, 1), np.nan, np.float16), ("Y",))
    with pytest.raises(ImageError, match="no quadmask"):
        classes.read(tmp_path / "q.exr", Window(0, 0, 4, 4))


def test_assembly_knows_both_at_once() -> None:
    roto = np.array([[0.0, 0.49, 0.5, 1.0]], np.float32)
    affected = np.array([[True, False, False, True]])
    assert classes.assemble(roto, affected).tolist() == [[127, 255, 0, 63]]


@given(quadmasks, st.floats(0, 12))
def test_the_blend_is_one_inside_and_zero_beyond_the_feather(codes: classes.Quadmask, feather: float) -> None:
    given_up = extent.rewritten(codes, np.zeros(codes.shape, np.float32))
    blend = extent.blend(given_up, feather)
    assert given_up[codes != classes.KEEP].all()
    assert (blend[given_up] == 1).all()
    assert blend.min() >= 0
    if given_up.any():
        distance = cv2.distanceTransform((~given_up).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        assert (blend[distance > feather + 1.5] == 0).all()


def test_soft_edges_of_the_roto_are_rewritten() -> None:
    roto = np.zeros((9, 9), np.float32)
    roto[4, 4] = 0.1
    given_up = extent.rewritten(np.full((9, 9), classes.KEEP, np.uint8), roto)
    assert given_up[3:6, 3:6].all()
    assert given_up.sum() == 9
