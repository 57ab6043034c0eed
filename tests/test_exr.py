"""Frames of every kind that Nuke writes come back as they were."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio  # noqa: N813
import pytest

from void_server.api.errors import ImageError, InputError
from void_server.imaging import blocks, exr
from void_server.imaging.window import Window

ROOT = Path(__file__).resolve().parents[1]
RNG = np.random.default_rng(1)


def spec(width: int, height: int, channels: tuple[str, ...], kind: str = "half", **attributes: Any) -> oiio.ImageSpec:
    made = oiio.ImageSpec(width, height, len(channels), kind)
    made.channelnames = channels
    for name, value in attributes.items():
        made.attribute(name, value)
    return made


def write_parts(path: Path, *parts: tuple[oiio.ImageSpec, np.ndarray]) -> Path:
    output = oiio.ImageOutput.create(str(path))
    specs = tuple(s for s, _ in parts)
    assert output.open(str(path), specs) if len(specs) > 1 else output.open(str(path), specs[0])
    for number, (part, pixels) in enumerate(parts):
        if number:
            assert output.open(str(path), part, "AppendSubimage")
        assert output.write_image(pixels)
    output.close()
    return path


def noise(height: int, width: int, channels: int, kind: type = np.float16) -> np.ndarray:
    return (RNG.random((height, width, channels)) * 20 - 1).astype(kind)


def rewritten(source: Path, window: Window) -> tuple[Path, np.ndarray]:
    """The source with its diagonal pixels of ``window`` set to 0.25."""
    where = np.eye(window.height, window.width, dtype=bool)
    target = source.with_name("result.exr")
    exr.rewrite(source, target, window, where, lambda rgb: np.full_like(rgb, 0.25))
    return target, where


def parts_of(path: Path) -> list[tuple[oiio.ImageSpec, np.ndarray]]:
    image = oiio.ImageInput.open(str(path))
    found = []
    while image.seek_subimage(len(found), 0):
        found.append((image.spec(), image.read_image(len(found), 0, 0, image.spec().nchannels, "unknown")))
    image.geterror()
    image.close()
    return found


@pytest.mark.parametrize(
    ("kind", "tile", "compression"),
    [("half", 0, "zip"), ("float", 0, "zips"), ("half", 16, "piz"), ("float", 32, "none"), ("half", 0, "dwaa")],
)
def test_only_what_is_meant_changes(tmp_path: Path, kind: str, tile: int, compression: str) -> None:
    made = spec(48, 40, ("R", "G", "B", "A", "Z"), kind, compression=compression)
    made.tile_width = made.tile_height = tile
    source = write_parts(tmp_path / "in.exr", (made, noise(40, 48, 5, np.float16 if kind == "half" else np.float32)))
    before = parts_of(source)[0][1]
    target, where = rewritten(source, Window(0, 0, 48, 40))
    after_spec, after = parts_of(target)[0]
    assert str(after_spec.format) == kind
    assert (after[where][:, :3] == 0.25).all()
    assert np.array_equal(after[~where], before[~where])
    assert np.array_equal(after[..., 3:], before[..., 3:])


def test_windows_aspect_and_metadata_stay(tmp_path: Path) -> None:
    made = spec(20, 10, exr.RGB, PixelAspectRatio=2.0, **{"nuke/node_hash": "ab12"})
    made.x, made.y, made.full_x, made.full_y, made.full_width, made.full_height = -3, 4, 0, 0, 16, 16
    source = write_parts(tmp_path / "in.exr", (made, noise(10, 20, 3)))
    target, _ = rewritten(source, Window(-3, 4, 20, 10))
    header = exr.read_header(target)
    assert header.data_window == Window(-3, 4, 20, 10)
    assert header.display_window == Window(0, 0, 16, 16)
    assert header.pixel_aspect == 2.0
    before, after = ({a.name: a.value for a in parts_of(p)[0][0].extra_attribs} for p in (source, target))
    assert after == before
    assert after["nuke/node_hash"] == "ab12"


def test_a_window_beyond_the_data_window_reads_as_black_and_writes_inside_only(tmp_path: Path) -> None:
    made = spec(8, 8, exr.RGB)
    made.x, made.y = 2, 2
    pixels = noise(8, 8, 3)
    source = write_parts(tmp_path / "in.exr", (made, pixels))
    wide = Window(0, 0, 12, 12)
    read = exr.read_rgb(source, wide)
    assert np.array_equal(read[2:10, 2:10], pixels.astype(np.float32))
    assert read[:2].max() == read[:, 10:].max() == 0
    target, where = rewritten(source, wide)
    assert exr.read_header(target).data_window == Window(2, 2, 8, 8)
    assert (exr.read_rgb(target, wide)[2:10, 2:10][where[2:10, 2:10]] == 0.25).all()


def test_other_parts_pass_through(tmp_path: Path) -> None:
    beauty = spec(8, 6, exr.RGB, **{"oiio:subimagename": "beauty"})
    ids = spec(8, 6, ("id",), "uint", **{"oiio:subimagename": "ids"})
    numbers = RNG.integers(0, 2**32, (6, 8, 1), dtype=np.uint32)
    source = write_parts(tmp_path / "in.exr", (ids, numbers), (beauty, noise(6, 8, 3)))
    target, where = rewritten(source, Window(0, 0, 8, 6))
    after = parts_of(target)
    assert [s.getattribute("oiio:subimagename") for s, _ in after] == ["ids", "beauty"]
    assert np.array_equal(after[0][1], numbers)
    assert (after[1][1][where] == 0.25).all()


def test_not_a_number_passes_through_bit_for_bit(tmp_path: Path) -> None:
    pixels = noise(4, 4, 3)
    pixels.view(np.uint16)[0, 1] = 0x7D01
    pixels[1, 0] = np.inf
    source = write_parts(tmp_path / "in.exr", (spec(4, 4, exr.RGB), pixels))
    target, where = rewritten(source, Window(0, 0, 4, 4))
    after = parts_of(target)[0][1]
    assert np.array_equal(after.view(np.uint16)[~where], parts_of(source)[0][1].view(np.uint16)[~where])


def test_values_beyond_half_are_clipped_not_infinite(tmp_path: Path) -> None:
    source = write_parts(tmp_path / "in.exr", (spec(4, 4, exr.RGB), noise(4, 4, 3)))
    target = tmp_path / "out.exr"
    exr.rewrite(source, target, Window(0, 0, 4, 4), np.ones((4, 4), bool), lambda rgb: np.full_like(rgb, 1e9))
    assert (exr.read_rgb(target) == exr.HALF_MAX).all()


def test_half_colour_beside_whole_floats_is_clipped_not_infinite(tmp_path: Path) -> None:
    made = spec(4, 4, (*exr.RGB, "Z"), "float")
    made.channelformats = ("half", "half", "half", "float")
    source = write_parts(tmp_path / "in.exr", (made, noise(4, 4, 4, np.float32)))
    target = tmp_path / "out.exr"
    exr.rewrite(source, target, Window(0, 0, 4, 4), np.ones((4, 4), bool), lambda rgb: np.full_like(rgb, 1e9))
    assert (exr.read_rgb(target) == exr.HALF_MAX).all()
    assert np.array_equal(parts_of(target)[0][1][..., 3], parts_of(source)[0][1][..., 3])


def test_stereo_is_refused(tmp_path: Path) -> None:
    views = [spec(4, 4, exr.RGB, view=v, **{"oiio:subimagename": v}) for v in ("left", "right")]
    source = write_parts(tmp_path / "in.exr", *((view, noise(4, 4, 3)) for view in views))
    with pytest.raises(ImageError, match=r"several views \(left, right\); write one view"):
        exr.read_header(source)


def test_colour_mixed_with_whole_numbers_is_refused(tmp_path: Path) -> None:
    made = spec(4, 4, ("R", "G", "B", "id"), "float")
    made.channelformats = (oiio.TypeHalf, oiio.TypeHalf, oiio.TypeHalf, oiio.TypeUInt32)
    source = write_parts(tmp_path / "in.exr", (made, noise(4, 4, 4, np.float32)))
    with pytest.raises(ImageError, match="part of their own"):
        rewritten(source, Window(0, 0, 4, 4))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.exr"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"no image at all", "cannot be read as an image"), (None, "does not exist"), ("cut", "damaged or cut short")],
)
def test_bad_files_are_named(tmp_path: Path, content: bytes | str | None, message: str) -> None:
    path = tmp_path / "bad.1007.exr"
    if content == "cut":
        whole = write_parts(tmp_path / "whole.exr", (spec(64, 64, exr.RGB), noise(64, 64, 3))).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"bad.1007.exr .*{message}"):
        exr.read_rgb(path)


def test_a_plate_without_rgb_names_its_channels(tmp_path: Path) -> None:
    source = write_parts(tmp_path / "in.exr", (spec(4, 4, ("Z",)), noise(4, 4, 1)))
    with pytest.raises(ImageError, match=r"no channels R, G and B, only Z"):
        exr.read_header(source)


@pytest.mark.parametrize(
    ("channels", "index"),
    [(("R", "G", "B", "A"), 3), (("Y",), 0), (("R", "G", "B"), 0), (("depth.Z", "roto.alpha"), 1)],
)
def test_which_channel_is_the_matte(channels: tuple[str, ...], index: int) -> None:
    assert exr.matte_channels(Path("roto.exr"), channels)[0][0] == channels[index]


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    blocked = tmp_path / "plate.exr"
    blocked.mkdir()
    with pytest.raises(OSError, match="plate"):
        exr.write(blocked, noise(4, 4, 3), exr.RGB)
    assert [p.name for p in tmp_path.iterdir()] == ["plate.exr"]


def test_a_header_that_claims_too_much_is_refused_before_pixels_are_read(tmp_path: Path) -> None:
    """A file of some kilobytes may claim any number of pixels and channels."""
    channels = (*exr.RGB, *(f"a.{number}" for number in range(1022)))
    write_parts(tmp_path / "many.exr", (spec(1, 1, channels), np.zeros((1, 1, 1025), np.float16)))
    exr.write(tmp_path / "large.exr", np.zeros((600, 600, 3), np.float16), exr.RGB)
    most = oiio.get_int_attribute("limits:imagesize_MB")
    assert most == 16 << 10
    oiio.attribute("limits:imagesize_MB", 1)
    try:
        for name in ("many", "large"):
            for read in (exr.read_header, exr.channel_names, exr.windows, exr.read_rgb):
                with pytest.raises(ImageError, match="cannot be read as an image"):
                    read(tmp_path / f"{name}.exr")
    finally:
        oiio.attribute("limits:imagesize_MB", most)


def packed(path: Path) -> list[bytes]:
    """The blocks of rows as the file holds them."""
    found, content = blocks.find(path), path.read_bytes()
    assert found is not None
    ends = [*map(int, found.offsets[1:]), len(content)]
    return [content[begin:end] for begin, end in zip(map(int, found.offsets), ends, strict=True)]


@pytest.mark.parametrize("compression", ["none", "rle", "zips", "zip", "piz"])
@pytest.mark.parametrize("rows", [(0, 3), (37, 58), (97, 101)])
def test_blocks_of_rows_without_new_pixels_are_copied_as_they_are(
    tmp_path: Path, compression: str, rows: tuple[int, int]
) -> None:
    made = spec(70, 101, ("A", "B", "G", "R"), compression=compression)
    made.x, made.y, made.full_x, made.full_y, made.full_width, made.full_height = -5, -7, 0, 0, 60, 90
    source, target = write_parts(tmp_path / "plate.exr", (made, noise(101, 70, 4))), tmp_path / "result.exr"
    window = Window(10, -7 + rows[0], 20, rows[1] - rows[0])
    where = np.ones((window.height, window.width), bool)
    exr.rewrite(source, target, window, where, lambda rgb: np.full_like(rgb, 0.25), {"void/job": "one"})

    before, after = packed(source), packed(target)
    height = {"zip": 16, "piz": 32}.get(compression, 1)
    touched = set(range(rows[0] // height, -(-rows[1] // height)))
    assert {number for number, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]} == touched
    (said, pixels), (_, plate) = parts_of(target)[0], parts_of(source)[0]
    plate[rows[0] : rows[1], 15:35, :3] = 0.25  # OpenImageIO sorts them: R, G, B, A
    assert np.array_equal(pixels, plate)
    assert (said.x, said.y, said.width, said.height, said.full_width) == (-5, -7, 70, 101, 60)
    assert said.getattribute("void/job") == "one"
    assert said.getattribute("compression") == compression


def test_a_plate_with_nothing_new_keeps_its_packed_pixels(tmp_path: Path) -> None:
    source = write_parts(tmp_path / "plate.exr", (spec(40, 50, exr.RGB, compression="zip:9"), noise(50, 40, 3)))
    exr.rewrite(source, tmp_path / "result.exr", Window(0, 0, 1, 1), np.zeros((1, 1), bool), np.copy)
    assert packed(source)[1:] == packed(tmp_path / "result.exr")[1:]


def test_a_plate_whose_blocks_are_not_where_it_says_is_refused(tmp_path: Path) -> None:
    source = write_parts(tmp_path / "plate.exr", (spec(40, 50, exr.RGB, compression="zip"), noise(50, 40, 3)))
    found, content = blocks.find(source), bytearray(source.read_bytes())
    assert found is not None
    at = int(found.offsets[2])
    content[at : at + 4] = b"\x07\0\0\0"
    source.write_bytes(content)
    with pytest.raises(ImageError, match="damaged"):
        exr.rewrite(source, tmp_path / "result.exr", Window(0, 0, 4, 4), np.ones((4, 4), bool), np.copy)
    assert list(tmp_path.iterdir()) == [source]


def test_a_plate_whose_blocks_or_attributes_are_huge_is_rewritten(tmp_path: Path) -> None:
    """A block of 16 rows with some 70 channels of noise, or a note, has more bytes than most headers together."""
    wide = spec(4096, 32, (*exr.RGB, *(f"a.{number}" for number in range(67))), "float", compression="zip")
    pixels = RNG.random((32, 4096, 70), np.float32)
    source = write_parts(tmp_path / "wide.exr", (wide, pixels))
    exr.rewrite(source, tmp_path / "result.exr", Window(0, 0, 1, 1), np.ones((1, 1), bool), lambda rgb: rgb * 0)
    assert packed(source)[1] == packed(tmp_path / "result.exr")[1]
    assert len(packed(source)[1]) > 2**24
    for name, sizes in {"one": (17 << 20,), "two": (9 << 20, 9 << 20)}.items():
        noted = spec(40, 50, exr.RGB, **{f"note{number}": "x" * size for number, size in enumerate(sizes)})
        source = write_parts(tmp_path / f"{name}.exr", (noted, noise(50, 40, 3)))
        target, _ = rewritten(source, Window(0, 0, 4, 4))
        (said, after), (_, before) = parts_of(target)[0], parts_of(source)[0]
        assert len(said.getattribute("note0")) == sizes[0]
        assert np.array_equal(after[4:], before[4:])


@pytest.mark.parametrize(
    "window", [Window(10, 5, 40, 20), Window(-3, -2, 7, 5), Window(40, 60, 57, 38), Window(0, 0, 0, 0)]
)
def test_rows_that_are_all_alike_are_packed_once(
    window: Window, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, names, beyond = Window(-3, -2, 100, 100), ("a", "b.keep"), (0.0, 1.0)
    pixels = np.random.default_rng(3).random((window.height, window.width, 2)).astype(np.float16)
    packed, write_parts = [], exr._write_parts

    def counted(path: Path, parts: list[tuple[oiio.ImageSpec, Any]]) -> None:
        packed.append(sum(spec.height for spec, _ in parts))
        write_parts(path, parts)

    monkeypatch.setattr(exr, "_write_parts", counted)
    display, file = Window(0, 0, 96, 96), tmp_path / "mattes.exr"
    exr.write_within(
        file, pixels, window, beyond, names, data_window=data, display_window=display, metadata={"void/job": "one"}
    )
    assert packed == [window.height + 1]
    assert exr.windows(file) == (data, display)
    expected = np.broadcast_to(np.float16(beyond), (100, 100, 2)).copy()
    expected[data.slices(window)] = pixels
    assert np.array_equal(exr.read_channels(file, names, data), expected)
    with exr._opened(file) as image:
        assert image.spec().getattribute("void/job") == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["mattes.exr"]


WRITES = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from void_server.imaging import exr
pixels = np.random.default_rng(0).random((64, 96, 3)).astype(np.float16)
path = Path(sys.argv[1])
exr.write(path, pixels, exr.RGB)
whole = path.stat().st_size
path.unlink()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for lost in range(1, 9000, 500):
    resource.setrlimit(resource.RLIMIT_FSIZE, (whole - lost, resource.RLIM_INFINITY))
    try:
        exr.write(path, pixels, exr.RGB)
    except OSError:
        assert not any(path.parent.iterdir()), "nothing half-written is left"
    else:
        sys.exit(f"{lost} bytes were lost, and nothing was said")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_frame_whose_last_bytes_found_no_room_is_not_written(tmp_path: Path) -> None:
    """A file that may not grow beyond some size fails as one on a full disk, or of a user whose quota is used up."""
    folder = tmp_path / "frames"
    folder.mkdir()
    words = [sys.executable, "-c", WRITES, str(folder / "a.exr")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


def test_some_rows_of_a_tiled_file_are_read_without_unpacking_all_of_it(tmp_path: Path) -> None:
    """Rows far from a damaged tile can be read."""
    made = spec(50, 130, exr.RGB, compression="zip")
    made.x, made.y, made.tile_width, made.tile_height = -7, 11, 16, 32
    pixels = noise(130, 50, 3)
    path = write_parts(tmp_path / "tiled.exr", (made, pixels))
    for top, end in ((11, 12), (40, 80), (43, 75), (140, 141), (11, 141)):
        assert np.array_equal(exr.read_rgb(path, Window(-7, top, 50, end - top)), pixels[top - 11 : end - 11])
    path.write_bytes(path.read_bytes()[:-10])
    assert np.array_equal(exr.read_rgb(path, Window(-7, 11, 50, 20)), pixels[:20])
    with pytest.raises(ImageError, match="damaged or cut short"):
        exr.read_rgb(path, Window(-7, 140, 50, 1))


def test_what_is_written_is_zipped_at_the_quickest_level(tmp_path: Path) -> None:
    pixels = np.clip(RNG.normal(0.4, 0.02, (64, 96, 3)), 0, 1).astype(np.float16)

    def written(compression: str) -> Path:
        made = spec(96, 64, exr.RGB, compression=compression)
        return write_parts(tmp_path / f"{compression.replace(':', '_')}.exr", (made, pixels))

    quick, slow = written("zip:1"), written("zip:9")
    blocks_of = [blocks.find(path) for path in (quick, slow)]
    assert not np.array_equal(blocks_of[0].offsets, blocks_of[1].offsets)
    exr.write(tmp_path / "new.exr", pixels, exr.RGB)
    exr.rewrite(slow, tmp_path / "over.exr", Window(0, 0, 96, 64), np.ones((64, 96), bool), lambda rgb: rgb)
    for name in ("new", "over"):
        offsets = blocks.find(tmp_path / f"{name}.exr").offsets
        assert np.array_equal(np.diff(offsets), np.diff(blocks_of[0].offsets))
