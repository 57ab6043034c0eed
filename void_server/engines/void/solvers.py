"""From the latents of a step to those of the next: by DDIM, as published, or by DPM-Solver++.

DDIM is deterministic. DPM-Solver++ of the second order (arXiv 2211.01095), in CogVideoX's variant, adds noise in each
step and remembers what the step before took for the result. It is meant to need fewer steps, and makes other pictures.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from diffusers import CogVideoXDDIMScheduler, CogVideoXDPMScheduler

from .settings import DDIM, DPM
from .windows import WindowPlan


class Solver(ABC):
    """The last ``left`` of ``steps`` steps, with the scheduler's ``config``.

    ``seed`` is the job's, and ``first`` the number in the shot of the latents' first frame: they decide the noise of
    the steps, where there is any.
    """

    _kind: type[CogVideoXDDIMScheduler] | type[CogVideoXDPMScheduler]

    def __init__(self, config: Mapping[str, Any], steps: int, left: int, seed: int, first: int) -> None:
        self._seed, self._first = seed, first
        self._scheduler = self._kind.from_config(config)
        self._scheduler.set_timesteps(steps)
        self.timesteps: torch.Tensor = self._scheduler.timesteps[-left:]

    def beginning(self, noise: torch.Tensor, plate: torch.Tensor | None) -> torch.Tensor:
        """The latents before the first step: noise alone, or with the latents of the ``plate``, (1, t, 16, h, w)."""
        if plate is None:
            return noise * self._scheduler.init_noise_sigma
        return self._scheduler.add_noise(plate, noise, self.timesteps[:1])

    @abstractmethod
    def step(
        self, index: int, latents: torch.Tensor, velocities: Iterable[torch.Tensor], plan: WindowPlan
    ) -> torch.Tensor:
        """The latents after step ``index`` from the transformer's velocity for each window of those before it."""

    @property
    def memory(self) -> dict[str, torch.Tensor]:
        """What the next steps need beside the latents."""
        return {}

    def remember(self, memory: Mapping[str, torch.Tensor], device: torch.device) -> None:
        """Go on with the :attr:`memory` of another process; of none where nothing is known."""
        del memory, device


class Ddim(Solver):
    """As published: each window makes its step, and their latents are blended."""

    _kind = CogVideoXDDIMScheduler

    def step(
        self, index: int, latents: torch.Tensor, velocities: Iterable[torch.Tensor], plan: WindowPlan
    ) -> torch.Tensor:
        """See :class:`Solver`."""
        parts = []
        for (start, end), velocity in zip(plan.windows, velocities, strict=True):
            made = self._scheduler.step(
                velocity, self.timesteps[index], latents[:, start:end], eta=0.0, return_dict=False
            )
            parts.append(made[0].to(latents.dtype))
        return plan.blend(parts)


class Dpm(Solver):
    """All windows make one step: a latent frame has one noise and one past, however many windows see it."""

    _kind = CogVideoXDPMScheduler

    def __init__(self, config: Mapping[str, Any], steps: int, left: int, seed: int, first: int) -> None:
        super().__init__(config, steps, left, seed, first)
        self._predicted: torch.Tensor | None = None

    def step(
        self, index: int, latents: torch.Tensor, velocities: Iterable[torch.Tensor], plan: WindowPlan
    ) -> torch.Tensor:
        """See :class:`Solver`."""
        (clip,) = latents
        # frames stand for clips: each has a noise of its own there
        made, predicted = self._scheduler.step(
            plan.blend(list(velocities))[0],
            None if self._predicted is None else self._predicted[0],
            self.timesteps[index],
            self.timesteps[index - 1] if index else None,
            clip,
            generator=[noise_of_step(self._seed, index, self._first + frame) for frame in range(len(clip))],
            return_dict=False,
        )
        self._predicted = predicted[None].to(latents.dtype)
        # for some numbers of steps diffusers ends short of the end, and leaves the last noise in
        return self._predicted if index + 1 == len(self.timesteps) else made[None].to(latents.dtype)

    @property
    def memory(self) -> dict[str, torch.Tensor]:
        """See :class:`Solver`."""
        return {} if self._predicted is None else {"predicted": self._predicted}

    def remember(self, memory: Mapping[str, torch.Tensor], device: torch.device) -> None:
        """See :class:`Solver`."""
        if memory:
            self._predicted = memory["predicted"].to(device)


def noise_of_step(seed: int, step: int, frame: int) -> torch.Generator:
    """Draws a step's noise of a latent frame of the shot, in a job of this seed: other than it begins with.

    The same on every device, whatever the piece that the frame is in, and whatever was drawn before.
    """
    return torch.Generator().manual_seed(int(np.random.SeedSequence((seed, 1, step, frame)).generate_state(1)[0]))


#: Solvers by the name that settings give them.
SOLVERS: dict[str, type[Solver]] = {DDIM: Ddim, DPM: Dpm}
