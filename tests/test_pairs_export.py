"""Data sets of pairs: others read what was in the pair, nothing is written twice, and somebody answers for it."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from void_nuke.node.training_script import TrainingClip, training_script

from void_server import pipeline
from void_server.api.errors import InputError, SequenceError
from void_server.api.files import digest_of
from void_server.api.shot import Settings, Shot
from void_server.evaluation import material
from void_server.imaging import exr, movie
from void_server.pairs import PairFolder
from void_server.pairs.export import approved_shots, export, published
from void_server.pairs.export.rights import Rights
from void_server.pairs.source import PairSource, of_folder
from void_server.quadmask import classes

RIGHTS = Rights("our stage", "CC0-1.0", "a supervisor")


@pytest.fixture
def pair(shot: Path) -> PairSource:
    return of_folder(PairFolder(shot))


def written(out: Path, form: str, pair: PairSource, rights: Rights = RIGHTS) -> list[str]:
    ((_, notes),) = export(out, form, [(pair, rights)])
    return notes


def read_as_published(mask: Path) -> list[np.ndarray]:
    """The mask as videox_fun/data/dataset_image_video.py reads it: one channel, inverted, by its thresholds."""
    frames = []
    for frame in movie.read_frames(mask):
        inverted = 255 - frame[..., :1]
        read = np.where(inverted <= 31, 0, inverted)
        read = np.where((read > 31) & (read <= 95), 63, read)
        read = np.where((read > 95) & (read <= 191), 127, read)
        frames.append(np.where(read > 191, 255, read)[..., 0])
    return frames


def codes_of(pair: PairSource, frames: tuple[int, ...]) -> list[np.ndarray]:
    found = material.of_pair(PairFolder(next(iter(pair.plate.files.values())).parents[1]), frames)
    return list(found.codes)


@pytest.mark.parametrize(("form", "why"), [("void", "a movie would leap over it"), ("copycat", "CopyCat reads every")])
def test_a_pair_with_a_gap_is_not_written_for_what_cannot_do_with_it(
    shot: Path, tmp_path: Path, form: str, why: str
) -> None:
    shutil.copytree(shot, tmp_path / "walkby")
    PairFolder(tmp_path / "walkby").frame("plate", 1006).unlink()
    with pytest.raises(InputError, match=f"walkby has a gap between the frames 1005 and 1007, and {why}"):
        written(tmp_path / "out", form, of_folder(PairFolder(tmp_path / "walkby")))


def test_the_published_loader_reads_every_code_as_it_is_meant(pair: PairSource, tmp_path: Path) -> None:
    assert not written(tmp_path, "void", pair)
    frames = tuple(json.loads((tmp_path / "walkby/metadata.json").read_text())["frames"])
    true = codes_of(pair, frames)
    stored = [frame[..., 0] for frame in movie.read_frames(tmp_path / "walkby" / "mask.mp4")]
    assert all(np.array_equal(one, other) for one, other in zip(stored, true, strict=True))
    read = read_as_published(tmp_path / "walkby" / "mask.mp4")
    # inverted: the object and what is affected on it are 255, in three levels, as pass 1 takes them
    meant = {classes.REMOVE: 255, classes.OVERLAP: 255, classes.AFFECTED: 127, classes.KEEP: 0}
    assert {code for one in true for code in np.unique(one)} == set(meant)
    for one, other in zip(read, true, strict=True):
        assert all((one[other == code] == level).all() for code, level in meant.items())


def test_ffmpeg_itself_reads_the_same_codes(pair: PairSource, tmp_path: Path) -> None:
    """mediapy, which the published loader uses, asks FFmpeg for rgb24: no range is stretched on the way."""
    av = pytest.importorskip("av", reason="FFmpeg's own reading was NOT tested: PyAV is missing")
    written(tmp_path, "void", pair)
    with av.open(tmp_path / "walkby" / "mask.mp4") as file:
        assert file.streams.video[0].average_rate == published.RATE
        rgb = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert all(set(np.unique(frame)) <= set(classes.NAMES) for frame in rgb)
    with av.open(tmp_path / "walkby" / "rgb_full.mp4") as file:
        ours = list(movie.read_frames(tmp_path / "walkby" / "rgb_full.mp4"))
        theirs = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_the_mask_is_in_whole_cells_where_the_pair_has_them(shot: Path, tmp_path: Path) -> None:
    folder = tmp_path / "walkby"
    shutil.copytree(shot, folder)
    for name, code in (("quadmask", classes.REMOVE), ("grid", classes.AFFECTED)):
        for frame in range(1001, 1013):
            codes = np.full((108, 192, 1), code / 255, np.float32)
            exr.write(folder / name / f"{name}.{frame}.exr", codes, ("Y",))
    for expected in (classes.AFFECTED, classes.REMOVE):
        out = tmp_path / str(expected)
        written(out, "void", of_folder(PairFolder(folder)))
        assert {int(frame.max()) for frame in movie.read_frames(out / "walkby" / "mask.mp4")} == {expected}
        shutil.rmtree(folder / "grid", ignore_errors=True)


def test_clips_have_12_frames_a_second_and_the_display_of_the_plate(pair: PairSource, tmp_path: Path) -> None:
    written(tmp_path, "void", pair)
    about = json.loads((tmp_path / "walkby/metadata.json").read_text())
    assert about["frames"] == [1001, 1003, 1005, 1007, 1009, 1011]
    found = material.of_pair(PairFolder(next(iter(pair.plate.files.values())).parents[1]), tuple(about["frames"]))
    assert found.plate is not None
    assert found.truth is not None
    maximum = max(float(exr.read_rgb(path).max()) for path in pair.plate.files.values())
    assert f"{maximum:.4g}" in about["colour"]
    for name, raw in (("rgb_full", found.raw), ("rgb_removed", found.raw_truth)):
        clip = list(movie.read_frames(tmp_path / "walkby" / f"{name}.mp4"))
        assert len(clip) == 6
        for picture, image in zip(clip, raw or (), strict=True):
            shown = np.clip(published.Curve(maximum).to_display(found.linear(image)), 0, 1)
            assert np.abs(picture - shown * 255).max() <= 0.501
    (entry,) = json.loads((tmp_path / "train_data.json").read_text())
    assert entry["type"] == "video_mask_tuple"
    assert Path(entry["file_path"]) == tmp_path / "walkby"
    assert entry["text"] == json.loads((tmp_path / "walkby/prompt.json").read_text())["bg"] == pair.facts.expected


@pytest.mark.parametrize(
    ("rate", "frames"),
    [(24, [1, 3, 5, 7]), (12, [*range(1, 9)]), (25, [1, 3, 5, 7]), (30, [1, 3, 6, 9]), (10, [*range(1, 9)])],
)
def test_frames_are_those_nearest_to_each_twelfth(rate: float, frames: list[int]) -> None:
    given = tuple(range(1, 11 if rate == 30 else 9))
    assert list(published.sampled(given, rate)) == frames[: len(given)]


def test_sizes_are_even_and_no_larger_than_published() -> None:
    assert published.fitting(1920, 1080) == (1600, 900)
    assert published.fitting(1080, 1920) == (900, 1600)
    assert published.fitting(4096, 1716) == (1600, 670)
    assert published.fitting(672, 384) == (672, 384)
    assert published.fitting(97, 55) == (96, 56)


def test_copycat_gets_the_pixels_as_they_are_and_a_script(pair: PairSource, tmp_path: Path) -> None:
    written(tmp_path, "copycat", pair)
    for role, found in (("input", pair.plate), ("ground_truth", pair.truth)):
        for frame in pair.frames:
            assert digest_of(tmp_path / role / "walkby" / f"walkby.{frame}.exr") == digest_of(found.path(frame))


def test_the_script_connects_all_pairs_in_one_order() -> None:
    nkparser = pytest.importorskip("nkparser")
    clips = [
        TrainingClip(f"/set/input/{name}.%04d.exr", f"/set/truth/{name}.%04d.exr", 1, 9) for name in ("a [b]", "c")
    ]
    text = training_script(clips, "/set/net$works")
    script = nkparser.Script.from_string(text)
    assert not [found for found in script.diagnostics if found.code != "missing-root"]
    assert sorted(node.class_name for node in script.all_nodes()) == ["AppendClip"] * 2 + ["CopyCat"] + ["Read"] * 4
    assert '"/set/net\\$works"' in text
    assert '"/set/input/a \\[b\\].%04d.exr"' in text
    assert "push $N_Input2\npush $N_Input1\nAppendClip" in text
    assert "push $N_AllGroundTruth\npush $N_AllInput\nCopyCat" in text
    alone = training_script(clips[:1], "/set/networks")
    assert "AppendClip" not in alone
    assert "push $N_GroundTruth1\npush $N_Input1\nCopyCat" in alone


def test_a_suite_is_pairs_again(pair: PairSource, tmp_path: Path) -> None:
    written(tmp_path, "suite", pair)
    again = of_folder(PairFolder(tmp_path / "walkby"))
    assert again.facts.expected == pair.facts.expected
    assert again.frames == pair.frames
    assert {*again.masks} == {"roto", "change"}
    before, after = (codes_of(one, one.frames[:2]) for one in (pair, again))
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))


def test_what_is_there_is_not_written_again(pair: PairSource, tmp_path: Path) -> None:
    written(tmp_path, "void", pair)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "walkby").iterdir()}
    assert written(tmp_path, "void", pair) == ["is there already"]
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "walkby").iterdir()}
    # stopped before its rights were written: it is not there yet
    (tmp_path / "rights" / "walkby.json").unlink()
    (tmp_path / "walkby" / "mask.mp4").unlink()
    assert not written(tmp_path, "void", pair)
    assert (tmp_path / "walkby" / "mask.mp4").is_file()
    with pytest.raises(InputError, match="is a data set of the form void"):
        written(tmp_path, "suite", pair)


def test_another_pair_of_the_same_name_is_refused(pair: PairSource, shot: Path, tmp_path: Path) -> None:
    written(tmp_path / "out", "copycat", pair)
    other = tmp_path / "walkby"
    shutil.copytree(shot, other)
    exr.write(other / "plate" / "plate.1005.exr", np.zeros((108, 192, 3), np.float16), exr.RGB)
    with pytest.raises(InputError, match="has another pair named walkby"):
        written(tmp_path / "out", "copycat", of_folder(PairFolder(other)))


def test_rights_are_kept_with_every_pair(pair: PairSource, tmp_path: Path) -> None:
    assert written(tmp_path / "a", "suite", pair) == []
    (row,) = csv.DictReader((tmp_path / "a" / "rights.csv").read_text().splitlines())
    assert (row["name"], row["source"], row["licence"], row["approved_by"]) == (
        "walkby",
        "our stage",
        "CC0-1.0",
        "a supervisor",
    )
    assert len(row["plate"]) == 64
    assert written(tmp_path / "b", "suite", pair, Rights("here")) == ["does not state its licence and approval"]


@pytest.fixture(scope="module")
def approved(shot: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("show") / "sh010" / "v001"
    folder.mkdir(parents=True)
    settings = Settings(reasoner="none", grain=False)
    asked = Shot(str(shot / "plate"), str(shot / "roto"), frames="1003-1006", settings=settings)
    pipeline.run("0123456789ab", asked, folder, lambda _: None)
    return folder


def table(path: Path, **row: str) -> Path:
    with path.open("w", newline="") as file:
        rows = csv.DictWriter(file, list(row))
        rows.writeheader()
        rows.writerow(row)
    return path


@pytest.mark.slow
def test_an_approved_version_is_a_pair_with_the_final_comp_as_truth(approved: Path, shot: Path, tmp_path: Path) -> None:
    final = tmp_path / "final"
    shutil.copytree(approved / "plate", final)
    comped = exr.read_rgb(final / "void_plate.1004.exr") * 0.5
    exr.write(final / "void_plate.1004.exr", comped.astype(np.float16), exr.RGB)
    said = {"source": "show x", "licence": "internal", "approved_by": "a supervisor"}
    shots = table(tmp_path / "shots.csv", name="sh010", version=str(approved), final="final", prompt="A wall.", **said)
    ((pair, rights),) = approved_shots(shots)
    assert rights == Rights("show x", "internal", "a supervisor")
    assert pair.frames == (1003, 1004, 1005, 1006)
    assert not written(tmp_path / "out", "suite", pair, rights)
    found = material.of_pair(PairFolder(tmp_path / "out" / "sh010"))
    assert found.raw is not None
    assert found.raw_truth is not None
    assert np.array_equal(found.raw[1], exr.read_rgb(shot / "plate" / "plate.1004.exr"))
    assert np.array_equal(found.raw_truth[1], comped.astype(np.float16).astype(np.float32))
    assert np.array_equal(found.codes[1], classes.read(approved / "quadmask/void_quadmask.1004.exr", found.window))
    assert found.prompt == "A wall."


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"approved_by": ""}, "Line 2 of .* has no approved by; nothing is exported for which nobody answers"),
        ({"version": "nowhere"}, r"Line 2 of .* \(sh010\): .*nowhere/job.json cannot be read as the manifest"),
        ({"name": "../sh010"}, "is no name of a folder"),
        ({"fps": "fast"}, "fps is 'fast'; give frames a second"),
        ({"colour": "ACEScg"}, "has a column 'colour'; it may have name, version"),
        ({"final": "nowhere"}, r"Line 2 of .* \(sh010\): .*nowhere"),
    ],
)
def test_a_table_of_shots_that_is_wrong_is_refused(
    approved: Path, tmp_path: Path, change: dict[str, str], sentence: str
) -> None:
    said = {"name": "sh010", "version": str(approved), "source": "x", "licence": "y", "approved_by": "z", **change}
    with pytest.raises(InputError, match=sentence):
        list(approved_shots(table(tmp_path / "shots.csv", **said)))


@pytest.mark.parametrize("rate", ['"abc"', "[1]", "NaN", "Infinity", "-12", "0"])
def test_a_frame_rate_of_a_published_pair_that_is_none_is_named(tmp_path: Path, rate: str) -> None:
    folder = published.PublishedFolder(tmp_path)
    assert folder.rate() == published.RATE
    (tmp_path / "metadata.json").write_text(f'{{"frame_rate": {rate}, "size": [1, 2]}}')
    with pytest.raises(SequenceError, match=r"metadata\.json does not hold .*, its frame_rate cannot be used: Input"):
        folder.rate()
    (tmp_path / "metadata.json").write_text('{"frame_rate": 24, "size": [1, 2]}')
    assert folder.rate() == 24


@pytest.mark.parametrize("told", ['{"bg": ["a", "list"]}', "[]", "no JSON"])
def test_a_prompt_of_a_published_pair_that_is_none_is_named(tmp_path: Path, told: str) -> None:
    folder = published.PublishedFolder(tmp_path)
    assert folder.prompt() == ""
    (tmp_path / "prompt.json").write_text(told)
    with pytest.raises(SequenceError, match=r"prompt\.json does not hold the facts of a pair"):
        folder.prompt()
    (tmp_path / "prompt.json").write_text('{"bg": "An empty room."}')
    assert folder.prompt() == "An empty room."
