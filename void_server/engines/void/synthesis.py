"""A shot's way through the model: fitted to it, and both passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch

from ...imaging.exr import FloatImage
from ...imaging.framefile import FrameFile
from ...quadmask.classes import Quadmask, nearest, unaffected
from . import fit, noise
from .detail import enlarged
from .frames import Made
from .model import FULL, Model, choose_device, choose_profile, explaining_memory, resident
from .pieces import STRIDE
from .sampling import FIRST, GUIDANCE, SECOND, STEPS, Part, Sampler, conditioning, embed, starting_noise, too_long
from .vae import decode, encoder_parts, latent_length
from .weights import find
from .windows import plan


@dataclass(frozen=True)
class Piece:
    """The frames of a shot that the model works on at once, at a ``size`` of height and width."""

    frames: range
    size: tuple[int, int]

    @cached_property
    def order(self) -> list[int]:
        """The frames by their index in the shot as the model sees them: long enough for it, mirrored in time."""
        count = len(self.frames)
        return [self.frames[index] for index in fit.mirrored(count, fit.clip_length(count))]

    @property
    def latents(self) -> tuple[int, int, int]:
        """The latents' length, height and width."""
        height, width = self.size
        return latent_length(len(self.order)), height // 8, width // 8


class Synthesis:
    """The model at work on the pieces of one clip."""

    def __init__(self, made: Made) -> None:
        self._made, self._clip, self._fit = made, made.clip, made.fit
        self._settings = made.settings

    @cached_property
    def _model(self) -> Model:
        settings = self._settings
        device = choose_device(self._clip.settings.device)
        profile = choose_profile(settings.memory, device)
        return resident(find(settings.checkpoint), device, profile, settings.compiled)

    def make(self, numbers: Sequence[int], report: Callable[[float], None]) -> None:
        """Have the model make the pieces ``numbers``, and store them for every process of the job."""

        def from_here(position: int) -> Callable[[float], None]:
            return lambda share: report((position + share) / len(numbers))

        for position, number in enumerate(numbers):
            self._make(number, from_here(position))

    def _make(self, number: int, report: Callable[[float], None]) -> None:
        piece, frames = Piece(self._made.pieces[number], self._fit.size), self._made.file(number)
        passes = (FIRST, SECOND) if self._settings.second_pass else (FIRST,)
        with explaining_memory(self._model):
            if self._settings.second_pass:
                first = FrameFile(self._clip.scratch / "void_pass1.raw", self._made.shape, np.float16)
                self._run(FIRST, piece, first, lambda share: report(0.5 * share))
                self._run(SECOND, piece, frames, lambda share: report(0.5 + 0.5 * share), first)
            else:
                self._run(FIRST, piece, frames, report)
        self._made.note(number, {"device": self._model.described, **self._model.weights.hashes(passes)})

    def _run(
        self,
        number: int,
        piece: Piece,
        frames: FrameFile,
        report: Callable[[float], None],
        before: FrameFile | None = None,
    ) -> None:
        settings, model = self._settings, self._model
        model.use_attention(number, settings.attention)
        steps = settings.steps or STEPS[number]
        guidance = settings.guidance or GUIDANCE[number]
        prompt, negative = self._embeddings
        conditions = conditioning(model, self._parts(piece), number, self._clip.seed)
        windows = plan(piece.latents[0], fit.WINDOW, published=settings.published)
        sampler = Sampler(
            number,
            windows,
            steps,
            guidance,
            prompt,
            negative if guidance > 1 else None,
            strength=settings.strength,
            fast=settings.quality == "fast",
        )

        def on_step(done: int, total: int) -> None:
            report(0.1 + 0.8 * done / total)

        latents = sampler.run(model, self._noise(piece, before), conditions, on_step)
        decoded = decode(model.vae, latents.transpose(1, 2), tiled=model.profile != FULL)
        self._keep(piece, decoded, frames, lambda share: report(0.9 + 0.1 * share))

    @cached_property
    def _embeddings(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Embed prompt and negative prompt in one go, as the text encoder may be unloaded afterwards."""
        if cut := too_long(self._model, self._clip.prompt):
            self._clip.warnings.append(
                f"The prompt is longer than {self._model.tokens} tokens; this part is ignored: {cut!r}. Shorten it."
            )
        prompt, negative = embed(self._model, self._clip.prompt, self._settings.negative_prompt).split(1)
        return prompt, negative

    def _noise(self, piece: Piece, before: FrameFile | None) -> torch.Tensor:
        length, height, width = piece.latents
        if before is None:
            skipped = piece.frames.start // STRIDE
            return starting_noise((1, skipped + length, 16, height, width), self._clip.seed)[:, skipped:]
        frames = (before[index - piece.frames.start].astype(np.float32) for index in piece.order)
        if self._settings.published:
            return noise.as_published(list(frames), piece.latents, self._clip.seed)
        return noise.warped(frames, piece.latents, self._clip.seed)

    def _keep(
        self, piece: Piece, decoded: Iterator[torch.Tensor], frames: FrameFile, report: Callable[[float], None]
    ) -> None:
        """Write the decoded frames that are the piece's own, display-referred."""
        count = 0
        with frames.writing() as append:
            for part in decoded:
                for frame in (part[0].float().cpu() / 2 + 0.5).clamp(0, 1).permute(1, 2, 3, 0).numpy():
                    if count < len(piece.frames):
                        append(frame)
                    count += 1
                report(count / len(piece.order))

    # -- the clip as the model sees it

    def _parts(self, piece: Piece) -> Iterator[Part]:
        """Plate (1, 3, n, h, w) in 0..1 and codes (n, h, w), in the parts in which they are encoded."""
        for part in encoder_parts(len(piece.order)):
            indices = [piece.order[position] for position in part]
            plates = np.stack([self._plate(index) for index in indices])
            codes = np.stack([self._codes(index, first=index == piece.frames.start) for index in indices])
            yield torch.from_numpy(plates).permute(3, 0, 1, 2)[None], codes

    def _plate(self, index: int) -> FloatImage:
        height, width = self._fit.size
        small = enlarged(self._clip.plate(index, self._fit.crop), width, height)
        return np.clip(small, 0, 1).astype(np.float32)

    def _codes(self, index: int, *, first: bool) -> Quadmask:
        codes = small_codes(self._clip.codes(index, self._fit.crop), self._fit.size)
        if first and not self._clip.quadmask_given:
            # the model was trained without affected pixels on the first frame
            codes = unaffected(codes)
        return codes


def small_codes(codes: Quadmask, size: tuple[int, int]) -> Quadmask:
    """A quadmask at the model's size, as the published loader makes it: the mean of each area, to the nearest class."""
    height, width = size
    mean = cv2.resize(codes.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return nearest(mean)
