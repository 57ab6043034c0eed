"""Training: its steps against the published script's, what it keeps, what it stops at, and that it goes on to the bit."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import CogVideoXDDIMScheduler, CogVideoXTransformer3DModel
from diffusers.optimization import get_cosine_with_hard_restarts_schedule_with_warmup
from safetensors.torch import load_file, save_file

from void_server.api.errors import JobFailed, SettingError, VoidError
from void_server.engines.void import attention
from void_server.engines.void.lora import DOWN, UP
from void_server.engines.void.model import Model
from void_server.engines.void.sampling import mask_video
from void_server.engines.void.vae import encoder_parts, moments
from void_server.engines.void.weights import BASE, Weights
from void_server.imaging import exr
from void_server.pairs import PairFolder
from void_server.quadmask import classes
from void_server.sample import Film, SCENES

pytest.importorskip("accelerate")
pytest.importorskip("peft")
pytest.importorskip("came_pytorch")

from void_server.training import course, learner, run, step, store  # noqa: E402
from void_server.training.clips import Pair, clips_of  # noqa: E402
from void_server.training.config import BASE as BASE_MODEL  # noqa: E402
from void_server.training.config import Optimiser, Training, read, settings  # noqa: E402

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
SIZE = 96, 64
FRAMES = range(1001, 1014)


def write_pair(folder: Path, scene: str, start: float = 0.0) -> Path:
    """A tiny pair out of a sample's film, from a moment on."""
    film = Film(SCENES[scene], *SIZE)
    for index, frame in enumerate(FRAMES):
        made = film.frame(start + 0.5 * index / len(FRAMES), frame)
        codes = classes.assemble(made.roto, made.change > 0.5)
        for name, picture, channels in (
            ("plate", made.plate, exr.RGB),
            ("truth", made.truth, exr.RGB),
            ("roto", made.roto[..., None], ("A",)),
            ("quadmask", codes[..., None] / 255, ("Y",)),
        ):
            exr.write(PairFolder(folder).frame(name, frame), picture.astype(np.float16), channels)
    PairFolder(folder).facts_file.write_text(json.dumps({"fps": 24, "prompt": f"An empty set, {scene}."}))
    return folder


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    for index, scene in enumerate(("walkby", "knock", "mirror")):
        write_pair(folder / scene, scene, 0.15 * index)
    return folder


@pytest.fixture(autouse=True)
def with_weights(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOID_WEIGHTS", str(weights))


TEXT = """
out = "{out}"
[data]
pairs = ["{pairs}"]
heights = [64]
frames = 13
full_length_height = 64
shorter = 0.3
{data}
[model]
precision = "float32"
rank = 4
{model}
[optimiser]
warm_up = 2
{optimiser}
[run]
steps = 6
save_every = 2
example_every = 0
device = "cpu"
{run}
"""


def written(folder: Path, pairs: Path, out: str = "out", **parts: str) -> Path:
    """A configuration's file."""
    path = folder / "training.toml"
    given = {"data": "", "model": "", "optimiser": "", "run": "", **parts}
    text = TEXT.format(out=out, pairs=pairs, **given)
    # what is given replaces what stands above
    lines: list[str] = []
    for line in text.splitlines():
        key = line.partition(" = ")[0]
        start = max((index for index, one in enumerate(lines) if one.startswith("[")), default=0)
        lines = lines[:start] + [one for one in lines[start:] if not line or one.partition(" = ")[0] != key] + [line]
    path.write_text("\n".join(lines))
    return path


def configured(folder: Path, pairs: Path, out: str = "out", **parts: str) -> Training:
    return read(written(folder, pairs, out, **parts))


def trained(config: Training) -> list[Path]:
    return run.train(config, lambda *_: None)


def losses(out: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / "log.jsonl").read_text().splitlines()]


# -- as published


@pytest.fixture(scope="session")
def published() -> dict[str, torch.Tensor]:
    """One step of the published script, on the tiny model of the parity fixtures."""
    return load_file(Path(__file__).with_name("published_step.safetensors"))


def sampled(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensors[name].flatten() for name in sorted(tensors)])[::97]


def lengths(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.stack([tensors[name].norm() for name in sorted(tensors)])


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_and_a_step_of_came_are_those_of_the_published_script(
    published: dict[str, torch.Tensor], shared: Path, *, checkpointing: bool
) -> None:
    weights = Weights(shared / "parity" / "model")
    transformer = CogVideoXTransformer3DModel.from_config(weights.transformer_config)
    before = load_file(weights.checkpoint(1))
    transformer.load_state_dict(before)
    attention.use(transformer, "native")
    if checkpointing:
        transformer.enable_gradient_checkpointing()
    transformer.train()
    model = Model(weights, CPU)
    batch = course.Batch(
        published["truth"], published["noise"], published["conditions"], published["timesteps"], published["prompt"], ()
    )
    scheduler = CogVideoXDDIMScheduler.from_config(model.scheduler_config)
    loss = step.loss_of(transformer, weights.transformer_config, scheduler, batch, CPU, torch.float32)
    assert loss.item() == pytest.approx(float(published["loss"]), rel=1e-5)
    loss.backward()
    gradients = {name: one.grad for name, one in transformer.named_parameters()}
    scale = float(published["gradient"].abs().max())
    assert float((sampled(gradients) - published["gradient"]).abs().max()) < 1e-5 * scale
    torch.testing.assert_close(lengths(gradients), published["gradient_lengths"], rtol=1e-4, atol=1e-7)
    optimiser = step.optimiser(Optimiser(), 1e-3, transformer.parameters())
    norm = torch.nn.utils.clip_grad_norm_(transformer.parameters(), Optimiser().gradient_norm)
    assert float(norm) == pytest.approx(float(published["norm"]), rel=1e-5)
    optimiser.step()
    updates = {name: one.detach() - before[name] for name, one in transformer.named_parameters()}
    # the root of a small gradient's square magnifies what the last bits differ by
    apart = (sampled(updates) - published["update"]).abs()
    assert float(apart.median()) < 1e-8
    assert float(apart.max()) < 0.02 * float(published["update"].abs().max())
    torch.testing.assert_close(lengths(updates), published["update_lengths"], rtol=1e-3, atol=1e-6)


def test_masks_go_into_the_vae_as_in_the_published_script(published: dict[str, torch.Tensor], shared: Path) -> None:
    codes = np.full((21, 48, 64), 255, np.uint8)
    codes[:, 8:24, 10:30], codes[2:, 20:40, 24:44], codes[2:, 20:24, 24:30] = 0, 127, 63
    levels = [float(mask_video(np.full((1, 1, 1), code, np.uint8), 1).max()) for code in classes.NAMES]
    assert levels == pytest.approx(published["mask_levels"].tolist(), abs=1e-6)
    model = Model(Weights(shared / "parity" / "model"), CPU)
    parts = encoder_parts(21)
    with torch.inference_mode(), model.encoding(48, 64) as vae:
        found = moments(vae, (mask_video(codes[part.start : part.stop], 1) for part in parts))
    torch.testing.assert_close(found.clone(), published["mask_moments"], rtol=1e-4, atol=1e-5)
