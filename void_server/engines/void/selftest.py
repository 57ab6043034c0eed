"""Whether this machine computes what it should, in a minute and without the released weights.

A small model of ours goes through both passes, and is compared with what was recorded on a CPU in float32. Its weights
are numbers of a generator that never changes, so that only results had to be recorded. Layers of the released model's
width follow, each compared with this machine's own CPU: faults of libraries show in such layers only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional
from transformers import T5Config, T5EncoderModel

from ...quadmask.classes import KEEP
from . import attention, float8
from .lean import slimmed
from .model import Model
from .parity import Difference, exactly
from .sampling import Footage, Sampler, conditioning
from .turns import collect
from .vae import SPATIAL, decode, encoder_parts, latent_length
from .weights import Weights
from .windows import plan

#: What was recorded, beside this module.
RECORDED = Path(__file__).with_name("selftest.safetensors")
TRANSFORMER: dict[str, Any] = {
    "attention_head_dim": 64, "in_channels": 48, "out_channels": 16, "patch_size": 2, "patch_size_t": 2,
    "patch_bias": False, "sample_frames": 85, "use_rotary_positional_embeddings": True,
    "use_learned_positional_embeddings": False, "num_attention_heads": 2, "num_layers": 2, "sample_height": 96,
    "sample_width": 170, "text_embed_dim": 32, "max_text_seq_length": 16, "time_embed_dim": 64,
}  # fmt: skip
VAE: dict[str, Any] = {
    "latent_channels": 16, "scaling_factor": 0.7, "block_out_channels": (16, 16, 32, 32), "layers_per_block": 1,
    "norm_num_groups": 8, "down_block_types": ("CogVideoXDownBlock3D",) * 4,
    "up_block_types": ("CogVideoXUpBlock3D",) * 4,
}  # fmt: skip
TEXT: dict[str, Any] = {"vocab_size": 64, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
_FRAMES, _HEIGHT, _WIDTH = 21, 32, 48
SCHEDULER: dict[str, Any] = {
    "_class_name": "CogVideoXDDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True,
    "snr_shift_scale": 1.0, "timestep_spacing": "trailing", "set_alpha_to_one": True, "steps_offset": 0,
    "clip_sample": False,
}  # fmt: skip
_STEPS = 3


def examine(device: torch.device) -> Iterator[tuple[Difference, torch.dtype]]:
    """Each stage of the small model and each layer on ``device``, with the precision by which it is to be judged."""
    recorded = load_file(RECORDED)
    for precision in (torch.float32, torch.bfloat16):
        with exactly(precision):
            for (case, stage), computed in _stages(device, precision):
                found = Difference.between(case, stage, computed, recorded[f"{case} {stage}"].float())
                yield found, precision
            for found in _layers(device, precision):
                yield found, precision
    collect(device)


def record() -> None:
    """Record the small model anew, on this machine's CPU; for developers, where the model itself has changed."""
    computed = {" ".join(name): tensor.float().cpu() for name, tensor in _stages(torch.device("cpu"), torch.float32)}
    save_file({name: tensor.contiguous() for name, tensor in computed.items()}, RECORDED)


class _SmallWeights(Weights):
    @property
    def transformer_config(self) -> dict[str, Any]:
        return TRANSFORMER


class _SmallModel(Model):
    @property
    def scheduler_config(self) -> dict[str, Any]:
        return SCHEDULER

    def _loaded_transformer(self, number: int) -> CogVideoXTransformer3DModel:
        transformer = _seeded(CogVideoXTransformer3DModel(**TRANSFORMER), number).to(self.dtype)
        attention.use(transformer, "native")
        return transformer

    def _loaded_vae(self) -> AutoencoderKLCogVideoX:
        vae = _seeded(AutoencoderKLCogVideoX(**VAE), 3)
        vae.encoder.to(self.dtype)
        return slimmed(vae)

    def _loaded_text_encoder(self) -> T5EncoderModel:
        return _seeded(T5EncoderModel(T5Config(**TEXT)), 4).to(self.dtype)


def _seeded(module: nn.Module, seed: int) -> Any:
    """``module`` with weights that keep the size of what goes through it."""
    # legacy on purpose: its numbers are promised to stay the same
    numbers = np.random.RandomState(seed)
    for name, tensor in sorted(module.named_parameters()):
        drawn = torch.from_numpy(numbers.standard_normal(tuple(tensor.shape))).float()
        if tensor.dim() > 1:
            tensor.data = drawn / tensor[0].numel() ** 0.5
        else:
            tensor.data = 0.1 * drawn + (1.0 if name.endswith("weight") else 0.0)
    return module.eval().requires_grad_(False)


def _stages(device: torch.device, precision: torch.dtype) -> Iterator[tuple[tuple[str, str], torch.Tensor]]:
    """What each stage makes, by case and stage."""
    model = _SmallModel(_SmallWeights(Path()), device, precision=precision)
    numbers = np.random.RandomState(0)
    video = torch.from_numpy(numbers.random_sample((1, 3, _FRAMES, _HEIGHT, _WIDTH))).float()
    codes = np.full((_FRAMES, _HEIGHT, _WIDTH), KEEP, np.uint8)
    codes[:, 8:24, 12:30], codes[2:, 16:28, 24:40] = 0, 127
    parts = [slice(part.start, part.stop) for part in encoder_parts(_FRAMES)]
    footage = Footage(
        (_HEIGHT, _WIDTH), lambda: (video[:, :, part] for part in parts), lambda: (codes[part] for part in parts)
    )
    ids = torch.arange(1, 33).view(2, 16)
    with torch.inference_mode(), model.text_encoder() as encoder:
        prompt, negative = encoder(ids.to(device))[0].float().cpu().split(1)
    yield ("text", "prompt"), prompt
    shape = (1, latent_length(_FRAMES), 16, _HEIGHT // SPATIAL, _WIDTH // SPATIAL)
    noise = torch.from_numpy(numbers.standard_normal(shape)).float()
    for number, guidance in ((1, 1.0), (2, 6.0)):
        case = f"pass {number}"
        conditions = conditioning(model, footage, number, seed=0)
        yield (case, "mask latents"), conditions.mask
        yield (case, "video latents"), conditions.video
        sampler = Sampler(number, plan(shape[1], 22), _STEPS, guidance, prompt, negative if guidance > 1 else None)
        latents = sampler.run(model, noise, conditions, lambda *_: None)
        yield (case, "latents"), latents
        with torch.inference_mode(), model.decoding(_HEIGHT, _WIDTH) as vae:
            shown = torch.cat(list(decode(vae, latents.transpose(1, 2))), dim=2)
        yield (case, "frames"), shown[:, :, ::5]


def _layers(device: torch.device, precision: torch.dtype) -> Iterator[Difference]:
    """Layers of the released model's width, here in ``precision`` and on this machine's CPU in float32."""
    numbers = torch.Generator().manual_seed(5)

    def drawn(*shape: int, scale: float = 1.0) -> torch.Tensor:
        # rounded first, so that both sides begin with the same numbers
        return (scale * torch.randn(shape, generator=numbers)).to(torch.bfloat16).float()

    def both(stage: str, layer: Callable[..., torch.Tensor], *inputs: torch.Tensor) -> Difference:
        computed = layer(*(tensor.to(device, precision) for tensor in inputs))
        return Difference.between("layers of full width", stage, computed, layer(*inputs))

    def convolution(frames: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return functional.conv3d(frames, weight, padding=(0, 1, 1))

    with torch.inference_mode():
        for inputs, outputs in ((128, 128), (256, 256), (512, 512)):
            weight = drawn(outputs, inputs, 3, 3, 3, scale=(27 * inputs) ** -0.5)
            yield both(f"convolution {inputs}", convolution, drawn(1, inputs, 4, 32, 32), weight)
        yield both("linear", functional.linear, drawn(512, 3072), drawn(12288, 3072, scale=3072**-0.5))
        heads = [drawn(1, 48, 738, 64) for _ in range(3)]
        yield both("attention", functional.scaled_dot_product_attention, *heads)
        if precision == torch.bfloat16 and float8.possible([device]):
            yield both("linear in float8", _in_float8, drawn(512, 3072), drawn(12288, 3072, scale=3072**-0.5))


def _in_float8(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    layer = nn.Linear(*weight.T.shape, bias=False, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    made: torch.Tensor = float8.Float8Linear(layer)(x)
    return made
