"""The main job from files to files: what comes out, and what happens with bad input."""

from __future__ import annotations

import errno
import html
import itertools
import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import OpenImageIO as oiio  # noqa: N813
import pytest

from tests.conftest import write_sequence
from void_server import pipeline
from void_server.api.errors import ImageError, InputError, JobCancelled, JobFailed, SequenceError, SettingError
from void_server.api.job import Progress
from void_server.api.shot import Settings, Shot
from void_server.api.version import VersionFolder
from void_server.engines import Clip, NewPixels
from void_server.engines.cleanplate import CleanPlate
from void_server.imaging import exr, sequence
from void_server.imaging.colour import Curve
from void_server.imaging.window import Window
from void_server.pipeline.composite import MATTE_CHANNELS
from void_server.pipeline.inputs import open_source
from void_server.pipeline.progress import all_stages
from void_server.quadmask import classes
from void_server.sample import write_sample

pytestmark = pytest.mark.slow


def ignore(progress: Progress) -> None:
    del progress


def shot_of(folder: Path, **changes: object) -> Shot:
    return Shot(**{"plate": str(folder / "plate"), "roto": str(folder / "roto"), **changes})  # type: ignore[arg-type]


def run(shot: Shot, out: Path, report: Callable[[Progress], None] = ignore) -> tuple[VersionFolder, tuple[str, ...]]:
    out.mkdir(parents=True, exist_ok=True)
    pipeline.inspect(shot)
    return VersionFolder(out), pipeline.run("0123456789ab", shot, out, report)


@pytest.fixture(scope="module")
def done(shot: Path, tmp_path_factory: pytest.TempPathFactory) -> VersionFolder:
    return run(shot_of(shot), tmp_path_factory.mktemp("done") / "v001")[0]


def frames_of(folder: Path) -> tuple[int, ...]:
    return sequence.find(str(folder / "plate")).frames


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((a - b) ** 2)))


def test_where_the_blend_is_zero_the_plate_is_untouched(shot: Path, done: VersionFolder) -> None:
    for frame in frames_of(shot):
        plate = exr.read_rgb(shot / "plate" / f"plate.{frame:04d}.exr")
        result = exr.read_rgb(done.plate(frame))
        blend = exr.read_channels(done.mattes(frame), ["void_blend.A"], Window(0, 0, *plate.shape[1::-1]))[..., 0]
        assert 0 < np.mean(blend > 0) < 0.5
        assert np.array_equal(result[blend == 0], plate[blend == 0])


def test_the_figure_and_its_shadow_are_gone(shot: Path, done: VersionFolder) -> None:
    curve = Curve(12.0)
    for frame in frames_of(shot)[2:-2]:
        change = exr.read_matte(shot / "change" / f"change.{frame:04d}.exr", Window(0, 0, 192, 108)) > 0.5
        roto = exr.read_matte(shot / "roto" / f"roto.{frame:04d}.exr", Window(0, 0, 192, 108)) > 0.5
        plate, truth, result = (
            curve.to_display(exr.read_rgb(path))[change | roto]
            for path in (
                shot / "plate" / f"plate.{frame:04d}.exr",
                shot / "truth" / f"truth.{frame:04d}.exr",
                done.plate(frame),
            )
        )
        assert psnr(result, truth) > psnr(plate, truth) + 8


def test_mattes_and_quadmask_tell_the_same(shot: Path, done: VersionFolder) -> None:
    for frame in frames_of(shot):
        window = Window(0, 0, 192, 108)
        mattes = exr.read_channels(done.mattes(frame), MATTE_CHANNELS, window)
        assert (mattes[..., :4].sum(axis=-1) == 1).all()
        codes = classes.read(done.quadmask(frame), window)
        assert np.array_equal(classes.mattes(codes), mattes[..., :4])
        roto = exr.read_matte(shot / "roto" / f"roto.{frame:04d}.exr", window)
        assert np.array_equal((codes == classes.REMOVE) | (codes == classes.OVERLAP), roto >= 0.5)
        assert (mattes[..., 4][codes != classes.KEEP] == 1).all()
        assert np.array_equal(mattes[..., 5:].sum(axis=-1), mattes[..., 4] > 0)


def test_mattes_and_manifest_tell_where_each_new_pixel_comes_from(shot: Path, tmp_path: Path) -> None:
    """A roto that stands in its place: nothing behind it is ever seen, but what an effect hides at times is."""
    still, given = tmp_path / "roto", tmp_path / "quadmask"
    stands, passes = np.zeros((108, 192), np.float32), np.zeros((12, 108, 192), bool)
    stands[30:70, 90:120] = 1
    for index, frame in enumerate(frames_of(shot)):
        passes[index, 20:40, 12 * index : 12 * index + 20] = True
        codes = np.where(stands > 0, classes.REMOVE, np.where(passes[index], classes.AFFECTED, classes.KEEP))
        exr.write(still / f"roto.{frame}.exr", stands[..., None].astype(np.float16), ("A",))
        exr.write(given / f"quadmask.{frame}.exr", (codes / np.float32(255))[..., None].astype(np.float16), ("Y",))
    out = tmp_path / "v001"
    out.mkdir()
    job = Shot(str(shot / "plate"), str(still), quadmask=str(given), settings=Settings(grain=False))
    pipeline.run("0123456789ab", job, out, lambda _: None)
    results = VersionFolder(out)
    channels = [name for name in MATTE_CHANNELS if name.startswith("origin.")]
    counts = np.zeros(3)
    for index, frame in enumerate(frames_of(shot)):
        mattes = exr.read_channels(results.mattes(frame), channels, Window(0, 0, 192, 108))
        assert (mattes[stands > 0] == (0, 1, 0)).all()
        assert (mattes[passes[index] & (cv2.dilate(stands, np.ones((9, 9))) == 0)] == (1, 0, 0)).all()
        counts += mattes.sum(axis=(0, 1))
    expected = dict(zip(("recovered", "filled", "generated"), counts / counts.sum(), strict=True))
    assert json.loads(results.manifest.read_text())["origin"] == pytest.approx(expected, abs=1e-4)


def test_manifest_report_and_no_leftovers(shot: Path, done: VersionFolder) -> None:
    manifest = json.loads((done.folder / "job.json").read_text())
    assert manifest["frames"] == list(frames_of(shot))
    assert Shot.from_dict(manifest["shot"]) == shot_of(shot)
    assert set(manifest["timings"]) == set(all_stages(shot_of(shot)))
    page = (done.folder / "report" / "report.html").read_text()
    assert "<script" not in page
    assert "://" not in page.split("base64")[0]
    sheet = cv2.imread(str(done.folder / "report" / "contact_sheet.png"))
    assert sheet.shape[0] > 4 * 108
    assert sorted(p.name for p in done.folder.iterdir()) == [
        "disclosure.json",
        "job.json",
        "mattes",
        "patch",
        "plate",
        "provenance.json",
        "quadmask",
        "reasoning.json",
        "report",
    ]


def test_the_same_job_gives_the_same_pixels_also_when_stopped_and_resumed(
    shot: Path, done: VersionFolder, tmp_path: Path
) -> None:
    def stop(progress: Progress) -> None:
        if progress.stage == "Rewriting" and progress.frame is not None and progress.frame >= 1005:
            raise JobCancelled("stopped")

    out = tmp_path / "v001"
    with pytest.raises(JobCancelled):
        run(shot_of(shot), out, stop)
    results = VersionFolder(out)
    finished = [f for f in frames_of(shot) if results.plate(f).is_file()]
    assert finished
    assert len(finished) < len(frames_of(shot))
    assert not (out / "job.json").exists()
    times = {f: results.plate(f).stat().st_mtime_ns for f in finished}
    run(shot_of(shot), out)
    assert {f: results.plate(f).stat().st_mtime_ns for f in finished} == times
    for frame in frames_of(shot):
        assert np.array_equal(exr.read_rgb(results.plate(frame)), exr.read_rgb(done.plate(frame)))


def test_a_quadmask_of_ones_own_is_taken_as_it_is(shot: Path, tmp_path: Path) -> None:
    codes = np.full((108, 192), classes.KEEP, np.uint8)
    codes[10:40, 20:60] = classes.AFFECTED
    given = write_sequence(tmp_path / "given", range(1001, 1013), codes[..., None] / 255, ("Y",), "given")
    results, _ = run(shot_of(shot, quadmask=str(given)), tmp_path / "v001")
    assert np.array_equal(classes.read(results.quadmask(1001), Window(0, 0, 192, 108)), codes)
    # nothing but the roto's own soft edge is rewritten beside it
    blend = exr.read_channels(results.mattes(1001), ["void_blend.A"], Window(0, 0, 192, 108))[..., 0]
    assert (blend[12:38, 22:58] == 1).all()


def test_quadmask_only(shot: Path, tmp_path: Path) -> None:
    results, _ = run(shot_of(shot, settings=Settings(until="quadmask")), tmp_path / "v001")
    assert results.quadmask(1001).is_file()
    assert not (results.folder / "plate").exists()
    assert (results.folder / "report" / "contact_sheet.png").is_file()


def test_no_reasoner_affects_nothing(shot: Path, tmp_path: Path) -> None:
    results, _ = run(shot_of(shot, settings=Settings(reasoner="none", until="quadmask")), tmp_path / "v001")
    codes = classes.read(results.quadmask(1005), Window(0, 0, 192, 108))
    assert set(np.unique(codes)) == {classes.REMOVE, classes.KEEP}


def test_what_lay_still_until_it_was_kicked_stays(tmp_path: Path) -> None:
    write_sample(tmp_path / "knock", "knock", (320, 180), range(1001, 1031))
    results, _ = run(shot_of(tmp_path / "knock", settings=Settings(grain=False)), tmp_path / "v001")
    curve = Curve(12.0)
    truth = curve.to_display(exr.read_rgb(tmp_path / "knock/truth/truth.1030.exr"))
    plate = curve.to_display(exr.read_rgb(tmp_path / "knock/plate/plate.1030.exr"))
    result = curve.to_display(exr.read_rgb(results.plate(1030)))
    ball = np.zeros((180, 320), bool)
    ball[135:160, 148:172] = True
    assert psnr(plate[ball], truth[ball]) < 22
    assert psnr(result[ball], truth[ball]) > 26


@pytest.mark.parametrize("scene", ["pan", "handheld"])
def test_a_moving_camera(scene: str, tmp_path: Path) -> None:
    folder = tmp_path / scene
    write_sample(folder, scene, (256, 144), range(-8, 12))
    results, _ = run(shot_of(folder, settings=Settings(grain=False)), tmp_path / "v001")
    curve = Curve(12.0)
    window = Window(0, 0, 256, 144)
    name = "0002"
    roto = exr.read_matte(folder / f"roto/roto.{name}.exr", window) > 0.5
    plate, truth = (curve.to_display(exr.read_rgb(folder / f"{n}/{n}.{name}.exr")) for n in ("plate", "truth"))
    result = curve.to_display(exr.read_rgb(results.plate(2)))
    assert psnr(result[roto], truth[roto]) > psnr(plate[roto], truth[roto]) + 8


@pytest.fixture
def turned(tmp_path: Path) -> Path:
    """A shot of a camera that pans; how it got from 1010 to 1031 nobody knows: the scene is the other way round."""
    write_sample(tmp_path / "pan", "pan", (256, 144), range(1001, 1011), grain=False)
    for name, channels in (("plate", exr.RGB), ("roto", ("A",))):
        for frame in range(1001, 1011):
            file = tmp_path / "pan" / name / f"{name}.{frame}.exr"
            there = exr.read_channels(file, channels, exr.windows(file)[0])[:, ::-1]
            exr.write(file.with_name(f"{name}.{frame + 30}.exr"), there.astype(np.float16), channels)
    return tmp_path / "pan"


def test_a_moving_camera_takes_nothing_from_beyond_a_gap(turned: Path, tmp_path: Path) -> None:
    pictures = []
    for number, frames in enumerate(("1001-1010,1031-1040", "1001-1010")):
        one = shot_of(turned, settings=Settings(reasoner="none", grain=False), frames=frames)
        results, _ = run(one, tmp_path / f"v00{number}")
        pictures.append([exr.read_rgb(results.plate(frame)) for frame in range(1001, 1011)])
    assert np.array_equal(*pictures)


@pytest.mark.parametrize("given", ["roto", "quadmask"])
def test_frames_beyond_a_gap_that_show_nothing_of_the_scene_are_refused(given: str, tmp_path: Path) -> None:
    """They were black, or cv2.error."""
    folder, window = tmp_path / "pan", Window(0, 0, 128, 72)
    write_sample(folder, "pan", (128, 72), range(1001, 1011), grain=False)
    for frame in range(1001, 1011):
        file, whole = folder / f"roto/roto.{frame}.exr", frame in (1009, 1010)
        drawn = exr.read_matte(file, window)[..., None] > 0.5
        if given == "quadmask":
            codes = np.where(drawn, classes.OVERLAP if whole else 0, classes.AFFECTED if whole else classes.KEEP)
            exr.write(folder / f"quadmask/quadmask.{frame}.exr", (codes / 255).astype(np.float16), ("Y",))
        elif whole:
            exr.write(file, np.ones_like(drawn, np.float16), ("A",))
    quadmask = str(folder / "quadmask") if given == "quadmask" else None
    one = shot_of(folder, quadmask=quadmask, settings=Settings(reasoner="none"), frames="1001-1005,1009-1010")
    with pytest.raises(SequenceError, match="to be rewritten in 1009-1010, and no frame"):
        run(one, tmp_path / "v001")


def test_all_affected_in_all_frames_is_refused(shot: Path, tmp_path: Path) -> None:
    for frame in frames_of(shot):
        drawn = exr.read_matte(shot / f"roto/roto.{frame}.exr", Window(0, 0, 192, 108))[..., None] > 0.5
        codes = np.where(drawn, classes.OVERLAP, classes.AFFECTED) / 255
        exr.write(tmp_path / f"codes/codes.{frame}.exr", codes.astype(np.float16), ("Y",))
    with pytest.raises(SequenceError, match="to be rewritten in 1001-1012, and no frame"):
        run(shot_of(shot, quadmask=str(tmp_path / "codes")), tmp_path / "v001")


def test_what_a_moving_camera_never_sees_is_filled_in_a_frame_that_shows_the_rest(tmp_path: Path) -> None:
    """Not in one that is rewritten wholly, where the fill is black."""
    folder = tmp_path / "pan"
    write_sample(folder, "pan", (128, 72), range(1001, 1031), grain=False)
    for frame in range(1001, 1007):
        drawn = np.zeros((72, 128, 1), np.float16)
        drawn[15:60, 25:105] = 1
        exr.write(folder / f"roto/roto.{frame}.exr", drawn if frame > 1001 else np.ones_like(drawn), ("A",))
    one = shot_of(folder, settings=Settings(reasoner="none", grain=False), frames="1001-1006")
    results, _ = run(one, tmp_path / "v001")
    for frame in range(1001, 1007):
        middle, plate = (
            exr.read_rgb(file)[30:45, 50:80] for file in (results.plate(frame), folder / f"plate/plate.{frame}.exr")
        )
        assert middle.mean() > 0.2 * plate.mean()


@pytest.mark.parametrize("frames", ["1001-1010", "1031-1040"])
def test_the_effects_under_a_moving_camera_are_those_of_the_frames_between_gaps(
    turned: Path, tmp_path: Path, frames: str
) -> None:
    quadmasks = []
    for number, these in enumerate(("1001-1010,1031-1040", frames)):
        one = shot_of(turned, settings=Settings(grain=False, until="quadmask"), frames=these)
        results, _ = run(one, tmp_path / f"v00{number}")
        # nothing is affected in a shot's first frame
        codes = [classes.read(results.quadmask(f), Window(0, 0, 256, 144)) for f in sequence.parse_frames(frames)[1:]]
        quadmasks.append(np.stack(codes))
    assert (quadmasks[1] == classes.AFFECTED).any()
    assert np.array_equal(*quadmasks)


@pytest.mark.parametrize(
    ("data", "display"),
    [
        (Window(400_000, 400_000, 2, 2), Window(0, 0, 2, 2)),
        (Window(-60_000, 0, 2, 2), Window(0, 0, 1920, 1080)),
        (Window(0, 0, 2, 2), Window(0, 0, 100_000, 100_000)),
    ],
)
def test_a_window_that_claims_more_than_memory_holds_is_refused(tmp_path: Path, data: Window, display: Window) -> None:
    folder = write_sequence(tmp_path / "plate", range(1001, 1004), np.full((2, 2, 3), 0.5))
    for frame in (1001, 1002, 1003):
        window = data if frame == 1002 else Window(0, 0, 2, 2)
        file, pixels = folder / f"plate.{frame}.exr", np.full((2, 2, 3), 0.5, np.float16)
        exr.write(file, pixels, exr.RGB, data_window=window, display_window=display)
    with pytest.raises(SequenceError, match=r"Frame 100[12] of the plate .* crop the frame"):
        open_source(Shot(str(folder), str(folder)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"display_window": Window(0, 0, 8, 5)}, r"\(8x5, not 8x6\)"),
        ({"display_window": Window(2, -1, 8, 6)}, r"\(8x6 at 2,-1, not 8x6\)"),
        ({"pixel_aspect": 2.0}, r"\(8x6, pixel aspect 2, not 8x6\)"),
    ],
)
def test_a_frame_of_another_format_is_refused_with_what_differs(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    folder, pixels = tmp_path / "plate", np.full((6, 8, 3), 0.5, np.float16)
    for frame in (1001, 1002):
        exr.write(folder / f"plate.{frame}.exr", pixels, exr.RGB, **(changes if frame == 1002 else {}))
    with pytest.raises(SequenceError, match=message):
        open_source(Shot(str(folder), str(folder)))


def test_windows_that_move_and_overscan(shot: Path, tmp_path: Path) -> None:
    """Data windows smaller, larger and offset, one per frame, and pixels twice as wide."""
    display = Window(0, 0, 192, 108)
    for index, frame in enumerate(range(1001, 1007)):
        whole = exr.read_rgb(shot / f"plate/plate.{frame}.exr")
        data = Window(-4 + index, 3 * index, 180 + 4 * index, 100)
        pixels = np.zeros((data.height, data.width, 3), np.float16)
        inner = data.intersection(display)
        pixels[data.slices(inner)] = whole[display.slices(inner)]
        exr.write(
            tmp_path / f"plate/p.{frame}.exr", pixels, exr.RGB, data_window=data, display_window=display, pixel_aspect=2
        )
    results, _ = run(Shot(str(tmp_path / "plate"), str(shot / "roto")), tmp_path / "v001")
    for index, frame in enumerate(range(1001, 1007)):
        header = exr.read_header(results.plate(frame))
        assert header.data_window == Window(-4 + index, 3 * index, 180 + 4 * index, 100)
        assert header.display_window == display
        assert header.pixel_aspect == 2
        assert exr.windows(results.quadmask(frame)) == (header.data_window, display)
    sheet = cv2.imread(str(results.folder / "report/contact_sheet.png"))
    assert sheet.shape[1] > 2 * 192 * 6


def test_movies(shot: Path, tmp_path: Path) -> None:
    for name in ("plate", "roto"):
        writer = cv2.VideoWriter(str(tmp_path / f"{name}.avi"), cv2.VideoWriter.fourcc(*"FFV1"), 24, (192, 108))
        for frame in frames_of(shot)[:6]:
            path = shot / name / f"{name}.{frame}.exr"
            if name == "plate":
                picture = Curve(1.0).to_display(exr.read_rgb(path))
            else:
                picture = np.repeat(exr.read_matte(path, Window(0, 0, 192, 108))[..., None], 3, axis=-1)
            writer.write(np.clip(picture[..., ::-1] * 255, 0, 255).astype(np.uint8))
        writer.release()
    results, _ = run(Shot(str(tmp_path / "plate.avi"), str(tmp_path / "roto.avi")), tmp_path / "v001")
    original = exr.read_rgb(shot / "plate/plate.1003.exr")
    decoded = exr.read_rgb(results.plate(3))
    corner = np.s_[:20, 100:]
    assert np.allclose(decoded[corner], np.clip(original[corner], 0, 1), atol=0.02)


# -- what is brighter than the plate


@pytest.fixture
def firefly(monkeypatch: pytest.MonkeyPatch) -> int:
    """An engine at fault: in one frame a pixel far too bright, and in all one that is as bright as the plate."""
    synthesise = CleanPlate.synthesise

    def faulty(
        self: CleanPlate, clip: Clip, wanted: Sequence[int], report: Callable[[float], None]
    ) -> Iterator[NewPixels]:
        for new in synthesise(self, clip, wanted, report):
            row, column = np.argwhere(clip.rewritten(new.index, new.window))[0]
            new.rgb[row + 2, column] = 1.0
            if new.index == 5:
                new.rgb[row, column] = clip.footage.curve.to_display(np.full(3, 90.0, np.float32))
            yield new

    monkeypatch.setattr(CleanPlate, "synthesise", faulty)
    return 1006


def says_where(warnings: Sequence[str], results: VersionFolder, frame: int) -> None:
    found = [text for text in warnings if "brighter than anything in the plate" in text]
    assert len(found) == 1
    match = re.search(r"in frame (\d+): ([\d.]+) at (\d+),(\d+) from the top left, .* maximum is (\d+)", found[0])
    assert match
    assert int(match[1]) == frame
    written = exr.read_rgb(results.plate(frame))
    assert float(match[2]) == pytest.approx(written[int(match[4]), int(match[3])].max(), rel=0.01)
    assert float(match[2]) == pytest.approx(90, rel=0.01)
    assert int(match[5]) == 12
    manifest = json.loads((results.folder / "job.json").read_text())
    assert manifest["warnings"] == list(warnings)
    (told,) = manifest["colour"]["overshoots"]
    assert (told["frame"], told["value"]) == (frame, pytest.approx(90, rel=0.01))
    assert found[0] in html.unescape((results.folder / "report/report.html").read_text())


def test_a_result_brighter_than_the_plate_is_a_warning(shot: Path, firefly: int, tmp_path: Path) -> None:
    results, warnings = run(shot_of(shot, settings=Settings(grain=False)), tmp_path / "v001")
    says_where(warnings, results, firefly)


def test_the_warning_is_there_also_when_the_job_was_stopped_after_that_frame(
    shot: Path, firefly: int, tmp_path: Path
) -> None:
    def stop(progress: Progress) -> None:
        if progress.stage == "Rewriting" and progress.frame == firefly:
            raise JobCancelled("stopped")

    asked = shot_of(shot, settings=Settings(grain=False))
    with pytest.raises(JobCancelled):
        run(asked, tmp_path / "v001", stop)
    results = VersionFolder(tmp_path / "v001")
    assert results.plate(firefly).is_file()
    says_where(run(asked, results.folder)[1], results, firefly)


def test_the_warning_comes_from_any_part_of_a_farm_job(shot: Path, firefly: int, tmp_path: Path) -> None:
    asked = shot_of(shot, settings=Settings(grain=False))
    results = VersionFolder(tmp_path)
    frames = frames_of(shot)

    def part(kind: pipeline.Part, number: int = 0, some: tuple[int, ...] = ()) -> tuple[str, ...]:
        return pipeline.run_part(kind, "0123456789ab", asked, tmp_path, ignore, number, some)

    part(pipeline.Part.QUADMASK)
    part(pipeline.Part.FINISH, 0, frames[:4])
    part(pipeline.Part.FINISH, 1, frames[4:])
    says_where(part(pipeline.Part.REPORT), results, firefly)


def test_a_lamp_behind_the_object_is_no_overshoot(shot: Path, tmp_path: Path) -> None:
    """What is uncovered may be brighter than the rest of its frame, as other frames show it."""
    folder = copied(shot, tmp_path)
    window = Window(0, 0, 192, 108)
    rotos = {f: exr.read_matte(folder / f"roto/roto.{f}.exr", window) > 0 for f in frames_of(folder)}
    # the only lamp, small and in the figure's way
    row, column = np.median(np.argwhere(rotos[1006]), axis=0).astype(int)
    lamp = np.zeros((108, 192), bool)
    lamp[row - 1 : row + 2, column - 1 : column + 2] = True
    hidden = []
    for frame, roto in rotos.items():
        path = folder / f"plate/plate.{frame}.exr"
        pixels = np.clip(exr.read_rgb(path), 0, 0.8)
        pixels[lamp & ~roto] = 12.0
        hidden += [frame] if pixels.max() < 1 else []
        exr.write(path, pixels.astype(np.float16), exr.RGB)
    assert hidden
    codes = write_given(folder, tmp_path / "given")
    asked = shot_of(folder, quadmask=str(codes), settings=Settings(grain=False))
    results, warnings = run(asked, tmp_path / "v001")
    assert all(exr.read_rgb(results.plate(frame)).max() > 10 for frame in hidden)
    assert not any("brighter" in text for text in warnings)


def sheet_of(results: VersionFolder) -> np.ndarray:
    return cv2.imread(str(results.folder / "report/contact_sheet.png"))


def test_the_underexposed_rows_show_the_frame_with_the_brightest_fault(
    shot: Path, done: VersionFolder, firefly: int, tmp_path: Path
) -> None:
    results, _ = run(shot_of(shot, settings=Settings(grain=False)), tmp_path / "v001")
    good, faulty = sheet_of(done), sheet_of(results)
    assert firefly - 1001 not in sequence.spread(12, 6)
    assert faulty.shape[1] - good.shape[1] == (good.shape[1] - 190) // 6
    left = 190 + 3 * (faulty.shape[1] - 190) // 7
    rows = faulty[-48 - 2 * (108 + 10) : -48, left : left + 192]
    plate, result = rows[:108], rows[118 : 118 + 108]
    assert (result == 255).any()
    assert not (plate == 255).any()


def test_only_pictures_with_highlights_are_shown_underexposed_too(
    shot: Path, done: VersionFolder, tmp_path: Path
) -> None:
    folder = copied(shot, tmp_path)
    for frame in frames_of(folder):
        path = folder / f"plate/plate.{frame}.exr"
        exr.write(path, np.clip(exr.read_rgb(path), 0, 0.9).astype(np.float16), exr.RGB)
    results, _ = run(shot_of(folder, settings=Settings(grain=False)), tmp_path / "v001")
    assert sheet_of(done).shape[0] - sheet_of(results).shape[0] == 2 * (108 + 10)


def copied(shot: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shot, tmp_path / "shot"))


def test_not_a_number_in_the_plate_is_a_warning(shot: Path, tmp_path: Path) -> None:
    folder = copied(shot, tmp_path)
    path = folder / "plate/plate.1004.exr"
    pixels = exr.read_rgb(path)
    pixels[2, 3] = np.nan
    pixels[60, 96] = np.inf
    exr.write(path, pixels.astype(np.float16), exr.RGB)
    results, warnings = run(shot_of(folder), tmp_path / "v001")
    assert any("2 in frame 1004" in text for text in warnings)
    after = exr.read_rgb(results.plate(1004))
    assert np.isnan(after[2, 3]).all()
    blend = exr.read_channels(results.mattes(1004), ["void_blend.A"], Window(0, 0, 192, 108))[..., 0]
    assert np.isfinite(after[blend > 0]).all()


def quadmask_of(code: Callable[[int], int], tmp_path: Path, movie: bool) -> Path:
    """A quadmask of one code in each frame of the sample shot."""
    pictures = {frame: np.full((108, 192, 3), code(frame), np.uint8) for frame in range(1001, 1013)}
    if movie:
        file = tmp_path / "codes.avi"
        writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"FFV1"), 24, (192, 108))
        for picture in pictures.values():
            writer.write(picture)
        writer.release()
        return file
    for frame, picture in pictures.items():
        exr.write(tmp_path / f"codes/codes.{frame}.exr", (picture[..., :1] / 255).astype(np.float16), ("Y",))
    return tmp_path / "codes"


@pytest.mark.parametrize("movie", [False, True], ids=["files", "movie"])
@pytest.mark.parametrize("alone", [False, True], ids=["with a roto", "alone"])
def test_a_quadmask_that_removes_all_in_all_frames_is_refused_at_submission(
    shot: Path, tmp_path: Path, movie: bool, alone: bool
) -> None:
    given = str(quadmask_of(lambda _: 0, tmp_path, movie))
    with pytest.raises(SequenceError, match=r"The quadmask \S+ removes the whole picture in all frames"):
        pipeline.inspect(shot_of(shot, quadmask=given, **({"roto": None} if alone else {})))


@pytest.mark.parametrize("movie", [False, True], ids=["files", "movie"])
def test_a_quadmask_alone_that_removes_nothing_is_refused_at_submission(
    shot: Path, tmp_path: Path, movie: bool
) -> None:
    given = str(quadmask_of(lambda _: classes.AFFECTED, tmp_path, movie))
    with pytest.raises(SequenceError, match=r"The quadmask \S+ removes nothing in any of the 12 frames"):
        pipeline.inspect(shot_of(shot, quadmask=given, roto=None))
    assert pipeline.inspect(shot_of(shot, quadmask=given)) == 12


@pytest.mark.parametrize("movie", [False, True], ids=["files", "movie"])
def test_a_quadmask_that_removes_all_for_a_while_is_none_that_removes_the_whole_picture(
    tmp_path: Path, movie: bool
) -> None:
    """Elsewhere its roto is empty, and all is kept."""
    noise = np.random.default_rng(0).uniform(0.1, 0.9, (108, 192, 3))
    plate = write_sequence(tmp_path / "plate", range(1001, 1013), noise)
    wiped = range(1005, 1009)
    given = quadmask_of(lambda frame: 0 if frame in wiped else 255, tmp_path, movie)
    for frame in range(1001, 1013):
        drawn = np.zeros((108, 192, 1), np.float16)
        drawn[:, :183] = float(frame in wiped)
        exr.write(tmp_path / f"roto/roto.{frame}.exr", drawn, ("A",))
    assert pipeline.inspect(Shot(str(plate), str(tmp_path / "roto"), quadmask=str(given))) == 12


def test_a_movie_that_is_the_roto_is_no_quadmask(shot: Path, tmp_path: Path) -> None:
    file = tmp_path / "roto.avi"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"FFV1"), 24, (192, 108))
    for frame in frames_of(shot):
        drawn = exr.read_matte(shot / f"roto/roto.{frame}.exr", Window(0, 0, 192, 108)) >= 0.5
        writer.write(np.repeat(255 * drawn[..., None].astype(np.uint8), 3, axis=-1))
    writer.release()
    with pytest.raises(SequenceError, match="Is it a roto, or inverted"):
        pipeline.inspect(shot_of(shot, quadmask=str(file)))


def test_an_empty_roto(shot: Path, tmp_path: Path) -> None:
    roto = write_sequence(tmp_path / "roto", range(1001, 1013), np.zeros((108, 192, 1)), ("A",), "roto")
    with pytest.raises(SequenceError, match="is empty in all 12 frames; draw what to remove"):
        run(shot_of(shot, roto=str(roto)), tmp_path / "v001")


def test_a_roto_that_covers_everything(shot: Path, tmp_path: Path) -> None:
    roto = write_sequence(tmp_path / "roto", range(1001, 1013), np.ones((108, 192, 1)), ("A",), "roto")
    with pytest.raises(SequenceError, match="covers the whole picture"):
        run(shot_of(shot, roto=str(roto)), tmp_path / "v001")


def test_what_is_never_seen_is_filled_and_said(shot: Path, tmp_path: Path) -> None:
    matte = np.zeros((108, 192, 1))
    matte[30:60, 80:100] = 1
    roto = write_sequence(tmp_path / "roto", range(1001, 1013), matte, ("A",), "roto")
    results, warnings = run(shot_of(shot, roto=str(roto)), tmp_path / "v001")
    result = exr.read_rgb(results.plate(1006))[30:60, 80:100]
    assert np.isfinite(result).all()
    assert 0.01 < result.mean() < 1
    assert any("hidden in every frame" in text for text in warnings)
    assert any("hardly moves" in text for text in warnings)


def test_the_cells_where_a_standing_object_meets_the_floor_are_offered_and_not_applied(
    shot: Path, tmp_path: Path
) -> None:
    matte = np.zeros((108, 192, 1))
    matte[30:60, 80:100] = 1
    roto = write_sequence(tmp_path / "roto", range(1001, 1013), matte, ("A",), "roto")
    results, warnings = run(shot_of(shot, roto=str(roto), settings=Settings(until="quadmask")), tmp_path / "v001")
    assert results.reasoning()["suggested"] == ["r4c5-r4c7=affected"]
    (text,) = (text for text in warnings if "--grid r4c5-r4c7=affected" in text)
    assert "in the cells r4c5-r4c7, which were left as they are" in text
    codes = classes.read(results.quadmask(1006), Window(0, 0, 192, 108))
    assert not np.isin(codes, (classes.AFFECTED, classes.OVERLAP)).any()
    # cut off by the frame, nobody knows where it stands
    matte[30:108, 80:100] = 1
    roto = write_sequence(tmp_path / "other", range(1001, 1013), matte, ("A",), "roto")
    results, _ = run(shot_of(shot, roto=str(roto), settings=Settings(until="quadmask")), tmp_path / "v002")
    assert results.reasoning()["suggested"] == []


@pytest.mark.parametrize("shape", ["tight", "grid"])
def test_what_is_set_in_motion_time_and_again_is_affected_in_whole_cells_and_else_offered(
    shape: str, tmp_path: Path
) -> None:
    """A box comes down on a bed that gives, in frames 1001 and 1002, 1006 and 1007 and so on."""
    scenery = np.random.default_rng(5).uniform(0.1, 0.5, (108, 192, 3))
    for frame in range(1001, 1021):
        low = (frame - 1001) % 5 < 2
        plate, matte = scenery.copy(), np.zeros((108, 192, 1))
        plate[82:94, 50:120] = 0.6 * np.roll(scenery, 4, axis=0)[82:94, 50:120] if low else plate[82:94, 50:120]
        rows = slice(50, 80) if low else slice(10, 40)
        plate[rows, 70:95], matte[rows, 70:95] = 0.2, 1
        exr.write(tmp_path / f"plate/p.{frame}.exr", plate.astype(np.float16), exr.RGB)
        exr.write(tmp_path / f"roto/r.{frame}.exr", matte.astype(np.float16), ("A",))
    results, warnings = run(
        shot_of(tmp_path, settings=Settings(until="quadmask", affected_shape=shape)), tmp_path / "v001"
    )
    codes = classes.read(results.quadmask(1005), Window(0, 0, 192, 108))
    bed = np.isin(codes[82:94, 55:115], (classes.AFFECTED, classes.OVERLAP))
    named = [region["name"] for region in results.reasoning()["regions"]]
    offered = results.reasoning()["suggested"]
    if shape == "grid":
        assert bed.all()
        assert "set in motion time and again" in named
        assert not offered
    else:
        assert not bed.any()
        assert "set in motion time and again" not in named
        assert offered == ["1001-1020:r5c3-r7c8=affected"]
        assert any("From frame 1001 on something is set in motion time and again" in text for text in warnings)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"frames": "1001-1020"}, SequenceError, "Frame 1013 of .* is missing"),
        ({"frames": "abc"}, SequenceError, "is not valid"),
        (
            {"settings": Settings(engine="magic")},
            SettingError,
            "engine 'magic' is not installed; choose from cleanplate",
        ),
        (
            {"settings": Settings(reasoner="oracle")},
            SettingError,
            "reasoner 'oracle' is not installed; choose from file, gemini, image",
        ),
        ({"colorspace": "nope"}, InputError, "'nope' is not in the OCIO configuration"),
        ({"plate": "/nowhere/plate.%04d.exr"}, SequenceError, "folder /nowhere of the plate does not exist"),
    ],
)
def test_wrong_requests_fail_at_submission(
    shot: Path, changes: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        pipeline.inspect(shot_of(shot, **changes))


def test_a_frame_missing_in_the_middle(shot: Path, tmp_path: Path) -> None:
    folder = copied(shot, tmp_path)
    (folder / "plate/plate.1005.exr").unlink()
    with pytest.raises(SequenceError, match=r"Frame 1005 of the plate .* is missing \(1 of 1001-1012\)"):
        pipeline.inspect(shot_of(folder))


def test_a_roto_of_another_range(shot: Path, tmp_path: Path) -> None:
    folder = copied(shot, tmp_path)
    (folder / "roto/roto.1012.exr").unlink()
    with pytest.raises(SequenceError, match=r"roto .* has no frame 1012 .*it has 1001-1011"):
        pipeline.inspect(shot_of(folder))


def test_a_roto_of_another_size(shot: Path, tmp_path: Path) -> None:
    roto = write_sequence(tmp_path / "roto", range(1001, 1013), np.ones((54, 96, 1)), ("A",), "roto")
    with pytest.raises(SequenceError, match=r"Frame 1001 of the roto .* is 96x54, the plate 192x108"):
        pipeline.inspect(shot_of(shot, roto=str(roto)))


def test_a_damaged_frame_is_named(shot: Path, tmp_path: Path) -> None:
    folder = copied(shot, tmp_path)
    path = folder / "plate/plate.1006.exr"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ImageError, match=r"plate.1006.exr is damaged or cut short"):
        run(shot_of(folder), tmp_path / "v001")


def test_a_quadmask_that_is_none(shot: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"quadmask plate.#.exr cannot be used: R, G and B hold no quadmask"):
        pipeline.inspect(shot_of(shot, quadmask=str(shot / "plate")))
    grey = np.random.default_rng(1).random((108, 192, 1))
    given = write_sequence(tmp_path / "grey", range(1001, 1013), grey, ("Y",), "grey")
    with pytest.raises(ImageError, match=r"grey.#.exr cannot be used: Y holds no quadmask: \d\d% of its pixels"):
        pipeline.inspect(shot_of(shot, quadmask=str(given)))


def test_a_full_disk_keeps_finished_frames(shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage
    out = tmp_path / "v001"

    def filling(path: Path) -> tuple[int, int, int]:
        # the disk's own word for how full it is, as a full disk can't be had in a test
        total, used, free = usage(path)
        return type(usage(path))(total, used, 0 if len(list(out.glob("plate/void*"))) >= 4 else free)  # type: ignore[call-arg]

    monkeypatch.setattr(shutil, "disk_usage", filling)
    with pytest.raises(OSError, match="No space left") as caught:
        run(shot_of(shot), out)
    assert caught.value.errno == errno.ENOSPC
    assert len(list(out.glob("plate/*.exr"))) >= 4
    assert not list(out.rglob(".void*"))
    monkeypatch.undo()
    run(shot_of(shot), out)
    assert (out / "job.json").is_file()


def test_what_a_moving_camera_never_sees_is_carried_along(tmp_path: Path) -> None:
    """Something fixed to the set, under a camera that trembles: filled once, and steady."""
    write_sample(tmp_path / "shot", "handheld", (256, 144), range(1001, 1013))
    plates = [exr.read_rgb(tmp_path / f"shot/truth/truth.{frame}.exr") for frame in range(1001, 1013)]
    shutil.rmtree(tmp_path / "shot" / "plate")
    for frame, picture in zip(range(1001, 1013), plates, strict=True):
        exr.write(tmp_path / f"shot/plate/plate.{frame}.exr", picture.astype(np.float16), exr.RGB)
    matte = np.zeros((144, 256, 1))
    matte[20:60, 150:200] = 1
    roto = write_sequence(tmp_path / "roto", range(1001, 1013), matte, ("A",), "roto")
    shot = Shot(str(tmp_path / "shot/plate"), str(roto), settings=Settings(reasoner="none", grain=False))
    results, warnings = run(shot, tmp_path / "v001")
    assert any("hidden in every frame" in text for text in warnings)
    inner = np.s_[30:50, 160:190]
    filled = [exr.read_rgb(results.plate(frame))[inner] for frame in range(1001, 1013)]
    assert all(np.isfinite(picture).all() and 0.005 < picture.mean() < 1 for picture in filled)
    steps = [np.abs(b - a).mean() for a, b in itertools.pairwise(filled)]
    assert max(steps) < 0.1 * filled[0].mean()


def test_new_pixels_have_the_light_of_their_frame(shot: Path, tmp_path: Path) -> None:
    """A lamp is dimmed while the figure walks by."""
    folder = copied(shot, tmp_path)
    light = {frame: 1.0 - 0.05 * (frame - 1001) for frame in frames_of(shot)}
    for frame, level in light.items():
        for name in ("plate", "truth"):
            path = folder / name / f"{name}.{frame}.exr"
            exr.write(path, (exr.read_rgb(path) * level).astype(np.float16), exr.RGB)
    codes = str(write_given(folder, tmp_path / "given"))
    results, _ = run(shot_of(folder, quadmask=codes, settings=Settings(grain=False)), tmp_path / "v001")
    for frame in (1001, 1012):
        truth = exr.read_rgb(folder / f"truth/truth.{frame}.exr")
        roto = exr.read_matte(folder / f"roto/roto.{frame}.exr", Window(0, 0, 192, 108)) > 0.5
        bright = (truth.max(axis=-1) > 0.02) & (truth.max(axis=-1) < 1) & roto
        ratio = np.median(exr.read_rgb(results.plate(frame))[bright] / truth[bright])
        assert ratio == pytest.approx(1, abs=0.08)


def write_given(folder: Path, given: Path) -> Path:
    """The quadmask that the shot's ground truth gives."""
    window = Window(0, 0, 192, 108)
    for frame in frames_of(folder):
        change = exr.read_matte(folder / f"change/change.{frame}.exr", window) > 0.5
        codes = classes.assemble(exr.read_matte(folder / f"roto/roto.{frame}.exr", window), change)
        exr.write(given / f"given.{frame}.exr", (codes / np.float32(255))[..., None], ("Y",))
    return given


def test_frames_that_vanish_or_are_empty_are_made_again(shot: Path, tmp_path: Path) -> None:
    asked = Shot(str(shot / "plate"), str(shot / "roto"), frames="1001-1004", settings=Settings(reasoner="none"))
    whole, version = VersionFolder(tmp_path / "whole"), VersionFolder(tmp_path / "v001")
    pipeline.run("0123456789ab", asked, whole.folder, lambda _: None)

    def vandal(progress: Progress) -> None:
        # what was finished goes while the rest is made
        if progress.frame == 1004 and version.plate(1002).is_file():
            version.plate(1001).write_bytes(b"")
            version.plate(1002).unlink()
            version.mattes(1003).unlink(missing_ok=True)

    with pytest.raises(JobFailed, match=r"Frame 1001 is missing in .* \(\d in all\); resume"):
        pipeline.run("0123456789ab", asked, version.folder, vandal)
    assert not version.manifest.exists()
    pipeline.run("0123456789ab", asked, version.folder, lambda _: None)
    for frame in range(1001, 1005):
        for one, other in ((whole.plate, version.plate), (whole.mattes, version.mattes)):
            pixels = [oiio.ImageBuf(str(path(frame))).get_pixels() for path in (one, other)]
            assert np.array_equal(*pixels)
