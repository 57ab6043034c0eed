"""Sequences are found the way artists name them."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from void_server.api.errors import SequenceError
from void_server.imaging import sequence


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for frame in (997, 998, 999, 1000, 1001):
        (tmp_path / f"shot.v2.{frame:04d}.exr").touch()
    return tmp_path


@pytest.mark.parametrize(
    "text",
    [
        "shot.v2.%04d.exr",
        "shot.v2.####.exr",
        "shot.v2.#.exr",
        "shot.v2.997-1001#.exr",
        "shot.v2.997-1001####.exr",
        "shot.v2.[0997-1001].exr",
        "shot.v2.$F4.exr",
        "shot.v2.@@@@.exr",
        "",
    ],
)
def test_every_notation_finds_the_same(folder: Path, text: str) -> None:
    found = sequence.find(str(folder / text))
    assert found.frames == (997, 998, 999, 1000, 1001)
    assert found.path(1000) == folder / "shot.v2.1000.exr"


def test_one_file_of_a_sequence_stands_for_the_sequence_and_that_is_said(folder: Path) -> None:
    found = sequence.find(str(folder / "shot.v2.0999.exr"), "plate")
    assert found.frames == (997, 998, 999, 1000, 1001)
    assert found.notes == (
        "The plate names one file, shot.v2.0999.exr; the whole sequence is used, 997-1001. Limit it with --frames.",
    )


def test_a_file_that_is_alone_needs_no_words(tmp_path: Path) -> None:
    (tmp_path / "still.0999.exr").touch()
    found = sequence.find(str(tmp_path / "still.0999.exr"), "plate")
    assert (found.frames, found.notes) == ((999,), ())


def test_negative_frames(tmp_path: Path) -> None:
    for frame in (-2, -1, 0, 1):
        (tmp_path / f"a.{frame:04d}.exr").touch()
    assert sequence.find(str(tmp_path / "a.%04d.exr")).frames == (-2, -1, 0, 1)
    assert sequence.find(str(tmp_path)).frames == (-2, -1, 0, 1)


def test_a_dash_before_the_number_is_no_sign_where_it_parts_it_from_the_name(tmp_path: Path) -> None:
    """Else the shot would run backwards."""
    for frame in (1001, 1002, 1003):
        (tmp_path / f"sh-010_v2-{frame}.exr").touch()
    for named in (tmp_path, tmp_path / "sh-010_v2-1002.exr", tmp_path / "sh-010_v2-%04d.exr"):
        found = sequence.find(str(named), "plate")
        assert found.frames == (1001, 1002, 1003)
        assert found.path(1001) == tmp_path / "sh-010_v2-1001.exr"


@pytest.mark.parametrize("notation", ["a-[1-2].exr", "a-[0001-0002].exr", "a-1-2#.exr", "a-0001-0002####.exr"])
def test_a_dash_before_a_range_is_no_sign_either(tmp_path: Path, notation: str) -> None:
    for frame in (1, 2, 3):
        (tmp_path / f"a-{frame:04d}.exr").touch()
    assert sequence.find(str(tmp_path / notation)).frames == (1, 2)


@pytest.mark.parametrize("notation", ["a.-2--1#.exr", "a.[-2--1].exr", "a.-2,-1@.exr"])
def test_a_range_may_begin_below_zero(tmp_path: Path, notation: str) -> None:
    for frame in (-2, -1, 0):
        (tmp_path / f"a.{frame:05d}.exr").touch()
    assert sequence.find(str(tmp_path / notation)).frames == (-2, -1)


@pytest.mark.parametrize("notation", ["a.####.left.exr", "a.%04d.left.exr", "a.1001-1002#.left.exr", "a.1001.left.exr"])
def test_a_number_need_not_stand_last(tmp_path: Path, notation: str) -> None:
    for frame in (1001, 1002):
        (tmp_path / f"a.{frame}.left.exr").touch()
    assert sequence.find(str(tmp_path / notation)).frames == (1001, 1002)


def test_a_folder_may_hold_one_file_whose_number_does_not_stand_last(tmp_path: Path) -> None:
    (tmp_path / "a.1001.left.exr").touch()
    assert sequence.find(str(tmp_path)).frames == (1001,)


@pytest.mark.parametrize("name", ["plate (1) #3.", "100% [a] {b}.", "größe x_", "sh-010_v2-", ""])
def test_a_name_may_hold_whatever_a_notation_could_mean(tmp_path: Path, name: str) -> None:
    for frame in (1, 2):
        (tmp_path / f"{name}{frame:04d}.exr").touch()
    notations = [f"{name}{padding}.exr" for padding in ("%04d", "%d", "####", "@", "$F4")]
    for named in (tmp_path, tmp_path / f"{name}0002.exr", *(tmp_path / one for one in notations)):
        assert sequence.find(str(named)).frames == (1, 2)


@pytest.mark.parametrize("padding", ["%04d", "%d", "####", "@", "$F4", "[1001-1002]"])
def test_a_name_may_end_in_a_digit(tmp_path: Path, padding: str) -> None:
    for frame in (1001, 1002):
        (tmp_path / f"sh02{frame}.exr").touch()
    assert sequence.find(str(tmp_path / f"sh02{padding}.exr")).frames == (1001, 1002)


def test_accents_are_the_same_however_a_system_writes_them(tmp_path: Path) -> None:
    for frame in (1, 2):
        (tmp_path / unicodedata.normalize("NFD", f"Tür.{frame}.exr")).touch()
    assert sequence.find(str(tmp_path / unicodedata.normalize("NFC", "Tür.%04d.exr"))).frames == (1, 2)


def test_what_is_there_instead_is_named(tmp_path: Path) -> None:
    for name in ("A.1001.EXR", "A.1002.EXR", "slate.png", "notes.txt"):
        (tmp_path / name).touch()
    with pytest.raises(SequenceError, match=r"no file in .* matches it; there is A\.#\.EXR, slate\.png\."):
        sequence.find(str(tmp_path / "A.%04d.exr"))


def test_a_missing_frame_is_named(folder: Path) -> None:
    with pytest.raises(SequenceError, match=r"Frame 1002 of .* is missing; it has 997-1001"):
        sequence.find(str(folder / "shot.v2.997-1002#.exr"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("none/a.%04d.exr", "The folder .* of the plate does not exist"),
        ("other.%04d.exr", "no file in .* matches"),
        ("shot.v2.exr", "does not exist; name a sequence like"),
        ("film.mov", "film.mov does not exist"),
    ],
)
def test_what_is_not_there(folder: Path, text: str, message: str) -> None:
    with pytest.raises(SequenceError, match=message):
        sequence.find(str(folder / text), "plate")


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(SequenceError, match="contains no image sequence or movie"):
        sequence.find(str(tmp_path), "plate")


def test_two_sequences_in_a_folder(folder: Path) -> None:
    (folder / "mask.0001.exr").touch()
    with pytest.raises(SequenceError, match=r"several sequences \(mask.#.exr, shot.v2.#.exr\); name one"):
        sequence.find(str(folder), "plate")


def test_a_frame_twice(folder: Path) -> None:
    (folder / "shot.v2.01000.exr").touch()
    with pytest.raises(SequenceError, match="exists twice"):
        sequence.find(str(folder / "shot.v2.#.exr"))


@given(st.sets(st.integers(-2000, 20000), min_size=1, max_size=40))
def test_ranges_survive_writing_and_reading(frames: set[int]) -> None:
    assert sequence.parse_frames(sequence.format_frames(frames)) == tuple(sorted(frames))


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ("1001 1005", (1001, 1005)),
        ("1001, 1005", (1001, 1005)),
        ("1001-1003 1005", (1001, 1002, 1003, 1005)),
        ("1001 - 1003", (1001, 1002, 1003)),
        ("1001\u20131003", (1001, 1002, 1003)),
        ("-3 -1", (-3, -1)),
    ],
)
def test_lists_of_frames_are_understood_however_they_are_written(text: str, frames: tuple[int, ...]) -> None:
    assert sequence.parse_frames(text) == frames


@pytest.mark.parametrize("text", ["1-200000", "1-9999999", "1-999999999999"])
def test_a_range_of_millions_is_refused(text: str) -> None:
    with pytest.raises(SequenceError, match="has more than 100000 frames"):
        sequence.parse_frames(text)


@pytest.mark.parametrize("text", ["", "abc", "1-9x0", "1..5"])
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(SequenceError, match="write it like 1001-1032"):
        sequence.parse_frames(text)
