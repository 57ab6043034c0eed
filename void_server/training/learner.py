"""The transformer that learns: what it begins with, which of its weights change, and the file that comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel
from peft import LoraConfig
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from ..api.errors import SettingError
from ..engines.void import attention
from ..engines.void.header import standard_key
from ..engines.void.lora import Lora, add
from ..engines.void.model import Model
from ..engines.void.weights import IN_CHANNELS, Weights
from .config import BASE, Training
from .store import writing

#: Attention and feed-forward: what a LoRA acts on.
TARGETS = ("attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0", "ff.net.0.proj", "ff.net.2")
_ADAPTER = "lora"
_LATENTS = 16
_INPUT = "patch_embed.proj.weight"


def check(config: Training, weights: Weights) -> None:
    """Raise :class:`SettingError` where a file is missing, or the settings contradict each other."""
    if config.model.start == BASE:
        if not config.model.full:
            raise SettingError(
                "A LoRA cannot learn what the base model's new input channels mean; set model.full, or model.start to "
                "a checkpoint of VOID."
            )
        weights.check(())
        base_files(weights)
    else:
        weights.check((1,))


def base_files(weights: Weights) -> list[Path]:
    """The base transformer's files. Raises :class:`SettingError` where there are none."""
    folder = weights.base / "transformer"
    found = sorted(folder.glob("*.safetensors"))
    if not found:
        raise SettingError(f"{folder} holds no safetensors of the base model; get them, or set model.start.")
    return found


def start_files(config: Training, weights: Weights) -> list[Path]:
    """The files of the weights to begin with."""
    return base_files(weights) if config.model.start == BASE else [weights.checkpoint(1)]


def start_tensors(config: Training, weights: Weights) -> dict[str, torch.Tensor]:
    """The weights to begin with, by diffusers' names, as they are stored."""
    tensors = {}
    for path in start_files(config, weights):
        with safe_open(path, framework="pt") as file:
            tensors.update({standard_key(name): file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    if config.model.start == BASE:
        tensors[_INPUT] = widened(tensors[_INPUT])
    return tensors


def widened(weight: torch.Tensor) -> torch.Tensor:
    """The base's input layer for VOID's channels: what it had for its one mask channel serves each mask latent.

    As published. Of 33 channels, 16 are noise, one the mask and 16 the plate; each has as many columns.
    """
    columns = weight.shape[1] // (2 * _LATENTS + 1)
    noise, mask, plate = weight.split([_LATENTS * columns, columns, _LATENTS * columns], dim=1)
    wide = torch.cat([noise, mask.repeat(1, _LATENTS), plate], dim=1)
    assert wide.shape[1] == IN_CHANNELS * columns
    return wide


def made(config: Training, model: Model) -> CogVideoXTransformer3DModel:
    """The transformer, on the model's device, ready to learn."""
    settings = config.model
    with torch.device("meta"):
        transformer = CogVideoXTransformer3DModel.from_config(model.weights.transformer_config)
    tensors = start_tensors(config, model.weights)
    # all weights learn in float32, and compute in what is asked for; those that do not learn need not be larger
    dtype = torch.float32 if settings.full else getattr(torch, settings.precision)
    transformer.load_state_dict({name: tensor.to(dtype) for name, tensor in tensors.items()}, assign=True)
    transformer.requires_grad_(settings.full)
    attention.use(transformer, settings.attention)
    if not settings.full:
        # its own generator would be the global one
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.run.seed)
            transformer.add_adapter(
                LoraConfig(r=settings.rank, lora_alpha=settings.rank, target_modules=list(TARGETS)), _ADAPTER
            )
        for parameter in learning(transformer).values():
            parameter.data = parameter.data.float()
    if settings.checkpointing:
        transformer.enable_gradient_checkpointing()
    return transformer.train().to(model.device)


def learning(transformer: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that learn, by name."""
    return {name: parameter for name, parameter in transformer.named_parameters() if parameter.requires_grad}


def write_result(
    config: Training, weights: Weights, learnt: dict[str, torch.Tensor], folder: Path, name: str
) -> list[Path]:
    """Write the checkpoint, or the LoRA, in the precision of the training; the files.

    ``learnt`` are the parameters by the names that :func:`learning` gives them.
    """
    dtype = getattr(torch, config.model.precision)
    learnt = {name: tensor.detach().cpu() for name, tensor in learnt.items()}
    if config.model.full:
        path = folder / f"{name}.safetensors"
        _write(path, {name: tensor.to(dtype) for name, tensor in learnt.items()})
        return [path]
    matrices = {parameter.replace(f".{_ADAPTER}.", "."): tensor for parameter, tensor in learnt.items()}
    lora = Lora(folder / f"{name}_lora.safetensors", config.number, 1.0)
    _write(lora.path, matrices, lora.notes)
    if not config.run.merged:
        return [lora.path]
    tensors = start_tensors(config, weights)
    add(matrices, tensors, lora.scale)
    merged = folder / f"{name}_merged.safetensors"
    _write(merged, {name: tensor.to(dtype) for name, tensor in tensors.items()})
    return [lora.path, merged]


def _write(path: Path, tensors: dict[str, torch.Tensor], about: dict[str, str] | None = None) -> None:
    with writing(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, about)


class Learning(Model):
    """The model with a transformer that is being trained: to look at what it makes by now."""

    def __init__(self, model: Model, transformer: CogVideoXTransformer3DModel) -> None:
        super().__init__(model.weights, model.device, model.profile, precision=model.precision)
        self._whole, self._learner = model, transformer

    @property
    def vae(self) -> AutoencoderKLCogVideoX:
        """See :class:`Model`."""
        return self._whole.vae

    def transformer(self, number: int) -> CogVideoXTransformer3DModel:
        """See :class:`Model`."""
        del number
        return self._learner

    @contextmanager
    def sampling(self, number: int, height: int, width: int, *, guided: bool) -> Iterator[CogVideoXTransformer3DModel]:
        """See :class:`Model`; it is where it learns, and stays there."""
        del number, height, width, guided
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            yield self._learner
