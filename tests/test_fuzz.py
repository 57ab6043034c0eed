"""Whatever a file or a message holds, who reads it gets it or a sentence, and nothing else.

`make fuzz` tries far more; what it finds is kept in hypothesis' own folder and tried first from then on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from void_server.api import Job, Settings, Shot, messages
from void_server.api.client import ServerInfo
from void_server.api.errors import VoidError, from_dict
from void_server.cli.farm import _read_jobs
from void_server.farm import batches, failures, pathmap, site, submit
from void_server.farm.job import FarmJob
from void_server.imaging import exr, movie
from void_server.imaging.window import Window
from void_server.pipeline.corrections import _of_job
from void_server.quadmask import classes
from void_server.quadmask.analysis import read_file
from void_server.service.transfer import Uploads

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("VOID_FUZZ_EXAMPLES", "40"))
trying = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="VOID_FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
DEEP = b'{"a":' * 100_000
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """A file with bytes changed, cut out, doubled or put in, most often near its beginning, where the header is."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, min(len(data), 400)) | st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 12)))
        odd = [b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", bytes(data[at:end]) * 2]
        put = draw(st.binary(max_size=8) | st.sampled_from(odd))
        data[at:end] = put
    return bytes(data[: draw(st.just(len(data)) | st.integers(0, len(data)))])


@st.composite
def changed(draw: st.DrawFn, whole: Any) -> Any:
    """Plain data with some values replaced by others, of other types too, and some taken away."""
    if isinstance(whole, dict) and whole and draw(st.booleans()):
        name = draw(st.sampled_from(sorted(whole)))
        others = {key: value for key, value in whole.items() if key != name}
        return others if draw(st.integers(0, 5)) == 0 else {**others, name: draw(changed(whole[name]))}
    if isinstance(whole, list) and whole and draw(st.booleans()):
        at = draw(st.integers(0, len(whole) - 1))
        return [*whole[:at], draw(changed(whole[at])), *whole[at + 1 :]]
    return draw(PLAIN)


def is_read_or_refused(read: Callable[[], object]) -> None:
    with suppress(VoidError):
        read()


SHOT = Shot("plate.%04d.exr", "roto.%04d.exr", frames="1001-1010", settings=Settings()).to_dict()
JOB = {
    "id": "0123456789ab", "state": "running", "shot": SHOT, "folder": "/a", "created": 1.0, "updated": 2.0,
    "progress": {"stage": "a", "frame": 1, "fraction": 0.5, "seconds_left": 3.0}, "error": None, "warnings": ["a"],
}  # fmt: skip
HELLO = {"version": "1", "protocol": 1, "pid": 1, "roots": [], "engines": [], "reasoners": [],
         "settings": {"engines": {}, "reasoners": {}}}  # fmt: skip
ENVELOPE = messages.pack(7, verb="submit", body={"shot": SHOT, "id": "0123456789ab"})


@trying
@given(st.binary(max_size=200) | damaged(ENVELOPE))
@example(b"\x91" * 100_000)
@example(b"\x81\xa1a" * 100_000)
def test_an_envelope(data: bytes) -> None:
    is_read_or_refused(lambda: messages.unpack(data))


@trying
@given(changed(SHOT), changed(JOB), changed(HELLO), changed({"kind": "JobFailed", "message": "a", "detail": "b"}))
def test_what_is_in_an_envelope(shot: Any, job: Any, hello: Any, error: Any) -> None:
    is_read_or_refused(lambda: Shot.from_dict(shot))
    is_read_or_refused(lambda: Job.from_dict(job))
    is_read_or_refused(lambda: ServerInfo.from_dict(hello))
    assert isinstance(from_dict(error), VoidError)


@trying
@given(changed({"plate": [["plate.0001.exr", "0" * 64]], "roto": [["roto.0001.exr", "0" * 64]]}))
def test_the_files_of_a_submission(tmp_path: Path, files: Any) -> None:
    is_read_or_refused(lambda: Uploads(tmp_path / "uploads").place(files, tmp_path / "input", ""))


def written(path: Path, suffix: str) -> bytes:
    """A small picture or movie of each kind."""
    picture = np.zeros((24, 32, 3), np.uint8)
    picture[6:18, 8:24] = 255
    if suffix == ".exr":
        exr.write(path, (picture / 255).astype(np.float16), exr.RGB, metadata={"comment": "a"})
    elif suffix == ".mov":
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 24, (32, 24))
        for _ in range(3):
            writer.write(picture)
        writer.release()
    else:
        assert cv2.imwrite(str(path), picture)
    return path.read_bytes()


@pytest.mark.parametrize("suffix", [".exr", ".png", ".jpg", ".tif", ".mov"])
def test_pictures_and_movies(tmp_path: Path, suffix: str) -> None:
    """Read in a process of their own, as in a server: what ends that process is the system's to say."""
    whole = written(tmp_path / f"whole{suffix}", suffix)

    def read(path: Path) -> None:
        if suffix == ".mov":
            is_read_or_refused(lambda: movie.size(path))
            is_read_or_refused(lambda: list(movie.read_frames(path)))
            return
        window = Window(0, 0, 32, 24)
        for one in (exr.read_header, exr.windows, exr.channel_names, exr.pixel_aspect, exr.read_rgb):
            is_read_or_refused(lambda one=one: one(path))  # type: ignore[misc]
        is_read_or_refused(lambda: exr.read_matte(path, window))
        is_read_or_refused(lambda: classes.read(path, window))

    @trying
    @given(damaged(whole))
    def attempt(data: bytes) -> None:
        path = tmp_path / f"damaged{suffix}"
        path.write_bytes(data)
        read(path)

    attempt()


def record(path: Path) -> object:
    """Who was handed a farm job, of which that reads the folder alone."""

    class Handed:
        folder = path.parent

    return submit.submitted(cast(FarmJob, Handed))


ANALYSIS = {
    "scene_description": "a room",
    "grid_rows": 8,
    "grid_cols": 14,
    "integral_belongings": [{"noun": "hat", "grid_regions": [{"row": 1, "col": 2}]}],
    "affected_objects": [
        {"noun": "ball", "will_move": True, "trajectory_path": [{"frame": 0, "grid_row": 1, "grid_col": 2}]}
    ],
}
SITE = {
    "scheduler": "local",
    "nuke_limits": {"nuke": 1},
    "fields": {"priority": 50},
    "environment": ["OCIO"],
    "path_map": [{"source_path": "/a", "destination_path": "/b", "source_path_format": "POSIX"}],
    "options": {},
}
FARM = {
    "id": "0123456789ab",
    "shot": SHOT,
    "fields": {},
    "stages": [],
    "server": "",
    "frames": [1],
    "export": None,
    "pairs": None,
    "version": "0.1.0",
    "batch": "",
}
READERS: dict[str, tuple[Any, Callable[[Path], object]]] = {
    "job.json": ({"shot": SHOT, "frames": [1001]}, lambda path: _of_job(path.parent)),
    "analysis.json": (ANALYSIS, lambda path: read_file(path.read_bytes().decode(errors="replace"), "the analysis")),
    "site.json": (SITE, lambda _: site.load()),
    "farm.json": (FARM, FarmJob.read),
    submit.RECORD: (asdict(submit.Submitted("local", {"a": "1"})), record),
    "night.json": ({"created": 1.0, "folders": ["/out/v001"]}, lambda path: batches.read(path, site.Site())),
    "failed_finish_0.json": ({"message": "a", "host": "b", "when": 1.0}, failures.read),
    "pathmap.json": ({"path_mapping_rules": SITE["path_map"]}, pathmap.read),
    "jobs.json": ([{"shot": SHOT, "out": "/a", "fields": {}}], _read_jobs),
}


@pytest.mark.parametrize("name", READERS)
def test_files_of_plain_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    whole, read = READERS[name]
    path = tmp_path / name
    monkeypatch.setenv(site.ENVIRONMENT, str(path))
    path.write_text(json.dumps(whole))
    read(path)

    @trying
    @given(damaged(json.dumps(whole).encode()) | changed(whole).map(lambda data: json.dumps(data).encode()))
    @example(DEEP)
    @example(b"[" * 100_000)
    @example(b"\xff\xfe")
    @example(b"")
    def attempt(data: bytes) -> None:
        path.write_bytes(data)
        is_read_or_refused(lambda: read(path))

    attempt()


TABLE = b'plate;roto;out;prompt\n/a/p.%04d.exr;/a/r.%04d.exr;/o;"a; b"\n/c;/d;/o;e\n'


@trying
@given(damaged(TABLE) | st.binary(max_size=60))
@example(TABLE + b"a;b;c;d;e;f\n")
@example(b"plate,roto\n" + b'"' + b"a" * 200_000)
def test_a_table_of_shots(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "shots.csv").write_bytes(data)
    is_read_or_refused(lambda: submit.batch(tmp_path / "shots.csv"))
