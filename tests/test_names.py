"""Objects by name: the prompt, SAM 3 on random weights, what becomes of masks, analyses that only name things."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from void_server.api.errors import SettingError
from void_server.api.shot import Prompt, Shot
from void_server.pipeline import reason, segment
from void_server.quadmask.analysis import Analysis, Thing, read_file
from void_server.quadmask.analysis import Moving as MovingThing
from void_server.quadmask.reasoners.from_analysis import File
from void_server.quadmask.regions import find
from void_server.quadmask.segmentation import Hints, names
from void_server.quadmask.segmentation.grabcut import GrabCut

from .test_segmentation import Moving, overlap

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1001:the man in red", Prompt(1001, Prompt.NAMED, (), 1, "the man in red")),
        ("2@1010: a dog, on a lead ", Prompt(1010, Prompt.NAMED, (), 2, "a dog, on a lead")),
    ],
)
def test_a_name_is_said_with_its_frame(text: str, expected: Prompt) -> None:
    assert Prompt.parse(text, Prompt.NAMED) == expected


@pytest.mark.parametrize("text", ["the man in red", "1001:", "1001:  ", "x@1001:man"])
def test_a_name_without_a_frame_or_words_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="write it like 1001:the man in red"):
        Prompt.parse(text, Prompt.NAMED)


def test_a_point_has_no_name() -> None:
    with pytest.raises(SettingError, match="is called 'man'"):
        Prompt(1001, Prompt.POINT, (1.0, 2.0), 1, "man")


def test_a_name_without_sam3_is_refused_at_submission(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOID_WEIGHTS", raising=False)
    shot = Shot("plate.%04d.exr", prompts=(Prompt.parse("1001:man", Prompt.NAMED),))
    with pytest.raises(SettingError, match=r"facebook/sam3.*VOID_WEIGHTS/sam3.*or click on the object"):
        reason.check(shot)


class ByColour:
    """Finds what its name says the colour of. Stands in for SAM 3, whose weights are a user's."""

    def __init__(self, device: str = "auto") -> None:
        self.device = device

    def find(self, frame: np.ndarray, name: str) -> list[np.ndarray]:
        own = {"red": 0, "blue": 2}[name.split()[0]]
        mask = (frame[..., own] > 0.6) & (frame.min(axis=-1) < 0.3)
        _, parts = cv2.connectedComponents(mask.astype(np.uint8))
        return [parts == number for number in range(1, parts.max() + 1)]


def test_what_is_named_is_followed_as_a_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "Finder", ByColour)
    frames = Moving()
    hints = segment._found({1: {4: Hints(called="red ball")}}, frames, tuple(range(8)), "cpu")
    for _, index, matte in GrabCut().follow(frames, hints):
        assert overlap(matte >= 0.5, frames.truth(index)) > 0.85, index


def test_a_click_tells_things_of_one_name_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "Finder", ByColour)
    frame = np.full((60, 90, 3), 0.4, np.float32)
    frame[10:30, 10:30], frame[10:30, 50:70] = (0.9, 0.1, 0.1), (0.9, 0.1, 0.1)
    hint = Hints(on=((60.0, 20.0),), off=((5.0, 5.0),), called="red box")
    found = segment._found({1: {0: hint}}, [frame], (1001,), "cpu")[1][0]
    assert found.off == hint.off
    assert found.mask is not None
    assert found.mask[10:30, 50:70].all()
    assert not found.mask[:, :50].any()
    with pytest.raises(SettingError, match=r"nothing called 'blue box' in frame 1001"):
        segment._found({1: {0: Hints(called="blue box")}}, [frame], (1001,), "cpu")


class Footage:
    """A blue object beside one red thing, and another red thing far off. Stands in for a Footage of files."""

    frames = tuple(range(1001, 1011))
    small_size = (96, 160)

    def small_plate(self, index: int) -> np.ndarray:
        frame = np.full((*self.small_size, 3), 0.4, np.float32)
        frame[40:60, 40:60] = (0.1, 0.1, 0.9)
        frame[40:60, 62 + index : 82 + index] = (0.9, 0.1, 0.1)
        frame[40:60, 130:150] = (0.9, 0.1, 0.1)
        return frame

    def evenly_exposed(self, index: int) -> np.ndarray:
        return self.small_plate(index)

    def small_roto(self, index: int) -> np.ndarray:
        del index
        roto = np.zeros(self.small_size, np.float32)
        roto[40:60, 40:60] = 1
        return roto


def by_name(things: list[Thing], tmp_path: Path, finder: Any) -> tuple[list[Any], list[str]]:
    footage: Any = Footage()
    analysis = Analysis(objects=[MovingThing(**thing.model_dump()) for thing in things])
    return find(analysis, footage, lambda _: None, GrabCut(), finder, tmp_path, lambda _: None)


def test_of_things_of_one_name_the_one_beside_the_object_is_meant(tmp_path: Path) -> None:
    ((region,), lost) = by_name([Thing(name="red can")], tmp_path, ByColour())
    assert not lost
    assert region.rule == "SAM 3 by its name, followed by GrabCut and optical flow"
    truth = np.zeros(Footage.small_size, bool)
    truth[40:60, 65:85] = True
    assert overlap(region.mask(3), truth) > 0.85
    assert not region.mask(3)[:, 125:].any()


def test_what_cannot_be_found_by_name_is_said(tmp_path: Path) -> None:
    assert by_name([Thing(name="red can")], tmp_path, None) == ([], ["red can"])


#: The form that the published question asks for (stage2_vlm_analysis.py), with its examples 1 and 2.
PUBLISHED = {
    "edit_instruction": "remove the person",
    "integral_belongings": [{"noun": "hat", "why": "worn"}],
    "affected_objects": [
        {
            "noun": "guitar",
            "category": "physical",
            "will_move": True,
            "first_appears_frame": 0,
            "why": "held",
            "movement_description": "falls",
            "object_size_grids": {"rows": 3, "cols": 2},
            "trajectory_path": [{"frame": 0, "grid_row": 3, "grid_col": 5}, {"frame": 8, "grid_row": 6, "grid_col": 5}],
        },
        {
            "noun": "can",
            "category": "physical",
            "will_move": False,
            "first_appears_frame": 0,
            "why": "rests on a table",
            "movement_description": "",
        },
    ],
    "scene_description": "A guitar falls beside a can.",
    "confidence": 0.85,
    "grid_rows": 8,
    "grid_cols": 14,
}


def test_the_published_form_may_name_things_without_a_place() -> None:
    """It was refused: of what rests, the published question asks for no cells."""
    analysis = read_file(json.dumps(PUBLISHED), "vlm_analysis.json")
    guitar, can = analysis.objects
    assert can.is_only_named
    assert [thing.name for thing in analysis.belongings] == ["hat"]
    # as large as the analysis says, around the cells of its path
    rows, columns = zip(*guitar.path[0].cells, strict=True)
    assert (max(rows) - min(rows) + 1, max(columns) - min(columns) + 1) == (3, 2)


@pytest.mark.parametrize("size", [{"rows": 3}, {"rows": 0, "cols": 2}, [[3, 2]], "large", {"rows": "3", "cols": 2}])
def test_a_size_that_is_none_is_refused(size: Any) -> None:
    guitar = {**PUBLISHED["affected_objects"][0], "object_size_grids": size}  # type: ignore[index]
    with pytest.raises(SettingError, match=r"object_size_grids of guitar is .*(not rows and cols|not a list)"):
        read_file(json.dumps({**PUBLISHED, "affected_objects": [guitar]}), "a.json")


def test_an_analysis_of_nothing_but_names_needs_sam3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOID_WEIGHTS", raising=False)
    file = tmp_path / "a.json"
    can = {**PUBLISHED, "integral_belongings": [], "affected_objects": PUBLISHED["affected_objects"][1:]}  # type: ignore[index]
    file.write_text(json.dumps(can))
    with pytest.raises(SettingError, match=r"says of nothing where it is.*SAM 3 is not where the server runs"):
        File().check_shot(Shot("plate.%04d.exr", "roto.%04d.exr", analysis=str(file)))


# -- SAM 3 itself, on random weights: not what it finds, but that it is asked rightly


@pytest.fixture(scope="module")
def sam3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small SAM 3 as its folder on Hugging Face is: detector and tracker in one file, and a tokenizer."""
    torch = pytest.importorskip("torch", reason="torch is not installed: SAM 3 was not tested")
    pytest.importorskip("transformers.models.sam3_video", reason="transformers has no SAM 3: it was not tested")
    from transformers import CLIPTokenizer, Sam3VideoConfig, Sam3VideoModel

    small = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    letters = [*string.ascii_lowercase, *(f"{letter}</w>" for letter in string.ascii_lowercase)]
    vocabulary = [*letters, "<|startoftext|>", "<|endoftext|>"]
    backbone = {
        **small,
        "model_type": "sam3_vit_model",
        "num_hidden_layers": 2,
        "image_size": 112,
        "pretrain_image_size": 112,
        "patch_size": 14,
        "window_size": 4,
        "global_attn_indexes": [1],
    }
    config = Sam3VideoConfig(
        detector_config={
            "vision_config": {
                "backbone_config": backbone,
                "fpn_hidden_size": 32,
                "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
            },
            "text_config": {
                **small,
                "model_type": "clip_text_model",
                "vocab_size": len(vocabulary),
                "num_hidden_layers": 2,
                "max_position_embeddings": 32,
                "projection_dim": 32,
                "bos_token_id": len(letters),
                "eos_token_id": len(letters) + 1,
            },
            "geometry_encoder_config": {**small, "num_layers": 1},
            "detr_encoder_config": {**small, "num_layers": 1},
            "detr_decoder_config": {**small, "num_layers": 2, "num_queries": 6},
            "mask_decoder_config": {"hidden_size": 32, "num_upsampling_stages": 2, "num_attention_heads": 2},
        }
    )
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    model = Sam3VideoModel(config)
    # random weights are sure of nothing
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "presence_head" in name and name.endswith("layer3.bias"):
                parameter.fill_(9)
    model.save_pretrained(folder / "sam3")
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder / "sam3")
    return folder


@pytest.fixture
def weights(sam3: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VOID_WEIGHTS", str(sam3))
    return sam3 / "sam3"


def test_sam3_is_asked_as_the_package_describes(weights: Path) -> None:
    import torch
    from transformers import AutoTokenizer, Sam3Model

    frame = Moving()[2]
    found = names.Finder("cpu").find(frame, "red ball")
    model, tokenizer = Sam3Model.from_pretrained(weights).eval(), AutoTokenizer.from_pretrained(weights)
    words = tokenizer("red ball", return_tensors="pt", padding="max_length", max_length=32)
    assert words["input_ids"].shape == (1, 32)
    pixels = cv2.resize(frame, (112, 112), interpolation=cv2.INTER_AREA) * 2 - 1
    with torch.inference_mode():
        out = model(pixel_values=torch.from_numpy(pixels).permute(2, 0, 1)[None], **words)
    sure = out.pred_logits[0].sigmoid() * out.presence_logits[0].sigmoid()
    masks = torch.nn.functional.interpolate(out.pred_masks, frame.shape[:2], mode="bilinear")[0] > 0
    expected = [masks[n].numpy() for n in sure.argsort(descending=True) if sure[n] > 0.5 and masks[n].any()]
    assert len(found) == len(expected)
    assert 0 < len(found) <= 6
    assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


def test_sam3_takes_a_name_longer_than_its_tokens(weights: Path) -> None:
    assert weights.is_dir()
    names.Finder("cpu").find(Moving()[2], "a very long description " * 20)


def test_a_folder_that_is_no_sam3_is_refused(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "sam3"
    place.mkdir()
    monkeypatch.setenv("VOID_WEIGHTS", str(tmp_path))
    (place / "config.json").write_text("{}")
    with pytest.raises(SettingError, match="is not SAM 3 for transformers, or is incomplete"):
        names.Finder("cpu")
    (place / "config.json").write_bytes((weights / "config.json").read_bytes())
    with pytest.raises(SettingError, match="is not SAM 3 for transformers, or is incomplete"):
        names.Finder("cpu")
