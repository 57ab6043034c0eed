"""Long shots in pieces: where they lie, how they fade into each other, and that a farm makes of them what one does."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from void_server import engines, pipeline
from void_server.api.errors import SettingError
from void_server.api.shot import Settings, Shot
from void_server.api.version import PLATE, VersionFolder
from void_server.cli.declared import settings_of
from void_server.engines.void import pieces, synthesis
from void_server.engines.void.between import between
from void_server.engines.void.frames import Made
from void_server.engines.void.sampling import Sampler
from void_server.engines.void.settings import VoidSettings
from void_server.engines.void.synthesis import Piece
from void_server.farm.fields import Fields
from void_server.farm.plan import plan
from void_server.farm.schedulers.base import Submission
from void_server.farm.schedulers.openjd import OpenJobDescription
from void_server.farm.site import Site
from void_server.farm.tasks.run import run_tasks, state
from void_server.imaging import exr, sequence
from void_server.sample import write_sample

pytestmark = pytest.mark.slow

FRAMES = range(1001, 1101)
TINY = {"engine": "void", "steps": 1, "working_height": 64, "reasoner": "none", "device": "cpu", "grain": False}


@pytest.fixture(scope="module")
def long_shot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("long")
    write_sample(folder, "walkby", (96, 54), FRAMES)
    return folder


@pytest.fixture(autouse=True)
def with_weights(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOID_WEIGHTS", str(weights))


def shot_of(folder: Path, **settings: Any) -> Shot:
    return Shot(str(folder / "plate"), str(folder / "roto"), settings=settings_of({**TINY, **settings}))


@given(st.integers(1, 5000), st.integers(85, 600))
def test_pieces_cover_the_shot_and_share_what_they_should(count: int, most: int) -> None:
    made = pieces.cut(count, most)
    assert (made[0].start, made[-1].stop) == (0, count)
    assert max(map(len, made)) <= max(most, pieces.SHARED)
    assert all(piece.start % pieces.STRIDE == 0 for piece in made)
    for one, other in itertools.pairwise(made):
        assert one.stop - other.start == pieces.SHARED
    # no frame belongs to three, and none is much shorter than the others
    assert all(later.start >= one.stop for one, later in zip(made, made[2:], strict=False))
    assert max(map(len, made)) - min(map(len, made)) <= 2 * pieces.STRIDE


def test_a_short_shot_is_one_piece_and_tiny_pieces_are_refused() -> None:
    assert pieces.cut(85, 85) == (range(85),)
    assert pieces.cut(9999, 0) == (range(9999),)
    with pytest.raises(ValueError, match="hardly longer than the 16 frames they share"):
        pieces.cut(100, 40)
    with pytest.raises(SettingError, match="piece_length is 40; give 85 frames or more"):
        VoidSettings(piece_length=40)


def test_shared_frames_fade_from_one_piece_to_the_next() -> None:
    made = pieces.cut(160, 90)

    def read(number: int, index: int) -> np.ndarray:
        # each piece says its own number, and where in the shot it thinks it is
        return np.array([float(number), made[number].start + index], np.float32)

    shown = np.stack([pieces.faded(made, index, read) for index in range(160)])
    assert np.allclose(shown[:, 1], np.arange(160))
    numbers = shown[:, 0]
    steps = np.diff(numbers)
    assert (steps >= 0).all()
    assert steps.max() == pytest.approx(1 / (pieces.SHARED + 1))
    assert (numbers[0], numbers[-1]) == (0, len(made) - 1)


def test_a_farm_makes_of_pieces_what_one_machine_makes(
    long_shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = plan(shot_of(long_shot), Fields(frames_per_task=50, frames_per_piece=85)).begin(tmp_path / "farm")
    stages = [("check", 1), ("check_gpu", 1), ("quadmask", 1), ("remove", 2), ("finish", 2), ("report", 1)]
    assert [(stage.name, stage.tasks) for stage in job.stages] == stages
    begun: list[torch.Tensor] = []
    real = Sampler.run

    def noted(self: Sampler, model: Any, noise: torch.Tensor, *rest: Any) -> torch.Tensor:
        begun.append(noise)
        return real(self, model, noise, *rest)

    monkeypatch.setattr(Sampler, "run", noted)
    read: list[str] = []
    real_text = synthesis.embed
    monkeypatch.setattr(synthesis, "embed", lambda *rest: read.append(stage) or real_text(*rest))
    # the later piece first, as it may happen, and once more
    for stage, tasks in (("quadmask", [0]), ("remove", [1, 0, 1])):
        for task in tasks:
            run_tasks(job, stage, (task,), str, lambda _: None)
    assert state(job)["remove"] == (2, 2)
    assert read == ["quadmask"], "no task that samples loads the text encoder"
    # a blade without torch and weights does the rest
    bare = "import sys; sys.modules['torch'] = None; from void_server.cli import main; main()"
    variables = {name: value for name, value in os.environ.items() if name != "VOID_WEIGHTS"}
    for stage, task in (("finish", 1), ("finish", 0), ("report", 0)):
        words = ["farm", "run", "--job", str(job.file), "--stage", stage, "--task", str(task)]
        done = subprocess.run([sys.executable, "-c", bare, *words], env=variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    made_with = json.loads((job.folder / "job.json").read_text())["engine"]
    assert set(made_with) == {"device", "void_pass1.safetensors"}
    second, first = begun
    start = pieces.cut(len(FRAMES), 85)[1].start // pieces.STRIDE
    shared = pieces.SHARED // pieces.STRIDE
    assert torch.equal(first[:, start : start + shared], second[:, :shared]), "shared frames begin with the same noise"
    assert not torch.equal(first[:, :shared], second[:, :shared])
    whole = tmp_path / "whole"
    whole.mkdir()
    pipeline.run("0123456789ab", shot_of(long_shot, piece_length=85), whole, lambda _: None)
    for frame in FRAMES:
        one, other = (exr.read_rgb(VersionFolder(folder).plate(frame)) for folder in (job.folder, whole))
        assert np.array_equal(one, other)


def test_a_piece_is_mirrored_at_its_own_ends() -> None:
    made = synthesis.Piece(range(36, 100), (16, 16))
    assert made.order[:64] == list(range(36, 100))
    assert made.order[64] == 98
    assert len(made.order) == 85
    assert made.latents == (22, 2, 2)


def test_what_is_published_is_never_cut(long_shot: Path, tmp_path: Path) -> None:
    job = plan(shot_of(long_shot, published_sampling=True), Fields(frames_per_piece=85)).begin(tmp_path / "farm")
    assert job.stage("remove").tasks == 1
    with pytest.raises(SettingError, match="does not work in pieces"):
        pipeline.inspect(shot_of(long_shot, published_sampling=True, piece_length=85))
    whole = shot_of(long_shot)
    cleanplate = replace(whole, settings=Settings(reasoner="none"))
    for asked, server in ((whole, "tcp://gpu01:5690"), (cleanplate, "")):
        job = plan(asked, Fields(frames_per_piece=85), server)
        assert "piece_length" not in job.shot.settings.engine_settings, "nothing is gained there by a seam"
    never = plan(shot_of(long_shot), Fields(frames_per_piece=0)).begin(tmp_path / "farm")
    assert never.stage("remove").tasks == 1


def test_a_session_loads_the_model_once_for_all_pieces(long_shot: Path, tmp_path: Path) -> None:
    """OpenJD's own command line runs the whole job; both pieces are done by the process that stays."""
    client = shutil.which("openjd", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if not client:
        pytest.skip("openjd-cli is not installed: its sessions were NOT tested")
    command = (sys.executable, "-c", "from void_server.cli import main; main()")
    job = plan(shot_of(long_shot), Fields(frames_per_task=100, frames_per_piece=85, gpus=1)).begin(tmp_path / "farm")
    submission = Submission()
    OpenJobDescription().submit(job, Site(command=command), "group", submission, dry_run=False)
    (words,) = submission.commands
    assert "passes validation" in subprocess.check_output([client, "check", words[2]], text=True)
    done = subprocess.run([client, *words[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert (job.folder / "job.json").is_file()
    # at its end the session tells what its process did
    assert re.findall(r"(remove \d done), [\d.]+ s", done.stdout) == ["remove 0 done", "remove 1 done"]


@pytest.mark.parametrize(
    ("count", "step", "expected"),
    [(5, 1, [0, 1, 2, 3, 4]), (7, 3, [0, 3, 6]), (8, 3, [0, 3, 6, 7]), (1, 4, [0]), (2, 8, [0, 1])],
)
def test_the_model_makes_every_nth_frame_and_both_ends(count: int, step: int, expected: list[int]) -> None:
    assert pieces.made(range(count), step) == expected


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ("1001-1004", [(0, 4)]),
        ("1001-1010,1020-1030", [(0, 10), (10, 21)]),
        # every second frame of a shot is a shot at half the rate, with a gap or without
        ("1001-1031x2", [(0, 16)]),
        ("1001-1009x2,1101-1105x2", [(0, 5), (5, 8)]),
        ("7", [(0, 1)]),
        ("1,8", [(0, 2)]),
        ("1,2,9,20,21", [(0, 2), (2, 3), (3, 5)]),
        # a last frame that lies nearer changes nothing of the others, nor does one in the middle
        ("1001-1099x2,1100", [(0, 51)]),
        ("1001-1031x2,1032,1033-1063x2", [(0, 33)]),
        # a shot at half the rate and then whole
        ("1001-1031x2,1032-1062", [(0, 15), (15, 47)]),
        ("1001-1030,1032-1062x2", [(0, 30), (30, 46)]),
    ],
)
def test_frames_beside_a_gap_are_never_one_piece(frames: str, expected: list[tuple[int, int]]) -> None:
    """To the model and to the flow between its frames, 1020 would follow 1010 within a 24th of a second."""
    numbers = sequence.parse_frames(frames)
    indices, made = pieces.planned(numbers, 1, 0)
    assert indices == list(range(len(numbers)))
    assert [(piece.start, piece.stop) for piece in made] == expected
    # with a frame step and in pieces too, each run is as it would be alone
    indices, made = pieces.planned([*range(1, 201), *range(301, 501)], 2, 85)
    alone, pieces_alone = pieces.planned(range(1, 201), 2, 85)
    assert indices == [*alone, *(200 + index for index in alone)]
    count = len(alone)
    assert made == (*pieces_alone, *(range(count + one.start, count + one.stop) for one in pieces_alone))


@pytest.mark.parametrize(
    ("frames", "expected"),
    [("1001-1003", ""), ("1001-1010,1020-1030", ""), ("1001-1010,1020,1030-1033,1041-1060", "1020,1030-1033")],
)
def test_short_runs_between_gaps_are_known(frames: str, expected: str) -> None:
    assert sequence.format_frames(pieces.between_gaps(sequence.parse_frames(frames))) == expected


def test_a_shot_with_a_gap_is_made_run_by_run_on_one_machine_and_on_a_farm(
    long_shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = shot_of(long_shot)
    gap = replace(base, frames="1003-1005,1020-1023")
    seen: list[list[int]] = []
    real = Piece.order.func
    order = cached_property(lambda piece: seen.append(list(piece.frames)) or real(piece))
    order.__set_name__(Piece, "order")
    monkeypatch.setattr(Piece, "order", order)
    (tmp_path / "v001").mkdir()
    pipeline.inspect(gap)
    warnings = pipeline.run("0123456789ab", gap, tmp_path / "v001", lambda _: None)
    assert any(text.startswith("The frames 1003-1005,1020-1023 lie between gaps") for text in warnings)
    assert seen == [[0, 1, 2], [3, 4, 5, 6]]
    assert len(list((tmp_path / "v001" / "plate").glob("*.exr"))) == 7
    stages = {stage.name: stage for stage in plan(gap, Fields()).stages}
    assert stages[pipeline.Part.REMOVE.value].tasks == 2


def test_a_farm_and_one_machine_sample_with_dpm_to_the_same_bits(long_shot: Path, tmp_path: Path) -> None:
    """Its steps have noise; the later piece comes first on the farm."""
    one = replace(shot_of(long_shot, solver="dpm", steps=3), frames="1003-1004,1020-1021")
    job = plan(one, Fields()).begin(tmp_path / "farm")
    for stage, tasks in (("quadmask", [0]), ("remove", [1, 0]), ("finish", range(job.stage("finish").tasks))):
        for task in tasks:
            run_tasks(job, stage, (task,), str, lambda _: None)
    whole = tmp_path / "whole"
    whole.mkdir()
    pipeline.run("0123456789ab", one, whole, lambda _: None)
    for frame in (1003, 1004, 1020, 1021):
        made, other = (exr.read_rgb(VersionFolder(folder).plate(frame)) for folder in (job.folder, whole))
        assert np.array_equal(made, other)


def test_a_piece_in_which_nothing_changes_is_not_sampled(
    long_shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And all other frames are as they are with it."""
    shutil.copytree(long_shot, tmp_path / "shot")
    for frame in range(1020, 1023):
        exr.write(tmp_path / "shot" / "roto" / f"roto.{frame}.exr", np.zeros((54, 96, 1), np.float16), ("A",))
    one = replace(shot_of(tmp_path / "shot"), frames="1003-1004,1020-1022,1040-1041")
    sampled: list[int] = []
    real = Sampler.run
    monkeypatch.setattr(Sampler, "run", lambda self, *rest: sampled.append(self.first) or real(self, *rest))
    folders = tmp_path / "v001", tmp_path / "v002"
    for folder in folders:
        folder.mkdir()
        pipeline.run("0123456789ab", one, folder, lambda _: None)
        monkeypatch.setattr(Made, "missing", property(lambda made: [n for n in range(3) if not made._done(n).exists()]))
    assert sampled == [0, 1, 0, 0, 1], "first without the second piece, then with it"
    for frame in (1003, 1004, 1020, 1021, 1022, 1040, 1041):
        skipped, whole = (exr.read_rgb(VersionFolder(folder).plate(frame)) for folder in folders)
        assert np.array_equal(skipped, whole)


def test_what_a_frame_between_is_made_of_is_sampled_too() -> None:
    indices = pieces.made(range(20), 3)
    assert indices == [0, 3, 6, 9, 12, 15, 18, 19]
    found = {index: [*pieces.sources(index, indices)] for index in (0, 1, 9, 16, 18, 19)}
    assert found == {0: [0], 1: [0, 1], 9: [3], 16: [5, 6], 18: [6], 19: [7]}


def test_a_frame_between_shows_things_where_they_are_by_then() -> None:
    ground = cv2.GaussianBlur(np.random.default_rng(0).random((96, 160, 3), np.float32), (0, 0), 1.5)

    def frame(at: float) -> np.ndarray:
        """A soft ball on its way over the ground."""
        y, x = np.indices((96, 160))
        ball = 1 / (1 + np.exp(np.hypot(x - at, y - 48) - 14))[..., None]
        return (ball * (0.9, 0.2, 0.1) + (1 - ball) * 0.4 * ground).astype(np.float32)

    first, last = frame(60), frame(72)
    for share in (0.25, 0.5, 0.75):
        true, made = frame(60 + 12 * share), between(first, last, share)
        mixed = (1 - share) * first + share * last
        error, of_mixing = (float(np.square(image - true).mean()) for image in (made, mixed))
        assert error < of_mixing / 4
    assert np.abs(between(first, first, 0.5) - first).max() < 1e-3


def test_the_frames_between_are_made_from_their_neighbours(
    long_shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, ...]] = []
    real_run, real_between, asked = Sampler.run, pieces.between, list[float]()

    def noted(self: Sampler, model: Any, noise: torch.Tensor, *rest: Any) -> torch.Tensor:
        seen.append(tuple(noise.shape))
        return real_run(self, model, noise, *rest)

    monkeypatch.setattr(Sampler, "run", noted)
    monkeypatch.setattr(pieces, "between", lambda *one: asked.append(one[2]) or real_between(*one))
    shot = shot_of(long_shot, frame_step=2)
    in_pieces = shot_of(long_shot, frame_step=2, piece_length=85).settings
    assert [engines.find("void").pieces(in_pieces, range(count)) for count in (160, 200)] == [1, 2]
    pipeline.run("0123456789ab", shot, tmp_path, lambda _: None)
    # 51 of 100 frames, mirrored to 85
    assert [shape[1] for shape in seen] == [22]
    assert set(asked) == {0.5}
    assert len(asked) == len(FRAMES) // 2 - 1
    assert not VersionFolder(tmp_path).missing(FRAMES, PLATE)
