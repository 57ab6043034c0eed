"""Results are found, checked and judged; what is wrong with them is a sentence."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from void_server import pipeline
from void_server.api.errors import ColourError, InputError, SequenceError, SettingError
from void_server.api.shot import SCENE_LINEAR_REC709, Settings, Shot
from void_server.api.version import VersionFolder
from void_server.evaluation import baselines, judging, material, page, pictures, record, results, scoring, suite
from void_server.imaging import exr, sequence
from void_server.imaging.colour import ColourSpace
from void_server.pairs import PairFolder

pytestmark = pytest.mark.slow

LINEAR = ColourSpace(SCENE_LINEAR_REC709)
QUICK = ("psnr", "ssim", "detail", "flicker", "drift", "seam", "kept", "iou")


def wanted(work: Path, *names: str, measures: tuple[str, ...] = QUICK) -> judging.Wanted:
    return judging.Wanted(names, measures, (), work, lambda *_: None)


@pytest.fixture(scope="module")
def version(shot: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The job on the sample shot, without added grain, as the truth has none."""
    folder = tmp_path_factory.mktemp("out") / "walkby" / "v001"
    folder.mkdir(parents=True)
    asked = Shot(str(shot / "plate"), str(shot / "roto"), settings=Settings(grain=False))
    pipeline.run("0123456789ab", asked, folder, lambda _: None)
    return folder


def of_frames(folder: Path, source: Path, change: dict[int, np.ndarray] | None = None) -> Path:
    """Copies the frames of a sequence, some with other pixels."""
    folder.mkdir(parents=True)
    for frame, path in sequence.find(str(source)).files.items():
        pixels = (change or {}).get(frame)
        if pixels is None:
            shutil.copy(path, folder / f"result.{frame}.exr")
        else:
            exr.write(folder / f"result.{frame}.exr", pixels.astype(np.float16), exr.RGB)
    return folder


def test_the_truth_has_nothing_wrong_and_the_plate_has(shot: Path) -> None:
    found = material.of_pair(PairFolder(shot))
    assert found.truth is not None
    assert found.plate is not None
    right, wrong = (
        scoring.score(found, results.of_pictures(found, "", one), QUICK).figures for one in (found.truth, found.plate)
    )
    assert (right["psnr"], right["flicker"], right["detail"]) == (120, 0, 1)
    assert right["ssim"] == pytest.approx(1)
    assert wrong["psnr"] < 20
    assert wrong["flicker"] > 5
    assert wrong["drift"] > 5 * right["drift"]
    assert wrong["seam"] > right["seam"]


def test_an_error_counts_where_it_is(shot: Path) -> None:
    """By class: what is wrong in one class of one frame is no other's."""
    found = material.of_pair(PairFolder(shot))
    assert found.truth is not None
    codes, true = found.codes, found.truth
    shifted = [
        np.clip(np.where((codes[i] == 127)[..., None] & (i == 5), one - 0.1, one), 0, 1) for i, one in enumerate(true)
    ]
    shown = results.Pictures(lambda index: shifted[index], len(shifted))
    score = scoring.score(found, results.of_pictures(found, "", shown), QUICK)
    assert score.groups["remove"]["psnr"] == 120
    assert score.groups["overlap"]["psnr"] == 120
    expected = np.concatenate([(one - other)[c == 127] for one, other, c in zip(shifted, true, codes, strict=True)])
    assert score.groups["affected"]["psnr"] == pytest.approx(-10 * np.log10(np.square(expected).mean()), abs=1e-3)
    assert score.worst[0] == found.frames[5]
    shares = [score.groups[name]["share"] for name in ("remove", "overlap", "affected")]
    assert sum(shares) == pytest.approx(100)


def test_a_version_is_judged_by_origin_and_kept_pixels(shot: Path, version: Path, tmp_path: Path) -> None:
    names = (*baselines.BASELINES,)
    judged = next(iter(judging.given(version, shot, wanted(tmp_path, *names), LINEAR)))
    figures = {one.method: one.figures for one in judged.scores}
    assert list(figures) == ["result", *names, "truth"]
    assert figures["result"]["psnr"] > figures["telea"]["psnr"] + 5
    assert figures["result"]["psnr"] > figures["untouched"]["psnr"] + 10
    assert figures["neighbours"]["psnr"] > figures["telea"]["psnr"]
    assert figures["result"]["kept"] >= 99
    assert figures["result"]["iou"] > 0.3
    assert "kept" not in figures["telea"]
    groups = judged.scores[0].groups
    assert groups["recovered"]["share"] > 90
    assert "generated" not in groups


def test_nothing_that_moves_is_judged_across_a_gap(shot: Path) -> None:
    """Between frames that do not follow each other, what moves would count as flicker and drift."""
    found = material.of_pair(PairFolder(shot), (1002, 1003, 1004, 1008, 1009, 1010))
    assert found.plate is not None
    frames = scoring.score(found, results.of_pictures(found, "", found.plate), QUICK).frames
    assert [frame for frame, figures in frames.items() if "flicker" in figures] == [1003, 1004, 1009, 1010]
    assert [frame for frame, figures in frames.items() if "drift" in figures] == [1003, 1004, 1009, 1010]


def test_the_jod_of_a_shot_with_a_gap_is_that_of_its_runs(shot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ColorVideoVDP looks at motion; the package is not needed to see what it is asked."""
    asked: list[tuple[tuple[int, ...], tuple[int, ...], float]] = []

    def cvvdp(result: np.ndarray, truth: np.ndarray, fps: float) -> float:
        asked.append((result.shape, truth.shape, fps))
        return float(len(result))

    monkeypatch.setattr(scoring.learned, "cvvdp", cvvdp)
    monkeypatch.setattr(scoring, "OPTIONAL", {})
    found = material.of_pair(PairFolder(shot), (1002, 1003, 1004, 1008, 1009, 1010, 1011, 1012))
    assert found.plate is not None
    figures = scoring.score(found, results.of_pictures(found, "", found.plate), ("JOD",)).figures
    assert [(result[0], truth[0]) for result, truth, _ in asked] == [(3, 3), (5, 5)]
    assert figures["JOD"] == pytest.approx((3 * 3 + 5 * 5) / 8)


def test_a_measure_that_breaks_drops_out_with_a_note(shot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was left out of a mean unseen would make the rest look good."""
    whole, calls = scoring.motion.warp_error, []

    def warp_error(*given: np.ndarray) -> np.ndarray:
        calls.append(1)
        error = whole(*given)
        if len(calls) == 2:
            error[::2] = np.nan
        return error

    monkeypatch.setattr(scoring.motion, "warp_error", warp_error)
    found = material.of_pair(PairFolder(shot))
    assert found.plate is not None
    score = scoring.score(found, results.of_pictures(found, "untouched", found.plate), ("drift", "psnr"))
    assert set(score.figures) == {"psnr"}
    assert [frame for frame in found.frames[1:] if "drift" not in score.frames[frame]] == [found.frames[2]]
    assert f"drift of untouched is not a number in 1 of 12 frames ({found.frames[2]})" in score.notes[0]


def test_pixels_that_flip_did_not_look_at_count_for_nothing() -> None:
    sums = scoring.Sums()
    sums.count(scoring.CHANGED, 4)
    for name in ("FLIP", "HDR-FLIP", "ssim"):
        sums.add(scoring.CHANGED, name, np.array([0.5, np.nan, 0.1, np.nan], np.float32))
    figures = sums.figures()
    assert (figures["FLIP"], figures["HDR-FLIP"]) == pytest.approx((0.3, 0.3))
    assert np.isnan(figures["ssim"])


def test_what_was_kept_is_counted_bit_for_bit(shot: Path, tmp_path: Path) -> None:
    pair = PairFolder(shot)
    found = material.of_pair(pair)
    plate = exr.read_rgb(pair.frame("plate", 1001))
    far = ~(cv2.dilate(found.changed(0).astype(np.uint8), np.ones((17, 17))) > 0)
    y, x = np.argwhere(far)[0]
    # the smallest step of a half float
    plate[y, x, 1] = np.nextafter(np.float16(plate[y, x, 1]), np.float16(9), dtype=np.float16)
    folder = of_frames(tmp_path / "result", shot / "plate", {1001: plate})
    result = results.of_sequence(found, sequence.find(str(folder)), "result")
    kept = scoring.score(found, result, ("kept",)).figures["kept"]
    outside = sum(int((cv2.dilate(found.changed(i).astype(np.uint8), np.ones((17, 17))) == 0).sum()) for i in range(12))
    assert kept == pytest.approx(100 * (outside - 1) / outside, abs=1e-9)
    assert kept < 100


def test_without_a_truth_only_what_needs_none_is_measured(version: Path, tmp_path: Path) -> None:
    judged = next(iter(judging.given(version, None, wanted(tmp_path, "telea"), LINEAR)))
    assert [one.method for one in judged.scores] == ["result"]
    assert set(judged.scores[0].figures) == {"drift", "seam", "kept"}
    assert any("no truth" in note for note in judged.notes)
    assert judged.name == "walkby"


def test_folders_of_results_belong_to_pairs_by_name(shot: Path, version: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs"
    for name in ("walkby", "other"):
        shutil.copytree(shot, pairs / name)
    asked = wanted(tmp_path / "work", measures=("psnr",))
    with pytest.raises(SequenceError, match=r"no result for 1 of 2 pairs \(other\)"):
        list(judging.given(version.parents[1], pairs, asked, LINEAR))
    out = tmp_path / "out"
    for name in ("walkby", "other"):
        shutil.copytree(version, out / name / "v001")
    judged = list(judging.given(out, pairs, asked, LINEAR))
    assert [one.name for one in judged] == ["other", "walkby"]
    total = judging.totals(judged)["result"]["changed"]["psnr"]
    assert total == pytest.approx(judged[0].scores[0].figures["psnr"])


def test_plain_sequences_are_judged_as_a_whole_or_where_a_quadmask_says(
    shot: Path, version: Path, tmp_path: Path
) -> None:
    result, truth = version / "plate", tmp_path / "truth"
    truth.mkdir()
    true = next(iter(sequence.find(str(shot / "truth")).files.values()))
    for frame in range(1001, 1013):
        shutil.copy(true, truth / f"truth.{frame}.exr")
    asked = wanted(tmp_path / "work")
    whole = next(iter(judging.given(result, truth, asked, LINEAR)))
    assert any("whole frames" in note for note in whole.notes)
    inside = next(
        iter(judging.given(result, truth, asked, LINEAR, plate=str(shot / "plate"), quadmask=str(version / "quadmask")))
    )
    assert {"remove", "affected"} <= set(inside.scores[0].groups)
    assert "remove" not in whole.scores[0].groups
    with pytest.raises(SequenceError, match="give a truth, or --plate and --quadmask"):
        list(judging.given(result, None, asked, LINEAR, quadmask=str(version / "quadmask")))
    alone = judging.given(result, None, asked, LINEAR, plate=str(shot / "plate"), quadmask=str(version / "quadmask"))
    assert set(next(iter(alone)).scores[0].figures) == {"drift", "seam", "kept"}
    with pytest.raises(SettingError, match="versions and pairs say this themselves"):
        list(judging.given(version, shot, asked, LINEAR, plate="other"))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("missing", r"lacks frame 1006 \(1 of 12 in all\); it has 1001-1005,1007-1012"),
        ("size", r"Frame 1003 of the result .* is 64 x 36, the others are 192 x 108"),
    ],
)
def test_results_that_do_not_fit_are_refused(shot: Path, tmp_path: Path, wrong: str, sentence: str) -> None:
    folder = of_frames(tmp_path / "result", shot / "plate")
    if wrong == "missing":
        (folder / "result.1006.exr").unlink()
    else:
        exr.write(folder / "result.1003.exr", np.zeros((36, 64, 3), np.float16), exr.RGB)
    with pytest.raises(SequenceError, match=sentence):
        list(judging.given(folder, shot, wanted(tmp_path / "work"), LINEAR))


def test_a_frame_that_is_cut_short_is_named(shot: Path, tmp_path: Path) -> None:
    folder = of_frames(tmp_path / "result", shot / "plate")
    file = folder / "result.1007.exr"
    file.write_bytes(file.read_bytes()[:-4000])
    with pytest.raises(InputError, match=r"result.1007.exr is damaged or cut short"):
        list(judging.given(folder, shot, wanted(tmp_path / "work"), LINEAR))


def test_colour_spaces_that_differ_are_refused(shot: Path, version: Path, tmp_path: Path) -> None:
    shutil.copytree(version, tmp_path / "v001")
    manifest = VersionFolder(tmp_path / "v001").manifest
    data = json.loads(manifest.read_text())
    data["colour"]["space"] = "ACEScg"
    manifest.write_text(json.dumps(data))
    with pytest.raises(ColourError, match="is in ACEScg, the truth of walkby in lin_rec709"):
        list(judging.given(tmp_path / "v001", shot, wanted(tmp_path / "work"), LINEAR))


def test_nan_is_counted_and_named(shot: Path, tmp_path: Path) -> None:
    pixels = exr.read_rgb(shot / "plate" / "plate.1004.exr")
    pixels[50:52, 90:93] = np.nan
    folder = of_frames(tmp_path / "result", shot / "plate", {1004: pixels})
    judged = next(iter(judging.given(folder, shot, wanted(tmp_path / "work"), LINEAR)))
    assert any("in 1 of 12 frames (1004), most in frame 1004: 6." in note for note in judged.notes)
    assert all(np.isfinite(value) for value in judged.scores[0].figures.values())


def test_frames_of_a_result_without_a_truth_are_named(shot: Path, tmp_path: Path) -> None:
    folder, truth = of_frames(tmp_path / "result", shot / "plate"), of_frames(tmp_path / "truth", shot / "plate")
    (truth / "result.1005.exr").unlink()
    asked = wanted(tmp_path / "work", measures=("psnr",))
    (judged,) = judging.given(folder, truth, asked, LINEAR)
    assert any(note.startswith("Frame 1005 of the result is not judged") for note in judged.notes)
    (judged,) = judging.given(folder, truth, replace(asked, frames=(1001, 1002)), LINEAR)
    assert not any("not judged" in note for note in judged.notes), "some were asked for"


def test_a_picture_of_another_format_is_named(shot: Path, tmp_path: Path) -> None:
    """Beside a result in EXR, what is display-referred cannot be judged by."""
    truth = tmp_path / "truth"
    truth.mkdir()
    for frame in sequence.find(str(shot / "plate")).frames:
        assert cv2.imwrite(str(truth / f"truth.{frame}.png"), np.zeros((108, 192, 3), np.uint8))
    with pytest.raises(InputError, match=r"truth\.1001\.png is not an EXR; write it as an EXR sequence"):
        list(judging.given(shot / "plate", truth, wanted(tmp_path / "work"), LINEAR))


def test_frames_of_all_shots_together_are_remembered_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[str, int]] = []

    def reading(name: str) -> pictures.Pictures[np.ndarray]:
        def made(index: int) -> np.ndarray:
            read.append((name, index))
            return np.full(1000, index, np.uint8)

        return pictures.Pictures(made, 9)

    pictures.Pictures._known.clear()
    monkeypatch.setattr(pictures.Pictures, "_bytes", 0)
    monkeypatch.setattr(pictures, "REMEMBERED", 3000)
    one, other = reading("one"), reading("other")
    assert [int(found[0]) for found in (one[0], one[1], one[0], other[5])] == [0, 1, 0, 5]
    assert read == [("one", 0), ("one", 1), ("other", 5)]
    assert int(other[6][0]) == 6
    # what was looked at least lately has gone
    assert int(one[1][0]) == 1
    assert read[3:] == [("other", 6), ("one", 1)]
    assert len(pictures.Pictures._known) == 3
    with pytest.raises(ValueError, match="read-only"):
        one[1][0] = 9


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no baseline 'teela'; choose from untouched, telea"):
        wanted(tmp_path, "teela").check()
    with pytest.raises(SettingError, match="no measure 'snr'"):
        wanted(tmp_path, measures=("snr",)).check()


def test_highlights_count_as_they_are_seen(shot: Path) -> None:
    """The display curve is the shot's: a lamp of 12 that became 1 is an error, not one that no display shows."""
    found = material.of_pair(PairFolder(shot))
    assert found.raw is not None
    assert found.raw_truth is not None
    assert found.curve.maximum == max(float(image.max()) for image in found.raw) > 2
    true = found.raw_truth
    dim = results.Pictures(lambda i: np.clip(found.curve.to_display(np.minimum(true[i], 1)), 0, 1), len(true))
    figures = scoring.score(found, results.of_pictures(found, "", dim), ("psnr", "HDR-FLIP")).figures
    assert figures["psnr"] < 60
    assert figures.get("HDR-FLIP", 1) > 0


def test_a_suite_is_done_with_both_quadmasks(shot: Path, tmp_path: Path) -> None:
    judged = list(judging.suites(shot, Settings(), wanted(tmp_path / "work", "cleanplate", "telea"), ""))
    figures = {one.method: one.figures for one in judged[0].scores}
    # the engine is no baseline of itself
    assert list(figures) == ["given quadmask", "own reasoner", "telea", "truth"]
    assert figures["given quadmask"]["psnr"] >= figures["own reasoner"]["psnr"] - 1
    assert figures["given quadmask"]["psnr"] > figures["telea"]["psnr"] + 5
    assert not judged[0].failures
    manifest = json.loads((tmp_path / "work/walkby/given_quadmask/v001/job.json").read_text())
    assert not manifest["settings"]["grain"]
    with pytest.raises(SequenceError, match="No pair in"):
        list(judging.suites(shot, Settings(), wanted(tmp_path), "nothing"))


def test_a_suite_takes_a_pair_with_a_gap(shot: Path, tmp_path: Path) -> None:
    shutil.copytree(shot, tmp_path / "walkby")
    for name in ("plate", "truth", "roto", "change"):
        (PairFolder(tmp_path / "walkby").frame(name, 1006)).unlink()
    (judged,) = judging.suites(tmp_path / "walkby", Settings(), wanted(tmp_path / "work", measures=("psnr",)), "")
    assert not judged.failures
    assert [one.method for one in judged.scores] == ["given quadmask", "own reasoner"]


def test_a_job_that_fails_is_told_and_the_rest_is_judged(shot: Path, tmp_path: Path) -> None:
    judged = list(judging.suites(shot, Settings(engine="void"), wanted(tmp_path / "work", "telea"), ""))
    assert len(judged[0].failures) == len(suite.METHODS)
    assert judged[0].failures[0].startswith("given quadmask: ")
    assert [one.method for one in judged[0].scores] == ["telea", "truth"]


def killed(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_job_that_the_system_kills_is_a_failure_and_no_wait_without_end(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite, "_job", killed)
    asked = wanted(tmp_path / "work", "telea", measures=("psnr",))
    judged = list(judging.suites(shot, Settings(), asked, ""))
    assert all("ended with -9 and said nothing" in sentence for sentence in judged[0].failures)
    assert len(judged[0].failures) == 2
    assert [one.method for one in judged[0].scores] == ["telea"]


def test_the_page_shows_the_worst_frames_and_runs_nothing(shot: Path, version: Path, tmp_path: Path) -> None:
    named = tmp_path / "<script>alert(1)<b>"
    shutil.copytree(shot, named)
    judged = list(judging.given(version, named, wanted(tmp_path / "work", "telea"), LINEAR))
    html = page.page(judged)
    assert "<script" not in html
    assert "<b>" not in html
    assert "&lt;script&gt;" in html
    assert "default-src 'none'" in html
    assert html.count("<img") == 3 * 4
    assert "One shot, of all changed pixels" in html
    assert [name for name in ("plate", "result", "truth", "error x 4") if f"<th>{name}</th>" not in html] == []
    assert f"frame {judged[0].scores[0].worst[0]}: " in html


def test_a_record_says_what_differs(shot: Path, version: Path, tmp_path: Path) -> None:
    asked = wanted(tmp_path / "work", measures=("psnr",))

    def made(folder: Path) -> dict[str, object]:
        return json.loads(json.dumps(record.record(list(judging.given(folder, shot, asked, LINEAR)), {"seed": 0})))

    before = made(version)
    assert record.differences(before, made(version)) == []
    other = tmp_path / "v001"
    shutil.copytree(version, other)
    brighter = exr.read_rgb(VersionFolder(other).plate(1006)) * 1.5
    exr.write(VersionFolder(other).plate(1006), brighter.astype(np.float16), exr.RGB)
    found = record.differences(before, made(other))
    assert found[0].startswith("shots, walkby, methods, result, result: ")
    assert any("figures, changed, psnr" in line for line in found)
    assert not any("telea" in line or "inputs" in line for line in found)
    newer = {**before, "software": {**before["software"], "numpy": "0.1"}}  # type: ignore[dict-item]
    assert record.differences(before, newer) == [f"software, numpy: {np.__version__} in the record, 0.1 now"]
    file = tmp_path / "none.json"
    file.write_text("[]")
    with pytest.raises(InputError, match="cannot be read as a record"):
        record.load(file)
