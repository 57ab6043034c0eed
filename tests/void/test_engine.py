"""The engine in the pipeline: a job from files to files, on tiny weights."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from void_server import pipeline
from void_server.api.confinement import confined
from void_server.api.errors import JobCancelled, JobFailed, SequenceError, SettingError
from void_server.api.job import Progress
from void_server.api.shot import Shot
from void_server.api.version import PLATE, VersionFolder
from void_server.cli.declared import settings_of
from void_server.engines.void import detail, fit, float8, synthesis
from void_server.engines.void.inputs import Inputs, small_codes
from void_server.engines.void.sampling import Sampler
from void_server.engines.void.weights import Weights
from void_server.imaging import exr
from void_server.imaging.colour import Curve
from void_server.imaging.exr import FloatImage
from void_server.imaging.sequence import parse_frames
from void_server.imaging.window import Window
from void_server.quadmask import classes
from void_server.sample import write_sample

pytestmark = pytest.mark.slow

TINY = {"engine": "void", "steps": 2, "working_height": 64, "reasoner": "none", "device": "cpu"}


@pytest.fixture(autouse=True)
def with_weights(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOID_WEIGHTS", str(weights))


def shot_of(folder: Path, **settings: Any) -> Shot:
    return Shot(str(folder / "plate"), str(folder / "roto"), settings=settings_of({**TINY, **settings}))


class Steps(list[int]):
    """The passes of the steps that were sampled; the job is stopped in step number ``last[1]`` of pass ``last[0]``."""

    last: tuple[int, int] | None = None


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    sampled, real = Steps(), Sampler.forward

    def counted(self: Sampler, *rest: Any) -> torch.Tensor:
        sampled.append(self.number)
        if sampled.last == (self.number, sampled.count(self.number)):
            raise JobCancelled("stop")
        return real(self, *rest)

    monkeypatch.setattr(Sampler, "forward", counted)
    return sampled


def run(shot: Shot, out: Path, report: Callable[[Progress], None] = lambda _: None) -> tuple[VersionFolder, Any]:
    out.mkdir(exist_ok=True)
    pipeline.inspect(shot)
    warnings = pipeline.run("0123456789ab", shot, out, report)
    return VersionFolder(out), warnings


def pictures(results: VersionFolder, frames: range) -> np.ndarray:
    return np.stack([exr.read_rgb(results.plate(frame)) for frame in frames])


def test_a_job_from_files_to_files(shot: Path, tmp_path: Path) -> None:
    results, _ = run(shot_of(shot), tmp_path / "v001")
    for frame in range(1001, 1013):
        new, plate = exr.read_rgb(results.plate(frame)), exr.read_rgb(shot / "plate" / f"plate.{frame}.exr")
        window = exr.windows(results.mattes(frame))[0]
        blend = exr.read_channels(results.mattes(frame), ("void_blend.A",), window)[..., 0]
        assert np.array_equal(new[blend == 0], plate[blend == 0])
        assert not np.array_equal(new[blend == 1], plate[blend == 1])
    manifest = json.loads((results.folder / "job.json").read_text())
    assert set(manifest["engine"]) == {"device", "void_pass1.safetensors"}
    assert manifest["engine"]["device"] == "cpu, float32, exact"
    assert manifest["device"]["plate"] == "cpu, float32, exact"
    assert not results.intermediate.exists()


def test_the_same_seed_gives_the_same_frames(shot: Path, tmp_path: Path) -> None:
    first, _ = run(shot_of(shot, grain=False), tmp_path / "v001")
    again, _ = run(shot_of(shot, grain=False), tmp_path / "v002")
    other, _ = run(shot_of(shot, grain=False, seed=9), tmp_path / "v003")
    frames = range(1001, 1013)
    assert np.array_equal(pictures(first, frames), pictures(again, frames))
    assert not np.array_equal(pictures(first, frames), pictures(other, frames))


def test_the_second_pass_changes_the_first(shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = []
    real = Sampler.run

    def counted(self: Sampler, *rest: Any) -> torch.Tensor:
        numbers.append((self.number, self.guidance))
        return real(self, *rest)

    monkeypatch.setattr(Sampler, "run", counted)
    results, _ = run(shot_of(shot, second_pass=True), tmp_path / "v001")
    assert numbers == [(1, 1.0), (2, 6.0)]
    manifest = json.loads((results.folder / "job.json").read_text())
    assert set(manifest["engine"]) == {"device", "void_pass1.safetensors", "void_pass2.safetensors"}


def test_a_second_pass_that_was_stopped_goes_on_where_it_was(
    shot: Path, tmp_path: Path, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    real_text = synthesis.embed
    monkeypatch.setattr(synthesis, "embed", lambda *rest: encoded.append(1) or real_text(*rest))
    one = shot_of(shot, second_pass=True, steps=9, grain=False)
    steps.last = 2, 8
    with pytest.raises(JobCancelled):
        run(one, tmp_path / "v001")
    assert steps == [1] * 9 + [2] * 8
    steps.clear()
    steps.last = None
    resumed, _ = run(one, tmp_path / "v001")
    assert steps == [2] * 4, "neither the first pass again, nor the five steps that were kept"
    assert encoded == [1], "the prompt was read once"
    whole, _ = run(one, tmp_path / "v002")
    assert np.array_equal(pictures(resumed, range(1001, 1013)), pictures(whole, range(1001, 1013)))


def test_a_stopped_job_does_not_sample_again(shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    real = Sampler.run
    monkeypatch.setattr(Sampler, "run", lambda self, *rest: runs.append(1) or real(self, *rest))

    def stop(progress: Progress) -> None:
        if progress.frame == 1004 and progress.stage == "Rewriting":
            raise JobCancelled("stop")

    one = shot_of(shot, grain=False)
    with pytest.raises(JobCancelled):
        run(one, tmp_path / "v001", stop)
    resumed, _ = run(one, tmp_path / "v001")
    assert len(runs) == 1
    whole, _ = run(one, tmp_path / "v002")
    assert np.array_equal(pictures(resumed, range(1001, 1013)), pictures(whole, range(1001, 1013)))


def test_a_job_stops_between_steps(shot: Path, tmp_path: Path) -> None:
    shares = []

    def stop(progress: Progress) -> None:
        if progress.stage == "Rewriting":
            shares.append(progress.fraction)
            if len(shares) == 4:
                raise JobCancelled("stop")

    with pytest.raises(JobCancelled):
        run(shot_of(shot, steps=8), tmp_path / "v001", stop)
    assert not list(tmp_path.glob("v001/plate/*.exr"))


def test_out_of_memory_is_a_sentence_and_the_next_job_works(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(Sampler, "forward", full)
        with pytest.raises(JobFailed, match="set memory to tiled"):
            run(shot_of(shot, memory="exact"), tmp_path / "v001")
    run(shot_of(shot, memory="exact"), tmp_path / "v001")


def test_what_is_missing_is_said_at_submission(shot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOID_WEIGHTS", "/nowhere")
    with pytest.raises(SettingError, match="/nowhere"):
        pipeline.inspect(shot_of(shot))
    monkeypatch.delenv("VOID_WEIGHTS")
    with pytest.raises(SettingError, match="set VOID_WEIGHTS"):
        pipeline.inspect(shot_of(shot))


def test_a_prompt_that_is_too_long_is_a_warning(shot: Path, tmp_path: Path) -> None:
    base = shot_of(shot, steps=1)
    long = Shot(base.plate, base.roto, prompt="a lime falls on the table " * 4, settings=base.settings)
    _, warnings = run(long, tmp_path / "v001")
    assert any("is ignored" in warning for warning in warnings)


@pytest.mark.parametrize("count", [1, 4])
def test_very_short_clips(count: int, shot: Path, tmp_path: Path) -> None:
    base = shot_of(shot, steps=1)
    short = Shot(base.plate, base.roto, frames=f"1005-{1004 + count}", settings=base.settings)
    results, _ = run(short, tmp_path / "v001")
    assert len(list((results.folder / "plate").glob("*.exr"))) == count


def _overscan(plate: np.ndarray, roto: np.ndarray, frame: int) -> dict[str, Any]:
    del plate, roto, frame
    return {"display_window": Window(6, 4, 80, 45)}


def _box_inside(plate: np.ndarray, roto: np.ndarray, frame: int) -> dict[str, Any]:
    del plate, roto
    return {"data_window": Window(20 - 3 * (frame % 2), 10, 96, 54), "display_window": Window(0, 0, 190, 100)}


def _wild_values(plate: np.ndarray, roto: np.ndarray, frame: int) -> dict[str, Any]:
    """Beside the object, in it, and far from it."""
    del roto
    plate[18:30, 30:40] = 5000
    plate[20, 44], plate[40:] = -3, -0.5
    plate[2:4, 2:4], plate[24, 36] = np.nan, np.inf if frame % 2 else -np.inf
    return {}


def _rotos_come_and_go(plate: np.ndarray, roto: np.ndarray, frame: int) -> dict[str, Any]:
    del plate
    roto[:] = {1001: roto, 1002: 1, 1003: 0, 1004: roto}[frame]
    return {}


def _anamorphic_and_upright(plate: np.ndarray, roto: np.ndarray, frame: int) -> dict[str, Any]:
    del plate, roto, frame
    return {"pixel_aspect": 2.0}


@pytest.mark.parametrize(
    ("size", "spoil"),
    [
        ((96, 54), _overscan),
        ((96, 54), _box_inside),
        ((96, 54), _wild_values),
        ((97, 53), _rotos_come_and_go),
        ((53, 161), _anamorphic_and_upright),
        ((333, 187), _anamorphic_and_upright),
    ],
)
def test_what_plates_may_be_like(
    tmp_path: Path, size: tuple[int, int], spoil: Callable[[np.ndarray, np.ndarray, int], dict[str, Any]]
) -> None:
    """In a folder whose name has blanks and dots."""
    folder, (width, height) = tmp_path / "a shot. of many", size
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    for frame in range(1001, 1005):
        plate = np.stack([0.1 + 0.3 * x, 0.2 + 0.2 * y, 0.3 - 0.2 * x * y], axis=-1).astype(np.float16)
        roto = np.zeros((height, width, 1), np.float16)
        roto[height // 3 : height // 2, width // 3 : width // 2] = 1
        header = spoil(plate, roto, frame)
        exr.write(folder / "plate" / f"plate.{frame}.exr", plate, exr.RGB, **header)
        exr.write(folder / "roto" / f"roto.{frame}.exr", roto, ("A",), **header)
    results, _ = run(shot_of(folder, steps=1), tmp_path / "v001")
    for frame in range(1001, 1005):
        before, after = folder / "plate" / f"plate.{frame}.exr", results.plate(frame)
        assert exr.windows(after) == exr.windows(before)
        assert exr.pixel_aspect(after) == exr.pixel_aspect(before)
        plate, new = exr.read_rgb(before), exr.read_rgb(after)
        blend = exr.read_channels(results.mattes(frame), ("void_blend.A",), exr.windows(after)[0])[..., 0]
        assert np.array_equal(new[blend == 0], plate[blend == 0], equal_nan=True)
        assert np.isfinite(new[blend > 0]).all()
        removed = exr.read_channels(folder / "roto" / f"roto.{frame}.exr", ("A",), exr.windows(after)[0])[..., 0] == 1
        assert (blend[removed] == 1).all()


def test_a_quadmask_that_keeps_nothing_is_refused_and_one_that_is_empty_for_a_while_is_not(
    shot: Path, tmp_path: Path
) -> None:
    window = exr.windows(shot / "plate" / "plate.1001.exr")[0]
    for name in ("nothing", "a while"):
        for frame in range(1001, 1007):
            roto = exr.read_matte(shot / "roto" / f"roto.{frame}.exr", window)
            kept = np.zeros_like(roto) if name == "nothing" else 1 - (roto > 0) * float(frame not in (1003, 1004))
            exr.write(tmp_path / name / f"quadmask.{frame}.exr", kept[..., None].astype(np.float16), ("Y",))
    one = replace(shot_of(shot, steps=1), frames="1001-1006")
    with pytest.raises(
        SequenceError, match="removes the whole picture in all frames, which leaves nothing to tell the"
    ):
        pipeline.inspect(replace(one, quadmask=str(tmp_path / "nothing")))
    results, _ = run(replace(one, quadmask=str(tmp_path / "a while")), tmp_path / "v001")
    assert not results.missing(range(1001, 1007), PLATE)


#: What the light's change below has in place of the object.
BACKGROUND = 0.3


def in_place_of_model(
    shown: Callable[[Inputs, int], FloatImage],
) -> Callable[[synthesis.Synthesis, list[int], Callable[[float], None]], None]:
    """A `Synthesis.make` with what is ``shown`` of the inputs, by frame index, in place of the model's frames."""

    def make(made_by: synthesis.Synthesis, numbers: list[int], report: Callable[[float], None]) -> None:
        made = made_by._made
        made.inputs.write(report)
        for number in numbers:
            with made.file(number).writing() as append:
                for index in made.pieces[number]:
                    append(shown(made.inputs, index))
            made.note(number, {"device": "none"})

    return make


def half_as_bright(inputs: Inputs, index: int) -> FloatImage:
    """Half the light of what is affected, and one grey for the object."""
    small = inputs.plates[index] / 2
    small[inputs.codes(index, first=False) == 0] = BACKGROUND
    return small


def quadmask_of(
    folder: Path, out: Path, frames: Sequence[int], *, kept: Collection[int] = (), corner: int = 0
) -> dict[int, np.ndarray]:
    """Write a quadmask: all is affected but the object, ``kept`` frames and a ``corner``. Returns the object."""
    window = exr.windows(folder / "plate" / "plate.1001.exr")[0]
    removed = {}
    for frame in frames:
        removed[frame] = exr.read_matte(folder / "roto" / f"roto.{frame}.exr", window) > 0.5
        codes = np.where(removed[frame], 0, 1 if frame in kept else 127 / 255)[..., None].astype(np.float16)
        codes[:corner, :corner] = 1
        exr.write(out / f"quadmask.{frame}.exr", codes, ("Y",))
    return removed


def check_detail(folder: Path, results: VersionFolder, removed: dict[int, np.ndarray], frames: Sequence[int]) -> None:
    """Check that wholly affected frames have the plate's detail in half the light, and nothing of the object's."""
    window = exr.windows(folder / "plate" / "plate.1001.exr")[0]
    curve = Curve(json.loads((results.folder / "job.json").read_text())["colour"]["maximum"])
    for frame in frames:
        plate, new = (
            curve.to_display(exr.read_rgb(path))
            for path in (folder / "plate" / f"plate.{frame}.exr", results.plate(frame))
        )
        assert (exr.read_channels(results.mattes(frame), ("void_blend.A",), window)[8:] == 1).all()
        height, width = plate.shape[:2]
        small = cv2.resize(plate / 2, (width // 3, height // 3), interpolation=cv2.INTER_AREA)
        far = cv2.dilate(removed[frame].astype(np.uint8), np.ones((41, 41), np.uint8)) == 0
        far[:8] = False
        rough, detailed = (
            np.square(made - plate / 2)[far].mean() for made in (detail.enlarged(small, width, height), new)
        )
        inside = cv2.erode(removed[frame].astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        assert detailed < rough / 10, "10 dB better than enlarged"
        assert np.abs(new[inside] - BACKGROUND).mean() < 0.02, "nothing of the object's own detail"


def test_a_shot_of_which_all_is_affected_takes_its_detail_from_the_plate(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The light of the whole picture changes."""
    frames = range(1001, 1006)
    # too little to tell anything by
    removed = quadmask_of(shot, tmp_path / "all", frames, corner=3)
    one = replace(shot_of(shot, steps=1, grain=False), frames="1001-1005", quadmask=str(tmp_path / "all"))
    with_model, _ = run(one, tmp_path / "v001")
    assert not with_model.missing(frames, PLATE)
    monkeypatch.setattr(synthesis.Synthesis, "make", in_place_of_model(half_as_bright))
    results, _ = run(one, tmp_path / "v002")
    check_detail(shot, results, removed, frames)


@pytest.mark.parametrize(
    ("scene", "frames", "kept"),
    [
        pytest.param("water", "1001-1004", {1001}, id="first frame kept"),
        pytest.param("pan", "1001-1004", {1001}, id="first frame kept under a moving camera"),
        pytest.param("pan", "1001-1002,1009-1010", {1001, 1002}, id="all affected beyond a gap"),
    ],
)
def test_frames_all_of_which_is_affected_take_their_detail_from_the_plate_beside_others_that_are_kept(
    scene: str, frames: str, kept: set[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers, folder = parse_frames(frames), tmp_path / "s"
    write_sample(folder, scene, (240, 136), range(1001, 1011))
    removed = quadmask_of(folder, tmp_path / "most", numbers, kept=kept)
    monkeypatch.setattr(synthesis.Synthesis, "make", in_place_of_model(half_as_bright))
    one = replace(shot_of(folder, steps=1, grain=False), frames=frames, quadmask=str(tmp_path / "most"))
    results, _ = run(one, tmp_path / "v001")
    check_detail(folder, results, removed, sorted(set(numbers) - kept))


def test_a_frame_that_the_object_covers_takes_its_detail_from_the_clean_plate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The object's own detail must not come back. In place of the model, what shows the first frame all the time."""
    folder, covered = tmp_path / "s", 1003
    write_sample(folder, "walkby", (240, 136), range(1001, 1006))
    noise = np.random.default_rng(1).random((136, 240, 3), np.float32).astype(np.float16)
    exr.write(folder / "plate" / f"plate.{covered}.exr", noise, exr.RGB)
    exr.write(folder / "roto" / f"roto.{covered}.exr", np.ones((136, 240, 1), np.float16), ("A",))

    as_first = in_place_of_model(lambda inputs, _: inputs.plates[0])
    monkeypatch.setattr(synthesis.Synthesis, "make", as_first)
    results, _ = run(shot_of(folder, steps=1, grain=False), tmp_path / "v001")
    curve = Curve(json.loads((results.folder / "job.json").read_text())["colour"]["maximum"])
    first, new = (
        curve.to_display(exr.read_rgb(path)) for path in (folder / "plate" / "plate.1001.exr", results.plate(covered))
    )
    window = exr.windows(folder / "plate" / "plate.1001.exr")[0]
    roto = exr.read_matte(folder / "roto" / "roto.1001.exr", window)
    far = cv2.dilate((roto > 0).astype(np.uint8), np.ones((41, 41), np.uint8)) == 0
    small = cv2.resize(first, (240 * 64 // 136, 64), interpolation=cv2.INTER_AREA)
    rough, detailed = (np.square(made - first)[far].mean() for made in (detail.enlarged(small, 240, 136), new))
    assert detailed < rough / 10


def test_a_roto_of_one_pixel_and_a_plate_smaller_than_the_model(tmp_path: Path) -> None:
    write_sample(tmp_path / "s", "walkby", (96, 54), range(1001, 1005))
    for file in (tmp_path / "s" / "roto").glob("*.exr"):
        alpha = np.zeros((54, 96, 1), np.float16)
        alpha[20, 30] = 1
        file.unlink()
        exr.write(file, alpha, ("A",))
    results, _ = run(shot_of(tmp_path / "s", steps=1), tmp_path / "v001")
    window = exr.windows(results.mattes(1002))[0]
    blend = exr.read_channels(results.mattes(1002), ("void_blend.A",), window)[..., 0]
    assert blend[20, 30] == 1
    assert (blend > 0).sum() < 600


def test_weights_replaced_while_a_job_runs_are_told_and_never_named_for_what_others_made(
    shot: Path, own_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by the manifest, nor by a worker that has the old ones loaded."""
    one = replace(shot_of(shot, steps=1), frames="1001-1002")
    first, _ = run(one, tmp_path / "v001")
    checkpoint = own_weights / "void_pass1.safetensors"
    shutil.copy(own_weights / "void_pass2.safetensors", tmp_path / "new")
    new = hashlib.sha256((tmp_path / "new").read_bytes()).hexdigest()
    real = Sampler.run

    def replacing(*rest: Any) -> torch.Tensor:
        found = real(*rest)
        if (tmp_path / "new").exists():
            (tmp_path / "new").replace(checkpoint)
        return found

    monkeypatch.setattr(Sampler, "run", replacing)
    with pytest.raises(JobFailed, match="were replaced while the job ran; resume it"):
        run(one, tmp_path / "v002")
    resumed, _ = run(one, tmp_path / "v002")
    manifest = json.loads((resumed.folder / "job.json").read_text())
    assert manifest["engine"]["void_pass1.safetensors"] == new
    assert not np.array_equal(pictures(first, range(1001, 1003)), pictures(resumed, range(1001, 1003)))


def _linked(file: Path) -> None:
    os.link(file, file.with_suffix(".backup"))


def _copied(file: Path) -> None:
    shutil.copy2(file, file.with_suffix(".copy"))
    file.with_suffix(".copy").replace(file)


@pytest.mark.parametrize("change", [_linked, _copied, lambda file: file.chmod(0o640)], ids=["link", "copy", "chmod"])
def test_weights_that_hold_the_same_were_not_replaced(
    shot: Path, own_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    """A backup of hard links, or a network disk without lasting numbers of files, changes their stamps alone."""
    found = Weights(own_weights)
    before, real = found.state(), Sampler.run

    def changing(*rest: Any) -> torch.Tensor:
        for file in (found.checkpoint(1), found.vae, *found.base.glob("text_encoder/*.safetensors")):
            change(file)
        return real(*rest)

    monkeypatch.setattr(Sampler, "run", changing)
    results, _ = run(replace(shot_of(shot, steps=1), frames="1001-1002"), tmp_path / "v001")
    assert found.state() != before
    assert not results.missing(range(1001, 1003), PLATE)


def test_what_another_text_encoder_read_is_read_and_made_again(
    shot: Path, own_weights: Path, tmp_path: Path, steps: Steps
) -> None:
    one = replace(shot_of(shot, steps=6, grain=False), frames="1001-1002")
    steps.last = 1, 6
    with pytest.raises(JobCancelled):
        run(one, tmp_path / "v001")
    (encoder,) = Weights(own_weights).base.glob("text_encoder/*.safetensors")
    tensors = {name: -tensor for name, tensor in load_file(encoder).items()}
    save_file(tensors, encoder, metadata={"format": "pt"})
    steps.clear()
    steps.last = None
    resumed, _ = run(one, tmp_path / "v001")
    assert steps == [1] * 6
    whole, _ = run(one, tmp_path / "v002")
    assert np.array_equal(pictures(resumed, range(1001, 1003)), pictures(whole, range(1001, 1003)))


@pytest.mark.parametrize("kept_steps", [2, 6], ids=["before any latents were kept", "with latents of the second pass"])
def test_a_first_pass_of_weights_that_were_replaced_is_made_again(
    shot: Path, own_weights: Path, tmp_path: Path, steps: Steps, kept_steps: int
) -> None:
    """And what the second pass had made of it: the manifest names the new ones for all."""
    one = replace(shot_of(shot, second_pass=True, steps=6, grain=False), frames="1001-1002")
    steps.last = 2, kept_steps
    with pytest.raises(JobCancelled):
        run(one, tmp_path / "v001")
    shutil.copy(own_weights / "void_pass2.safetensors", tmp_path / "new")
    (tmp_path / "new").replace(own_weights / "void_pass1.safetensors")
    steps.clear()
    steps.last = None
    resumed, _ = run(one, tmp_path / "v001")
    assert steps == [1] * 6 + [2] * 6
    whole, _ = run(one, tmp_path / "v002")
    assert np.array_equal(pictures(resumed, range(1001, 1003)), pictures(whole, range(1001, 1003)))


def test_weights_of_the_same_size_and_time_are_other_weights(own_weights: Path, tmp_path: Path) -> None:
    """Copying with times, as rsync does, leaves both as they were."""
    found = Weights(own_weights)
    before, file = found.state(), found.checkpoint(1)
    assert found.state() == before
    times = file.stat()
    shutil.copy(found.checkpoint(2), tmp_path / "new")
    os.utime(tmp_path / "new", ns=(times.st_atime_ns, times.st_mtime_ns))
    (tmp_path / "new").replace(file)
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (times.st_size, times.st_mtime_ns)
    assert found.state() != before


def test_a_worker_that_may_read_no_more_than_the_shot_has_the_weights(
    shot: Path, own_weights: Path, tmp_path: Path
) -> None:
    """Also to hash them, the first time; as workers of a server do, and of `void remove`."""
    one, out = replace(shot_of(shot, steps=1, second_pass=True), frames="1001-1002"), tmp_path / "v001"
    out.mkdir()
    with confined([shot, out]):
        results, _ = run(one, out)
    found = json.loads((results.folder / "job.json").read_text())["engine"]
    for name in ("void_pass1.safetensors", "void_pass2.safetensors"):
        assert found[name] == hashlib.sha256((own_weights / name).read_bytes()).hexdigest()


def test_fast_multiplies_in_float8_where_all_cards_do_and_the_manifest_says_so(
    shot: Path, tmp_path: Path, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was kept of a sampling in one precision is not continued in another."""
    one = replace(shot_of(shot, quality="fast", steps=7), frames="1001-1002")
    monkeypatch.setattr(float8, "possible", lambda _: True)
    steps.last = (1, 7)
    with pytest.raises(JobCancelled):
        run(one, tmp_path / "v001")
    steps.clear()
    results, _ = run(one, tmp_path / "v001")
    assert len(steps) == 2, "the first five were kept"
    assert json.loads((results.folder / "job.json").read_text())["device"]["plate"] == (
        "cpu, float32 with float8 products, exact"
    )
    steps.clear()
    with pytest.raises(JobCancelled):
        run(one, tmp_path / "v002")
    steps.clear()
    steps.last = None
    monkeypatch.setattr(float8, "possible", lambda _: False)
    results, _ = run(one, tmp_path / "v002")
    assert len(steps) == 7
    assert json.loads((results.folder / "job.json").read_text())["device"]["plate"] == "cpu, float32, exact"
    exact = shot_of(shot, steps=1)
    monkeypatch.setattr(float8, "possible", lambda _: True)
    results, _ = run(replace(exact, frames="1001-1002"), tmp_path / "v003")
    assert json.loads((results.folder / "job.json").read_text())["device"]["plate"] == "cpu, float32, exact"


def test_another_solver_is_named_in_the_manifest(shot: Path, tmp_path: Path) -> None:
    results, _ = run(replace(shot_of(shot, solver="dpm", second_pass=True), frames="1001-1002"), tmp_path / "v001")
    assert json.loads((results.folder / "job.json").read_text())["engine"]["solver"] == "dpm"
    with pytest.raises(SettingError, match="samples with DDIM"):
        pipeline.inspect(shot_of(shot, solver="dpm", published_sampling=True))


# -- fitting


@pytest.mark.parametrize(
    ("region", "canvas", "aspect"),
    [
        (Window(100, 100, 40, 60), Window(0, 0, 4096, 2160), 1.0),
        (Window(0, 0, 4096, 2160), Window(0, 0, 4096, 2160), 1.0),
        (Window(4000, 2000, 96, 160), Window(0, 0, 4096, 2160), 1.0),
        (Window(500, 100, 30, 900), Window(0, 0, 1828, 1556), 2.0),
        (Window(10, 10, 5, 5), Window(-50, -20, 300, 200), 1.0),
    ],
)
def test_the_crop_lies_on_the_canvas_and_holds_the_region(region: Window, canvas: Window, aspect: float) -> None:
    found = fit.fit(fit.around(region, canvas, aspect, 384), aspect, 384)
    assert found.crop.intersection(canvas) == found.crop
    assert region.intersection(found.crop) == region
    height, width = found.size
    assert height % 16 == width % 16 == 0
    assert height * width == pytest.approx(384 * 672, rel=0.12)
    assert width / height == pytest.approx(found.crop.width * aspect / found.crop.height, rel=0.06)


def test_a_small_object_gets_the_models_whole_resolution() -> None:
    found = fit.fit(fit.around(Window(2000, 1000, 50, 80), Window(0, 0, 4096, 2160), 1.0, 384), 1.0, 384)
    assert found.size[1] / found.crop.width == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("frames", "length"), [(1, 85), (85, 85), (86, 93), (93, 93), (197, 197), (198, 205)])
def test_clip_lengths(frames: int, length: int) -> None:
    assert fit.clip_length(frames) == length
    assert ((length - 1) // 4 + 1) % 2 == 0
    order = fit.mirrored(frames, length)
    assert order[:frames] == list(range(frames))
    assert len(order) == length
    assert max(order) == frames - 1
    assert all(abs(a - b) <= 1 for a, b in itertools.pairwise(order))


def test_the_first_frame_has_nothing_affected_unless_it_was_given(tmp_path: Path) -> None:
    codes = np.array([[0, 63], [127, 255]], np.uint8).repeat(8, 0).repeat(8, 1)

    class FakeClip:
        quadmask_given = False
        kept = tmp_path

        def codes(self, *_: object) -> np.ndarray:
            return codes

        def plate(self, *_: object) -> np.ndarray:
            return np.zeros((16, 16, 3), np.float32)

        def __len__(self) -> int:
            return 2

    clip: Any = FakeClip()
    made = Inputs(clip, fit.Fit(Window(0, 0, 16, 16), (16, 16)))
    made.write(lambda _: None)
    assert set(np.unique(made.codes(0, first=True))) == {0, 255}
    assert set(np.unique(made.codes(1, first=False))) == {0, 63, 127, 255}
    FakeClip.quadmask_given = True
    assert set(np.unique(made.codes(0, first=True))) == {0, 63, 127, 255}


def test_a_quadmask_shrinks_as_the_published_loader_does_it() -> None:
    codes = np.full((32, 32), classes.KEEP, np.uint8)
    codes[:, :16] = classes.REMOVE
    codes[:, 16:18] = classes.AFFECTED
    codes[:, 20:22] = classes.REMOVE
    # means of 4 x 4: 0, 191 (keep from 191 on), 127.5, 255
    assert small_codes(codes, (8, 8))[0].tolist() == [0, 0, 0, 0, 255, 127, 255, 255]
