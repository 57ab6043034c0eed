"""What is said of a farm job, and what is refused before anything is handed over."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from void_server.api.errors import InputError, SettingError
from void_server.api.shot import Prompt
from void_server.cli.farm import fields_of
from void_server.farm import pathmap, site
from void_server.farm.fields import Fields
from void_server.farm.job import FarmJob
from void_server.farm.schedulers import deadline, openjd, slurm
from void_server.farm.schedulers.base import environment, find
from void_server.farm.submit import batch, submit

from .. import commands
from .jobs import Make, planned

pytestmark = pytest.mark.slow


def test_wrong_fields_are_refused() -> None:
    for wrong, message in (
        ({"priority": 101}, "priority is 101; give a whole number from 0 to 100"),
        ({"frames_per_task": 0}, "frames_per_task is 0"),
        ({"frames_per_piece": 40}, "frames_per_piece is 40; give 0 for the whole shot, or 85"),
        ({"limits": {"nuke_r": 0}}, "limit 'nuke_r' is 0"),
        ({"limits": {"nuke_r": True}}, "limit 'nuke_r' is True"),
        ({"limits": {"": 1}}, "limit '' is 1"),
        ({"limits": "void=1"}, "limits is 'void=1'; give names with numbers"),
        ({"limits": ["void"]}, "limits is \\['void'\\]"),
        ({"suspended": "no"}, "suspended is 'no'; give true or false"),
        ({"suspended": 1}, "suspended is 1"),
        ({"retries": "2"}, "retries is '2'; give a whole number"),
        ({"frames_per_export": 0}, "frames_per_export is 0"),
        ({"colour": "red"}, "Unknown farm field 'colour'"),
        ({"pool": 3}, "pool is 3; give text"),
    ):
        with pytest.raises(SettingError, match=message):
            Fields.from_dict(wrong)


def test_fields_are_said_on_the_command_line() -> None:
    said = ["priority=70", "limits=void=1,nuke_r=2", "suspended=yes", "comment=a = b", "pool=gpu"]
    fields = fields_of({"department": "comp"}, said)
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
        ("gpus", "says nothing; write it like gpus=1"),
    ):
        with pytest.raises(SettingError, match=message):
            fields_of({}, [wrong])


def test_an_empty_value_takes_a_field_back() -> None:
    assert fields_of({"pool": "gpu", "priority": 70}, ["pool=", "priority="]) == Fields()


def test_what_the_site_says_does_not_keep_another_scheduler_from_working(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "site.json"
    file.write_text(json.dumps({"scheduler": "slurm", "fields": {"pool": "gpu", "limits": {"void": 1}}}))
    monkeypatch.setenv("VOID_FARM_SETTINGS", str(file))
    words = ["submit", f"{shot}/plate", f"{shot}/roto", "-o", str(tmp_path / "out"), "--dry-run"]
    done = void(*words, "--scheduler", "deadline")
    assert done.returncode == 0, done.stderr
    assert "Pool=gpu\n" in (tmp_path / "out" / "v001" / "deadline" / "finish.job").read_text()
    done = void(*words, "--scheduler", "local")
    assert done.returncode == 0, done.stderr
    done = void(*words, "--scheduler", "local", "--set", "pool=x")
    assert "local has nothing for the field pool" in done.stderr


@pytest.mark.parametrize(
    ("scheduler", "field"),
    [("local", "pool"), ("openjd", "machine_limit"), ("deadline", "gpu_memory_gb"), ("slurm", "secondary_pool")],
)
def test_a_field_that_a_scheduler_has_nothing_for_is_refused(
    wanted: Make, site: site.Site, scheduler: str, field: str
) -> None:
    value: Any = "x" if isinstance(getattr(Fields(), field), str) else 7
    with pytest.raises(SettingError, match=f"{scheduler} has nothing for the field {field.replace('_', ' ')}"):
        submit([wanted(**{field: value})], site, scheduler)


def test_nothing_stays_of_a_submission_of_which_one_shot_is_wrong(wanted: Make, site: site.Site) -> None:
    good = wanted()
    bad = dataclasses.replace(good, shot=dataclasses.replace(good.shot, plate="/nowhere/plate.%04d.exr"))
    with pytest.raises(InputError, match="nowhere"):
        submit([good, bad], site, "openjd")
    assert list(good.out.glob("*")) == []


@pytest.mark.parametrize("scheduler", ["local", "openjd"])
def test_of_a_batch_with_one_wrong_shot_no_version_is_even_begun(
    wanted: Make, site: site.Site, tmp_path: Path, scheduler: str
) -> None:
    good = wanted()
    bad = dataclasses.replace(
        good, shot=dataclasses.replace(good.shot, plate="/nowhere/plate.%04d.exr"), out=tmp_path / "other"
    )
    with pytest.raises(InputError, match="nowhere"):
        submit([good, bad], site, scheduler)
    # not even the folder for versions
    assert not good.out.exists()


def test_settings_that_the_removals_engine_would_ignore_are_refused(wanted: Make, site: site.Site) -> None:
    one = wanted({"steps": 30})
    with pytest.raises(SettingError, match="The engine cleanplate would ignore steps, set to 30"):
        submit([one], site, "openjd")
    assert not one.out.exists()


def test_nothing_stays_where_the_schedulers_client_is_not_there(
    wanted: Make, site: site.Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("DEADLINE_PATH", raising=False)
    for scheduler in ("slurm", "deadline", "deadlinecloud"):
        one = wanted()
        with pytest.raises(SettingError, match="install"):
            submit([one], site, scheduler)
        assert list(one.out.glob("*")) == []
    with pytest.raises(SettingError, match="scheduler 'qube' is not installed"):
        submit([wanted()], site, "qube")


def test_what_was_said_is_remembered_beside_the_script(tmp_path: Path) -> None:
    script = tmp_path / "sh010.nk"
    assert site.remembered(script) == {}
    site.remember(script, Fields(name="once", comment="once", user="ann", pool="gpu", priority=60))
    assert site.remembered(script) == {"pool": "gpu", "priority": 60}
    site.remember(tmp_path / "v001", Fields(pool="night"))
    assert site.remembered(tmp_path / "v002") == {"pool": "night"}
    assert sorted(path.name for path in tmp_path.iterdir()) == [".sh010.nk.void_farm.json", ".versions.void_farm.json"]


def test_the_site_sets_scheduler_command_and_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "farm.json"
    monkeypatch.setenv("VOID_FARM_SETTINGS", str(file))
    with pytest.raises(SettingError, match="are not there"):
        site.load()
    file.write_text(
        json.dumps(
            {
                "scheduler": "slurm",
                "command": ["/studio/void"],
                "fields": {"pool": "gpu", "limits": {"void": 1}},
                "path_map": [{"source_path_format": "WINDOWS", "source_path": "P:\\show", "destination_path": "/show"}],
            }
        )
    )
    loaded = site.load()
    assert (loaded.scheduler, loaded.command, loaded.fields.pool) == ("slurm", ("/studio/void",), "gpu")
    assert pathmap.translator(list(loaded.path_map))("P:\\show\\a\\b.exr") == "/show/a/b.exr"
    for wrong, message in (
        ('{"speed": 1}', "no setting speed"),
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


@pytest.mark.parametrize("drive", ["P:", "P:\\", "p:/"])
def test_a_rule_may_be_of_a_whole_drive(drive: str) -> None:
    here = pathmap.translator([pathmap.Rule(drive, "/mnt/p", windows=True)])
    assert here("P:\\show\\x.exr") == "/mnt/p/show/x.exr"
    assert here("Q:\\show\\x.exr") == "Q:\\show\\x.exr"


def test_a_rule_of_windows_that_does_not_say_so_is_refused() -> None:
    for source in ("P:\\show", "\\\\server\\show"):
        with pytest.raises(ValueError, match='add "source_path_format": "WINDOWS"'):
            pathmap.rules({"path_mapping_rules": [{"source_path": source, "destination_path": "/mnt"}]})


def test_a_table_of_shots_is_one_group(shot: Path, tmp_path: Path) -> None:
    table = tmp_path / "shots.csv"
    lines = [f"{shot}/plate,{shot}/roto,{tmp_path}/{folder},{name}" for folder, name in (("one", "A"), ("two", "B"))]
    table.write_text("\n".join(["plate,roto,out,name", *lines]))
    done = void("submit", "--batch", str(table), "--scheduler", "deadline", "--dry-run")
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


def test_the_policy_goes_with_every_task_whatever_the_site_passes_on(
    wanted: Make, site: site.Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "policy.json").write_text("{}")
    monkeypatch.setenv("VOID_POLICY", str(tmp_path / "policy.json"))
    job = planned(wanted(), site)
    assert environment(dataclasses.replace(site, environment=("OCIO",)))["VOID_POLICY"] == str(tmp_path / "policy.json")
    options = slurm.options(job, job.stages[0], dataclasses.replace(site, environment=()), "group", [])
    assert any(option.startswith("--export=") and "VOID_POLICY" in option for option in options)


def test_what_forbids_the_cloud_goes_with_every_task(
    wanted: Make, site: site.Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOID_NO_CLOUD", "1")
    monkeypatch.setenv("VOID_ALLOWED_HOSTS", "gpu01 *.studio.lan")
    monkeypatch.setenv("VOID_REASONER_TOKENS", "1000")
    monkeypatch.setenv("GEMINI_API_KEY", "secret")
    job = planned(wanted(), dataclasses.replace(site, environment=()))
    made = json.dumps(openjd.template(job, site))
    assert '"VOID_NO_CLOUD": "1"' in made
    assert '"VOID_ALLOWED_HOSTS": "gpu01 *.studio.lan"' in made
    assert '"VOID_REASONER_TOKENS": "1000"' in made
    assert "secret" not in made
    options = slurm.options(job, job.stages[0], site, "group", [])
    assert any(option.startswith("--export=") and "VOID_NO_CLOUD" in option for option in options)


def test_points_outside_the_shot_are_refused_at_submission(wanted: Make, site: site.Site) -> None:
    one = wanted()
    clicked = dataclasses.replace(one, shot=dataclasses.replace(one.shot, prompts=(Prompt(9, "point", (5, 5)),)))
    with pytest.raises(SettingError, match="in frame 9 is outside the frame range, 1001-1012"):
        submit([clicked], site, "openjd")
    assert list(one.out.glob("*")) == []


def void(*words: str) -> CompletedProcess[str]:
    return commands.void("farm", *words)


def test_all_that_remove_takes_can_be_said_of_a_farm_job(shot: Path, tmp_path: Path) -> None:
    said = ["--feather", "4", "--seed", "3", "--segmenter", "grabcut", "--point", "1001:96,60", "--second-pass"]
    submission = ["submit", f"{shot}/plate", "-o", str(tmp_path / "out"), "--scheduler", "slurm", "--dry-run"]
    done = void(*submission, "--engine", "void", *said)
    assert done.returncode == 0, done.stderr
    asked = FarmJob.read(tmp_path / "out" / "v001" / "farm.json").shot
    settings = asked.settings
    assert (settings.engine, settings.feather, settings.seed) == ("void", 4.0, 3)
    assert settings.engine_settings == {"second_pass": True}, "what was not said is not sent"
    assert [(prompt.frame, prompt.at) for prompt in asked.prompts] == [(1001, (96.0, 60.0))]
    done = void(*submission, f"{shot}/roto", "--colorspace", "bogus")
    assert done.returncode == 2
    assert "bogus" in done.stderr


def test_scripts_get_the_folders_and_numbers_of_a_submission(shot: Path, tmp_path: Path) -> None:
    words = ["submit", f"{shot}/plate", f"{shot}/roto", "-o", str(tmp_path / "out"), "--dry-run", "--json"]
    done = void(*words, "--scheduler", "slurm")
    assert done.returncode == 0, done.stderr
    (job,) = json.loads(done.stdout)["jobs"]
    assert job["folder"] == str(tmp_path / "out" / "v001")
    assert set(job["ids"]) == {"check", "quadmask", "finish", "report"}
    done = void(*words, "--scheduler", "magic")
    assert done.returncode == 2
    assert "scheduler 'magic' is not installed" in json.loads(done.stdout)["error"]["message"]


def test_an_output_that_is_a_file_is_wrong_input(shot: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    table = tmp_path / "shots.csv"
    rows = [f"{shot}/plate,{shot}/roto,{tmp_path}/{out}" for out in ("good", "notes.txt")]
    table.write_text("\n".join(["plate,roto,out", *rows]))
    done = void("submit", "--batch", str(table), "--scheduler", "local")
    assert done.returncode == 2
    assert f"The output folder {tmp_path}/notes.txt is no folder" in done.stderr
    assert list((tmp_path / "good").glob("v*")) == []


def test_gpu_tasks_go_where_the_gpus_are(wanted: Make, site: site.Site) -> None:
    places = {"pool": "cpu", "gpu_pool": "gpu", "gpu_group": "rtx", "memory_gb": 4, "gpu_task_memory_gb": 64}
    job = planned(wanted({"engine": "void"}, **places), site, "slurm")
    for name, expected in (
        ("remove", {"--partition=gpu", "--constraint=rtx", "--mem=64G"}),
        ("finish", {"--partition=cpu", "--mem=4G"}),
    ):
        options = slurm.options(job, job.stage(name), site, "group", [])
        asked = {option for option in options if option.startswith(("--partition", "--constraint", "--mem"))}
        assert asked == expected
    deadline.write_files(job, job.stage("remove"), site, [], "group")
    info = (job.folder / "deadline" / "remove.job").read_text()
    assert "Pool=gpu\n" in info
    assert "Group=rtx\n" in info


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("[]", "the file: "),
        ('{"command": "/studio/void"}', "command: Input should be a valid array, not '/studio/void'"),
        ('{"environment": "OCIO"}', "environment: "),
        ('{"nuke": "/opt/Nuke"}', "nuke: "),
        ('{"nuke_limits": {"nuke_r": 0}}', "In nuke_limits, the limit 'nuke_r' is 0"),
        ('{"options": {"slurmm": {}}}', "there is no scheduler 'slurmm' that could have options"),
        ('{"options": {"slurm": {"options": "--exclusive"}}}', "options.slurm.options: "),
        ('{"path_map": [{"source": "P:/"}]}', 'the rule {"source": "P:/"} is not like'),
        ('{"path_map": [{"source_path": "a", "destination_path": "b", "source_path_format": "mac"}]}', "is not like"),
    ],
)
def test_a_mistake_in_the_sites_settings_is_named(
    settings: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "farm.json"
    file.write_text(settings)
    monkeypatch.setenv("VOID_FARM_SETTINGS", str(file))
    with pytest.raises(SettingError, match=re.escape(message)):
        site.load()


def test_a_table_may_be_excels_and_name_no_folder(shot: Path, tmp_path: Path) -> None:
    table = tmp_path / "shots.csv"
    table.write_text(f"plate;roto;name\n{shot}/plate;{shot}/roto;A\n")
    assert batch(table, "/out") == [{"plate": f"{shot}/plate", "roto": f"{shot}/roto", "name": "A", "out": "/out"}]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffPlate; Roto ;shot;\r\na;b;Tür;\r\n;;;\r\n",
        "plate\troto\tshot\na\tb\tTür\n",
        'plate, roto, shot\na, b, "Tür"\n\n',
        "\n\nplate;roto;shot\na;b;Tür\n",
        "\ufeffsep=;\r\nplate;roto;shot\r\na;b;Tür\r\n",
        "SEP=|\nplate|roto|shot\na|b|Tür\n",
        "plate,roto,shot\ra,b,Tür\r",
    ],
    ids=["semicolons", "tabs", "commas", "empty-lines", "excel", "sep", "old-mac"],
)
def test_a_table_may_be_as_spreadsheets_write_it(tmp_path: Path, text: str) -> None:
    table = tmp_path / "shots.csv"
    table.write_bytes(text.encode())
    assert batch(table, "/out") == [{"plate": "a", "roto": "b", "shot": "Tür", "out": "/out"}]


@pytest.mark.parametrize("character", ["\u2028", "\u0085", "\v", "\f", "\x1c"])
def test_only_the_end_of_a_line_ends_a_row(tmp_path: Path, character: str) -> None:
    table = tmp_path / "shots.csv"
    comment = f"first{character}second"
    table.write_text(f"plate,roto,out,comment\na,b,c,{comment}\n", encoding="utf-8")
    assert batch(table) == [{"plate": "a", "roto": "b", "out": "c", "comment": comment}]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"plate,roto,out,Plate\na,b,c,d\n", "there are two columns 'plate'; keep one"),
        ("plate;roto\na;Tür\n".encode("cp1252"), "is not in UTF-8; save it as CSV UTF-8"),
        (b"plate,roto,out\na,b,c\nplates/sh010, take 2,b,c\n", "line 3: a cell has no heading; quote what holds ','"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(tmp_path: Path, data: bytes, sentence: str) -> None:
    table = tmp_path / "shots.csv"
    table.write_bytes(data)
    with pytest.raises(SettingError, match=sentence):
        batch(table)


def test_wrong_words_are_answered_with_sentences(shot: Path, tmp_path: Path) -> None:
    (tmp_path / "jobs.json").write_text("{}")
    submission = ["submit", f"{shot}/plate", f"{shot}/roto", "-o", str(tmp_path / "out"), "--scheduler", "local"]
    for words, sentence in (
        (["submit", "--jobs", str(tmp_path / "none.json")], "cannot be read"),
        ([*submission, "--set", "priority"], "says nothing; write it like priority=50"),
        ([*submission, "--set", "gpu_pool=x"], "local has nothing for the field gpu pool"),
    ):
        done = void(*words)
        assert done.returncode == 2
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr


def test_the_log_of_deadline_cloud_is_asked_of_the_sites_farm_and_queue(
    wanted: Make, site: site.Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "farm.json").write_text('{"options": {"deadlinecloud": {"farm_id": "farm-1", "queue_id": "queue-2"}}}')
    monkeypatch.setenv("VOID_FARM_SETTINGS", str(tmp_path / "farm.json"))
    job = planned(wanted(), site, "deadlinecloud")
    asked = find("deadlinecloud").log(job, {"finish": "job-3"}, "finish", 0)
    assert asked == "deadline job logs --job-id job-3 --farm-id farm-1 --queue-id queue-2"
