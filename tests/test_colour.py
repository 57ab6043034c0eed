"""Colour goes to the display and back without loss."""

from __future__ import annotations

import re
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from void_server.api.errors import ColourError, InputError
from void_server.imaging import jpeg
from void_server.imaging.colour import BUILT_IN, ColourSpace, Curve, opencolorio
from void_server.imaging.halves import look_up

maxima = st.floats(0.1, 60000)


@given(maxima, st.lists(st.floats(-60000, 60000, width=32), min_size=1, max_size=50))
def test_round_trip_within_half_precision(maximum: float, values: list[float]) -> None:
    linear = np.array(values, np.float32)
    back = Curve(maximum).to_linear(Curve(maximum).to_display(linear))
    assert np.all(np.abs(back - linear) <= np.abs(linear) * 2**-11 + 1e-6)


@given(maxima)
def test_what_a_display_shows_is_srgb(maximum: float) -> None:
    linear = np.linspace(0, 0.6, 100, dtype=np.float32)
    srgb = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.allclose(Curve(maximum).to_display(linear), srgb, atol=1e-6)


@given(maxima.filter(lambda m: m > 1))
def test_the_curve_rises_smoothly_to_one(maximum: float) -> None:
    curve = Curve(maximum)
    assert curve.to_display(np.array([maximum], np.float32))[0] == pytest.approx(1, abs=1e-5)
    rising = curve.to_display(np.linspace(-maximum, maximum, 2001, dtype=np.float32))
    assert np.all(np.diff(rising) > 0)
    below, at, above = curve.to_display(np.array([0.6 - 1e-3, 0.6, 0.6 + 1e-3], np.float32)).astype(float)
    assert (at - below) == pytest.approx(above - at, rel=0.05)


def test_a_lamp_comes_back_as_it_was() -> None:
    curve = Curve(20.0)
    display = curve.to_display(np.array([20.0], np.float32))
    assert display[0] <= 1.0001
    assert np.float16(curve.to_linear(display)[0]) == np.float16(20.0)


def test_spaces_convert_and_come_back() -> None:
    pixels = (np.random.default_rng(2).random((5, 7, 3)) * 4 - 0.5).astype(np.float32)
    space = ColourSpace("ACEScg")
    linear = space.to_linear(pixels)
    assert np.abs(linear - pixels).max() > 0.05
    assert np.allclose(space.from_linear(linear), pixels, atol=1e-5)
    grey = np.full((1, 1, 3), 0.18, np.float32)
    assert np.allclose(space.to_linear(grey), 0.18, atol=1e-3)


def test_the_default_space_changes_nothing() -> None:
    pixels = np.ones((2, 2, 3), np.float32)
    assert ColourSpace("lin_rec709").to_linear(pixels) is pixels


def test_an_unknown_space_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ColourError, match=r"'nope' is not in the OCIO configuration; it has .*ACEScg"):
        ColourSpace("nope")


def test_a_missing_configuration_is_named() -> None:
    with pytest.raises(InputError, match=r"/nowhere/config.ocio does not exist"):
        ColourSpace("ACEScg", "/nowhere/config.ocio")


def test_the_built_in_configuration_is_pinned_by_its_full_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ocio://default and the like mean changes with the library."""
    assert re.fullmatch(r"ocio://cg-config-v[\d.]+_aces-v[\d.]+_ocio-v[\d.]+", BUILT_IN)
    assert ColourSpace("ACEScg").config == BUILT_IN
    # which only later ones have, so that it is this one that answers
    with pytest.raises(ColourError, match="'Display P3 HDR - Display' is not"):
        ColourSpace("Display P3 HDR - Display")
    monkeypatch.setenv("OCIO", "ocio://cg-config-v1.0.0_aces-v1.3_ocio-v2.1")
    assert ColourSpace("ACEScg").config == "ocio://cg-config-v1.0.0_aces-v1.3_ocio-v2.1"
    assert re.match(r"2\.\d", opencolorio())


@given(maxima, st.floats(0.01, 100))
def test_halves_are_looked_up_as_they_would_be_computed(maximum: float, exposure: float) -> None:
    halves = np.geomspace(1e-6, 60000, 50).astype(np.float16).reshape(5, 10) * np.float16(-1)
    curve = Curve(maximum)
    found = look_up(curve.displayed_halves(exposure), halves)
    assert np.array_equal(found, curve.to_display(halves.astype(np.float32) * np.float32(exposure)))


def test_what_is_not_finite_is_black_on_the_display() -> None:
    broken = np.array([np.nan, np.inf, -np.inf], np.float16)
    assert np.array_equal(look_up(Curve(2.0).displayed_halves(), broken), np.zeros(3, np.float32))


@given(maxima)
def test_a_large_picture_is_converted_as_a_small_one(maximum: float) -> None:
    curve, values = Curve(maximum), np.linspace(-2, 30000, 300_000, dtype=np.float32)
    for convert in (curve.to_display, curve.to_linear):
        assert np.array_equal(convert(values)[-1000:], convert(values[-1000:].copy()))


def test_a_jpeg_of_red_is_red() -> None:
    red = np.full((16, 16, 3), (200, 40, 10), np.uint8)
    blue_first: Any = cv2.imdecode(np.frombuffer(jpeg.encoded(red, 95), np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(blue_first.mean(axis=(0, 1)) - (10, 40, 200)).max() < 3
