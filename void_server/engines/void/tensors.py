"""Tensors as bytes: what a job keeps on disk, and what processes tell each other."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from safetensors.torch import save


def packed(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """The tensors by name, of any device, in the form of safetensors."""
    # copies: two names may be one tensor, which safetensors refuses
    return save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()})
