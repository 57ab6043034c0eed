"""Compare our results with recorded outputs of the published pipeline, stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from ...api.errors import SettingError
from .model import Model
from .sampling import Conditioning, Footage, Sampler, augmented, conditioning, embed, mask_video, rotary
from .vae import SPATIAL, decode, encoder_parts, latent_length
from .weights import Weights
from .windows import plan

#: In float32 by the largest absolute difference, in bfloat16 by the root mean square of the differences as a share of
#: that of the values: the largest of many rounded values says little. Measured on
#: the recorded cases, on a CPU: 2e-5 and 2.6 %.
TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 0.06}


@dataclass(frozen=True)
class Difference:
    """How far a stage of a case is from what was recorded; ``shape`` says what does not fit, where it does not.

    ``largest`` is absolute; ``share`` is the root mean square of the differences divided by that of the values.
    """

    case: str
    stage: str
    largest: float
    share: float
    shape: str = ""

    @classmethod
    def between(cls, case: str, stage: str, computed: torch.Tensor, expected: torch.Tensor) -> Difference:
        """The difference of two tensors."""
        if computed.shape != expected.shape:
            infinite = float("inf")
            return cls(case, stage, infinite, infinite, f"{tuple(computed.shape)}, not {tuple(expected.shape)}")
        difference = computed.float().cpu() - expected
        share = difference.square().mean().sqrt() / expected.float().square().mean().sqrt()
        return cls(case, stage, float(difference.abs().max()), float(share))

    def of(self, precision: torch.dtype) -> float:
        """The number by which a precision is judged."""
        return self.largest if precision == torch.float32 else self.share

    def within(self, precision: torch.dtype, tolerance: float | None = None) -> bool:
        """Whether the stage is as recorded, as far as ``precision`` goes; not where a value is no number."""
        return self.of(precision) <= (TOLERANCES[precision] if tolerance is None else tolerance)


def precision_of(name: str) -> torch.dtype:
    """float32 or bfloat16. Raises :class:`SettingError` for others."""
    for precision in TOLERANCES:
        if name == str(precision).rpartition(".")[2]:
            return precision
    raise SettingError(f"The precision is {name!r}; give float32 or bfloat16.")


@contextmanager
def exactly(precision: torch.dtype) -> Iterator[None]:
    """In float32, keep a GPU from rounding what it multiplies to TF32, as it otherwise may."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    if precision == torch.float32:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def compare(folder: Path, device: torch.device, precision: torch.dtype) -> Iterator[Difference]:
    """Run every case in FOLDER/cases on FOLDER/model. Raises :class:`SettingError` where there is nothing to run."""
    cases = sorted((folder / "cases").glob("*.safetensors"))
    if not cases:
        raise SettingError(f"{folder} contains no cases/*.safetensors; give the folder with cases and model.")
    model = Model(Weights(folder / "model"), device, precision=precision)
    with exactly(precision):
        for case in cases:
            yield from _compare(case, model)


def _compare(path: Path, model: Model) -> Iterator[Difference]:
    recorded, about = _read(path)

    def difference(stage: str, computed: torch.Tensor, name: str = "") -> Difference:
        return Difference.between(path.stem, stage, computed, recorded[name or stage])

    number, guidance = int(about["which"]), float(about["guidance_scale"])
    model.weights.check((number,))
    codes, video = recorded["quadmask"].numpy(), recorded["video"]
    seed = int(about["seed_before_call"])
    yield difference("mask into the VAE", mask_video(codes, number), "encoded_mask_video")
    noisy = augmented(video, torch.Generator().manual_seed(seed))
    yield difference("video into the VAE", noisy, "encoded_condition_video")
    parts = [slice(part.start, part.stop) for part in encoder_parts(video.shape[2])]
    footage = Footage(
        (video.shape[3], video.shape[4]),
        lambda: (video[:, :, part] for part in parts),
        lambda: (codes[part] for part in parts),
    )
    conditions = conditioning(model, footage, number, seed)
    yield difference("mask latents", conditions.mask, "mask_latents")
    yield difference("video latents", conditions.video, "video_latents")
    prompt = embed(model, about["prompt"])
    yield difference("prompt", prompt, "prompt_embeds")
    negative = None
    if guidance > 1:
        negative = embed(model, about["negative_prompt"])
        yield difference("negative prompt", negative, "negative_prompt_embeds")
    windows = plan(latent_length(video.shape[2]), latent_length(int(about["window"])), published=True)
    sampler = Sampler(number, windows, int(about["steps"]), guidance, prompt, negative)
    yield from _first_call(sampler, model, recorded, difference)
    noise = recorded["initial_latents"]
    # from the latents recorded, so that each stage answers for itself alone
    exact = Conditioning(recorded["mask_latents"], recorded["video_latents"])
    yield difference(f"pass {number}", sampler.run(model, noise, exact, _ignored), "final_latents")
    yield difference("decoded frames", _shown(model, recorded["final_latents"]), "output")
    whole = sampler.run(model, noise, conditions, _ignored)
    yield difference("all stages together", _shown(model, whole), "output")


def _first_call(
    sampler: Sampler,
    model: Model,
    recorded: dict[str, torch.Tensor],
    difference: Callable[[str, torch.Tensor, str], Difference],
) -> Iterator[Difference]:
    start, end = sampler.plan.windows[0]
    channels = Conditioning(recorded["mask_latents"], recorded["video_latents"]).channels[:, start:end]
    window = recorded["initial_latents"][:, start:end]
    cos, sin = rotary(model.weights.transformer_config, *(window.shape[i] for i in (1, 3, 4)))
    yield difference("rotary cosines", cos, "rope_cos")
    yield difference("rotary sines", sin, "rope_sin")
    doubled = torch.cat([channels, channels]) if sampler.guided else channels
    yield difference("transformer's condition", doubled, "model_condition")
    output = sampler.forward(model, window, channels, recorded["model_timestep"][:1])
    yield difference("transformer", output, "model_output")


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except SafetensorError as error:
        raise SettingError(f"{path} cannot be read as a recorded case: {error}") from error


def _shown(model: Model, latents: torch.Tensor) -> torch.Tensor:
    height, width = (SPATIAL * side for side in latents.shape[-2:])
    with torch.inference_mode(), model.decoding(height, width) as vae:
        parts = list(decode(vae, latents.transpose(1, 2)))
    return (torch.cat(parts, dim=2) / 2 + 0.5).clamp(0, 1)


def _ignored(done: int, total: int) -> None:
    del done, total
