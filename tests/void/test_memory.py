"""The memory plan: what stages take at full size, who is on the card and when, what is refused, what docs say."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel
from meter import measuring
from random_weights import FULL, TINY
from transformers import T5Config, T5EncoderModel

from void_server.api.errors import SettingError
from void_server.api.shot import Settings
from void_server.engines.void import Void, attention, float8, memory
from void_server.engines.void.eight_bit import quantise
from void_server.engines.void.float8 import Float8Linear
from void_server.engines.void.lean import slimmed
from void_server.engines.void.memory import EXACT, GIB, LOW, PROFILES, TILED, needs, working_size
from void_server.engines.void.model import Model, resident
from void_server.engines.void.sampling import Conditioning, Sampler, embed, starting_noise
from void_server.engines.void.turns import Guest, Relay, Turns, weights_of
from void_server.engines.void.vae import decode, encode, encoder_parts
from void_server.engines.void.weights import Weights
from void_server.engines.void.windows import plan

pytestmark = pytest.mark.slow

CPU, META = torch.device("cpu"), torch.device("meta")
# a first part of 13 frames, and one of 8
FRAMES = 21


def bytes_of(module: torch.nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in weights_of(module))


@cache
def full_vae() -> AutoencoderKLCogVideoX:
    with META:
        vae = AutoencoderKLCogVideoX(**FULL.vae)
    vae.encoder.bfloat16()
    return slimmed(vae.eval())


@cache
def full_transformer(layers: int, *, products: bool = False) -> CogVideoXTransformer3DModel:
    with META:
        made = CogVideoXTransformer3DModel.from_config(
            {**FULL.transformer, "in_channels": 48, "num_layers": layers}
        ).bfloat16()
    attention.use(made, "native")
    if products:
        quantise(made, Float8Linear)
    return made.eval()


# -- the plan against what layers really take, at full size on the meta device


def test_the_weights_are_as_large_as_the_plan_says() -> None:
    assert bytes_of(full_vae().encoder) == memory.ENCODER
    assert bytes_of(full_vae().decoder) == memory.DECODER
    whole = full_transformer(42)
    assert bytes_of(whole) == memory.TRANSFORMER
    blocks = bytes_of(whole.transformer_blocks)
    assert memory.TRANSFORMER - blocks + 2 * blocks // 42 <= memory.STREAMED
    assert bytes_of(full_transformer(42, products=True)) == pytest.approx(5.95 * GIB, rel=0.001), "as docs/void.md says"
    with META:
        text = T5EncoderModel(T5Config(**FULL.text)).bfloat16()
    assert bytes_of(text) == memory.TEXT_ENCODER


@pytest.mark.parametrize("size", [(256, 256), (384, 672), (720, 1264)])
def test_encoding_and_decoding_take_no_more_than_the_plan_says(size: tuple[int, int]) -> None:
    height, width = size

    def video() -> Iterator[torch.Tensor]:
        return (torch.empty(1, 3, len(part), height, width, device=META) for part in encoder_parts(FRAMES))

    with measuring() as meter:
        latents = encode(full_vae(), video, size)
    assert latents.shape == (1, 16, 6, height // 8, width // 8)
    assert 0.9 * memory.encoding(*size) < meter.peak <= memory.encoding(*size)
    with measuring() as meter:
        frames = sum(part.shape[2] for part in decode(full_vae(), torch.empty(latents.shape, device=META)))
    assert frames == FRAMES
    assert 0.9 * memory.decoding(*size) < meter.peak <= memory.decoding(*size)


@pytest.mark.parametrize("products", [False, True])
@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("size", [(384, 672), (1072, 1888)])
def test_a_step_takes_no_more_than_the_plan_says(
    size: tuple[int, int], guided: bool, products: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens are scaled to float8 in one kernel, as on GPUs; step by step they would come to half as much again."""

    def fused(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.empty_like(x, dtype=torch.float8_e4m3fn), torch.empty(len(x), 1, device=META)

    monkeypatch.setattr(float8, "_scaled_tokens", fused)
    height, width = size
    batch, tokens = 1 + guided, 11 * (height // 16) * (width // 16)

    def empty(*shape: int) -> torch.Tensor:
        return torch.empty(shape, device=META, dtype=torch.bfloat16)

    transformer = full_transformer(3, products=products)
    with measuring(weights_of(transformer)) as meter:
        transformer(
            hidden_states=empty(batch, 22, 48, height // 8, width // 8),
            encoder_hidden_states=empty(batch, 226, 4096),
            timestep=empty(batch),
            image_rotary_emb=(empty(tokens, 64).float(), empty(tokens, 64).float()),
            return_dict=False,
        )
    assert 0.9 * memory.sampling(*size, guided=guided) < meter.peak <= memory.sampling(*size, guided=guided)


def test_a_height_of_1080_lines_goes_through_the_autoencoder() -> None:
    """Stock convolutions split such parts into fewer frames than their kernel has, and fail."""
    height, width = 1088, 1904
    latents = torch.empty(1, 16, 3, height // 8, width // 8, device=META)
    with torch.inference_mode():
        assert sum(part.shape[2] for part in decode(full_vae(), latents)) == 9
        with META:
            stock = AutoencoderKLCogVideoX(**FULL.vae).eval()
        with pytest.raises(RuntimeError, match=r"[Kk]ernel size"):
            stock.decoder(latents[:, :, :2])


def test_the_table_in_the_docs_is_the_plan() -> None:
    text = (Path(__file__).parents[2] / "docs" / "void.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (exact|tiled|low) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|", text, re.MULTILINE)
    assert {(int(height), name) for height, name, *_ in rows} >= {(384, "exact"), (384, "tiled"), (720, "exact")}
    for height, name, *figures in rows:
        found = needs(PROFILES[name], *working_size(int(height)), guided=True)
        assert [float(figure) for figure in figures] == pytest.approx(
            [found.encode / GIB, found.sample / GIB, found.decode / GIB], abs=0.051
        )
    cards = re.findall(r"^\| (\d+) GB[^|]*\| ([\d.]+) \| (exact|tiled|low) \| (\d+) \| (\d+|-) \|", text, re.MULTILINE)
    assert [int(size) for size, *_ in cards] == [8, 12, 16, 24, 40, 80, 141]
    for _, reports, name, exact, tiled in cards:
        available = int(float(reports) * GIB)
        best = next(p for p in PROFILES.values() if needs(p, 384, 672, guided=True).least <= available)
        assert best.name == name
        assert int(exact) == memory.highest(EXACT, guided=True, available=available)
        assert int(tiled) == memory.highest(TILED, guided=True, available=available)


# -- what fits is said before anything is loaded


def test_a_size_that_does_not_fit_is_refused_with_one_that_does() -> None:
    with pytest.raises(SettingError, match=r"of 1080 needs 8\d\.\d GiB .* this card has 24\.0") as refused:
        memory.check(EXACT, 1080, guided=False, available=24 * GIB)
    (fitting,) = re.findall(r"set the working height to (\d+) or set memory to tiled", str(refused.value))
    memory.check(EXACT, int(fitting), guided=False, available=24 * GIB)
    with pytest.raises(SettingError):
        memory.check(EXACT, int(fitting) + 16, guided=False, available=24 * GIB)
    memory.check(TILED, 1080, guided=False, available=24 * GIB)


def test_a_job_that_no_card_can_hold_is_refused_at_submission(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver is asked by its own tool, as it is where there are cards."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho '0, NVIDIA GeForce RTX 3080, 10240, 8.6'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("VOID_WEIGHTS", str(weights))
    assert memory.cards() == [memory.Card(0, "NVIDIA GeForce RTX 3080", 10 * GIB, (8, 6))]
    with pytest.raises(SettingError, match=r"this card has 10.0; set the working height to .* or set memory to tiled"):
        Void().check(Settings(engine="void"))
    Void().check(Settings(engine="void", engine_settings={"memory": "tiled"}))
    Void().check(Settings(engine="void", device="cpu"))


def test_a_job_of_several_cards_is_checked_by_the_smallest_and_no_others(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    lines = "0, RTX 4090, 24564, 8.9\\n1, RTX 4060, 8188, 8.9\\n2, RTX 4090, 24564, 8.9\\n"
    tool.write_text(f"#!/bin/sh\nprintf '{lines}'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("VOID_WEIGHTS", str(weights))
    # as `void serve` has it for its workers
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    for given, fits in (("0,1", False), ("0,2", True), ("2", True), ("1", False), ("GPU-3a5b,1", True)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
        if fits:
            Void().check(Settings(engine="void"))
        else:
            with pytest.raises(SettingError, match=r"this card has 8\.0"):
                Void().check(Settings(engine="void"))
    # by speed 1 may be any of them: the job itself looks, before it loads anything
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.delenv("CUDA_DEVICE_ORDER")
    Void().check(Settings(engine="void"))


def test_the_plan_needs_nothing_heavy() -> None:
    code = "import sys, void_server.engines.void.memory; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == "False"


# -- turns


class Noted(Guest):
    """A guest that notes whether it is on the card; on the CPU, card and machine have the same memory."""

    here = False

    def enter(self, device: torch.device) -> None:
        super().enter(device)
        self.here = True

    def leave(self) -> None:
        super().leave()
        self.here = False


def test_parts_stay_where_there_is_room_and_leave_in_turn_where_not() -> None:
    large, middle, small = guests = [Noted([torch.ones(256 * size)]) for size in (5, 3, 2)]
    room = 10 * 1024
    turns = Turns(CPU, lambda: room - sum(guest.size for guest in guests if guest.here))

    def here() -> list[bool]:
        return [guest.here for guest in guests]

    for guest in guests:
        with turns.working(guest, 0):
            pass
    assert here() == [True, True, True]
    # the one that worked longest ago goes first, and only as many as must
    with turns.working(small, 4 * 1024):
        assert here() == [False, True, True]
    with turns.working(large, 1024):
        assert here() == [True, False, True]
    assert turns.room_with(middle) == room - middle.size
    turns.dismiss(large)
    assert here() == [False, False, True]
    turns.send_all_away()
    assert here() == [False, False, False]
    # one that fails to enter for want of memory is sent away like any other
    with pytest.raises(torch.OutOfMemoryError), turns.working(large, 0):
        raise torch.OutOfMemoryError("CUDA out of memory")
    turns.send_all_away()
    assert here() == [False, False, False]


def test_the_blocks_of_what_does_not_fit_take_turns_two_at_most() -> None:
    torch.manual_seed(0)
    blocks = torch.nn.Sequential(*(torch.nn.Linear(8, 8) for _ in range(6)))
    expected = blocks(torch.ones(1, 8))
    relay = Relay(blocks, CPU)
    seen = []
    for index, block in enumerate(blocks):
        block.register_forward_pre_hook(lambda *_, index=index: seen.append((index, sorted(relay._here))))
    for _ in range(2):
        assert torch.equal(blocks(torch.ones(1, 8)), expected)
    once = [(0, [0, 1]), (1, [1, 2]), (2, [2, 3]), (3, [3, 4]), (4, [4, 5]), (5, [5])]
    assert seen == 2 * once
    assert not relay._here
    # a step that skips blocks leaves one fetched in vain; the next one sends it away
    blocks[0](torch.ones(1, 8))
    assert sorted(relay._here) == [1]
    blocks[0](torch.ones(1, 8))
    assert sorted(relay._here) == [1]
    # nor does one that fails leave anything behind
    relay.send_all_away()
    assert not relay._here
    assert torch.equal(blocks(torch.ones(1, 8)), expected)
    relay.end()
    assert not relay._here


@pytest.mark.parametrize("products", [False, True])
def test_a_transformer_that_does_not_fit_makes_the_same_bits(
    weights: Path, monkeypatch: pytest.MonkeyPatch, products: bool
) -> None:
    torch.manual_seed(1)
    given = Conditioning(torch.randn(1, 16, 6, 4, 6), torch.randn(1, 16, 6, 4, 6))
    noise = starting_noise((1, 6, 16, 4, 6), 1)
    made = []
    for room in (2**62, 2**20):
        monkeypatch.setattr("void_server.engines.void.model.free_memory", lambda _, room=room: room)
        model = Model(Weights(weights), CPU, float8=products)
        sampler = Sampler(1, plan(6, 22), 2, 1.0, embed(model, "a lime falls"))
        made.append((embed(model, "a lime"), sampler.run(model, noise, given, lambda *_: None)))
        assert set(model._relays) == (set() if room > 2**40 else {"transformer 1"})
    for one, other in zip(*made, strict=True):
        assert torch.equal(one, other)


def test_a_model_that_is_not_needed_any_more_leaves_the_card_to_the_next(weights: Path) -> None:
    first = resident(Weights(weights), CPU, EXACT, False)
    with first.encoding(64, 64):
        pass
    assert resident(Weights(weights), CPU, EXACT, False) is first
    assert first._turns._here
    other = resident(Weights(weights), CPU, LOW, False)
    assert other is not first
    assert not first._turns._here


# -- the autoencoder in less memory


@pytest.fixture(scope="module")
def both_vaes() -> tuple[AutoencoderKLCogVideoX, AutoencoderKLCogVideoX]:
    made = []
    for _ in range(2):
        torch.manual_seed(0)
        made.append(AutoencoderKLCogVideoX(**TINY.vae).eval())
    return made[0], slimmed(made[1])


@pytest.mark.parametrize("frames", [1, 2, 3, 5])
def test_slimmed_layers_make_what_stock_ones_make(
    both_vaes: tuple[AutoencoderKLCogVideoX, AutoencoderKLCogVideoX], frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts of several lengths, one after the other, convolved a frame at a time."""
    stock, lean = both_vaes
    monkeypatch.setattr("void_server.engines.void.lean._AT_ONCE", 1)
    torch.manual_seed(frames)
    parts = [torch.randn(1, 16, frames, 4, 6), torch.randn(1, 16, 2, 4, 6)]
    videos = [torch.randn(1, 3, 8 + frames, 16, 24), torch.randn(1, 3, 8, 16, 24)]
    with torch.inference_mode():
        for inputs, ours, theirs in ((parts, lean.decoder, stock.decoder), (videos, lean.encoder, stock.encoder)):
            mine = other = None
            for part in inputs:
                made, mine = ours(part, conv_cache=mine)
                expected, other = theirs(part, conv_cache=other)
                assert torch.allclose(made, expected, atol=2e-5)


def test_convolutions_in_another_order_make_the_same() -> None:
    """What the row NDHWC of the benchmark measures."""
    torch.manual_seed(0)
    lean = slimmed(AutoencoderKLCogVideoX(**TINY.vae).eval())
    video, latents = torch.randn(1, 3, 9, 16, 24), torch.randn(1, 16, 3, 4, 6)
    with torch.inference_mode():
        before = lean.encoder(video)[0], lean.decoder(latents)[0]
        torch.nn.utils.convert_conv3d_weight_memory_format(lean, torch.channels_last_3d)
        after = lean.encoder(video)[0], lean.decoder(latents)[0]
    assert lean.decoder.conv_in.conv.weight.is_contiguous(memory_format=torch.channels_last_3d)
    for one, other in zip(before, after, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_tiles_are_encoded_one_after_the_other_and_meet(
    both_vaes: tuple[AutoencoderKLCogVideoX, AutoencoderKLCogVideoX],
) -> None:
    lean = both_vaes[1]
    torch.manual_seed(3)
    smooth = torch.nn.functional.interpolate(torch.randn(1, 3, 6, 4, 6), size=(FRAMES, 192, 320), mode="trilinear")
    asked = []

    def video() -> Iterator[torch.Tensor]:
        asked.append(1)
        return (smooth[:, :, part.start : part.stop] for part in encoder_parts(FRAMES))

    with torch.inference_mode():
        whole = encode(lean, video, (192, 320))
        assert len(asked) == 1
        tiled = encode(lean, video, (192, 320), tile=16)
    assert len(asked) == 1 + 2 * 4, "once for each tile, over all its time"
    assert tiled.shape == whole.shape
    # random weights make much of where a norm's frame ends
    assert (tiled - whole).abs().mean() < 0.5 * whole.std()


def test_decoding_in_bfloat16_shows_bands_that_float32_does_not(
    both_vaes: tuple[AutoencoderKLCogVideoX, AutoencoderKLCogVideoX],
) -> None:
    """A ramp: bfloat16 has 128 values between 0.5 and 1, so that neighbours are alike and then jump."""
    lean = both_vaes[1]
    ramp = torch.linspace(-1, 1, 64).expand(1, 16, 1, 8, 64)
    with torch.inference_mode():
        exact = next(decode(lean, ramp))
        lean.decoder.bfloat16()
        try:
            rough = next(decode(lean, ramp)).float()
        finally:
            lean.decoder.float()
    rows = [frames[0, :, 0, 32, 16:-16].numpy() for frames in (exact, rough)]
    alike = [float((np.diff(row, axis=-1) == 0).mean()) for row in rows]
    assert alike[0] < 0.01
    assert alike[1] > 0.05
    assert LOW.tile == TILED.tile
