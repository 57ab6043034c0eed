"""Publishing a version: what is written beside it, and what arrives in production tracking, by the real clients."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from void_server import pipeline
from void_server.api import Shot
from void_server.api.errors import InputError, JobFailed, NotPermitted, SettingError
from void_server.api.home import home
from void_server.api.version import VersionFolder
from void_server.pipeline import previews
from void_server.publishing import approval, publication, recipes, verification
from void_server.publishing.publication import Publication
from void_server.publishing.recipes import Target
from void_server.signing import SigningKey, sign_made

from .trackers import Ayon, Ftrack, Kitsu, Tracker, tracker

pytestmark = [
    pytest.mark.slow,
    # the clients' own sockets, which they leave to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]

VOID = [sys.executable, "-c", "from void_server.cli import main; main()"]


@pytest.fixture(scope="module")
def made(shot: Path, tmp_path_factory: pytest.TempPathFactory) -> VersionFolder:
    folder = tmp_path_factory.mktemp("made") / "sh010" / "v001"
    folder.mkdir(parents=True)
    asked = Shot(str(shot / "plate"), str(shot / "roto"), frames="1001-1004")
    pipeline.run("0123456789ab", asked, folder, lambda _: None)
    return VersionFolder(folder)


@pytest.fixture
def version(made: VersionFolder, tmp_path: Path) -> VersionFolder:
    """A copy of it, signed."""
    copy = VersionFolder(Path(shutil.copytree(made.folder, tmp_path / "sh010" / "v001")))
    sign_made(copy)
    return copy


def published(version: VersionFolder, *, movie: str = "") -> Publication:
    return publication.publish(version, movie=movie)


def test_a_publication_says_what_where_and_from_what(version: VersionFolder, shot: Path) -> None:
    said = published(version).said
    assert json.loads(version.publication.read_text()) == said
    assert said["name"] == "sh010 v001"
    assert said["range"] == [1001, 1004]
    assert said["colorspace"] == "lin_rec709"
    assert said["generative"] is False
    assert said["lineage"]["plate"] == str(shot / "plate")
    for name in (said["contact_sheet"], *said["thumbnails"]):
        assert (version.folder / name).is_file()
    assert (version.folder / (said["sequences"]["plate"] % 1001)).is_file()
    # what is handed on is no change of the version
    approval.check_unchanged(version)


def test_a_version_without_a_needed_approval_is_not_published(
    version: VersionFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "policy.json"
    file.write_text(json.dumps({"approval": True, "approvers": {"jane": SigningKey(home()).public}}))
    monkeypatch.setenv("VOID_POLICY", str(file))
    with pytest.raises(NotPermitted, match="only once jane approved it"):
        published(version)
    assert not version.publication.exists()
    assert not version.published.exists()
    approval.approve(version)
    assert published(version).said["approved_by"] == ["jane"]


def test_a_version_that_was_changed_is_not_published(version: VersionFolder) -> None:
    version.plate(1002).write_bytes(version.plate(1003).read_bytes())
    with pytest.raises(InputError, match=r"Frame 1002: plate/void_plate.1002.exr differs"):
        published(version)
    assert not version.publication.exists()


def test_pictures_carry_credentials_with_the_right_source_type(version: VersionFolder) -> None:
    c2pa = pytest.importorskip("c2pa", reason="the extra c2pa is not installed")
    for generative, wanted in ((False, "compositeCapture"), (True, "compositeWithTrainedAlgorithmicMedia")):
        file = Path(shutil.copy(version.contact_sheet, version.folder.parent / f"{wanted}.png"))
        from void_server.pipeline import disclosure
        from void_server.publishing import credentials

        source_type = disclosure.GENERATIVE if generative else disclosure.COMPOSITE
        credentials.add(file, source_type, "jo", SigningKey(home()))
        with c2pa.Reader(str(file)) as reader:
            assert reader.get_validation_state() == "Valid"
            said = json.loads(reader.json())
        active = said["manifests"][said["active_manifest"]]
        ((action),) = active["assertions"][0]["data"]["actions"]
        assert action["digitalSourceType"] == f"http://cv.iptc.org/newscodes/digitalsourcetype/{wanted}"
        assert active["signature_info"]["common_name"] == "jo"


def test_what_is_published_carries_credentials(version: VersionFolder) -> None:
    c2pa = pytest.importorskip("c2pa", reason="the extra c2pa is not installed")
    pytest.importorskip("av", reason="the extra movies is not installed")
    made = published(version, movie="h264")
    assert made.said["credentials"] is True
    for name in (made.said["contact_sheet"], *made.said["thumbnails"], made.said["movie"]):
        with c2pa.Reader(str(version.folder / name)) as reader:
            assert reader.get_validation_state() == "Valid"


def test_the_movie_shows_plate_and_result_side_by_side_with_the_frame_burnt_in(version: VersionFolder) -> None:
    av = pytest.importorskip("av", reason="the extra movies is not installed")
    made = publication.publish(version, movie="h264", fps=Fraction(24000, 1001))
    with av.open(str(made.file("movie"))) as movie:
        stream = movie.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.average_rate == Fraction(24000, 1001)
        pictures = [frame.to_ndarray(format="rgb24").astype(float) for frame in movie.decode(stream)]
    assert len(pictures) == 4
    bar = 28
    assert pictures[0].shape == (108 + 2 * bar, 2 * 192, 3)
    left, right = pictures[2][bar:-bar, :192], pictures[2][bar:-bar, 192:]
    # the figure is in one and not in the other, elsewhere they are alike
    difference = abs(left - right).max(axis=-1)
    assert (difference > 40).mean() > 0.005
    assert (difference < 12).mean() > 0.6
    assert pictures[0][:bar].max() > 180
    assert abs(pictures[0][:bar] - pictures[1][:bar]).max() > 60


def test_a_movie_for_the_edit_is_prores_with_more_than_8_bits(version: VersionFolder) -> None:
    av = pytest.importorskip("av", reason="the extra movies is not installed")
    made = published(version, movie="prores")
    assert made.file("movie").name == "before_after.mov"
    with av.open(str(made.file("movie"))) as movie:
        stream = movie.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.profile) == ("prores", "HQ")
        assert stream.codec_context.pix_fmt == "yuv422p10le"
        assert stream.average_rate == 24
        frames = list(movie.decode(stream))
    assert len(frames) == 4
    # the picture's, without the bars: more steps than 8 bits could hold, and the same picture as in H.264
    luma = frames[0].to_ndarray(format="yuv422p10le")[0].astype(int)
    assert len(np.unique(luma[28:-28] % 4)) == 4
    with av.open(str(published(version, movie="h264").file("movie"))) as movie:
        other = next(movie.decode(video=0)).to_ndarray(format="rgb24").astype(float)
    assert abs(frames[0].to_ndarray(format="rgb24").astype(float) - other).mean() < 4


def test_each_version_has_a_movie_where_the_studio_wants_one(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    av = pytest.importorskip("av", reason="the extra movies is not installed")
    monkeypatch.setenv("VOID_PREVIEW_MOVIE", "h264")
    monkeypatch.setenv("VOID_PREVIEW_FPS", "25")
    asked = Shot(str(shot / "plate"), str(shot / "roto"), frames="1001-1002")
    folder = tmp_path / "sh010" / "v001"
    folder.mkdir(parents=True)
    pipeline.run("0123456789ab", asked, folder, lambda _: None)
    version = VersionFolder(folder)
    with av.open(str(folder / "report" / "before_after.mp4")) as movie:
        assert movie.streams.video[0].average_rate == 25
        assert len(list(movie.decode(video=0))) == 2
    # it is a part of the version like any other file
    sign_made(version)
    assert list(verification.differences(version)) == []
    (folder / "report" / "before_after.mp4").unlink()
    assert [one.path for one in verification.differences(version)] == ["report/before_after.mp4"]


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("VOID_PREVIEW_MOVIE", "gif", r"\$VOID_PREVIEW_MOVIE is 'gif'; choose h264 or prores"),
        ("VOID_PREVIEW_FPS", "0", r"\$VOID_PREVIEW_FPS is '0'; give a number from 1 to 1000"),
    ],
)
def test_a_movie_that_cannot_be_written_is_told_at_submission(
    shot: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, sentence: str
) -> None:
    pytest.importorskip("av", reason="the extra movies is not installed")
    monkeypatch.setenv("VOID_PREVIEW_MOVIE", "h264")
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingError, match=sentence):
        pipeline.inspect(Shot(str(shot / "plate"), str(shot / "roto")))


@pytest.mark.parametrize(
    ("text", "frames_a_second"),
    [
        ("23.976", Fraction(24000, 1001)),
        ("23.98", Fraction(24000, 1001)),
        ("29.97", Fraction(30000, 1001)),
        ("59.94", Fraction(60000, 1001)),
        ("119.88", Fraction(120000, 1001)),
        ("24", Fraction(24)),
        ("12.5", Fraction(25, 2)),
        ("24000/1001", Fraction(24000, 1001)),
    ],
)
def test_the_short_forms_of_ntscs_rates_are_those_rates(text: str, frames_a_second: Fraction) -> None:
    assert previews.rate(text) == frames_a_second


def test_a_quadmask_alone_is_not_published(shot: Path, tmp_path: Path) -> None:
    from void_server.api import Settings

    asked = Shot(str(shot / "plate"), str(shot / "roto"), frames="1001-1002", settings=Settings(until="quadmask"))
    pipeline.run("0123456789ab", asked, tmp_path / "v001", lambda _: None)
    sign_made(VersionFolder(tmp_path / "v001"))
    with pytest.raises(InputError, match="ends with the quadmask"):
        published(VersionFolder(tmp_path / "v001"))


# -- recipes

WHERE = Target("Show", "sh010", "comp", "sq010")


@pytest.fixture
def kitsu(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("gazu", reason="the extra kitsu is not installed")
    with tracker(Kitsu) as served:
        monkeypatch.setenv("KITSU_SERVER", f"{served.url}/api")
        monkeypatch.setenv("KITSU_TOKEN", "secret")
        yield served


@pytest.fixture
def ayon(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("ayon_api", reason="the extra ayon is not installed")
    with tracker(Ayon) as served:
        monkeypatch.setenv("AYON_SERVER_URL", served.url)
        monkeypatch.setenv("AYON_API_KEY", "secret")
        yield served


def test_kitsu_gets_a_comment_with_the_contact_sheet_as_its_preview(version: VersionFolder, kitsu: Tracker) -> None:
    made = published(version)
    told = recipes.find("kitsu").publish(made, Target("Show", "sh010", "Compositing", "sq010"))
    assert not kitsu.wrong
    assert told == "Kitsu has preview v1 on sh010 Compositing."
    comment = json.loads(kitsu.made[0][1])
    assert comment["task_status_id"] == "w1"
    assert comment["comment"] == made.note
    assert "without generated pixels" in made.note
    ((_, sent),) = kitsu.files
    assert made.file("contact_sheet").read_bytes() in sent


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"project": "Other"}, "Kitsu knows no project 'Other'; correct --project"),
        ({"sequence": "x"}, "knows no sequence 'x'; correct --sequence"),
        ({"shot": "x"}, "knows no shot 'x'; correct --shot"),
        ({"task": "x"}, "knows no task type 'x'; correct --task"),
    ],
)
def test_what_kitsu_does_not_know_is_named(
    version: VersionFolder, kitsu: Tracker, changed: dict[str, str], sentence: str
) -> None:
    where = Target(**{"project": "Show", "shot": "sh010", "task": "Compositing", "sequence": "sq010", **changed})
    with pytest.raises(SettingError, match=sentence):
        recipes.find("kitsu").publish(published(version), where)
    assert not kitsu.made


def test_ayon_gets_the_next_version_with_frames_thumbnail_and_reviewable(version: VersionFolder, ayon: Tracker) -> None:
    made = published(version)
    told = recipes.find("ayon").publish(made, WHERE)
    assert not ayon.wrong
    assert told == "AYON has version 4 of cleanup on /sq010/sh010."
    created = dict(ayon.made)
    assert created["products"]["name"] == "cleanup"
    assert created["products"]["folderId"] == "f" * 32
    assert created["versions"]["version"] == 4
    assert created["versions"]["taskId"] == "b" * 32
    assert created["versions"]["attrib"]["frameEnd"] == 1004
    assert [one["name"] for one in created["representations"]["files"]] == [
        f"void_plate.{frame}.exr" for frame in range(1001, 1005)
    ]
    sent = dict(ayon.files)
    assert sent["/api/projects/Show/thumbnails"] == made.thumbnail.read_bytes()
    assert made.file("contact_sheet").read_bytes() in next(
        data for path, data in ayon.files if path.endswith("/reviewables")
    )
    assert created["activities"]["body"] == made.note


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        (Target("Show", "x", "comp", "sq010"), "AYON knows no folder '/sq010/x'; correct --sequence and --shot"),
        (Target("Show", "sh010", "x", "sq010"), "AYON knows no task 'x'; correct --task"),
    ],
)
def test_what_ayon_does_not_know_is_named(version: VersionFolder, ayon: Tracker, where: Target, sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        recipes.find("ayon").publish(published(version), where)
    assert not ayon.made


@pytest.mark.parametrize("name", ["kitsu", "ayon"])
def test_a_server_that_fails_is_told_in_a_sentence(
    version: VersionFolder, kitsu: Tracker, ayon: Tracker, name: str
) -> None:
    kitsu.refused = ayon.refused = True
    with pytest.raises(JobFailed, match="did not take the version"):
        recipes.find(name).publish(published(version), WHERE)


@pytest.fixture
def ftrack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """ftrack's server for its client, which mostly is in an environment of its own."""
    python = os.environ.get("FTRACK_PYTHON") or sys.executable
    if subprocess.run([python, "-I", "-c", "import ftrack_api"], capture_output=True, check=False).returncode:
        pytest.skip("ftrack's client is not installed, or not where FTRACK_PYTHON says: ftrack was NOT tested")
    with tracker(Ftrack) as served:
        monkeypatch.setenv("FTRACK_SERVER", served.url)
        monkeypatch.setenv("FTRACK_API_KEY", "key")
        monkeypatch.setenv("FTRACK_API_USER", "bot")
        monkeypatch.setenv("FTRACK_API_SCHEMA_CACHE_PATH", str(tmp_path))
        yield served


@pytest.mark.parametrize("movie", ["", "h264"])
def test_ftrack_gets_the_next_version_with_frames_media_and_thumbnail(
    version: VersionFolder, ftrack: Tracker, movie: str
) -> None:
    if movie:
        pytest.importorskip("av", reason="the extra movies is not installed")
    made = published(version, movie=movie)
    for number in (1, 2):
        told = recipes.find("ftrack").publish(made, WHERE)
        assert not ftrack.wrong
        assert told == f"ftrack has version {number} of cleanup on sh010 comp."
    created: dict[str, list[Any]] = {}
    for kind, one in ftrack.made:
        created.setdefault(kind, []).append(one)
    (asset,) = created["Asset"]
    assert (asset["name"], asset["parent"]["id"], asset["type"]["id"]) == ("cleanup", "h1", "y1")
    first = created["AssetVersion"][0]
    assert (first["asset"]["id"], first["task"]["id"], first["comment"]) == (asset["id"], "t1", made.note)
    places = {one["resource_identifier"] for one in created["ComponentLocation"]}
    assert {made.plates, *(made.plates % frame for frame in range(1001, 1005))} <= places
    assert created["SequenceComponent"][0]["version"]["id"] == first["id"]
    sent = dict(ftrack.files)
    assert sent["thumbnail.jpg"] == made.thumbnail.read_bytes()
    shown = made.file("movie" if movie else "contact_sheet")
    assert shown.read_bytes() in sent.values()
    assert [one["version_id"] for one in created["encode_media"]] == [one["id"] for one in created["AssetVersion"]]
    assert created["Note"][0]["content"] == made.note
    if movie:
        assert sent["contact_sheet.png"] == made.file("contact_sheet").read_bytes()
        assert created["NoteComponent"][0]["note_id"] == created["Note"][0]["id"]


@pytest.mark.parametrize(
    ("frames", "sequence"),
    [
        ([1001, 1004], "void_plate.%04d.exr [1001-1004]"),
        ([1001001, 1001004], "void_plate.%07d.exr [1001001-1001004]"),
        # whose numbers have the width of the files all the same
        ([1, 100], "void_plate.%04d.exr [1-100]"),
        ([998, 1003], "void_plate.%04d.exr [998-1003]"),
        # of these its client knows no sequence
        ([-2, 1], "void_plate.%04d.exr"),
        ([9998, 10001], "void_plate.%04d.exr"),
    ],
)
def test_ftrack_is_told_of_frames_as_its_client_reads_them(frames: list[int], sequence: str) -> None:
    from void_server.publishing.recipes import ftrack_client

    assert ftrack_client.sequence("void_plate.%04d.exr", *frames) == sequence


@pytest.fixture
def ftrack_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Have this shell script as the Python of ftrack's client, and no server."""
    for name in ("FTRACK_SERVER", "FTRACK_API_KEY", "FTRACK_API_USER"):
        monkeypatch.setenv(name, "https://bot:secret@studio.example")
    python = tmp_path / "python"
    monkeypatch.setenv("FTRACK_PYTHON", str(python))

    def write(script: str) -> Path:
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)
        return python

    return write


@pytest.mark.parametrize("of", ["check", "publish"])
def test_an_ftrack_that_never_answers_is_given_up(
    version: VersionFolder, monkeypatch: pytest.MonkeyPatch, ftrack_python: Callable[[str], Path], of: str
) -> None:
    from void_server.publishing.recipes import ftrack as recipe

    monkeypatch.setattr(recipe, "_LOADING", 0.2)
    monkeypatch.setattr(recipe, "_PUBLISHING", 0.2)
    python = ftrack_python("exec sleep 600")
    told: pytest.ExceptionInfo[JobFailed]
    with pytest.raises(JobFailed, match=rf"ftrack's client in {python} did not end in 0.2 s") as told:
        recipe.RECIPE.check(recipe.RECIPE()) if of == "check" else recipe.RECIPE().publish(published(version), WHERE)
    assert "secret" not in str(told.value)


def test_no_password_gets_out_of_an_ftrack_client_that_ended_early(
    version: VersionFolder, ftrack_python: Callable[[str], Path]
) -> None:
    from void_server.publishing.recipes import ftrack as recipe

    python = ftrack_python("echo 'no route to https://bot:secret@studio.example/api' >&2; exit 1")
    with pytest.raises(JobFailed, match=r"no route to https://studio\.example/api\.$") as told:
        recipe.RECIPE().publish(published(version), WHERE)
    assert str(python) in str(told.value)
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"project": 'Other "x"'}, "ftrack knows no project 'Other \"x\"'; correct --project"),
        ({"sequence": "x"}, "ftrack knows no shot 'sh010'; correct --shot or --sequence"),
        ({"shot": "x"}, "ftrack knows no shot 'x'; correct --shot or --sequence"),
        ({"task": "x"}, "ftrack knows no task 'x'; correct --task"),
    ],
)
def test_what_ftrack_does_not_know_is_named(
    version: VersionFolder, ftrack: Tracker, changed: dict[str, str], sentence: str
) -> None:
    with pytest.raises(SettingError, match=re.escape(sentence)):
        recipes.find("ftrack").publish(published(version), dataclasses.replace(WHERE, **changed))
    assert not ftrack.made


def test_an_ftrack_that_fails_is_told_in_a_sentence(version: VersionFolder, ftrack: Tracker) -> None:
    ftrack.refused = True
    with pytest.raises(JobFailed, match=f"ftrack at {ftrack.url} did not take the version"):
        recipes.find("ftrack").publish(published(version), WHERE)


def test_a_python_without_ftracks_client_is_told_before_anything_is_published(
    version: VersionFolder, tmp_path: Path
) -> None:
    python = Path(shutil.copy("/bin/false", tmp_path / "python"))
    words = ["--to", "ftrack", "--project", "Show", "--shot", "sh010", "--task", "comp"]
    command = [*VOID, "publish", str(version.folder), *words]
    for named, sentence in ((python, f"client does not load in {python}"), (tmp_path, f"{tmp_path} cannot be run")):
        told = subprocess.run(
            command, env={**os.environ, "FTRACK_PYTHON": str(named)}, capture_output=True, text=True, check=False
        )
        assert told.returncode == 2
        assert sentence in told.stderr.replace("\n", " ")
    assert not version.publication.exists()


@pytest.mark.parametrize("name", ["ayon", "flow", "ftrack", "kitsu"])
def test_no_password_of_a_server_gets_into_what_is_told(
    version: VersionFolder, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, name: str
) -> None:
    if name == "flow":
        # its client takes no address of this machine: nothing listens at this one
        pytest.importorskip("shotgun_api3", reason="the extra flow is not installed")
        monkeypatch.setenv("FLOW_SCRIPT", "script")
        monkeypatch.setenv("FLOW_KEY", "key")
        url = "http://127.0.0.1:1"
    else:
        served = request.getfixturevalue(name)
        served.refused, url = True, served.url
    variable = "AYON_SERVER_URL" if name == "ayon" else f"{name.upper()}_SERVER"
    monkeypatch.setenv(variable, url.replace("//", "//void:hunter2@"))
    with pytest.raises(JobFailed) as raised:
        recipes.find(name).publish(published(version), WHERE)
    assert "did not take the version" in str(raised.value)
    assert "hunter2" not in str(raised.value) + raised.value.detail


@pytest.fixture
def flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Flow's client on its own Mockgun, with a schema of what is used; uploads, which that cannot do, are kept."""
    pytest.importorskip("shotgun_api3", reason="the extra flow is not installed")
    from shotgun_api3.lib.mockgun import Shotgun

    entity, number, text = "entity", "number", "text"
    fields: dict[str, dict[str, tuple[str, list[str]]]] = {
        # what Mockgun itself begins with
        "EventLogEntry": {"event_type": (text, []), "description": (text, [])},
        "Project": {"name": (text, [])},
        "Shot": {"code": (text, []), "project": (entity, ["Project"])},
        "Task": {"content": (text, []), "project": (entity, ["Project"]), "entity": (entity, ["Shot"])},
        "Version": {
            "code": (text, []), "project": (entity, ["Project"]), "entity": (entity, ["Shot"]),
            "sg_task": (entity, ["Task"]), "description": (text, []), "sg_path_to_frames": (text, []),
            "sg_first_frame": (number, []), "sg_last_frame": (number, []), "frame_range": (text, []),
            "frame_count": (number, []),
        },
        "Note": {
            "subject": (text, []), "content": (text, []), "project": (entity, ["Project"]),
            "note_links": ("multi_entity", ["Version", "Shot"]), "tasks": ("multi_entity", ["Task"]),
        },
    }  # fmt: skip

    def described(kind: str, valid: list[str]) -> dict[str, Any]:
        properties = {"default_value": {"value": None}, "valid_types": {"value": valid}}
        return {"data_type": {"value": kind}, "editable": {"value": True}, "properties": properties}

    schema = {
        name: {
            "id": described(number, []),
            **{field: described(kind, valid) for field, (kind, valid) in own.items()},
        }
        for name, own in fields.items()
    }
    (tmp_path / "schema").write_bytes(pickle.dumps(schema))
    (tmp_path / "entities").write_bytes(pickle.dumps({name: {} for name in fields}))
    Shotgun.set_schema_paths(str(tmp_path / "schema"), str(tmp_path / "entities"))

    class Client(Shotgun):
        def upload(self, entity_type: str, entity_id: int, path: str, field_name: str | None = None, **_: Any) -> None:
            self.sent.append((entity_type, entity_id, Path(path).name, field_name))

        def upload_thumbnail(self, entity_type: str, entity_id: int, path: str, **_: Any) -> None:
            self.upload(entity_type, entity_id, path, "thumb_image")

    client = Client("https://studio.example", "script", "key")
    client.sent = []
    project = client.create("Project", {"name": "Show"})
    shot = client.create("Shot", {"code": "sh010", "project": project})
    client.create("Task", {"content": "comp", "project": project, "entity": shot})
    for name, value in (("SERVER", "https://studio.example"), ("SCRIPT", "script"), ("KEY", "key")):
        monkeypatch.setenv(f"FLOW_{name}", value)
    monkeypatch.setattr("void_server.publishing.recipes.flow.Flow.connect", lambda *_: client)
    return client


def test_flow_gets_a_version_with_movie_and_thumbnail_and_a_note(version: VersionFolder, flow: Any) -> None:
    pytest.importorskip("av", reason="the extra movies is not installed")
    made = published(version, movie="h264")
    told = recipes.find("flow").publish(made, WHERE)
    assert told == "Flow has version 1 on sh010 comp."
    found = flow.find_one(
        "Version", [["code", "is", "sh010 cleanup v001"]], ["sg_first_frame", "frame_range", "sg_task"]
    )
    assert found["frame_range"] == "1001-1004"
    assert found["sg_task"]["id"] == 1
    note = flow.find_one("Note", [["id", "is", 1]], ["content", "note_links"], filter_operator="all")
    assert note["content"] == made.note
    assert {link["type"] for link in note["note_links"]} == {"Version", "Shot"}
    assert flow.sent == [
        ("Version", 1, "thumbnail.1003.jpg", "thumb_image"),
        ("Version", 1, "before_after.mp4", "sg_uploaded_movie"),
        ("Note", 1, "contact_sheet.png", "attachments"),
    ]


def test_what_flow_does_not_know_is_named(version: VersionFolder, flow: Any) -> None:
    with pytest.raises(SettingError, match="Flow knows no task 'roto'; correct --task"):
        recipes.find("flow").publish(published(version), Target("Show", "sh010", "roto"))
    assert flow.find("Version", [], filter_operator="all") == []


@pytest.fixture
def asset_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """OpenAssetIO's own Basic Asset Library, a real manager, by the studio's configuration; the managers made of it."""
    pytest.importorskip("openassetio_manager_bal", reason="the extra openassetio is not installed")
    pytest.importorskip("openassetio_mediacreation", reason="the extra openassetio is not installed")
    from void_server.publishing.recipes.openassetio import OpenAssetIO

    policy = {"openassetio-mediacreation:managementPolicy.Managed": {}}
    library = {"managementPolicy": {"write": {"default": policy}, "read": {"default": policy}}, "entities": {}}
    (tmp_path / "library.json").write_text(json.dumps(library))
    (tmp_path / "openassetio.toml").write_text(
        '[manager]\nidentifier = "org.openassetio.examples.manager.bal"\n'
        f'[manager.settings]\nlibrary_path = "{tmp_path}/library.json"\n'
    )
    monkeypatch.setenv("OPENASSETIO_DEFAULT_CONFIG", str(tmp_path / "openassetio.toml"))
    monkeypatch.setenv("OPENASSETIO_REFERENCE", "bal:///{project}_{shot}_{product}")
    made: list[Any] = []
    connect = OpenAssetIO.connect

    def noting(self: OpenAssetIO) -> Any:
        made.append(connect(self))
        return made[-1]

    monkeypatch.setattr(OpenAssetIO, "connect", noting)
    return made


def test_openassetio_gets_the_plate_as_a_version_that_can_be_resolved(
    version: VersionFolder, asset_library: Any
) -> None:
    from openassetio.access import ResolveAccess
    from openassetio.utils import FileUrlPathConverter
    from openassetio_mediacreation import traits

    made = published(version)
    told = recipes.find("openassetio").publish(made, WHERE)
    (manager,) = asset_library
    reference = told.removeprefix(f"{manager.displayName()} has ").removesuffix(".")
    assert reference.startswith("bal:///Show_sh010_cleanup")
    wanted = {
        traits.content.LocatableContentTrait_v1.kId,
        traits.timeDomain.FrameRangedTrait_v1.kId,
        traits.color.OCIOColorManagedTrait_v1.kId,
    }
    entity = manager.createEntityReference(reference)
    data = manager.resolve(entity, wanted, ResolveAccess.kRead, manager.createContext())
    location = traits.content.LocatableContentTrait_v1(data).getLocation()
    assert FileUrlPathConverter().pathFromUrl(location) == made.plates
    frames = traits.timeDomain.FrameRangedTrait_v1(data)
    assert (frames.getStartFrame(), frames.getEndFrame()) == (1001, 1004)
    assert traits.color.OCIOColorManagedTrait_v1(data).getColorspace() == "lin_rec709"


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("OPENASSETIO_REFERENCE", "ams://{shot}", "knows no reference like ams://sh010; correct"),
        ("OPENASSETIO_REFERENCE", "bal:///{episode}", "cannot be filled in"),
        ("OPENASSETIO_DEFAULT_CONFIG", "/nowhere.toml", "manager in .OPENASSETIO_DEFAULT_CONFIG cannot be used"),
    ],
)
@pytest.mark.usefixtures("asset_library")
def test_what_openassetio_cannot_use_is_named(
    version: VersionFolder, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingError, match=sentence):
        recipes.find("openassetio").publish(published(version), WHERE)


@pytest.mark.usefixtures("asset_library")
def test_a_manager_that_does_not_take_sequences_is_told(version: VersionFolder, tmp_path: Path) -> None:
    library = json.loads((tmp_path / "library.json").read_text())
    library["managementPolicy"]["write"]["default"] = {}
    (tmp_path / "library.json").write_text(json.dumps(library))
    with pytest.raises(SettingError, match="does not manage image sequences"):
        recipes.find("openassetio").publish(published(version), WHERE)


def test_a_recipe_without_its_server_says_which_variable_it_needs(version: VersionFolder) -> None:
    for name, module in (
        ("kitsu", "gazu"),
        ("ayon", "ayon_api"),
        ("flow", "shotgun_api3"),
        ("openassetio", "openassetio"),
    ):
        pytest.importorskip(module, reason=f"the extra {name} is not installed")
        with pytest.raises(SettingError, match="needs the environment variable"):
            recipes.find(name).publish(published(version), WHERE)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--to", "jira", "--project", "a", "--shot", "b", "--task", "c"], "no recipe 'jira'; choose from ayon, flow"),
        (["--to", "kitsu", "--project", "a"], "The shot in kitsu is not named; give --shot."),
        (["--movie", "--fps", "0"], "fps is '0'; give a number from 1 to 1000"),
    ],
)
def test_the_command_says_what_is_wrong_before_it_publishes(
    version: VersionFolder, words: list[str], sentence: str
) -> None:
    told = subprocess.run([*VOID, "publish", str(version.folder), *words], capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert sentence in told.stderr
    assert not version.publication.exists()


def test_the_command_publishes_to_kitsu(version: VersionFolder, kitsu: Tracker) -> None:
    words = ["--to", "kitsu", "--project", "Show", "--sequence", "sq010", "--shot", "sh010", "--task", "Compositing"]
    told = subprocess.run([*VOID, "publish", str(version.folder), *words], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines() == [str(version.publication), "Kitsu has preview v1 on sh010 Compositing."]
    assert not kitsu.wrong


def test_a_codec_without_a_movie_is_refused(version: VersionFolder) -> None:
    command = [*VOID, "publish", str(version.folder), "--codec", "prores"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--codec is that of the movie; add --movie" in done.stderr
    assert not version.published.exists()
