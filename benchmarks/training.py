"""Does training work, and how fast is it?

    python benchmarks/training.py learn [--pairs FOLDER [--unseen FOLDER] [--first N] [--quadmask effects]]
        [--steps 4000] [--out FOLDER [--start NAME]]
    python benchmarks/training.py speed [--device cuda] [--full] [--tiny] [--height 384] [--frames 85]

`learn` trains a small model of ours from nothing, with `void train`'s own code, on pairs drawn here (or those of a
folder), and measures it on pairs that it never saw: PSNR in dB of what is not kept, display-referred, at the model's
size, after the frames were laid over the plate. Beside it: the plate as it is, and Telea's inpainting of each frame.
Its autoencoder is the best linear one for these pairs (principal components of blocks of 8 x 8 pixels and 4 frames),
as a trained one of this size would be worse; the transformer is VOID's architecture with a hundredth of its width. In
a drawn pair a block slides past or into a ball: without it the ball stays where it lies.

Of a set of rendered pairs, --pairs, every fifth kind is not learnt from, and of the others not every fifth pair, or
those of another set, --unseen; with --first only so many are learnt from. Each is also learnt from mirrored, and with
its colours exchanged: what is true of a scene is true of these. With --quadmask effects the object's own shadow,
reflection and light are to go too, and count; VOID's own rule leaves them out.

With --start it goes on from the result of an earlier run in the same folder, as it stands in its folder of weights.

`speed` measures steps a second and the most memory of a LoRA, or with --full of all weights, on random weights of the
released size (--tiny: of a tiny one), at a working height and length.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from void_server.engines.void.vae import SPATIAL, decode  # noqa: E402
from void_server.engines.void.weights import BASE, PASSES, Weights, find  # noqa: E402
from void_server.evaluation.fidelity import psnr  # noqa: E402
from void_server.imaging import exr  # noqa: E402
from void_server.imaging.exr import FloatImage  # noqa: E402
from void_server.pairs import PairFolder, pairs_in  # noqa: E402
from void_server.pairs.export import published  # noqa: E402
from void_server.pairs.layout import EFFECTS, QUADMASK  # noqa: E402
from void_server.quadmask import classes  # noqa: E402
from void_server.training import course, examples, learner, run, step, store  # noqa: E402
from void_server.training.clips import Clip, clips_of  # noqa: E402
from void_server.training.config import BASE as BASE_MODEL  # noqa: E402
from void_server.training.config import Data, Training  # noqa: E402
from void_server.training.material import OwnPair, folders_in, opened  # noqa: E402

HEIGHT, WIDTH, FRAMES = 64, 96, 13
LEARNT, UNSEEN = 48, 12
#: Of the kinds, and the pairs of each, of a set that is given, every so many is not learnt from.
_LEFT_OUT = 5
#: Steps of diffusion: one gives the mean of all that the model holds possible, many give one of it.
SAMPLED = (1, 4, 30)
#: How a pair may be written: mirrored or not, 1 or -1, and the order of red, green and blue.
Way = tuple[int, tuple[int, int, int]]
#: As it is, mirrored, and both with the colours turned by one and by two.
WAYS: tuple[Way, ...] = tuple(itertools.product((1, -1), ((0, 1, 2), (1, 2, 0), (2, 0, 1))))
Table = dict[str, list[float]]
_LATENTS, _TOGETHER = 16, 4
#: Wider and deeper than the tests' model.
_TRANSFORMER = {"num_attention_heads": 2, "num_layers": 3, "in_channels": 33}


# -- pairs


@dataclass(frozen=True)
class Kind:
    """What ``goes`` past or into what ``lies`` there, from a side or downwards; both are drawn by their functions."""

    goes: Callable[[float, float, float], FloatImage]
    lies: Callable[[float, float, float], FloatImage]
    downwards: bool


def draw(folder: Path, rng: np.random.Generator, kind: Kind) -> None:
    """A pair: one thing goes across a patterned wall and may hit another, which then goes before it."""
    wall = _wall(rng)
    way_long, across = (HEIGHT, WIDTH) if kind.downwards else (WIDTH, HEIGHT)
    row, rest = across * rng.uniform(0.31, 0.69), way_long * rng.uniform(0.35, 0.65)
    backwards, hits = rng.random() < 0.5, rng.random() < 0.8
    lying, going = rng.uniform(0.05, 0.9, 3), rng.uniform(0.05, 0.9, 3)
    radius, half = rng.uniform(5, 8), rng.uniform(8, 12)
    own_row = row if hits else (row + 0.4 * across) % across

    def at(along: float, beside: float) -> tuple[float, float]:
        along = way_long - along if backwards else along
        return (beside, along) if kind.downwards else (along, beside)

    rest_ahead = way_long - rest if backwards else rest
    for index in range(FRAMES):
        way = -10 + (way_long + 20) * index / (FRAMES - 1)
        driven = 1.4 * max(0.0, way - (rest_ahead - radius - half)) if hits else 0.0
        x, y = at(way, own_row)
        truth = _laid(wall, kind.lies(*at(rest_ahead, row), radius), lying)
        moved = _laid(wall, kind.lies(*at(rest_ahead + driven, row), radius), lying)
        shadow, body = kind.goes(x + 4, y + 6, half), kind.goes(x, y, half)
        plate = _laid(moved * (1 - 0.5 * shadow[..., None]), body, going)
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


#: The kind that is learnt, and one that is not: round instead of square, downwards instead of sideways.
LEARNT_KIND, OTHER_KIND = Kind(_square, _disc, downwards=False), Kind(_disc, _square, downwards=True)


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
        # one scale for all components: so an error counts in latents as it does in pixels, where the last count little
        return cls(basis, mean, ((samples - mean) @ basis.T).square().mean().sqrt())

    def _encoded(self, frames: torch.Tensor, first: bool) -> torch.Tensor:
        blocks = _cut(_opened(frames) if first else frames)
        flat = torch.einsum("kd,bdthw->bkthw", self.basis, blocks - self.mean[:, None, None, None])
        latents = flat / self.deviation
        return torch.cat([latents, torch.full_like(latents, -30.0)], dim=1)

    def _decoded(self, latents: torch.Tensor, first: bool) -> torch.Tensor:
        flat = latents * self.deviation
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


@dataclass(frozen=True)
class Material:
    """Pairs to learn from, and pairs that are never seen in learning, by why they are not."""

    learnt: list[Path]
    unseen: dict[str, list[Path]]


def drawn_here(folder: Path) -> Material:
    """Pairs drawn in ``folder``; those that are there are taken."""
    rng = np.random.default_rng(5)

    def some(name: str, count: int, kind: Kind) -> list[Path]:
        places = [folder / name / f"pair{index:02d}" for index in range(count)]
        for place in places:
            if not place.is_dir():
                draw(place, rng, kind)
        return places

    learnt = some("learnt", LEARNT, LEARNT_KIND)
    return Material(learnt, {"seeds": some("seeds", UNSEEN, LEARNT_KIND), "kinds": some("kinds", UNSEEN, OTHER_KIND)})


def parted(folder: Path, unseen: Path | None, first: int) -> Material:
    """The pairs of a set, without every fifth kind; and those to measure on: of ``unseen``, or every fifth pair."""
    found, others = pairs_in(folder), pairs_in(unseen) if unseen else []
    left_out = set(sorted({_kind_of(pair) for pair in found})[2::_LEFT_OUT])

    def of_kinds(pairs: list[PairFolder], *, known: bool) -> list[Path]:
        return [pair.folder for pair in pairs if (_kind_of(pair) not in left_out) == known]

    known = of_kinds(found, known=True)
    seeds = of_kinds(others, known=True) if unseen else known[2::_LEFT_OUT]
    learnt = [one for one in known if one not in seeds]
    kinds = of_kinds(others or found, known=False)
    return Material(learnt[: first or None], {"seeds": seeds, "kinds": kinds})


def written(places: list[Path], folder: Path, quadmask: str, ways: Sequence[Way]) -> list[Path]:
    """Pairs in the published form with one of their quadmasks, once for each way; those there are taken.

    Images keep the numbers of their frames, and so the gaps between them.
    """
    data = Data(pairs=(folder,), quadmask=quadmask)
    made = []
    for place in places:
        pair = OwnPair(PairFolder(place), data)
        for flip, order in ways:
            copy = folder / f"{place.name}_{'mirrored_' * (flip < 0)}{''.join(map(str, order))}"
            made.append(copy)
            if copy.is_dir():
                continue
            # one that was stopped leaves no half of a pair
            unfinished = folder / f".{copy.name}"
            for frame in pair.frames:
                blue_first = [*order][::-1]
                for role, picture in (
                    (published.FULL, pair.plate(frame, pair.canvas)[..., blue_first]),
                    (published.REMOVED, pair.truth(frame, pair.canvas)[..., blue_first]),
                    (published.MASK, pair.codes(frame, pair.canvas).astype(np.float32)[..., None] / 255),
                ):
                    file = unfinished / role / f"{frame:04d}.png"
                    file.parent.mkdir(parents=True, exist_ok=True)
                    shown = np.ascontiguousarray(np.round(255 * picture[:, ::flip].clip(0, 1)), np.uint8)
                    assert cv2.imwrite(str(file), shown), file
            unfinished.rename(copy)
    return made


def _kind_of(pair: PairFolder) -> str:
    return str((pair.facts().model_extra or {}).get("kind", ""))


def learn(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(args.out or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        material = parted(args.pairs, args.unseen, args.first) if args.pairs else drawn_here(folder)
        if args.pairs:
            seen = folder / args.quadmask
            material = Material(
                written(material.learnt, seen / "learnt", args.quadmask, WAYS),
                {
                    why: written(places, seen / "unseen", args.quadmask, WAYS[:1])
                    for why, places in material.unseen.items()
                },
            )
        tables = learnt(folder, args.steps, material, args.start)
    for why, table in tables.items():
        print(f"{f'on unseen {why}':<34}{'PSNR, dB':>9}{'worst pair':>12}")
        for name, values in table.items():
            print(f"{name:<34}{np.mean(values):9.2f}{np.min(values):12.2f}")


def learnt(folder: Path, steps: int, material: Material, start: str = BASE_MODEL) -> dict[str, Table]:
    """Train, and measure: the PSNR of each unseen pair, by why it is unseen and by method."""
    torch.set_num_threads(1)
    wanted = Training.model_validate(
        {
            "out": folder / (Path(start).stem + " onwards"),
            "data": {
                "pairs": material.learnt, "encoded": folder / "encoded", "heights": [HEIGHT], "frames": FRAMES,
                "crop": "frame",
                "full_length_height": HEIGHT, "shorter": 0.0,
            },
            "model": {"start": start, "full": True, "precision": "float32", "checkpointing": False},
            "optimiser": {"kind": "adamw", "rate": 2e-3, "warm_up": 100, "weight_decay": 0.0},
            "run": {"steps": steps, "batch": 16, "save_every": 250, "example_every": 0, "device": "cpu", "seed": 1},
        }
    )  # fmt: skip
    os.environ["VOID_WEIGHTS"] = str(folder / "weights")

    def clips(places: list[Path]) -> list[Clip]:
        return [
            clip
            for place in places
            for found in folders_in(place)
            for clip in clips_of(opened(found, wanted.data), wanted.data)
        ]

    if not (folder / "weights").is_dir():
        _small_weights(folder / "weights", clips(material.learnt))
    began, used = time.monotonic(), time.process_time()
    files = run.train(wanted, _told, SmallModel)
    took, cpu = (time.monotonic() - began) / 60, (time.process_time() - used) / 60
    print(
        f"\n{steps} steps on {len(material.learnt)} pairs, turned ones among them: {took:.1f} min, {cpu:.1f} of CPU",
        file=sys.stderr,
    )
    weights = find()
    (weights.folder / files[0].name).write_bytes(files[0].read_bytes())
    model = SmallModel(find(files[0].name), torch.device("cpu"))
    kept = store.Store(folder / "encoded", wanted, model)
    tables: dict[str, Table] = {}
    for why, places in material.unseen.items():
        table = tables[why] = {}
        for clip in clips(places):
            for method, quality in _qualities(clip, kept.clip(clip), model, wanted, kept.prompt("")).items():
                table.setdefault(method, []).append(quality)
    return tables


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


def _qualities(clip: Clip, item: store.Item, model: Model, wanted: Training, nothing: Path) -> dict[str, float]:
    """The PSNR of each method where a clip is not kept: of all in the same pixels, in the same 0..1."""
    every = range(len(clip.frames))
    plates, truths = clip.plates(every), clip.truths(every)
    changed = clip.codes(every) != classes.KEEP
    scaling = float(model.vae.config.scaling_factor)
    filled = [
        cv2.inpaint(np.round(plate * 255).astype(np.uint8), mask.astype(np.uint8), 3, cv2.INPAINT_TELEA) / 255
        for plate, mask in zip(plates, changed, strict=True)
    ]
    latents = item.read("truth")[0].chunk(2)[0][None]
    through = torch.cat(list(decode(model.vae, latents)), dim=2)
    made = {
        "the plate as it is": plates,
        "inpainted, frame by frame": np.stack(filled),
        **{
            f"trained, {steps} step{'s' * (steps > 1)}": examples.sampled(wanted, model, item, nothing, scaling, steps)
            for steps in SAMPLED
        },
        "the truth through the autoencoder": (through[0] / 2 + 0.5).clamp(0, 1).permute(1, 2, 3, 0).numpy(),
    }
    return {name: psnr(float(np.mean((one[changed] - truths[changed]) ** 2))) for name, one in made.items()}


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
    one.add_argument("--unseen", type=Path)
    one.add_argument("--first", type=int, default=0)
    one.add_argument("--quadmask", choices=(QUADMASK, EFFECTS), default=QUADMASK)
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
