"""From analyses to quadmasks: places, cells, trajectories, what the pixels show, and the published sample."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from void_server import pipeline
from void_server.api.errors import InputError, SettingError
from void_server.api.shot import Settings, Shot
from void_server.api.version import VersionFolder
from void_server.engines.cleanplate import CleanPlate
from void_server.imaging import exr, movie
from void_server.pipeline.context import open_context
from void_server.pipeline.progress import ProgressTracker, all_stages
from void_server.quadmask import classes
from void_server.quadmask.analysis import Analysis, Moving, Place, Thing, read_answer, read_file
from void_server.quadmask.reasoning import Mask
from void_server.quadmask.regions import find
from void_server.quadmask.segmentation.grabcut import GrabCut

SIZE = (90, 160)
FRAMES = tuple(range(1001, 1011))


class Still:
    """The analysed frames of a shot: a red thing on a floor. Stands in for a Footage of files."""

    frames = FRAMES
    small_size = SIZE

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._floor = (cv2.GaussianBlur(rng.random((*SIZE, 3), np.float32), (0, 0), 2) * 0.3 + 0.3).astype(np.float32)

    def small_plate(self, index: int) -> np.ndarray:
        frame = self._floor.copy()
        frame[20:50, 40 + index : 70 + index] = (0.8, 0.1, 0.1)
        return frame


def regions_of(analysis: Analysis, tmp_path: Path, evidence: Callable[[int], Mask | None] = lambda _: None) -> Any:
    footage: Any = Still()
    return find(analysis, footage, evidence, GrabCut(), tmp_path, lambda _: None)


def place(frame: int, left: int, top: int, right: int, bottom: int) -> Place:
    return Place(frame=frame, box=(left / SIZE[1], top / SIZE[0], right / SIZE[1], bottom / SIZE[0]))


def test_a_box_becomes_the_thing_in_it(tmp_path: Path) -> None:
    thing = Thing(name="bag", why="it is carried", places=[place(1001, 36, 16, 74, 54)], confidence=0.7)
    (region,) = regions_of(Analysis(belongings=[thing]), tmp_path)
    assert region.kind == "belonging"
    assert region.rule == "GrabCut and optical flow, from the boxes of the analysis"
    assert (region.name, region.why, region.confidence) == ("bag", "it is carried", 0.7)
    for index in range(len(FRAMES)):
        truth = np.zeros(SIZE, bool)
        truth[20:50, 40 + index : 70 + index] = True
        mask = region.mask(index)
        assert (mask & truth).sum() / (mask | truth).sum() > 0.9


def test_a_box_with_nothing_in_it_stays_a_box(tmp_path: Path) -> None:
    thing = Thing(name="breeze", places=[place(1001, 100, 60, 140, 80), place(1010, 60, 60, 100, 80)])
    (region,) = regions_of(Analysis(artefacts=[thing]), tmp_path)
    if "GrabCut" not in region.rule:
        assert "nothing in them could be separated" in region.rule
        assert region.mask(0)[70, 120]
        # halfway from box to box, halfway through
        assert region.mask(5)[70, 98]
        assert not region.mask(9)[70, 130]


def test_pixels_beat_a_box(tmp_path: Path) -> None:
    def evidence(index: int) -> Mask:
        mask = np.zeros(SIZE, bool)
        # a shadow that reaches out of its box, and something else that has nothing to do with it
        mask[60:70, 100 - 2 * index : 150] = True
        mask[5:10, 5:10] = True
        return mask

    thing = Thing(name="shadow", places=[place(1001, 120, 55, 145, 75)])
    (region,) = regions_of(Analysis(artefacts=[thing]), tmp_path, evidence)
    assert region.rule == "differs from the background where the analysis says"
    expected = evidence(3)
    expected[5:10, 5:10] = False
    assert np.array_equal(region.mask(3), expected)


def test_what_would_fall_takes_all_of_its_way(tmp_path: Path) -> None:
    thing = Moving(
        name="cup", places=[place(1001, 40, 20, 70, 50)], goal=[place(1001, 40, 70, 70, 90)], will="fall", why="held"
    )
    first, way = regions_of(Analysis(objects=[thing]), tmp_path)
    assert "GrabCut" in first.rule
    assert way.rule == "where it would be: fall"
    assert way.mask(9)[20:90, 40:70].all()
    assert not way.mask(9)[:, 80:].any()


def test_cells_that_touch_change_as_one_patch(tmp_path: Path) -> None:
    analysis = Analysis(
        artefacts=[Thing(name="shadow", cells=[(5, 3), (6, 4)])],
        objects=[Moving(name="bed", cells=[(7, 5), (7, 9)]), Moving(name="lamp", cells=[(0, 13)])],
        grid=(9, 16),
    )
    shadow, bed, lamp = regions_of(analysis, tmp_path)
    patch = np.zeros(SIZE, bool)
    patch[50:80, 30:100] = True
    assert np.array_equal(shadow.mask(0), patch)
    assert np.array_equal(bed.mask(7), patch)
    assert lamp.mask(0).sum() == 100


# -- reading analyses


def test_words_and_a_fence_around_an_answer_do_not_matter() -> None:
    answer = 'Here it is:\n```json\n{"object": "cat", "scene": "A sofa."}\n```\nDone.'
    analysis, notes = read_answer(answer, "box_2d", (1001,))
    assert (analysis.object, analysis.scene, notes) == ("cat", "A sofa.", [])


@pytest.mark.parametrize("key", ["box_2d", "bbox_2d"])
def test_boxes_are_read_in_the_order_of_their_key(key: str) -> None:
    values = [100, 200, 300, 400]
    thing = {"name": "cup", "places": [{"frame": 1001, key: values}]}
    # a model that uses the other key is understood too
    analysis, _ = read_answer(json.dumps({"artefacts": [thing]}), "box_2d", (1001,))
    expected = (0.2, 0.1, 0.4, 0.3) if key == "box_2d" else (0.1, 0.2, 0.3, 0.4)
    assert analysis.artefacts[0].places[0].box == pytest.approx(expected)


def test_corners_the_wrong_way_round_are_put_in_order() -> None:
    thing = {"name": "cup", "places": [{"frame": 1001, "bbox_2d": [300, 400, 100, 200]}]}
    analysis, _ = read_answer(json.dumps({"artefacts": [thing]}), "bbox_2d", (1001,))
    assert analysis.artefacts[0].places[0].box == pytest.approx((0.1, 0.2, 0.3, 0.4))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no JSON object"),
        ("[1, 2]", "no JSON object"),
        (
            '{"affected_subjects": [{"noun": "x", "current_position": 5}], "grid_rows": 8, "grid_cols": 14}',
            "not iterable",
        ),
        ('{"affected_subjects": []}', "grid_rows"),
        ('{"objects": [{"places": []}]}', "name"),
        ('{"artefacts": [{"name": "shadow", "cells": [[1, 2]]}]}', "the analysis gives no grid"),
        (
            '{"artefacts": [{"name": "a", "places": [{"frame": 1, "box": [100, 200, 300, 400]}]}]}',
            "fractions of the frame",
        ),
        (
            '{"artefacts": [{"name": "a", "places": [{"frame": 1, "box": [0.3, 0.2, 0.1, 0.4]}]}]}',
            "fractions of the frame",
        ),
        ('{"artefacts": [{"name": "shadow", "cells": [[8, 2]]}], "grid": [8, 14]}', "has the cell 8,2"),
    ],
)
def test_a_file_that_is_no_analysis_is_refused(text: str, message: str) -> None:
    with pytest.raises(
        SettingError, match=rf"x\.json is not a usable analysis: .*{message}|x\.json is not a usable analysis"
    ):
        read_file(text, "x.json")


# -- whole jobs


def job(shot: Path, analysis: dict[str, Any], tmp_path: Path, **settings: Any) -> VersionFolder:
    file = tmp_path / "analysis.json"
    file.write_text(json.dumps(analysis))
    asked = Shot(
        str(shot / "plate"),
        str(shot / "roto"),
        analysis=str(file),
        settings=Settings(reasoner="file", until="quadmask", segmenter="grabcut", **settings),
    )
    pipeline.inspect(asked)
    folder = tmp_path / "v001"
    folder.mkdir()
    pipeline.run("0123456789ab", asked, folder, lambda _: None)
    return VersionFolder(folder)


def test_belongings_join_the_object(shot: Path, tmp_path: Path) -> None:
    # a box of the wall, which stands for something that the figure carries
    painting = {"name": "painting", "cells": [[1, 2]]}
    results = job(shot, {"belongings": [painting], "grid": [8, 14]}, tmp_path)
    codes = classes.read(results.quadmask(1006), exr.windows(results.quadmask(1006))[0])
    assert (codes[15:26, 29:40] == classes.REMOVE).all()


def test_the_manifest_names_what_the_regions_were_found_on(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GrabCut, "device", "A Large GPU")
    results = job(shot, {"belongings": [{"name": "painting", "cells": [[1, 2]]}], "grid": [8, 14]}, tmp_path)
    assert json.loads(results.manifest.read_text())["device"] == {"quadmask": "A Large GPU"}


def test_cells_make_the_quadmask_blocky_and_only_then(shot: Path, tmp_path: Path) -> None:
    analysis = {"artefacts": [{"name": "shadow", "places": [{"frame": 1006, "box": [0.1, 0.7, 0.9, 1.0]}]}]}
    tight = job(shot, analysis, tmp_path)
    (tmp_path / "grid").mkdir()
    blocky = job(shot, analysis, tmp_path / "grid", affected_shape="grid")
    for frame in range(1001, 1013):
        window = exr.windows(tight.quadmask(frame))[0]
        one, other = (classes.read(results.quadmask(frame), window) for results in (tight, blocky))
        small, large = ((codes == classes.AFFECTED) | (codes == classes.OVERLAP) for codes in (one, other))
        if small.sum() > 60:
            assert large.sum() > small.sum()
        cells = large[:104, :182].reshape(8, 13, 14, 13).any(axis=(1, 3))
        full = large[:104, :182].reshape(8, 13, 14, 13).all(axis=(1, 3))
        # 108 lines have cells of 13.5: all but their seams are whole
        assert (cells & ~full).sum() <= 2 * cells.sum()


def test_the_scene_becomes_the_prompt(shot: Path, tmp_path: Path) -> None:
    results = job(shot, {"scene": "An empty room."}, tmp_path)
    for prompt, expected in (("", "An empty room."), ("A room.", "A room.")):
        asked = Shot(str(shot / "plate"), str(shot / "roto"), prompt=prompt)
        course = ProgressTracker(lambda _: None, all_stages(asked))
        assert open_context(asked, CleanPlate(), results, course).clip().prompt == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("there.json", "{", "ends in the middle"), ("no.json", None, "does not exist"), ("b.json", "\x00", "no JSON")],
)
def test_a_wrong_analysis_is_refused_at_submission(
    shot: Path, tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_text(content)
    asked = Shot(str(shot / "plate"), str(shot / "roto"), analysis=str(file), settings=Settings(reasoner="file"))
    with pytest.raises(InputError, match=message):
        pipeline.inspect(asked)


def test_the_reasoner_file_needs_its_file(shot: Path) -> None:
    with pytest.raises(SettingError, match="needs an analysis"):
        pipeline.inspect(Shot(str(shot / "plate"), str(shot / "roto"), settings=Settings(reasoner="file")))


# -- the published sample


def frames_of(path: Path, size: tuple[int, int], how: int) -> list[np.ndarray]:
    return [cv2.resize(frame, size, interpolation=how) for frame in movie.read_frames(path)]


def test_published_masks_make_the_published_quadmask(shared: Path) -> None:
    """Its object is the black mask, and its two other classes follow from that and from what it calls affected."""
    folder = shared / "samples" / "trampoline"
    differing = 0
    for black, published in zip(
        movie.read_frames(folder / "black_mask.mp4"), movie.read_frames(folder / "quadmask.mp4"), strict=True
    ):
        codes = classes.quantise(published[..., 0].astype(np.float32))
        affected = (codes == classes.AFFECTED) | (codes == classes.OVERLAP)
        made = classes.assemble(1 - black[..., 0].astype(np.float32) / 255, affected)
        differing += int((made != codes).sum())
    # of 60 frames of 3840 x 2160; two pixels of the black mask went astray on its way
    assert differing <= 2


def test_the_published_analysis_gives_the_published_quadmask(shared: Path, tmp_path: Path) -> None:
    folder = shared / "samples" / "trampoline"
    size = (480, 270)
    quadmasks = [
        classes.quantise(frame[..., 0].astype(np.float32))
        for frame in frames_of(folder / "quadmask.mp4", size, cv2.INTER_NEAREST)
    ]
    masks = frames_of(folder / "black_mask.mp4", size, cv2.INTER_NEAREST)
    for index, frame in enumerate(frames_of(folder / "plate.mp4", size, cv2.INTER_AREA)):
        exr.write(tmp_path / "plate" / f"p.{index + 1:04d}.exr", (frame / 255.0).astype(np.float16) ** 2, exr.RGB)
        roto = 1 - masks[index][..., :1].astype(np.float32) / 255
        exr.write(tmp_path / "roto" / f"r.{index + 1:04d}.exr", roto.astype(np.float16), ("A",))
    analysis = json.loads((folder / "vlm_analysis.json").read_text())
    results = job(tmp_path, analysis, tmp_path, affected_shape="grid")
    both = theirs = ours = 0
    for index, published in enumerate(quadmasks):
        codes = classes.read(results.quadmask(index + 1), exr.windows(results.quadmask(index + 1))[0])
        made, wanted = ((c == classes.AFFECTED) | (c == classes.OVERLAP) for c in (codes, published))
        both, theirs, ours = both + int((made & wanted).sum()), theirs + int(wanted.sum()), ours + int(made.sum())
    print(f"{both / theirs:.1%} of what is affected there, and {both / ours:.1%} of what is affected here is there")
    assert both / theirs >= 0.95
    assert both / ours >= 0.7
    told = json.loads(results.reasoning_file.read_text())
    assert {region["name"] for region in told["regions"]} == {"shadow", "trampoline bed"}
    assert "trampoline" in told["scene"]
