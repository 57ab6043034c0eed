"""The most memory that tensors hold at once, counted on torch's meta device, where none is taken."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Meter(TorchDispatchMode):
    """Counts the storages that operations make, and that are alive: ``peak`` bytes at most, without ``weights``."""

    def __init__(self, weights: Iterable[torch.Tensor] = ()) -> None:
        super().__init__()
        self._alive = {weight.untyped_storage()._cdata: 0 for weight in weights}
        self.peak = self.now = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._alive:
            self._alive[key] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._end, key)

    def _end(self, key: int) -> None:
        self.now -= self._alive.pop(key)


class _FusedAttention(TorchFunctionMode):
    """Attention in one operation, as GPUs have it; the meta device would count every pair of tokens."""

    def __torch_function__(self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.nn.functional.scaled_dot_product_attention:
            return torch.empty_like(kwargs["query"])
        return function(*args, **(kwargs or {}))


@contextmanager
def measuring(weights: Iterable[torch.Tensor] = ()) -> Iterator[Meter]:
    """Count what is made in the block; views of ``weights`` are nothing new."""
    with torch.inference_mode(), _FusedAttention(), Meter(weights) as meter:
        yield meter
