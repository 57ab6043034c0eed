"""From points, boxes and masks to rotos: GrabCut, and the stage around segmentation."""

from __future__ import annotations

import json
import platform
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from void_server import pipeline
from void_server.api.errors import SettingError
from void_server.api.shot import Prompt, Settings, Shot
from void_server.api.version import VersionFolder
from void_server.imaging import exr
from void_server.imaging.window import Window
from void_server.pipeline import reason, segment
from void_server.pipeline.inputs import open_source
from void_server.quadmask import segmentation
from void_server.quadmask.segmentation import Hints, checkpoints
from void_server.quadmask.segmentation.grabcut import GrabCut

from .moving_ball import SIZE, Moving, ball_at, box_around, mattes, overlap

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "hint",
    [
        Hints(on=(ball_at(4),)),
        Hints(box=box_around(4)),
        Hints(on=(ball_at(4),), off=((130.0, 20.0),), box=box_around(4)),
        Hints(mask=Moving().truth(4)),
    ],
    ids=["point", "box", "all", "mask"],
)
def test_grabcut_follows_forwards_and_backwards(hint: Hints) -> None:
    frames = Moving()
    found = mattes(GrabCut(), frames, {1: {4: hint}})
    assert sorted(index for _, index in found) == list(range(8))
    for (_, index), matte in found.items():
        assert overlap(matte >= 0.5, frames.truth(index)) > 0.85, index


def test_grabcut_takes_the_points_hull_for_the_object_and_no_more_than_its_surroundings() -> None:
    """A figure of two colours, both of which the background has elsewhere."""
    frame = np.full((*SIZE, 3), 0.4, np.float32)
    frame[20:50, 60:90], frame[50:80, 60:90] = (0.8, 0.1, 0.1), (0.1, 0.1, 0.8)
    frame[:, :20], frame[:, 140:] = (0.8, 0.1, 0.1), (0.1, 0.1, 0.8)
    frame += np.random.default_rng(0).normal(0, 0.02, frame.shape).astype(np.float32)
    truth = np.zeros(SIZE, bool)
    truth[20:80, 60:90] = True
    points = ((65.0, 25.0), (85.0, 25.0), (65.0, 75.0), (85.0, 75.0))
    ((_, _, matte),) = GrabCut().follow([frame], {1: {0: Hints(on=points)}})
    assert overlap(matte >= 0.5, truth) > 0.9


@pytest.mark.parametrize(("share", "odd"), [(0.0001, True), (0.05, False), (0.6, True)])
def test_one_point_that_yields_a_tiny_or_a_giant_roto_is_said(share: float, odd: bool) -> None:
    matte = (np.arange(10_000).reshape(100, 100) < share * 10_000).astype(np.float32)
    warnings = segment._odd(Hints(on=((5.0, 5.0),)), matte, 2, 1004)
    assert bool(warnings) == odd
    assert all("From one point in frame 1004" in text and "object 2" in text for text in warnings)
    assert not segment._odd(Hints(box=(0.0, 0.0, 9.0, 9.0)), matte, 2, 1004)


def test_grabcut_keeps_objects_apart() -> None:
    found = mattes(GrabCut(), Moving(), {1: {0: Hints(box=box_around(0))}, 2: {7: Hints(on=((130.0, 20.0),))}})
    assert len(found) == 16
    for index in range(8):
        assert not ((found[1, index] >= 0.5) & (found[2, index] >= 0.5)).any()
        assert found[2, index][20, 130] == 1


def test_grabcut_takes_each_frame_from_the_nearest_hint() -> None:
    # a second hint that says something else wins around itself
    other = np.zeros(SIZE, bool)
    other[10:31, 120:146] = True
    found = mattes(GrabCut(), Moving(), {1: {0: Hints(box=box_around(0)), 7: Hints(mask=other)}})
    assert found[1, 3][ball_at(3)[1], ball_at(3)[0]] == 1
    assert found[1, 4][20, 130] == 1
    assert found[1, 4][ball_at(4)[1], ball_at(4)[0]] == 0


def test_grabcut_gives_the_same_twice() -> None:
    hints = {1: {2: Hints(on=(ball_at(2),))}}
    one, other = (mattes(GrabCut(), Moving(), hints) for _ in range(2))
    assert all(np.array_equal(one[key], other[key]) for key in one)


def test_an_object_that_leaves_is_gone() -> None:
    class Leaving(Moving):
        def __getitem__(self, index: int) -> np.ndarray:
            return super().__getitem__(index) if index < 4 else self._floor.copy()

    found = mattes(GrabCut(), Leaving(), {1: {0: Hints(box=box_around(0))}})
    assert (found[1, 7] >= 0.5).mean() < 0.03


# -- the stage


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The moving ball as EXR, with overscan of 8 pixels at the left and 4 above."""
    folder = tmp_path_factory.mktemp("plate")
    frames = Moving()
    window = Window(-8, -4, SIZE[1], SIZE[0])
    for index in range(len(frames)):
        pixels = np.clip(frames[index], 0, 1) ** 2.2
        exr.write(
            folder / f"plate.{1001 + index}.exr",
            pixels.astype(np.float16),
            exr.RGB,
            data_window=window,
            display_window=Window(0, 0, SIZE[1] - 8, SIZE[0] - 4),
        )
    return folder


def shot_with(plate: Path, *prompts: Prompt, **settings: Any) -> Shot:
    asked = {"segmenter": "grabcut", "until": "roto", **settings}
    return Shot(str(plate), prompts=prompts, settings=Settings(**asked))


def roto_of(results: VersionFolder, frame: int) -> np.ndarray:
    return exr.read_matte(results.roto(frame), Window(-8, -4, SIZE[1], SIZE[0]))


def run(shot: Shot, folder: Path) -> tuple[VersionFolder, tuple[str, ...]]:
    folder.mkdir(parents=True)
    pipeline.inspect(shot)
    return VersionFolder(folder), pipeline.run("0123456789ab", shot, folder, lambda _: None)


def test_points_count_from_the_format_whatever_the_overscan(plate: Path, tmp_path: Path) -> None:
    x, y = ball_at(3)
    point = Prompt(1004, "point", (x - 8, y - 4))
    results, warnings = run(shot_with(plate, point), tmp_path / "v001")
    for index in range(8):
        assert overlap(roto_of(results, 1001 + index) >= 0.5, Moving().truth(index)) > 0.85
    assert "separated by colour" in warnings[0]
    assert exr.windows(results.roto(1001))[1] == Window(0, 0, SIZE[1] - 8, SIZE[0] - 4)
    assert not (results.folder / "plate").exists()
    assert (results.folder / "report" / "contact_sheet.png").is_file()


@pytest.mark.parametrize("device", ["A Large GPU", ""])
def test_the_manifest_names_what_the_segmenter_ran_on(
    plate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr(GrabCut, "device", device)
    x, y = ball_at(3)
    shot = shot_with(plate, Prompt(1004, "point", (x - 8, y - 4)))
    results, _ = run(shot, tmp_path / "v001")
    cpu = f"{platform.machine()} CPU"
    assert json.loads(results.manifest.read_text())["device"] == {"roto": device or cpu}
    assert f"roto on{device or cpu}" in re.sub("<[^>]*>", "", results.report.read_text())


def test_the_report_of_a_segmentation_speaks_of_a_roto(plate: Path, tmp_path: Path) -> None:
    x, y = ball_at(3)
    results, _ = run(shot_with(plate, Prompt(1004, "point", (x - 8, y - 4))), tmp_path / "v001")
    page = (results.folder / "report" / "report.html").read_text()
    assert "Share of the roto" in page
    assert "quadmask" not in page
    sheet = cv2.imread(str(results.folder / "report" / "contact_sheet.png"))[..., ::-1].astype(int)
    # frame 1001 stands first; its roto is red over the plate, below it, and no cells are drawn
    row = sheet[48 + SIZE[0] + 10 : 48 + 2 * SIZE[0] + 10, 190 : 190 + SIZE[1]]
    red = row[..., 0] - row[..., 1] > 60
    assert overlap(red, roto_of(results, 1001) >= 0.5) > 0.9
    assert sheet.shape[1] == 190 + 6 * (SIZE[1] + 10)


def test_a_point_is_all_that_a_removal_needs(plate: Path, tmp_path: Path) -> None:
    x, y = ball_at(3)
    shot = shot_with(plate, Prompt(1004, "point", (x - 8, y - 4)), until="plate", grain=False)
    results, _ = run(shot, tmp_path / "v001")
    window = Window(-8, -4, SIZE[1], SIZE[0])
    made = exr.read_rgb(results.plate(1004), window)
    assert made[y, x, 0] < 0.4 < exr.read_rgb(plate / "plate.1004.exr", window)[y, x, 0]


def test_a_rough_roto_of_one_frame_becomes_a_whole_one(plate: Path, tmp_path: Path) -> None:
    rough = cv2.dilate(Moving().truth(2).astype(np.uint8), np.ones((3, 3)))
    for index in (1, 2):
        matte = (rough if index == 2 else 0 * rough)[4:, 8:, None]
        exr.write(
            tmp_path / "rough" / f"rough.{1001 + index}.exr",
            matte.astype(np.float16),
            ("A",),
            data_window=Window(0, 0, SIZE[1] - 8, SIZE[0] - 4),
        )
    shot = Shot(
        str(plate), str(tmp_path / "rough"), settings=Settings(segmenter="grabcut", until="roto", reasoner="none")
    )
    results, _ = run(shot, tmp_path / "v001")
    for index in range(8):
        assert overlap(roto_of(results, 1001 + index) >= 0.5, Moving().truth(index)) > 0.85


def test_frames_that_are_there_are_not_made_again(plate: Path, tmp_path: Path) -> None:
    x, y = ball_at(3)
    shot = shot_with(plate, Prompt(1004, "point", (x - 8, y - 4)))
    results, _ = run(shot, tmp_path / "v001")
    before = {frame: results.roto(frame).stat().st_mtime_ns for frame in range(1001, 1009)}
    pipeline.run("0123456789ab", shot, results.folder, lambda _: None)
    assert before == {frame: results.roto(frame).stat().st_mtime_ns for frame in before}


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (Prompt(990, "point", (5, 5)), "The point at 5, 5 in frame 990 is outside the frame range, 1001-1008"),
        (Prompt(1001, "point", (500, 5)), "The point at 500, 5 in frame 1001 is outside the plate, which is 152x92"),
    ],
)
def test_prompts_outside_the_shot_are_refused_at_submission(plate: Path, prompt: Prompt, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        pipeline.inspect(shot_with(plate, prompt))


def test_an_object_of_negative_points_alone_is_refused(plate: Path) -> None:
    shot = shot_with(plate, Prompt(1001, "point", (5, 5)), Prompt(1001, "not", (9, 9), 2))
    with pytest.raises(SettingError, match="In frame 1001 all points are off object 2"):
        segment.hints(shot, open_source(shot))


# -- which segmenter


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SAM2_WEIGHTS", raising=False)
    monkeypatch.delenv("VOID_WEIGHTS", raising=False)


@pytest.mark.usefixtures("no_weights")
def test_without_checkpoints_auto_is_grabcut_and_sam2_says_what_to_do() -> None:
    assert isinstance(segmentation.choose("auto"), GrabCut)
    for name in ("sam2", "sam2.1_hiera_tiny"):
        with pytest.raises(SettingError, match=r"no checkpoint .*\.pt from .* and put it into \$SAM2_WEIGHTS"):
            segmentation.choose(name)
    with pytest.raises(SettingError, match="Unknown segmenter 'scissors'"):
        segmentation.choose("scissors")


def test_the_best_checkpoint_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM2_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(checkpoints.Checkpoint, "runs", True)
    for name in ("sam2_hiera_large", "sam2_hiera_tiny", "sam2.1_hiera_tiny", "sam2.1_hiera_base_plus"):
        (tmp_path / f"{name}.pt").touch()
    assert checkpoints.find(small=True).name == "sam2.1_hiera_tiny"
    assert checkpoints.find().name == "sam2.1_hiera_base_plus"
    assert checkpoints.find("sam2_hiera_large").config == "configs/sam2/sam2_hiera_l.yaml"
    assert checkpoints.find("sam2.1_hiera_tiny").config == "configs/sam2.1/sam2.1_hiera_t.yaml"


def test_a_checkpoint_that_no_package_here_can_run_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAM2_WEIGHTS", str(tmp_path))
    (tmp_path / "sam2.1_hiera_large.pt").touch()
    (tmp_path / "sam2.1-hiera-tiny").mkdir()
    (tmp_path / "sam2.1-hiera-tiny" / "config.json").touch()
    monkeypatch.setattr(checkpoints.Checkpoint, "runs", property(lambda one: not one.config))
    assert checkpoints.find().path == tmp_path / "sam2.1-hiera-tiny"
    assert checkpoints.find().name == "sam2.1_hiera_tiny"
    with pytest.raises(SettingError, match=r"SAM 2 is not installed where the server runs: .*sam2>="):
        segmentation.check("sam2.1_hiera_large")


@pytest.mark.usefixtures("no_weights")
def test_a_segmenter_of_ones_own_is_chosen_by_its_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "studio_segmenters-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: studio-segmenters\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[void_server.segmenters]\nours = studio_segmenters:Ours\n")
    (tmp_path / "studio_segmenters.py").write_text(
        "from void_server.api.errors import SettingError\n"
        "from void_server.quadmask.segmentation.grabcut import GrabCut\n"
        "class Ours(GrabCut):\n"
        "    name = 'ours'\n"
        "    ready = False\n"
        "    def check(self):\n"
        "        if not self.ready: raise SettingError('Ours lacks its weights.')\n"
        "    def use(self, device):\n"
        "        self.device = device\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SettingError, match="Ours lacks its weights"):
        reason.check(Shot("/plate", prompts=(Prompt(1, "point", (1.0, 2.0)),), settings=Settings(segmenter="ours")))
    ours = segmentation.choose("ours", "cuda:1")
    assert (ours.name, ours.device) == ("ours", "cuda:1")
    assert mattes(ours, Moving(), {1: {4: Hints(box=box_around(4))}})
    with pytest.raises(SettingError, match=r"Unknown segmenter 'theirs'; choose from auto, grabcut, .*, ours"):
        segmentation.check_name("theirs")
