"""VOID models with random weights, in the layout of the released files: tiny ones, and ones of the released size."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel
from safetensors.torch import save_file
from transformers import T5Config, T5EncoderModel

from void_server.engines.void.selftest import SCHEDULER, TEXT, TRANSFORMER, VAE
from void_server.engines.void.weights import BASE, PASSES


@dataclass(frozen=True)
class Size:
    """The configurations of transformer, VAE and text encoder, and the type of their weights."""

    transformer: dict[str, Any]
    vae: dict[str, Any]
    text: dict[str, Any]
    dtype: torch.dtype


#: An eighth as wide as the self-test's: convolutions are most of what a job on it costs.
TINY = Size(
    {**TRANSFORMER, "in_channels": 33},
    {**VAE, "block_out_channels": (2, 2, 4, 4), "norm_num_groups": 2},
    TEXT,
    torch.float32,
)
#: As released: 5.6 billion parameters, and T5-XXL.
FULL = Size(
    {
        **TRANSFORMER, "in_channels": 33, "num_attention_heads": 48, "num_layers": 42, "sample_height": 384,
        "sample_width": 680, "text_embed_dim": 4096, "max_text_seq_length": 226, "time_embed_dim": 512,
    },
    {**VAE, "block_out_channels": (128, 256, 256, 512), "layers_per_block": 3, "norm_num_groups": 32},
    {
        "vocab_size": 32128, "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64,
        "feed_forward_proj": "gated-gelu",
    },
    torch.bfloat16,
)  # fmt: skip


def checkpoint(seed: int, size: Size = TINY) -> dict[str, torch.Tensor]:
    """Random tensors of the transformer, with VOID's input channels."""
    torch.manual_seed(seed)
    if size is TINY:
        model = CogVideoXTransformer3DModel.from_config({**size.transformer, "in_channels": 48})
        return {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    with torch.device("meta"):
        model = CogVideoXTransformer3DModel.from_config({**size.transformer, "in_channels": 48})
    return {name: _drawn(name, tensor.shape).to(size.dtype) for name, tensor in model.state_dict().items()}


def _drawn(name: str, shape: torch.Size) -> torch.Tensor:
    """Weights that keep the size of what goes through them: norms near 1, matrices by the number of their inputs."""
    drawn = torch.randn(shape)
    if len(shape) > 1:
        return drawn / shape[1] ** 0.5
    return 1 + 0.1 * drawn if "norm" in name and name.endswith("weight") else 0.1 * drawn


def write(folder: Path, size: Size = TINY, passes: tuple[int, ...] = (1, 2)) -> Path:
    """Write the whole model."""
    base = folder / BASE
    torch.manual_seed(7)
    (base / "transformer").mkdir(parents=True)
    (base / "transformer" / "config.json").write_text(
        json.dumps(
            {"_class_name": "CogVideoXTransformer3DModel", "add_noise_in_inpaint_model": True, **size.transformer}
        )
    )
    AutoencoderKLCogVideoX(**size.vae).to(size.dtype).save_pretrained(base / "vae")
    T5EncoderModel(T5Config(**size.text)).to(size.dtype).save_pretrained(base / "text_encoder")
    (base / "tokenizer").mkdir()
    sentences = iter(["a lime falls on the table", "the ball stays where it lay", "an empty street in the rain"] * 20)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=sentences, model_prefix=str(base / "tokenizer" / "spiece"), vocab_size=48,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    config = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "additional_special_tokens": []}
    (base / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(config))
    (base / "scheduler").mkdir()
    (base / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULER))
    for number in passes:
        save_file(checkpoint(number, size), folder / PASSES[number])
    return folder
