"""The real clients of Gemini and of OpenAI's protocol, against servers on this machine that speak them."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from void_server import pipeline
from void_server.api.errors import JobCancelled, JobFailed, SettingError
from void_server.api.job import Progress
from void_server.api.shot import Settings, Shot
from void_server.api.version import VersionFolder
from void_server.cli.declared import settings_of
from void_server.imaging import exr
from void_server.imaging.window import Window
from void_server.pipeline import reason
from void_server.quadmask import analysts, classes, question
from void_server.quadmask.analysis import Analysis, Moving, Place, Thing, schema
from void_server.quadmask.analysts import privacy
from void_server.quadmask.proximity import reachable
from void_server.sample import write_sample

from .loopback import KEY, Answer, Loopback, loopback, pictures_of, words_of

pytestmark = pytest.mark.slow

PACKAGES = {"gemini": "google.genai", "local": "openai"}
PROTOCOLS = list(PACKAGES)
FRAMES = range(1001, 1009)


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("asked") / "s"
    write_sample(folder, "walkby", (160, 90), FRAMES)
    return folder


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    name: str = request.param
    pytest.importorskip(PACKAGES[name], reason=f"the extra {name} is not installed")
    for variable in list(os.environ):
        if variable.startswith(("VOID_", "GEMINI", "GOOGLE")):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("VOID_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    monkeypatch.setenv("VOID_LOCAL_KEY", KEY)
    monkeypatch.setenv("VOID_LOCAL_MODEL", "qwen")
    return name


def use(monkeypatch: pytest.MonkeyPatch, served: Loopback) -> None:
    monkeypatch.setenv("VOID_GEMINI_URL", served.url)
    monkeypatch.setenv("VOID_LOCAL_URL", served.url)
    # busy services are asked again after a pause that grows; here they are not worth waiting for
    monkeypatch.setattr("void_server.quadmask.analysts.asking._FIRST_PAUSE", 0.01)


def box(protocol: str, left: int, top: int, right: int, bottom: int, frame: int = 1001) -> dict[str, Any]:
    """A place as the service writes it."""
    if protocol == "gemini":
        return {"frame": frame, "box_2d": [top, left, bottom, right]}
    return {"frame": frame, "bbox_2d": [left, top, right, bottom]}


def said(protocol: str, **changes: Any) -> str:
    answer = {
        "object": "a man",
        "belongings": [],
        "artefacts": [],
        "objects": [
            {
                "name": "painting",
                "why": "it hangs there",
                "places": [box(protocol, 100, 100, 300, 400)],
                "confidence": 0.8,
                "will": "stay",
                "path": [],
            }
        ],
        "scene": "An empty room with a painting.",
        "confidence": 0.9,
    }
    return json.dumps({**answer, **changes})


def run(shot: Path, folder: Path, **settings: Any) -> tuple[VersionFolder, tuple[str, ...]]:
    folder.mkdir(parents=True)
    asked = Shot(
        str(shot / "plate"),
        str(shot / "roto"),
        settings=settings_of({"until": "quadmask", "segmenter": "grabcut", **settings}),
    )
    pipeline.inspect(asked)
    return VersionFolder(folder), pipeline.run("0123456789ab", asked, folder, lambda _: None)


def test_an_answer_becomes_a_quadmask(
    protocol: str, shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with loopback(protocol, Answer(said(protocol))) as served:
        use(monkeypatch, served)
        results, _ = run(shot, tmp_path / "v001", reasoner=protocol)
    assert served.wrong == []
    (asked,) = served.asked
    pictures = pictures_of(asked)
    assert len(pictures) == len(FRAMES)
    # no larger than the plate
    assert pictures[0].shape == (90, 160, 3)
    # the object's outline
    magenta = (pictures[4][..., 2] > 200) & (pictures[4][..., 1] < 90) & (pictures[4][..., 0] > 140)
    assert magenta.sum() > 100
    assert "1001, 1002" in words_of(asked)
    told = json.loads(results.reasoning_file.read_text())
    assert {region["name"] for region in told["regions"]} == {"painting"}
    assert told["regions"][0]["confidence"] == 0.8
    assert told["scene"] == "An empty room with a painting."
    manifest = json.loads((results.folder / "job.json").read_text())
    assert manifest["sent"][0]["to"] == served.url.split("/")[2]
    assert manifest["sent"][0]["tokens_in"] == 2100
    assert "frames 1001" in manifest["sent"][0]["what"]
    assert json.loads((results.folder / "answer.txt").read_text())["object"] == "a man"
    codes = classes.read(results.quadmask(1001), exr.windows(results.quadmask(1001))[0])
    inside = codes[15:30, 22:40]
    assert (inside == classes.AFFECTED).mean() > 0.5
    assert (codes[:, 100:] != classes.AFFECTED).all()


def test_what_is_sent_and_where_is_said_before_it_leaves_and_once(
    protocol: str, shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said_at: dict[str, int] = {}
    busy = Answer(status=503, body={"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}})
    with loopback(protocol, busy, Answer("{}"), Answer(said(protocol))) as served:
        use(monkeypatch, served)
        asked = Shot(
            str(shot / "plate"),
            str(shot / "roto"),
            settings=settings_of({"until": "quadmask", "segmenter": "grabcut", "reasoner": protocol}),
        )

        def report(progress: Progress) -> None:
            said_at.setdefault(progress.sending, len(served.heard))

        (tmp_path / "v001").mkdir()
        pipeline.run("0123456789ab", asked, tmp_path / "v001", report)
        assert len(served.asked) == 3
        nothing, (words, requests) = list(said_at.items())
    assert nothing == ("", 0)
    assert requests == 0
    assert re.search(r"^frames 1001, 1002, .*1008 \(160x90, \d+ kB\), ", words)
    assert bool(re.search(r"a clip of 8 frames \(\d+x\d+, \d+ kB\)", words)) == (protocol == "gemini")
    assert words.endswith(f" at {served.url.split('/')[2]}")
    for entry in json.loads((tmp_path / "v001" / "job.json").read_text())["sent"]:
        assert words == f"{entry['what']}, to {entry['model']} at {entry['to']}"


def test_the_command_says_once_what_it_sends_also_without_progress(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openai", reason="the extra local is not installed")
    program, out = Path(sys.executable).with_name("void"), tmp_path / "out"
    words = ["quadmask", shot / "plate", shot / "roto", "-o", out, "--reasoner", "local", "--segmenter", "grabcut"]
    monkeypatch.setenv("VOID_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("VOID_LOCAL_MODEL", "qwen")
    with loopback("local", Answer(said("local"))) as served:
        monkeypatch.setenv("VOID_LOCAL_URL", served.url)
        for more in ([], ["--no-progress", "--json"]):
            command = list(map(str, [program, *words, *more]))
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
            assert done.returncode == 0, done.stderr
            (line,) = (line for line in done.stderr.splitlines() if "sending" in line)
            assert line.startswith("sending        frames 1001, 1002")
            assert line.endswith(f"to qwen at {served.url.split('/')[2]}")
    assert json.loads(done.stdout)["state"] == "done"


def test_the_key_is_nowhere_in_what_a_job_leaves(
    protocol: str, shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    refusal = {"error": {"code": 403, "message": f"key {KEY} is not valid", "status": "PERMISSION_DENIED"}}
    with loopback(protocol, Answer(status=403, body=refusal)) as served:
        use(monkeypatch, served)
        with pytest.raises(JobFailed, match="403") as caught:
            run(shot, tmp_path / "v001", reasoner=protocol)
    everything = "".join(path.read_text("latin-1") for path in (tmp_path / "v001").rglob("*") if path.is_file())
    assert KEY not in everything + str(caught.value) + caught.value.detail + caplog.text
    assert "***" in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_busy_service_is_asked_again(
    protocol: str, shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = Answer(status=429, body={"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}})
    broken = Answer(status=503, body={"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}})
    with loopback(protocol, busy, broken, Answer(said(protocol))) as served:
        use(monkeypatch, served)
        run(shot, tmp_path / "v001", reasoner=protocol)
    assert len(served.asked) == 3


@pytest.mark.parametrize(
    ("first", "what"),
    [
        ("I see a man walking.", "no JSON object"),
        ('{"object": "a man", "belongings": [{"name": "ha', "ends in the middle"),
        ('{"objects": [{"name": "ball", "will": "fly", "places": []}]}', "objects.0.will"),
        ('{"objects": [{"name": "ball", "places": [{"frame": 1001, "box_2d": [1, 2, 3]}]}]}', "not four numbers"),
        ('{"artefacts": "a shadow"}', "artefacts is not a list"),
    ],
)
def test_a_malformed_answer_is_asked_for_again(
    protocol: str, first: str, what: str, shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with loopback(protocol, Answer(first), Answer(said(protocol))) as served:
        use(monkeypatch, served)
        results, _ = run(shot, tmp_path / "v001", reasoner=protocol)
    assert what in words_of(served.asked[1])
    assert what not in words_of(served.asked[0])
    assert len(json.loads((results.folder / "job.json").read_text())["sent"]) == 2


def test_a_resumed_job_does_not_ask_again(
    protocol: str, shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with loopback(protocol, Answer(said(protocol)), Answer(said(protocol, scene="Another."))) as served:
        use(monkeypatch, served)

        def stopped(progress: Progress) -> None:
            if progress.stage == "Finding what is affected" and progress.frame == FRAMES[2]:
                raise JobCancelled("enough")

        folder = tmp_path / "v001"
        folder.mkdir()
        settings = Settings(until="quadmask", segmenter="grabcut", reasoner=protocol)
        asked = Shot(str(shot / "plate"), str(shot / "roto"), settings=settings)
        with pytest.raises(JobCancelled):
            pipeline.run("0123456789ab", asked, folder, stopped)
        pipeline.run("0123456789ab", asked, folder, lambda _: None)
    assert len(served.asked) == 1
    manifest = json.loads((folder / "job.json").read_text())
    assert len(manifest["sent"]) == 1
    assert manifest["scene"] == "An empty room with a painting."


def test_what_stays_malformed_is_refused_with_what_was_wrong(
    protocol: str, shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with loopback(protocol, Answer("no")) as served:
        use(monkeypatch, served)
        with pytest.raises(JobFailed, match="no usable answer in 2 attempts: no JSON") as caught:
            run(shot, tmp_path / "v001", reasoner=protocol)
    assert caught.value.detail == "no"


def test_boxes_outside_the_frame_are_cut_or_left_out_and_that_is_said(
    protocol: str, shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corners = [(-50, 100, 300, 400, 1001), (1200, 100, 1300, 400, 1003), (0, 0, 9, 9, 7)]
    places = [box(protocol, *each) for each in corners]
    thing = {"name": "painting", "why": "", "places": places, "confidence": 95, "will": "stay", "path": []}
    with loopback(protocol, Answer(said(protocol, objects=[thing]))) as served:
        use(monkeypatch, served)
        _, warnings = run(shot, tmp_path / "v001", reasoner=protocol)
    (warning,) = [text for text in warnings if "was corrected" in text]
    for part in ("clipped", "dropped", "frame 7 was not shown; frame 1001 is used"):
        assert part in warning


def test_a_refusal_says_so(protocol: str, shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = {
        "gemini": {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}},
        "local": {
            "id": "1",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": None, "refusal": "I cannot help with that."},
                }
            ],
        },
    }
    with loopback(protocol, Answer(body=refusals[protocol])) as served:
        use(monkeypatch, served)
        with pytest.raises(JobFailed, match=r"refused to answer \((PROHIBITED_CONTENT|I cannot help)"):
            run(shot, tmp_path / "v001", reasoner=protocol)


def test_a_service_that_never_answers_ends_the_wait(
    protocol: str, shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with loopback(protocol, Answer(said(protocol), delay=60)) as served:
        use(monkeypatch, served)
        monkeypatch.setattr("void_server.quadmask.analysts.gemini._PATIENCE", 0.2)
        monkeypatch.setattr("void_server.quadmask.analysts.local._PATIENCE", 0.2)
        with pytest.raises(JobFailed, match="no answer within"):
            run(shot, tmp_path / "v001", reasoner=protocol)


def test_nobody_there_is_a_sentence(protocol: str, shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with loopback(protocol, Answer("")) as served:
        pass
    use(monkeypatch, served)
    with pytest.raises(JobFailed, match="cannot be reached"):
        run(shot, tmp_path / "v001", reasoner=protocol)


def test_a_local_model_may_give_boxes_in_pixels(shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openai", reason="the extra local is not installed")
    thing = {"name": "painting", "places": [{"frame": 1001, "bbox_2d": [16, 9, 48, 36]}]}
    with loopback("local", Answer(json.dumps({"objects": [thing]}))) as served:
        use(monkeypatch, served)
        monkeypatch.setenv("VOID_LOCAL_MODEL", "qwen2.5-vl")
        monkeypatch.setenv("VOID_LOCAL_BOXES", "absolute")
        results, _ = run(shot, tmp_path / "v001", reasoner="local")
    assert "160 x 90" in words_of(served.asked[0])
    codes = classes.read(results.quadmask(1001), exr.windows(results.quadmask(1001))[0])
    rows, columns = np.where(codes == classes.AFFECTED)
    assert 10 < columns.mean() < 55
    assert 5 < rows.mean() < 40


# -- the question


class Knock:
    """A shot in which an object comes in at frame 20, meets a box at frame 40, which then moves, and leaves at 60."""

    frames = tuple(range(1001, 1081))
    small_size = (90, 160)
    canvas = Window(0, 0, 1920, 1080)

    def __init__(self) -> None:
        self._floor = np.random.default_rng(0).random((90, 160, 3)).astype(np.float32)

    def small_roto(self, index: int) -> np.ndarray:
        roto = np.zeros(self.small_size, np.float32)
        if 20 <= index < 60:
            left = 2 * (index - 20)
            roto[40:60, left : left + 20] = 1
        return roto

    def small_plate(self, index: int) -> np.ndarray:
        plate = self._floor.copy()
        left = 64 + 3 * max(0, index - 40)
        if left < 140:
            plate[42:58, left : left + 16] = (0.9, 0.1, 0.1)
        plate[self.small_roto(index) > 0] = (0.1, 0.1, 0.9)
        return plate

    def evenly_exposed(self, index: int) -> np.ndarray:
        return self.small_plate(index)

    def read_plate(self, _: int, window: Window) -> np.ndarray:
        # lines that are one pixel wide at full size only
        plate = np.zeros((window.height, window.width, 3), np.float32)
        plate[:, ::3] = 1
        return plate

    def read_roto(self, _: int, window: Window) -> np.ndarray:
        return np.zeros((window.height, window.width), np.float32)


def test_frames_are_shown_where_the_object_is_at_its_first_contact_and_at_both_ends() -> None:
    footage: Any = Knock()
    shown = question.chosen(footage)
    assert len(shown) == question.PICTURES
    assert {0, 79, 20, 59} <= set(shown)
    assert any(abs(index - 41) <= 1 for index in shown)
    assert sum(20 <= index < 60 for index in shown) >= 6


def test_pictures_are_of_the_full_plate() -> None:
    footage: Any = Knock()
    asked = question.build(footage, with_clip=False)
    assert asked.size == (1280, 720)
    picture = cv2.imdecode(np.frombuffer(asked.pictures[0][1], np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (720, 1280, 3)
    # at 1280 the lines, three pixels apart at 1920, can still be told from each other; at 160 they are one grey
    row = picture[400, 600:700].astype(float).mean(axis=-1)
    assert row.std() > 30


def test_the_question_is_that_of_the_published_way() -> None:
    footage: Any = Knock()
    words = question.build(footage, with_clip=False).words
    assert "8 from top to bottom and 14 from left to right" in words
    assert "at most 3" in words
    assert "at most 5" in words
    for idea in ("it falls", "holding up the object", "should_have_stayed", "Wake", "one frame only", "frame by frame"):
        assert idea in words, idea
    properties = schema("box_2d")["properties"]
    assert {"should_have_stayed", "path", "will"} <= set(properties["objects"]["items"]["properties"])
    assert properties["artefacts"]["items"]["properties"]["category"]["enum"] == [
        *("shadow", "reflection", "light", "contact", "wake")
    ]


def test_objects_that_nothing_of_the_removal_reaches_are_left_out_and_that_is_said() -> None:
    def thing(name: str, left: int, top: int) -> Moving:
        relative = left / 160, top / 90, (left + 8) / 160, (top + 5) / 90
        return Moving(name=name, places=[Place(frame=1041, box=relative)])

    # one that the object reaches, one that the first reaches, one in another corner, and one of which nobody knows
    things = [thing("first", 110, 50), thing("second", 135, 50), thing("clock", 0, 0), Moving(name="somewhere")]
    far = Thing(name="reflection", places=[Place(frame=1001, box=(0.0, 0.0, 0.1, 0.1))])
    footage: Any = Knock()
    analysis, notes = reachable(Analysis(objects=things, artefacts=[far]), footage)
    assert [kept.name for kept in analysis.objects] == ["first", "second", "somewhere"]
    assert analysis.artefacts == [far]
    assert notes == ["clock was left out, as it is nowhere near the object"]


# -- what real services do


def sent(folder: Path) -> list[dict[str, Any]]:
    """The record of requests, in the manifest or, for a job that failed, where it can be resumed."""
    version = VersionFolder(folder)
    if version.manifest.is_file():
        return list(json.loads(version.manifest.read_text())["sent"])
    return list(json.loads((version.intermediate / "analysis.json").read_text())["asked"])


@pytest.mark.usefixtures("clean")
def test_gemini_is_asked_as_google_advises(shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("google.genai", reason="the extra gemini is not installed")
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    monkeypatch.setenv("GOOGLE_GENAI_API_VERSION", "v9")
    configs = []
    for number, model in enumerate(("", "gemini-2.5-pro")):
        with loopback("gemini", Answer(said("gemini"))) as served:
            use(monkeypatch, served)
            run(shot, tmp_path / f"v00{number}", reasoner="gemini", reasoner_model=model)
        assert served.heard[0].startswith(f"POST /v1beta/models/{model or 'gemini-3.1-pro-preview'}:generateContent")
        configs.append(served.asked[0]["generationConfig"])
        parts = [part for content in served.asked[0]["contents"] for part in content["parts"]]
        (clip,) = [part for part in parts if "video/mp4" in part.get("inlineData", {}).values()]
        # it would look at one frame a second
        assert clip["videoMetadata"]["fps"] == 12
    # 3 loops below 1
    assert [config["temperature"] for config in configs] == [1.0, 0.0]
    assert configs[0]["maxOutputTokens"] == 32768
    # those for thinking are paid for, too
    assert sent(tmp_path / "v000")[0]["tokens_out"] == 1321


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, r"Check the key \((GEMINI_API_KEY|VOID_LOCAL_KEY)\)"),
        (404, "Name another model with --reasoner-model, or VOID_(GEMINI|LOCAL)_MODEL where the server runs"),
        (413, "shorter range of frames"),
    ],
)
def test_advice_fits_the_status(
    protocol: str, status: int, advice: str, shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"error": {"code": status, "message": "no", "status": "NOPE"}}
    with loopback(protocol, Answer(status=status, body=body)) as served:
        use(monkeypatch, served)
        with pytest.raises(JobFailed, match=f"answered {status}: .*{advice}") as caught:
            run(shot, tmp_path / "v001", reasoner=protocol)
    assert "Resume" not in str(caught.value)
    assert len(served.asked) == 1


def test_the_pause_that_a_service_asks_for_is_kept(
    protocol: str, shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = Answer(status=429, body={"error": {"code": 429, "message": "slow down"}}, retry_after="3")
    slept = []
    with loopback(protocol, busy, Answer(said(protocol))) as served:
        use(monkeypatch, served)
        monkeypatch.setattr(
            "void_server.quadmask.analysts.asking.Conversation._sleep", lambda _, seconds: slept.append(seconds)
        )
        run(shot, tmp_path / "v001", reasoner=protocol)
    assert slept == [3]


def test_a_pause_beyond_the_deadline_is_not_waited_for(
    protocol: str, shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = Answer(status=429, body={"error": {"code": 429, "message": "slow down"}}, retry_after="86400")
    with loopback(protocol, busy) as served:
        use(monkeypatch, served)
        with pytest.raises(JobFailed, match="answered 429"):
            run(shot, tmp_path / "v001", reasoner=protocol)
    assert len(served.asked) == 1


def test_a_reset_connection_is_tried_again_and_both_requests_are_in_the_record(
    protocol: str, shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with loopback(protocol, Answer(reset=True), Answer(said(protocol))) as served:
        use(monkeypatch, served)
        run(shot, tmp_path / "v001", reasoner=protocol)
    first, second = sent(tmp_path / "v001")
    host = served.url.split("/")[2]
    assert "cannot be reached" in first["failed"]
    assert "failed" not in second
    # the host that was named, and the address that it was found at
    assert [first["to"], second["to"], second["reached"]] == [host, host, host]


def test_a_job_takes_no_more_requests_than_it_may_and_all_are_in_the_record(
    protocol: str, shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Answer(status=503, body={"error": {"code": 503, "message": f"overloaded, {KEY}", "status": "UNAVAILABLE"}})
    with loopback(protocol, broken) as served:
        use(monkeypatch, served)
        monkeypatch.setenv("VOID_REASONER_REQUESTS", "3")
        with pytest.raises(JobFailed, match=r"answered 503.*Resume later"):
            run(shot, tmp_path / "v001", reasoner=protocol)
        assert len(served.asked) == 3
        record = sent(tmp_path / "v001")
        assert ["503" in entry["failed"] and KEY not in entry["failed"] for entry in record] == [True, True, True]
        # those before count for a job that is resumed
        asked = Shot(str(shot / "plate"), str(shot / "roto"), settings=Settings(reasoner=protocol, until="quadmask"))
        with pytest.raises(JobFailed, match=r"limit of 3 requests .*VOID_REASONER_REQUESTS"):
            pipeline.run("0123456789ab", asked, tmp_path / "v001", lambda _: None)
    assert len(served.asked) == 3


def test_a_job_spends_no_more_tokens_than_it_may(
    protocol: str, shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with loopback(protocol, Answer("no")) as served:
        use(monkeypatch, served)
        monkeypatch.setenv("VOID_REASONER_TOKENS", "2000")
        with pytest.raises(JobFailed, match=r"limit of 2000 tokens .*VOID_REASONER_TOKENS"):
            run(shot, tmp_path / "v001", reasoner=protocol)
    assert len(served.asked) == 1


def test_a_job_that_is_stopped_does_not_wait_for_the_answer(
    protocol: str, shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "v001"
    folder.mkdir()
    settings = Settings(reasoner=protocol, until="quadmask", segmenter="grabcut")
    asked = Shot(str(shot / "plate"), str(shot / "roto"), settings=settings)
    with loopback(protocol, Answer(said(protocol), delay=600)) as served:
        use(monkeypatch, served)

        def stopped(_: Progress) -> None:
            if served.asked:
                raise JobCancelled("enough")

        # it would take ten minutes
        with pytest.raises(JobCancelled):
            pipeline.run("0123456789ab", asked, folder, stopped)
    (entry,) = sent(folder)
    assert entry["failed"] == "stopped before an answer came"


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (Answer(raw=b"<html><body>Sign in</body></html>"), "something other than JSON"),
        (Answer("{}"), "none of object, belongings"),
        (Answer('{"a":' * 100_000), "nested too deeply"),
        (Answer("I see " + "nothing " * 500_000), "characters, more than"),
    ],
    ids=["web page", "empty", "deep", "long"],
)
def test_an_answer_that_is_none_is_a_sentence(
    protocol: str, answer: Answer, what: str, shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with loopback(protocol, answer) as served:
        use(monkeypatch, served)
        with pytest.raises(JobFailed, match=what) as caught:
            run(shot, tmp_path / "v001", reasoner=protocol)
    assert len(str(caught.value)) < 400


# -- footage and keys go to the host that is named, and to no other


@pytest.mark.parametrize(
    ("allowed", "good"),
    [
        ("127.0.0.1", True),
        ("gpu01, 127.0.0.1:{port}", True),
        ("127.0.0.*", True),
        ("127.0.0.1:1", False),
        ("gpu01", False),
        ("", False),
    ],
)
def test_only_hosts_on_the_list_are_sent_anything(
    protocol: str, allowed: str, good: bool, shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with loopback(protocol, Answer(said(protocol))) as served:
        use(monkeypatch, served)
        host = served.url.split("/")[2]
        monkeypatch.setenv("VOID_ALLOWED_HOSTS", allowed.format(port=host.split(":")[1]))
        if good:
            run(shot, tmp_path / "v001", reasoner=protocol)
        else:
            with pytest.raises(SettingError, match=f"{host} is not among the hosts .*VOID_ALLOWED_HOSTS"):
                run(shot, tmp_path / "v001", reasoner=protocol)
    assert bool(served.heard) == good


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_takes_neither_footage_nor_key_to_another_host(
    protocol: str, status: int, shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        loopback(protocol, Answer(said(protocol))) as other,
        loopback(protocol, Answer(status=status, location=f"{other.url}/stolen?key=1")) as served,
    ):
        use(monkeypatch, served)
        elsewhere = other.url.split("/")[2]
        with pytest.raises(JobFailed, match=f"redirects to {elsewhere}.*nothing was sent there") as caught:
            run(shot, tmp_path / "v001", reasoner=protocol)
    assert other.heard == []
    assert len(served.asked) == 1
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_no_proxy_hears_what_is_sent_without_encryption(
    protocol: str, variable: str, shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with loopback(protocol, Answer(said(protocol))) as proxy, loopback(protocol, Answer(said(protocol))) as served:
        use(monkeypatch, served)
        monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.url.split(':')[2].split('/')[0]}")
        run(shot, tmp_path / "v001", reasoner=protocol)
    assert proxy.heard == []
    assert len(served.asked) == 1


def test_a_proxy_tunnels_to_gemini_and_sees_neither_key_nor_footage_and_none_is_used_in_the_house(
    protocol: str, shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    with loopback("gemini", Answer("")) as proxy:
        use(monkeypatch, proxy)
        monkeypatch.setenv("VOID_GEMINI_URL", "https://gemini.invalid")
        monkeypatch.setenv("VOID_LOCAL_URL", "https://model.invalid/v1")
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(JobFailed, match="cannot be reached"):
            run(shot, tmp_path / "v001", reasoner=protocol)
    assert {request.splitlines()[0] for request in proxy.heard} == (
        {"CONNECT gemini.invalid:443 HTTP/1.1"} if protocol == "gemini" else set()
    )
    assert KEY not in "".join(proxy.heard)


def test_a_name_that_comes_to_mean_a_host_outside_the_house_gets_nothing(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openai", reason="the extra local is not installed")
    monkeypatch.setenv("VOID_NO_CLOUD", "1")
    monkeypatch.setenv("VOID_LOCAL_MODEL", "qwen")
    monkeypatch.setenv("VOID_LOCAL_KEY", KEY)
    real = socket.getaddrinfo
    outside = "127.0.0.2"
    # no public address answers in a test, so one of this machine's stands for it
    monkeypatch.setattr(privacy, "is_private", lambda address: address != outside)
    try:
        served = loopback("local", Answer(said("local")), host=outside)
        other = served.__enter__()
    except OSError:
        pytest.skip(f"this system has no {outside}")
    port = other.url.split(":")[2].split("/")[0]
    asked: list[str] = []

    def answers(host: Any, *rest: Any, **named: Any) -> Any:
        if host != "model.studio":
            return real(host, *rest, **named)
        asked.append(host)
        # whoever checks the name first sees another address than whoever connects
        inside = named.get("type", rest[2] if len(rest) > 2 else 0) != socket.SOCK_STREAM
        return real("127.0.0.1" if inside else outside, *rest, **named)

    try:
        monkeypatch.setattr(socket, "getaddrinfo", answers)
        monkeypatch.setenv("VOID_LOCAL_URL", f"http://model.studio:{port}/v1")
        with pytest.raises(SettingError, match=f"model.studio.*{outside}.*sends no footage off the studio network"):
            run(shot, tmp_path / "v001", reasoner="local")
    finally:
        served.__exit__(None, None, None)
    assert asked
    assert other.heard == []


# -- what is refused at submission


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for variable in list(os.environ):
        if variable.startswith(("VOID_", "GEMINI", "GOOGLE")):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("VOID_HOME", str(tmp_path))
    return tmp_path


def asking(reasoner: str) -> Shot:
    return Shot("p", "r", settings=Settings(reasoner=reasoner))


@pytest.mark.usefixtures("clean")
def test_without_a_key_gemini_is_refused() -> None:
    pytest.importorskip("google.genai", reason="the extra gemini is not installed")
    with pytest.raises(SettingError, match=r"set GEMINI_API_KEY where the server runs, or put it into .*gemini\.key"):
        reason.check(asking("gemini"))


@pytest.mark.skipif(os.name == "nt", reason="permissions are POSIX's")
def test_a_key_file_that_others_can_read_is_refused(clean: Path) -> None:
    pytest.importorskip("google.genai", reason="the extra gemini is not installed")
    file = clean / "gemini.key"
    file.write_text(f"{KEY}\n")
    file.chmod(0o644)
    with pytest.raises(SettingError, match="chmod 600"):
        reason.check(asking("gemini"))
    file.chmod(0o600)
    reason.check(asking("gemini"))
    chosen = analysts.choose("gemini", "gemini-x")
    assert chosen.model == "gemini-x"
    assert KEY not in repr(chosen)


@pytest.mark.usefixtures("clean")
def test_a_studio_can_forbid_the_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOID_NO_CLOUD", "1")
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    with pytest.raises(SettingError, match="sends no footage off the studio network"):
        reason.check(asking("gemini"))
    monkeypatch.setenv("VOID_LOCAL_MODEL", "m")
    monkeypatch.setenv("VOID_LOCAL_URL", "https://8.8.8.8/v1")
    with pytest.raises(SettingError, match="sends no footage off the studio network"):
        reason.check(asking("local"))


@pytest.mark.parametrize(
    ("url", "inside"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://localhost:11434/v1", True),
        ("http://10.1.2.3/v1", True),
        ("http://[::1]/v1", True),
        ("http://93.184.216.34/v1", False),
        ("http://no-such-host.invalid/v1", False),
        # one IPv4 address in IPv6's clothes
        ("http://[::ffff:8.8.8.8]/v1", False),
        ("http://[::ffff:10.1.2.3]/v1", True),
    ],
)
def test_which_hosts_are_in_the_house(url: str, inside: bool) -> None:
    assert privacy.in_house(url) == inside


@pytest.mark.usefixtures("clean")
def test_a_password_in_an_address_is_told_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    assert privacy.host("http://bob:s3cret@box:8000/v1") == "box:8000"
    monkeypatch.setenv("VOID_LOCAL_URL", "http://bob:s3cret@127.0.0.1:8000/v1")
    with pytest.raises(SettingError) as caught:
        reason.check(asking("local"))
    assert "s3cret" not in str(caught.value)


BAD_URLS = [
    "localhost:8000/v1",
    "127.0.0.1:8000",
    "gpu01",
    "ftp://gpu01/v1",
    "file:///etc/passwd",
    "http://",
    "http:///v1",
    "http://:8000/v1",
    "http://gpu01:port/v1",
    "http://gpu01:99999/v1",
    "http://[::1/v1",
    "http://gpu 01/v1",
    "http://gpu01/v1\n",
    f"http://{70 * 'a'}.com/v1",
    "http://gpu..01/v1",
    "nonsense",
]


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("url", BAD_URLS)
@pytest.mark.parametrize("reasoner", PROTOCOLS)
def test_an_address_that_is_none_is_a_sentence_at_submission(
    reasoner: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(PACKAGES[reasoner], reason=f"the extra {reasoner} is not installed")
    variable = f"VOID_{reasoner.upper()}_URL"
    monkeypatch.setenv(variable, url)
    monkeypatch.setenv("VOID_LOCAL_MODEL", "m")
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    with pytest.raises(SettingError, match=f"{variable} is .*write it like http"):
        reason.check(asking(reasoner))


@pytest.mark.usefixtures("clean")
def test_a_bad_address_ends_the_command_with_2(shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openai", reason="the extra local is not installed")
    monkeypatch.setenv("VOID_LOCAL_URL", "bob:s3cret@localhost:8000/v1")
    monkeypatch.setenv("VOID_LOCAL_MODEL", "m")
    program, out = Path(sys.executable).with_name("void"), tmp_path / "out"
    command = [program, "remove", shot / "plate", shot / "roto", "-o", out, "--reasoner", "local"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "VOID_LOCAL_URL is" in done.stderr
    assert "s3cret" not in done.stderr
    assert not out.exists() or not any(out.iterdir())


@pytest.mark.usefixtures("clean")
def test_a_local_model_must_be_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingError, match="set VOID_LOCAL_URL"):
        reason.check(asking("local"))
    pytest.importorskip("openai", reason="the extra local is not installed")
    monkeypatch.setenv("VOID_LOCAL_URL", "http://127.0.0.1:1/v1")
    with pytest.raises(SettingError, match="set VOID_LOCAL_MODEL"):
        reason.check(asking("local"))
    monkeypatch.setenv("VOID_LOCAL_MODEL", "m")
    monkeypatch.setenv("VOID_LOCAL_BOXES", "polar")
    with pytest.raises(SettingError, match="VOID_LOCAL_BOXES is 'polar'"):
        reason.check(asking("local"))


def test_a_reasoner_that_there_is_not() -> None:
    with pytest.raises(SettingError, match="reasoner 'oracle' is not installed"):
        reason.check(asking("oracle"))
