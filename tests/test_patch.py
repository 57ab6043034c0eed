"""The patch of a result: laid over the plate by any compositing program, it is the result."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import OpenImageIO as oiio  # noqa: N813
import pytest
from numpy.typing import NDArray

from void_server import pipeline
from void_server.api.job import Progress
from void_server.api.shot import Settings, Shot
from void_server.api.version import VersionFolder
from void_server.imaging import exr
from void_server.imaging.window import Window

pytestmark = pytest.mark.slow

SIZE = Window(0, 0, 192, 108)
FRAMES = range(1001, 1007)
RGBA = (*exr.RGB, "A")


def ignore(progress: Progress) -> None:
    del progress


def run(folder: Path, out: Path, **settings: object) -> VersionFolder:
    out.mkdir(parents=True, exist_ok=True)
    shot = Shot(str(folder / "plate"), str(folder / "roto"), frames="1001-1006", settings=Settings.from_dict(settings))
    pipeline.run("0123456789ab", shot, out, ignore)
    return VersionFolder(out)


def plate_of(folder: Path, frame: int) -> Path:
    return folder / "plate" / f"plate.{frame}.exr"


def merged(plate: Path, patch: Path) -> NDArray[np.float32]:
    """A plain Merge (over) of two files in OpenImageIO, RGB in the plate's data window."""
    below = oiio.ImageBuf(str(plate))
    # over wants four channels on both sides; what the plate's alpha is does not count
    below = oiio.ImageBufAlgo.channels(below, ("R", "G", "B", 1.0), ("R", "G", "B", "A"))
    over = oiio.ImageBufAlgo.over(oiio.ImageBuf(str(patch)), below)
    assert not over.has_error, over.geterror()
    pixels = np.asarray(over.get_pixels(oiio.FLOAT, below.roi), np.float32)
    return pixels[..., :3]


def patch_of(version: VersionFolder, frame: int) -> NDArray[np.float32]:
    return exr.read_channels(version.patch(frame), RGBA, SIZE)


def check_over(plate: Path, version: VersionFolder, frame: int) -> None:
    """The patch over the plate is the result, as the result's own kind of floats holds it."""
    header = exr.read_header(plate)
    result = exr.read_rgb(version.plate(frame))
    over = merged(plate, version.patch(frame))
    kind = np.float16 if header.half else np.float32
    limit = exr.HALF_MAX if header.half else np.inf
    expected = np.clip(over, -limit, limit).astype(kind)
    # one step of the last place, where a program adds and multiplies at once
    steps = np.abs(expected.astype(np.float64) - result.astype(kind)) / np.spacing(np.abs(result).astype(kind))
    assert steps.max() <= 1
    assert np.mean(expected == result.astype(kind)) > 0.9999


@pytest.fixture(scope="module", params=["half", "float"])
def contrasty(request: pytest.FixtureRequest, shot: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample with an object as bright as 60000, and values below 0; in half or whole floats."""
    folder = tmp_path_factory.mktemp(request.param)
    kind = np.float16 if request.param == "half" else np.float32
    (folder / "roto").symlink_to(shot / "roto")
    for frame in FRAMES:
        rgb = exr.read_rgb(plate_of(shot, frame))
        rgb[:, ::7] *= 100
        rgb[::5] -= 0.02
        rgb[exr.read_matte(shot / "roto" / f"roto.{frame}.exr", SIZE) > 0.5] = 60000
        exr.write(plate_of(folder, frame), rgb.astype(kind), exr.RGB)
    return folder


@pytest.fixture(scope="module")
def done(contrasty: Path, tmp_path_factory: pytest.TempPathFactory) -> VersionFolder:
    return run(contrasty, tmp_path_factory.mktemp("done") / "v001")


def test_the_patch_over_the_plate_is_the_result(contrasty: Path, done: VersionFolder) -> None:
    for frame in FRAMES:
        check_over(plate_of(contrasty, frame), done, frame)


def test_the_patch_is_the_blend_and_holds_only_what_is_new(contrasty: Path, done: VersionFolder) -> None:
    half = exr.read_header(plate_of(contrasty, 1001)).half
    for frame in FRAMES:
        header = exr.read_header(done.patch(frame))
        assert (header.channels, header.half, header.display_window) == (RGBA, half, SIZE)
        rgba = patch_of(done, frame)
        blend = exr.read_channels(done.mattes(frame), ["void_blend.A"], SIZE)[..., 0]
        assert np.array_equal(rgba[..., 3], blend)
        assert not rgba[blend == 0].any()
        assert ((blend > 0) & (blend < 1)).any()
        rows, columns = np.nonzero(blend)
        left, top = columns.min(), rows.min()
        assert header.data_window == Window(left, top, columns.max() - left + 1, rows.max() - top + 1)


def test_dark_pixels_stay_exact_in_front_of_bright_ones(done: VersionFolder) -> None:
    """Mixed as plate + (new - plate) they would lose all but a few bits to the plate."""
    for frame in FRAMES:
        rgba = patch_of(done, frame)
        whole = rgba[..., 3] == 1
        assert np.array_equal(exr.read_rgb(done.plate(frame))[whole], rgba[..., :3][whole])


def test_a_frame_without_anything_new_has_a_patch_of_one_empty_pixel(shot: Path, tmp_path: Path) -> None:
    """A file of every frame, so that a Read does not stumble, and Merge changes nothing."""
    empty = 1003
    (tmp_path / "plate").symlink_to(shot / "plate")
    for frame in FRAMES:
        alpha = exr.read_channels(shot / "roto" / f"roto.{frame}.exr", ["A"], SIZE)
        exr.write(tmp_path / "roto" / f"roto.{frame}.exr", (alpha * (frame != empty)).astype(np.float16), ["A"])
    version = run(tmp_path, tmp_path / "v001", reasoner="none")
    header = exr.read_header(version.patch(empty))
    assert (header.data_window, header.display_window) == (Window(0, 0, 1, 1), SIZE)
    assert not patch_of(version, empty).any()
    for frame in FRAMES:
        check_over(plate_of(shot, frame), version, frame)


def test_the_patch_of_a_plate_with_overscan_stays_in_its_data_window(shot: Path, tmp_path: Path) -> None:
    """Data windows smaller, larger and beside the format, one per frame, and pixels twice as wide."""
    (tmp_path / "roto").symlink_to(shot / "roto")
    for index, frame in enumerate(FRAMES):
        data = Window(-4 + 9 * index, 12 * index, 180 + 4 * index, 100)
        pixels = np.full((data.height, data.width, 3), 0.2, np.float16)
        inner = data.intersection(SIZE)
        pixels[data.slices(inner)] = exr.read_rgb(plate_of(shot, frame))[SIZE.slices(inner)]
        exr.write(plate_of(tmp_path, frame), pixels, exr.RGB, data_window=data, display_window=SIZE, pixel_aspect=2)
    version = run(tmp_path, tmp_path / "v001")
    for frame in FRAMES:
        header, plate = exr.read_header(version.patch(frame)), exr.read_header(plate_of(tmp_path, frame))
        assert (header.display_window, header.pixel_aspect) == (SIZE, 2)
        assert header.data_window == header.data_window.intersection(plate.data_window)
        check_over(plate_of(tmp_path, frame), version, frame)


def test_a_job_that_lost_a_patch_writes_it_again(shot: Path, tmp_path: Path) -> None:
    version = run(shot, tmp_path / "v001")
    manifest = json.loads(version.manifest.read_text())
    whole = [patch_of(version, frame) for frame in FRAMES]
    version.patch(1002).unlink()
    version.patch(1004).write_bytes(b"")
    run(shot, tmp_path / "v001")
    assert np.array_equal([patch_of(version, frame) for frame in FRAMES], whole)
    assert json.loads(version.manifest.read_text())["frames"] == manifest["frames"]


@pytest.mark.parametrize("until", ["roto", "quadmask"])
def test_without_a_plate_there_is_no_patch(until: str, shot: Path, tmp_path: Path) -> None:
    version = run(shot, tmp_path / "v001", until=until)
    assert not version.patch(1001).parent.exists()
