"""The transformer's attention by any of diffusers' backends that is installed here.

diffusers' own processor for CogVideoX calls torch directly, whatever backend is chosen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from diffusers import CogVideoXTransformer3DModel
from diffusers.models.attention_dispatch import AttentionBackendName, dispatch_attention_fn
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import apply_rotary_emb

from ...api.errors import SettingError

if TYPE_CHECKING:
    from .team import Split

#: Backends whose kernels diffusers downloads when they are first used are named so.
_DOWNLOADED = "_hub"


class Processor:
    """Attention over text and video together, as CogVideoX has it."""

    # by these names diffusers sets the backend, and the processes that share a clip
    _attention_backend: AttentionBackendName | None = AttentionBackendName.NATIVE
    _parallel_config = None
    #: How the tokens are split among several cards, where they are.
    split: Split | None = None

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        image_rotary_emb: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Video (batch, tokens, width) and text (batch, tokens, width) after attention; raises for a mask."""
        if attention_mask is not None:
            raise ValueError("CogVideoX attends to everything; it takes no mask")
        text = encoder_hidden_states.shape[1]
        together = torch.cat([encoder_hidden_states, hidden_states], dim=1)
        # (batch, tokens, heads, head width), as the backends take them
        query, key, value = (
            project(together).unflatten(2, (attn.heads, -1)) for project in (attn.to_q, attn.to_k, attn.to_v)
        )
        query, key = attn.norm_q(query), attn.norm_k(key)
        split = self.split
        if image_rotary_emb is not None:
            if split:
                image_rotary_emb = split.own_tokens(image_rotary_emb[0]), split.own_tokens(image_rotary_emb[1])
            for one in (query, key):
                one[:, text:] = apply_rotary_emb(one[:, text:], image_rotary_emb, sequence_dim=1)
        if split:
            query, key, value = (
                torch.cat([split.own_heads(one[:, :text]), split.to_heads(one[:, text:])], dim=1)
                for one in (query, key, value)
            )
        found = dispatch_attention_fn(
            query, key, value, backend=self._attention_backend, parallel_config=self._parallel_config
        )
        if split:
            found = torch.cat([split.all_heads(found[:, :text]), split.to_tokens(found[:, text:])], dim=1)
        found = attn.to_out[0](found.flatten(2).to(query.dtype))
        return found[:, text:], found[:, :text]


def use(transformer: CogVideoXTransformer3DModel, backend: str) -> None:
    """Let a transformer use one of diffusers' attention backends. Raises :class:`SettingError` where it is not here."""
    if backend.lower().endswith(_DOWNLOADED):
        raise SettingError(
            f"The attention backend {backend!r} downloads its kernels when it is used, and nothing is downloaded here; "
            "choose one whose package is installed, such as flash or sage, or native."
        )
    if not isinstance(transformer.transformer_blocks[0].attn1.processor, Processor):
        transformer.set_attn_processor(Processor())
    try:
        transformer.set_attention_backend(backend)
    except (ValueError, ImportError, RuntimeError) as error:
        raise SettingError(
            f"The attention backend {backend!r} cannot be used here ({error}); choose native."
        ) from error


def used(transformer: CogVideoXTransformer3DModel) -> str:
    """The attention backend that a transformer uses."""
    processor: Processor = transformer.transformer_blocks[0].attn1.processor
    return (processor._attention_backend or AttentionBackendName.NATIVE).value
