"""What SAM 2 needs whichever package runs it: a device, frames as they are asked for, narrow edges, a short memory."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import cv2
import numpy as np
import torch

from ...api.errors import SettingError
from ...imaging.exr import FloatImage
from . import Frames, Segmenter
from .checkpoints import Checkpoint

# what the packages' own loaders subtract and divide by
_MEAN = torch.tensor((0.485, 0.456, 0.406))[:, None, None]
_DEVIATION = torch.tensor((0.229, 0.224, 0.225))[:, None, None]
# The model's doubt reaches further than a matte's soft edge: as it is, every pixel that is object with a likelihood of
# one in fifty, at logits above -3.9, would be replaced.
_STEEPNESS = 4.0


def device_of(setting: str) -> str:
    """The device for the setting of that name. Raises :class:`SettingError` where there is no such GPU."""
    name = ("cuda" if torch.cuda.is_available() else "cpu") if setting == "auto" else setting
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise SettingError("No usable CUDA GPU found; set device to auto or cpu, or use another server.")
    return name


def name_of(device: str) -> str:
    """The name of a GPU; empty for the CPU."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else ""


def precision(device: str) -> AbstractContextManager[object]:
    """On a GPU as Meta runs it."""
    if device.startswith("cuda"):
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()


class Streamed(Segmenter):
    """SAM 2 from a checkpoint, on a device: what runs it streams the frames to it, and bounds its memory of them."""

    def __init__(self, checkpoint: Checkpoint, device: str = "auto") -> None:
        self._device = device_of(device)
        self.name = f"SAM 2 ({checkpoint.name})"
        self.device = name_of(self._device)
        self._checkpoint = checkpoint


class Normalised:
    """The frames as SAM 2 takes them, made when one is asked for."""

    def __init__(self, frames: Frames, size: int) -> None:
        self._frames, self._size = frames, size

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> torch.Tensor:
        frame = self._frames[index]
        if frame.shape[:2] != (self._size, self._size):
            frame = cv2.resize(frame, (self._size, self._size), interpolation=cv2.INTER_AREA)
        pixels = torch.from_numpy(np.ascontiguousarray(np.clip(frame, 0, 1), np.float32)).permute(2, 0, 1)
        return (pixels - _MEAN) / _DEVIATION


def matte(logits: torch.Tensor) -> FloatImage:
    """The matte (height, width) of a model's logits."""
    values: FloatImage = torch.sigmoid(_STEEPNESS * logits.float()).cpu().numpy()
    return values


def forget(outputs: dict[int, Any], reach: int, first: int, index: int, reverse: bool) -> None:
    """Drop what is kept of a frame that is more than ``reach`` behind ``index``: the model will not look at it again.

    Those that follow ``first`` closely stay: the way backwards begins there, and looks at them.
    """
    behind = index + reach if reverse else index - reach
    if reverse or behind > first + reach:
        outputs.pop(behind, None)
