"""Frames to latents and back, in parts over time, as the published code splits them.

Where a clip is split matters for the result: the decoder's group norm runs over the frames of a part. Encoding is
that of diffusers. Decoding is not: the first latent frame alone becomes one frame, then pairs become eight each, and a
last single one still becomes four.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from diffusers import AutoencoderKLCogVideoX
from diffusers.models.upsampling import CogVideoXUpsample3D

_FRAMES_PER_LATENT = 4
_ENCODED_TOGETHER = 8
_DECODED_TOGETHER = 2
_SPATIAL = 8
#: The side of a tile and what neighbours share of it, in latents.
_TILE, _TILE_OVERLAP = 32, 8


def latent_length(frames: int) -> int:
    """How many latent frames a clip of 4n + 1 frames has."""
    return (frames - 1) // _FRAMES_PER_LATENT + 1


class Encoder:
    """Encodes a clip that comes in the parts of :func:`encoder_parts`; takes the distribution's mode, as published."""

    def __init__(self, vae: AutoencoderKLCogVideoX) -> None:
        self._vae = vae
        self._cache: dict[str, torch.Tensor] | None = None
        self._encoded: list[torch.Tensor] = []

    def add(self, part: torch.Tensor) -> None:
        """Encode the next part, (1, 3, frames, height, width)."""
        encoded, self._cache = self._vae.encoder(part.to(self._vae.device, self._vae.dtype), conv_cache=self._cache)
        self._encoded.append(encoded.chunk(2, dim=1)[0])

    def latents(self) -> torch.Tensor:
        """The scaled latents, (1, 16, t, height/8, width/8)."""
        return torch.cat(self._encoded, dim=2) * self._vae.config.scaling_factor


def encoder_parts(frames: int) -> list[range]:
    """The frames of each part: eight at a time, the first with what is over."""
    count = max(frames // _ENCODED_TOGETHER, 1)
    over = frames % _ENCODED_TOGETHER
    return [range(8 * i + (over if i else 0), min(8 * (i + 1) + over, frames)) for i in range(count)]


def decode(vae: AutoencoderKLCogVideoX, latents: torch.Tensor, *, tiled: bool = False) -> Iterator[torch.Tensor]:
    """The frames of scaled latents (1, 16, t, h, w), in parts (1, 3, n, 8h, 8w) in -1..1, one after the other.

    With ``tiled`` large frames are decoded in overlapping tiles: in less memory, and a little differently, as the
    decoder's group norm then runs over each tile for itself.
    """
    latents = latents / vae.config.scaling_factor
    tiles = _tiles(latents.shape[3], latents.shape[4]) if tiled else [(slice(None), slice(None))]
    caches: list[dict[str, torch.Tensor] | None] = [None] * len(tiles)
    starts = [0, *range(1, latents.shape[2], _DECODED_TOGETHER)]
    for start in starts:
        part = latents[:, :, start : start + (_DECODED_TOGETHER if start else 1)].to(vae.device, vae.dtype)
        frames = []
        with _growing_in_time(vae, grow=start > 0):
            for index, (rows, columns) in enumerate(tiles):
                decoded, caches[index] = vae.decoder(part[..., rows, columns], conv_cache=caches[index])
                frames.append(decoded)
        yield frames[0] if len(tiles) == 1 else _joined(frames, tiles, latents.shape[3], latents.shape[4])


def _tiles(height: int, width: int) -> list[tuple[slice, slice]]:
    """Overlapping tiles, in latents: rows and columns of each."""

    def cuts(length: int) -> list[slice]:
        if length <= _TILE:
            return [slice(0, length)]
        count = -(-(length - _TILE_OVERLAP) // (_TILE - _TILE_OVERLAP))
        return [slice(s := round(i * (length - _TILE) / (count - 1)), s + _TILE) for i in range(count)]

    return [(rows, columns) for rows in cuts(height) for columns in cuts(width)]


def _joined(frames: list[torch.Tensor], tiles: list[tuple[slice, slice]], height: int, width: int) -> torch.Tensor:
    """Tiles laid over each other, each fading towards its borders."""
    first = frames[0]
    whole = torch.zeros((*first.shape[:3], _SPATIAL * height, _SPATIAL * width), device=first.device)
    weight = torch.zeros(whole.shape[-2:], device=first.device)
    for tile, (rows, columns) in zip(frames, tiles, strict=True):
        y = slice(_SPATIAL * rows.start, _SPATIAL * rows.stop)
        x = slice(_SPATIAL * columns.start, _SPATIAL * columns.stop)
        fade = _fade(tile.shape[-2])[:, None] * _fade(tile.shape[-1])[None, :]
        whole[..., y, x] += tile.float() * fade.to(first.device)
        weight[y, x] += fade.to(first.device)
    return (whole / weight).to(first.dtype)


def _fade(length: int) -> torch.Tensor:
    position = torch.arange(length) + 0.5
    return torch.minimum(position, length - position).clamp(max=_SPATIAL * _TILE_OVERLAP / 2)


@contextmanager
def _growing_in_time(vae: AutoencoderKLCogVideoX, *, grow: bool) -> Iterator[None]:
    """Let the decoder's upsamplers grow a single frame in time too; stock ones take it for a clip's first."""
    upsamplers = [m for m in vae.decoder.modules() if isinstance(m, CogVideoXUpsample3D) and m.compress_time]
    handles = [module.register_forward_hook(_twice) for module in upsamplers] if grow else []
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _twice(_: torch.nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
    # the nearest neighbours of one frame are that frame, and the convolution after it looks at each for itself
    return output.repeat_interleave(2, dim=2) if inputs[0].shape[2] == 1 else output
