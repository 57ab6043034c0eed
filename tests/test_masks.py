"""Masks of a shot in little memory."""

from __future__ import annotations

import numpy as np
import pytest

from void_server.imaging.masks import Masks


@pytest.mark.parametrize("width", [1, 8, 13])
def test_masks_are_what_was_packed(width: int) -> None:
    given = [np.random.default_rng(index).random((5, width)) < 0.5 for index in range(4)]
    masks = Masks.of(given)
    assert len(masks) == 4
    assert all(np.array_equal(one, other) for one, other in zip(masks, given, strict=True))
    assert np.array_equal(masks[-1], given[-1])
    assert [mask.dtype for mask in masks[1:]] == 3 * [np.bool_]
    assert np.array_equal(masks[1:][0], given[1])
    assert np.array_equal(Masks(masks.packed, width)[2], given[2])
    with pytest.raises(IndexError):
        masks[4]


def test_a_mask_takes_a_bit_for_each_pixel() -> None:
    assert Masks.of(np.ones((3, 360, 640), bool)).packed.nbytes == 3 * 360 * 80
