"""What the VOID engine costs: ``python benchmarks/void_engine.py [--full | --weights FOLDER] [--gpus 2] ...``.

Random weights, of tiny size unless ``--full`` is given (which writes about 43 GB into a temporary folder, and wants a
GPU), or the released ones. They keep the size of what goes through them, as trained ones do, so that nothing computes
with zeros or infinities. For each memory setting, pass, height and number of frames: seconds by stage, the most memory,
the calls of the transformer that were computed whole, how far the latents are from those of ``exact``, and the PSNR of
the frames against those. Beside it, in the same run: the arithmetic floor, which is the operations counted divided by
the speed of this device at large matrices; and the published loop, which is diffusers' own transformer and scheduler
with everything on the device.

``fast`` has a row for its cache alone, for its products in float8 alone where the card has them (on a CPU they are
computed, for what they change), and for both. ``--caches`` compares the caches of diffusers, on one GPU and clips of
one window; ``NDHWC`` is the autoencoder with the weights of its convolutions in that order.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import psutil
import torch
from diffusers import CogVideoXDDIMScheduler, CogVideoXTransformer3DModel
from diffusers.models.attention_processor import CogVideoXAttnProcessor2_0
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "void")]

from random_weights import FULL, TINY, write  # noqa: E402
from step_caches import Calls, caches, measuring_ratios, remembering  # noqa: E402

from void_server.engines.void import attention, fit, float8, memory, settings  # noqa: E402
from void_server.engines.void.model import Model  # noqa: E402
from void_server.engines.void.sampling import (  # noqa: E402
    GUIDANCE,
    STEPS,
    Conditioning,
    Footage,
    Sampler,
    conditioning,
    embed,
    rotary,
    starting_noise,
)
from void_server.engines.void.vae import SPATIAL, decode, encoder_parts, latent_length  # noqa: E402
from void_server.engines.void.weights import Weights  # noqa: E402
from void_server.engines.void.windows import plan  # noqa: E402

T = TypeVar("T")


@dataclass(frozen=True)
class Case:
    """What is measured."""

    number: int
    height: int
    frames: int
    steps: int
    solver: str = settings.DDIM

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, round(self.height * fit.ASPECT / fit.STEP) * fit.STEP

    @property
    def length(self) -> int:
        """The frames that the model works on."""
        return fit.clip_length(self.frames)

    @property
    def latents(self) -> tuple[int, ...]:
        """The shape of the latents."""
        return 1, latent_length(self.length), 16, *(side // SPATIAL for side in self.size)

    def footage(self) -> Footage:
        """Noise and boxes, drawn part by part."""
        rng = np.random.default_rng(0)
        video = rng.random((1, 3, 13, *self.size), np.float32)
        codes = np.where(rng.random((13, *self.size)) < 0.2, 0, 255).astype(np.uint8)
        lengths = [len(part) for part in encoder_parts(self.length)]
        return Footage(
            self.size,
            lambda: (torch.from_numpy(video[:, :, :n]) for n in lengths),
            lambda: (codes[:n] for n in lengths),
        )

    def sampler(self, model: Model, *, fast: bool) -> Sampler:
        """As jobs have it; reads the prompt."""
        prompt, negative = embed(model, "a lime falls on the table", "").split(1)
        guidance = GUIDANCE[self.number]
        windows = plan(self.latents[1], fit.WINDOW)
        return Sampler(
            self.number,
            windows,
            self.steps,
            guidance,
            prompt,
            negative if guidance > 1 else None,
            fast=fast,
            solver=self.solver,
        )


@dataclass
class Cost:
    """Seconds by stage, and the most memory that was used, in GiB."""

    device: torch.device
    seconds: dict[str, float] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)
    calls: int = 0
    latents: torch.Tensor | None = None
    #: Decoded, of 8 bits.
    frames: torch.Tensor | None = None

    def take(self, stage: str, work: Callable[[], T]) -> T:
        """Do a stage's work, and note how long it took and the most memory that it had."""
        cuda = self.device.type == "cuda"
        if cuda:
            torch.cuda.reset_peak_memory_stats(self.device)
        begin = time.perf_counter()
        result = work()
        if cuda:
            torch.cuda.synchronize(self.device)
        self.seconds[stage] = time.perf_counter() - begin
        used = torch.cuda.max_memory_allocated(self.device) if cuda else psutil.Process().memory_info().rss
        self.memory[stage] = used / memory.GIB
        return result


def _ignored(done: int, total: int) -> None:
    del done, total


def measure(
    model: Model,
    case: Case,
    backend: str = "native",
    *,
    fast: bool = False,
    cached: AbstractContextManager[object] | None = None,
) -> Cost:
    """One clip through one pass, sampled while ``cached`` holds."""
    cost = Cost(model.device)
    sampler = cost.take("text", lambda: case.sampler(model, fast=fast))
    cost.take("load", lambda: attention.use(model.transformer(case.number), backend))
    given = encoded(cost, model, case)
    noise = starting_noise(case.latents, 0)
    calls = Calls(model.transformer(case.number))
    with cached or nullcontext():
        latents = cost.take("sample", lambda: sampler.run(model, noise, given, _ignored))
    calls.end()
    cost.calls = calls.count
    shown(cost, model, case, latents)
    return cost


def encoded(cost: Cost, model: Model, case: Case) -> Conditioning:
    """What the transformer is conditioned on."""
    return cost.take("encode", lambda: conditioning(model, case.footage(), case.number, 0))


def shown(cost: Cost, model: Model, case: Case, latents: torch.Tensor) -> None:
    """The frames of latents, noted with these."""
    tile = model.profile.tile

    def work() -> torch.Tensor:
        sides = (min(side, tile or side) for side in case.size)
        with torch.inference_mode(), model.decoding(*sides) as vae:
            parts = decode(vae, latents.transpose(1, 2), tile=tile // SPATIAL)
            return torch.cat([((part.clamp(-1, 1) + 1) * 127.5).round().byte().cpu() for part in parts], dim=2)

    cost.latents, cost.frames = latents, cost.take("decode", work)


def in_other_order(weights: Weights, device: torch.device, case: Case, latents: torch.Tensor) -> Cost:
    """Encoding and decoding with the weights of all three-dimensional convolutions in the order NDHWC."""
    model = Model(weights, device)
    torch.nn.utils.convert_conv3d_weight_memory_format(model.vae, torch.channels_last_3d)
    for _ in range(2):
        # once more, resident
        cost = Cost(device)
        encoded(cost, model, case)
        shown(cost, model, case, latents)
    model.collect()
    return cost


def published_loop(model: Model, case: Case, sampler: Sampler) -> float:
    """Seconds of diffusers' own transformer and scheduler for all steps of the first window."""
    frames, (height, width) = min(case.latents[1], fit.WINDOW), case.latents[3:]
    scheduler = CogVideoXDDIMScheduler.from_config(model.scheduler_config)
    scheduler.set_timesteps(case.steps)
    batch = 2 if sampler.guided else 1
    latents = starting_noise((1, frames, 16, height, width), 0).to(model.device, model.dtype)
    channels = Conditioning(latents.transpose(1, 2), latents.transpose(1, 2)).channels
    prompt = sampler.prompt.to(model.device, model.dtype).expand(batch, -1, -1)
    cos, sin = (t.to(model.device) for t in rotary(model.weights.transformer_config, frames, height, width))
    with torch.inference_mode(), model.sampling(case.number, *case.size, guided=sampler.guided) as transformer:
        ours = transformer.attn_processors
        transformer.set_attn_processor(CogVideoXAttnProcessor2_0())
        cost = Cost(model.device)

        def loop() -> None:
            nonlocal latents
            for timestep in scheduler.timesteps:
                inputs = torch.cat([latents, channels], dim=2).expand(batch, -1, -1, -1, -1)
                at = timestep.expand(batch).to(model.device)
                found = transformer(inputs, prompt, at, image_rotary_emb=(cos, sin), return_dict=False)[0]
                if batch == 2:
                    without, with_prompt = found.chunk(2)
                    found = without + sampler.guidance * (with_prompt - without)
                latents = scheduler.step(found, timestep, latents, eta=0.0, return_dict=False)[0].to(model.dtype)

        cost.take("loop", loop)
        transformer.set_attn_processor(ours)
    return cost.seconds["loop"]


def operations(model: Model, case: Case) -> float:
    """Floating-point operations of all steps, counted on the meta device."""
    config = model.weights.transformer_config
    with torch.device("meta"):
        transformer = CogVideoXTransformer3DModel.from_config(config)
        windows = plan(case.latents[1], fit.WINDOW).windows
        frames, height, width = windows[0][1] - windows[0][0], *case.latents[3:]
        tokens = frames // 2 * (height // 2) * (width // 2)
        inputs = {
            "hidden_states": torch.empty(1, frames, 48, height, width),
            "encoder_hidden_states": torch.empty(1, model.tokens, config["text_embed_dim"]),
            "timestep": torch.empty(1),
            "image_rotary_emb": tuple(torch.empty(tokens, config["attention_head_dim"]) for _ in range(2)),
        }
        counter = FlopCounterMode(display=False)
        with torch.inference_mode(), counter:
            transformer(**inputs)
    return float(counter.get_total_flops()) * case.steps * len(windows) * (2 if GUIDANCE[case.number] > 1 else 1)


def speed(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second at large matrices."""
    side = 8192 if device.type == "cuda" else 1024
    one, other = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    cost = Cost(device)
    for _ in range(2):
        cost.take("product", lambda: [one @ other for _ in range(10)])
    return 10 * 2 * side**3 / cost.seconds["product"]


def difference(latents: torch.Tensor | None, exact: torch.Tensor | None) -> float:
    """How far latents are from the exact ones, as a share of these."""
    assert latents is not None
    assert exact is not None
    return float((latents - exact).abs().mean() / exact.abs().mean())


def psnr(cost: Cost, exact: Cost) -> float:
    """Of the frames against the exact ones, in dB."""
    assert cost.frames is not None
    assert exact.frames is not None
    # frame by frame, as floats take four times the memory
    pairs = zip(cost.frames.unbind(2), exact.frames.unbind(2), strict=True)
    errors = [float((one.float() - other.float()).square().mean()) for one, other in pairs]
    error = sum(errors) / len(errors)
    return 10 * math.log10(255**2 / error) if error else math.inf


def compared_caches(model: Model, case: Case) -> dict[str, Cost]:
    """The clip with each of the caches that abbreviate steps."""
    transformer = model.transformer(case.number)
    with measuring_ratios(transformer, case.steps) as ratios:
        measure(model, case)
    return {
        name: measure(model, case, cached=remembering(transformer, config))
        for name, config in caches(case.steps, ratios).items()
    }


def report(
    weights: Weights,
    devices: tuple[torch.device, ...],
    case: Case,
    profiles: list[str],
    backends: list[str],
    dpm: int,
    with_caches: bool,
) -> None:
    """Measure one case in each profile, backend and quality, and print the table."""
    rows: dict[str, Cost] = {}
    device, *helpers = devices
    for name in profiles:
        model = Model(weights, device, memory.PROFILES[name], helpers=tuple(helpers))
        rows[f"{name}, cold"] = measure(model, case)
        for backend in backends:
            # once more: now the model is resident
            rows[name if backend == "native" else f"{name}, {backend}"] = measure(model, case, backend)
        rows[f"{name}, cache"] = measure(model, case, fast=True)
        if dpm:
            rows[f"{name}, dpm {dpm}"] = measure(model, replace(case, steps=dpm, solver=settings.DPM))
        if name == profiles[0]:
            sampler = case.sampler(model, fast=False)
            loop = published_loop(model, case, sampler) * len(sampler.plan.windows)
            counted = operations(model, case)
            floor = counted / speed(device, model.dtype) / len(devices)
            if with_caches:
                rows |= compared_caches(model, case)
        model.collect()
        del model
        if device.type == "cpu" or float8.possible(devices):
            model = Model(weights, device, memory.PROFILES[name], float8=True, helpers=tuple(helpers))
            measure(model, case)
            rows[f"{name}, float8"] = measure(model, case)
            rows[f"{name}, fast"] = measure(model, case, fast=True)
            model.collect()
            del model
    exact = rows[profiles[0]]
    assert exact.latents is not None
    rows["NDHWC"] = in_other_order(weights, device, case, exact.latents)
    stages = list(rows[profiles[0]].seconds)
    print(f"\npass {case.number}, {case.frames} frames at {case.size[0]} x {case.size[1]}, {case.steps} steps")
    print(f"{len(devices)} x {device}")
    print(f"sampling: {counted:.2e} operations, floor {floor:.2f} s, published loop {loop:.2f} s")
    head = "".join(f"{stage:>9}" for stage in stages)
    print(f"{'':<16}{head}{'/ floor':>9}{'GiB':>8}  {'at':<8}{'calls':>6}{'differs':>8}{'dB':>6}")
    for name, cost in rows.items():
        each = "".join(f"{cost.seconds[stage]:>9.2f}" if stage in cost.seconds else f"{'':>9}" for stage in stages)
        worst = max(cost.memory, key=lambda stage: cost.memory[stage])
        differs = difference(cost.latents, exact.latents)
        ratio = f"{cost.seconds['sample'] / floor:>9.2f}" if "sample" in cost.seconds else f"{'':>9}"
        told = f"{ratio}{cost.memory[worst]:>8.2f}  {worst:<8}{cost.calls:>6}{differs:>8.1%}{psnr(cost, exact):>6.1f}"
        print(f"{name:<16}{each}{told}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--weights", type=Path, help="the released weights, instead of random ones")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--gpus", type=int, default=1, help="how many sample together")
    parser.add_argument("--frames", type=int, nargs="*", default=[85])
    parser.add_argument("--height", type=int, nargs="*", help="384 at full size, else 64")
    parser.add_argument("--passes", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--steps", type=int, default=0, help="those of the pass at full size, else 4")
    parser.add_argument("--memory", nargs="*", default=list(memory.PROFILES))
    parser.add_argument("--attention", nargs="*", default=["native"])
    parser.add_argument("--caches", action="store_true", help="compare the caches that abbreviate steps")
    parser.add_argument("--dpm", type=int, default=0, help="also with DPM-Solver++ in so many steps, such as 20")
    options = parser.parse_args()
    if options.caches and (options.gpus > 1 or max(options.frames) > fit.SHORTEST):
        parser.error(f"--caches are compared on one GPU, and clips of {fit.SHORTEST} frames at most")
    large = options.full or options.weights is not None
    first = torch.device(options.device)
    further = [torch.device(first.type, index) if first.type == "cuda" else first for index in range(1, options.gpus)]
    with tempfile.TemporaryDirectory() as folder:
        weights = Weights(options.weights or write(Path(folder), FULL if options.full else TINY))
        for number in options.passes:
            for height in options.height or [384 if large else 64]:
                for frames in options.frames:
                    case = Case(number, height, frames, options.steps or (STEPS[number] if large else 4))
                    devices = first, *further
                    report(weights, devices, case, options.memory, options.attention, options.dpm, options.caches)


if __name__ == "__main__":
    main()
