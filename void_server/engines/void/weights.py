"""The weights' files: find them, check them, and read their headers.

Only safetensors are read, memory-mapped. A file's header tells its contents before anything is loaded.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from ...api.errors import AccessDenied, SettingError
from ...api.files import digest_of, open_regular, stamp, write_atomically
from ...api.home import home
from ...plugins import Download
from .header import header, standard_key
from .lora import Lora

BASE = "CogVideoX-Fun-V1.5-5b-InP"
#: The checkpoints by their pass.
PASSES = {1: "void_pass1.safetensors", 2: "void_pass2.safetensors"}
#: Where they come from, and under which licence: the base by 0, then the checkpoints by their pass.
SOURCES = {
    0: Download(BASE, f"{BASE}, on Hugging Face", "CogVideoX licence: register for commercial use"),
    1: Download(PASSES[1], "netflix/void-model, on Hugging Face", "Apache-2.0"),
    2: Download(PASSES[2], "netflix/void-model, on Hugging Face, for the second pass only", "Apache-2.0"),
}
#: Noise latents, mask latents and video latents side by side.
IN_CHANNELS = 48
ENVIRONMENT = "VOID_WEIGHTS"
#: So many blocks of so many bytes tell text encoders apart: each is as good as wholly different from any other.
_BLOCKS, _BLOCK = 16, 1 << 16

# What each part of the base is loaded from.
_PARTS = {
    "transformer": ("config.json",),
    "vae": ("config.json", "diffusion_pytorch_model.safetensors"),
    "text_encoder": ("config.json",),
    "tokenizer": ("spiece.model", "tokenizer_config.json"),
    "scheduler": ("scheduler_config.json",),
}


@dataclass(frozen=True)
class Weights:
    """A folder of weights."""

    folder: Path
    #: Another checkpoint of this architecture for the first pass.
    first: str = ""
    #: A LoRA in the folder, and how strongly it acts.
    lora: str = ""
    lora_strength: float = 1.0

    @property
    def base(self) -> Path:
        """The base model's folder."""
        return self.folder / BASE

    def checkpoint(self, number: int) -> Path:
        """The transformer's weights for a pass."""
        return self.folder / ((number == 1 and self.first) or PASSES[number])

    def missing(self, passes: tuple[int, ...] = (1,)) -> list[Path]:
        """The required files that do not exist."""
        return [path for path in self._required(passes) if not path.is_file()]

    def state(self, passes: tuple[int, ...] = (1, 2)) -> tuple[tuple[str | int, ...], ...]:
        """What changes when somebody replaces a file: path and :func:`~void_server.api.files.stamp` of each."""
        return tuple((str(path), *stamp(path)) for path in self._required(passes) if path.is_file())

    def _required(self, passes: tuple[int, ...]) -> list[Path]:
        files = [self.base / part / name for part, names in _PARTS.items() for name in names]
        loras = [self.folder / self.lora] if self.lora else []
        return [*files, *self._shards, *map(self.checkpoint, passes), *loras]

    @property
    def vae(self) -> Path:
        """The autoencoder's weights."""
        return self.base / "vae" / "diffusion_pytorch_model.safetensors"

    @property
    def _shards(self) -> list[Path]:
        """The text encoder's weights: several files that an index names, or a single one."""
        folder = self.base / "text_encoder"
        index = folder / "model.safetensors.index.json"
        if not index.is_file():
            return [folder / "model.safetensors"]
        try:
            names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
            return [folder / name for name in sorted(names)]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SettingError(f"{index} cannot be read as the list of the text encoder's files: {error}.") from error

    @cached_property
    def transformer_config(self) -> dict[str, Any]:
        """The transformer's configuration, with VOID's input channels."""
        config: dict[str, Any] = json.loads((self.base / "transformer" / "config.json").read_text(encoding="utf-8"))
        # a training option of the base, without effect on the model
        config.pop("add_noise_in_inpaint_model", None)
        return {**config, "in_channels": IN_CHANNELS}

    def check(self, passes: tuple[int, ...] = (1,)) -> None:
        """Raise :class:`SettingError` naming the first file that is missing or wrong."""
        absent = self.missing(passes)
        if absent:
            raise SettingError(
                f"The VOID model lacks {absent[0]}"
                + (f" and {len(absent) - 1} more files" if absent[1:] else "")
                + "; run `void doctor` to see what belongs where and where to get it."
            )
        for path in (self.vae, *self._shards):
            header(path)
        for number in passes:
            self._check_input(self.checkpoint(number))
        if self.lora:
            self._check_lora(passes)

    def _check_lora(self, passes: tuple[int, ...]) -> None:
        found = Lora.read(self.folder / self.lora)
        if found.number not in passes:
            raise SettingError(
                f"{found.path} was trained for the {'second' if found.number == 2 else 'first'} pass, which this job "
                "does not run; set second_pass, or leave lora out."
            )
        found.check_fits(self.checkpoint(found.number))

    def lora_of(self, number: int) -> Lora | None:
        """The LoRA that acts on a pass, if one does. Raises :class:`SettingError` where its file is wrong."""
        found = Lora.read(self.folder / self.lora) if self.lora else None
        return found if found and found.number == number else None

    def _check_input(self, path: Path) -> None:
        shapes = {standard_key(name): shape for name, shape in header(path).items()}
        config = self.transformer_config
        width = config["num_attention_heads"] * config["attention_head_dim"]
        patch = config["patch_size"] ** 2 * (config["patch_size_t"] or 1)
        expected = (width, IN_CHANNELS * patch)
        found = shapes.get("patch_embed.proj.weight")
        if found is None:
            raise SettingError(f"{path} has no patch_embed.proj.weight; it is not a checkpoint of this architecture.")
        if found != expected:
            raise SettingError(
                f"{path}: patch_embed.proj.weight is {found}, but must be {expected}; "
                f"{'it is the base model, not VOID' if found[-1] == 33 * patch else 'it is of another size'}."
            )

    def hashes(self, passes: tuple[int, ...]) -> dict[str, str]:
        """The SHA-256 of the checkpoints and the LoRA, for the manifest; remembered, as it takes a while."""
        files = [self.checkpoint(number) for number in passes]
        files += [lora.path for number in passes if (lora := self.lora_of(number))]
        return {path.name: digest(path) for path in files}

    @property
    def reader(self) -> str:
        """What reads prompts, by a SHA-256 of parts of its files: to read all of them takes as long as to load them."""
        return hashlib.sha256(" ".join(map(_sample, self._reading)).encode()).hexdigest()

    @property
    def _reading(self) -> list[Path]:
        own = [self.base / part / name for part in ("text_encoder", "tokenizer") for name in _PARTS[part]]
        return [*own, *self._shards]

    def contents(self, passes: tuple[int, ...]) -> dict[str, str]:
        """What is in the files of :meth:`state`, whatever their stamps: takes a while once one of these has changed."""
        sampled = self._reading
        files = [path for path in self._required(passes) if path not in sampled]
        return {"reader": self.reader, **{str(path): digest(path) for path in files}}

    @property
    def encoders(self) -> dict[str, str]:
        """The SHA-256 of what prompts and pictures are encoded with, remembered likewise, by part."""
        return {"vae": digest(self.vae), "text encoder": " ".join(digest(shard) for shard in self._shards)}


class Loaded:
    """Weights as they were when a model began to load them."""

    def __init__(self, weights: Weights, passes: tuple[int, ...]) -> None:
        self._weights, self._passes = weights, passes
        self._state = weights.state(passes)
        self._contents: dict[str, str] | None = None

    def same(self) -> bool:
        """Whether the files hold the same still, as after a hard link, chmod or chown. The first call reads them."""
        state = self._weights.state(self._passes)
        if state == self._state and self._contents is not None:
            return True
        if self._weights.missing(self._passes):
            return False
        contents = self._weights.contents(self._passes)
        same = state == self._state if self._contents is None else contents == self._contents
        # replaced while they were read, nobody knows what was
        if not same or self._weights.state(self._passes) != state:
            return False
        self._state, self._contents = state, contents
        return True


def _sample(path: Path) -> str:
    """The SHA-256 of a file's size and of blocks all over it."""
    found = hashlib.sha256()
    with open_regular(path, trusted=True) as file:
        size = file.seek(0, os.SEEK_END)
        found.update(str(size).encode())
        for number in range(_BLOCKS):
            file.seek(number * max(size - _BLOCK, 0) // (_BLOCKS - 1))
            found.update(file.read(_BLOCK))
    return found.hexdigest()


def digest(path: Path) -> str:
    """The SHA-256 of a file, remembered for as long as its :func:`~void_server.api.files.stamp` stays the same."""
    return _known_digest(path, stamp(path))


@lru_cache
def _known_digest(path: Path, now: tuple[int, ...]) -> str:
    """The same; remembered by this process and, where it may write there, in the state folder for all others."""
    name = hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:16]
    known = home() / "hashes" / f"{name}.json"
    wanted = {"file": str(path.absolute()), "stamp": list(now)}
    try:
        found = json.loads(known.read_text(encoding="utf-8"))
        if {key: found.get(key) for key in wanted} == wanted:
            return str(found["sha256"])
    except (OSError, ValueError, KeyError, AttributeError):
        pass  # not hashed yet
    # the weights are the server's own, wherever a job may read
    digest = digest_of(path, trusted=True)
    with suppress(OSError, AccessDenied):
        write_atomically(known, json.dumps({**wanted, "sha256": digest}), parents=True)
    return digest


def find(first: str = "", lora: str = "", lora_strength: float = 1.0) -> Weights:
    """The weights that ``VOID_WEIGHTS`` names. Raises :class:`SettingError`."""
    folder = os.environ.get(ENVIRONMENT)
    if not folder:
        raise SettingError(
            f"The VOID model needs its weights: set {ENVIRONMENT} to their folder where the server runs, or "
            "give --weights; `void doctor` lists what belongs there and where to get it."
        )
    return Weights(Path(folder).expanduser(), first, lora, lora_strength)
