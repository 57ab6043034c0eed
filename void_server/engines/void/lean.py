"""The autoencoder's layers, in less memory than diffusers' own: the same numbers, the same weights.

Stock layers hold several copies of a clip at full size at once: convolutions put the frames before a part in front of
it, the decoder's norms enlarge the latents to every size and keep what they made as a cache that nobody reads. Here
convolutions take few frames at a time, norms work in place, and what a cache held is dropped once it is read. It also
lifts the limit on the size: diffusers' convolutions split large parts into fewer frames than their kernel has.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKLCogVideoX
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import (
    CogVideoXCausalConv3d,
    CogVideoXResnetBlock3D,
    CogVideoXSpatialNorm3D,
)
from diffusers.models.downsampling import CogVideoXDownsample3D
from diffusers.models.upsampling import CogVideoXUpsample3D
from torch.nn import functional

#: What a layer keeps of the part before; nested as diffusers' blocks nest it.
Cache = dict[str, torch.Tensor | None]

# Elements that a convolution takes at once, beside the frames before them. Far from 2**31, where cuDNN's indices end.
_AT_ONCE = 2**26


def slimmed(vae: AutoencoderKLCogVideoX) -> AutoencoderKLCogVideoX:
    """The same autoencoder, its layers exchanged for those of this module."""
    for module in vae.modules():
        module.__class__ = _LEAN.get(type(module), type(module))
    return vae


class _CausalConv(CogVideoXCausalConv3d):
    def forward(
        self, inputs: torch.Tensor, conv_cache: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The convolution of a part (b, c, t, h, w), and the last of its frames, which the next part needs."""
        before = self.time_kernel_size - 1
        if not before:
            return self.conv(inputs), None
        history = inputs[:, :, :1].expand(-1, -1, before, -1, -1) if conv_cache is None else conv_cache
        batch, _, frames, height, width = inputs.shape
        output = inputs.new_empty((batch, self.conv.out_channels, frames, height, width))
        together = max(1, _AT_ONCE // inputs[:, :, 0].numel())
        for start in range(0, frames, together):
            part = torch.cat([history, inputs[:, :, start : start + together]], dim=2)
            output[:, :, start : start + together] = functional.conv3d(
                part, self.conv.weight, self.conv.bias, padding=self.conv.padding
            )
            # a copy, which does not hold all of the part
            history = part[:, :, -before:].clone()
        return output, history


class _SpatialNorm(CogVideoXSpatialNorm3D):
    def forward(self, f: torch.Tensor, zq: torch.Tensor, conv_cache: Cache | None = None) -> tuple[torch.Tensor, Cache]:
        """Group norm of ``f``, scaled and shifted by what the latents ``zq`` say at each place.

        These convolutions look at one place each, so they are done at the latents' size, and enlarged afterwards.
        """
        del conv_cache
        normed = self.norm_layer(f)
        scale, shift = self.conv_y(zq)[0], self.conv_b(zq)[0]
        frames, size = f.shape[2], f.shape[-2:]
        single = frames > 1 and frames % 2 == 1
        for index in range(frames):
            if single:
                source = 0 if index == 0 else 1 + (index - 1) * (zq.shape[2] - 1) // (frames - 1)
            else:
                source = index * zq.shape[2] // frames
            frame = normed[:, :, index]
            frame.mul_(functional.interpolate(scale[:, :, source], size=size))
            frame.add_(functional.interpolate(shift[:, :, source], size=size))
        return normed, {}


class _Resnet(CogVideoXResnetBlock3D):
    def forward(
        self,
        inputs: torch.Tensor,
        temb: torch.Tensor | None = None,
        zq: torch.Tensor | None = None,
        conv_cache: Cache | None = None,
    ) -> tuple[torch.Tensor, Cache]:
        """Two convolutions beside a shortcut; takes what it needs out of ``conv_cache``, which is not used again."""
        del temb  # the autoencoder has no time embedding
        before, after = conv_cache if conv_cache is not None else {}, {}
        hidden = inputs
        for norm, convolution, name in ((self.norm1, self.conv1, "conv1"), (self.norm2, self.conv2, "conv2")):
            hidden = norm(hidden) if zq is None else norm(hidden, zq)[0]
            functional.silu(hidden, inplace=True)
            hidden, after[name] = convolution(hidden, conv_cache=before.pop(name, None))
        if self.in_channels != self.out_channels:
            if self.use_conv_shortcut:
                inputs, after["conv_shortcut"] = self.conv_shortcut(inputs, before.pop("conv_shortcut", None))
            else:
                inputs = functional.conv3d(inputs, self.conv_shortcut.weight, self.conv_shortcut.bias)
        return hidden.add_(inputs), after


class _Upsample(CogVideoXUpsample3D):
    #: Whether a single frame becomes two as well. In stock ones it does not, as if it were always a clip's first.
    grows_single_frames = False

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Frames (b, c, t, h, w) twice as large, and twice as many where time is compressed."""
        batch, _, frames, height, width = inputs.shape
        if not self.compress_time:
            repeats = [1] * frames
        elif frames % 2 == 0:
            repeats = [2] * frames
        else:
            repeats = [2 if frames == 1 and self.grows_single_frames else 1, *[2] * (frames - 1)]
        output = inputs.new_empty((batch, self.conv.out_channels, sum(repeats), 2 * height, 2 * width))
        start = 0
        for index, count in enumerate(repeats):
            # the frames that one becomes are alike
            frame = self.conv(functional.interpolate(inputs[:, :, index], scale_factor=2.0))
            output[:, :, start : start + count] = frame[:, :, None]
            start += count
        return output


class _Downsample(CogVideoXDownsample3D):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Frames half as large, and half as many where time is compressed; a first frame beyond pairs stays alone."""
        if self.compress_time and x.shape[2] > 1:
            alone = x.shape[2] % 2
            pairs = (x[:, :, alone::2] + x[:, :, alone + 1 :: 2]) / 2
            x = torch.cat([x[:, :, :alone], pairs], dim=2) if alone else pairs
        halved = [self.conv(functional.pad(frame, (0, 1, 0, 1))) for frame in x.unbind(2)]
        return torch.stack(halved, dim=2)


_LEAN: dict[type[torch.nn.Module], type[torch.nn.Module]] = {
    CogVideoXCausalConv3d: _CausalConv,
    CogVideoXSpatialNorm3D: _SpatialNorm,
    CogVideoXResnetBlock3D: _Resnet,
    CogVideoXUpsample3D: _Upsample,
    CogVideoXDownsample3D: _Downsample,
}


def grow_single_frames(vae: AutoencoderKLCogVideoX, *, grow: bool) -> None:
    """Let the decoder of a :func:`slimmed` autoencoder make four frames of a single latent one too, or not."""
    for module in vae.decoder.modules():
        if isinstance(module, _Upsample):
            module.grows_single_frames = grow
