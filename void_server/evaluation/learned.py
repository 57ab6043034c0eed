"""Measures that others have trained: LPIPS, ColorVideoVDP. Only where the user has them; nothing is downloaded."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from .. import plugins
from ..imaging.exr import FloatImage

#: The network whose features LPIPS compares, as torchvision keeps its weights.
_ALEXNET = "alexnet-owt-7be5be79.pth"
#: ColorVideoVDP's own name for a 4K screen, 75 cm away, at 200 cd/m2.
_DISPLAY = "standard_4k"


def lpips_weights() -> Path:
    """Where torchvision keeps the weights of AlexNet, if somebody has put them there."""
    home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "torch"
    return Path(home) / "hub" / "checkpoints" / _ALEXNET


def lpips_available() -> bool:
    """Whether the package lpips is installed, and the weights that it would download lie there."""
    return plugins.installed("lpips") and plugins.installed("torchvision") and lpips_weights().is_file()


def cvvdp_available() -> bool:
    """Whether ColorVideoVDP is installed; its package holds all that it needs."""
    return plugins.installed("pycvvdp") and plugins.installed("torchvision")


@cache
def _lpips() -> Any:
    import lpips

    return lpips.LPIPS(net="alex", spatial=True, verbose=False).eval()


def lpips(image: FloatImage, true: FloatImage) -> FloatImage:
    """LPIPS at each pixel of display-referred RGB, 0..1 (Zhang et al., 2018); AlexNet, version 0.1."""
    import torch

    def tensor(picture: FloatImage) -> Any:
        return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None] * 2 - 1

    with torch.inference_mode():
        return np.asarray(_lpips()(tensor(image), tensor(true))[0, 0].numpy(), np.float32)


def cvvdp(result: FloatImage, truth: FloatImage, fps: float) -> float:
    """ColorVideoVDP's quality of clips (Mantiuk et al., 2024), 10 is the best.

    The clips are (frames, height, width, 3), display-referred.
    """
    import pycvvdp

    metric = pycvvdp.cvvdp(display_name=_DISPLAY, quiet=True)
    found, _ = metric.predict(result, truth, dim_order="FHWC", frames_per_second=fps)
    return float(found)
