"""A VOID model of tiny size with random weights, in the layout of the released files."""

from __future__ import annotations

import json
from pathlib import Path

import sentencepiece
import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel
from safetensors.torch import save_file
from transformers import T5Config, T5EncoderModel

from void_server.engines.void.weights import BASE, PASSES

TRANSFORMER = {
    "num_attention_heads": 2, "attention_head_dim": 64, "in_channels": 33, "out_channels": 16, "num_layers": 2,
    "patch_size": 2, "patch_size_t": 2, "patch_bias": False, "sample_height": 96, "sample_width": 170,
    "sample_frames": 85, "text_embed_dim": 32, "max_text_seq_length": 16, "time_embed_dim": 64,
    "use_rotary_positional_embeddings": True, "use_learned_positional_embeddings": False,
}  # fmt: skip
VAE = {
    "block_out_channels": (16, 16, 32, 32), "latent_channels": 16, "layers_per_block": 1, "norm_num_groups": 8,
    "scaling_factor": 0.7, "sample_height": 64, "sample_width": 96,
    "down_block_types": ("CogVideoXDownBlock3D",) * 4, "up_block_types": ("CogVideoXUpBlock3D",) * 4,
}  # fmt: skip
SCHEDULER = {
    "_class_name": "CogVideoXDDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True,
    "snr_shift_scale": 1.0, "timestep_spacing": "trailing", "set_alpha_to_one": True, "steps_offset": 0,
    "clip_sample": False,
}  # fmt: skip


def checkpoint(seed: int) -> dict[str, torch.Tensor]:
    """Random tensors of the tiny transformer, with VOID's input channels."""
    torch.manual_seed(seed)
    model = CogVideoXTransformer3DModel.from_config({**TRANSFORMER, "in_channels": 48})
    return {name: tensor.contiguous() for name, tensor in model.state_dict().items()}


def write(folder: Path) -> Path:
    """Write the whole model."""
    base = folder / BASE
    torch.manual_seed(7)
    (base / "transformer").mkdir(parents=True)
    (base / "transformer" / "config.json").write_text(
        json.dumps({"_class_name": "CogVideoXTransformer3DModel", "add_noise_in_inpaint_model": True, **TRANSFORMER})
    )
    AutoencoderKLCogVideoX(**VAE).save_pretrained(base / "vae")
    text = T5Config(vocab_size=64, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, feed_forward_proj="relu")
    T5EncoderModel(text).save_pretrained(base / "text_encoder")
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
    for number, name in PASSES.items():
        save_file(checkpoint(number), folder / name)
    return folder
