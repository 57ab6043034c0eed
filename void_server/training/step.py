"""One step of the published recipe: the velocity's mean squared error, the gradient's length, the optimiser, its rate.

After the published code of VOID (arXiv 2604.02296); equal to it on recorded tensors, see tests/void/test_training.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from came_pytorch import CAME
from diffusers import CogVideoXDDIMScheduler
from torch import nn
from torch.nn import functional

from ..engines.void.sampling import rotary
from .config import Optimiser, Training
from .course import Batch

_CAME = {"betas": (0.9, 0.999, 0.9999), "eps": (1e-30, 1e-16)}
_ADAMW_EPSILON, _ADAMW_DECAY = 1e-10, 1e-2


def loss_of(
    transformer: nn.Module,
    config: dict[str, Any],
    scheduler: CogVideoXDDIMScheduler,
    batch: Batch,
    device: torch.device,
    dtype: torch.dtype,
) -> torch.Tensor:
    """The mean squared error of the velocity that the transformer sees in a batch; in float32, but for the transformer.

    ``config`` is that of the transformer, ``dtype`` what its inputs are in.
    """
    truth, noise, conditions = (tensor.to(device) for tensor in (batch.truth, batch.noise, batch.conditions))
    timesteps = batch.timesteps.to(device)
    noisy = scheduler.add_noise(truth, noise, timesteps)
    cos, sin = rotary(config, *(truth.shape[i] for i in (1, 3, 4)))
    velocity = transformer(
        hidden_states=torch.cat([noisy, conditions], dim=2).to(dtype),
        encoder_hidden_states=batch.prompt.to(device, dtype),
        timestep=timesteps,
        image_rotary_emb=(cos.to(device), sin.to(device)),
        return_dict=False,
    )[0]
    return functional.mse_loss(velocity.float(), scheduler.get_velocity(truth, noise, timesteps))


def optimiser(settings: Optimiser, rate: float, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser of a training, with the published constants."""
    given = settings.weight_decay
    if settings.kind == "came":
        return CAME(list(parameters), lr=rate, weight_decay=given or 0.0, **_CAME)
    decay = _ADAMW_DECAY if given is None else given
    return torch.optim.AdamW(list(parameters), lr=rate, weight_decay=decay, eps=_ADAMW_EPSILON)


def rate_at(config: Training, step: int) -> float:
    """The learning rate of a step, counted from 0: a linear rise, then cosines that fall to 0."""
    settings, steps = config.optimiser, config.run.steps
    if step < settings.warm_up:
        return config.rate * step / max(1, settings.warm_up)
    progress = (step - settings.warm_up) / max(1, steps - settings.warm_up)
    if progress >= 1:
        return 0.0
    return config.rate * 0.5 * (1 + math.cos(math.pi * ((settings.restarts * progress) % 1)))
