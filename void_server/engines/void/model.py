"""The parts of the model, loaded on demand and kept between jobs."""

from __future__ import annotations

import contextlib
import gc
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel
from diffusers.utils import logging as diffusers_logging
from safetensors import safe_open
from transformers import T5EncoderModel, T5Tokenizer
from transformers.utils import logging as transformers_logging

from ...api.errors import JobFailed, SettingError
from .weights import Weights, standard_key

FULL, BALANCED, LOW = "full", "balanced", "low"
PROFILES = (FULL, BALANCED, LOW)
_GIGABYTE = 2**30

# progress is reported in one place only
diffusers_logging.disable_progress_bar()
diffusers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()
#: Free memory from which ``auto`` chooses a profile.
_WANTED = {FULL: 40 * _GIGABYTE, BALANCED: 24 * _GIGABYTE}


@dataclass
class Model:
    """A VOID model on one device, in one memory profile.

    ``full`` keeps everything on the device. ``balanced`` has the text encoder there only while it reads the prompt,
    and large frames are decoded in tiles. ``low`` also keeps the transformer's layers in 8-bit floats, made whole as
    each is used.
    """

    weights: Weights
    device: torch.device
    profile: str = FULL
    compiled: bool = False
    _transformer: tuple[int, CogVideoXTransformer3DModel] | None = field(default=None, repr=False)
    _vae: AutoencoderKLCogVideoX | None = field(default=None, repr=False)
    _text_encoder: T5EncoderModel | None = field(default=None, repr=False)

    @property
    def dtype(self) -> torch.dtype:
        """bfloat16 on a GPU, as published, and float32 on the CPU, where it is exact."""
        return torch.float32 if self.device.type == "cpu" else torch.bfloat16

    @property
    def described(self) -> str:
        """The device, the precision and the memory profile, in words."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else str(self.device)
        return f"{name}, {str(self.dtype).rpartition('.')[2]}, {self.profile}"

    def transformer(self, number: int) -> CogVideoXTransformer3DModel:
        """The transformer of a pass; one is kept at a time. Raises :class:`SettingError` where its file is wrong."""
        if self._transformer is None or self._transformer[0] != number:
            self._transformer = None
            self.collect()
            self._transformer = number, self._loaded_transformer(number)
        return self._transformer[1]

    def use_attention(self, number: int, backend: str) -> None:
        """Let a pass use one of diffusers' attention backends. Raises :class:`SettingError` where it is not here."""
        try:
            self.transformer(number).set_attention_backend(backend)
        except (ValueError, ImportError, RuntimeError) as error:
            raise SettingError(
                f"The attention backend {backend!r} cannot be used here ({error}); choose native."
            ) from error

    def _loaded_transformer(self, number: int) -> CogVideoXTransformer3DModel:
        path = self.weights.checkpoint(number)
        # allocates nothing until the file's memory-mapped tensors are assigned
        with torch.device("meta"):
            transformer = CogVideoXTransformer3DModel.from_config(self.weights.transformer_config)
        with safe_open(path, framework="pt") as file:
            tensors = {standard_key(name): file.get_tensor(name).to(self.dtype) for name in file.keys()}  # noqa: SIM118
        expected = {name: tensor.shape for name, tensor in transformer.state_dict().items()}
        for name, shape in expected.items():
            if name not in tensors:
                raise SettingError(f"{path} lacks the tensor {name}; it is not a checkpoint of this architecture.")
            if tensors[name].shape != shape:
                raise SettingError(f"{path}: {name} is {tuple(tensors[name].shape)}, but must be {tuple(shape)}.")
        if unknown := sorted(set(tensors) - set(expected)):
            raise SettingError(
                f"{path} contains {unknown[0]}, which this architecture does not have; choose another checkpoint."
            )
        transformer.load_state_dict(tensors, assign=True)
        transformer.eval().requires_grad_(False)
        if self.profile == LOW:
            transformer.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=self.dtype)
        transformer.to(self.device)
        if self.compiled:
            # block by block: they are alike, so one compilation serves all
            for block in transformer.transformer_blocks:
                block.compile()
        return transformer

    @property
    def vae(self) -> AutoencoderKLCogVideoX:
        """The autoencoder."""
        if self._vae is None:
            loaded = AutoencoderKLCogVideoX.from_pretrained(
                self.weights.base / "vae", torch_dtype=self.dtype, use_safetensors=True, low_cpu_mem_usage=False
            )
            self._vae = loaded.eval().requires_grad_(False).to(self.device)
        return self._vae

    @contextlib.contextmanager
    def text_encoder(self) -> Iterator[T5EncoderModel]:
        """The text encoder, which leaves again in all profiles but ``full``."""
        if self._text_encoder is None:
            self._text_encoder = T5EncoderModel.from_pretrained(
                self.weights.base / "text_encoder", dtype=self.dtype, use_safetensors=True
            ).eval()
        try:
            yield self._text_encoder.to(self.device)
        finally:
            if self.profile != FULL:
                self._text_encoder = None
                self.collect()

    @property
    def tokens(self) -> int:
        """How many tokens a prompt may have."""
        return int(self.weights.transformer_config["max_text_seq_length"])

    @cached_property
    def tokenizer(self) -> T5Tokenizer:
        """The tokenizer of the text encoder."""
        return T5Tokenizer.from_pretrained(self.weights.base / "tokenizer")

    @property
    def scheduler_config(self) -> dict[str, Any]:
        """The scheduler's settings: v-prediction, zero terminal SNR, trailing spacing."""
        file = self.weights.base / "scheduler" / "scheduler_config.json"
        config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return config

    def collect(self) -> None:
        """Release unused memory."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def free_memory(device: torch.device) -> int:
    """The bytes on a device that this process has or could have; unlimited for the CPU.

    Memory it already holds counts as free; otherwise a resident model would push the next job into a smaller profile.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0]) + int(torch.cuda.memory_reserved(device))
    return 2**62


def choose_profile(wanted: str, device: torch.device) -> str:
    """The named profile or, for ``auto``, the best that fits the free memory. Raises SettingError."""
    if wanted != "auto":
        if wanted not in PROFILES:
            raise SettingError(f"Unknown memory profile {wanted!r}; choose auto, {', '.join(PROFILES)}.")
        return wanted
    free = free_memory(device)
    return next((profile for profile, bytes_ in _WANTED.items() if free >= bytes_), LOW)


def choose_device(name: str) -> torch.device:
    """The device to use: ``auto`` is a GPU where there is one. Raises :class:`SettingError`."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise SettingError("No usable CUDA GPU found; set device to auto or cpu, or use another server.")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise SettingError(f"Unknown device {name!r}; choose auto, cpu or cuda.") from error


@lru_cache(maxsize=1)
def resident(weights: Weights, device: torch.device, profile: str, compiled: bool) -> Model:
    """The process's model, kept between jobs while they need the same one."""
    return Model(weights, device, profile, compiled)


@contextlib.contextmanager
def explaining_memory(model: Model) -> Iterator[None]:
    """Turn running out of memory into a readable error, and leave the process ready for the next job."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        model.collect()
        smaller = {FULL: "balanced", BALANCED: "low"}.get(model.profile)
        advice = f"set memory to {smaller}" if smaller else "reduce the working height or shorten the shot"
        raise JobFailed(f"The GPU ran out of memory; {advice}, then resume.", str(error)) from error


#: Called after each of so many steps.
OnStep = Callable[[int, int], None]
