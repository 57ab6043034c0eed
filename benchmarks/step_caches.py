"""The caches of diffusers that abbreviate steps, each as its authors advise and bolder, to be compared with each other.

First block (ParaAttention) looks at what the first block makes, MagCache (arXiv 2506.09045) at how the residual usually
changes, which has to be measured once, TaylorSeer (arXiv 2503.06923) extrapolates from the last whole steps. The engine
has the first, and forgets with each kept step; here none forgets, so they are for one window of a shot.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

from diffusers import CogVideoXTransformer3DModel, FirstBlockCacheConfig, MagCacheConfig, TaylorSeerCacheConfig
from diffusers.hooks import HookRegistry

Config: TypeAlias = FirstBlockCacheConfig | MagCacheConfig | TaylorSeerCacheConfig


def caches(steps: int, ratios: list[float]) -> dict[str, Config]:
    """Each cache by its name, for so many steps; ``ratios`` are those of :func:`measuring_ratios`."""
    return {
        **{f"block {share}": FirstBlockCacheConfig(threshold=share) for share in (0.05, 0.1)},
        **{
            f"mag {error}": MagCacheConfig(threshold=error, num_inference_steps=steps, mag_ratios=ratios)
            for error in (0.06, 0.12)
        },
        # all blocks are skipped: to extrapolate each attention would take 6 GB at 384 lines
        **{
            f"taylor {interval}": TaylorSeerCacheConfig(cache_interval=interval, use_lite_mode=True)
            for interval in (3, 5)
        },
    }


@contextmanager
def remembering(transformer: CogVideoXTransformer3DModel, config: Config) -> Iterator[None]:
    """In the block, a cache remembers the calls of one window."""
    transformer.enable_cache(config)
    try:
        with transformer.cache_context("window"):
            yield
    finally:
        transformer.disable_cache()


@contextmanager
def measuring_ratios(transformer: CogVideoXTransformer3DModel, steps: int) -> Iterator[list[float]]:
    """In the block, sample once: the list then holds how the residual's size changed with each step."""
    ratios: list[float] = []
    # one more than there are: after the last, it would print and forget them
    config = MagCacheConfig(calibrate=True, num_inference_steps=steps + 1)
    with remembering(transformer, config):
        yield ratios
        head = HookRegistry.check_if_exists_or_initialize(transformer.transformer_blocks[0])
        ratios += head.get_hook("mag_cache_leader_block_hook").state_manager.get_state().calibration_ratios


class Calls:
    """Counts the calls of a transformer in which its blocks computed."""

    def __init__(self, transformer: CogVideoXTransformer3DModel) -> None:
        self.count = 0
        self._hook = transformer.transformer_blocks[-1].ff.register_forward_hook(self._note)

    def _note(self, *_: object) -> None:
        self.count += 1

    def end(self) -> None:
        """Count no more."""
        self._hook.remove()
