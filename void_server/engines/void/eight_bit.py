"""The transformer's matrices as scaled 8-bit integers: half the memory, at about one per cent of each weight."""

from __future__ import annotations

from collections.abc import Callable

import torch
from diffusers import CogVideoXTransformer3DModel
from torch import nn
from torch.nn import functional

_LARGEST = 127


class EightBitLinear(nn.Module):
    """A linear layer whose matrix is kept as int8 with a scale for every output, and made whole as it is used."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight = layer.weight.detach().float()
        scale = weight.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny) / _LARGEST
        self.register_buffer("matrix", (weight / scale).round().clamp(-_LARGEST, _LARGEST).to(torch.int8))
        self.register_buffer("scale", scale)
        self.bias = layer.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What a linear layer makes of ``x`` (..., inputs), in the type of ``x``."""
        weight = (self.matrix.float() * self.scale).to(x.dtype)
        return functional.linear(x, weight, self.bias)


def quantise(transformer: CogVideoXTransformer3DModel, kind: Callable[[nn.Linear], nn.Module]) -> None:
    """Exchange the linear layers of all blocks for a ``kind`` with 8-bit matrices.

    Biases, embeddings and norms, with what modulates them, stay as they are.
    """
    for block in transformer.transformer_blocks:
        for parent in (*block.attn1.modules(), *block.ff.modules()):
            for name, layer in list(parent.named_children()):
                if isinstance(layer, nn.Linear):
                    setattr(parent, name, kind(layer))
