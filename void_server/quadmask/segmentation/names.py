"""Things found in a picture by what they are called: SAM 3 (Carion et al., arXiv 2511.16719) with transformers.

The published pipeline finds what a language model names in the same way, in single frames.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...api.errors import SettingError
from ...imaging.exr import FloatImage
from ...imaging.masks import Mask
from ...plugins import Download, how_to_install, installed

EXTRA = "sam2-transformers"
#: Where the weights come from, and under which licence.
SOURCE = Download(
    "SAM 3",
    "config.json, model.safetensors and the tokenizer's files of facebook/sam3 on Hugging Face",
    "SAM License (Meta's own, with terms of use)",
)
# The published pipeline takes what the model is more than this sure of.
_SURE = 0.5
# How many tokens a name has at most, and the mean and deviation of pixels, as the model was trained.
_TOKENS, _MIDDLE = 32, 0.5


def folder() -> Path | None:
    """The weights' folder, ``$VOID_WEIGHTS/sam3``; None where there is none."""
    weights = os.environ.get("VOID_WEIGHTS")
    path = Path(weights).expanduser() / "sam3" if weights else None
    return path if path and (path / "config.json").is_file() else None


def missing() -> str:
    """What is missing here to find things by name, and where it is to be had; empty if nothing is."""
    if not folder():
        return f"SAM 3 is not where the server runs: put {SOURCE.source} ({SOURCE.licence}) into $VOID_WEIGHTS/sam3"
    spec = find_spec("transformers") if installed("torch") else None
    places = spec.submodule_search_locations if spec else None
    if not any((Path(place) / "models" / "sam3").is_dir() for place in places or ()):
        return f"SAM 3 is not installed where the server runs: {how_to_install(EXTRA)}"
    return ""


class Finder:
    """Finds things by name on a device: auto, cpu, cuda or cuda:1. Raises :class:`SettingError` if it cannot here."""

    def __init__(self, device: str = "auto") -> None:
        if (wrong := missing()) or not (path := folder()):
            raise SettingError(f"{wrong}.")
        from .streaming import device_of

        self._device = device_of(device)
        self._model, self._tokenizer = _load(path, self._device)

    def find(self, frame: FloatImage, name: str) -> list[Mask]:
        """The mask (height, width) of each thing called ``name`` in a display-referred frame, the surest first."""
        import torch
        from torch.nn.functional import interpolate

        from .streaming import precision

        size = self._model.config.vision_config.backbone_config.image_size
        small = cv2.resize(np.clip(frame, 0, 1), (size, size), interpolation=cv2.INTER_AREA)
        pixels = torch.from_numpy(np.ascontiguousarray((small - _MIDDLE) / _MIDDLE, np.float32)).permute(2, 0, 1)
        words = self._tokenizer(
            name, return_tensors="pt", padding="max_length", max_length=_TOKENS, truncation=True
        ).to(self._device)
        with torch.inference_mode(), precision(self._device):
            found = self._model(
                pixel_values=pixels[None].to(self._device),
                input_ids=words["input_ids"],
                attention_mask=words["attention_mask"],
            )
            sure = (found.pred_logits.sigmoid() * found.presence_logits.sigmoid())[0].float()
            order = [int(n) for n in sure.argsort(descending=True) if sure[n] > _SURE]
            if not order:
                return []
            logits = interpolate(found.pred_masks[:, order].float(), frame.shape[:2], mode="bilinear")[0]
        return [mask for mask in (logits > 0).cpu().numpy() if mask.any()]


def _load(path: Path, device: str) -> tuple[Any, Any]:
    """The model and its tokenizer, which are not kept between jobs: 3.4 GB for a few frames.

    Raises :class:`SettingError` for a folder that holds another.
    """
    from safetensors import SafetensorError
    from transformers import AutoTokenizer, Sam3Model

    try:
        model, found = Sam3Model.from_pretrained(path, local_files_only=True, output_loading_info=True)
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    except (RuntimeError, KeyError, TypeError, ValueError, OSError, SafetensorError) as error:
        raise SettingError(f"{path} is not SAM 3 for transformers, or is incomplete; download it again.") from error
    if found["missing_keys"] or found["mismatched_keys"]:
        raise SettingError(f"{path} lacks part of SAM 3's detector; download it again.")
    return model.to(device).eval(), tokenizer
