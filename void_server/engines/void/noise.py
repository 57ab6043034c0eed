"""Warped noise, which moves with the picture, for the second pass.

Discrete noise warping of Go-with-the-Flow (Burgert et al., arXiv 2501.08331), written from the paper's description. A
field of noise, finer than the latents, is carried along the optical flow. Where it is stretched, a cell's noise is
split among the cells that it covers, so that their sum over the root of their number is what it was; where it is
squeezed, cells are added up by weight; where nothing comes from, there is new noise. So every frame is white noise of
variance 1, and what moves keeps its noise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from ...imaging.parallel import ahead

#: How many cells of the field a latent has along each side.
FINENESS = 8
CHANNELS = 16
# Keeps the weights of long shots from running away: each frame pulls them a little towards their mean.
_PULL = 0.9999


@dataclass
class Field:
    """The state between two frames: noise (channels, h, w), weight and sub-cell offset (y, x) of every cell."""

    noise: torch.Tensor
    weight: torch.Tensor
    offset: torch.Tensor

    @classmethod
    def new(
        cls,
        height: int,
        width: int,
        generator: torch.Generator,
        channels: int = CHANNELS,
        device: torch.device | None = None,
    ) -> Field:
        """Fresh noise, on a device; drawn on the CPU, so that it is the same on all."""
        noise = torch.randn((channels, height, width), generator=generator).to(device)
        return cls(noise, torch.ones(height, width, device=device), torch.zeros(2, height, width, device=device))


def warp(field: Field, flow: torch.Tensor, generator: torch.Generator) -> Field:
    """The field after ``flow`` (2, h, w), the way in cells (y, x) from the frame before to this one."""
    channels, height, width = field.noise.shape
    cells, device = height * width, field.noise.device
    flow = flow.to(device)
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
    size = torch.tensor([height, width], device=device).view(2, 1, 1)
    # where each cell goes, and what of its way is left over for the next frame
    goal = grid + field.offset + flow
    landed = _nearest(goal)
    leftover = (goal - landed).reshape(2, cells)
    inside = ((landed >= 0) & (landed < size)).all(0).flatten()
    target = (landed[0] * width + landed[1]).flatten().long()
    every = torch.arange(cells, device=device)
    moved, target = every[inside], target[inside]
    covered = torch.zeros(cells, dtype=torch.bool, device=device)
    covered[target] = True
    # where no cell went, the one that the flow points back to is stretched
    bare = every[~covered]
    back = _nearest(grid - flow)
    known = ((back >= 0) & (back < size)).all(0).flatten()[bare]
    origin = (back[0] * width + back[1]).flatten().long()[bare]
    stretched, origin, new = bare[known], origin[known], bare[~known]

    split, shares = _split(field.noise.reshape(channels, cells), torch.cat([moved, origin]), generator)
    weight = field.weight.flatten()[torch.cat([moved, origin])] / shares
    count = len(moved)

    noise = torch.empty(channels, cells, device=device)
    weights = torch.ones(cells, device=device)
    offset = torch.zeros(2, cells, device=device)
    w = weight[:count]
    total = torch.zeros(cells, device=device).index_add_(0, target, w)
    # one cell alone on its place stays what it is, to the bit
    crowded = torch.bincount(target, minlength=cells)[target] > 1
    noise[:, target[~crowded]] = split[:, :count][:, ~crowded]
    # several cells on one: the sum by weight, brought back to variance 1
    places, heavy = target[crowded], w[crowded]
    squares = torch.zeros(cells, device=device).index_add_(0, places, heavy * heavy)
    gathered = torch.zeros(channels, cells, device=device).index_add_(1, places, split[:, :count][:, crowded] * heavy)
    noise[:, places] = gathered[:, places] / squares[places].sqrt()
    weights[covered] = total[covered]
    moved_offset = torch.zeros(2, cells, device=device).index_add_(1, target, leftover[:, moved] * w)
    offset[:, covered] = moved_offset[:, covered] / total[covered]
    noise[:, stretched] = split[:, count:]
    weights[stretched] = weight[count:]
    noise[:, new] = torch.randn((channels, len(new)), generator=generator).to(device)
    weights = (weights / weights.mean() + 1e-5) ** _PULL
    return Field(noise.view(channels, height, width), weights.view(height, width), offset.view(2, height, width))


def _nearest(position: torch.Tensor) -> torch.Tensor:
    """The cell that a position is in; torch's own rounding would send halves to even cells, two to one."""
    return (position + 0.5).floor()


def _split(noise: torch.Tensor, holders: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise for every holder of a cell (an index of ``noise``), and how many share that cell.

    n holders of a value v get v / sqrt(n) + e - mean(e), which are n independent Gaussians whose sum is v * sqrt(n).
    The cells' own numbers say who shares, so no noise must be compared with any other.
    """
    channels, cells = noise.shape
    number = torch.bincount(holders, minlength=cells)
    shares = number[holders]
    # a cell that is shared by nobody is carried as it is, to the bit
    split = noise[:, holders]
    shared = shares > 1
    cell = holders[shared]
    fresh = torch.randn((channels, len(cell)), generator=generator).to(noise.device)
    mean = torch.zeros(channels, cells, device=noise.device).index_add_(1, cell, fresh) / number.clamp(min=1)
    split[:, shared] = noise[:, cell] / shares[shared].sqrt() + fresh - mean[:, cell]
    return split, shares


def pooled(field: Field, fineness: int = FINENESS) -> torch.Tensor:
    """The noise at the latents' resolution, (channels, h, w), of variance 1."""
    return functional.avg_pool2d(field.noise[None], fineness)[0] * fineness


def flows(frames: Iterable[NDArray[np.float32]], height: int, width: int) -> Iterator[torch.Tensor]:
    """The flow (2, height, width) from each frame to the next, by OpenCV's DIS; frames are (h, w, 3), 0..1."""
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    before: NDArray[np.uint8] | None = None
    for frame in frames:
        grey = cv2.cvtColor(np.clip(frame, 0, 1).astype(np.float32), cv2.COLOR_RGB2GRAY)
        now = np.round(grey * 255).astype(np.uint8)
        if before is not None:
            flow = estimator.calc(before, now, np.zeros((*now.shape, 2), np.float32))
            scale = np.array([width / now.shape[1], height / now.shape[0]], np.float32)
            resized = cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR) * scale
            yield torch.from_numpy(np.ascontiguousarray(resized[..., ::-1])).permute(2, 0, 1)
        before = now


def warped(
    frames: Iterable[NDArray[np.float32]],
    latent_shape: tuple[int, int, int],
    seed: int,
    device: torch.device | None = None,
) -> torch.Tensor:
    """Noise (1, t, 16, h, w) for a clip of latents (t, h, w): that of every fourth frame, carried through all.

    Carried on ``device``; the flow comes from the CPU, and the noise goes back there.
    """
    length, height, width = latent_shape
    generator = torch.Generator().manual_seed(seed)
    field = Field.new(FINENESS * height, FINENESS * width, generator, device=device)
    fields = [pooled(field).cpu()]
    with _repeatably():
        # the flow of the next frames is estimated while this one's is used
        for index, flow in enumerate(ahead(flows(frames, FINENESS * height, FINENESS * width)), 1):
            field = warp(field, flow, generator)
            if index % 4 == 0:
                fields.append(pooled(field).cpu())
    return torch.stack(fields[:length])[None]


@contextmanager
def _repeatably() -> Iterator[None]:
    """In the block, have a graphics card add up what lies at one place in the same order each time."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def as_published(frames: list[NDArray[np.float32]], latent_shape: tuple[int, int, int], seed: int) -> torch.Tensor:
    """Warped noise as the published script makes it: from a centre crop, over 72 frames, then resized bilinearly.

    It loses variance (its standard deviation is about 0.66) and is out of register with the picture; use it to compare
    with published results.
    """
    length, height, width = latent_shape
    generator = torch.Generator().manual_seed(seed)
    chosen = [_cropped(frames[i]) for i in np.linspace(0, len(frames) - 1, _PUBLISHED_FRAMES).astype(int)]
    field = Field.new(FINENESS * _PUBLISHED_HEIGHT, FINENESS * _PUBLISHED_WIDTH, generator)
    fields = [pooled(field)]
    for flow in flows(chosen, FINENESS * _PUBLISHED_HEIGHT, FINENESS * _PUBLISHED_WIDTH):
        field = warp(field, flow, generator)
        fields.append(pooled(field))
    picked = np.linspace(0, len(fields) - 1, length).astype(int)
    resized = [
        cv2.resize(fields[i].permute(1, 2, 0).numpy(), (width, height), interpolation=cv2.INTER_LINEAR) for i in picked
    ]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2)[None]


_PUBLISHED_FRAMES, _PUBLISHED_HEIGHT, _PUBLISHED_WIDTH = 72, 60, 90


def _cropped(frame: NDArray[np.float32]) -> NDArray[np.float32]:
    """The frame so large that it covers 480 x 720, and that much out of its middle."""
    height, width = 8 * _PUBLISHED_HEIGHT, 8 * _PUBLISHED_WIDTH
    scale = max(height / frame.shape[0], width / frame.shape[1])
    size = max(width, round(frame.shape[1] * scale)), max(height, round(frame.shape[0] * scale))
    large = cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)
    y, x = (large.shape[0] - height) // 2, (large.shape[1] - width) // 2
    return large[y : y + height, x : x + width]
