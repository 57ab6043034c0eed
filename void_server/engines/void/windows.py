"""Windows over the latent frames of long clips: where they lie, and how they are blended.

Published as temporal multidiffusion: in every step each window is denoised for itself, and the windows are averaged
with linear ramps where they overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

#: Latent frames that neighbouring windows share, as published.
OVERLAP = 4


@dataclass(frozen=True)
class WindowPlan:
    """The windows over ``length`` latent frames, each (start, end)."""

    length: int
    windows: tuple[tuple[int, int], ...]

    def blend(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        """The windows' latents, each (batch, frames, ...), averaged into (batch, length, ...)."""
        first = parts[0]
        total = torch.zeros((first.shape[0], self.length, *first.shape[2:]), dtype=torch.float32, device=first.device)
        weight = torch.zeros(self.length, device=first.device)
        for index, (part, (start, end)) in enumerate(zip(parts, self.windows, strict=True)):
            ramp = self._ramp(index).to(first.device)
            total[:, start:end] += part.float() * _along_frames(ramp, part)
            weight[start:end] += ramp
        return (total / _along_frames(weight, total)).to(first.dtype)

    def _ramp(self, index: int) -> torch.Tensor:
        """The weight of each frame of a window, rising from its earlier neighbour and falling towards its later one."""
        start, end = self.windows[index]
        ramp = torch.ones(end - start)
        if index > 0:
            shared = self.windows[index - 1][1] - start
            ramp[:shared] = torch.arange(1, shared + 1) / shared
        if index + 1 < len(self.windows):
            # where windows are so short that both neighbours share a frame, the later one counts, as published
            shared = end - self.windows[index + 1][0]
            ramp[-shared:] = torch.arange(shared, 0, -1) / shared
        return ramp


def _along_frames(weights: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return weights.view(1, -1, *[1] * (like.dim() - 2))


def plan(length: int, window: int, *, published: bool = False) -> WindowPlan:
    """Windows of ``window`` latent frames over ``length``.

    The published code lets the last window shrink to what is left, down to a few frames that see little of the rest;
    otherwise it is a whole one, shifted back. Raises ValueError for a window that is all overlap.
    """
    if window <= OVERLAP:
        raise ValueError(f"a window of {window} latent frames is no longer than its overlap of {OVERLAP}")
    windows = [(0, min(window, length))]
    while windows[-1][1] < length:
        start = windows[-1][1] - OVERLAP
        end = min(start + window, length)
        windows.append((start if published else end - window, end))
    return WindowPlan(length, tuple(windows))
