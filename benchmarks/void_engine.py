"""What the VOID engine costs: ``python benchmarks/void_engine.py [--full] [--device cuda] [--frames 85]``.

Random weights, of tiny size unless ``--full`` is given (which writes about 32 GB into a temporary folder, and wants a
GPU). One clip in each memory profile, stage by stage. The baseline, in the same run, is the published way of working: a
process for each clip, which loads everything before it begins.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "void")]

from random_weights import FULL, TINY, write  # noqa: E402

from void_server.engines.void import fit  # noqa: E402
from void_server.engines.void.model import FULL as FULL_PROFILE  # noqa: E402
from void_server.engines.void.model import PROFILES, Model  # noqa: E402
from void_server.engines.void.sampling import Sampler, conditioning, embed, starting_noise  # noqa: E402
from void_server.engines.void.vae import decode, encoder_parts, latent_length  # noqa: E402
from void_server.engines.void.weights import Weights  # noqa: E402
from void_server.engines.void.windows import plan  # noqa: E402


@dataclass
class Cost:
    """Seconds by stage, and the most memory that was used, in GB."""

    seconds: dict[str, float] = field(default_factory=dict)
    memory: float = 0.0
    latents: torch.Tensor | None = None

    def take(self, stage: str, work: Callable[[], object]) -> object:
        """Do a stage's work and note how long it took."""
        begin = time.perf_counter()
        result = work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds[stage] = time.perf_counter() - begin
        return result


def _ignored(done: int, total: int) -> None:
    del done, total


def measure(model: Model, frames: int, height: int, steps: int, *, fast: bool = False) -> Cost:
    """One clip, pass 1."""
    cost = Cost()
    cuda = model.device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(model.device)
    width = round(height * fit.ASPECT / fit.STEP) * fit.STEP
    length = fit.clip_length(frames)
    rng = np.random.default_rng(0)
    video = torch.from_numpy(rng.random((1, 3, length, height, width), np.float32))
    codes = np.where(rng.random((length, height, width)) < 0.2, 0, 255).astype(np.uint8)
    parts = [slice(part.start, part.stop) for part in encoder_parts(length)]

    def load() -> None:
        _ = model.vae, model.transformer(1)

    cost.take("load", load)
    prompt = cost.take("text", lambda: embed(model, "a lime falls on the table"))  # type: ignore[misc]
    given = cost.take("encode", lambda: conditioning(model, ((video[:, :, p], codes[p]) for p in parts), 1, 0))
    sampler = Sampler(1, plan(latent_length(length), fit.WINDOW), steps, 1.0, prompt, fast=fast)
    noise = starting_noise((1, latent_length(length), 16, height // 8, width // 8), 0)
    latents = cost.take(f"{steps} steps", lambda: sampler.run(model, noise, given, _ignored))  # type: ignore[arg-type]
    assert isinstance(latents, torch.Tensor)
    cost.latents = latents
    tiled = model.profile != FULL_PROFILE

    def decoded() -> None:
        with torch.inference_mode():
            for _ in decode(model.vae, latents.transpose(1, 2), tiled=tiled):
                pass

    cost.take("decode", decoded)
    used = torch.cuda.max_memory_allocated(model.device) if cuda else psutil.Process().memory_info().rss
    cost.memory = used / 2**30
    return cost


def difference(latents: torch.Tensor | None, exact: torch.Tensor | None) -> float:
    """How far latents are from the exact ones, as a share of these."""
    assert latents is not None
    assert exact is not None
    return float((latents - exact).abs().mean() / exact.abs().mean())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--frames", type=int, default=85)
    parser.add_argument("--height", type=int, default=0, help="384 with --full, else 64")
    parser.add_argument("--steps", type=int, default=0, help="30 with --full, else 4")
    options = parser.parse_args()
    height, steps = options.height or (384 if options.full else 64), options.steps or (30 if options.full else 4)
    device = torch.device(options.device)
    with tempfile.TemporaryDirectory() as folder:
        weights = Weights(write(Path(folder), FULL if options.full else TINY, passes=(1,)))
        rows: dict[str, Cost] = {}
        for profile in PROFILES:
            model = Model(weights, device, profile)
            first = measure(model, options.frames, height, steps)
            if profile == FULL_PROFILE:
                rows["published way"] = first
            # once more: now the model is resident
            rows[profile] = measure(model, options.frames, height, steps)
            if profile == FULL_PROFILE:
                rows["full, fast"] = measure(model, options.frames, height, steps, fast=True)
            if profile == FULL_PROFILE:
                compiled = Model(weights, device, profile, compiled=True)
                measure(compiled, options.frames, height, steps)
                rows["full, compiled"] = measure(compiled, options.frames, height, steps)
                del compiled
            del model
            if device.type == "cuda":
                torch.cuda.empty_cache()
    baseline = sum(rows["published way"].seconds.values())
    print(
        f"{device}, {'full size' if options.full else 'tiny'}, {options.frames} frames, height {height}, {steps} steps"
    )
    stages = list(rows["published way"].seconds)
    print(
        f"{'':<14}"
        + "".join(f"{stage:>10}" for stage in stages)
        + f"{'clip s':>10}{'ratio':>8}{'GB':>8}{'differs':>10}"
    )
    for name, cost in rows.items():
        total = sum(cost.seconds.values())
        each = "".join(f"{cost.seconds[stage]:>10.2f}" for stage in stages)
        differs = f"{difference(cost.latents, rows['full'].latents):.1%}"
        print(f"{name:<14}{each}{total:>10.2f}{total / baseline:>8.2f}{cost.memory:>8.2f}{differs:>10}")


if __name__ == "__main__":
    main()
