"""The two passes: what the transformer is conditioned on, and how noise becomes latents.

After the published code of VOID (arXiv 2604.02296), whose base is CogVideoX-Fun's inpainting model. Videos are
(1, 3, frames, height, width), latents of the sampler (1, t, 16, h, w), ``t`` being latent frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import FirstBlockCacheConfig
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from numpy.typing import NDArray

from ...quadmask.classes import AFFECTED, KEEP
from .kept import EVERY, Progress, Underway
from .message import Message
from .model import Model, OnStep
from .settings import DDIM
from .solvers import SOLVERS, Solver
from .vae import SPATIAL, encode
from .windows import WindowPlan

#: The strength of the noise on the conditioning video.
AUGMENTATION = 0.0563
FIRST, SECOND = 1, 2
STEPS = {FIRST: 30, SECOND: 50}
GUIDANCE = {FIRST: 1.0, SECOND: 6.0}

# How much the first block's output may change before the others are asked again, as a share.
_FAST_THRESHOLD = 0.05


@dataclass(frozen=True)
class Conditioning:
    """What stays the same in all steps: mask and video latents, each (1, 16, t, h, w)."""

    mask: torch.Tensor
    video: torch.Tensor

    @property
    def channels(self) -> torch.Tensor:
        """Both, as the transformer takes them: (1, t, 32, h, w)."""
        return torch.cat([self.mask, self.video], dim=1).transpose(1, 2)


def mask_levels(codes: NDArray[np.uint8], number: int) -> NDArray[np.float32]:
    """The VAE's input for a quadmask, any shape: 0 object, 128/255 affected, 1 keep; never rescaled to -1..1.

    Overlap counts as object. The second pass knows two levels: whatever is not kept is object.
    """
    levels = np.zeros(codes.shape, np.float32)
    levels[codes == KEEP] = 1.0
    if number == FIRST:
        levels[codes == AFFECTED] = 128 / 255
    return levels


def mask_video(codes: NDArray[np.uint8], number: int) -> torch.Tensor:
    """The mask of quadmask frames (frames, height, width) as a video of three equal channels."""
    return torch.from_numpy(mask_levels(codes, number))[None, None].expand(1, 3, -1, -1, -1)


def augmented(video: torch.Tensor, generator: torch.Generator, strength: float = AUGMENTATION) -> torch.Tensor:
    """The conditioning video: ``video`` (0..1) as -1..1 with noise, but none on black.

    The published noise comes from torch's global generator. Here it is the job's own, drawn in the same order: frame by
    frame, as the published code's video lies in memory.
    """
    scaled = video * 2 - 1
    # not contiguous, as there: torch draws other numbers for a tensor that is
    noise = torch.empty(scaled.transpose(1, 2).shape, dtype=scaled.dtype).transpose(1, 2).normal_(generator=generator)
    return torch.where(scaled == -1, scaled, scaled + noise * strength)


@dataclass(frozen=True)
class Footage:
    """What the model is shown: a clip of ``size`` height and width, each part read anew whenever it is asked for.

    ``plates`` gives frames (1, 3, n, h, w) in 0..1, ``codes`` their quadmasks (n, h, w), in the parts of
    :func:`.vae.encoder_parts`.
    """

    size: tuple[int, int]
    plates: Callable[[], Iterable[torch.Tensor]]
    codes: Callable[[], Iterable[NDArray[np.uint8]]]


def conditioning(model: Model, footage: Footage, number: int, seed: int) -> Conditioning:
    """Encode plate and quadmask for a pass."""

    def noisy() -> Iterator[torch.Tensor]:
        # the same noise for every tile
        generator = torch.Generator().manual_seed(seed)
        return (augmented(plate, generator) for plate in footage.plates())

    def masks() -> Iterator[torch.Tensor]:
        return (mask_video(codes, number) for codes in footage.codes())

    tile = model.profile.tile
    with torch.inference_mode(), model.encoding(*(min(side, tile or side) for side in footage.size)) as vae:
        mask, video = (encode(vae, what, footage.size, tile=tile // SPATIAL) for what in (masks, noisy))
    return Conditioning(mask.cpu(), video.cpu())


def embed(model: Model, *prompts: str) -> torch.Tensor:
    """The embeddings of prompts, (prompts, tokens, width); whatever is :func:`too_long` is ignored."""
    ids = model.tokenizer(
        list(prompts), padding="max_length", max_length=model.tokens, truncation=True, return_tensors="pt"
    ).input_ids
    with torch.inference_mode(), model.text_encoder() as encoder:
        # one by one: their number must not change a bit of any
        return torch.cat([encoder(row[None].to(model.device))[0].cpu() for row in ids])


def too_long(model: Model, prompt: str) -> str:
    """The end of a prompt beyond the model's number of tokens, which is ignored; empty if all fits."""
    ids = model.tokenizer(prompt).input_ids
    # the last token marks the end, and is kept
    return str(model.tokenizer.decode(ids[model.tokens - 1 : -1])) if len(ids) > model.tokens else ""


def rotary(config: dict[str, Any], frames: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The rotary embedding of a window of latents: cosines and sines, (tokens, head width)."""
    patch, patch_t = config["patch_size"], config["patch_size_t"]
    cos, sin = get_3d_rotary_pos_embed(
        config["attention_head_dim"],
        None,
        (height // patch, width // patch),
        (frames + patch_t - 1) // patch_t,
        grid_type="slice",
        max_size=(config["sample_height"] // patch, config["sample_width"] // patch),
    )
    return cos, sin


@dataclass(frozen=True)
class Sampler:
    """How noise becomes latents: the windows, the number of steps, the guidance.

    ``prompt`` and ``negative`` are embeddings; ``negative`` is used with a guidance above 1 only. With a ``strength``
    below 1 the plate's own latents are the beginning, with so much noise, and so many of the steps are left. ``fast``
    skips most of the transformer where its first block says that little has changed since the last step. ``solver`` is
    one of :data:`.solvers.SOLVERS`; ``seed``, and where in the shot the ``first`` latent frame is, decide the noise of
    its steps, if they have any.
    """

    number: int
    plan: WindowPlan
    steps: int
    guidance: float
    prompt: torch.Tensor
    negative: torch.Tensor | None = None
    strength: float = 1.0
    fast: bool = False
    solver: str = DDIM
    seed: int = 0
    first: int = 0

    def run(
        self,
        model: Model,
        noise: torch.Tensor,
        conditions: Conditioning,
        on_step: OnStep,
        progress: Progress | None = None,
    ) -> torch.Tensor:
        """Denoise ``noise`` (1, t, 16, h, w), a step after the other; ``on_step`` may raise to stop.

        With ``progress`` the latents are kept now and then, and a sampling that was stopped goes on from them.
        """
        solver = self._solver(model)
        begun = (progress.read() if progress else None) or Underway(
            0, solver.beginning(noise, self._plate(conditions)), solver.memory
        )
        order = Order(self, model.attention_of(self.number), conditions, begun)
        with model.together(self.number, order.message()):
            latents = self.steps_from(model, begun, conditions, on_step, progress)
        on_step(self._left, self._left)
        return latents.float()

    def steps_from(
        self,
        model: Model,
        begun: Underway,
        conditions: Conditioning,
        on_step: OnStep = lambda *_: None,
        progress: Progress | None = None,
    ) -> torch.Tensor:
        """The latents after all steps, on the CPU, from where others are: what every process of a model's does."""
        solver = self._solver(model)
        solver.remember(begun.memory, model.device)
        channels = conditions.channels.to(model.device, model.dtype)
        latents = begun.latents.to(model.device, model.dtype)
        with self._cached(model) as cached, self._split(model):
            for done in range(begun.done, self._left):
                on_step(done, self._left)
                if self.fast and done % EVERY == 0:
                    # a sampling that goes on from here remembers nothing, either
                    model.transformer(self.number)._reset_stateful_cache()
                velocities = self._velocities(model, latents, channels, solver.timesteps[done], cached)
                latents = solver.step(done, latents, velocities, self.plan)
                if (done + 1) % EVERY == 0:
                    kept = Underway(done + 1, _settled(model, latents), solver.memory)
                    if progress:
                        progress.note(kept)
        return _settled(model, latents)

    def _solver(self, model: Model) -> Solver:
        return SOLVERS[self.solver](model.scheduler_config, self.steps, self._left, self.seed, self.first)

    def _plate(self, conditions: Conditioning) -> torch.Tensor | None:
        """The latents of the plate where they are part of the beginning."""
        return None if self._left == self.steps else conditions.video.transpose(1, 2).float().cpu()

    @property
    def _left(self) -> int:
        """The number of steps that are done, the last ones."""
        return max(1, round(self.steps * self.strength))

    @contextmanager
    def _cached(self, model: Model) -> Iterator[Callable[[str], AbstractContextManager[None]]]:
        """A context for each window's calls, which remembers its last step where that is allowed."""
        if not self.fast:
            yield lambda _: nullcontext()
            return
        transformer = model.transformer(self.number)
        transformer.enable_cache(FirstBlockCacheConfig(threshold=_FAST_THRESHOLD))
        try:
            yield transformer.cache_context
        finally:
            transformer.disable_cache()

    def _velocities(
        self,
        model: Model,
        latents: torch.Tensor,
        channels: torch.Tensor,
        timestep: torch.Tensor,
        cached: Callable[[str], AbstractContextManager[None]],
    ) -> Iterator[torch.Tensor]:
        """The transformer's velocity for each window of latents, guidance applied."""
        if model.group is None or self._splits(model):
            for start, end in self.plan.windows:
                with cached(f"window {start}"):
                    output = self.forward(model, latents[:, start:end], channels[:, start:end], timestep)
                yield self._guided(*output.chunk(2 if self.guided else 1))
            return

        prompts = (self.negative, self.prompt) if self.guided else (self.prompt,)
        calls = [(window, half) for window in self.plan.windows for half in range(len(prompts))]

        def call(window: tuple[int, int], half: int) -> Callable[[], torch.Tensor]:
            def work() -> torch.Tensor:
                start, end = window
                # no card makes both halves of a window, so each remembers for itself
                with cached(f"window {start}, {half}"):
                    return self._call(model, latents[:, start:end], channels[:, start:end], prompts[half], timestep)

            return work

        found = model.group.shared_out(
            [call(*one) for one in calls], [latents[:, slice(*window)] for window, _ in calls]
        )
        for index in range(0, len(found), len(prompts)):
            yield self._guided(*found[index : index + len(prompts)])

    def _guided(self, *halves: torch.Tensor) -> torch.Tensor:
        """The velocity out of those without and with the prompt, or out of the only one."""
        if len(halves) == 1:
            return halves[0]
        without, with_prompt = halves
        return without + self.guidance * (with_prompt - without)

    @property
    def guided(self) -> bool:
        """Whether the prompt is weighed against the negative one."""
        return self.guidance > 1

    def _splits(self, model: Model) -> bool:
        """Whether several cards share each call of the transformer, rather than the calls of a step."""
        if model.group is None or self.fast or model.compiled:
            # first-block caches decide by what one card sees; compiled blocks cannot wait for others
            return False
        calls = len(self.plan.windows) * (2 if self.guided else 1)
        heads = int(model.weights.transformer_config["num_attention_heads"])
        return calls % model.group.size != 0 and model.group.can_split(heads)

    def _split(self, model: Model) -> AbstractContextManager[None]:
        if model.group is None or not self._splits(model):
            return nullcontext()
        return model.group.splitting(model.transformer(self.number))

    def forward(
        self, model: Model, window: torch.Tensor, channels: torch.Tensor, timestep: torch.Tensor
    ) -> torch.Tensor:
        """One pass through the transformer; with guidance, the negative prompt's half comes first."""
        if not self.guided:
            return self._call(model, window, channels, self.prompt, timestep)
        assert self.negative is not None
        both = torch.cat([self.negative, self.prompt])
        return self._call(model, torch.cat([window] * 2), torch.cat([channels] * 2), both, timestep)

    def _call(
        self,
        model: Model,
        window: torch.Tensor,
        channels: torch.Tensor,
        prompts: torch.Tensor,
        timestep: torch.Tensor,
    ) -> torch.Tensor:
        """One pass of a window with each of ``prompts``."""
        latents = torch.cat([window, channels], dim=2)
        height, width = (SPATIAL * side for side in window.shape[-2:])
        cos, sin = rotary(model.weights.transformer_config, *(window.shape[i] for i in (1, 3, 4)))
        with torch.inference_mode(), model.sampling(self.number, height, width, guided=len(prompts) > 1) as transformer:
            output: torch.Tensor = transformer(
                hidden_states=latents.to(model.device, model.dtype),
                encoder_hidden_states=prompts.to(model.device, model.dtype),
                timestep=timestep.expand(latents.shape[0]).to(model.device),
                image_rotary_emb=(cos.to(model.device), sin.to(model.device)),
                return_dict=False,
            )[0]
        return output


def starting_noise(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """The noise that a job of this seed begins with, the same on every device."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _settled(model: Model, latents: torch.Tensor) -> torch.Tensor:
    """Latents on the CPU, once it is sure that every card had its part in them."""
    latents = latents.cpu()
    if model.group:
        model.group.agree()
    return latents


@dataclass(frozen=True)
class Order:
    """What a helper is to sample, with which attention ``backend``, and from where."""

    sampler: Sampler
    backend: str
    conditions: Conditioning
    begun: Underway

    def message(self) -> Message:
        """The order, to be sent."""
        sampler, plan = self.sampler, self.sampler.plan
        values = {
            "sampler": {name: getattr(sampler, name) for name in _PLAIN},
            "plan": {"length": plan.length, "windows": plan.windows},
            "backend": self.backend,
            "done": self.begun.done,
        }
        tensors = {
            "prompt": sampler.prompt,
            "mask": self.conditions.mask,
            "video": self.conditions.video,
            "latents": self.begun.latents,
            **({} if sampler.negative is None else {"negative": sampler.negative}),
            **{_MEMORY + name: tensor for name, tensor in self.begun.memory.items()},
        }
        return Message(values, tensors)

    @classmethod
    def of(cls, message: Message) -> Order:
        """The order that a message is."""
        values, tensors = message.values, message.tensors
        windows = WindowPlan(values["plan"]["length"], tuple((start, end) for start, end in values["plan"]["windows"]))
        memory = {name.removeprefix(_MEMORY): one for name, one in tensors.items() if name.startswith(_MEMORY)}
        return cls(
            Sampler(plan=windows, prompt=tensors["prompt"], negative=tensors.get("negative"), **values["sampler"]),
            values["backend"],
            Conditioning(tensors["mask"], tensors["video"]),
            Underway(values["done"], tensors["latents"], memory),
        )


# What of a sampler is plain, and what marks tensors that its solver remembers.
_PLAIN = ("number", "steps", "guidance", "strength", "fast", "solver", "seed", "first")
_MEMORY = "memory: "
