"""A cut becomes a batch: each clip a shot, with the frames that the cut uses and handles."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from void_server.api.errors import SettingError
from void_server.farm.timeline import rows
from void_server.sample import write_sample

otio: Any = pytest.importorskip("opentimelineio", reason="the extra timeline is not installed")

VOID = [sys.executable, "-c", "from void_server.cli import main; main()"]
TEMPLATES = {"roto": "/r/{clip}.%04d.exr", "out": "/o/{clip}"}


def span(start: float, length: float, rate: float = 24.0) -> Any:
    return otio.opentime.TimeRange(otio.opentime.RationalTime(start, rate), otio.opentime.RationalTime(length, rate))


def sequence(folder: str, first: int, count: int, code: float = 86400, rate: float = 24.0) -> Any:
    """A plate whose first frame has the time code of so many frames."""
    return otio.schema.ImageSequenceReference(
        target_url_base=folder,
        name_prefix="plate.",
        name_suffix=".exr",
        start_frame=first,
        frame_zero_padding=4,
        rate=rate,
        available_range=span(code, count, rate),
    )


def cut(folder: Path, *clips: Any, name: str = "cut.otio") -> Path:
    timeline = otio.schema.Timeline("sq010")
    track = otio.schema.Track("V1", kind=otio.schema.TrackKind.Video)
    track.extend(clips)
    timeline.tracks.append(track)
    sound = otio.schema.Track("A1", kind=otio.schema.TrackKind.Audio)
    sound.append(otio.schema.Clip("sound", otio.schema.ExternalReference("sound.wav", span(0, 10)), span(0, 10)))
    timeline.tracks.append(sound)
    otio.adapters.write_to_file(timeline, str(folder / name))
    return folder / name


def clip(name: str, media: Any, start: float, length: float, rate: float = 24.0) -> Any:
    return otio.schema.Clip(name, media, span(start, length, rate))


def test_each_clip_is_a_shot_with_its_frames_and_handles_as_far_as_the_plate_reaches(tmp_path: Path) -> None:
    file = cut(
        tmp_path,
        clip("sh010", sequence("/p/sh010/", 1001, 100), 86420, 30),
        otio.schema.Gap(source_range=span(0, 10)),
        clip("sh020", sequence("file:///p/sh%20020", 1001, 40), 86402, 36),
    )
    first, second = rows(file, TEMPLATES, 8)
    assert first == {
        "plate": "/p/sh010/plate.%04d.exr",
        "frames": "1013-1058",
        "shot": "sh010",
        "roto": "/r/sh010.%04d.exr",
        "out": "/o/sh010",
    }
    assert (second["plate"], second["frames"]) == ("/p/sh 020/plate.%04d.exr", "1001-1040")
    assert [row["frames"] for row in rows(file, TEMPLATES, 0)] == ["1021-1050", "1003-1038"]


def test_a_cut_at_another_rate_uses_the_plates_frames(tmp_path: Path) -> None:
    file = cut(tmp_path, clip("sh", sequence("/p", 1001, 100, 0), 30, 60, rate=48.0))
    assert rows(file, TEMPLATES, 0)[0]["frames"] == "1016-1045"


def test_a_sequence_in_an_external_reference_is_numbered_by_its_range(tmp_path: Path) -> None:
    media = otio.schema.ExternalReference("plates/p.%04d.exr", span(1001, 50))
    movie = otio.schema.ExternalReference("plates/p.mov", span(86400, 50))
    file = cut(tmp_path, clip("a", media, 1010, 5), clip("b", movie, 86410, 5))
    first, second = rows(file, TEMPLATES, 2)
    assert (first["plate"], first["frames"]) == (str(tmp_path / "plates/p.%04d.exr"), "1008-1016")
    assert second["frames"] == "9-17"


@pytest.mark.parametrize(
    ("url", "code", "frames"),
    [
        # one of its frames, as a file manager gives it
        ("/take #3/p.1001.exr", 1001, "1010-1014"),
        ("/take #3/p.$F4.exr", 1001, "1010-1014"),
        # Resolve's, whatever the time code
        ("/take #3/p.[1001-1050].exr", 86400, "1010-1014"),
        ("/take #3/p.[-1001-1050].exr", 86400, "-992--988"),
        ("/take #3/p.mov", 86400, "10-14"),
        # a movie's own name
        ("/take #3/p[10-20].mov", 86400, "10-14"),
    ],
)
def test_frames_are_numbered_as_the_plates_notation_says(tmp_path: Path, url: str, code: int, frames: str) -> None:
    media = otio.schema.ExternalReference(url, span(code, 50))
    (row,) = rows(cut(tmp_path, clip("a", media, code + 9, 5)), TEMPLATES, 0)
    assert (row["plate"], row["frames"]) == (url, frames)


def test_a_clip_has_the_frames_that_a_transition_shows_of_it(tmp_path: Path) -> None:
    dissolve = otio.schema.Transition(
        in_offset=otio.opentime.RationalTime(6, 24), out_offset=otio.opentime.RationalTime(4, 24)
    )
    first, second = (clip(name, sequence("/p", 1001, 100, 0), 20, 10) for name in ("a", "b"))
    assert [row["frames"] for row in rows(cut(tmp_path, first, dissolve, second), TEMPLATES, 0)] == [
        "1021-1034",
        "1015-1030",
    ]


@pytest.mark.parametrize(
    ("effect", "frames"),
    [
        (otio.schema.LinearTimeWarp(time_scalar=2.0), "1021-1040"),
        (otio.schema.LinearTimeWarp(time_scalar=0.25), "1021-1023"),
        (otio.schema.FreezeFrame(), "1021-1021"),
        (otio.schema.Effect(effect_name="blur"), "1021-1030"),
    ],
    ids=["faster", "slower", "freeze", "blur"],
)
def test_a_clip_has_the_frames_that_its_speed_uses(tmp_path: Path, effect: Any, frames: str) -> None:
    retimed = clip("a", sequence("/p", 1001, 100, 0), 20, 10)
    retimed.effects.append(effect)
    assert rows(cut(tmp_path, retimed), TEMPLATES, 0)[0]["frames"] == frames


def test_a_frame_is_not_rounded_into_another(tmp_path: Path) -> None:
    retimed = clip("a", sequence("/p", 1001, 200, 0), 0, 100)
    retimed.effects.append(otio.schema.LinearTimeWarp(time_scalar=1.1))
    assert rows(cut(tmp_path, retimed), TEMPLATES, 0)[0]["frames"] == "1001-1110"


@pytest.mark.parametrize("effect", [otio.schema.LinearTimeWarp(time_scalar=2.0), otio.schema.TimeEffect()])
def test_a_retime_that_is_switched_off_changes_nothing(tmp_path: Path, effect: Any) -> None:
    effect.enabled = False
    retimed = clip("a", sequence("/p", 1001, 100, 0), 20, 10)
    retimed.effects.append(effect)
    assert rows(cut(tmp_path, retimed), TEMPLATES, 0)[0]["frames"] == "1021-1030"


@pytest.mark.parametrize("effect", [otio.schema.LinearTimeWarp(time_scalar=-1.0), otio.schema.TimeEffect()])
def test_a_retime_that_cannot_be_read_is_named(tmp_path: Path, effect: Any) -> None:
    retimed = clip("sh010", sequence("/p", 1001, 100, 0), 20, 10)
    retimed.effects.append(effect)
    with pytest.raises(SettingError, match="the clip sh010 is retimed in a way that cannot be read"):
        rows(cut(tmp_path, retimed), TEMPLATES, 0)


def test_what_is_switched_off_or_has_no_media_is_no_shot(tmp_path: Path) -> None:
    off = clip("off", sequence("/p", 1, 10, 0), 0, 5)
    off.enabled = False
    bars = clip("bars", otio.schema.GeneratorReference("bars", "SMPTEBars"), 0, 5)
    with pytest.raises(SettingError, match="has no clip with media on a video track"):
        rows(cut(tmp_path, off, bars, clip("none", None, 0, 5)), TEMPLATES, 0)


@pytest.mark.parametrize(
    ("name", "media", "templates", "sentence"),
    [
        ("../x", sequence("/p", 1, 10, 0), TEMPLATES, "'../x' is no name for a file or folder"),
        ("a", sequence("http://host/p", 1, 10, 0), TEMPLATES, "refers to http://host/p/?, which is no file"),
        ("a", sequence("/p", 1, 10, 0), {"roto": "{shot}"}, "name clip, track, timeline"),
        ("a", sequence("/p", 1, 10, 0), {"roto": "{clip"}, "cannot be filled in"),
        ("a", sequence("/p", 1, 10, 0), {"roto": "{clip.__class__}"}, "cannot be filled in"),
    ],
)
def test_what_is_wrong_with_a_cut_is_said(
    tmp_path: Path, name: str, media: Any, templates: dict[str, str], sentence: str
) -> None:
    with pytest.raises(SettingError, match=sentence):
        rows(cut(tmp_path, clip(name, media, 0, 5)), templates, 0)


def test_a_file_that_is_no_cut_is_refused(tmp_path: Path) -> None:
    for name, text in (("cut.otio", "{"), ("cut.xyz", "x")):
        (tmp_path / name).write_text(text)
        with pytest.raises(SettingError, match="cannot be read"):
            rows(tmp_path / name, TEMPLATES, 0)
    otio.adapters.write_to_file(otio.schema.Clip("x"), str(tmp_path / "clip.otio"))
    with pytest.raises(SettingError, match="holds a Clip, not a timeline"):
        rows(tmp_path / "clip.otio", TEMPLATES, 0)


@pytest.mark.slow
def test_a_cut_is_submitted_as_one_batch(tmp_path: Path) -> None:
    for name in ("sh010", "sh020"):
        write_sample(tmp_path / name, "walkby", (96, 54), range(1001, 1011))
    clips = [clip(name, sequence(str(tmp_path / name / "plate"), 1001, 10), 86403, 3) for name in ("sh010", "sh020")]
    file, roto = cut(tmp_path, *clips), f"{tmp_path}/{{clip}}/roto/roto.%04d.exr"
    words = ["--timeline", file, "--roto-template", roto, "--handles", "2", "-o", tmp_path / "out"]
    told = subprocess.run(
        [*VOID, "farm", "submit", *map(str, words), "--scheduler", "openjd", "--dry-run", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    folders = [Path(job["folder"]) for job in json.loads(told.stdout)["jobs"]]
    assert folders == [tmp_path / "out" / name / "v001" for name in ("sh010", "sh020")]
    job = json.loads((folders[1] / "farm.json").read_text())
    assert job["frames"] == list(range(1002, 1009))
    assert job["fields"]["shot"] == "sh020"


def test_a_cut_without_the_rotos_or_the_folder_is_not_submitted(tmp_path: Path) -> None:
    file = cut(tmp_path, clip("a", sequence("/p", 1, 10, 0), 0, 5))
    told = subprocess.run(
        [*VOID, "farm", "submit", "--timeline", str(file)], capture_output=True, text=True, check=False
    )
    assert told.returncode == 2
    assert "Name the clips' rotos with --roto-template" in told.stderr
