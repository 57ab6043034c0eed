"""What each step learns from: all of it follows from the seed and the step's number, so that nothing need be kept.

A training that was stopped goes on with the very clips, lengths, timesteps and noise that it would have had.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch

from ..engines.void.vae import SPATIAL, latent_length
from .config import Training
from .store import Item, Prepared, embedding

#: Latents come in pairs, and of each pair frames the first has one.
_TOGETHER = 2


@dataclass(frozen=True)
class Batch:
    """Clips of one size, on the CPU in float32; latents are (b, t, channels, h, w)."""

    truth: torch.Tensor
    noise: torch.Tensor
    #: Mask latents, then plate latents: 32 channels.
    conditions: torch.Tensor
    timesteps: torch.Tensor
    #: (b, tokens, width)
    prompt: torch.Tensor
    names: tuple[str, ...]


class Course:
    """The batches of a training, by number."""

    def __init__(
        self, config: Training, prepared: Prepared, scaling: float, ranks: int = 1, timesteps: int = 1000
    ) -> None:
        self._config, self._prepared = config, prepared
        self._scaling, self._ranks, self._timesteps = scaling, ranks, timesteps
        self._per_epoch = len(self._epoch(0))

    def batch(self, number: int, rank: int = 0) -> Batch:
        """The batch ``number`` of a process."""
        place = number * self._ranks + rank
        epoch, index = divmod(place, self._per_epoch)
        generator = torch.Generator().manual_seed(_seed(self._config.run.seed, 1, place))
        return self._made(self._epoch(epoch)[index], place, generator)

    def _epoch(self, epoch: int) -> list[list[Item]]:
        """All clips once, in batches of one size, in an order of its own."""
        rng = np.random.default_rng(_seed(self._config.run.seed, 0, epoch))
        items = self._prepared.items
        mixed = [items[index] for index in rng.permutation(len(items))]
        batches = []
        for _, alike in groupby(sorted(mixed, key=lambda item: item.shape), key=lambda item: item.shape):
            group, size = list(alike), self._config.run.batch
            batches += [group[start : start + size] for start in range(0, len(group), size)]
        return [batches[index] for index in rng.permutation(len(batches))]

    def _made(self, items: Sequence[Item], place: int, generator: torch.Generator) -> Batch:
        data = self._config.data
        items = [item for item in items for _ in range(self._copies(items[0].shape))]
        length = self._length(items[0].shape[0], generator)
        draw = place % data.noise_draws
        found = [self._latents(item, length, draw, generator) for item in items]
        truth, noise, conditions = (torch.stack(tensors).transpose(1, 2) for tensors in zip(*found, strict=True))
        dropped = torch.rand(len(items), generator=generator) < data.drop_text
        prompts = [self._prepared.nothing if drop else item.prompt for item, drop in zip(items, dropped, strict=True)]
        return Batch(
            truth,
            noise,
            conditions,
            torch.randint(0, self._timesteps, (len(items),), generator=generator),
            torch.cat([embedding(prompt).float() for prompt in prompts]),
            tuple(item.name for item in items),
        )

    def _copies(self, shape: tuple[int, int, int]) -> int:
        """How many times a clip comes in its batch: small ones several times, with other noise."""
        data = self._config.data
        side = data.full_length_height / SPATIAL
        whole = latent_length(data.frames) * side * side
        share = float(np.prod(shape)) / whole
        return 4 if share <= 1 / 16 else 2 if share <= 1 / 4 else 1

    def _length(self, whole: int, generator: torch.Generator) -> int:
        """The latent frames of a batch: mostly all, otherwise a shorter even number."""
        shorter = range(_TOGETHER, whole, _TOGETHER)
        chance, place = torch.rand(2, generator=generator).tolist()
        return shorter[int(place * len(shorter))] if shorter and chance < self._config.data.shorter else whole

    def _latents(
        self, item: Item, length: int, draw: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Truth, noise and conditions of a clip, each (channels, t, h, w)."""
        truth, mask, plate = (
            drawn(tensor[:, :length], generator) * self._scaling
            for tensor in item.read("truth", "mask", f"plate{draw}")
        )
        conditions = torch.cat([mask, plate])
        without = item.all_object and float(torch.rand(1, generator=generator)) < self._config.data.drop_conditions
        noise = torch.randn(truth.shape, generator=generator)
        if self._config.model.second_pass:
            most = self._config.model.noise_degradation
            moving = item.read("noise")[0][:, :length]
            share = float(torch.rand(1, generator=generator)) * most
            noise = mixed_noise(moving, noise, share, published=self._config.model.published_noise)
        return truth, noise, torch.zeros_like(conditions) if without else conditions


def drawn(moments: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Latents from their distribution: means and logarithms of variances, one after the other along the channels."""
    mean, logarithm = moments.chunk(2)
    deviation = torch.exp(0.5 * logarithm.clamp(-30, 20))
    return mean + deviation * torch.randn(mean.shape, generator=generator)


def mixed_noise(moving: torch.Tensor, fresh: torch.Tensor, share: float, *, published: bool = False) -> torch.Tensor:
    """Noise of variance 1 with a ``share`` of fresh one.

    The published formula divides it by something less than 1 again: at a share of 0.3 it is 1.31 times as loud.
    """
    mixed = (1 - share) ** 0.5 * moving + share**0.5 * fresh
    return mixed / ((1 - share) ** 2 + share**2) ** 0.5 if published else mixed


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
