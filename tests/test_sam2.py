"""SAM 2's mechanics, on random weights: not what it finds, but that all of it is asked rightly."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from void_server.api.errors import SettingError
from void_server.quadmask import segmentation
from void_server.quadmask.segmentation import Hints, checkpoints

from .moving_ball import Moving, box_around, mattes, overlap

pytestmark = pytest.mark.slow

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

#: Pixels a side that the model works at here, of 1,024: the weights are those of any size.
SIZE = 256


@pytest.fixture(scope="module")
def sam2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    torch = pytest.importorskip("torch", reason="torch is not installed: SAM 2 was not tested")
    pytest.importorskip("sam2", reason="the extra sam2 is not installed: SAM 2 was not tested")
    from void_server.quadmask.segmentation import sam2 as module

    smaller = partial(module.build_sam2_video_predictor, hydra_overrides_extra=[f"++model.image_size={SIZE}"])
    folder = tmp_path_factory.mktemp("sam2")
    torch.manual_seed(0)
    model = smaller("configs/sam2.1/sam2.1_hiera_t.yaml", None, device="cpu")
    torch.save({"model": model.state_dict()}, folder / "sam2.1_hiera_tiny.pt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "build_sam2_video_predictor", smaller)
        patch.setenv("SAM2_WEIGHTS", str(folder))
        yield segmentation.choose("sam2", "cpu")


class Large(Moving):
    """Frames of the size that the model works at, so that nothing is resampled on the way."""

    def __getitem__(self, index: int) -> np.ndarray:
        frame = cv2.resize(super().__getitem__(index), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
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
    points = Hints(on=((75.0, 125.0),), off=((225.0, 25.0),))
    hints = {1: {4: points}, 2: {4: Hints(box=(25.0, 25.0, 100.0, 150.0))}}
    ours = mattes(sam2, frames, hints)
    # all but the one with the hints would be five
    assert max(kept) <= 3
    # once for the model and once by the check of the matte, twice more where the hints are and at the beginning
    assert max(frames.asked.count(index) for index in range(6)) <= 5

    for index in range(6):
        cv2.imwrite(str(tmp_path / f"{index}.jpg"), np.zeros((SIZE, SIZE, 3), np.uint8))
    # a JPEG would lose something; the package's loader is given the very pixels
    monkeypatch.setattr(
        misc,
        "_load_img_as_tensor",
        lambda path, _: (torch.from_numpy(frames[int(Path(path).stem)]).permute(2, 0, 1), SIZE, SIZE),
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
    rough = np.zeros((SIZE, SIZE), bool)
    rough[50:150, 25:125] = True
    with_point = mattes(sam2, Large(2), {1: {0: Hints(mask=rough, off=((112.0, 138.0),))}})
    # the object was known by then, from its mask
    assert heard == [(0, 1, [[112.0, 138.0]], [0], None, 1)]
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
