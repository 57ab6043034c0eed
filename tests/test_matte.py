"""Which channels of a roto or a quadmask count: what is drawn, wherever a program has put it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import OpenImageIO as oiio  # noqa: N813
import pytest

from tests.conftest import write_sequence
from void_server import pipeline
from void_server.api.errors import ImageError, InputError, SequenceError
from void_server.api.shot import Settings, Shot
from void_server.api.version import VersionFolder
from void_server.imaging import exr, matte, sequence
from void_server.imaging.window import Window
from void_server.quadmask import classes
from void_server.quadmask.classes import AFFECTED, KEEP, OVERLAP, REMOVE

SIZE = Window(0, 0, 192, 108)
FRAMES = range(1001, 1013)
RNG = np.random.default_rng(3)

SHAPE = np.zeros((108, 192))
SHAPE[30:70, 60:100] = 1
CODES = np.full((108, 192), KEEP)
CODES[30:70, 60:100] = REMOVE
CODES[60:70, 60:100] = OVERLAP
CODES[70:90, 60:120] = AFFECTED


def save(path: Path, channels: dict[str, np.ndarray | float], kind: str = "uint8", **attributes: Any) -> None:
    """Write an image as a paint program does: alpha not multiplied into the colour."""
    spec = oiio.ImageSpec(192, 108, len(channels), kind)
    spec.channelnames = tuple(channels)
    spec.attribute("oiio:UnassociatedAlpha", 1)
    spec.alpha_channel = list(channels).index("A") if "A" in channels else -1
    for name, value in attributes.items():
        spec.attribute(name, value)
    pixels = np.stack([np.broadcast_to(np.asarray(values, np.float32), (108, 192)) for values in channels.values()], -1)
    path.parent.mkdir(exist_ok=True)
    output = oiio.ImageOutput.create(str(path))
    assert output.open(str(path), spec), output.geterror()
    assert output.write_image(np.ascontiguousarray(pixels, np.float32))
    assert output.close()


def written(
    folder: Path,
    channels: dict[str, Any] | Callable[[int], dict[str, Any]],
    suffix: str = "png",
    kind: str = "uint8",
    frames: range = FRAMES,
) -> sequence.Sequence:
    for frame in frames:
        save(folder / f"m.{frame}.{suffix}", channels(frame) if callable(channels) else channels, kind)
    return sequence.find(str(folder), "roto")


def rgb(values: Any, **more: Any) -> dict[str, Any]:
    return {"R": values, "G": values, "B": values, **more}


SOFT = cv2.GaussianBlur(SHAPE, (0, 0), 3)


@pytest.mark.parametrize(
    ("channels", "suffix", "kind", "note"),
    [
        (rgb(SHAPE, A=1.0), "png", "uint8", "read from R, G and B: alpha is 1 everywhere"),
        (rgb(SHAPE, A=1.0), "png", "uint16", "read from R, G and B: alpha is 1 everywhere"),
        (rgb(SHAPE, A=1.0), "tif", "uint16", "read from R, G and B: alpha is 1 everywhere"),
        (rgb(SHAPE, A=1.0), "tif", "float", "read from R, G and B: alpha is 1 everywhere"),
        (rgb(SHAPE, A=1.0), "exr", "half", "read from R, G and B: alpha is 1 everywhere"),
        (rgb(SHAPE, A=0.0), "png", "uint8", "read from R, G and B: alpha is 0 everywhere"),
        (rgb(SHAPE, A=0.0), "tif", "uint8", "read from R, G and B: alpha is 0 everywhere"),
        (rgb(SHAPE, A=0.0), "exr", "float", "read from R, G and B: alpha is 0 everywhere"),
        ({"R": SHAPE, "G": 0.0, "B": 0.0, "A": 1.0}, "png", "uint8", "read from R: alpha is 1 everywhere"),
        ({"R": SHAPE, "G": 0.5 * SHAPE, "B": 0.0}, "png", "uint8", "read from R and G: nothing is drawn in the others"),
        ({"R": 0.0, "G": SHAPE, "B": 0.0}, "png", "uint8", "read from G: nothing is drawn in the others"),
        (rgb(0.5 * SOFT, A=SOFT), "exr", "half", None),
        ({"R": RNG.random((108, 192)), "G": RNG.random((108, 192)), "B": SHAPE, "A": SOFT}, "exr", "float", None),
        (rgb(0.0, A=SOFT), "png", "uint8", None),
        (rgb(SOFT), "png", "uint8", None),
        (rgb(SOFT), "jpg", "uint8", None),
        ({"Y": SOFT}, "png", "uint16", None),
        ({"Y": SOFT}, "jpg", "uint8", None),
        ({"Y": SHAPE, "A": 1.0}, "png", "uint8", "read from Y: alpha is 1 everywhere"),
        ({"roto.mask": SOFT}, "exr", "half", None),
        ({"depth.Z": RNG.random((108, 192)), "roto.alpha": SOFT}, "exr", "float", None),
        (
            {"fg.alpha": 1.0, "person.alpha": SHAPE, "Z": RNG.random((108, 192))},
            "exr",
            "half",
            "read from person.alpha: fg.alpha is 1 everywhere",
        ),
    ],
)
def test_a_roto_is_read_from_the_channels_that_it_is_drawn_in(
    tmp_path: Path, channels: dict[str, Any], suffix: str, kind: str, note: str | None
) -> None:
    chosen = matte.choose(written(tmp_path / "m", channels, suffix, kind), "roto", tuple(FRAMES))
    read = exr.read_matte(chosen.path(1005), SIZE, chosen.channels)
    assert np.array_equal(read[SOFT > 0.7] >= 0.5, SHAPE[SOFT > 0.7] == 1)
    assert read[:20].max() < 0.1
    assert read[45, 80] > 0.9
    assert not chosen.notes if note is None else note in chosen.notes[0]


def test_a_roto_of_opencv_with_solid_alpha(tmp_path: Path) -> None:
    picture = np.dstack([np.repeat(SHAPE[..., None] * 255, 3, axis=-1), np.full((108, 192), 255)]).astype(np.uint8)
    for frame in FRAMES:
        assert cv2.imwrite(str(tmp_path / f"m.{frame}.png"), picture)
    chosen = matte.choose(sequence.find(str(tmp_path)), "roto", tuple(FRAMES))
    assert np.array_equal(exr.read_matte(chosen.path(1001), SIZE, chosen.channels), SHAPE)


def test_an_alpha_that_is_solid_but_for_its_edge_does_not_count(tmp_path: Path) -> None:
    frayed = np.ones((108, 192))
    frayed[0] = 0
    chosen = matte.choose(written(tmp_path / "m", rgb(SHAPE, A=frayed)), "roto", tuple(FRAMES))
    assert chosen.channels == ("R", "G", "B")
    assert "alpha leaves next to nothing open" in chosen.notes[0]


def test_an_object_that_comes_late_decides_for_all_frames(tmp_path: Path) -> None:
    frames = range(1001, 1041)
    late = written(
        tmp_path / "m", lambda frame: rgb(SHAPE if 1004 <= frame <= 1006 else 0.0, A=1.0), "png", "uint8", frames
    )
    assert matte.choose(late, "roto", tuple(frames)).channels == ("R", "G", "B")


def test_alpha_of_a_plate_in_which_the_object_was_not_seen_yet_stays_the_alpha(tmp_path: Path) -> None:
    """A plate with its roto in the alpha, and the object in a few frames that are not looked at."""
    frames, picture = range(1001, 1081), RNG.random((108, 192))

    def at(frame: int) -> dict[str, Any]:
        return {"R": picture, "G": picture[::-1], "B": picture[:, ::-1], "A": SHAPE if frame == 1003 else 0.0}

    seen = written(tmp_path / "m", at, "exr", "half", frames)
    assert matte.choose(seen, "roto", tuple(frames)).channels == ("A",)


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        (
            {"R": RNG.random((108, 192)), "G": RNG.random((108, 192)), "B": 0.0, "A": 1.0},
            "cannot be used: alpha is 1 everywhere, and R and G hold different pictures; write the one that you mean",
        ),
        (
            rgb(0.1 + 0.8 * RNG.random((108, 192))),
            "R, G and B hold a picture, not a matte; are plate and roto swapped",
        ),
        ({"Y": 0.1 + 0.8 * RNG.random((108, 192))}, "Y holds a picture, not a matte"),
        (
            rgb(0.0, A=0.4 * SOFT),
            "marks nothing: the highest value of its matte is 0.4, and from 0.5 on a pixel counts",
        ),
        (rgb(0.0, A=0.0), "is empty in all 12 frames; draw what to remove, into its alpha"),
    ],
)
def test_a_roto_that_is_not_clear_is_refused_with_its_reason(
    tmp_path: Path, channels: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        matte.choose(written(tmp_path / "m", channels), "roto", tuple(FRAMES))


def test_frames_with_other_channels_are_named(tmp_path: Path) -> None:
    mixed = written(tmp_path / "m", lambda frame: rgb(SHAPE) if frame < 1006 else {"Y": SHAPE})
    with pytest.raises(ImageError, match=r"m.#.png have different channels \(R, G, B, and Y\); write them all alike"):
        matte.choose(mixed, "roto", tuple(FRAMES))
    with pytest.raises(ImageError, match=r"m.1008.png has no channel R, unlike other frames, only Y"):
        exr.read_matte(mixed.path(1008), SIZE, ("R", "G", "B"))


@pytest.mark.parametrize(
    ("channels", "suffix", "kind", "note"),
    [
        (rgb(CODES / 255, A=1.0), "png", "uint8", "read from R, G and B: alpha is 1 everywhere"),
        (rgb(CODES / 255, A=1.0), "png", "uint16", "read from R, G and B: alpha is 1 everywhere"),
        (rgb(CODES / 255, A=1.0), "tif", "uint8", "read from R, G and B: alpha is 1 everywhere"),
        (rgb(CODES / 255, A=1.0), "exr", "half", "read from R, G and B: alpha is 1 everywhere"),
        (rgb(CODES / 255, A=0.0), "png", "uint8", "read from R, G and B: alpha is 0 everywhere"),
        (rgb(CODES / 255, A=(CODES < 90) * 0.4), "tif", "float", "from R, G and B: alpha holds no quadmask: 8% of its"),
        (rgb(0.0, A=CODES / 255), "png", "uint8", None),
        (rgb(CODES / 255, A=CODES / 255), "exr", "half", None),
        (rgb(CODES / 255), "png", "uint8", None),
        ({"Y": CODES / 255, "A": 1.0}, "png", "uint8", "read from Y"),
        ({"Y": CODES / 255}, "exr", "float", None),
    ],
)
def test_a_quadmask_is_read_from_the_channels_that_it_is_painted_in(
    tmp_path: Path, channels: dict[str, Any], suffix: str, kind: str, note: str | None
) -> None:
    chosen = classes.chosen(written(tmp_path / "m", channels, suffix, kind), tuple(FRAMES))
    assert np.array_equal(classes.read(chosen.path(1003), SIZE, chosen.channels), CODES)
    assert not chosen.notes if note is None else note in chosen.notes[0]


def test_two_quadmasks_in_one_file_are_not_clear(tmp_path: Path) -> None:
    both = written(tmp_path / "m", rgb(CODES / 255, A=(CODES < KEEP) * 1.0))
    with pytest.raises(ImageError, match="is not clear: alpha and R, G and B hold different ones"):
        classes.chosen(both, tuple(FRAMES))


# -- in a shot


def shot_of(folder: Path, **changes: Any) -> Shot:
    return Shot(**{"plate": str(folder / "plate"), "roto": str(folder / "roto"), **changes})


def run(shot: Shot, out: Path) -> tuple[VersionFolder, tuple[str, ...]]:
    out.mkdir()
    pipeline.inspect(shot)
    return VersionFolder(out), pipeline.run("0123456789ab", shot, out, lambda _: None)


def test_a_painted_png_with_solid_alpha_is_the_quadmask_and_the_artist_is_told(shot: Path, tmp_path: Path) -> None:
    written(tmp_path / "painted", rgb(CODES / 255, A=1.0))
    asked = shot_of(shot, quadmask=str(tmp_path / "painted"), settings=Settings(until="quadmask"))
    results, warnings = run(asked, tmp_path / "v001")
    assert np.array_equal(classes.read(results.quadmask(1004), SIZE), CODES)
    assert "The matte of the quadmask m.#.png was read from R, G and B: alpha is 1 everywhere." in warnings


def test_a_painted_roto_with_solid_alpha_removes_the_object(shot: Path, tmp_path: Path) -> None:
    written(tmp_path / "painted", rgb(SHAPE, A=1.0))
    settings = Settings(reasoner="none", until="quadmask")
    results, warnings = run(shot_of(shot, roto=str(tmp_path / "painted"), settings=settings), tmp_path / "v001")
    assert np.array_equal(classes.read(results.quadmask(1004), SIZE) == REMOVE, SHAPE == 1)
    assert any("was read from R, G and B" in text for text in warnings)


def test_a_quadmask_alone_says_what_the_object_is(shot: Path, tmp_path: Path) -> None:
    written(tmp_path / "painted", rgb(CODES / 255, A=1.0))
    results, _ = run(shot_of(shot, roto="", quadmask=str(tmp_path / "painted")), tmp_path / "v001")
    assert np.array_equal(classes.read(results.quadmask(1004), SIZE), CODES)
    blend = exr.read_channels(results.mattes(1004), ["void_blend.A"], SIZE)[..., 0]
    assert (blend[CODES != KEEP] == 1).all()
    assert not np.array_equal(exr.read_rgb(results.plate(1004)), exr.read_rgb(shot / "plate/plate.1004.exr"))


def test_plate_and_roto_swapped_are_refused(shot: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="are plate and roto swapped"):
        pipeline.inspect(shot_of(shot, roto=str(shot / "truth")))
    white = np.repeat(SHAPE[..., None], 3, axis=-1)
    plate = write_sequence(tmp_path / "plate", FRAMES, white)
    with pytest.raises(SequenceError, match="all black and white in frame 1001, like a matte; are plate and"):
        pipeline.inspect(shot_of(shot, plate=str(plate)))


def test_a_roto_given_as_the_quadmask_is_refused(shot: Path) -> None:
    with pytest.raises(SequenceError, match=r"quadmask roto.#.exr removes what lies around the roto roto.#.exr"):
        pipeline.inspect(shot_of(shot, quadmask=str(shot / "roto")))


def test_a_plate_is_its_own_roto_only_by_its_alpha(shot: Path, tmp_path: Path) -> None:
    with pytest.raises(SequenceError, match=r"are the same files, plate.#.exr, but their alpha holds no roto"):
        pipeline.inspect(shot_of(shot, roto=str(shot / "plate")))
    for frame in FRAMES:
        picture = exr.read_rgb(shot / f"plate/plate.{frame}.exr")
        both = np.dstack([picture, SHAPE]).astype(np.float16)
        exr.write(tmp_path / f"both/both.{frame}.exr", both, (*exr.RGB, "A"))
    both_in_one = str(tmp_path / "both")
    settings = Settings(reasoner="none", until="quadmask")
    results, warnings = run(Shot(both_in_one, both_in_one, settings=settings), tmp_path / "v001")
    assert np.array_equal(classes.read(results.quadmask(1004), SIZE) == REMOVE, SHAPE == 1)
    assert any("Plate and roto are the same files" in text for text in warnings)


def test_an_inverted_roto_is_a_warning(shot: Path, tmp_path: Path) -> None:
    written(tmp_path / "inverted", rgb(1 - SHAPE))
    settings = Settings(reasoner="none", until="quadmask")
    _, warnings = run(shot_of(shot, roto=str(tmp_path / "inverted"), settings=settings), tmp_path / "v001")
    assert any("of the frame or more in every frame" in text and "is it inverted?" in text for text in warnings)


def movie_of(path: Path, pictures: list[np.ndarray]) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 24, (192, 108))
    for picture in pictures:
        writer.write(np.ascontiguousarray(picture[..., ::-1] * 255).astype(np.uint8))
    writer.release()
    return path


def moving(count: int, colour: tuple[float, float, float] = (1, 1, 1)) -> list[np.ndarray]:
    """A square that moves two pixels a frame."""
    return [np.roll(SHAPE, 2 * index, axis=1)[..., None] * np.array(colour) for index in range(count)]


@pytest.mark.parametrize("colour", [(1, 1, 1), (0, 1, 0), (1, 0.5, 0)])
def test_a_movie_is_the_roto_of_a_plate_that_begins_at_1001(
    shot: Path, tmp_path: Path, colour: tuple[float, float, float]
) -> None:
    roto = movie_of(tmp_path / "roto.avi", moving(12, colour))
    settings = Settings(reasoner="none", until="quadmask")
    results, warnings = run(shot_of(shot, roto=str(roto), frames="1003-1005", settings=settings), tmp_path / "v001")
    for frame in (1003, 1005):
        removed = classes.read(results.quadmask(frame), SIZE) == REMOVE
        assert np.array_equal(removed, np.roll(SHAPE, 2 * (frame - 1001), axis=1) == 1)
    assert any("Frame 1 of the roto roto.avi is aligned with frame 1001, as both have 12 frames" in w for w in warnings)


def test_a_roto_from_1001_belongs_to_a_movie_of_as_many_frames(shot: Path, tmp_path: Path) -> None:
    plate = movie_of(tmp_path / "plate.avi", [0.4 * RNG.random((108, 192, 3)) for _ in FRAMES])
    settings = Settings(reasoner="none", until="quadmask")
    results, warnings = run(shot_of(shot, plate=str(plate), settings=settings), tmp_path / "v001")
    expected = exr.read_matte(shot / "roto/roto.1006.exr", SIZE) >= 0.5
    assert np.array_equal(classes.read(results.quadmask(6), SIZE) == REMOVE, expected)
    assert any("Frame 1001 of the roto roto.#.exr is aligned with frame 1" in text for text in warnings)


def test_a_movie_of_another_length_needs_the_offset(shot: Path, tmp_path: Path) -> None:
    roto = movie_of(tmp_path / "roto.avi", moving(20))
    with pytest.raises(
        SequenceError, match=r"has no frame 1001 .* it has 1-20.* shift its frame numbers with --roto-offset"
    ):
        pipeline.inspect(shot_of(shot, roto=str(roto)))
    with pytest.raises(SequenceError, match="it has 981-1000 with --roto-offset 980"):
        pipeline.inspect(shot_of(shot, roto=str(roto), roto_offset=980))
    settings = Settings(reasoner="none", until="quadmask")
    results, _ = run(shot_of(shot, roto=str(roto), roto_offset=995, settings=settings), tmp_path / "v001")
    removed = classes.read(results.quadmask(1001), SIZE) == REMOVE
    assert np.array_equal(removed, np.roll(SHAPE, 2 * 5, axis=1) == 1)


def test_the_quadmask_has_an_offset_of_its_own(shot: Path, tmp_path: Path) -> None:
    quadmask = movie_of(
        tmp_path / "quadmask.avi", [np.roll(CODES, i, 1)[..., None] / 255 * np.ones(3) for i in range(20)]
    )
    asked = shot_of(shot, quadmask=str(quadmask), quadmask_offset=995, settings=Settings(until="quadmask"))
    results, _ = run(asked, tmp_path / "v001")
    assert np.array_equal(classes.read(results.quadmask(1001), SIZE), np.roll(CODES, 5, axis=1))
