"""What engines read of a shot again and again is read once, and is the same."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from void_server import pipeline
from void_server.api.shot import SCENE_LINEAR_REC709, Settings, Shot
from void_server.engines import Clip
from void_server.engines import clip as clips
from void_server.engines.cleanplate import sampling
from void_server.engines.cleanplate.sampling import Plates
from void_server.imaging import arrays, exr, sequence
from void_server.imaging.colour import ColourSpace
from void_server.imaging.footage import Footage
from void_server.imaging.recent import Recent
from void_server.imaging.window import Window
from void_server.quadmask import classes, extent
from void_server.sample import write_sample

HEIGHT, WIDTH = 600, 400


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    return clip_of(tmp_path, np.float16)


def clip_of(tmp_path: Path, kind: type[np.floating]) -> Clip:
    """Two frames of noise; a box is removed."""
    rng, roto = np.random.default_rng(1), np.zeros((HEIGHT, WIDTH, 1), np.float16)
    roto[240:300, 100:180] = 1
    for frame in (1, 2):
        plate = rng.random((HEIGHT, WIDTH, 3)).astype(kind)
        exr.write(tmp_path / f"plate/plate.{frame:04d}.exr", plate, exr.RGB)
        exr.write(tmp_path / f"roto/roto.{frame:04d}.exr", roto, ("A",))
        exr.write(tmp_path / f"quadmask/quadmask.{frame:04d}.exr", 1 - roto, ("Y",))
    plates, rotos = (sequence.find(str(tmp_path / name)) for name in ("plate", "roto"))
    canvas, colour = Window(0, 0, WIDTH, HEIGHT), ColourSpace(SCENE_LINEAR_REC709)
    footage = Footage(plates, rotos, plates.frames, colour, canvas, tmp_path / "work")
    footage.look(lambda _: None)
    shot = Shot(str(tmp_path / "plate"), str(tmp_path / "roto"), settings=Settings())
    return Clip(footage, lambda frame: tmp_path / f"quadmask/quadmask.{frame:04d}.exr", shot, tmp_path)


WINDOWS = [Window(0, 0, 90, 90), Window(90, 230, 30, 40), Window(0, 200, WIDTH, 200), Window(150, 250, 10, 10)]


def test_a_frames_quadmask_is_read_once_and_is_what_the_file_says(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    reads, read, path = [], classes.read, clip.scratch / "quadmask/quadmask.0001.exr"
    monkeypatch.setattr(classes, "read", lambda path, window: reads.append(path) or read(path, window))
    assert not clip.region(0).empty
    for window in WINDOWS:
        codes, wide = read(path, window), window.grown(1)
        assert np.array_equal(clip.codes(0, window), codes)
        given_up = extent.rewritten(read(path, wide), clip.footage.read_roto(1, wide))[1:-1, 1:-1]
        assert np.array_equal(clip.rewritten(0, window), given_up)
    assert reads == [path]


def test_a_jobs_frames_are_opened_no_more_often_than_they_need(shot: Path, tmp_path: Path) -> None:
    opened, opens = exr._opened, Counter[str]()

    def counted(path: Path) -> AbstractContextManager[Any]:
        opens[path.parent.name] += 1
        return opened(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exr, "_opened", counted)
        job = Shot(str(shot / "plate"), str(shot / "roto"), settings=Settings())
        pipeline.run("job", job, tmp_path / "v001", lambda _: None)
    frames = 12
    # four headers, to survey it, to recover, to match, to lay over; for grain and the sheet, a few
    assert opens["plate"] <= 10 * frames
    assert opens["roto"] <= 6 * frames
    # for the region, for the sheet
    assert opens["quadmask"] <= 5 * frames


def test_under_a_moving_camera_a_plate_is_read_once_for_all_that_the_engine_asks(tmp_path: Path) -> None:
    frames, size = range(1, 11), (256, 144)
    write_sample(tmp_path / "pan", "pan", size, frames)
    rows, read = Counter[str](), exr._read_rows

    def counted(path: Path, image: Any, part: int, asked: tuple[int, int], *rest: Any) -> NDArray[Any]:
        rows[path.relative_to(tmp_path).parent.as_posix()] += asked[1] - asked[0]
        return read(path, image, part, asked, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exr, "_read_rows", counted)
        job = Shot(str(tmp_path / "pan/plate"), str(tmp_path / "pan/roto"), settings=Settings())
        pipeline.run("job", job, tmp_path / "v001", lambda _: None)
    times = {name: count / (size[1] * len(frames)) for name, count in rows.items()}
    # to survey it, for the engine, to lay over; for the anchor, grain and the sheet, a few
    assert times["pan/plate"] < 5
    # for the sheet, where it is not the plate
    assert times["v001/plate"] < 0.45


def test_the_fill_of_a_run_is_loaded_without_those_of_others(tmp_path: Path) -> None:
    """A shot with many gaps takes no more memory than one with none."""
    write_sample(tmp_path / "pan", "pan", (128, 72), range(1, 31))
    roto = np.zeros((72, 128, 1), np.float16)
    roto[15:60, 25:105] = 1
    for file in (tmp_path / "pan/roto").glob("*.exr"):
        exr.write(file, roto, ("A",))
    load, sizes = arrays.load, dict.fromkeys(("1-3", "1-3,5-7,9-11"), 0)

    for frames in sizes:

        def noted(path: Path, frames: str = frames) -> dict[str, NDArray[Any]]:
            found = load(path)
            sizes[frames] = max(sizes[frames], sum(array.nbytes for array in found.values()))
            return found

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(arrays, "load", noted)
            settings = Settings(reasoner="none", grain=False)
            job = Shot(str(tmp_path / "pan/plate"), str(tmp_path / "pan/roto"), settings=settings, frames=frames)
            pipeline.run("job", job, tmp_path / f"v{frames}", lambda _: None)
    one, three = sizes.values()
    assert one > roto.size
    assert three < 1.5 * one


def counted(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> list[Window]:
    """The windows of plates that are read from here on."""
    reads, read = [], clip.footage.read_compact
    monkeypatch.setattr(clip.footage, "read_compact", lambda frame, window: reads.append(window) or read(frame, window))
    return reads


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_plates_are_read_once_and_are_the_plates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[np.floating]
) -> None:
    monkeypatch.setattr(sampling, "_TILE", 64)
    clip = clip_of(tmp_path, kind)
    near = [Window(20, 10, 100, 180), Window(30, 20, 200, 160), Window(50, 100, 80, 10)]
    far = [Window(300, 150, 50, 50), Window(20, 300, 10, 10)]
    expected = {window: clip.plate(1, window) for window in near + far}
    reads, plates = counted(clip, monkeypatch), Plates(clip)
    for window in near:
        assert np.array_equal(plates.read(1, window), expected[window])
    # a read a row of tiles, with the two to the right, as a camera that pans will ask for them next
    assert reads == [Window(0, y, 4 * 64, 64) for y in (0, 64, 128)]
    for window in far:
        assert np.array_equal(plates.read(1, window), expected[window])
    assert reads[3:] == [Window(128, 128, 272, 64), Window(128, 192, 272, 64), Window(0, 256, 3 * 64, 64)]


def test_of_plates_the_tiles_asked_for_last_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "_TILE", 64)
    monkeypatch.setattr(sampling, "_BESIDE", 0)
    monkeypatch.setattr(sampling, "_MEMORY", 2 * 64 * 64 * 3 * np.dtype(np.float16).itemsize)
    clip = clip_of(tmp_path, np.float16)
    first, second, third = (Window(x, 0, 64, 64) for x in (0, 64, 128))
    expected = {window: clip.plate(0, window) for window in (first, second, third)}
    reads, plates = counted(clip, monkeypatch), Plates(clip)
    for window in (first, second, first, third, first, second):
        assert np.array_equal(plates.read(0, window), expected[window])
    assert reads == [first, second, third, second]


def test_a_plate_of_finite_halves_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    footage = clip_of(tmp_path, np.float16).footage
    window, frame = Window(-2, 0, 50, 40), footage.frames[0]
    expected = exr.read_rgb(footage.plate.path(frame), window)
    monkeypatch.setattr(footage.colour, "to_linear", None)
    assert np.array_equal(footage.read_linear(frame, window), expected)
    broken = expected.astype(np.float16)
    broken[3, 4] = np.inf, 1, np.nan
    monkeypatch.setattr(footage.colour, "to_linear", lambda pixels: pixels)
    assert footage.linear(broken)[3, 4].tolist() == [0, 1, 0]


def test_positions_are_looked_up_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, look = [], sampling.lookup
    monkeypatch.setattr(sampling, "lookup", lambda image, at, *how: asked.append(len(at)) or look(image, at, *how))
    rng = np.random.default_rng(8)
    image, at = rng.random((60, 80, 3), np.float32), rng.random((50_000, 2), np.float32) * 55
    found = sampling.cubic(image, at)
    assert max(asked) < 20_000
    monkeypatch.setattr(sampling, "_PIECE", len(at))
    assert np.array_equal(sampling.cubic(image, at), found)


def test_the_blend_of_a_frames_region_is_made_once(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    made, make, region = [], extent.blend, clip.region(0)
    monkeypatch.setattr(extent, "blend", lambda mask, feather: made.append(mask) or make(mask, feather))
    expected = make(clip.rewritten(0, region), clip.feather)
    for _ in range(3):
        found = clip.blend(0, region)
        assert np.array_equal(found, expected)
        found[:] = 0
    assert len(made) == 1
    assert np.array_equal(clip.blend(0, region.grown(3))[3:-3, 3:-3], expected)


def test_a_frame_is_analysed_small_once(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, ask = [], clip.rewritten
    monkeypatch.setattr(clip, "rewritten", lambda index, window: asked.append(index) or ask(index, window))
    small = clip.small_rewritten(0).copy()
    assert np.array_equal(clip.small_rewritten(0), small)
    assert asked == [0]


def test_the_small_frames_of_a_long_shot_are_remembered_packed(clip: Clip) -> None:
    small = clip.small_rewritten(0)
    assert clip._small[0].nbytes <= small.size // 8 + len(small)
    assert not small.flags.writeable


@pytest.mark.parametrize("kind", ["_masks", "_blends", "_small"])
def test_of_long_shots_no_more_is_remembered_than_of_short_ones(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clips, kind.upper(), 1)
    clip = clip_of(tmp_path, np.float16)
    for index in range(len(clip)):
        clip.small_rewritten(index)
        clip.blend(index, clip.region(index))
    assert len(clip) > 1
    assert len(getattr(clip, kind)._values) == 1


def test_what_many_ask_for_is_made_by_one() -> None:
    begun, free, made = threading.Event(), threading.Event(), []

    def make(key: int) -> NDArray[np.float32]:
        made.append(key)
        begun.set()
        assert free.wait(60)
        return np.full(3, key, np.float32)

    kept = Recent(make, 2**20)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(kept.__getitem__, 5)
        assert begun.wait(60)
        second = pool.submit(kept.__getitem__, 5)
        free.set()
        assert first.result() is second.result() is kept[5]
    assert made == [5]


def test_what_fails_is_made_anew() -> None:
    failures = [OSError("no such file")]

    def make(key: str) -> NDArray[np.float32]:
        if failures:
            raise failures.pop()
        return np.zeros(len(key), np.float32)

    kept = Recent(make, 2**20)
    with pytest.raises(OSError, match="no such file"):
        kept["a"]
    assert len(kept["a"]) == 1
