"""What no frame shows is filled with texture, on patterns whose continuation is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from void_server.engines.cleanplate import inpaint as inpainting
from void_server.engines.cleanplate.inpaint import correction, inpaint
from void_server.engines.cleanplate.texture import _Search, complete
from void_server.imaging.exr import FloatImage

HEIGHT, WIDTH = 96, 160
Mask = NDArray[np.bool_]


@pytest.fixture(scope="module")
def bricks() -> FloatImage:
    """Rows of bricks, each of its own brightness, under a soft light from the left."""
    rng = np.random.default_rng(2)
    image = np.full((HEIGHT, WIDTH), 0.2, np.float32)
    for row in range(0, HEIGHT, 12):
        for column in range(-10 * (row // 12 % 2), WIDTH, 20):
            image[row + 1 : row + 11, max(column + 1, 0) : max(column + 19, 0)] = 0.5 + 0.1 * rng.random()
    image = image * np.linspace(1.1, 0.8, WIDTH, dtype=np.float32)
    return cv2.GaussianBlur(np.dstack([image, image * 0.7, image * 0.5]), (0, 0), 0.7)


def hole() -> Mask:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[28:70, 64:94] = True
    return mask


def slope(image: FloatImage) -> float:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return float(np.hypot(cv2.Sobel(grey, -1, 1, 0), cv2.Sobel(grey, -1, 0, 1))[hole()].mean())


def test_the_fill_has_the_detail_of_the_truth_and_is_no_farther_from_it_than_a_smooth_one(bricks: FloatImage) -> None:
    object_ = np.where(hole()[..., None], np.float32([0, 1, 0]), bricks)
    filled = complete(object_, hole(), ~hole())
    assert np.array_equal(filled[~hole()], bricks[~hole()])
    assert 0.7 < slope(filled) / slope(bricks) < 1.3
    smooth = inpaint(object_, hole())
    assert np.mean((filled - bricks)[hole()] ** 2) < np.mean((smooth - bricks)[hole()] ** 2)
    assert np.array_equal(filled, complete(object_, hole(), ~hole()))


def test_nothing_is_taken_from_what_may_not_be_used(bricks: FloatImage) -> None:
    shadow = np.zeros((HEIGHT, WIDTH), bool)
    shadow[60:84, 94:150] = True
    red = np.where(shadow[..., None], bricks * np.float32([1, 0.1, 0.1]), bricks)
    filled = complete(red, hole(), ~(hole() | cv2.dilate(shadow.astype(np.uint8), np.ones((5, 5))).astype(bool)))
    ratio = filled[hole()][:, 1] / filled[hole()][:, 0]
    assert np.quantile(ratio, 0.05) > 0.5


def test_a_patch_is_compared_only_until_it_has_lost(bricks: FloatImage, monkeypatch: pytest.MonkeyPatch) -> None:
    tried, compared, inside, add = [], [], _Search._inside, np.einsum

    def asked(search: _Search, places: NDArray[np.intp]) -> Mask:
        tried.append(len(places))
        return inside(search, places)

    def counted(subscripts: str, *operands: FloatImage) -> FloatImage:
        compared.append(len(operands[0]))
        return add(subscripts, *operands)

    monkeypatch.setattr(_Search, "_inside", asked)
    monkeypatch.setattr(np, "einsum", counted)
    complete(bricks, hole(), ~hole())
    # of the 49 pixels of each patch that is tried
    assert sum(compared) < 49 * sum(tried) / 3


def test_where_the_surroundings_are_smooth_so_is_the_fill() -> None:
    ramp = np.repeat(np.linspace(0.2, 0.4, WIDTH, dtype=np.float32)[None, :, None], HEIGHT, axis=0).repeat(3, axis=-1)
    assert np.allclose(complete(ramp, hole(), ~hole()), inpaint(ramp, hole()), atol=1e-4)


def test_the_membrane_of_a_large_hole_is_near_the_solution_in_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    y, x = np.mgrid[:400, :300].astype(np.float32) / 100
    mask = ((x - 1.5) / 1.3) ** 2 + ((y - 2) / 1.8) ** 2 < 1
    bend = np.zeros((400, 300, 3), np.float32)
    bend[::40], bend[:, ::50] = 0.05, -0.03
    bend *= mask[..., None]
    steps, filter_ = [], cv2.filter2D
    monkeypatch.setattr(cv2, "filter2D", lambda image, *how, **more: steps.append(1) or filter_(image, *how, **more))
    found = correction(bend, mask)
    assert len(steps) < 150
    monkeypatch.setattr(inpainting, "_STEPS", 400)
    monkeypatch.setattr(cv2, "filter2D", filter_)
    exact = correction(bend, mask)
    assert np.sqrt(np.mean((found - exact)[mask] ** 2)) < 0.025 * exact[mask].std()
