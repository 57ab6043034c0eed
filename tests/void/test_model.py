"""The model's parts: parity with the published pipeline, weights, windows, masks, the VAE's way of splitting."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXDPMScheduler, CogVideoXPipeline
from diffusers.models.attention_dispatch import _HUB_KERNELS_REGISTRY, _AttentionBackendRegistry
from diffusers.schedulers import scheduling_dpm_cogvideox
from random_weights import checkpoint
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode

from void_server.api.errors import SettingError
from void_server.engines.void import float8, sampling, selftest, support
from void_server.engines.void import weights as module_weights
from void_server.engines.void.header import header, standard_key
from void_server.engines.void.kept import EVERY, KeptTensors, Progress
from void_server.engines.void.memory import EXACT, LOW, Profile
from void_server.engines.void.model import Model, choose_device, resident
from void_server.engines.void.parity import compare
from void_server.engines.void.sampling import (
    Conditioning,
    Sampler,
    augmented,
    embed,
    mask_levels,
    starting_noise,
    too_long,
)
from void_server.engines.void.settings import DPM, VoidSettings
from void_server.engines.void.solvers import SOLVERS, noise_of_step
from void_server.engines.void.vae import decode, encode, encoder_parts, latent_length
from void_server.engines.void.weights import PASSES, Weights, find
from void_server.engines.void.windows import plan

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model(weights: Path) -> Model:
    return Model(Weights(weights), CPU)


@pytest.fixture
def copied(weights: Path, tmp_path: Path) -> Weights:
    """Weights that a test may spoil."""
    shutil.copytree(weights, tmp_path / "weights")
    return Weights(tmp_path / "weights")


# -- parity


def test_every_stage_is_as_published(shared: Path) -> None:
    differences = list(compare(shared / "parity", CPU, torch.float32))
    assert {difference.case for difference in differences} >= {"pass1_three_windows", "pass2_three_windows"}
    for difference in differences:
        assert difference.within(torch.float32), difference


def test_other_weights_are_found_out(shared: Path, tmp_path: Path) -> None:
    shutil.copytree(shared / "parity" / "model", tmp_path / "model")
    (tmp_path / "cases").mkdir()
    case = "pass1_one_window.safetensors"
    shutil.copy(shared / "parity" / "cases" / case, tmp_path / "cases" / case)
    path = tmp_path / "model" / PASSES[1]
    tensors = load_file(path)
    tensors["norm_out.linear.weight"] = tensors["norm_out.linear.weight"] * 1.01
    path.chmod(0o644)
    (tmp_path / "model").chmod(0o755)
    path.unlink()
    save_file(tensors, path)
    command = [sys.executable, "-c", "from void_server.cli import main; main()", "parity", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    wrong = [line for line in done.stdout.splitlines() if "TOO MUCH" in line]
    assert [line.split()[1] for line in wrong] == ["transformer", "pass", "all"]


def test_parity_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="contains no cases"):
        list(compare(tmp_path, CPU, torch.float32))


# -- weights


def test_whole_weights_are_accepted(weights: Path) -> None:
    Weights(weights).check((1, 2))
    assert set(Weights(weights).hashes((1, 2))) == set(PASSES.values())


def test_missing_weights_are_named(copied: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    copied.checkpoint(1).unlink()
    with pytest.raises(SettingError, match="void_pass1"):
        copied.check((1,))
    copied.check((2,))
    monkeypatch.delenv("VOID_WEIGHTS", raising=False)
    with pytest.raises(SettingError, match="set VOID_WEIGHTS"):
        find()


def test_a_sampling_whose_last_step_is_kept_goes_on_to_its_end(
    model: Model, given: Conditioning, tmp_path: Path
) -> None:
    """After the last step DPM-Solver++ remembers the very latents that it made."""
    one = sampler(model, steps=EVERY, solver=DPM)
    noise = starting_noise((1, 6, 16, 4, 6), 1)
    progress = Progress(KeptTensors(tmp_path / "latents.safetensors", {}))
    whole = one.run(model, noise, given, lambda *_: None, progress)
    seen: list[int] = []
    assert torch.equal(one.run(model, noise, given, lambda done, _: seen.append(done), progress), whole)
    assert seen == [EVERY]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "is incomplete"),
        (lambda path: path.write_bytes(b""), "is not a safetensors file"),
        (lambda path: path.write_bytes(pickle.dumps({"a": 1}) * 50), "pickled checkpoints"),
        (lambda path: save_file({"a": torch.zeros(3)}, path), "has no patch_embed.proj.weight"),
        (lambda path: save_file({"patch_embed.proj.weight": torch.zeros(128, 33 * 8)}, path), "is the base model"),
        (lambda path: save_file({"patch_embed.proj.weight": torch.zeros(64, 48 * 8)}, path), "is of another size"),
    ],
)
def test_wrong_checkpoints_are_refused_before_a_job_begins(copied: Weights, spoil, message: str) -> None:
    spoil(copied.checkpoint(1))
    with pytest.raises(SettingError, match=message) as error:
        copied.check((1,))
    assert "void_pass1.safetensors" in str(error.value)


def test_a_checkpoint_that_lacks_a_tensor_is_refused(copied: Weights) -> None:
    for change, message in (
        (lambda tensors: tensors.pop("norm_final.weight"), "lacks the tensor norm_final.weight"),
        (lambda tensors: tensors.update({"more": torch.zeros(1)}), "contains more"),
        (lambda tensors: tensors.update({"norm_final.weight": torch.zeros(3)}), "norm_final.weight is"),
    ):
        tensors = checkpoint(1)
        change(tensors)
        save_file(tensors, copied.checkpoint(1))
        with pytest.raises(SettingError, match=message):
            Model(copied, CPU).transformer(1)


def test_renamed_single_files_are_the_same(copied: Weights, model: Model) -> None:
    def renamed(key: str) -> str:
        for old, new in (
            ("transformer_blocks.", "blocks."), (".attn1.to_out.0.", ".attn_out."), (".attn1.to_", "."),
            (".attn1.norm_", ".norm_"), (".ff.net.0.proj.", ".ff_proj."), (".ff.net.2.", ".ff_out."),
            ("time_embedding.linear_", "time_embedding_linear_"),
        ):  # fmt: skip
            key = key.replace(old, new)
        return "model.diffusion_model." + key

    tensors = checkpoint(1)
    assert len({renamed(key) for key in tensors}) == len(tensors)
    assert {standard_key(renamed(key)) for key in tensors} == set(tensors)
    save_file({renamed(key): tensor for key, tensor in tensors.items()}, copied.checkpoint(1))
    copied.check((1,))
    for name, tensor in Model(copied, CPU).transformer(1).state_dict().items():
        assert torch.equal(tensor, model.transformer(1).state_dict()[name])


def test_only_the_header_is_read_to_check(weights: Path) -> None:
    shapes = header(weights / PASSES[1])
    assert shapes["patch_embed.proj.weight"] == (128, 384)


# -- windows


@pytest.mark.parametrize("length", [22, 24, 30, 50, 76])
def test_windows_cover_everything_and_sum_to_one(length: int) -> None:
    for published in (True, False):
        windows = plan(length, 22, published=published)
        assert windows.windows[0][0] == 0
        assert windows.windows[-1][1] == length
        constant = [torch.full((1, end - start, 3), 5.0) for start, end in windows.windows]
        assert torch.allclose(windows.blend(constant), torch.full((1, length, 3), 5.0))
    assert all(end - start == 22 for start, end in plan(length, 22).windows)
    assert len(plan(length, 22).windows) == len(plan(length, 22, published=True).windows)


def test_the_published_tail_is_short() -> None:
    assert plan(24, 22, published=True).windows == ((0, 22), (18, 24))
    assert plan(24, 22).windows == ((0, 22), (2, 24))


def test_a_seam_between_windows_is_a_ramp() -> None:
    windows = plan(40, 22)
    parts = [torch.full((1, 22), float(index)) for index in range(len(windows.windows))]
    blended = windows.blend(parts)[0]
    assert (blended.diff() >= 0).all()
    assert blended.diff().max() < 0.3


# -- masks and conditioning


def test_mask_levels_of_both_passes() -> None:
    codes = np.array([0, 63, 127, 255], np.uint8)
    assert mask_levels(codes, 1).tolist() == pytest.approx([0, 0, 128 / 255, 1])
    assert mask_levels(codes, 2).tolist() == [0, 0, 0, 1]


def test_augmentation_is_the_same_in_parts_and_spares_black() -> None:
    video = torch.rand(1, 3, 13, 16, 16)
    video[..., :4] = 0
    whole = augmented(video, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    parts = [augmented(video[:, :, p.start : p.stop], generator) for p in encoder_parts(13)]
    assert torch.equal(torch.cat(parts, dim=2), whole)
    assert (whole[..., :4] == -1).all()
    assert (whole - (video * 2 - 1))[..., 4:].std() == pytest.approx(0.0563, rel=0.05)


def test_a_prompt_that_is_too_long_says_what_is_cut(model: Model) -> None:
    long = "a lime falls on the table " * 4
    assert embed(model, long).shape == (1, 16, 32)
    assert "table" in too_long(model, long)
    assert too_long(model, "a lime") == ""


def test_a_prompt_is_embedded_the_same_alone_and_among_others(model: Model) -> None:
    assert torch.equal(embed(model, "a lime", "")[:1], embed(model, "a lime"))


# -- the VAE


def in_parts(video: torch.Tensor) -> list[torch.Tensor]:
    return [video[:, :, part.start : part.stop] for part in encoder_parts(video.shape[2])]


@pytest.mark.parametrize("frames", [5, 13, 21, 85])
def test_decoding_gives_as_many_frames_as_were_encoded(model: Model, frames: int) -> None:
    video = torch.rand(1, 3, frames, 16, 16)
    stock = AutoencoderKLCogVideoX.from_pretrained(model.weights.base / "vae")
    with torch.inference_mode():
        latents = encode(model.vae, lambda: in_parts(video), (16, 16))
        decoded = torch.cat(list(decode(model.vae, latents)), dim=2)
        expected = stock.encode(video).latent_dist.mode() * 0.7
    assert torch.allclose(latents, expected, atol=1e-5)
    assert latents.shape[2] == latent_length(frames)
    assert decoded.shape[2] == frames


def test_tiles_meet_without_seams(model: Model) -> None:
    torch.manual_seed(2)
    smooth = torch.nn.functional.interpolate(torch.randn(1, 16, 4, 6, 9), size=(4, 20, 30), mode="trilinear")
    with torch.inference_mode():
        whole = torch.cat(list(decode(model.vae, smooth)), dim=2)
        tiled = torch.cat(list(decode(model.vae, smooth, tile=16)), dim=2)
    assert tiled.shape == whole.shape
    assert (tiled - whole).abs().mean() < 0.25 * whole.std()
    # where tiles meet there is no step that the whole does not have
    jumps = [video.diff(dim=-1).abs().mean((0, 1, 2, 3)) for video in (whole, tiled)]
    assert jumps[1].max() < 1.5 * jumps[0].max()


# -- sampling


def sampler(model: Model, **changes: object) -> Sampler:
    prompt = embed(model, "a lime falls")
    options = {"number": 1, "plan": plan(6, 22), "steps": 2, "guidance": 1.0, "prompt": prompt, **changes}
    return Sampler(**options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def given() -> Conditioning:
    torch.manual_seed(1)
    return Conditioning(torch.randn(1, 16, 6, 4, 6), torch.randn(1, 16, 6, 4, 6))


def test_the_same_seed_gives_the_same_latents(model: Model, given: Conditioning) -> None:
    def run(seed: int) -> torch.Tensor:
        return sampler(model).run(model, starting_noise((1, 6, 16, 4, 6), seed), given, lambda *_: None)

    assert torch.equal(run(3), run(3))
    assert not torch.equal(run(3), run(4))


def test_progress_is_told_for_each_step_and_can_stop(model: Model, given: Conditioning) -> None:
    seen = []

    def on_step(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sampler(model, steps=4).run(model, starting_noise((1, 6, 16, 4, 6), 1), given, on_step)
    assert seen == [(0, 4), (1, 4), (2, 4)]


def test_fast_skips_blocks_and_is_about_the_same(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    given = Conditioning(torch.randn(1, 16, 8, 4, 6), torch.randn(1, 16, 8, 4, 6))
    noise = starting_noise((1, 8, 16, 4, 6), 1)
    calls = []
    handle = model.transformer(1).transformer_blocks[-1].ff.register_forward_hook(lambda *_: calls.append(1))
    two_windows = plan(8, 6)
    try:
        exact = sampler(model, steps=12, plan=two_windows).run(model, noise, given, lambda *_: None)
        assert len(calls) == 24
        calls.clear()
        # random weights change more from step to step than trained ones
        monkeypatch.setattr(sampling, "_FAST_THRESHOLD", 1.0)
        fast = sampler(model, steps=12, plan=two_windows, fast=True).run(model, noise, given, lambda *_: None)
        assert len(calls) == 6, "each window asks all blocks every fifth step, and remembers for itself"
        again = sampler(model, steps=12, plan=two_windows).run(model, noise, given, lambda *_: None)
    finally:
        handle.remove()
    assert 0 < (fast - exact).abs().mean() / exact.abs().mean() < 0.05
    assert torch.equal(again, exact), "the next job is exact again"


def test_fast_without_any_change_allowed_is_exact_to_the_bit(
    model: Model, given: Conditioning, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "_FAST_THRESHOLD", 0.0)
    noise = starting_noise((1, 6, 16, 4, 6), 1)
    exact, fast = (sampler(model, steps=4, fast=one).run(model, noise, given, lambda *_: None) for one in (False, True))
    assert torch.equal(exact, fast)


def test_the_chosen_attention_backend_is_the_one_that_is_called(
    model: Model, given: Conditioning, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = starting_noise((1, 6, 16, 4, 6), 1)
    registered = _AttentionBackendRegistry._backends
    called: list[str] = []

    def noting(name: str, real: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        return lambda **given: called.append(name) or real(**given)

    for name, real in list(registered.items()):
        monkeypatch.setitem(registered, name, noting(name.value, real))
    made = []
    for backend in ("_native_math", "native"):
        model.use_attention(1, backend)
        made.append(sampler(model).run(model, noise, given, lambda *_: None))
        # two blocks, two steps
        assert called == 4 * [backend]
        called.clear()
    assert torch.allclose(*made, atol=1e-4)
    with pytest.raises(SettingError, match="'magic' cannot be used here"):
        model.use_attention(1, "magic")


@pytest.mark.parametrize("backend", [name.value for name in _HUB_KERNELS_REGISTRY])
def test_attention_that_is_downloaded_when_it_is_used_is_refused(model: Model, backend: str) -> None:
    with pytest.raises(SettingError, match="nothing is downloaded here"):
        model.use_attention(1, backend)


@pytest.mark.skipif(not shutil.which("c++"), reason="no C++ compiler: compiled transformers were NOT tested")
@pytest.mark.filterwarnings("ignore")
def test_compiled_is_the_same(weights: Path, model: Model, given: Conditioning) -> None:
    noise = starting_noise((1, 6, 16, 4, 6), 1)
    compiled = Model(Weights(weights), CPU, compiled=True)
    exact, other = (sampler(one).run(one, noise, given, lambda *_: None) for one in (model, compiled))
    assert torch.allclose(exact, other, atol=1e-4)


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Any]]:
    """Compiles without a compiler, and allows so many compilations of a block: more fail, instead of none any more."""
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda what: real(what, backend="eager"))
    torch.compiler.reset()
    yield lambda most: torch._dynamo.config.patch(recompile_limit=most, fail_on_recompile_limit_hit=True)
    torch.compiler.reset()


def test_compiled_blocks_serve_all_shapes_both_passes_and_caches(weights: Path, traced: Callable[[int], Any]) -> None:
    """Once for the first shape, then for any, without guidance and with it."""
    model = Model(Weights(weights), CPU, compiled=True)
    prompt, negative = embed(model, "a lime falls", "").split(1)
    guided = {"number": 2, "guidance": 6.0, "prompt": prompt, "negative": negative}
    with traced(3):
        for length, width, changes in (
            (6, 6, {}), (6, 8, {}), (6, 6, guided), (8, 8, guided),
            (8, 6, {"fast": True, "steps": 3}), (8, 6, {"fast": True, **guided}), (10, 6, {"fast": True}),
        ):  # fmt: skip
            torch.manual_seed(1)
            given = Conditioning(torch.randn(1, 16, length, 4, width), torch.randn(1, 16, length, 4, width))
            one = sampler(model, plan=plan(length, 6), **changes)
            one.run(model, starting_noise((1, length, 16, 4, width), 1), given, lambda *_: None)


def test_what_was_compiled_for_another_model_counts_no_more(
    weights: Path, given: Conditioning, traced: Callable[[int], Any]
) -> None:
    noise = starting_noise((1, 6, 16, 4, 6), 1)
    with traced(1):
        for profile in (EXACT, LOW, EXACT):
            model = resident(Weights(weights), CPU, profile, True)
            sampler(model).run(model, noise, given, lambda *_: None)


def test_strength_begins_with_the_plate(model: Model, given: Conditioning) -> None:
    noise = starting_noise((1, 6, 16, 4, 6), 1)
    plate = given.video.transpose(1, 2)
    steps: list[int] = []

    def distance(strength: float) -> float:
        made = sampler(model, steps=10, strength=strength).run(model, noise, given, lambda done, _: steps.append(done))
        return float((made - plate).abs().mean())

    assert distance(0.1) < distance(0.5) < distance(1.0)
    assert steps == [0, 1, *range(6), *range(11)]


def test_another_checkpoint_of_the_architecture(copied: Weights) -> None:
    copied.checkpoint(1).rename(copied.folder / "trimask.safetensors")
    other = Weights(copied.folder, "trimask.safetensors")
    other.check((1,))
    assert set(other.hashes((1,))) == {"trimask.safetensors"}
    for wrong in ("../x.safetensors", "a/b", "..", "a\\b"):
        with pytest.raises(SettingError, match="name of a file in the weights' folder"):
            VoidSettings(checkpoint=wrong)


def test_low_memory_keeps_scaled_8_bit_matrices_and_everything_else_as_it_is(
    weights: Path, model: Model, given: Conditioning
) -> None:
    low = Model(Weights(weights), CPU, LOW)
    whole, small = dict(model.transformer(1).named_parameters()), low.transformer(1)
    for name, matrix in small.named_buffers():
        if name.endswith(".matrix"):
            assert matrix.dtype == torch.int8
            layer = small.get_submodule(name.removesuffix(".matrix"))
            exact = whole[name.removesuffix("matrix") + "weight"]
            made_whole = layer.matrix * layer.scale
            assert (made_whole - exact).square().mean().sqrt() < 0.012 * exact.square().mean().sqrt()
    same = dict(small.named_parameters())
    assert {name for name in whole if name not in same} == {
        name for name in whole if re.search(r"(to_(q|k|v|out\.0)|ff\.net\.(0\.proj|2))\.weight$", name)
    }
    assert all(torch.equal(tensor, whole[name]) for name, tensor in same.items())
    noise = starting_noise((1, 6, 16, 4, 6), 1)
    exact, rough = (sampler(one).run(one, noise, given, lambda *_: None) for one in (model, low))
    assert 0 < (exact - rough).abs().mean() / exact.abs().mean() < 0.01


@pytest.mark.parametrize("profile", [EXACT, LOW])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_float8_products_are_taken_as_such_and_are_close(
    weights: Path, given: Conditioning, profile: Profile, precision: torch.dtype
) -> None:
    """By torch's own product of scaled rows, here on a CPU; with any memory setting, as both keep 8-bit matrices."""
    exact = Model(Weights(weights), CPU, precision=precision).transformer(1)
    model = Model(Weights(weights), CPU, profile, precision=precision, float8=True)
    rough = model.transformer(1)
    matrices = {name: kept for name, kept in rough.named_buffers() if name.endswith(".matrix")}
    assert {kept.dtype for kept in matrices.values()} == {torch.float8_e4m3fn}
    same = dict(rough.named_parameters())
    exchanged = {name for name, _ in exact.named_parameters() if name not in same}
    assert exchanged == {name.removesuffix("matrix") + "weight" for name in matrices}
    assert len(exchanged) == 2 * 6, "four of attention and two of the feed-forward, in each of two blocks"
    torch.manual_seed(2)
    cos, sin = sampling.rotary(model.weights.transformer_config, 6, 4, 6)
    inputs = {
        "hidden_states": torch.cat([torch.randn(2, 6, 16, 4, 6), given.channels.expand(2, -1, -1, -1, -1)], dim=2),
        "encoder_hidden_states": embed(model, "a lime falls", ""),
    }
    inputs = {name: tensor.to(precision) for name, tensor in inputs.items()}
    made = []
    for transformer in (exact, rough):
        with torch.inference_mode(), Products() as products:
            made.append(
                transformer(**inputs, timestep=torch.full((2,), 500), image_rotary_emb=(cos, sin), return_dict=False)[0]
            )
        assert products.scaled == (12 if transformer is rough else 0)
    assert 0.001 < (made[1] - made[0]).float().norm() / made[0].float().norm() < 0.03
    assert model.described == f"cpu, {str(precision)[6:]} with float8 products, {profile.name}"


class Products(TorchDispatchMode):
    """Counts the products of scaled rows."""

    scaled = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.scaled += "scaled_mm" in str(function)
        return function(*args, **(kwargs or {}))


def test_float8_keeps_small_rows_beside_large_ones_and_rows_of_zeros() -> None:
    """A scale for each token and each output: none is lost among others that are far larger."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(256, 64, bias=False)
    size_of_token = torch.tensor([1e-4, 1.0, 1e4])[:, None, None]
    x = torch.randn(3, 99, 256) * size_of_token
    x[:, 0] = 0
    with torch.inference_mode():
        layer.weight[::2] *= 1e-3
        made, expected = float8.Float8Linear(layer)(x), layer(x)
    assert not made[:, 0].any()
    errors = torch.linalg.norm(made - expected, dim=1) / torch.linalg.norm(expected, dim=1)
    assert errors.shape == (3, 64)
    assert errors.max() < 0.05


def test_float8_on_the_self_test_is_a_stage_where_the_card_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(float8, "possible", lambda _: True)
    found = {layer.stage: layer for layer in selftest._layers(CPU, torch.bfloat16)}["linear in float8"]
    assert found.within(torch.bfloat16)


def test_what_a_card_lacks_for_float8_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    have = {"triton"}
    monkeypatch.setattr(support, "installed", have.__contains__)
    monkeypatch.setattr(support, "_lacks_to_compile", lambda: "")
    for capability in ((8, 9), (9, 0), (10, 0), (12, 1)):
        assert support.lacks_for_float8(capability, "2.13.0+cu128") == ""
    assert "older than Ada" in support.lacks_for_float8((8, 6), "2.13.0")
    assert "compute capability 13.0" in support.lacks_for_float8((13, 0), "2.13.0")
    assert "torch is older than 2.10" in support.lacks_for_float8((9, 0), "2.9.1+cu128")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "win32")
        assert "on Windows" in support.lacks_for_float8((9, 0), "2.13.0")
    have.clear()
    assert "Triton is not installed" in support.lacks_for_float8((9, 0), "2.13.0")
    assert not float8.possible([CPU])


def test_what_triton_compiles_with_is_looked_for_where_it_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacks() -> str:
        return support.lacks_for_float8((9, 0), "2.13.0")

    monkeypatch.setattr(support, "installed", lambda _: True)
    monkeypatch.setattr(sysconfig, "get_path", lambda *_: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    (tmp_path / "Python.h").touch()
    (tmp_path / "cc").touch(0o755)
    assert "no C compiler for Triton (gcc or clang)" in lacks()
    monkeypatch.setenv("CC", "cc")
    assert lacks() == ""
    monkeypatch.setenv("CC", str(tmp_path / "cc"))
    assert lacks() == ""
    for none in ("/nowhere/cc", "cc -m64", ""):
        monkeypatch.setenv("CC", none)
        assert f"there is no program {none!r}, which CC names" in lacks()
    monkeypatch.delenv("CC")
    (tmp_path / "cc").rename(tmp_path / "clang")
    assert lacks() == ""
    (tmp_path / "Python.h").unlink()
    assert f"no Python.h in {tmp_path}" in lacks()


def test_devices_and_profiles() -> None:
    assert choose_device("cpu") == CPU
    with pytest.raises(SettingError, match="Unknown device 'quantum'"):
        choose_device("quantum")
    if not torch.cuda.is_available():
        with pytest.raises(SettingError, match="No usable CUDA GPU"):
            choose_device("cuda")


def test_nothing_heavy_is_loaded_to_check_a_job() -> None:
    code = "import sys, void_server.engines.void, void_server.engines.void.weights; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# -- DPM-Solver++


@pytest.mark.parametrize("steps", [8, 7])
@pytest.mark.parametrize("guidance", [1.0, 6.0])
def test_dpm_makes_what_diffusers_own_pipeline_makes(
    model: Model, given: Conditioning, monkeypatch: pytest.MonkeyPatch, steps: int, guidance: float
) -> None:
    """The pipeline's loop, prompts and guidance; the conditioning's channels are put beside its latents in the call.

    Its noise is ours, frame by frame.
    """
    prompt, negative = embed(model, "a lime falls", "").split(1)
    noise = starting_noise((1, 6, 16, 4, 6), 1)
    transformer = model.transformer(1)

    class Conditioned(torch.nn.Module):
        config, dtype, device = transformer.config, torch.float32, CPU

        def forward(self, hidden_states: torch.Tensor, **rest: Any) -> Any:
            channels = given.channels.expand(len(hidden_states), -1, -1, -1, -1)
            rest["image_rotary_emb"] = sampling.rotary(model.weights.transformer_config, 6, 4, 6)
            return transformer(torch.cat([hidden_states, channels], dim=2), **rest)

        @contextmanager
        def cache_context(self, _: str) -> Iterator[None]:
            yield

    scheduler = CogVideoXDPMScheduler.from_config(model.scheduler_config)
    pipeline = CogVideoXPipeline(None, None, model.vae, Conditioned(), scheduler)
    pipeline.set_progress_bar_config(disable=True)
    # what the last step hands on, where it leaves noise in what it makes
    predictions: list[torch.Tensor] = []
    generators: list[torch.Generator] = []
    real, drawn = scheduler.step, scheduling_dpm_cogvideox.randn_tensor

    @wraps(real)
    def step(*what: Any, **more: Any) -> Any:
        generators[:] = [noise_of_step(3, len(predictions), 5 + frame) for frame in range(6)]
        made = real(*what, **more)
        predictions.append(made[1])
        return made

    def randn_tensor(shape: torch.Size, **_: object) -> torch.Tensor:
        return drawn(shape[1:], generator=generators)[None]

    scheduler.step = step
    monkeypatch.setattr(scheduling_dpm_cogvideox, "randn_tensor", randn_tensor)
    theirs = pipeline(
        prompt_embeds=prompt,
        negative_prompt_embeds=negative,
        height=32,
        width=48,
        num_frames=21,
        num_inference_steps=steps,
        guidance_scale=guidance,
        latents=noise,
        output_type="latent",
    ).frames
    monkeypatch.undo()
    one = sampler(
        model, steps=steps, guidance=guidance, prompt=prompt, negative=negative if guidance > 1 else None,
        solver=DPM, seed=3, first=5,
    )  # fmt: skip
    ours = one.run(model, noise, given, lambda *_: None)
    assert torch.allclose(ours, predictions[-1], atol=1e-5)
    if steps == 8:
        assert torch.allclose(ours, theirs, atol=1e-5)
    else:
        # diffusers ends one timestep short here
        assert float((predictions[-1] - theirs).std()) > 0.01


def test_dpm_has_one_noise_where_windows_overlap(model: Model) -> None:
    """Two noises that are blended have less variance than one, which shows as a seam."""
    latents = torch.zeros(1, 4000, 1, 1, 1)
    two = plan(4000, 2002)
    assert len(two.windows) == 2
    solver = SOLVERS[DPM](model.scheduler_config, 20, 20, 5, 0)
    made = solver.step(0, latents, (latents[:, start:end] for start, end in two.windows), two)
    alone = SOLVERS[DPM](model.scheduler_config, 20, 20, 5, 0).step(0, latents, [latents], plan(4000, 4000))
    assert torch.equal(made, alone)
    assert float(made.std()) > 0


def test_dpm_depends_on_the_seed_and_its_noise_is_not_that_it_begins_with(model: Model, given: Conditioning) -> None:
    noise = starting_noise((1, 6, 16, 4, 6), 1)

    def run(seed: int) -> torch.Tensor:
        return sampler(model, steps=4, solver=DPM, seed=seed).run(model, noise, given, lambda *_: None)

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))
    assert not torch.equal(torch.randn(noise[0, 0].shape, generator=noise_of_step(1, 0, 0)), noise[0, 0])


def test_dpm_draws_the_noise_of_a_frame_as_it_is_in_the_shot_whatever_piece_it_is_in(model: Model) -> None:
    """So that what two pieces share fades from one to the like; and each step's is another."""
    latents = torch.zeros(1, 8, 1, 2, 2)

    def made(first: int, index: int = 0) -> torch.Tensor:
        return SOLVERS[DPM](model.scheduler_config, 20, 20, 5, first).step(index, latents, [latents], plan(8, 8))

    assert torch.equal(made(0)[:, 5:], made(5)[:, :3])
    assert not torch.equal(made(0)[:, :3], made(5)[:, :3])
    at_once, again = made(0, 2), made(0, 1)
    assert not torch.allclose(at_once / at_once.std(), again / again.std())


# -- what was done is not done again


@pytest.mark.parametrize("changes", [{}, {"fast": True}, {"solver": DPM}, {"solver": DPM, "strength": 0.9, "steps": 8}])
def test_a_sampling_that_was_stopped_goes_on_to_the_same_bits(
    model: Model, given: Conditioning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    monkeypatch.setattr(sampling, "EVERY", 2)
    # so that all steps are abbreviated that may be
    monkeypatch.setattr(sampling, "_FAST_THRESHOLD", 1.0)
    one = sampler(model, **{"steps": 7, **changes})
    noise = starting_noise((1, 6, 16, 4, 6), 1)
    whole = one.run(model, noise, given, lambda *_: None)
    progress = Progress(KeptTensors(tmp_path / "latents.safetensors", {"steps": "7"}))

    def stop(done: int, _: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one.run(model, noise, given, stop, progress)
    seen: list[int] = []
    again = one.run(model, noise, given, lambda done, _: seen.append(done), progress)
    assert seen == [4, 5, 6, 7], "four steps were kept"
    assert torch.equal(again, whole)
    # nothing is taken from a sampling of another kind, or from half a file
    other = Progress(KeptTensors(progress.kept.path, {"steps": "8"}))
    assert other.read() is None
    progress.kept.path.write_bytes(progress.kept.path.read_bytes()[:100])
    assert progress.read() is None


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda base: (base / "text_encoder" / "model.safetensors").unlink(), "lacks .*text_encoder.model.safetensors"),
        (lambda base: (base / "tokenizer" / "spiece.model").unlink(), "lacks .*spiece.model"),
        (lambda base: (base / "tokenizer" / "tokenizer_config.json").unlink(), "lacks .*tokenizer_config.json"),
        (lambda base: in_shards(base / "text_encoder", lost=1), "lacks .*model-2-of-2.safetensors"),
        (lambda base: in_shards(base / "text_encoder", short=1), "model-2-of-2.safetensors is incomplete"),
        (
            lambda base: (base / "text_encoder" / "model.safetensors.index.json").write_text("{"),
            "cannot be read as the",
        ),
        (lambda base: truncate(base / "vae" / "diffusion_pytorch_model.safetensors"), "diffusion.*is incomplete"),
    ],
)
def test_what_the_text_encoder_and_the_autoencoder_need_is_checked_before_a_job_begins(
    copied: Weights, spoil: Callable[[Path], object], message: str
) -> None:
    copied.check((1,))
    spoil(copied.base)
    with pytest.raises(SettingError, match=message):
        copied.check((1,))


def test_a_text_encoder_in_shards_is_whole(copied: Weights, model: Model) -> None:
    in_shards(copied.base / "text_encoder")
    copied.check((1,))
    assert torch.equal(embed(Model(copied, CPU), "a lime"), embed(model, "a lime"))


def in_shards(folder: Path, *, lost: int | None = None, short: int | None = None) -> None:
    """Split the text encoder's weights into two files and an index, as the released ones are."""
    tensors = sorted(load_file(folder / "model.safetensors").items())
    (folder / "model.safetensors").unlink()
    names = ["model-1-of-2.safetensors", "model-2-of-2.safetensors"]
    for name, part in zip(names, (tensors[::2], tensors[1::2]), strict=True):
        save_file(dict(part), folder / name, metadata={"format": "pt"})
    index = {name: names[position % 2] for position, (name, _) in enumerate(tensors)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    if lost is not None:
        (folder / names[lost]).unlink()
    if short is not None:
        truncate(folder / names[short])


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def test_hashes_are_remembered_for_as_long_as_the_file_is_the_same(
    copied: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []
    real = module_weights.digest_of
    monkeypatch.setattr(module_weights, "digest_of", lambda path, **how: hashed.append(path) or real(path, **how))
    first = copied.hashes((1, 2))
    assert copied.hashes((1, 2)) == first
    assert hashed == [copied.checkpoint(1), copied.checkpoint(2)]
    # another process finds them too
    code = (
        "import sys; from pathlib import Path; from void_server.engines.void import weights; "
        "weights.digest_of = None; print(weights.Weights(Path(sys.argv[1])).hashes((1,)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(copied.folder)], capture_output=True, text=True, check=False)
    assert first[PASSES[1]] in done.stdout, done.stderr
    save_file(checkpoint(5), copied.checkpoint(1))
    assert copied.hashes((1,)) != {PASSES[1]: first[PASSES[1]]}


def test_a_worker_that_may_not_write_its_state_folder_hashes_once(
    copied: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []
    real = module_weights.digest_of
    monkeypatch.setattr(module_weights, "digest_of", lambda path, **how: hashed.append(path) or real(path, **how))
    # no folder can be made below a file
    monkeypatch.setenv("VOID_HOME", str(copied.checkpoint(2)))
    assert copied.hashes((1,)) == copied.hashes((1,))
    assert hashed == [copied.checkpoint(1)]


# -- the self-test


def test_a_machine_that_computes_right_passes_and_one_that_does_not_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stages = list(selftest.examine(CPU))
    assert {precision for _, precision in stages} == {torch.float32, torch.bfloat16}
    docs = (Path(__file__).parents[2] / "docs" / "void.md").read_text(encoding="utf-8")
    assert f"| {len(stages)} stages, `all within float32 0.0001, bfloat16 0.06`" in docs
    for difference, precision in stages:
        assert difference.within(precision), difference
    # convolutions that forget the last column, as with a faulty library
    real = torch.nn.functional.conv3d

    def faulty(*given: Any, **named: Any) -> torch.Tensor:
        made = real(*given, **named)
        made[..., -1] = 0
        return made

    monkeypatch.setattr("void_server.engines.void.lean.functional.conv3d", faulty)
    monkeypatch.setattr(selftest, "_layers", lambda *_: iter(()))
    wrong = {(d.case, d.stage) for d, precision in selftest.examine(CPU) if not d.within(precision)}
    assert ("pass 1", "mask latents") in wrong
    assert ("pass 1", "frames") in wrong
    assert ("text", "prompt") not in wrong
