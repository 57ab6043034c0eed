"""The parts of the model, loaded on demand and kept between jobs; on a graphics card they take turns."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel
from diffusers.utils import logging as diffusers_logging
from safetensors import safe_open
from torch import nn
from transformers import T5EncoderModel, T5Tokenizer
from transformers.utils import logging as transformers_logging

from ...api.errors import JobFailed, SettingError
from . import attention, memory
from .eight_bit import EightBitLinear, quantise
from .float8 import Float8Linear
from .header import standard_key
from .lean import slimmed
from .memory import EXACT, Profile
from .message import Message
from .team import Group, Team
from .turns import Guest, Relay, Turns, collect, weights_of
from .weights import Weights

# progress is reported in one place only
diffusers_logging.disable_progress_bar()
diffusers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()


@dataclass
class Model:
    """A VOID model on one device, in one memory profile.

    What the profile leaves open changes no pixel: parts stay on the card where there is room, and otherwise take turns;
    a transformer or text encoder that is larger than the room there is has its blocks take turns.
    """

    weights: Weights
    device: torch.device
    profile: Profile = EXACT
    compiled: bool = False
    #: Whether the transformer multiplies in 8-bit floating point: where that is :func:`.float8.possible`.
    float8: bool = False
    #: Of encoder, text encoder and transformer. None: bfloat16 on a GPU, as published, float32 on the CPU.
    precision: torch.dtype | None = None
    #: Further cards that sample with this one, each in a process of its own.
    helpers: tuple[torch.device, ...] = ()
    #: This process among those that sample together, where there are several.
    group: Group | None = field(default=None, repr=False)
    _team: Team | None = field(default=None, repr=False)
    _parts: dict[str, nn.Module] = field(default_factory=dict, repr=False)
    _guests: dict[str, Guest] = field(default_factory=dict, repr=False)
    _relays: dict[str, Relay] = field(default_factory=dict, repr=False)

    @property
    def dtype(self) -> torch.dtype:
        """bfloat16 on a GPU, as published, float32 on the CPU, where it is exact, or what was asked for."""
        return self.precision or (torch.float32 if self.device.type == "cpu" else torch.bfloat16)

    @property
    def described(self) -> str:
        """The device, the precision and the memory profile, in words."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else str(self.device)
        cards = f"{1 + len(self.helpers)} x {name}" if self.helpers else name
        products = " with float8 products" if self.float8 else ""
        return f"{cards}, {str(self.dtype).rpartition('.')[2]}{products}, {self.profile.name}"

    # -- the parts at work

    @contextlib.contextmanager
    def text_encoder(self) -> Iterator[T5EncoderModel]:
        """The text encoder, at work; kept where all else has room beside it."""
        encoder = self._part("text encoder", self._loaded_text_encoder)
        with self._working("text encoder", encoder, encoder.encoder.block, memory.reading()):
            yield encoder
        if free_memory(self.device) < memory.BESIDE_TEXT_ENCODER:
            self._forget("text encoder")

    @contextlib.contextmanager
    def encoding(self, height: int, width: int) -> Iterator[AutoencoderKLCogVideoX]:
        """The autoencoder, its encoder ready for frames, or tiles, of that size in pixels."""
        with self._working("encoder", self.vae.encoder, None, memory.encoding(height, width)):
            yield self.vae

    @contextlib.contextmanager
    def decoding(self, height: int, width: int) -> Iterator[AutoencoderKLCogVideoX]:
        """The autoencoder, its decoder ready for frames, or tiles, of that size in pixels."""
        with self._working("decoder", self.vae.decoder, None, memory.decoding(height, width)):
            yield self.vae

    @contextlib.contextmanager
    def sampling(self, number: int, height: int, width: int, *, guided: bool) -> Iterator[CogVideoXTransformer3DModel]:
        """The transformer of a pass, ready for windows of frames of that size in pixels.

        Raises :class:`SettingError` where its file is wrong.
        """
        transformer = self.transformer(number)
        beside = memory.sampling(height, width, guided=guided)
        with self._working(f"transformer {number}", transformer, transformer.transformer_blocks, beside):
            yield transformer

    @contextlib.contextmanager
    def together(self, number: int, order: Message) -> Iterator[None]:
        """In the block, have the further cards do their part in ``order``, which needs the transformer of a pass.

        Whatever ends the block early ends their processes. Raises :class:`JobFailed` where one of them has ended.
        """
        if not self.helpers:
            yield
            return
        try:
            if self._team is None:
                self._team = Team(self.device, self.helpers)
                self.group = self._team.gather(self._described)
            self._team.order(order)
            self.transformer(number)
            self._team.wait()
            yield
        except BaseException as error:
            lost = self._team.lost_by(error) if self._team else None
            self.send_helpers_away()
            if lost:
                raise lost from error
            raise

    @property
    def _described(self) -> dict[str, Any]:
        """What a helper needs for the same model on its card, see :meth:`of`."""
        return {
            "weights": {**asdict(self.weights), "folder": str(self.weights.folder)},
            "profile": asdict(self.profile),
            "compiled": self.compiled,
            "float8": self.float8,
            "precision": str(self.dtype).removeprefix("torch."),
        }

    @classmethod
    def of(cls, described: Mapping[str, Any], device: torch.device, group: Group) -> Model:
        """A helper's model, as its leader describes it."""
        weights = Weights(**{**described["weights"], "folder": Path(described["weights"]["folder"])})
        precision: torch.dtype = getattr(torch, described["precision"])
        profile, compiled, float8 = Profile(**described["profile"]), described["compiled"], described["float8"]
        return cls(weights, device, profile, compiled, float8, precision, group=group)

    def send_helpers_away(self) -> None:
        """End the processes on the further cards; the next sampling starts new ones."""
        team, self._team, self.group = self._team, None, None
        if team is not None:
            team.end()

    @cached_property
    def _turns(self) -> Turns:
        return Turns(self.device, lambda: free_memory(self.device))

    @contextlib.contextmanager
    def _working(self, name: str, part: nn.Module, blocks: nn.ModuleList | None, beside: int) -> Iterator[None]:
        if name not in self._guests:
            self._guests[name] = Guest(weights_of(part))
        whole = name not in self._relays
        if whole and blocks is not None and self._turns.room_with(self._guests[name]) < beside:
            self._turns.dismiss(self._guests[name])
            self._relays[name], self._guests[name] = self._relayed(part, blocks)
        with self._turns.working(self._guests[name], beside + (0 if whole else self._relays[name].size)):
            yield

    def _relayed(self, part: nn.Module, blocks: nn.ModuleList) -> tuple[Relay, Guest]:
        """The blocks of a part that is larger than the card's memory, and what lies around them."""
        if self.compiled:
            raise SettingError(
                "Compiled blocks must all be on the GPU at once, and its memory is too small for that; leave out "
                "compiled."
            )
        inside = set(map(id, weights_of(blocks)))
        return Relay(blocks, self.device), Guest(t for t in weights_of(part) if id(t) not in inside)

    def _part(self, name: str, load: Callable[[], Any]) -> Any:
        if name not in self._parts:
            self._parts[name] = load()
        return self._parts[name]

    def _forget(self, name: str) -> None:
        if name in self._relays:
            self._relays.pop(name).end()
        if name in self._guests:
            self._turns.dismiss(self._guests.pop(name))
        self._parts.pop(name, None)
        collect(self.device)

    def collect(self) -> None:
        """Give all of the card's memory back, and that of further cards."""
        self.send_helpers_away()
        for relay in self._relays.values():
            relay.send_all_away()
        self._turns.send_all_away()
        collect(self.device)

    # -- the parts as they are loaded

    def transformer(self, number: int) -> CogVideoXTransformer3DModel:
        """The transformer of a pass, wherever it is. Raises :class:`SettingError` where its file is wrong."""
        return self._part(f"transformer {number}", lambda: self._loaded_transformer(number))

    def attention_of(self, number: int) -> str:
        """The attention backend that a pass uses."""
        return attention.used(self.transformer(number))

    def use_attention(self, number: int, backend: str) -> None:
        """Let a pass use one of diffusers' attention backends. Raises :class:`SettingError` where it is not here."""
        attention.use(self.transformer(number), backend)

    def _loaded_transformer(self, number: int) -> CogVideoXTransformer3DModel:
        path = self.weights.checkpoint(number)
        # allocates nothing until the file's memory-mapped tensors are assigned
        with torch.device("meta"):
            transformer = CogVideoXTransformer3DModel.from_config(self.weights.transformer_config)
        with safe_open(path, framework="pt") as file:
            tensors = {standard_key(name): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
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
        if lora := self.weights.lora_of(number):
            lora.add_to(tensors, self.weights.lora_strength)
        transformer.load_state_dict({name: tensor.to(self.dtype) for name, tensor in tensors.items()}, assign=True)
        transformer.eval().requires_grad_(False)
        if self.float8:
            quantise(transformer, Float8Linear)
        elif self.profile.eight_bit:
            quantise(transformer, EightBitLinear)
        attention.use(transformer, "native")
        if self.compiled:
            _compile(transformer.transformer_blocks)
        return transformer

    @property
    def vae(self) -> AutoencoderKLCogVideoX:
        """The autoencoder, wherever it is. Its decoder works in float32, as bfloat16 has steps like 8-bit video."""
        return self._part("autoencoder", self._loaded_vae)

    def _loaded_vae(self) -> AutoencoderKLCogVideoX:
        vae = AutoencoderKLCogVideoX.from_pretrained(
            self.weights.base / "vae", torch_dtype=torch.float32, use_safetensors=True, low_cpu_mem_usage=False
        )
        vae.encoder.to(self.dtype)
        return slimmed(vae.eval().requires_grad_(False))

    def _loaded_text_encoder(self) -> T5EncoderModel:
        # on the CPU as it is stored: twice as large, it would not fit many machines
        dtype = "auto" if self.device.type == "cpu" else self.dtype
        encoder = T5EncoderModel.from_pretrained(self.weights.base / "text_encoder", dtype=dtype, use_safetensors=True)
        return encoder.eval().requires_grad_(False)

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


def _compile(blocks: nn.ModuleList) -> None:
    """Compile each block when it is first called: they are alike, so that one compilation serves all.

    Without what caches hook around them, which dynamo would compile anew for every window.
    """
    for block in blocks:
        block.forward = torch.compile(block.forward)
    # what goes into the first is cut out of one tensor, and would need a compilation of its own
    blocks[0].register_forward_pre_hook(_cut_out, with_kwargs=True)


def _cut_out(_: nn.Module, args: tuple[Any, ...], given: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Text and video as tensors of their own; contiguous() leaves them where they are for a batch of one."""
    own = {
        name: given[name].clone(memory_format=torch.contiguous_format)
        for name in ("hidden_states", "encoder_hidden_states")
    }
    return args, {**given, **own}


def free_memory(device: torch.device) -> int:
    """The bytes on a device that this process could still have, but for a reserve; unlimited for the CPU."""
    if device.type != "cuda":
        return 2**62
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + int(unused) - memory.RESERVE


def whole_memory(device: torch.device) -> int:
    """The bytes that a card could give to this process if nobody else were on it."""
    return int(torch.cuda.get_device_properties(device).total_memory)


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


def cards_beside(name: str, device: torch.device) -> tuple[torch.device, ...]:
    """The further cards of a job whose setting ``name`` made ``device``: all that this process was given by number.

    That is what ``CUDA_VISIBLE_DEVICES`` names, which `void serve` and schedulers set; where nobody says how many are
    this process's own, it takes one.
    """
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if device.type != "cuda" or ":" in name or "," not in given:
        return ()
    return tuple(torch.device("cuda", index) for index in range(1, torch.cuda.device_count()))


#: The model that was used last, by what it was made from.
_resident: dict[tuple[Any, ...], Model] = {}


def resident(
    weights: Weights,
    device: torch.device,
    profile: Profile,
    compiled: bool,
    float8: bool = False,
    helpers: tuple[torch.device, ...] = (),
) -> Model:
    """The process's model, kept between jobs while they need the same one, and its files are the same."""
    wanted = weights, weights.state(), device, profile, compiled, float8, helpers
    if wanted not in _resident:
        for other in _resident.values():
            other.collect()
        # what was compiled for another model counts for dynamo's limit, beyond which nothing is compiled any more
        torch.compiler.reset()
        _resident.clear()
        _resident[wanted] = Model(weights, device, profile, compiled, float8, helpers=helpers)
    return _resident[wanted]


@contextlib.contextmanager
def explaining_memory(model: Model) -> Iterator[None]:
    """Turn running out of memory into a readable error, and leave the process ready for the next job."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        model.collect()
        advice = "reduce the working height" if model.profile.eight_bit else "set memory to low"
        if model.profile.exact:
            advice = "set memory to tiled, or reduce the working height"
        raise JobFailed(f"The GPU ran out of memory; {advice}, then resume.", str(error)) from error


#: Called after each of so many steps.
OnStep = Callable[[int, int], None]
