"""A shot's way through the model: fitted to it, both passes, and back to full size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import cv2
import numpy as np
import torch

from ...api.files import write_atomically
from ...imaging.exr import FloatImage
from ...imaging.framefile import FrameFile
from ...imaging.window import Window
from ...quadmask.classes import AFFECTED, KEEP, OVERLAP, REMOVE, Quadmask, nearest
from ..cleanplate import CleanPlate
from ..clip import Clip
from . import DONE, fit, noise
from .detail import enlarged, restored
from .model import FULL, Model, choose_device, choose_profile, explaining_memory, resident
from .sampling import FIRST, GUIDANCE, SECOND, STEPS, Part, Sampler, conditioning, embed, starting_noise, too_long
from .vae import decode, encoder_parts, latent_length
from .weights import find
from .windows import plan

# The shares of the preparation that a pass, and the clean plate for the detail, usually take.
_PASSES = 0.9


class Synthesis:
    """One job on one clip."""

    def __init__(self, clip: Clip, region: Window) -> None:
        self._clip = clip
        self._settings = clip.settings
        aspect = clip.pixel_aspect
        self._fit = fit.fit(region, clip.footage.canvas, aspect, self._settings.working_height)
        self._order = fit.mirrored(len(clip), fit.clip_length(len(clip)))

    @cached_property
    def _model(self) -> Model:
        settings = self._settings
        device = choose_device(settings.device)
        profile = choose_profile(settings.memory, device)
        return resident(find(settings.checkpoint), device, profile, settings.compiled)

    @property
    def _latents(self) -> tuple[int, int, int]:
        height, width = self._fit.size
        return latent_length(len(self._order)), height // 8, width // 8

    def frames(
        self, wanted: Sequence[int], report: Callable[[float], None]
    ) -> Iterator[tuple[int, Window, FloatImage]]:
        """The new frames at full size; see :class:`void_server.engines.Engine`."""
        small = self.small_frames(lambda share: report(_PASSES * share))
        crop = self._fit.crop
        clean = CleanPlate().synthesise(self._clip, wanted, lambda share: report(_PASSES + (1 - _PASSES) * share))
        for index, window, rgb in clean:
            plate = self._clip.plate(index, crop)
            inner = window.intersection(crop)
            plate[crop.slices(inner)] = rgb[window.slices(inner)]
            whole = restored(small[index].astype(np.float32), plate)
            yield index, inner, whole[crop.slices(inner)]

    # -- the model's frames

    def small_frames(self, report: Callable[[float], None]) -> FrameFile:
        """What the model makes of the clip, frame by frame, kept for a job that is resumed."""
        shape = (*self._fit.size, 3)
        done = self._clip.kept / DONE
        frames = FrameFile(self._clip.kept / "void.raw", shape, np.float16)
        if not done.is_file():
            with explaining_memory(self._model):
                if self._settings.second_pass:
                    first = FrameFile(self._clip.scratch / "void_pass1.raw", shape, np.float16)
                    self._run(FIRST, first, lambda share: report(0.5 * share))
                    self._run(SECOND, frames, lambda share: report(0.5 + 0.5 * share), first)
                else:
                    self._run(FIRST, frames, report)
            write_atomically(done, self._model.described)
        return frames

    def _run(
        self, number: int, frames: FrameFile, report: Callable[[float], None], before: FrameFile | None = None
    ) -> None:
        settings, model = self._settings, self._model
        model.use_attention(number, settings.attention)
        steps = settings.steps or STEPS[number]
        guidance = settings.guidance or GUIDANCE[number]
        prompt, negative = self._embeddings
        given = conditioning(model, self._parts(), number, self._clip.seed)
        windows = plan(self._latents[0], fit.WINDOW, published=settings.published)
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

        latents = sampler.run(model, self._noise(before), given, on_step)
        decoded = decode(model.vae, latents.transpose(1, 2), tiled=model.profile != FULL)
        self._keep(decoded, frames, lambda share: report(0.9 + 0.1 * share))

    @cached_property
    def _embeddings(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Of the prompt and of the negative one, made at once: the text encoder may not stay for a second time."""
        if cut := too_long(self._model, self._clip.prompt):
            self._clip.warnings.append(
                f"The prompt is longer than {self._model.tokens} tokens; this part of it was not read: {cut!r}. "
                "Shorten it."
            )
        prompt, negative = embed(self._model, self._clip.prompt, self._settings.negative_prompt).split(1)
        return prompt, negative

    def _noise(self, before: FrameFile | None) -> torch.Tensor:
        length, height, width = self._latents
        if before is None:
            return starting_noise((1, length, 16, height, width), self._clip.seed)
        shown = (before[index].astype(np.float32) for index in self._order)
        if self._settings.published:
            return noise.as_published(list(shown), self._latents, self._clip.seed)
        return noise.warped(shown, self._latents, self._clip.seed)

    def _keep(self, decoded: Iterator[torch.Tensor], frames: FrameFile, report: Callable[[float], None]) -> None:
        """Write the decoded frames that are the clip's own, display-referred."""
        count = 0
        with frames.writing() as append:
            for part in decoded:
                for frame in (part[0].float().cpu() / 2 + 0.5).clamp(0, 1).permute(1, 2, 3, 0).numpy():
                    if count < len(self._clip):
                        append(frame)
                    count += 1
                report(count / len(self._order))

    # -- the clip as the model sees it

    def _parts(self) -> Iterator[Part]:
        """Plate (1, 3, n, h, w) in 0..1 and codes (n, h, w), in the parts in which they are encoded."""
        for part in encoder_parts(len(self._order)):
            indices = [self._order[position] for position in part]
            plates = np.stack([self._plate(index) for index in indices])
            codes = np.stack([self._codes(index) for index in indices])
            yield torch.from_numpy(plates).permute(3, 0, 1, 2)[None], codes

    def _plate(self, index: int) -> FloatImage:
        height, width = self._fit.size
        small = enlarged(self._clip.plate(index, self._fit.crop), width, height)
        return np.clip(small, 0, 1).astype(np.float32)

    def _codes(self, index: int) -> Quadmask:
        codes = small_codes(self._clip.codes(index, self._fit.crop), self._fit.size)
        if index == 0 and not self._clip.quadmask_given:
            # the model was never shown anything affected on the first frame
            codes = np.where(codes == AFFECTED, KEEP, np.where(codes == OVERLAP, REMOVE, codes)).astype(np.uint8)
        return codes


def small_codes(codes: Quadmask, size: tuple[int, int]) -> Quadmask:
    """A quadmask at the model's size, as the published loader makes it: the mean of each area, to the nearest class."""
    height, width = size
    mean = cv2.resize(codes.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return nearest(mean)
