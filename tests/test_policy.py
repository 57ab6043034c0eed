"""The studio's policy: every way in obeys it, and says in one sentence what it forbids."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from void_server import permission, pipeline
from void_server.api import Client, Job, JobState, Settings, Shot, policy
from void_server.api.errors import InputError, NotPermitted, SettingError
from void_server.api.job import new_id
from void_server.api.policy import Policy
from void_server.engines import Engine
from void_server.farm.fields import Fields
from void_server.farm.plan import plan
from void_server.farm.site import Site
from void_server.farm.submit import Wanted, submit
from void_server.farm.tasks.run import run_tasks
from void_server.pipeline import Part
from void_server.quadmask import reasoners

from .test_service import RunningServer, no_server_stays  # noqa: F401 -- a fixture

pytestmark = pytest.mark.slow

VOID = [sys.executable, "-c", "from void_server.cli import main; main()"]
DIGEST = "0" * 64


@pytest.fixture
def decide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes the studio's policy."""
    file = tmp_path / "site" / "policy.json"
    file.parent.mkdir()
    monkeypatch.setenv(policy.ENVIRONMENT, str(file))

    def write(**said: Any) -> Path:
        file.write_text(json.dumps(said))
        return file

    write()
    return write


def shot_of(folder: Path, *, quadmask: str | None = None, analysis: str | None = None, **settings: Any) -> Shot:
    return Shot(
        str(folder / "plate"),
        str(folder / "roto"),
        frames="1001-1004",
        quadmask=quadmask,
        analysis=analysis,
        settings=Settings(**settings),
    )


def ended(client: Client, job: Job) -> Job:
    *_, last = client.watch(job.id)
    return last


FORBIDDEN = [
    ({"generative": False}, {"engine": "void"}, "forbids generated pixels, which the engine void makes"),
    ({"cloud": False}, {"reasoner": "gemini"}, "as the reasoner gemini would"),
    ({"engines": ["void"]}, {"engine": "cleanplate"}, "forbids the engine cleanplate; choose void"),
    ({"engines": []}, {"engine": "cleanplate"}, "forbids the engine cleanplate; ask whoever keeps"),
]


@pytest.mark.parametrize(("decided", "settings", "sentence"), FORBIDDEN)
def test_every_entrance_of_the_pipeline_obeys_the_policy(
    shot: Path, tmp_path: Path, decide: Any, decided: dict[str, Any], settings: dict[str, Any], sentence: str
) -> None:
    file, asked, folder = decide(**decided), shot_of(shot, **settings), tmp_path / "v001"
    folder.mkdir()
    for enter in (
        lambda: pipeline.inspect(asked),
        lambda: pipeline.run(new_id(), asked, folder, lambda _: None),
        lambda: plan(asked, Fields()),
        *(lambda part=part: pipeline.run_part(part, new_id(), asked, folder, lambda _: None) for part in Part),
    ):
        with pytest.raises(NotPermitted) as caught:
            enter()
        assert sentence in str(caught.value)
        assert str(file) in str(caught.value)
    assert not list(folder.iterdir())


def test_what_makes_no_pixels_and_asks_nobody_is_allowed(shot: Path, decide: Any) -> None:
    decide(cloud=False, generative=False, engines=["cleanplate"])
    permission.check(shot_of(shot, engine="void", until="quadmask"))
    permission.check(shot_of(shot, reasoner="gemini", quadmask=str(shot / "roto")))
    permission.check(shot_of(shot))


def test_an_analysis_file_does_not_let_a_generative_engine_in(shot: Path, tmp_path: Path, decide: Any) -> None:
    decide(generative=False)
    analysis = tmp_path / "analysis.json"
    analysis.write_text(json.dumps({"object": "x", "engine": "cleanplate", "affected": []}))
    with pytest.raises(NotPermitted, match="generated pixels"):
        pipeline.inspect(shot_of(shot, reasoner="file", analysis=str(analysis), engine="void"))


def test_an_engine_or_reasoner_that_does_not_say_is_taken_for_the_worst() -> None:
    assert Engine.generative
    assert reasoners.Reasoner.cloud
    assert [name for name in ("image", "none", "file", "local", "gemini") if reasoners.find(name).cloud] == ["gemini"]


def test_weights_that_the_policy_does_not_name_are_not_loaded(
    shot: Path, tmp_path: Path, decide: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("void_server.engines.cleanplate.CleanPlate.weights", lambda *_: {"w.safetensors": "1" * 64})
    decide(weights=[DIGEST])
    (tmp_path / "v001" / ".work").mkdir(parents=True)
    (tmp_path / "v001" / ".work" / "survey.json").write_text("{}")
    asked, refused = shot_of(shot), r"the weights w.safetensors of the engine cleanplate \(SHA-256 1111"
    with pytest.raises(NotPermitted, match=refused):
        pipeline.run_part(Part.REMOVE, new_id(), asked, tmp_path / "v001", lambda _: None)
    with pytest.raises(NotPermitted, match=refused):
        pipeline.run(new_id(), asked, tmp_path / "v002", lambda _: None)
    decide(weights=["1" * 64])
    permission.check_weights(asked, lambda: {"w.safetensors": "1" * 64})


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("{", "cannot be used, so no job begins"),
        ('{"clouds": false}', "no entry 'clouds'; known are cloud, generative"),
        ('{"cloud": "no"}', "cloud is 'no'; give true or false"),
        ('{"weights": ["abc"]}', "a list of SHA-256"),
        ('{"approvers": {"jo": "key"}}', "public keys by name"),
        ('{"approval": true}', "approvers names nobody"),
    ],
)
def test_a_damaged_policy_lets_nothing_in(shot: Path, decide: Any, text: str, wrong: str) -> None:
    decide().write_text(text)
    with pytest.raises(SettingError, match=wrong):
        pipeline.inspect(shot_of(shot))


def test_a_policy_that_is_named_and_missing_lets_nothing_in(shot: Path, decide: Any) -> None:
    decide().unlink()
    with pytest.raises(SettingError, match=r"policy.json is not there; correct \$VOID_POLICY"):
        pipeline.inspect(shot_of(shot))


def test_without_a_policy_everything_is_allowed() -> None:
    assert policy.load() == Policy()


def test_the_command_is_refused_before_a_version_is_made(shot: Path, tmp_path: Path, decide: Any) -> None:
    decide(engines=["void"])
    for transfer in ("path", "upload"):
        told = subprocess.run(
            [
                *VOID,
                "remove",
                str(shot / "plate"),
                str(shot / "roto"),
                "-o",
                str(tmp_path / "out"),
                "--transfer",
                transfer,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert told.returncode == 2, told.stderr
        assert "The studio's policy forbids the engine cleanplate; choose void" in told.stderr
    assert not list((tmp_path / "out").glob("v*"))


def test_a_server_obeys_at_submission_at_upload_and_when_a_job_is_resumed(
    shot: Path, tmp_path: Path, decide: Any
) -> None:
    decide()
    server = RunningServer(shot, tmp_path)
    with Client(server.address) as client:
        info = client.hello()
        assert info.generative == ("void",)
        assert info.cloud == ("gemini",)
        job = client.submit(shot_of(shot), str(tmp_path / "out"))
        client.cancel(job.id)
        stopped = ended(client, job)
        decide(engines=[])
        with pytest.raises(NotPermitted, match="forbids the engine cleanplate"):
            client.submit(shot_of(shot), str(tmp_path / "out"))
        files = {name: sorted(map(str, (shot / name).glob("*.exr"))) for name in ("plate", "roto")}
        with pytest.raises(NotPermitted, match="forbids the engine cleanplate"):
            client.submit_files(shot_of(shot), files)
        if stopped.state is not JobState.DONE:
            with pytest.raises(NotPermitted, match="forbids the engine cleanplate"):
                client.resume(job.id)


def test_a_job_that_waited_while_the_policy_changed_is_not_done(
    shot: Path, tmp_path: Path, decide: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by a worker that is confined: the file that replaces the policy counts."""
    file = decide()
    opened = tmp_path / "open"
    (tmp_path / "gate.py").write_text(
        "import pathlib, time\nfrom void_server import pipeline\nfrom void_server.pipeline import inspect\n"
        f"def run(*asked):\n    while not pathlib.Path({str(opened)!r}).exists():\n        time.sleep(0.02)\n"
        "    return pipeline.run(*asked)\n"
    )
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        server = RunningServer(shot, tmp_path, pipeline="gate")
    with Client(server.address) as client:
        job = client.submit(shot_of(shot), str(tmp_path / "out"))
        new = file.with_name("new.json")
        new.write_text(json.dumps({"engines": []}))
        new.replace(file)
        opened.touch()
        last = ended(client, job)
    assert last.state is JobState.FAILED
    assert "forbids the engine cleanplate" in str(last.error)


def test_a_farm_task_obeys_a_policy_that_came_after_its_submission(shot: Path, tmp_path: Path, decide: Any) -> None:
    ((job, _),) = submit([Wanted(shot_of(shot), tmp_path / "out", Fields())], Site(), "openjd", dry_run=True)
    decide(engines=["void"])
    with pytest.raises(InputError, match="forbids the engine cleanplate"):
        run_tasks(job, "quadmask", (0,), lambda path: path, lambda _: None)


@pytest.mark.parametrize("by", ["variable", "policy"])
def test_no_cloud_holds_a_local_model_on_a_public_host_back(
    decide: Any, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    from void_server.quadmask.analysts import privacy

    if by == "policy":
        decide(cloud=False)
    else:
        monkeypatch.setenv(privacy.FORBIDDEN, "1")
    with pytest.raises(SettingError, match="sends no footage off the studio network"):
        privacy.check_cloud("models.example.com")
