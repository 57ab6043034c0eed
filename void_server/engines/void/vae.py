"""Frames to latents and back, in parts over time, as the published code splits them, and in tiles where asked for.

Where a clip is split matters for the result: group norms run over the frames and the pixels of a part. Encoding in time
is that of diffusers. Decoding is not: the first latent frame alone becomes one frame, then pairs become eight each, and
a last single one still becomes four.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from diffusers import AutoencoderKLCogVideoX

from .lean import Cache, grow_single_frames

_FRAMES_PER_LATENT = 4
_ENCODED_TOGETHER = 8
_DECODED_TOGETHER = 2
#: Pixels of a latent, along each side.
SPATIAL = 8
# What neighbouring tiles share, in latents.
_TILE_OVERLAP = 8


class Tile(NamedTuple):
    """A part of the latents' height and width."""

    rows: slice
    columns: slice

    def scaled(self, by: int) -> Tile:
        """The same part of something ``by`` times as large."""
        return Tile(*(slice(by * side.start, by * side.stop) for side in self))

    def weight(self, shared: int) -> torch.Tensor:
        """How much the tile counts at each of its places, (height, width): less towards its borders."""
        y, x = (_fade(side.stop - side.start, shared) for side in self)
        return y[:, None] * x[None, :]


def _fade(length: int, shared: int) -> torch.Tensor:
    position = torch.arange(length) + 0.5
    return torch.minimum(position, length - position).clamp(max=shared / 2)


def tiles(height: int, width: int, side: int) -> list[Tile]:
    """Overlapping tiles of ``side`` latents over ``height`` x ``width``; with 0, a single one."""

    def cuts(length: int) -> list[slice]:
        if not side or length <= side:
            return [slice(0, length)]
        count = -(-(length - _TILE_OVERLAP) // (side - _TILE_OVERLAP))
        return [slice(s := round(i * (length - side) / (count - 1)), s + side) for i in range(count)]

    return [Tile(rows, columns) for rows in cuts(height) for columns in cuts(width)]


def latent_length(frames: int) -> int:
    """How many latent frames a clip of 4n + 1 frames has."""
    return (frames - 1) // _FRAMES_PER_LATENT + 1


def encoder_parts(frames: int) -> list[range]:
    """The frames of each part: eight at a time, the first with what is over."""
    count = max(frames // _ENCODED_TOGETHER, 1)
    over = frames % _ENCODED_TOGETHER
    return [range(8 * i + (over if i else 0), min(8 * (i + 1) + over, frames)) for i in range(count)]


def encode(
    vae: AutoencoderKLCogVideoX,
    video: Callable[[], Iterable[torch.Tensor]],
    size: tuple[int, int],
    *,
    tile: int = 0,
) -> torch.Tensor:
    """The scaled latents (1, 16, t, height/8, width/8) of a clip; takes the distribution's mode, as published.

    ``video`` gives the clip of ``size`` height and width in its :func:`encoder_parts` (1, 3, n, height, width), once
    for every tile of ``tile`` latents: a tile is encoded over all its time before the next, so that what the layers
    remember is one tile's.
    """
    weights = vae.encoder.conv_in.conv.weight
    height, width = size[0] // SPATIAL, size[1] // SPATIAL
    total: torch.Tensor | None = None
    places = tiles(height, width, tile)
    for place in places:
        cut = place.scaled(SPATIAL)
        # copies, which do not hold the other half
        encoded = _encoded(vae, (part[..., cut.rows, cut.columns] for part in video()))
        found = [part.chunk(2, dim=1)[0].clone() for part in encoded]
        latents = torch.cat(found, dim=2) * vae.config.scaling_factor
        if len(places) == 1:
            return latents
        if total is None:
            total = torch.zeros((*latents.shape[:3], height, width), device=latents.device)
        total[..., place.rows, place.columns] += latents.float() * place.weight(_TILE_OVERLAP).to(latents.device)
    assert total is not None
    return (total / _weights(places, height, width, _TILE_OVERLAP).to(total.device)).to(weights.dtype)


def _encoded(vae: AutoencoderKLCogVideoX, parts: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
    weights = vae.encoder.conv_in.conv.weight
    cache: Cache | None = None
    for part in parts:
        encoded, cache = vae.encoder(part.to(weights.device, weights.dtype), conv_cache=cache)
        yield encoded


def moments(vae: AutoencoderKLCogVideoX, parts: Iterable[torch.Tensor]) -> torch.Tensor:
    """The distribution of a clip's latents: means, then logarithms of variances, not scaled, (1, 32, t, h/8, w/8).

    ``parts`` are the clip's :func:`encoder_parts` (1, 3, n, h, w). The encoder looks back only, so the distribution of
    the clip's first 8k + 5 frames is the beginning of this one, to the bit.
    """
    return torch.cat(list(_encoded(vae, parts)), dim=2)


def decode(
    vae: AutoencoderKLCogVideoX, latents: torch.Tensor, *, tile: int = 0, scratch: Path | None = None
) -> Iterator[torch.Tensor]:
    """The frames of scaled latents (1, 16, t, h, w), in parts (1, 3, n, 8h, 8w) in -1..1, one after the other.

    With ``tile``, the side of a tile in latents, large frames are decoded tile by tile, each over all its time, so that
    what the layers remember is one tile's; the frames wait in a file in the folder ``scratch``. Pixels differ a little
    from those of whole frames, as the decoder's group norm then runs over each tile for itself.
    """
    height, width = latents.shape[3:]
    latents = latents / vae.config.scaling_factor
    places = tiles(height, width, tile)
    if len(places) == 1:
        yield from _decoded(vae, latents)
        return
    frames = 1 + _FRAMES_PER_LATENT * (latents.shape[2] - 1)
    shape = (frames, 3, SPATIAL * height, SPATIAL * width)
    with tempfile.TemporaryFile(dir=scratch) as file:
        total = np.memmap(file, np.float32, "w+", shape=shape)
        for place in places:
            cut = place.scaled(SPATIAL)
            weight = cut.weight(SPATIAL * _TILE_OVERLAP).numpy()
            start = 0
            for part in _decoded(vae, latents[..., place.rows, place.columns]):
                end = start + part.shape[2]
                shown = part[0].transpose(0, 1).float().cpu().numpy()
                total[start:end, :, cut.rows, cut.columns] += shown * weight
                start = end
        whole = _weights([place.scaled(SPATIAL) for place in places], *shape[2:], SPATIAL * _TILE_OVERLAP).numpy()
        for index in range(frames):
            yield torch.from_numpy(total[index] / whole)[None, :, None]


def _decoded(vae: AutoencoderKLCogVideoX, latents: torch.Tensor) -> Iterator[torch.Tensor]:
    weights = vae.decoder.conv_in.conv.weight
    cache: Cache | None = None
    for start in (0, *range(1, latents.shape[2], _DECODED_TOGETHER)):
        part = latents[:, :, start : start + (_DECODED_TOGETHER if start else 1)]
        grow_single_frames(vae, grow=start > 0)
        decoded, cache = vae.decoder(part.to(weights.device, weights.dtype), conv_cache=cache)
        yield decoded


def _weights(places: Iterable[Tile], height: int, width: int, shared: int) -> torch.Tensor:
    """What the tiles that lie over each place count together, (height, width)."""
    weight = torch.zeros(height, width)
    for place in places:
        weight[place.rows, place.columns] += place.weight(shared)
    return weight
