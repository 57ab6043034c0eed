"""Training: its steps against the published script's, what it keeps, when it stops, that it goes on to the bit."""

from __future__ import annotations

import importlib
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from diffusers import CogVideoXDDIMScheduler, CogVideoXTransformer3DModel
from diffusers.optimization import get_cosine_with_hard_restarts_schedule_with_warmup
from safetensors.torch import load_file, save_file

from void_server.api.errors import JobFailed, SequenceError, SettingError, VoidError
from void_server.api.exclusive import alone_in
from void_server.engines.void import attention
from void_server.engines.void.lora import DOWN, UP
from void_server.engines.void.model import Model
from void_server.engines.void.sampling import mask_video
from void_server.engines.void.vae import encoder_parts, moments
from void_server.engines.void.weights import BASE, Weights
from void_server.imaging import exr, movie
from void_server.imaging.colour import ColourSpace
from void_server.pairs import PairFolder, pairs_in
from void_server.pairs.export import Rights, export
from void_server.pairs.source import of_folder
from void_server.quadmask import classes
from void_server.sample import SCENES, Film

pytest.importorskip("accelerate")
pytest.importorskip("peft")
pytest.importorskip("came_pytorch")

from meter import Meter
from peft import LoraConfig
from random_weights import FULL

from void_server.training import course, learner, run, step, store
from void_server.training.clips import clips_of
from void_server.training.config import BASE as BASE_MODEL
from void_server.training.config import Optimiser, Training, read, settings
from void_server.training.material import OwnPair, folders_in, opened

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
encoded = "{pairs}_encoded"
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


def test_the_rate_is_that_of_the_published_schedule() -> None:
    wanted = Training.model_validate(
        {
            "out": "o",
            "data": {"pairs": ["p"]},
            "optimiser": {"rate": 0.5, "warm_up": 7, "restarts": 2},
            "run": {"steps": 40},
        }
    )
    schedule = get_cosine_with_hard_restarts_schedule_with_warmup(
        torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.5), 7, 40, num_cycles=2
    )
    share = schedule.lr_lambdas[0]
    assert [step.rate_at(wanted, index) for index in range(42)] == pytest.approx([0.5 * share(i) for i in range(42)])


def test_the_base_model_is_widened_as_in_the_published_script() -> None:
    # of each of 33 channels 8 columns: 16 of noise, one of the mask, 16 of the plate
    weight = torch.arange(264.0)[None]
    wide = learner.widened(weight)[0]
    assert wide.shape == (384,)
    assert torch.equal(wide[:128], weight[0, :128])
    assert torch.equal(wide[256:], weight[0, 136:])
    for channel in range(16):
        assert torch.equal(wide[128 + 8 * channel : 136 + 8 * channel], weight[0, 128:136])


@pytest.mark.parametrize(("published", "deviation"), [(False, 1.0), (True, 1.313)])
def test_mixed_noise_has_variance_1_unless_as_published(deviation: float, *, published: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    moving, fresh = torch.randn((2, 200_000), generator=generator)
    assert float(course.mixed_noise(moving, fresh, 0.3, published=published).std()) == pytest.approx(
        deviation, abs=0.01
    )


# -- what is kept on disk


def test_a_shorter_clip_has_the_first_latents_of_the_longer_one_to_the_bit(weights: Path) -> None:
    video = torch.rand((1, 3, 29, 32, 48), generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode(), Model(Weights(weights), CPU).encoding(32, 48) as vae:
        whole, shorter = (
            moments(vae, (video[:, :, part.start : part.stop] for part in encoder_parts(frames))) for frames in (29, 13)
        )
    assert shorter.shape == (1, 32, 4, 4, 6)
    assert torch.equal(whole[:, :, :4], shorter)


def test_clips_are_encoded_once_and_again_where_a_pixel_changed(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "pairs"
    shutil.copytree(pairs, own)
    encoded: list[str] = []
    real = store.Store._encoded
    monkeypatch.setattr(store.Store, "_encoded", lambda self, clip: encoded.append(clip.name) or real(self, clip))
    wanted = configured(tmp_path, own)

    def prepared() -> store.Prepared:
        kept = store.Store(tmp_path / "encoded", wanted, Model(Weights(Path(os.environ["VOID_WEIGHTS"])), CPU))
        return store.prepare(wanted, kept, lambda *_: None)

    first = prepared()
    assert len(encoded) == len(first.items) == 3
    assert prepared().items == first.items
    assert len(encoded) == 3, "nothing was encoded again"
    plate = PairFolder(own / "knock").frame("plate", 1003)
    pixels = exr.read_rgb(plate)
    pixels[5, 5] += 0.5
    exr.write(plate, pixels.astype(np.float16), exr.RGB)
    again = prepared()
    assert len(encoded) == 4
    assert [one.latents for one in again.items].count(first.items[0].latents) == 0
    assert [one.latents for one in again.items][1:] == [one.latents for one in first.items][1:]


def test_what_is_learnt_is_what_the_engine_sees(pairs: Path, tmp_path: Path) -> None:
    """The truth's curve is the plate's, and on the first frame nothing is affected."""
    wanted = configured(tmp_path, pairs)
    (pair,) = (OwnPair(PairFolder(pairs / "walkby"), wanted.data),)
    (clip,) = clips_of(pair, wanted.data)
    assert len(clip.frames) == 13
    brightest = max(float(exr.read_rgb(PairFolder(pairs / "walkby").frame("plate", f)).max()) for f in clip.frames)
    assert pair.curve.maximum == pytest.approx(brightest)
    assert set(np.unique(clip.codes([0]))) <= {classes.REMOVE, classes.KEEP}
    assert classes.AFFECTED in clip.codes(range(13))
    plates, truths, codes = clip.plates([6])[0], clip.truths([6])[0], clip.codes([6])[0]
    kept = codes == classes.KEEP
    assert np.abs(plates - truths)[kept].mean() < 0.1 * np.abs(plates - truths)[~kept].mean()


def test_steps_depend_on_seed_and_number_alone(pairs: Path, tmp_path: Path) -> None:
    wanted = configured(tmp_path, pairs, data="drop_text = 0.5")
    kept = store.Store(tmp_path / "encoded", wanted, Model(Weights(Path(os.environ["VOID_WEIGHTS"])), CPU))
    prepared = store.prepare(wanted, kept, lambda *_: None)
    one, other = course.Course(wanted, prepared, 0.7), course.Course(wanted, prepared, 0.7)
    later = one.batch(5)
    for number in range(5):
        other.batch(number)
    assert torch.equal(later.noise, other.batch(5).noise)
    assert torch.equal(later.conditions, other.batch(5).conditions)
    batches = [one.batch(number) for number in range(60)]
    assert {name for batch in batches[:3] for name in batch.names} == {item.name for item in prepared.items}
    assert {batch.truth.shape[1] for batch in batches} == {2, 4}, "some are cut to an even number of latent frames"
    nothing = load_file(prepared.nothing)["prompt"]
    without = sum(torch.equal(batch.prompt, nothing) for batch in batches)
    assert 15 < without < 45
    assert len({int(batch.timesteps) for batch in batches}) > 50


# -- a training from its beginning to its result


def test_the_loss_goes_down_and_the_page_tells_of_it(pairs: Path, tmp_path: Path) -> None:
    wanted = configured(
        tmp_path,
        pairs,
        model="full = true",
        optimiser='kind = "adamw"\nrate = 0.003',
        run="steps = 30\nexample_every = 30\nexample_steps = 2",
    )
    (result,) = trained(wanted)
    found = losses(wanted.out)
    assert len(found) == 30
    assert np.mean(found[-8:]) < 0.8 * np.mean(found[:8])
    page = (wanted.out / "index.html").read_text()
    assert "step 30 of 30" in page
    assert result.name in page
    assert "examples/000030%20knock.jpg" in page
    assert (wanted.out / "examples" / "000030 knock.jpg").stat().st_size > 1000
    shapes = {name: one.shape for name, one in load_file(result).items()}
    assert shapes == {
        name: one.shape for name, one in load_file(Path(os.environ["VOID_WEIGHTS"]) / "void_pass1.safetensors").items()
    }


def transformer_of(weights: Weights) -> dict[str, torch.Tensor]:
    return Model(weights, CPU).transformer(1).state_dict()


def test_a_lora_at_strength_0_is_the_base_and_at_1_what_was_merged_to_the_bit(pairs: Path, tmp_path: Path) -> None:
    wanted = configured(tmp_path, pairs, run="merged = true", optimiser="rate = 0.01")
    lora, merged = trained(wanted)
    folder = tmp_path / "weights"
    shutil.copytree(os.environ["VOID_WEIGHTS"], folder)
    for file in (lora, merged):
        shutil.copy(file, folder)
    base = transformer_of(Weights(folder))
    without = transformer_of(Weights(folder, lora=lora.name, lora_strength=0.0))
    with_it = transformer_of(Weights(folder, lora=lora.name))
    as_merged = transformer_of(Weights(folder, first=merged.name))
    half = transformer_of(Weights(folder, lora=lora.name, lora_strength=0.5))
    changed = {name for name in base if not torch.equal(base[name], with_it[name])}
    assert changed == {name for name in base if any(name.endswith(f"{one}.weight") for one in learner.TARGETS)}
    for name in base:
        assert torch.equal(base[name], without[name])
        assert torch.equal(with_it[name], as_merged[name])
        torch.testing.assert_close(half[name], (base[name] + with_it[name]) / 2)
    Weights(folder, lora=lora.name).check((1,))
    assert set(Weights(folder, lora=lora.name).hashes((1,))) == {"void_pass1.safetensors", lora.name}


def test_a_lora_that_does_not_fit_is_refused(weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(weights, folder)
    matrices = {
        f"transformer_blocks.0.attn1.to_q.{DOWN}": torch.zeros(4, 8),
        f"transformer_blocks.0.attn1.to_q.{UP}": torch.zeros(8, 4),
    }
    save_file(matrices, folder / "wide.safetensors", {"pass": "1", "scale": "1.0"})
    save_file(matrices, folder / "second.safetensors", {"pass": "2", "scale": "1.0"})
    save_file(matrices, folder / "unknown.safetensors")
    for name, words in (
        ("wide", "another size"),
        ("second", "second pass"),
        ("unknown", "which pass"),
        ("none", "none"),
    ):
        with pytest.raises(SettingError, match=words):
            Weights(folder, lora=f"{name}.safetensors").check((1,))


def test_the_second_pass_learns_from_noise_that_moves_along(pairs: Path, tmp_path: Path) -> None:
    wanted = configured(
        tmp_path, pairs, model="second_pass = true\nnoise_degradation = 0.0", run="steps = 2", data="shorter = 0.0"
    )
    (lora,) = trained(wanted)
    assert learner.Lora.read(lora).number == 2
    kept = store.Store(wanted.out / "encoded", wanted, Model(Weights(Path(os.environ["VOID_WEIGHTS"])), CPU))
    prepared = store.prepare(wanted, kept, lambda *_: None)
    batch = course.Course(wanted, prepared, 0.7).batch(0)
    item = next(one for one in prepared.items if one.name == batch.names[0])
    assert torch.equal(batch.noise[0].transpose(0, 1), item.read("noise")[0])


def test_a_training_from_the_base_model(
    pairs: Path, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(weights, folder)
    config = json.loads((folder / BASE / "transformer" / "config.json").read_text())
    torch.manual_seed(0)
    base = CogVideoXTransformer3DModel.from_config(config)
    save_file(base.state_dict(), folder / BASE / "transformer" / "diffusion_pytorch_model.safetensors")
    monkeypatch.setenv("VOID_WEIGHTS", str(folder))
    with pytest.raises(SettingError, match=r"model\.full"):
        run.check(configured(tmp_path, pairs, model=f'start = "{BASE_MODEL}"'))
    (result,) = trained(configured(tmp_path, pairs, model=f'start = "{BASE_MODEL}"\nfull = true', run="steps = 1"))
    shutil.copy(result, folder)
    Weights(folder, first=result.name).check((1,))


def test_a_small_model_learns_what_the_plate_without_the_object_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The benchmark in small: on pairs that it never saw, it is nearer to the truth than the plate is."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    bench = importlib.import_module("training")
    monkeypatch.setattr(bench, "LEARNT", 8)
    monkeypatch.setattr(bench, "UNSEEN", 2)
    monkeypatch.setattr(bench, "SAMPLED", (1,))
    tables = bench.learnt(tmp_path, 120, bench.drawn_here(tmp_path))
    assert set(tables) == {"seeds", "kinds"}
    for table in tables.values():
        assert np.mean(table["trained, 1 step"]) > np.mean(table["the plate as it is"]) + 2
        assert np.mean(table["the truth through the autoencoder"]) > np.mean(table["trained, 1 step"])


def test_pairs_that_the_benchmark_writes_keep_their_gaps(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    bench = importlib.import_module("training")
    place = without(pairs, tmp_path / "pairs", 1006, 1007) / "mirror"
    (written,) = bench.written([place], tmp_path / "written", "quadmask", [(1, (0, 1, 2))])
    data = configured(tmp_path, written).data
    (folder,) = folders_in(written)
    assert [clip.frames for clip in clips_of(opened(folder, data), data)] == [(1, 2, 3, 4, 5), (8, 9, 10, 11, 12)]


# -- several processes


def together(config: Path) -> None:
    """`void train` as two processes of one training, on the CPU."""
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "void_server.cli"]
    known = {**os.environ, "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *words, "train", str(config), "--no-progress"],
        cwd=ROOT, env=known, text=True, capture_output=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


WAITS = """
import sys
from datetime import timedelta
from pathlib import Path
import torch
import torch.distributed as dist
from void_server.training import run, config

def encoded(*_):
    patience = dist.distributed_c10d._get_default_group()._get_backend(torch.device("cpu")).options._timeout
    sys.exit(0 if patience > timedelta(days=7) else f"others give up after {patience}")

run._encoded = run._prepared = encoded
run.Accelerator.wait_for_everyone = lambda _: None
run.train(config.read(Path(sys.argv[1])), lambda *_: None)
"""


def test_the_others_wait_however_long_the_first_process_encodes(pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "waits.py").write_text(WAITS)
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(tmp_path / "waits.py")]
    known = {**os.environ, "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *words, str(written(tmp_path, pairs))],
        cwd=ROOT, env=known, text=True, capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_step_of_two_processes_is_one_of_a_single_with_twice_the_clips(pairs: Path, tmp_path: Path) -> None:
    lines = {
        "model": "full = true\ncheckpointing = false",
        "run": "steps = 3\nsave_every = 2",
        "data": f'encoded = "{tmp_path / "encoded"}"\nshorter = 0.0',
    }
    adamw = 'kind = "adamw"\nrate = 0.001'
    (alone,) = trained(configured(tmp_path, pairs, "alone", **lines, optimiser=f"{adamw}\naccumulate = 2"))
    path = written(tmp_path, pairs, "two", **lines, optimiser=adamw)
    together(path)
    (two,) = (tmp_path / "two").glob("two_*.safetensors")
    assert losses(two.parent) == pytest.approx(losses(alone.parent), rel=1e-5)
    one, other = load_file(alone), load_file(two)
    start = load_file(Weights(Path(os.environ["VOID_WEIGHTS"])).checkpoint(1))
    assert set(one) == set(other)
    for name, tensor in one.items():
        # a first step of Adam is as long as the rate, whatever the gradient: the sign of next to nothing is rounding
        apart, moved = (tensor - other[name]).abs(), (tensor - start[name]).abs()
        assert float(apart.mean()) <= 1e-3 * float(moved.mean()) + 1e-9, name


#: A step of AdamW by each of two processes, which share weights, gradients and optimiser, and by one with both clips.
SHARED = """
import torch
import torch.distributed as dist
from diffusers import CogVideoXDDIMScheduler, CogVideoXTransformer3DModel
from random_weights import TINY, checkpoint
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from void_server.engines.void.selftest import SCHEDULER
from void_server.training.config import Optimiser
from void_server.training.course import Batch
from void_server.training.step import loss_of, optimiser

dist.init_process_group("gloo")
config, scheduler = {**TINY.transformer, "in_channels": 48}, CogVideoXDDIMScheduler.from_config(SCHEDULER)
start = checkpoint(1)

def made():
    transformer = CogVideoXTransformer3DModel.from_config(config)
    transformer.load_state_dict(start)
    return transformer.train()

def batch(seed):
    def drawn(*shape):
        return torch.randn(shape, generator=generator)
    generator = torch.Generator().manual_seed(seed)
    text = drawn(1, config["max_text_seq_length"], config["text_embed_dim"])
    clip = drawn(1, 4, 16, 8, 12), drawn(1, 4, 16, 8, 12), drawn(1, 4, 32, 8, 12)
    return Batch(*clip, torch.tensor([300 + seed]), text, ())

def step(transformer, batches):
    adamw = optimiser(Optimiser(kind="adamw"), 1e-3, transformer.parameters())
    for one in batches:
        loss = loss_of(transformer, config, scheduler, one, torch.device("cpu"), torch.float32)
        (loss / len(batches)).backward()
    torch.nn.utils.clip_grad_norm_(transformer.parameters(), 1.0)
    adamw.step()
    return dict(transformer.named_parameters())

alone = step(made(), [batch(0), batch(1)])
transformer, mesh = made(), init_device_mesh("cpu", (2,))
for block in transformer.transformer_blocks:
    fully_shard(block, mesh=mesh)
together = step(fully_shard(transformer, mesh=mesh), [batch(dist.get_rank())])
for name, parameter in together.items():
    assert parameter.to_local().numel() < parameter.numel(), name
    apart = (parameter.full_tensor() - alone[name]).abs().mean()
    assert apart <= 1e-4 * (alone[name] - start[name]).abs().mean(), name
dist.destroy_process_group()
"""


def test_a_step_with_weights_that_two_processes_share_is_that_of_one(tmp_path: Path) -> None:
    """The model under torch's own FSDP: accelerate, which `void train` has it by, leaves FSDP out on CPUs."""
    script = tmp_path / "shared.py"
    script.write_text(SHARED)
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    known = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests/void")])}
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=known, text=True, capture_output=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


# -- going on


def go(config: Path) -> subprocess.Popen[str]:
    """`void train` as a process of its own."""
    words = [sys.executable, "-m", "void_server.cli", "train", str(config), "--no-progress"]
    return subprocess.Popen(words, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_check_that_finds_nothing_says_so(pairs: Path, tmp_path: Path) -> None:
    config = written(tmp_path, pairs)
    words = [sys.executable, "-m", "void_server.cli", "train", str(config), "--check"]
    said = subprocess.run(words, cwd=ROOT, text=True, capture_output=True, check=True).stdout
    assert f"{config} is good" in said.replace("\n", "")
    assert not (tmp_path / "out").exists()


def test_a_training_killed_in_the_middle_goes_on_to_the_same_bits(pairs: Path, tmp_path: Path) -> None:
    lines = {"run": "steps = 40\nsave_every = 3", "optimiser": "rate = 0.01"}
    encoded = f'encoded = "{tmp_path / "encoded"}"'
    (tmp_path / "whole").mkdir()
    (whole,) = trained(configured(tmp_path / "whole", pairs, data=encoded, **lines))
    path = written(tmp_path, pairs, data=encoded, **lines)
    process = go(path)
    log = tmp_path / "out" / "log.jsonl"
    try:
        deadline = time.monotonic() + 300
        while not (log.is_file() and len(log.read_text().splitlines()) >= 8):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not list((tmp_path / "out").glob("*_lora.safetensors")), "it was killed before its end"
    second = go(path)
    said, complained = second.communicate(timeout=300)
    assert second.returncode == 0, complained
    result = next(Path(line.split("  ", 1)[1]) for line in said.splitlines() if line.startswith("result"))
    one, other = load_file(whole), load_file(result)
    assert set(one) == set(other)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert losses(whole.parent) == losses(result.parent), "each step stands once in the log"
    numbers = [json.loads(line)["step"] for line in log.read_text().splitlines()]
    assert numbers == list(range(1, 41))


def test_other_settings_in_the_folder_of_a_training_are_refused(pairs: Path, tmp_path: Path) -> None:
    trained(configured(tmp_path, pairs, run="steps = 1"))
    with pytest.raises(SettingError, match=r"optimiser\.rate = 0\.0, not 0\.01"):
        trained(configured(tmp_path, pairs, optimiser="rate = 0.01", run="steps = 1"))


def test_bytes_that_changed_are_found_though_size_and_time_of_their_file_are_as_before(
    pairs: Path, tmp_path: Path
) -> None:
    """As rsync and others leave them that copy a file's time."""
    own = tmp_path / "pairs"
    shutil.copytree(pairs, own)
    plate = PairFolder(own / "knock").frame("plate", 1003)
    pixels = exr.read_rgb(plate).astype(np.float16)
    exr.write(plate, pixels, exr.RGB, metadata={"take": "1"})
    was = plate.stat()
    wanted = configured(tmp_path, own)

    def encoded() -> list[str]:
        kept = store.Store(tmp_path / "encoded", wanted, Model(Weights(Path(os.environ["VOID_WEIGHTS"])), CPU))
        return [item.latents.stem for item in store.prepare(wanted, kept, lambda *_: None).items]

    before = encoded()
    exr.write(plate, pixels, exr.RGB, metadata={"take": "2"})
    os.utime(plate, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert plate.stat().st_size == was.st_size
    assert [one == other for one, other in zip(before, encoded(), strict=True)] == [False, True, True]


def test_a_training_does_not_go_on_with_other_pictures(pairs: Path, tmp_path: Path) -> None:
    own = tmp_path / "pairs"
    shutil.copytree(pairs, own)
    trained(configured(tmp_path, own, run="steps = 1"))
    plate = PairFolder(own / "knock").frame("plate", 1003)
    as_it_was = plate.read_bytes()
    exr.write(plate, (exr.read_rgb(plate) + 0.5).astype(np.float16), exr.RGB)
    with pytest.raises(SettingError, match=r"with other clips: knock 1001-1013 at 64 x 96 is not as it was"):
        trained(configured(tmp_path, own, run="steps = 1"))
    plate.write_bytes(as_it_was)
    assert trained(configured(tmp_path, own, run="steps = 1")), "as it was, it goes on"


def test_a_training_does_not_go_on_from_another_checkpoint(pairs: Path, own_weights: Path, tmp_path: Path) -> None:
    trained(configured(tmp_path, pairs, run="steps = 1"))
    shutil.copy(own_weights / "void_pass2.safetensors", own_weights / "void_pass1.safetensors")
    with pytest.raises(SettingError, match=r"a training with checkpoint\.void_pass1\.safetensors = "):
        trained(configured(tmp_path, pairs, run="steps = 1"))


def test_a_training_goes_on_with_pairs_that_were_moved(pairs: Path, tmp_path: Path) -> None:
    shutil.copytree(pairs, tmp_path / "here")
    encoded = f'encoded = "{tmp_path / "encoded"}"'
    trained(configured(tmp_path, tmp_path / "here", run="steps = 2", data=encoded))
    latents = {path: path.stat().st_mtime_ns for path in (tmp_path / "encoded" / "clips").iterdir()}
    (tmp_path / "here").rename(tmp_path / "there")
    (tmp_path / "out" / "out_000002_lora.safetensors").unlink()
    (result,) = trained(configured(tmp_path, tmp_path / "there", run="steps = 2", data=encoded))
    assert result.name == "out_000002_lora.safetensors"
    assert latents == {path: path.stat().st_mtime_ns for path in (tmp_path / "encoded" / "clips").iterdir()}


def test_a_folder_in_which_nothing_was_learnt_yet_takes_other_settings(pairs: Path, tmp_path: Path) -> None:
    """As after a mistake in the configuration that was noticed before the first state was kept."""
    trained(configured(tmp_path, pairs, run="steps = 1"))
    (tmp_path / "out" / "state.safetensors").unlink()
    (result,) = trained(configured(tmp_path, pairs, optimiser="rate = 0.01", run="steps = 2"))
    assert result.name == "out_000002_lora.safetensors"


def test_two_trainings_do_not_write_into_one_folder(pairs: Path, tmp_path: Path) -> None:
    wanted = configured(tmp_path, pairs, run="steps = 1")
    held = [sys.executable, "-c", f"""
import pathlib
from void_server.api.exclusive import alone_in
with alone_in(pathlib.Path({str(wanted.out)!r})) as alone:
    print(alone, flush=True)
    input()
"""]  # fmt: skip
    with subprocess.Popen(held, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        assert other.stdout.readline() == "True\n"
        try:
            with pytest.raises(SettingError, match="Another training is writing into"):
                trained(wanted)
            assert not (wanted.out / "log.jsonl").exists()
        finally:
            other.kill()
    assert trained(wanted), "who was killed holds nothing"


def test_a_training_does_not_wait_for_itself(pairs: Path, tmp_path: Path) -> None:
    """One process writes into a folder, and what is encoded lies in another one that has its own turn."""
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "out")
    for name in ("out", "link", "other/../out"):
        with pytest.raises(SettingError, match=r"data\.encoded is the folder out"):
            run.check(configured(tmp_path, pairs, data=f'encoded = "{name}"'))


def test_a_training_says_that_it_waits_for_another_one_that_encodes(pairs: Path, tmp_path: Path) -> None:
    wanted = configured(tmp_path, pairs, data='encoded = "encoded"', run="steps = 1")
    said: list[str] = []
    with ExitStack() as encoding:
        assert encoding.enter_context(alone_in(tmp_path / "encoded"))

        def told(_: float, words: str) -> None:
            said.append(words)
            if words.startswith("waiting for the other training"):
                encoding.close()

        assert run.train(wanted, told)
    assert f"waiting for the other training that encodes in {tmp_path / 'encoded'}" in said


@pytest.mark.parametrize("kind", ["clips", "prompts"])
def test_what_was_encoded_and_then_damaged_is_encoded_again(pairs: Path, tmp_path: Path, kind: str) -> None:
    encoded = f'encoded = "{tmp_path / "encoded"}"'
    (whole,) = trained(configured(tmp_path, pairs, "whole", data=encoded, run="steps = 2"))
    for path in (tmp_path / "encoded" / kind).iterdir():
        path.write_bytes(path.read_bytes()[:-100])
    (again,) = trained(configured(tmp_path, pairs, "again", data=encoded, run="steps = 2"))
    one, other = load_file(whole), load_file(again)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_latent_that_goes_while_it_is_learnt_from_is_named(pairs: Path, tmp_path: Path) -> None:
    wanted = configured(tmp_path, pairs, data=f'encoded = "{tmp_path / "encoded"}"')
    kept = store.Store(tmp_path / "encoded", wanted, Model(Weights(Path(os.environ["VOID_WEIGHTS"])), CPU))
    item = store.prepare(wanted, kept, lambda *_: None).items[0]
    item.latents.unlink()
    with pytest.raises(JobFailed, match=rf"{item.latents}, which was encoded for this training, cannot be read"):
        item.read("truth")


# -- stopping with a sentence


def test_a_loss_that_is_no_number_stops_the_training_and_keeps_its_state(pairs: Path, tmp_path: Path) -> None:
    wanted = configured(tmp_path, pairs, run="steps = 4\nsave_every = 1")
    real = course.Course.batch
    poisoned = pytest.MonkeyPatch()

    def batch(self: course.Course, number: int, rank: int = 0) -> course.Batch:
        found = real(self, number, rank)
        if number == 2:
            found.truth[0, 0, 0, 0, 0] = math.nan
        return found

    poisoned.setattr(course.Course, "batch", batch)
    try:
        with pytest.raises(
            JobFailed, match=r"The loss of step 3 is no number any more, with (walkby|knock|mirror) 1001"
        ):
            trained(wanted)
    finally:
        poisoned.undo()
    assert len(losses(wanted.out)) == 2
    assert trained(wanted), "mended, it goes on"
    assert len(losses(wanted.out)) == 4


def test_a_pair_that_cannot_be_read_is_named_or_skipped_if_asked(pairs: Path, tmp_path: Path) -> None:
    own = tmp_path / "pairs"
    shutil.copytree(pairs, own)
    PairFolder(own / "mirror").frame("truth", 1005).write_bytes(b"no image")
    with pytest.raises(VoidError, match=r"The pair mirror cannot be learnt from: .*truth\.1005\.exr.*skip_unreadable"):
        trained(configured(tmp_path, own))
    wanted = configured(tmp_path, own, "skipping", data="skip_unreadable = true", run="steps = 1")
    trained(wanted)
    assert "mirror was left out" in (wanted.out / "index.html").read_text()


def without(pairs: Path, out: Path, *frames: int, sequences: tuple[str, ...] = ("plate", "truth", "quadmask")) -> Path:
    """Pairs of which one lacks frames."""
    shutil.copytree(pairs, out)
    for name in sequences:
        for frame in frames:
            PairFolder(out / "mirror").frame(name, frame).unlink()
    return out


def test_no_clip_runs_across_a_gap(pairs: Path, tmp_path: Path) -> None:
    """To the model, what follows in a clip follows in time."""
    place = PairFolder(without(pairs, tmp_path / "pairs", 1006, 1007) / "mirror")
    data = configured(tmp_path, place.folder).data
    assert [clip.frames for clip in clips_of(opened(place, data), data)] == [
        (1001, 1002, 1003, 1004, 1005),
        (1008, 1009, 1010, 1011, 1012),
    ]
    PairFolder(place.folder).frame("plate", 1010).unlink()
    assert [clip.frames for clip in clips_of(opened(place, data), data)] == [(1001, 1002, 1003, 1004, 1005)]
    PairFolder(place.folder).frame("plate", 1003).unlink()
    with pytest.raises(SequenceError, match=r"3 frames to learn from without a gap, of 1001-1002,.* 5 are the least"):
        opened(place, data)


def test_a_truth_that_lacks_a_frame_or_has_another_format_is_named(pairs: Path, tmp_path: Path) -> None:
    lacking = without(pairs, tmp_path / "lacking", 1004, sequences=("truth",))
    with pytest.raises(VoidError, match=r"The pair mirror cannot be learnt from: Frame 1004 of truth.* is missing"):
        trained(configured(tmp_path, lacking))
    other = without(pairs, tmp_path / "other")
    exr.write(PairFolder(other / "mirror").frame("truth", 1005), np.zeros((32, 48, 3), np.float16), exr.RGB)
    with pytest.raises(
        VoidError, match=r"cannot be learnt from: .*truth\.1005\.exr is 48 x 32 at 0, 0, and the plate 96"
    ):
        trained(configured(tmp_path, other))


def test_a_pair_is_learnt_from_in_the_colour_space_that_it_names(pairs: Path, tmp_path: Path) -> None:
    """Approved shots of a show may be in any; they become pairs as they are."""
    place = PairFolder(without(pairs, tmp_path / "pairs") / "mirror")
    data = configured(tmp_path, place.folder).data
    (plain,) = clips_of(opened(place, data), data)
    as_rec709 = plain.plates([5])
    place.facts_file.write_text(json.dumps({"fps": 24, "prompt": "", "colour": "ACEScg"}))
    pair = opened(place, data)
    (wide,) = clips_of(pair, data)
    linear = ColourSpace("ACEScg").to_linear(exr.read_rgb(place.frame("plate", 1006)))
    assert isinstance(pair, OwnPair)
    assert wide.plates([5])[0] == pytest.approx(pair.curve.to_display(linear).clip(0, 1), abs=1e-5)
    assert np.abs(wide.plates([5]) - as_rec709).max() > 0.02


@pytest.mark.parametrize("rate", ["0", "-24", "NaN", "Infinity"])
def test_a_frame_rate_that_is_none_is_named(pairs: Path, tmp_path: Path, rate: str) -> None:
    place = PairFolder(without(pairs, tmp_path / "pairs") / "mirror")
    place.facts_file.write_text(f'{{"fps": {rate}}}')
    with pytest.raises(
        SequenceError, match=r"meta\.json does not hold the facts of a pair, its fps cannot be used: Input should be"
    ):
        place.facts()


def as_images(film: Path, out: Path, *without: int) -> None:
    """A lossless movie as images, without some of them, by their number from 0."""
    out.mkdir(parents=True)
    for number, picture in enumerate(movie.read_frames(film)):
        if number not in without:
            assert cv2.imwrite(str(out / f"{number:05d}.png"), np.ascontiguousarray(picture[..., ::-1]))


def test_images_of_a_published_clip_that_lack_others_are_not_taken_for_each_other(pairs: Path, tmp_path: Path) -> None:
    films, images = as_published(pairs, tmp_path / "films"), tmp_path / "images"
    for role in ("rgb_full", "rgb_removed", "mask"):
        as_images(films / "mirror" / f"{role}.mp4", images / "mirror" / role, 2 if role == "mask" else 3)
    data = configured(tmp_path, films).data
    (found,) = folders_in(images)
    with pytest.raises(SequenceError, match="has picture 3 in one of rgb_full and mask only, counted from the first"):
        opened(found, data)


def as_published(pairs: Path, out: Path) -> Path:
    """The pairs in the published form."""
    list(export(out, "void", [(of_folder(pair), Rights("ours", "ours", "us")) for pair in pairs_in(pairs)]))
    return out


def test_the_published_form_is_learnt_from_as_ours_is(pairs: Path, tmp_path: Path) -> None:
    """Movies, and lossless images in their place, show what the pair's own folder shows at 12 frames a second."""
    films = as_published(pairs, tmp_path / "films")
    images = tmp_path / "images"
    shutil.copytree(films, images)
    for role in ("rgb_full", "mask"):
        film = images / "knock" / f"{role}.mp4"
        for number, picture in enumerate(movie.read_frames(film)):
            file = images / "knock" / role / f"{number:05d}.png"
            file.parent.mkdir(exist_ok=True)
            shown = picture[..., 0] if role == "mask" else np.ascontiguousarray(picture[..., ::-1])
            assert cv2.imwrite(str(file), shown)
        film.unlink()
    data = configured(tmp_path, pairs, data="fps = 12").data
    ours = OwnPair(PairFolder(pairs / "knock"), data)
    for place in (films, images):
        (found,) = (opened(one, data) for one in folders_in(place) if one.name == "knock")
        assert found.prompt == ours.prompt
        assert (found.canvas, len(found.frames)) == (ours.canvas, len(ours.frames))
        for theirs, own in zip(clips_of(found, data), clips_of(ours, data), strict=True):
            assert theirs.fit == own.fit
            every = range(len(own.frames))
            assert np.array_equal(theirs.codes(every), own.codes(every))
            assert np.abs(theirs.plates(every) - own.plates(every)).max() < 0.01
            assert np.abs(theirs.truths(every) - own.truths(every)).max() < 0.01
    wanted = configured(tmp_path, films, run="steps = 2")
    trained(wanted)
    assert len(losses(wanted.out)) == 2


def test_a_damaged_published_clip_is_named_or_skipped_if_asked(pairs: Path, tmp_path: Path) -> None:
    films = as_published(pairs, tmp_path / "films")
    whole = (films / "mirror" / "rgb_removed.mp4").read_bytes()
    damages: dict[str, Callable[[], object]] = {
        r"rgb_removed\.mp4 cannot be read as a movie": lambda: (films / "mirror/rgb_removed.mp4").write_bytes(
            whole[: len(whole) // 2]
        ),
        "has no rgb_removed": lambda: (films / "mirror/rgb_removed.mp4").unlink(),
        "no quadmask": lambda: shutil.copy(films / "mirror/rgb_full.mp4", films / "mirror/mask.mp4"),
    }
    for words, damage in damages.items():
        (films / "mirror" / "rgb_removed.mp4").write_bytes(whole)
        damage()
        with pytest.raises(VoidError, match=f"The pair mirror cannot be learnt from: .*{words}.*skip_unreadable"):
            trained(configured(tmp_path, films, "stopping"))
    wanted = configured(tmp_path, films, "skipping", data="skip_unreadable = true", run="steps = 1")
    trained(wanted)
    assert "mirror was left out" in (wanted.out / "index.html").read_text()


def test_a_full_disk_stops_the_training_with_a_sentence(pairs: Path, tmp_path: Path) -> None:
    """A file that may not grow beyond some size fails as one on a full disk does."""
    path = written(tmp_path, pairs, run="steps = 4\nsave_every = 1")
    words = f"ulimit -f 100 && exec {sys.executable} -m void_server.cli train {path} --no-progress"
    found = subprocess.run(["bash", "-c", words], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert found.returncode == 1, found.stderr
    assert re.search(r"cannot be written \(File too large.*\); free the disk, then start the training", found.stderr)
    assert "Traceback" not in found.stderr
    assert not list((tmp_path / "out").rglob("*.part*"))


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"run": "stepz = 3"}, r"run\.stepz.*void train --explain"),
        ({"optimiser": 'rate = "fast"'}, r"optimiser\.rate"),
        ({"data": "heights = []"}, r"data\.heights"),
    ],
)
def test_a_wrong_configuration_is_named(pairs: Path, tmp_path: Path, parts: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        configured(tmp_path, pairs, **parts)


def test_the_page_of_the_docs_lists_every_setting() -> None:
    page = (ROOT / "docs" / "training.md").read_text()
    for name, default, meaning in settings():
        assert f"| `{name}` | {f'`{default}`' if default else ''} | {meaning} |" in page


# -- what it takes of a card


class _FusedAttention(torch.autograd.Function):
    """Attention as one operation: it keeps what it was given, its result, and a number for each query."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        result = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, result, torch.empty(query.shape[:-1]))
        return result

    @staticmethod
    def backward(ctx: Any, _: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(torch.empty_like(one) for one in ctx.saved_tensors[:3])


def peak(layers: int) -> tuple[int, int]:
    """The most that a LoRA's step takes of a model of so many layers, weights included, and how many weights learn."""
    with torch.device("meta"):
        made = CogVideoXTransformer3DModel.from_config(
            {**FULL.transformer, "in_channels": 48, "num_layers": layers}
        ).bfloat16()
        made.requires_grad_(False)
        made.add_adapter(LoraConfig(r=32, lora_alpha=32, target_modules=list(learner.TARGETS)))
        made.bfloat16().train()
        attention.use(made, "native")
        made.enable_gradient_checkpointing()
        tokens = 11 * 24 * 42
        with Meter() as meter:
            found = made(
                hidden_states=torch.empty(1, 22, 48, 48, 84, dtype=torch.bfloat16),
                encoder_hidden_states=torch.empty(1, 226, 4096, dtype=torch.bfloat16),
                timestep=torch.empty(1, dtype=torch.long),
                image_rotary_emb=(torch.empty(tokens, 64), torch.empty(tokens, 64)),
                return_dict=False,
            )[0]
            found.float().square().mean().backward()
    return meter.peak, sum(one.numel() for one in learner.learning(made).values())


def test_the_docs_say_what_a_lora_takes_of_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        torch.nn.functional,
        "scaled_dot_product_attention",
        lambda query, key, value, **_: _FusedAttention.apply(query, key, value),
    )
    two, three = peak(2), peak(3)
    # all layers are alike
    bytes_, learnt = (b + 39 * (b - a) for a, b in zip(two, three, strict=True))
    # the matrices that learn, their gradients and CAME's memory are float32; the meter saw the first two as bfloat16
    total = (bytes_ + learnt * (12 - 4)) / 2**30
    said = re.search(
        r"\| LoRA, rank 32, bfloat16 \|.*\| ([\d.]+) GiB: a 24 GB card \|", (ROOT / "docs/training.md").read_text()
    )
    assert said
    assert float(said[1]) == pytest.approx(total, abs=0.2)
