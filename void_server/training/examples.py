"""What the model makes by now of pairs that are looked at: plate, result and truth beside each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..engines.void import fit
from ..engines.void.model import Model
from ..engines.void.sampling import GUIDANCE, Conditioning, Sampler, starting_noise
from ..engines.void.vae import decode
from ..engines.void.windows import plan
from ..imaging import jpeg
from ..imaging.sequence import spread
from .clips import Clip
from .config import Training
from .store import Item, embedding, writing

FOLDER = "examples"
#: Frames of a clip that are shown.
_SHOWN = 4


def sampled(
    config: Training, model: Model, item: Item, nothing: Path, scaling: float, steps: int
) -> NDArray[np.float32]:
    """What a model makes of a clip: frames (frames, height, width, 3) in 0..1, from the means of its latents."""
    mask, plate = (tensor.chunk(2)[0][None] * scaling for tensor in item.read("mask", "plate0"))
    number, guidance = config.number, GUIDANCE[config.number]
    latents = item.shape[0]
    prompt, negative = embedding(item.prompt), embedding(nothing)
    sampler = Sampler(number, plan(latents, fit.WINDOW), steps, guidance, prompt, negative if guidance > 1 else None)
    if config.model.second_pass:
        noise = item.read("noise")[0].transpose(0, 1)[None]
    else:
        noise = starting_noise((1, latents, mask.shape[1], *item.shape[1:]), config.run.seed)
    made = sampler.run(model, noise, Conditioning(mask, plate), lambda *_: None)
    height, width = (8 * side for side in item.shape[1:])
    with torch.inference_mode(), model.decoding(height, width) as vae:
        frames = torch.cat([part.float().cpu() for part in decode(vae, made.transpose(1, 2))], dim=2)
    shown: NDArray[np.float32] = (frames[0] / 2 + 0.5).clamp(0, 1).permute(1, 2, 3, 0).numpy()
    return shown


def made(config: Training, model: Model, clip: Clip, item: Item, nothing: Path, scaling: float) -> NDArray[np.uint8]:
    """A picture of a clip: a row for each shown frame, of plate, result and truth, 8-bit RGB."""
    frames = sampled(config, model, item, nothing, scaling, config.run.example_steps)
    rows = spread(len(clip.frames), _SHOWN)
    columns = [clip.plates(rows), frames[rows], clip.truths(rows)]
    picture = np.concatenate([np.concatenate(list(column)) for column in columns], axis=1)
    return np.round(picture * 255).astype(np.uint8)


def write(out: Path, step: int, clip: Clip, picture: NDArray[np.uint8]) -> None:
    """Write a picture beside the page. Raises :class:`~void_server.api.errors.JobFailed`."""
    path = out / FOLDER / f"{step:06d} {clip.pair.name}.jpg"
    with writing(path) as temporary:
        temporary.write_bytes(jpeg.encoded(picture, 92))
