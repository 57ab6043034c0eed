"""Warped noise: the checks that every implementation of it must pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from void_server.engines.void.noise import Field, as_published, flows, pooled, warp, warped


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scaling(height: int, width: int, factor: float) -> torch.Tensor:
    """The flow of a zoom about the middle."""
    y, x = torch.meshgrid(torch.arange(height) - (height - 1) / 2, torch.arange(width) - (width - 1) / 2, indexing="ij")
    return torch.stack([y, x]) * (factor - 1)


def test_no_flow_leaves_every_bit() -> None:
    field = Field.new(32, 48, generator(1))
    before = field.noise.clone()
    for _ in range(3):
        field = warp(field, torch.zeros(2, 32, 48), generator(2))
    assert torch.equal(field.noise, before)


def test_a_whole_shift_moves_the_noise_and_fills_the_strip_anew() -> None:
    field = Field.new(64, 64, generator(1))
    flow = torch.zeros(2, 64, 64)
    flow[1] = 5
    moved = warp(field, flow, generator(2))
    assert torch.equal(moved.noise[:, :, 5:], field.noise[:, :, :-5])
    strip = moved.noise[:, :, :5]
    assert strip.std() == pytest.approx(1, abs=0.05)
    assert abs(float(np.corrcoef(strip.flatten(), field.noise[:, :, :5].flatten())[0, 1])) < 0.05


@pytest.mark.parametrize("factor", [1.05, 1.4, 0.95, 0.7])
def test_it_stays_white_noise_of_variance_one(factor: float) -> None:
    field, source = Field.new(128, 128, generator(1)), generator(2)
    for _ in range(4):
        field = warp(field, scaling(128, 128, factor), source)
    noise = pooled(field)
    assert float(noise.mean()) == pytest.approx(0, abs=0.05)
    assert float(noise.std()) == pytest.approx(1, abs=0.06)
    for shifted in (noise[:, :, 1:] * noise[:, :, :-1], noise[:, 1:] * noise[:, :-1]):
        assert float(shifted.mean()) == pytest.approx(0, abs=0.06)


def test_an_expansion_splits_a_cell_into_four_that_sum_to_it() -> None:
    field = Field.new(16, 16, generator(1))
    y, x = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    # every cell grows to two by two, about the corner: it lands on twice its place, its three neighbours are bare
    flow = torch.stack([y, x]).float()
    back = torch.stack([y - y // 2, x - x // 2]).float()
    # the first quarter of the cells moves out over the rest, whose flow points back at where it comes from
    grown = warp(field, torch.where((y < 8) & (x < 8), flow, back), generator(2))
    # what the rest itself pushes lies further out
    inner = grown.noise[:, 8:12, 8:12]
    blocks = inner.unfold(1, 2, 2).unfold(2, 2, 2)
    assert torch.allclose(blocks.sum((-1, -2)) / 2, field.noise[:, 4:6, 4:6], atol=1e-5)
    assert float(blocks.reshape(16, 4, 4).std(-1).mean()) > 0.6, "four different ones"


def test_what_moves_keeps_its_noise() -> None:
    field, source = Field.new(64, 64, generator(1)), generator(2)
    flow = torch.zeros(2, 64, 64)
    flow[0] = 2
    first = field.noise
    for _ in range(6):
        field = warp(field, flow, source)
    follows = np.corrcoef(field.noise[:, 12:].flatten(), first[:, :-12].flatten())[0, 1]
    assert follows > 0.99


def test_slow_motion_adds_up() -> None:
    field, source = Field.new(32, 64, generator(1)), generator(2)
    flow = torch.zeros(2, 32, 64)
    flow[1] = 0.25
    first = field.noise
    for _ in range(16):
        field = warp(field, flow, source)
    follows = np.corrcoef(field.noise[:, :, 8:-4].flatten(), first[:, :, 4:-8].flatten())[0, 1]
    assert follows > 0.8


def moving_frames(count: int = 9) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    wide = np.repeat(np.repeat(rng.random((8, 30, 3), np.float32), 8, 0), 8, 1)
    return [np.ascontiguousarray(wide[:, 4 * i : 4 * i + 96]) for i in range(count)]


def test_the_same_seed_gives_the_same_noise() -> None:
    one, other = (warped(moving_frames(), (3, 8, 12), 5) for _ in range(2))
    assert one.shape == (1, 3, 16, 8, 12)
    assert torch.equal(one, other)
    assert not torch.equal(one, warped(moving_frames(), (3, 8, 12), 6))
    assert float(one.std()) == pytest.approx(1, abs=0.05)


class MadeWhere(TorchFunctionMode):
    """Notes tensors that are made on no device in particular."""

    def __init__(self) -> None:
        super().__init__()
        self.nowhere: list[str] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        makers = (torch.zeros, torch.ones, torch.empty, torch.arange, torch.tensor, torch.randn)
        # noise is drawn on the CPU on purpose
        if function in makers and "device" not in kwargs and "generator" not in kwargs:
            self.nowhere.append(function.__name__)
        return function(*args, **kwargs)


def test_noise_is_carried_where_the_field_is() -> None:
    """So that a graphics card does it. Only its draws come from the CPU: the same on all devices."""
    source = generator()
    field = Field.new(32, 48, source, device=torch.device("cpu"))
    flow = scaling(32, 48, 1.1)
    with MadeWhere() as made:
        for _ in range(2):
            field = warp(field, flow, source)
    assert made.nowhere == []


def test_what_stays_in_place_draws_no_noise() -> None:
    """Most of a shot does; drawing and adding it up was nearly all of the time."""
    source = generator()
    field = Field.new(32, 48, source)
    before = source.get_state()
    warp(field, torch.zeros(2, 32, 48), source)
    assert torch.equal(source.get_state(), before)


def test_noise_follows_the_picture() -> None:
    noise = warped(moving_frames(), (3, 8, 12), 5)[0]
    # the picture moves four pixels to the left a frame, sixteen a latent frame: two latents
    follows = np.corrcoef(noise[1][:, 1:-1, 1:-4].flatten(), noise[0][:, 1:-1, 3:-2].flatten())[0, 1]
    stays = np.corrcoef(noise[1][:, 1:-1, 1:-4].flatten(), noise[0][:, 1:-1, 1:-4].flatten())[0, 1]
    assert follows > 0.7
    assert abs(stays) < 0.2


def test_flow_of_a_shift() -> None:
    found = next(flows(moving_frames(2), 64, 96))
    assert float(found[1, 10:-10, 20:-20].median()) == pytest.approx(-4, abs=0.3)
    assert float(found[0, 10:-10, 20:-20].median()) == pytest.approx(0, abs=0.3)


def test_the_published_way_loses_variance() -> None:
    noise = as_published(moving_frames(5), (2, 48, 84), 5)
    assert noise.shape == (1, 2, 16, 48, 84)
    assert float(noise.std()) == pytest.approx(0.66, abs=0.05)
