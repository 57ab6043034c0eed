"""From points, boxes and masks to rotos: GrabCut, SAM 2's mechanics on random weights, and the stage around them."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Iterator
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

pytestmark = pytest.mark.slow

SIZE = (96, 160)


def ball_at(index: int) -> tuple[int, int]:
    return 30 + 9 * index, 50 + 2 * index


class Moving:
    """A red ball over a textured floor, and a blue box that stands; frames as they are asked for."""

    def __init__(self, count: int = 8) -> None:
        rng = np.random.default_rng(0)
        floor = cv2.GaussianBlur(rng.random((*SIZE, 3), np.float32), (0, 0), 2) * 0.3 + 0.3
        self._floor, self._count = floor.astype(np.float32), count
        self.asked: list[int] = []

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> np.ndarray:
        self.asked.append(index)
        frame = self._floor.copy()
        cv2.rectangle(frame, (120, 10), (145, 30), (0.1, 0.1, 0.8), cv2.FILLED)
        cv2.circle(frame, ball_at(index), 14, (0.8, 0.1, 0.1), cv2.FILLED)
        return frame

    def truth(self, index: int) -> np.ndarray:
        return cv2.circle(np.zeros(SIZE, np.uint8), ball_at(index), 14, 1, cv2.FILLED) > 0


def box_around(index: int) -> tuple[float, float, float, float]:
    x, y = ball_at(index)
    return x - 17, y - 17, x + 18, y + 18


def mattes(segmenter: segmentation.Segmenter, frames: Any, hints: Any) -> dict[tuple[int, int], np.ndarray]:
    found: dict[tuple[int, int], np.ndarray] = {}
    for number, index, matte in segmenter.follow(frames, hints):
        assert (number, index) not in found
        assert matte.shape == frames[index].shape[:2]
        assert matte.min() >= 0
        assert matte.max() <= 1
        found[number, index] = matte
    return found


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


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


# -- SAM 2.1 through transformers, on random weights


class Small(Moving):
    """Frames of the size that the small model works at."""

    def __getitem__(self, index: int) -> np.ndarray:
        return np.clip(cv2.resize(super().__getitem__(index), (128, 128), interpolation=cv2.INTER_AREA), 0, 1)


@pytest.fixture(scope="module")
def folder_of_sam2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    torch = pytest.importorskip("torch", reason="torch is not installed: SAM 2.1 was not tested")
    pytest.importorskip("transformers.models.sam2_video", reason="transformers has no SAM 2.1: it was not tested")
    from transformers import Sam2VideoConfig, Sam2VideoModel

    size, widths = 128, [16, 32, 64, 128]
    config = Sam2VideoConfig(
        vision_config={
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "image_size": [size, size],
                "hidden_size": 16,
                "blocks_per_stage": [1, 1, 2, 1],
                "embed_dim_per_stage": widths,
                "num_attention_heads_per_stage": [1, 2, 4, 8],
                "global_attention_blocks": [3],
            },
            "backbone_channel_list": widths[::-1],
            "backbone_feature_sizes": [[size // n, size // n] for n in (4, 8, 16)],
        },
        prompt_encoder_config={"image_size": size},
        image_size=size,
        memory_attention_rope_feat_sizes=[size // 16, size // 16],
        memory_attention_num_layers=1,
        num_maskmem=2,
        max_object_pointers_in_encoder=2,
    )
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("transformers")
    Sam2VideoModel(config).save_pretrained(folder / "sam2.1-hiera-tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAM2_WEIGHTS", str(folder))
        yield folder / "sam2.1-hiera-tiny"


def test_sam2_of_transformers_gives_what_the_package_gives_with_all_in_memory(
    folder_of_sam2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streamed, forgetting what lies far behind, and objects sharing features: against one object, all kept."""
    import torch
    from transformers import Sam2VideoModel
    from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
    from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

    from void_server.quadmask.segmentation import sam2_transformers as module
    from void_server.quadmask.segmentation import streaming

    frames, kept = Small(12), list[int]()
    forget = module.forget
    monkeypatch.setattr(module, "forget", lambda outputs, *rest: (forget(outputs, *rest), kept.append(len(outputs))))
    hints = {
        1: {3: Hints(on=((40.0, 60.0),), off=((100.0, 20.0),))},
        2: {3: Hints(box=(10.0, 20.0, 60.0, 90.0)), 6: Hints(on=((70.0, 70.0),))},
    }
    ours = mattes(segmentation.choose("auto", "cpu"), frames, hints)
    # all but the one with the hints would be eleven
    assert max(kept) <= 6
    assert set(ours) == {(number, index) for number in hints for index in range(12)}

    model = Sam2VideoModel.from_pretrained(folder_of_sam2).eval()
    pixels = (np.stack([frames[i] for i in range(12)]) - IMAGENET_DEFAULT_MEAN) / IMAGENET_DEFAULT_STD
    video = torch.from_numpy(pixels).float().permute(0, 3, 1, 2)
    told = {
        1: {3: ([[40.0, 60.0], [100.0, 20.0]], [1, 0])},
        2: {3: ([[10.0, 20.0], [60.0, 90.0]], [2, 3]), 6: ([[70.0, 70.0]], [1])},
    }
    for number, of_frames in told.items():
        session = Sam2VideoInferenceSession(video=video, video_height=128, video_width=128, dtype=torch.float32)
        with torch.inference_mode():
            for index, (points, labels) in of_frames.items():
                known = {"point_coords": torch.tensor([[points]]), "point_labels": torch.tensor([[labels]]).int()}
                session.add_point_inputs(session.obj_id_to_idx(1), index, known)
                session.obj_with_new_inputs = [1]
                model(session, frame_idx=index)
            for reverse in (False, True):
                for found in model.propagate_in_video_iterator(session, 3, reverse=reverse):
                    large = torch.nn.functional.interpolate(found.pred_masks, (128, 128), mode="bilinear")
                    theirs = torch.sigmoid(streaming._STEEPNESS * large[0, 0]).numpy()
                    assert np.abs(ours[number, found.frame_idx] - theirs).max() < 1e-5, (number, found.frame_idx)


@pytest.mark.usefixtures("folder_of_sam2")
def test_sam2_of_transformers_takes_a_mask_and_points_that_correct_it() -> None:
    rough = np.zeros((128, 128), bool)
    rough[30:90, 20:60] = True
    of_mask = mattes(segmentation.choose("sam2.1_hiera_tiny", "cpu"), Small(3), {1: {1: Hints(mask=rough)}})
    assert overlap(of_mask[1, 1] >= 0.5, rough) > 0.9
    corrected = Hints(mask=rough, off=((55.0, 85.0),))
    of_both = mattes(segmentation.choose("sam2", "cpu"), Small(3), {1: {1: corrected}})
    only_point = mattes(segmentation.choose("sam2", "cpu"), Small(3), {1: {1: Hints(off=((55.0, 85.0),))}})
    # it knows both of the mask and of the point
    assert not np.array_equal(of_both[1, 1], of_mask[1, 1])
    assert not np.array_equal(of_both[1, 1], only_point[1, 1])


def test_sam2_of_transformers_refuses_a_folder_that_is_none(
    folder_of_sam2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    monkeypatch.setenv("SAM2_WEIGHTS", str(tmp_path))
    place = tmp_path / "sam2.1-hiera-tiny"
    place.mkdir()
    weights, config = load_file(folder_of_sam2 / "model.safetensors"), (folder_of_sam2 / "config.json").read_bytes()
    half = dict(list(weights.items())[: len(weights) // 2])
    for file, content in ((b"{}", half), (b"nonsense", half), (config, half), (config, {"a": torch.zeros(2)})):
        (place / "config.json").write_bytes(file)
        save_file(content, place / "model.safetensors")
        with pytest.raises(SettingError, match=r"is not sam2\.1_hiera_tiny for transformers, or is incomplete"):
            mattes(segmentation.choose("sam2", "cpu"), Small(2), {1: {0: Hints(on=((40.0, 60.0),))}})


# -- SAM 2 itself, on random weights: not what it finds, but that all of it is asked rightly


@pytest.fixture(scope="module")
def sam2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    torch = pytest.importorskip("torch", reason="torch is not installed: SAM 2 was not tested")
    pytest.importorskip("sam2", reason="the extra sam2 is not installed: SAM 2 was not tested")
    from sam2.build_sam import build_sam2_video_predictor

    folder = tmp_path_factory.mktemp("sam2")
    torch.manual_seed(0)
    model = build_sam2_video_predictor("configs/sam2.1/sam2.1_hiera_t.yaml", None, device="cpu")
    torch.save({"model": model.state_dict()}, folder / "sam2.1_hiera_tiny.pt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAM2_WEIGHTS", str(folder))
        yield segmentation.choose("sam2", "cpu")


class Large(Moving):
    """Frames of the size that the model works at, so that nothing is resampled on the way."""

    def __getitem__(self, index: int) -> np.ndarray:
        frame = cv2.resize(super().__getitem__(index), (1024, 1024), interpolation=cv2.INTER_CUBIC)
        return np.round(np.clip(frame, 0, 1) * 255).astype(np.float32) / 255


def test_sam2_gives_what_the_package_gives_for_a_folder(
    sam2: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streamed, and with what lies far behind forgotten, against the package's own way with all in memory."""
    import torch
    from sam2.utils import misc

    from void_server.quadmask.segmentation import sam2 as module
    from void_server.quadmask.segmentation import streaming

    frames = Large(6)
    predictor = module._predictor(checkpoints.find(), "cpu")
    # so short a memory that a few frames lie beyond it
    monkeypatch.setattr(predictor, "num_maskmem", 2)
    monkeypatch.setattr(predictor, "max_obj_ptrs_in_encoder", 2)
    kept: list[int] = []
    forget = module._forget

    def counting(predictor: Any, state: Any, *rest: Any) -> None:
        forget(predictor, state, *rest)
        kept.append(max(len(entry["non_cond_frame_outputs"]) for entry in state["output_dict_per_obj"].values()))

    monkeypatch.setattr(module, "_forget", counting)
    points = Hints(on=((300.0, 500.0),), off=((900.0, 100.0),))
    hints = {1: {4: points}, 2: {4: Hints(box=(100.0, 100.0, 400.0, 600.0))}}
    ours = mattes(sam2, frames, hints)
    # all but the one with the hints would be five
    assert max(kept) <= 3
    # once for the model and once by the check of the matte, twice more where the hints are and at the beginning
    assert max(frames.asked.count(index) for index in range(6)) <= 5

    for index in range(6):
        cv2.imwrite(str(tmp_path / f"{index}.jpg"), np.zeros((1024, 1024, 3), np.uint8))
    # a JPEG would lose something; the package's loader is given the very pixels
    monkeypatch.setattr(
        misc,
        "_load_img_as_tensor",
        lambda path, _: (torch.from_numpy(frames[int(Path(path).stem)]).permute(2, 0, 1), 1024, 1024),
    )
    state = predictor.init_state(str(tmp_path))
    for number, known in hints.items():
        module._tell(predictor, state, number, 4, known[4])
    theirs = {}
    for reverse in (False, True):
        for index, numbers, logits in predictor.propagate_in_video(state, 4, reverse=reverse):
            for number, logit in zip(numbers, logits[:, 0], strict=True):
                theirs[number, index] = torch.sigmoid(streaming._STEEPNESS * logit).numpy()
    assert set(ours) == set(theirs) == {(number, index) for number in (1, 2) for index in range(6)}
    for key in ours:
        assert np.abs(ours[key] - theirs[key]).max() < 1e-5, key


def test_sam2_hears_of_points_off_the_object_also_where_the_frame_has_a_rough_roto(
    sam2: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from void_server.quadmask.segmentation import sam2 as module

    predictor = module._predictor(checkpoints.find(), "cpu")
    heard: list[tuple[Any, ...]] = []
    real = type(predictor).add_new_points_or_box

    def listening(self: Any, state: Any, index: int, number: int, **named: Any) -> Any:
        previous = self._get_obj_num(state)
        heard.append((index, number, named["points"].tolist(), named["labels"].tolist(), named["box"], previous))
        return real(self, state, index, number, **named)

    monkeypatch.setattr(type(predictor), "add_new_points_or_box", listening)
    rough = np.zeros((1024, 1024), bool)
    rough[200:600, 100:500] = True
    with_point = mattes(sam2, Large(2), {1: {0: Hints(mask=rough, off=((450.0, 550.0),))}})
    # the object was known by then, from its mask
    assert heard == [(0, 1, [[450.0, 550.0]], [0], None, 1)]
    without = mattes(sam2, Large(2), {1: {0: Hints(mask=rough)}})
    assert len(heard) == 1
    assert not np.array_equal(with_point[1, 0], without[1, 0])


def test_a_matte_of_sam2_has_a_narrow_edge(sam2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits above -3.9 were rewritten, wide around every object."""
    import torch

    from void_server.quadmask.extent import rewritten
    from void_server.quadmask.segmentation import sam2 as module

    predictor = module._predictor(checkpoints.find(), "cpu")
    logits = torch.linspace(-8, 8, 161).repeat(1, 1, 8, 1)
    monkeypatch.setattr(
        type(predictor), "propagate_in_video", lambda *_, reverse=False: iter([] if reverse else [(0, [1], logits)])
    )
    ((_, _, matte),) = sam2.follow(Large(1), {1: {0: Hints(on=((300.0, 500.0),))}})
    given_up = rewritten(np.full(matte.shape, 255, np.uint8), matte)
    # one pixel is a tenth of a logit; what the model rather takes for background is kept from -1.2 on
    assert not given_up[:, :68].any()
    assert given_up[:, 81:].all()


@pytest.mark.usefixtures("sam2")
def test_sam2_refuses_a_file_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setenv("SAM2_WEIGHTS", str(tmp_path))
    path = tmp_path / "sam2_hiera_tiny.pt"
    for content in (b"", b"not a checkpoint"):
        path.write_bytes(content)
        with pytest.raises(SettingError, match="is not a checkpoint of sam2_hiera_tiny, or is incomplete"):
            mattes(segmentation.choose("sam2_hiera_tiny", "cpu"), Moving(), {1: {0: Hints(box=box_around(0))}})
    torch.save({"model": {"a": torch.zeros(2)}}, path)
    with pytest.raises(SettingError, match="is not a checkpoint of sam2_hiera_tiny"):
        mattes(segmentation.choose("sam2_hiera_tiny", "cpu"), Moving(), {1: {0: Hints(box=box_around(0))}})
