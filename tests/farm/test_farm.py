"""Farm jobs: planned, run task by task, stopped, resumed, and handed to engines, real ones wherever they can be had."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pytest

from void_server import pipeline
from void_server.api.errors import InputError, JobFailed, SettingError
from void_server.api.job import Progress
from void_server.api.shot import Prompt
from void_server.cli_farm import _fields
from void_server.farm import deadline, openjd, pathmap, run, site, slurm
from void_server.farm.engine import FarmEngine, Submission
from void_server.farm.job import FarmJob, Fields
from void_server.farm.submit import ENGINES, RECORD, Wanted, batch, submit, submitted
from void_server.service.embedded import embedded_server

from . import slurm as real_slurm
from .conftest import VOID, same

Make = Callable[..., Wanted]


def results_of(job: FarmJob) -> pipeline.Results:
    return pipeline.Results(job.folder)


def planned(wanted: Wanted, chosen: site.Site, engine: str = "openjd") -> FarmJob:
    ((job, _),) = submit([wanted], chosen, engine, dry_run=True)
    return job


def handed(job: FarmJob) -> tuple[FarmEngine, dict[str, str]]:
    name, ids = submitted(job)
    return ENGINES[name], ids


def do(job: FarmJob, stage: str, task: int = 0) -> list[Progress]:
    told: list[Progress] = []
    run.run_task(job, stage, task, [], told.append)
    return told


# -- stages and tasks


def test_a_job_in_tasks_is_the_job(wanted: Make, site: site.Site, whole: pipeline.Results) -> None:
    ((job, submission),) = submit([wanted()], site, "local")
    assert [(stage.name, stage.tasks) for stage in job.stages] == [("quadmask", 1), ("finish", 3), ("report", 1)]
    assert len(submission.commands) == 5
    assert same(results_of(job), whole)
    one, other = (json.loads((results.folder / "job.json").read_text()) for results in (results_of(job), whole))
    assert {key: one[key] for key in ("frames", "classes", "warnings")} == {
        key: other[key] for key in ("frames", "classes", "warnings")
    }
    assert run.state(job) == {"quadmask": (1, 1), "finish": (3, 3), "report": (1, 1)}
    assert not results_of(job).work.exists()


def test_tasks_that_are_done_do_nothing(wanted: Make, site: site.Site) -> None:
    job = planned(wanted(), site)
    do(job, "quadmask")
    do(job, "finish", 1)
    times = {path: path.stat().st_mtime_ns for path in job.folder.rglob("*.exr")}
    assert do(job, "finish", 1) == []
    do(job, "quadmask")
    assert times == {path: path.stat().st_mtime_ns for path in job.folder.rglob("*.exr")}
    assert run.state(job)["finish"] == (1, 3)


def test_a_task_before_its_time_says_so(wanted: Make, site: site.Site) -> None:
    job = planned(wanted(), site)
    with pytest.raises(JobFailed, match=r"quadmask of .* is not made yet"):
        do(job, "finish")
    do(job, "quadmask")
    with pytest.raises(JobFailed, match=r"Frame 1001 of .* is not there yet \(12 are missing\)"):
        do(job, "report")
    with pytest.raises(InputError, match="has tasks 0 to 2, and no 3"):
        do(job, "finish", 3)
    with pytest.raises(SettingError, match="no stage 'bake', only quadmask, finish, report"):
        do(job, "bake")


def test_sigterm_leaves_what_is_done_and_the_task_goes_on(
    wanted: Make, site: site.Site, whole: pipeline.Results
) -> None:
    job = planned(wanted(frames_per_task=12), site)
    command = [*VOID, "farm", "run", "--job", str(job.file)]
    subprocess.run([*command, "--stage", "quadmask"], check=True, capture_output=True)
    task = subprocess.Popen([*command, "--stage", "finish"], stdout=subprocess.PIPE, text=True)
    assert task.stdout is not None
    for line in task.stdout:
        if "Rewriting, frame" in line:
            task.send_signal(signal.SIGTERM)
            break
    task.communicate(timeout=60)
    assert task.returncode == run.STOPPED
    made = sorted((job.folder / "plate").glob("void_*.exr"))
    assert 0 < len(made) < 12
    times = {path: path.stat().st_mtime_ns for path in made}
    for stage in ("finish", "report"):
        subprocess.run([*command, "--stage", stage], check=True, capture_output=True)
    assert times == {path: path.stat().st_mtime_ns for path in made}
    assert same(results_of(job), whole)


def test_a_failure_is_tried_again_but_wrong_input_is_not(
    wanted: Make, site: site.Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "_FIRST_PAUSE", 0.0)
    job = planned(wanted(), site)
    calls: list[int] = []

    def failing(*_: Any) -> tuple[str, ...]:
        calls.append(1)
        if len(calls) < 3:
            raise OSError("the disk hiccuped")
        return ("warned",)

    monkeypatch.setattr(run, "run_part", failing)
    assert run.run_task(job, "quadmask", 0, [], lambda _: None, retries=2) == ("warned",)
    calls.clear()
    with pytest.raises(OSError, match="hiccuped"):
        run.run_task(job, "quadmask", 0, [], lambda _: None, retries=1)
    monkeypatch.setattr(run, "run_part", lambda *_: calls.append(1) or _raise(SettingError("wrong")))
    calls.clear()
    with pytest.raises(SettingError, match="wrong"):
        run.run_task(job, "quadmask", 0, [], lambda _: None, retries=5)
    assert len(calls) == 1


def _raise(error: Exception) -> tuple[str, ...]:
    raise error


def test_the_model_is_a_task_of_its_own_on_a_gpu(wanted: Make, site: site.Site) -> None:
    job = planned(wanted({"engine": "void"}), site)
    assert [(stage.name, stage.kind, stage.after) for stage in job.stages] == [
        ("quadmask", "cpu", ()),
        ("remove", "gpu", ("quadmask",)),
        ("finish", "cpu", ("remove",)),
        ("report", "cpu", ("finish",)),
    ]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("openjd", ["openjd_progress: 50.0", "openjd_status: Rewriting, frame 1003"]),
        ("deadline", ["Progress: 50%", "Rewriting, frame 1003"]),
        ("plain", [" 50 % Rewriting, frame 1003"]),
    ],
)
def test_progress_is_printed_as_engines_read_it(
    form: str, expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    say = run.printer(form)
    for _ in range(2):
        say(Progress("Rewriting", 1003, 0.5, None))
    assert capsys.readouterr().out.splitlines() == expected


def test_a_server_does_all_of_a_job(wanted: Make, site: site.Site, whole: pipeline.Results) -> None:
    one = wanted()
    with embedded_server([Path(one.shot.plate).parent, one.out]) as address:
        ((job, _),) = submit([one], site, "openjd", address, dry_run=True)
        assert [stage.name for stage in job.stages] == ["serve"]
        do(job, "serve")
        assert same(results_of(job), whole)
        # once more is nothing
        assert do(job, "serve") == []


# -- fields


def test_wrong_fields_are_refused() -> None:
    for wrong, message in (
        ({"priority": 101}, "priority is 101; give a whole number from 0 to 100"),
        ({"frames_per_task": 0}, "frames per task is 0"),
        ({"limits": {"nuke_r": 0}}, "limit 'nuke_r' is 0"),
        ({"colour": "red"}, "no farm field 'colour'"),
        ({"pool": 3}, "farm field pool is 3"),
    ):
        with pytest.raises(SettingError, match=message):
            Fields.from_dict(wrong)


def test_fields_are_said_on_the_command_line() -> None:
    said = ["priority=70", "limits=void=1,nuke_r=2", "suspended=yes", "comment=a = b", "pool=gpu"]
    fields = _fields({"department": "comp"}, said)
    assert fields == Fields(
        priority=70,
        limits={"void": 1, "nuke_r": 2},
        suspended=True,
        comment="a = b",
        pool="gpu",
        department="comp",
    )
    for wrong, message in (
        ("speed=3", "sets no field"),
        ("priority=high", "give a whole number"),
        ("gpus", "sets no field"),
    ):
        with pytest.raises(SettingError, match=message):
            _fields({}, [wrong])


def test_an_empty_value_takes_a_field_back() -> None:
    assert _fields({"pool": "gpu", "priority": 70}, ["pool=", "priority="]) == Fields()


def test_what_the_site_says_does_not_keep_another_engine_from_working(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "site.json"
    file.write_text(json.dumps({"engine": "slurm", "fields": {"pool": "gpu", "limits": {"void": 1}}}))
    monkeypatch.setenv("VOID_FARM_SETTINGS", str(file))
    command = [*VOID, "farm", "submit", f"{shot}/plate", f"{shot}/roto", "-o", str(tmp_path / "out"), "--dry-run"]
    done = subprocess.run([*command, "--engine", "deadline"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Pool=gpu\n" in (tmp_path / "out" / "v001" / "deadline" / "finish.job").read_text()
    done = subprocess.run([*command, "--engine", "local"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    done = subprocess.run(
        [*command, "--engine", "local", "--set", "pool=x"], capture_output=True, text=True, check=False
    )
    assert "local has nothing for the field pool" in done.stderr


@pytest.mark.parametrize(
    ("engine", "field"),
    [("local", "pool"), ("openjd", "machine_limit"), ("deadline", "gpu_memory_gb"), ("slurm", "secondary_pool")],
)
def test_a_field_that_an_engine_has_nothing_for_is_refused(
    wanted: Make, site: site.Site, engine: str, field: str
) -> None:
    value: Any = "x" if isinstance(getattr(Fields(), field), str) else 7
    with pytest.raises(SettingError, match=f"{engine} has nothing for the field {field.replace('_', ' ')}"):
        submit([wanted(**{field: value})], site, engine)


def test_nothing_stays_of_a_submission_of_which_one_shot_is_wrong(wanted: Make, site: site.Site) -> None:
    good = wanted()
    bad = dataclasses.replace(good, shot=dataclasses.replace(good.shot, plate="/nowhere/plate.%04d.exr"))
    with pytest.raises(InputError, match="nowhere"):
        submit([good, bad], site, "openjd")
    assert list(good.out.glob("*")) == []


def test_nothing_stays_where_the_engine_is_not_there(
    wanted: Make, site: site.Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("DEADLINE_PATH", raising=False)
    for engine in ("slurm", "deadline", "deadlinecloud"):
        one = wanted()
        with pytest.raises(SettingError, match="install"):
            submit([one], site, engine)
        assert list(one.out.glob("*")) == []
    with pytest.raises(SettingError, match="no farm engine 'qube'"):
        submit([wanted()], site, "qube")


def test_what_was_said_is_remembered_beside_the_script(tmp_path: Path) -> None:
    script = tmp_path / "sh010.nk"
    assert site.remembered(script) == {}
    site.remember(script, Fields(name="once", comment="once", user="ann", pool="gpu", priority=60))
    assert site.remembered(script) == {"pool": "gpu", "priority": 60}
    site.remember(tmp_path / "v001", Fields(pool="night"))
    assert site.remembered(tmp_path / "v002") == {"pool": "night"}
    assert sorted(path.name for path in tmp_path.iterdir()) == [".sh010.nk.void_farm.json", ".versions.void_farm.json"]


def test_the_site_sets_engine_command_and_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "farm.json"
    monkeypatch.setenv("VOID_FARM_SETTINGS", str(file))
    with pytest.raises(SettingError, match="are not there"):
        site.load()
    file.write_text(
        json.dumps(
            {
                "engine": "slurm",
                "command": ["/studio/void"],
                "fields": {"pool": "gpu", "limits": {"void": 1}},
                "path_map": [{"source_path_format": "WINDOWS", "source_path": "P:\\show", "destination_path": "/show"}],
            }
        )
    )
    loaded = site.load()
    assert (loaded.engine, loaded.command, loaded.fields.pool) == ("slurm", ("/studio/void",), "gpu")
    assert pathmap.translator(list(loaded.path_map))("P:\\show\\a\\b.exr") == "/show/a/b.exr"
    for wrong, message in (
        ('{"speed": 1}', "no setting 'speed'"),
        ("{", "cannot be used"),
        ('{"fields": 1}', "fields"),
    ):
        file.write_text(wrong)
        with pytest.raises(SettingError, match=message):
            site.load()


def test_paths_are_mapped_by_the_longest_rule() -> None:
    here = pathmap.translator(
        [
            pathmap.Rule("/mnt/show", "/a"),
            pathmap.Rule("/mnt/show/cache", "/b"),
            pathmap.Rule("p:\\SHOW", "/c", windows=True),
        ]
    )
    assert here("/mnt/show/x.%04d.exr") == "/a/x.%04d.exr"
    assert here("/mnt/show/cache/x.exr") == "/b/x.exr"
    assert here("/mnt/showcase/x.exr") == "/mnt/showcase/x.exr"
    assert here("P:\\show\\x.exr") == "/c/x.exr"
    assert here("P:/Show/y/x.exr") == "/c/y/x.exr"


def test_a_table_of_shots_is_one_group(shot: Path, tmp_path: Path) -> None:
    table = tmp_path / "shots.csv"
    lines = [f"{shot}/plate,{shot}/roto,{tmp_path}/{folder},{name}" for folder, name in (("one", "A"), ("two", "B"))]
    table.write_text("\n".join(["plate,roto,out,name", *lines]))
    done = subprocess.run(
        [*VOID, "farm", "submit", "--batch", str(table), "--engine", "deadline", "--dry-run"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name in ("one", "two"):
        info = (tmp_path / name / "v001" / "deadline" / "quadmask.job").read_text()
        assert "BatchName=A and 1 more\n" in info
    for wrong, message in (
        ("plate,roto\n", "has no shots"),
        ("plate,roto,out\na,,c\n", "line 2: the roto is not named"),
        ("plate,roto,out,speed\na,b,c,d\n", "no column 'speed'"),
    ):
        table.write_text(wrong)
        with pytest.raises(SettingError, match=message):
            batch(table)


def test_what_forbids_the_cloud_goes_with_every_task(
    wanted: Make, site: site.Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOID_NO_CLOUD", "1")
    monkeypatch.setenv("GEMINI_API_KEY", "secret")
    job = planned(wanted(), dataclasses.replace(site, environment=()))
    made = json.dumps(openjd.template(job, site))
    assert '"VOID_NO_CLOUD": "1"' in made
    assert "secret" not in made
    options = slurm.options(job, job.stages[0], site, "group", [])
    assert any(option.startswith("--export=") and "VOID_NO_CLOUD" in option for option in options)


def test_points_outside_the_shot_are_refused_at_submission(wanted: Make, site: site.Site) -> None:
    one = wanted()
    clicked = dataclasses.replace(one, shot=dataclasses.replace(one.shot, prompts=(Prompt(9, "point", (5, 5)),)))
    with pytest.raises(SettingError, match="in frame 9 is not in the frames to work on"):
        submit([clicked], site, "openjd")
    assert list(one.out.glob("*")) == []


# -- OpenJD, with its own command line and sessions


@pytest.fixture
def openjd_cli() -> str:
    found = shutil.which("openjd", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if not found:
        pytest.skip("openjd-cli is not installed: OpenJD was not tested")
    return found


def test_openjd_checks_and_runs_the_bundle(
    openjd_cli: str, wanted: Make, site: site.Site, whole: pipeline.Results
) -> None:
    ((job, submission),) = submit([wanted(timeout_minutes=30)], site, "openjd")
    template = str(job.folder / "openjd" / "template.json")
    assert "passes validation" in subprocess.check_output([openjd_cli, "check", template], text=True)
    (command,) = submission.commands
    done = subprocess.run([openjd_cli, *command[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "openjd_progress:" in done.stdout
    assert same(results_of(job), whole)


def test_openjd_asks_for_gpus_and_licences_only_where_they_are_used(wanted: Make, site: site.Site) -> None:
    one = wanted({"engine": "void"}, gpus=2, gpu_memory_gb=24, limits={"void": 1})
    made = openjd.template(planned(one, site), site)
    amounts = {
        step["name"]: {amount["name"]: amount["min"] for amount in step["hostRequirements"]["amounts"]}
        for step in made["steps"]
    }
    assert amounts["remove"] == {
        "amount.worker.vcpu": 2,
        "amount.worker.memory": 8192,
        "amount.worker.gpu": 2,
        "amount.worker.gpu.memory": 24576,
        "amount.void": 1,
    }
    assert "amount.worker.gpu" not in amounts["finish"]


def test_openjd_sessions_map_windows_paths(wanted: Make, site: site.Site, shot: Path) -> None:
    """A job that was submitted on Windows, done here: the engine maps its own parameters, and tells us its rules."""
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
        step = created.steps[0]
        (task,) = StepParameterSpaceIterator(space=step.parameterSpace)
        session.run_task(step_script=step.script, task_parameter_values=task)
        end = time.monotonic() + 120
        while (not seen or seen[-1].state is ActionState.RUNNING) and time.monotonic() < end:
            time.sleep(0.05)
    assert seen[-1].state is ActionState.SUCCESS, seen[-1]
    assert run.state(job)["quadmask"] == (1, 1)
    assert max(status.progress or 0 for status in seen) > 50


# -- Deadline Cloud, with its own client


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
    assert set(submission.ids) == {"quadmask", "remove", "finish", "report"}
    assert submitted(job)[1] == submission.ids
    (created,) = [body for path, body in asked if path.endswith("/jobs")]
    assert (created["priority"], created["maxRetriesPerTask"], created["maxWorkerCount"]) == (70, 4, 3)
    assert created["targetTaskRunStatus"] == "SUSPENDED"
    assert created["parameters"]["FarmJob"] == {"path": str(job.file)}


# -- Deadline 10, with an emulator


@pytest.fixture
def emulated_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = Path(__file__).with_name("deadlinecommand")
    (tmp_path / "repository").mkdir()
    monkeypatch.setenv("DEADLINE_PATH", str(program.parent))
    monkeypatch.setenv("DEADLINE_EMULATOR", str(tmp_path / "repository"))
    return program


def test_emulated_deadline_takes_and_does_the_job(
    emulated_deadline: Path, wanted: Make, site: site.Site, whole: pipeline.Results
) -> None:
    ((job, submission),) = submit([wanted(priority=60, pool="gpu", comment="two\nlines")], site, "deadline")
    assert len(set(submission.ids.values())) == 3
    done = subprocess.run([str(emulated_deadline), "-Run"], capture_output=True, text=True, check=False)
    assert done.stdout.count(" Completed") == 3, done.stdout + done.stderr
    assert "Progress: " in done.stdout
    assert same(results_of(job), whole)
    engine, ids = handed(job)
    assert set(engine.states(ids).values()) == {"Completed"}
    info = (job.folder / "deadline" / "finish.job").read_text()
    assert "Comment=two lines\n" in info
    assert f"JobDependencies={submission.ids['quadmask']}\n" in info
    assert "Frames=0-2\n" in info


@pytest.mark.usefixtures("emulated_deadline")
def test_emulated_deadline_refuses_and_nothing_stays(
    wanted: Make, site: site.Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = deadline.write_files

    def spoiled(job: FarmJob, stage: Any, *rest: Any) -> tuple[Path, Path]:
        files = write(job, stage, *rest)
        if stage.name == "finish":
            files[0].write_text(files[0].read_text() + "Colour=red\n")
        return files

    monkeypatch.setattr(deadline, "write_files", spoiled)
    one = wanted()
    with pytest.raises(JobFailed, match=r"Deadline refused: .*Colour=red"):
        submit([one], site, "deadline")
    assert list(one.out.glob("*")) == []
    (begun,) = Path(os.environ["DEADLINE_EMULATOR"]).iterdir()
    assert json.loads(begun.read_text())["status"] == "Failed", "what was handed over already is taken back"


# -- OpenCue, with its own outlines


def test_opencue_makes_an_outline_of_the_job(wanted: Make, site: site.Site) -> None:
    pytest.importorskip("outline", reason="pyoutline is not installed: OpenCue was not tested")
    one = wanted({"engine": "void"}, priority=60, suspended=True, show="show", shot="sh010", limits={"void": 1})
    job = planned(one, site, "opencue")
    import xml.etree.ElementTree as ElementTree

    tree = ElementTree.fromstring(re.sub(r"<!DOCTYPE[^>]*>", "", (job.folder / "opencue.xml").read_text()))
    layers = {layer.get("name"): layer for layer in tree.iter("layer")}
    assert list(layers) == ["quadmask", "remove", "finish", "report"]
    assert layers["finish"].findtext("range") == "0-2"
    assert "#IFRAME#" in (layers["finish"].findtext("cmd") or "")
    assert layers["remove"].findtext("gpus") == "1"
    assert "void" in ElementTree.tostring(layers["remove"].find("limits") or ElementTree.Element("none")).decode()
    waits = {(depend.findtext("deplayer"), depend.findtext("onlayer")) for depend in tree.iter("depend")}
    assert waits == {("remove", "quadmask"), ("finish", "remove"), ("report", "finish")}
    assert tree.findtext(".//priority") == "60"
    assert tree.findtext(".//paused") in ("True", "1")


# -- Slurm, all of it


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Any:
    if reason := real_slurm.lacking():
        pytest.skip(f"{reason}: Slurm was not tested")
    with real_slurm.running(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


@pytest.fixture
def in_cluster(cluster: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, cluster[name])


def until(condition: Callable[[], bool], seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, subprocess.run(
            ["squeue", "-l"], capture_output=True, text=True, check=False
        ).stdout
        time.sleep(0.2)


@pytest.mark.usefixtures("in_cluster")
def test_slurm_does_the_stages_in_their_order(wanted: Make, site: site.Site, whole: pipeline.Results) -> None:
    ((job, submission),) = submit([wanted(priority=40, cores=1, memory_gb=1)], site, "slurm")
    engine, ids = handed(job)
    until(lambda: (job.folder / "job.json").is_file() or "failed" in str(engine.states(ids)))
    logs = "".join(path.read_text() for path in (job.folder / "logs").iterdir())
    assert same(results_of(job), whole), logs
    until(lambda: set(engine.states(ids).values()) == {"not in the queue"})
    assert list(submission.ids) == ["quadmask", "finish", "report"]


@pytest.mark.usefixtures("in_cluster")
def test_slurm_gives_each_task_its_gpu_and_its_licence(wanted: Make, site: site.Site, tmp_path: Path) -> None:
    job = planned(wanted({"engine": "void"}, limits={"void": 1}, cores=1, memory_gb=1), site, "slurm")
    script = tmp_path / "gpu.sh"
    script.write_text(f'#!/bin/sh\necho "gpu $CUDA_VISIBLE_DEVICES" > {tmp_path}/seen\n')
    options = slurm.options(job, job.stage("remove"), site, "group", [])
    subprocess.run(["sbatch", *options, "--wait", str(script)], check=True, capture_output=True)
    assert (tmp_path / "seen").read_text() in ("gpu 0\n", "gpu 1\n")
    refused = slurm.options(
        dataclasses.replace(job, fields=dataclasses.replace(job.fields, gpus=3)), job.stage("remove"), site, "g", []
    )
    assert subprocess.run(["sbatch", *refused, str(script)], check=False, capture_output=True).returncode != 0


@pytest.mark.usefixtures("in_cluster")
def test_slurm_job_that_was_stopped_goes_on(wanted: Make, site: site.Site, whole: pipeline.Results) -> None:
    ((job, _),) = submit([wanted(frames_per_task=12, cores=1, memory_gb=1)], site, "slurm")
    engine, ids = handed(job)
    until(lambda: any((job.folder / "plate").glob("void_*.exr")))
    engine.cancel(ids, site)
    until(lambda: set(engine.states(ids).values()) == {"not in the queue"})
    made = {path: path.stat().st_mtime_ns for path in (job.folder / "plate").glob("void_*.exr")}
    assert not (job.folder / "job.json").exists()
    again = Submission()
    ENGINES["slurm"].submit(job, site, "group", again, dry_run=False)
    (job.folder / RECORD).write_text(json.dumps({"engine": "slurm", "ids": again.ids}))
    until(lambda: (job.folder / "job.json").is_file())
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert same(results_of(job), whole)
