"""Does training work, and how fast is it?

    python benchmarks/training.py learn [--pairs FOLDER] [--steps 4000] [--out FOLDER [--start NAME]]
    python benchmarks/training.py speed [--device cuda] [--full] [--tiny] [--height 384] [--frames 85]

`learn` trains a small model of ours from nothing, with `void train`'s own code, on pairs drawn here (or those of a
folder), and measures it on pairs that it never saw: PSNR in dB of what is not kept, display-referred, at the model's
size, after the frames were laid over the plate. Beside it: the plate as it is, and Telea's inpainting of each frame.
Its autoencoder is the best linear one for these pairs (principal components of blocks of 8 x 8 pixels and 4 frames),
as a trained one of this size would be worse; the transformer is VOID's architecture with a hundredth of its width. In
a drawn pair a block slides past or into a ball: without it the ball stays where it lies.

With --start it goes on from the result of an earlier run in the same folder, as it stands in its folder of weights.

`speed` measures steps a second and the most memory of a LoRA, or with --full of all weights, on random weights of the
released size (--tiny: of a tiny one), at a working height and length.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from diffusers import CogVideoXTransformer3DModel
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "void")]

from random_weights import FULL, TINY, checkpoint, write  # noqa: E402

from void_server.engines.void.model import Model  # noqa: E402
from void_server.engines.void.vae import SPATIAL  # noqa: E402
from void_server.engines.void.weights import BASE, PASSES, Weights, find  # noqa: E402
from void_server.evaluation.fidelity import psnr  # noqa: E402
from void_server.imaging import exr  # noqa: E402
from void_server.imaging.exr import FloatImage  # noqa: E402
from void_server.pairs import PairFolder, pairs_in  # noqa: E402
from void_server.quadmask import classes  # noqa: E402
from void_server.training import course, examples, learner, run, step, store  # noqa: E402
from void_server.training.clips import Clip, Pair, clips_of  # noqa: E402
from void_server.training.config import BASE as BASE_MODEL  # noqa: E402
from void_server.training.config import Training  # noqa: E402

HEIGHT, WIDTH, FRAMES = 64, 96, 13
LEARNT, UNSEEN = 48, 12
_LATENTS, _TOGETHER = 16, 4
#: Wider and deeper than the tests' model.
_TRANSFORMER = {"num_attention_heads": 2, "num_layers": 3, "in_channels": 33}


# -- pairs


def draw(folder: Path, rng: np.random.Generator) -> None:
    """A pair: a block slides over a patterned wall and may hit a ball, which rolls away."""
    wall = _wall(rng)
    row, rest = rng.uniform(20, 44), rng.uniform(34, 62)
    from_left, hits = rng.random() < 0.5, rng.random() < 0.8
    ball, block = rng.uniform(0.05, 0.9, 3), rng.uniform(0.05, 0.9, 3)
    radius, half = rng.uniform(5, 8), rng.uniform(8, 12)
    height = row if hits else (row + 26) % HEIGHT
    for index in range(FRAMES):
        moment = index / (FRAMES - 1)
        way = -10 + (WIDTH + 20) * moment
        met = max(0.0, way - (rest - radius - half if from_left else WIDTH - rest - radius - half))
        rolled = 1.4 * met if hits else 0.0
        place = rest + (rolled if from_left else -rolled)
        block_at = way if from_left else WIDTH - way
        truth = _laid(wall, _disc(rest, row, radius), ball)
        moved = _laid(wall, _disc(place, row, radius), ball)
        shadow, body = _square(block_at + 4, height + 6, half), _square(block_at, height, half)
        plate = _laid(moved * (1 - 0.5 * shadow[..., None]), body, block)
        affected = np.abs(moved - truth).max(axis=-1) > 0.02
        codes = classes.assemble(body, affected | (shadow > 0.02))
        for name, picture, channels in (
            ("plate", plate, exr.RGB),
            ("truth", truth, exr.RGB),
            ("roto", body[..., None], ("A",)),
            ("quadmask", codes[..., None] / 255, ("Y",)),
        ):
            exr.write(PairFolder(folder).frame(name, 1001 + index), picture.astype(np.float16), channels)
    PairFolder(folder).facts_file.write_text(json.dumps({"fps": 12, "prompt": "The ball stays where it lies."}))


def _wall(rng: np.random.Generator) -> FloatImage:
    """Soft blots of two colours."""
    blots = cv2.GaussianBlur(rng.standard_normal((HEIGHT, WIDTH)).astype(np.float32), (0, 0), rng.uniform(4, 9))
    blend = np.clip(0.5 + 0.35 * blots / blots.std(), 0, 1)[..., None]
    one, other = rng.uniform(0.02, 0.7, (2, 3))
    wall: FloatImage = (one * blend + other * (1 - blend)).astype(np.float32)
    return wall


def _disc(x: float, y: float, radius: float) -> FloatImage:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    return np.clip(radius + 0.5 - np.hypot(columns - x, rows - y), 0, 1)


def _square(x: float, y: float, half: float) -> FloatImage:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    return np.clip(half + 0.5 - np.maximum(abs(columns - x), abs(rows - y)), 0, 1)


def _laid(below: FloatImage, alpha: FloatImage, colour: NDArray[np.floating]) -> FloatImage:
    return below * (1 - alpha[..., None]) + alpha[..., None] * colour.astype(np.float32)


# -- a linear autoencoder


class Blocks(nn.Module):
    """Encoder and decoder by principal components, with the calls of diffusers' own."""

    def __init__(self, basis: torch.Tensor, mean: torch.Tensor, deviation: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("basis", basis)
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.encoder, self.decoder = _Half(self, self._encoded), _Half(self, self._decoded)
        self.config = type("Config", (), {"scaling_factor": 1.0, "block_out_channels": (0,) * 4})()

    @classmethod
    def fitted(cls, videos: torch.Tensor) -> Blocks:
        """The best basis for videos (n, 3, t, h, w) in -1..1, which begin with a frame of their own."""
        blocks = _cut(torch.cat([_opened(video[None]) for video in videos]))
        samples = blocks.permute(0, 2, 3, 4, 1).reshape(-1, blocks.shape[1])
        mean = samples.mean(0)
        _, vectors = torch.linalg.eigh((samples - mean).T @ (samples - mean))
        basis = vectors[:, -_LATENTS:].T.flip(0).contiguous()
        return cls(basis, mean, ((samples - mean) @ basis.T).std(0))

    def _encoded(self, frames: torch.Tensor, first: bool) -> torch.Tensor:
        blocks = _cut(_opened(frames) if first else frames)
        flat = torch.einsum("kd,bdthw->bkthw", self.basis, blocks - self.mean[:, None, None, None])
        latents = flat / self.deviation[:, None, None, None]
        return torch.cat([latents, torch.full_like(latents, -30.0)], dim=1)

    def _decoded(self, latents: torch.Tensor, first: bool) -> torch.Tensor:
        flat = latents * self.deviation[:, None, None, None]
        blocks = torch.einsum("kd,bkthw->bdthw", self.basis, flat) + self.mean[:, None, None, None]
        b, _, t, h, w = blocks.shape
        frames = blocks.view(b, 3, _TOGETHER, SPATIAL, SPATIAL, t, h, w).permute(0, 1, 5, 2, 6, 3, 7, 4)
        frames = frames.reshape(b, 3, t * _TOGETHER, h * SPATIAL, w * SPATIAL)
        return frames.mean(dim=2, keepdim=True) if first else frames


class _Half(nn.Module):
    def __init__(self, owner: Blocks, work: Any) -> None:
        super().__init__()
        self._work = work
        # by this its type and its device are known
        self.conv_in = nn.Module()
        self.conv_in.conv = nn.Module()
        self.conv_in.conv.weight = owner.basis

    def forward(self, inputs: torch.Tensor, conv_cache: bool | None = None) -> tuple[torch.Tensor, bool]:
        return self._work(inputs, conv_cache is None), True


def _opened(frames: torch.Tensor) -> torch.Tensor:
    """The first frame as often as a block is long."""
    return torch.cat([frames[:, :, :1].expand(-1, -1, _TOGETHER - 1, -1, -1), frames], dim=2)


def _cut(frames: torch.Tensor) -> torch.Tensor:
    """Blocks (b, 3 * 4 * 8 * 8, t, h, w) of frames."""
    b, c, t, h, w = frames.shape
    split = frames.view(b, c, t // _TOGETHER, _TOGETHER, h // SPATIAL, SPATIAL, w // SPATIAL, SPATIAL)
    flat = split.permute(0, 1, 3, 5, 7, 2, 4, 6)
    return flat.reshape(b, c * _TOGETHER * SPATIAL * SPATIAL, t // _TOGETHER, h // SPATIAL, w // SPATIAL)


class SmallModel(Model):
    """The model with the linear autoencoder of its folder."""

    def _loaded_vae(self) -> Any:
        from safetensors.torch import load_file

        return Blocks(**load_file(self.weights.base / "vae" / "diffusion_pytorch_model.safetensors")).eval()


# -- learning


def learn(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(args.out or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        table = learnt(folder, args.steps, args.pairs, args.start)
    print(f"{'on pairs never seen':<34}{'PSNR, dB':>9}{'worst pair':>12}")
    for name, values in table.items():
        print(f"{name:<34}{np.mean(values):9.2f}{np.min(values):12.2f}")


def learnt(folder: Path, steps: int, pairs: Path | None = None, start: str = BASE_MODEL) -> dict[str, list[float]]:
    """Train, and measure on unseen pairs: the PSNR of each, by method."""
    torch.set_num_threads(1)
    if pairs is None:
        rng = np.random.default_rng(5)
        for index in range(LEARNT + UNSEEN):
            place = folder / ("learnt" if index < LEARNT else "unseen") / f"pair{index:02d}"
            if not place.is_dir():
                draw(place, rng)
        learnt_from, unseen = [folder / "learnt"], [folder / "unseen"]
    else:
        found = [pair.folder for pair in pairs_in(pairs)]
        unseen, learnt_from = found[:: max(2, len(found) // UNSEEN)], []
        learnt_from = [one for one in found if one not in unseen]
    wanted = Training.model_validate(
        {
            "out": folder / (Path(start).stem + " onwards"),
            "data": {
                "pairs": learnt_from, "encoded": folder / "encoded", "heights": [HEIGHT], "frames": FRAMES,
                "crop": "frame",
                "full_length_height": HEIGHT, "shorter": 0.0,
            },
            "model": {"start": start, "full": True, "precision": "float32", "checkpointing": False},
            "optimiser": {"kind": "adamw", "rate": 2e-3, "warm_up": 100, "weight_decay": 0.0},
            "run": {"steps": steps, "batch": 16, "save_every": 250, "example_every": 0, "device": "cpu", "seed": 1},
        }
    )  # fmt: skip
    os.environ["VOID_WEIGHTS"] = str(folder / "weights")
    clips = [
        clip
        for place in learnt_from
        for pair in pairs_in(place)
        for clip in clips_of(Pair(pair, wanted.data), wanted.data)
    ]
    if not (folder / "weights").is_dir():
        _small_weights(folder / "weights", clips)
    began = time.monotonic()
    files = run.train(wanted, _told, SmallModel)
    print(f"\n{steps} steps on {len(clips)} clips in {time.monotonic() - began:.0f} s", file=sys.stderr)
    weights = find()
    (weights.folder / files[0].name).write_bytes(files[0].read_bytes())
    model = SmallModel(find(files[0].name), torch.device("cpu"))
    kept = store.Store(folder / "encoded", wanted, model)
    table: dict[str, list[float]] = {"trained": [], "the plate as it is": [], "inpainted, frame by frame": []}
    bound: list[float] = []
    for place in unseen:
        for pair in pairs_in(place):
            for clip in clips_of(Pair(pair, wanted.data), wanted.data):
                _measure(clip, kept.clip(clip), model, wanted, kept.prompt(""), table, bound)
    table["the truth through the autoencoder"] = bound
    return table


def _told(share: float, words: str) -> None:
    print(f"\r{share:4.0%} {words}    ", end="", file=sys.stderr)


def _small_weights(folder: Path, clips: list[Clip]) -> None:
    write(folder, TINY, passes=())
    videos = [torch.from_numpy(frames).permute(3, 0, 1, 2) * 2 - 1 for clip in clips for frames in _shown(clip)]
    save_file(
        Blocks.fitted(torch.stack(videos)).state_dict(), folder / BASE / "vae" / "diffusion_pytorch_model.safetensors"
    )
    config = json.loads((folder / BASE / "transformer" / "config.json").read_text()) | _TRANSFORMER
    (folder / BASE / "transformer" / "config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    transformer = CogVideoXTransformer3DModel.from_config(config)
    save_file(transformer.state_dict(), folder / BASE / "transformer" / "diffusion_pytorch_model.safetensors")


def _shown(clip: Clip) -> list[FloatImage]:
    """What the autoencoder must know: plates, truths, and masks, which are not brought to -1..1."""
    every = range(len(clip.frames))
    masks = (clip.codes(every)[..., None].repeat(3, axis=-1) / 255).astype(np.float32)
    return [clip.plates(every), clip.truths(every), (masks + 1) / 2]


def _measure(
    clip: Clip,
    item: store.Item,
    model: Model,
    wanted: Training,
    nothing: Path,
    table: dict[str, list[float]],
    bound: list[float],
) -> None:
    every = range(len(clip.frames))
    plates, truths, codes = clip.plates(every), clip.truths(every), clip.codes(every)
    changed = codes != classes.KEEP
    scaling = float(model.vae.config.scaling_factor)
    made = examples.sampled(wanted, model, item, nothing, scaling, 20)
    filled = [
        cv2.inpaint(np.round(plate * 255).astype(np.uint8), mask.astype(np.uint8), 3, cv2.INPAINT_TELEA)
        for plate, mask in zip(plates, changed, strict=True)
    ]
    decoded = model.vae.decoder(item.read("truth")[0].chunk(2)[0][None, :, :1])[0]
    rest = model.vae.decoder(item.read("truth")[0].chunk(2)[0][None, :, 1:], conv_cache=True)[0]
    through = (torch.cat([decoded, rest], dim=2)[0] / 2 + 0.5).clamp(0, 1).permute(1, 2, 3, 0).numpy()

    def quality(frames: NDArray[np.floating]) -> float:
        return psnr(float(np.mean((frames[changed] - truths[changed]) ** 2)))

    table["trained"].append(quality(made))
    table["the plate as it is"].append(quality(plates))
    table["inpainted, frame by frame"].append(quality(np.stack(filled) / 255))
    bound.append(quality(through))


# -- speed


def speed(args: argparse.Namespace) -> None:
    device = torch.device(args.device)
    size = TINY if args.tiny else FULL
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / BASE / "transformer").mkdir(parents=True)
        (folder / BASE / "transformer" / "config.json").write_text(json.dumps({**size.transformer, "in_channels": 33}))
        save_file(checkpoint(1, size), folder / PASSES[1])
        wanted = Training.model_validate(
            {
                "out": folder, "data": {"pairs": [folder], "heights": [args.height], "frames": args.frames},
                "model": {"full": args.full, "precision": "bfloat16" if device.type == "cuda" else "float32"},
            }
        )  # fmt: skip
        weights = Weights(folder)
        model = Model(weights, device, precision=getattr(torch, wanted.model.precision))
        transformer = learner.made(wanted, model)
        optimiser = step.optimiser(wanted.optimiser, wanted.rate, learner.learning(transformer).values())
        config = weights.transformer_config
        height, width = args.height // 16 * 2, round(args.height * 7 / 4 / 16) * 2
        shape = (1, (args.frames - 1) // 4 + 1, 16, height, width)
        batch = course.Batch(
            torch.randn(shape), torch.randn(shape), torch.randn(*shape[:2], 32, *shape[3:]), torch.tensor([500]),
            torch.randn(1, config["max_text_seq_length"], config["text_embed_dim"]), (),
        )  # fmt: skip
        from diffusers import CogVideoXDDIMScheduler

        from void_server.engines.void.selftest import SCHEDULER

        scheduler = CogVideoXDDIMScheduler.from_config(SCHEDULER)
        seconds = []
        for _ in range(args.steps):
            began = time.monotonic()
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                loss = step.loss_of(transformer, config, scheduler, batch, device, model.dtype)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learner.learning(transformer).values(), 1.0)
            optimiser.step()
            optimiser.zero_grad()
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.monotonic() - began)
        print(f"{'all weights' if args.full else 'LoRA'}, {args.height} lines, {args.frames} frames, {model.described}")
        print(f"{np.median(seconds[1:]):.2f} s a step, the first {seconds[0]:.2f}")
        if device.type == "cuda":
            print(f"{torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB at most")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(required=True)
    one = kinds.add_parser("learn")
    one.add_argument("--pairs", type=Path)
    one.add_argument("--steps", type=int, default=4000)
    one.add_argument("--out", type=Path)
    one.add_argument("--start", default=BASE_MODEL)
    one.set_defaults(run=learn)
    one = kinds.add_parser("speed")
    one.add_argument("--device", default="cpu")
    one.add_argument("--full", action="store_true")
    one.add_argument("--tiny", action="store_true")
    one.add_argument("--height", type=int, default=384)
    one.add_argument("--frames", type=int, default=85)
    one.add_argument("--steps", type=int, default=5)
    one.set_defaults(run=speed)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
