"""A shot's way through the model: fitted to it, and both passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from ...api.errors import JobFailed
from ...imaging.framefile import FrameFile
from ...imaging.parallel import ahead
from ...quadmask.classes import Quadmask
from . import fit, float8, memory, noise
from .frames import Made
from .kept import KeptTensors, Progress
from .model import Model, cards_beside, choose_device, explaining_memory, resident, whole_memory
from .pieces import STRIDE
from .sampling import (
    FIRST,
    GUIDANCE,
    SECOND,
    STEPS,
    Footage,
    Sampler,
    conditioning,
    embed,
    starting_noise,
    too_long,
)
from .settings import DDIM
from .vae import SPATIAL, decode, encoder_parts, latent_length
from .weights import Loaded, digest, find
from .windows import plan


@dataclass(frozen=True)
class Piece:
    """Frames that the model makes at once, by their number among all it makes, at a ``size`` of height and width."""

    frames: range
    size: tuple[int, int]

    @cached_property
    def order(self) -> list[int]:
        """The numbers of the frames as the model sees them: long enough for it, mirrored in time."""
        count = len(self.frames)
        return [self.frames[index] for index in fit.mirrored(count, fit.clip_length(count))]

    @property
    def first(self) -> int:
        """The number of its first latent frame among all: what pieces share, they share the noise of."""
        return self.frames.start // STRIDE

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

    @property
    def _passes(self) -> tuple[int, ...]:
        return (FIRST, SECOND) if self._settings.second_pass else (FIRST,)

    @property
    def _fast(self) -> bool:
        return self._settings.quality == "fast"

    @cached_property
    def _model(self) -> Model:
        settings = self._settings
        device = choose_device(self._clip.settings.device)
        weights = find(settings.checkpoint, settings.lora, settings.lora_strength)
        self._loaded = Loaded(weights, self._passes)
        beside = cards_beside(self._clip.settings.device, device)
        products = self._fast and float8.possible((device, *beside))
        return resident(weights, device, memory.PROFILES[settings.memory], settings.compiled, products, beside)

    def make(self, numbers: Sequence[int], report: Callable[[float], None]) -> None:
        """Have the model make the pieces ``numbers``, and store them for every process of the job."""

        def from_here(position: int) -> Callable[[float], None]:
            return lambda share: report((position + share) / len(numbers))

        for position, number in enumerate(numbers):
            self._make(number, from_here(position))

    def _make(self, number: int, report: Callable[[float], None]) -> None:
        piece, frames = Piece(self._made.pieces[number], self._fit.size), self._made.file(number)
        with explaining_memory(self._model):
            self._check_memory()
            if self._settings.second_pass:
                first = self._made.first_pass(number, self._made_from(FIRST))
                if not first.whole:
                    self._run(FIRST, number, piece, first, lambda share: report(0.25 * share))
                self._run(SECOND, number, piece, frames, lambda share: report(0.25 + 0.75 * share), first)
                first.remove()
            else:
                self._run(FIRST, number, piece, frames, report)
        self._check_same_weights()
        # named where it is not the published one
        solver = {"solver": self._settings.solver} if self._settings.solver != DDIM else {}
        hashes = self._model.weights.hashes(self._passes)
        self._made.note(number, {"device": self._model.described, **solver, **hashes})

    def _made_from(self, number: int) -> dict[str, str]:
        """What decides the bits of a pass beside the job itself. Kept results made from anything else are not used.

        Another card makes other bits, too. Raises :class:`JobFailed` where the weights were replaced.
        """
        self._check_same_weights()
        weights = self._model.weights
        # a second pass is made from the first
        hashes = weights.hashes(self._passes[:number])
        encoders = {"autoencoder": digest(weights.vae), "text encoder": weights.reader}
        return {"device": self._model.described, **encoders, **hashes}

    def _check_same_weights(self) -> None:
        """Raise :class:`JobFailed` where files were replaced meanwhile: nobody knows which of them made what."""
        weights = self._model.weights
        if not self._loaded.same():
            raise JobFailed(
                f"The weights in {weights.folder} were replaced while the job ran; resume it with the new ones."
            )

    def _check_memory(self) -> None:
        """Raise :class:`SettingError` where the card is too small, before anything is loaded."""
        if self._model.device.type == "cuda":
            guided = self._settings.guided
            total = min(map(whole_memory, (self._model.device, *self._model.helpers)))
            memory.check(self._model.profile, self._settings.working_height, guided=guided, available=total)

    def _run(
        self,
        number: int,
        index: int,
        piece: Piece,
        frames: FrameFile,
        report: Callable[[float], None],
        before: FrameFile | None = None,
    ) -> None:
        settings, model = self._settings, self._model
        prompt, negative = self._embeddings
        model.use_attention(number, settings.attention)
        steps = settings.steps or STEPS[number]
        guidance = settings.guidance or GUIDANCE[number]
        conditions = conditioning(model, self._footage(piece), number, self._clip.seed)
        windows = plan(piece.latents[0], fit.WINDOW, published=settings.published_sampling)
        sampler = Sampler(
            number,
            windows,
            steps,
            guidance,
            prompt,
            negative if guidance > 1 else None,
            strength=settings.strength,
            fast=self._fast,
            solver=settings.solver,
            seed=self._clip.seed,
            first=piece.first,
        )

        def on_step(done: int, total: int) -> None:
            report(0.1 + 0.8 * done / total)

        file = self._clip.kept / f"void_{index}_pass{number}.safetensors"
        progress = Progress(KeptTensors(file, self._made_from(number)))
        latents = sampler.run(model, self._noise(piece, before), conditions, on_step, progress)
        tile = model.profile.tile
        self._clip.scratch.mkdir(parents=True, exist_ok=True)
        with torch.inference_mode(), model.decoding(*(min(side, tile or side) for side in piece.size)) as vae:
            decoded = decode(vae, latents.transpose(1, 2), tile=tile // SPATIAL, scratch=self._clip.scratch)
            self._keep(piece, decoded, frames, lambda share: report(0.9 + 0.1 * share))
        progress.kept.remove()

    def read_prompts(self) -> None:
        """Embed prompt and negative prompt, and keep that for every process of the job."""
        with explaining_memory(self._model):
            _ = self._embeddings

    @cached_property
    def _embeddings(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The embeddings of prompt and negative prompt."""
        texts = {"prompt": self._clip.prompt, "negative": self._settings.negative_prompt}
        if cut := too_long(self._model, self._clip.prompt):
            self._clip.warnings.append(
                f"The prompt is longer than {self._model.tokens} tokens; this part is ignored: {cut!r}. Shorten it."
            )
        weights = self._model.weights
        reader = weights.reader
        kept = KeptTensors(self._clip.kept / "void_prompts.safetensors", {**texts, "text encoder": reader})
        found = kept.read()
        if found is None:
            prompt, negative = embed(self._model, *texts.values()).split(1)
            found = {"prompt": prompt, "negative": negative}
            # replaced while it was read, nobody knows which of them did
            if weights.reader == reader:
                kept.write(**found)
        return found["prompt"], found["negative"]

    def _noise(self, piece: Piece, before: FrameFile | None) -> torch.Tensor:
        length, height, width = piece.latents
        if before is None:
            shape = 1, piece.first + length, 16, height, width
            return starting_noise(shape, self._clip.seed)[:, piece.first :]
        frames = (before[index - piece.frames.start].astype(np.float32) for index in piece.order)
        if self._settings.published_sampling:
            return noise.as_published(list(frames), piece.latents, self._clip.seed)
        return noise.warped(frames, piece.latents, self._clip.seed, self._model.device)

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

    def _footage(self, piece: Piece) -> Footage:
        inputs, shown = self._made.inputs, self._made.indices
        inputs.write(lambda _: None)
        parts = [[piece.order[position] for position in part] for part in encoder_parts(len(piece.order))]

        def plates() -> Iterator[torch.Tensor]:
            for numbers in parts:
                frames = np.stack([inputs.plates[shown[number]] for number in numbers])
                yield torch.from_numpy(frames).permute(3, 0, 1, 2)[None]

        def codes() -> Iterator[Quadmask]:
            for numbers in parts:
                yield np.stack([inputs.codes(shown[one], first=one == piece.frames.start) for one in numbers])

        # read while the part before is encoded
        return Footage(piece.size, lambda: ahead(plates()), lambda: ahead(codes()))
