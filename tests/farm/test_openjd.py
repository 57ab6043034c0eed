"""OpenJD, with its own command line and sessions, and Deadline Cloud with its own client."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pytest

from void_server.api.version import VersionFolder
from void_server.farm import site
from void_server.farm.schedulers import openjd
from void_server.farm.submit import submit, submitted
from void_server.farm.tasks import run

from .conftest import open_gate, same
from .jobs import Make, planned, results_of

pytestmark = pytest.mark.slow


@pytest.fixture
def openjd_cli() -> str:
    found = shutil.which("openjd", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if not found:
        pytest.skip("openjd-cli is not installed: OpenJD was not tested")
    return found


def test_openjd_checks_and_runs_the_bundle(
    openjd_cli: str, wanted: Make, site: site.Site, whole: VersionFolder
) -> None:
    ((job, submission),) = submit([wanted(timeout_minutes=30)], site, "openjd")
    template = str(job.folder / "openjd" / "template.json")
    assert "passes validation" in subprocess.check_output([openjd_cli, "check", template], text=True)
    (command,) = submission.commands
    done = subprocess.run([openjd_cli, *command[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "openjd_progress:" in done.stdout
    assert same(results_of(job), whole)


def test_openjd_runs_several_finishing_tasks_as_one_chunk(
    openjd_cli: str, wanted: Make, site: site.Site, whole: VersionFolder
) -> None:
    chunked = dataclasses.replace(site, options={"openjd": {"chunk_seconds": 300}})
    ((job, submission),) = submit([wanted(frames_per_task=2, timeout_minutes=30)], chunked, "openjd")
    file = job.folder / "openjd" / "template.json"
    made = json.loads(file.read_text())
    assert made["extensions"] == ["TASK_CHUNKING"]
    kinds = {step["name"]: step["parameterSpace"]["taskParameterDefinitions"][0]["type"] for step in made["steps"]}
    assert kinds == {"check": "INT", "quadmask": "INT", "finish": "CHUNK[INT]", "report": "INT"}
    (command,) = submission.commands
    # as a service does once it knows how long a task takes
    (space,) = [step["parameterSpace"] for step in made["steps"] if step["name"] == "finish"]
    space["taskParameterDefinitions"][0]["chunks"]["defaultTaskCount"] = 4
    file.write_text(json.dumps(made))
    done = subprocess.run([openjd_cli, *command[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    ran = [line.split("] ", 1)[-1] for line in done.stdout.splitlines() if line.endswith(" done")]
    assert len([line for line in ran if "finish 0-" in line]) == 1, ran
    assert len([line for line in ran if "finish " in line]) < 6, ran
    assert same(results_of(job), whole)


def test_a_service_without_chunks_gets_each_task_by_itself(wanted: Make, site: site.Site) -> None:
    job = planned(wanted(), site)
    made = json.loads((job.folder / "openjd" / "template.json").read_text())
    assert "extensions" not in made
    assert {step["parameterSpace"]["taskParameterDefinitions"][0]["type"] for step in made["steps"]} == {"INT"}


def test_a_chunk_has_its_time_besides_that_of_a_task(wanted: Make, site: site.Site) -> None:
    made = openjd.template(planned(wanted(timeout_minutes=5), site), site, chunk_seconds=600)
    times = {step["name"]: step["script"]["actions"]["onRun"]["timeout"] for step in made["steps"]}
    assert times == {"check": 300, "quadmask": 300, "finish": 900, "report": 300}


def test_openjd_task_that_is_canceled_leaves_what_is_done(
    openjd_cli: str, wanted: Make, gated: site.Site, whole: VersionFolder
) -> None:
    ((job, submission),) = submit([wanted(frames_per_task=12, retries=3)], gated, "openjd")
    (command,) = submission.commands
    running = subprocess.Popen([openjd_cli, *command[1:]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert running.stdout is not None
    for line in running.stdout:
        if "Rewriting, frame" in line:
            running.send_signal(signal.SIGTERM)
            break
    said, _ = running.communicate(timeout=60)
    assert running.returncode != 0
    assert "finished frames are kept" in said
    made = {path: path.stat().st_mtime_ns for path in (job.folder / "plate").glob("void_*.exr")}
    assert 0 < len(made) < 12
    assert not list(job.folder.glob("*/.void_*"))
    open_gate()
    subprocess.run([openjd_cli, *command[1:]], check=True, capture_output=True)
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert same(results_of(job), whole)


def test_openjd_alone_retries_in_the_task_and_deadline_cloud_by_itself(wanted: Make, site: site.Site) -> None:
    job = planned(wanted(retries=3), site)
    words = [
        openjd.template(job, site, *retries)["steps"][0]["script"]["actions"]["onRun"]["args"] for retries in ((3,), ())
    ]
    assert words[0][words[0].index("--retries") + 1] == "3"
    assert "--retries" not in words[1]
    bundle = json.loads((job.folder / "openjd" / "template.json").read_text())
    assert bundle["steps"][0]["script"]["actions"]["onRun"]["args"] == words[0]


def test_openjd_asks_for_gpus_and_licences_only_where_they_are_used(wanted: Make, site: site.Site) -> None:
    one = wanted({"engine": "void"}, gpus=2, gpu_memory_gb=24, limits={"void": 1})
    made = openjd.template(planned(one, site), site)
    amounts = {
        step["name"]: {amount["name"]: amount["min"] for amount in step["hostRequirements"]["amounts"]}
        for step in made["steps"]
    }
    assert amounts["remove"] == {
        "amount.worker.vcpu": 2,
        "amount.worker.memory": 49152,
        "amount.worker.gpu": 2,
        "amount.worker.gpu.memory": 24576,
        "amount.void": 1,
    }
    assert "amount.worker.gpu" not in amounts["finish"]


def test_openjd_sessions_map_windows_paths(wanted: Make, site: site.Site, shot: Path) -> None:
    """A job that was submitted on Windows, done here: the scheduler maps its own parameters, and tells us its rules."""
    pytest.importorskip("openjd.sessions", reason="openjd-sessions is not installed: path mapping was not tested")
    from openjd.model import (
        ParameterValue,
        ParameterValueType,
        StepParameterSpaceIterator,
        create_job,
        decode_job_template,
    )
    from openjd.sessions import ActionState, PathFormat, PathMappingRule, Session

    job = planned(wanted(), site)
    # as a Windows machine would have written it
    data = json.loads(job.file.read_text())
    data["shot"] |= {"plate": "P:\\s\\plate", "roto": "P:\\s\\roto"}
    job.file.write_text(json.dumps(data))
    made = decode_job_template(template=openjd.template(job, site))
    windows = {"FarmJob": f"Q:\\out\\{job.folder.name}\\farm.json", "Folder": f"Q:\\out\\{job.folder.name}"}
    values = {name: ParameterValue(type=ParameterValueType.PATH, value=value) for name, value in windows.items()}
    created = create_job(job_template=made, job_parameter_values=values)

    def mapping(source: str, destination: str) -> PathMappingRule:
        return PathMappingRule(
            source_path_format=PathFormat.WINDOWS,
            source_path=PureWindowsPath(source),
            destination_path=PurePosixPath(destination),
        )

    rules = [
        mapping("P:\\s", str(shot)),
        mapping("Q:\\out", str(job.folder.parent)),
    ]
    seen: list[Any] = []
    with Session(
        session_id="void",
        job_parameter_values=values,
        path_mapping_rules=rules,
        callback=lambda _, status: seen.append(status),
        os_env_vars={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": os.environ["PATH"]},
    ) as session:
        step = created.steps[1]
        (task,) = StepParameterSpaceIterator(space=step.parameterSpace)
        session.run_task(step_script=step.script, task_parameter_values=task)
        end = time.monotonic() + 120
        while (not seen or seen[-1].state is ActionState.RUNNING) and time.monotonic() < end:
            time.sleep(0.05)
    assert seen[-1].state is ActionState.SUCCESS, seen[-1]
    assert run.state(job)["quadmask"] == (1, 1)
    assert max(status.progress or 0 for status in seen) > 50


def test_deadline_cloud_takes_the_bundle(
    wanted: Make, site: site.Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real ``deadline bundle submit`` against a stand-in of the service that checks the template as that does."""
    client = os.environ.get("DEADLINE_CLOUD_CLIENT") or shutil.which("deadline")
    if not client:
        pytest.skip("the deadline client is not installed: Deadline Cloud was not tested")
    from .deadline_cloud import FARM, QUEUE, stand_in

    with stand_in(Path(client)) as (url, asked):
        for name, value in {
            "AWS_ENDPOINT_URL_DEADLINE": url,
            "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-west-2",
            "AWS_EC2_METADATA_DISABLED": "true",
            "DEADLINE_CLOUD_TELEMETRY_OPT_OUT": "true",
            "HOME": str(tmp_path),
            "PATH": f"{Path(client).parent}:{os.environ['PATH']}",
        }.items():
            monkeypatch.setenv(name, value)
        there = dataclasses.replace(site, options={"deadlinecloud": {"farm_id": FARM, "queue_id": QUEUE}})
        one = wanted({"engine": "void"}, priority=70, machine_limit=3, suspended=True, retries=4)
        ((job, submission),) = submit([one], there, "deadlinecloud")
    assert set(submission.ids) == {"check", "check_gpu", "quadmask", "remove", "finish", "report"}
    assert submitted(job).ids == submission.ids
    (created,) = [body for path, body in asked if path.endswith("/jobs")]
    assert (created["priority"], created["maxRetriesPerTask"], created["maxWorkerCount"]) == (70, 4, 3)
    assert created["targetTaskRunStatus"] == "SUSPENDED"
    made = json.loads(created["template"])
    (finish,) = [step for step in made["steps"] if step["name"] == "finish"]
    (numbers,) = finish["parameterSpace"]["taskParameterDefinitions"]
    assert numbers == {
        "name": "Task",
        "type": "CHUNK[INT]",
        "range": "0-2",
        "chunks": {"defaultTaskCount": 1, "targetRuntimeSeconds": 300, "rangeConstraint": "CONTIGUOUS"},
    }
    assert created["parameters"]["FarmJob"] == {"path": str(job.file)}


def test_braces_in_names_and_paths_are_only_braces(
    wanted: Make, site: site.Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``{{`` begins an expression in a template; here it is the artist's, and must come through as it is."""
    model = pytest.importorskip("openjd.model", reason="openjd-model is not installed: templates were not checked")
    name, config = "sh{{010}} {{{", "/studio/{{show}}/config.ocio"
    monkeypatch.setenv("OCIO", config)
    braced = dataclasses.replace(site, command=("/studio/{{void}}/bin/void",), environment=("OCIO",))
    one = wanted({"engine": "void"}, name=name, comment="{{x}}", timeout_minutes=5, frames_per_piece=0)
    job = planned(dataclasses.replace(one, out=tmp_path / "{{out}}"), braced)
    job = dataclasses.replace(
        job, stages=tuple(dataclasses.replace(s, tasks=2 if s.name == "remove" else s.tasks) for s in job.stages)
    )
    template = openjd.template(job, braced)
    values = {
        parameter["name"]: model.ParameterValue(
            type=model.ParameterValueType(parameter["type"]),
            value=openjd.parameters(job).get(parameter["name"], parameter.get("default")),
        )
        for parameter in template["parameterDefinitions"]
    }
    made = model.create_job(job_template=model.decode_job_template(template=template), job_parameter_values=values)
    assert made.name == name
    symbols = model.SymbolTable(source={f"Param.{key}": value.value for key, value in values.items()})
    assert made.jobEnvironments[0].variables["OCIO"].resolve(symtab=symbols) == config
    remove = next(step for step in made.steps if step.name == "remove")
    for action in (remove.script.actions.onRun, remove.stepEnvironments[0].script.actions.onEnter):
        assert action.command.resolve(symtab=symbols) == "/studio/{{void}}/bin/void"
    assert values["FarmJob"].value == str(tmp_path / "{{out}}" / "v001" / "farm.json")


def test_a_bundle_without_braces_has_no_parameters_for_them(wanted: Make, site: site.Site) -> None:
    made = openjd.template(planned(wanted(), site), site)
    assert [parameter["name"] for parameter in made["parameterDefinitions"]] == ["FarmJob", "Folder"]
