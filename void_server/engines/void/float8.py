"""Matrix products in 8-bit floating point, of which cards that have them do twice as many a second as in bfloat16.

Both sides are e4m3 with a scale for each row (Micikevicius et al., FP8 Formats for Deep Learning, arXiv 2209.05433): of
a matrix once, as it is loaded, of the tokens as they come.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from .support import lacks_for_float8

_LARGEST = torch.finfo(torch.float8_e4m3fn).max
# A scale for rows of zeros; smaller ones would be flushed to zero.
_LEAST = 1e-12


def possible(devices: Iterable[torch.device]) -> bool:
    """Whether all these devices multiply so, as they are installed here."""
    return all(
        device.type == "cuda"
        and torch.version.hip is None
        and not lacks_for_float8(torch.cuda.get_device_capability(device), torch.__version__)
        for device in devices
    )


class Float8Linear(nn.Module):
    """A linear layer whose matrix is kept as e4m3 with a scale for every output, and multiplied as that."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        matrix, scale = scaled_rows(layer.weight.detach())
        self.register_buffer("matrix", matrix)
        self.register_buffer("scale", scale)
        self.bias = layer.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What a linear layer makes of ``x`` (..., inputs), in the type of ``x``."""
        tokens, scale = _scaled_tokens(x.flatten(0, -2))
        made = functional.scaled_mm(
            tokens,
            self.matrix.t(),
            scale,
            functional.ScalingType.RowWise,
            self.scale.t(),
            functional.ScalingType.RowWise,
            bias=self.bias,
            output_dtype=x.dtype,
            use_fast_accum=True,
        )
        return made.unflatten(0, x.shape[:-1])


def scaled_rows(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """``x`` (rows, inputs) as e4m3, and what each row was divided by for that, (rows, 1)."""
    largest = torch.linalg.vector_norm(x, torch.inf, dim=1, keepdim=True, dtype=torch.float32)
    scale = largest.clamp(min=_LEAST) / _LARGEST
    return (x / scale).to(torch.float8_e4m3fn), scale


def _scaled_tokens(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    # step by step it takes a card most of what float8 saves
    fuse = x.is_cuda and not torch.compiler.is_compiling()
    made: tuple[torch.Tensor, torch.Tensor] = _fused()(x) if fuse else scaled_rows(x)
    return made


@cache
def _fused() -> Any:
    """:func:`scaled_rows` as one kernel, for any number of rows and inputs."""
    return torch.compile(scaled_rows, dynamic=True)
