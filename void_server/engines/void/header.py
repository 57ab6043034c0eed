"""What a safetensors file holds, read from its header before anything is loaded."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

from ...api.errors import SettingError

# The single files that Comfy-Org publishes name the same tensors after ComfyUI's modules.
_RENAMED = (
    (re.compile(r"^model\.diffusion_model\."), ""),
    (re.compile(r"^(?:transformer_)?blocks\.(\d+)\."), r"transformer_blocks.\1."),
    (re.compile(r"(transformer_blocks\.\d+)\.([qkv])\."), r"\1.attn1.to_\2."),
    (re.compile(r"(transformer_blocks\.\d+)\.norm_([qk])\."), r"\1.attn1.norm_\2."),
    (re.compile(r"(transformer_blocks\.\d+)\.attn_out\."), r"\1.attn1.to_out.0."),
    (re.compile(r"(transformer_blocks\.\d+)\.ff_proj\."), r"\1.ff.net.0.proj."),
    (re.compile(r"(transformer_blocks\.\d+)\.ff_out\."), r"\1.ff.net.2."),
    (re.compile(r"^time_embedding_linear_(\d)\."), r"time_embedding.linear_\1."),
)


def standard_key(key: str) -> str:
    """The name of a tensor as diffusers has it."""
    for pattern, replacement in _RENAMED:
        key = pattern.sub(replacement, key)
    return key


def header(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors in a safetensors file, by name. Raises :class:`SettingError` for anything else."""
    return _header(path)[0]


def notes(path: Path) -> dict[str, str]:
    """What the writer of a safetensors file noted in it. Raises :class:`SettingError` for anything else."""
    return _header(path)[1]


def _header(path: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if not 2 <= length <= min(size - 8, 100 << 20):
                raise ValueError("no safetensors header")
            entries: dict[str, Any] = json.loads(file.read(length))
        about = {str(key): str(value) for key, value in entries.pop("__metadata__", {}).items()}
        end = max((entry["data_offsets"][1] for entry in entries.values()), default=0)
        if 8 + length + end != size:
            raise SettingError(
                f"{path} is incomplete: {size} bytes, but its header promises {8 + length + end}; download it again."
            )
        return {name: tuple(entry["shape"]) for name, entry in entries.items()}, about
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingError(
            f"{path} is not a safetensors file; pickled checkpoints (.pt, .bin, .ckpt) are not read, as they "
            "can run code."
        ) from error
