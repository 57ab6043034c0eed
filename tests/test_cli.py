"""The command: what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer

import void_server
from void_server import plugins
from void_server.api.home import home
from void_server.cli.main import app
from void_server.sample import SCENES
from void_server.service.store import Store

pytestmark = pytest.mark.slow

VOID = [sys.executable, "-c", "from void_server.cli import main; main()"]


def void(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*VOID, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)


def test_the_main_job(shot: Path, tmp_path: Path) -> None:
    done = void(
        "remove", shot / "plate", shot / "roto", "-o", tmp_path / "out", "--frames", "1001-1008", "--feather", "3"
    )
    assert done.returncode == 0, done.stderr
    paths = [line.split()[-1] for line in done.stdout.splitlines()]
    assert paths[0] == str(tmp_path / "out" / "v001")
    assert all(Path(path).exists() for path in paths)
    assert [line.split("%")[1].strip() for line in done.stderr.splitlines() if "%" in line][-1] == "done"
    manifest = json.loads((tmp_path / "out/v001/job.json").read_text())
    assert manifest["shot"]["settings"]["feather"] == 3
    assert len(list((tmp_path / "out/v001/plate").iterdir())) == 8
    listed = void("jobs")
    assert manifest["id"] in listed.stdout
    assert "done" in listed.stdout


def test_relative_paths_and_upload(shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shot)
    out = os.path.relpath(tmp_path / "out")
    done = void("quadmask", "plate", "roto/roto.%04d.exr", "-o", out, "--transfer", "upload", "--no-progress")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert (tmp_path / "out/v001/job.json").is_file()
    assert not (tmp_path / "out/v001/plate").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["remove", "nowhere/p.%04d.exr", "roto", "-o", "out"], "of the plate does not exist"),
        (["remove", "plate", "roto", "-o", "out", "--frames", "x"], "is not valid"),
        (["remove", "plate", "roto", "-o", "out", "--frames", ""], "--frames: it is empty"),
        (["remove", "plate", "roto", "-o", "out", "--frames", "1001..1005"], "write it like 1001-1032"),
        (["remove", "", "roto", "-o", "out"], "plate: it is empty"),
        (["remove", "plate", "", "-o", "out"], "names no roto, no quadmask, and no point or box"),
        (["remove", "plate", "roto", "-o", "out", "--quadmask", ""], "quadmask: it is empty"),
        (["quadmask", " ", "roto", "-o", "out"], "plate: it is empty"),
        (["segment", "", "-o", "out", "--point", "1001:4,4"], "plate: it is empty"),
        (["edit", "", "--grid", "r0c0=keep"], "quadmask: it is empty"),
        (
            ["remove", "plate", "roto", "-o", "out", "--reasoner", "file", "--analysis", "a.json"],
            "it has none of object",
        ),
        (
            ["remove", "plate", "roto", "-o", "out", "--analysis", "a.json"],
            "use --reasoner file, or leave out the analysis",
        ),
        (["remove", "plate", "plate", "-o", "out"], "Plate and roto are the same files"),
        (["remove", "plate", "roto", "-o", "out", "--quadmask", "plate"], "R, G and B hold no quadmask"),
        (["remove", "plate", "roto", "-o", "out", "--roto-offset", "1000"], "it has 2001-2012 with --roto-offset 1000"),
        (["remove", "plate", "pipe", "-o", "out"], "roto.1001.exr is a named pipe, not a file"),
        (["remove", "plate", "roto", "-o", "out", "--ocio", "pipe/roto.1001.exr"], "is a named pipe, not a file"),
        (
            ["remove", "plate", "roto", "-o", "out", "--transfer", "upload", "--ocio", "pipe/roto.1001.exr"],
            "is a named pipe, not a file",
        ),
        (["remove", "plate", "loop", "-o", "out"], "loop is a link that leads back to itself"),
        (["remove", "plate", "roto", "-o", "out", "--feather", "-1"], "feather is -1"),
        (["remove", "plate", "roto", "-o", "out", "--seed", "-1"], "seed is -1"),
        (["remove", "plate", "roto", "-o", "out", "--transfer", "pigeon"], "use path or upload"),
        (["remove", "plate", "roto", "-o", "out", "--engine", "magic"], "engine 'magic' is not installed"),
        (["remove", "plate", "roto", "-o", "out", "--colorspace", "magic"], "not in the OCIO configuration"),
        (["sample", "out", "--size", "big"], "write it like 1280x720"),
        (["sample", "out", "--size", "10x10"], "too small"),
        (["sample", "out", "--size", "0x0"], "too small"),
        (["sample", "out", "--size", "99999x99999"], "Size 99999x99999 is too large; use 8192x8192 or less"),
        (["sample", "out", "--frames", "1-99999999"], "has more than 100000 frames"),
        (["sample", "out", "--scene", "opera"], "choose from walkby, pan, handheld, knock"),
        (["sample", "plate"], "is not empty"),
        (["keys", "revoke", "nobody"], "No client named 'nobody' is allowed"),
    ],
)
def test_wrong_input_is_one_sentence(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    for name in ("plate", "roto"):
        (tmp_path / name).symlink_to(shot / name)
    (tmp_path / "a.json").write_text('{"a":3}')
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "roto.1001.exr")
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.chdir(tmp_path)
    done = void(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("void: ")
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out" / "v001").exists()


@pytest.mark.parametrize("command", ["cancel", "resume"])
def test_a_server_that_is_not_there(command: str) -> None:
    done = void(command, "0123456789ab", "--server", "tcp://127.0.0.1:9")
    assert done.returncode == 1
    assert done.stderr.startswith("void: No VOID server answers at tcp://127.0.0.1:9")


def test_ctrl_c_stops_the_job_and_resume_ends_it(tmp_path: Path) -> None:
    assert void("sample", tmp_path / "shot", "--size", "640x360", "--frames", "1001-1040").returncode == 0
    command = [*VOID, "remove", "shot/plate", "shot/roto", "-o", "out"]
    running = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 300
    while not list(tmp_path.glob("out/v001/plate/void*.exr")):
        assert time.monotonic() < end
        assert running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Continue with: void resume" in said
    assert "Traceback" not in said
    finished = len(list(tmp_path.glob("out/v001/plate/void*.exr")))
    assert 0 < finished < 40
    job = said.split("void resume ")[1].split()[0]
    store = Store(home())
    assert store.get(job).state.value == "interrupted"
    store.close()
    done = void("resume", job)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("out/v001/plate/void*.exr"))) == 40
    assert (tmp_path / "out/v001/job.json").is_file()


def test_a_terminal_gets_a_bar(shot: Path, tmp_path: Path) -> None:
    here, there = pty.openpty()
    command = [*VOID, "remove", str(shot / "plate"), str(shot / "roto"), "-o", str(tmp_path)]
    running = subprocess.Popen(command, stderr=there, stdout=subprocess.DEVNULL, env={**os.environ, "TERM": "xterm"})
    os.close(there)
    shown = b""
    while True:
        try:
            data = os.read(here, 4096)
        except OSError:  # the terminal's end, as Linux reports it
            break
        if not data:
            break
        shown += data
    os.close(here)
    assert running.wait(timeout=60) == 0
    assert b"Rewriting" in shown
    assert "━".encode() in shown


def test_keys(tmp_path: Path) -> None:
    assert void("keys", "new", "ann", "--folder", tmp_path).returncode == 0
    assert void("keys", "allow", tmp_path / "ann.key").returncode == 0
    assert "ann" in void("keys", "list").stdout
    assert void("keys", "revoke", "ann").returncode == 0
    assert void("keys", "list").stdout == ""


def test_serve_refuses_the_world_without_keys() -> None:
    done = void("serve", "--address", "tcp://*:5699")
    assert done.returncode == 1
    assert "no client is allowed yet" in done.stderr


def test_doctor_says_that_the_main_job_runs() -> None:
    done = void("doctor")
    assert done.returncode == 0
    assert "This machine is ready for `void remove`." in done.stdout
    assert "SAM 2 checkpoints" in done.stdout
    said = json.loads(void("doctor", "--json").stdout)
    assert said["ready"] is True
    assert {"numpy", "OpenImageIO", "weights", "server"} <= {finding["subject"] for finding in said["findings"]}


def test_doctor_lists_engines_and_reasoners_with_what_each_lacks() -> None:
    findings = {finding["subject"]: finding for finding in json.loads(void("doctor", "--json").stdout)["findings"]}
    assert findings["engine cleanplate"]["good"]
    assert not findings["engine void"]["good"]
    assert "The VOID model needs" in findings["engine void"]["remedy"]
    assert [findings[f"reasoner {name}"]["good"] for name in ("image", "file", "none")] == [True] * 3
    assert "GEMINI_API_KEY" in findings["reasoner gemini"]["remedy"]
    assert "VOID_LOCAL_URL" in findings["reasoner local"]["remedy"]


def test_an_engine_that_cannot_be_loaded_is_a_finding_of_the_doctor(tmp_path: Path) -> None:
    info = tmp_path / "studio_engines-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: studio-engines\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[void_server.engines]\nbroken = broken_engine:Broken\n")
    (tmp_path / "broken_engine.py").write_text("import nowhere_to_be_found\n")
    done = subprocess.run(
        [*VOID, "doctor"], capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr
    assert "cannot be loaded" in done.stdout
    assert "No module named 'nowhere_to_be_found'" in done.stdout


def test_doctors_commands_stand_whole_on_lines_of_their_own() -> None:
    without = "import sys; sys.modules['google.genai'] = sys.modules['openai'] = None; "
    hide = "from void_server import plugins as c; real = c.installed; "
    hide += "c.installed = lambda name: name not in ('google.genai', 'openai') and real(name); "
    done = subprocess.run(
        [sys.executable, "-c", f"{without}{hide}from void_server.cli import main; main()", "doctor"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "40"},
    )
    assert done.returncode == 0, done.stderr
    lines = [line.strip() for line in done.stdout.splitlines()]
    for extra in ("gemini", "local"):
        command = plugins.how_to_install(extra)
        assert command in lines
        # the shell, and pip, understand it as it stands
        words = shlex.split(command)
        assert words[:4] == [sys.executable, "-m", "pip", "install"]
        assert all(">=" in word for word in words[4:])


def test_a_table_of_jobs_in_a_pipe_is_not_broken(shot: Path, tmp_path: Path) -> None:
    out = tmp_path / ("a folder with a name that is long " * 4)
    assert void("quadmask", shot / "plate", shot / "roto", "-o", out).returncode == 0
    listed = void("jobs").stdout.splitlines()
    assert len(listed) == 2
    assert str(out / "v001") in listed[1]


def test_scripts_get_one_json_object(shot: Path, tmp_path: Path) -> None:
    done = void("remove", shot / "plate", shot / "roto", "-o", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    assert "100% done" in done.stderr
    made = json.loads(done.stdout)
    assert (made["state"], made["folder"], made["error"]) == ("done", str(tmp_path / "out" / "v001"), None)
    assert made["progress"]["fraction"] == 1
    assert Path(made["contact_sheet"]).is_file()
    assert Path(made["report"]).is_file()
    listed = json.loads(void("jobs", "--json").stdout)["jobs"]
    assert [job["id"] for job in listed] == [made["id"]]
    asked = json.loads(void("status", made["id"], "--json").stdout)
    assert {**asked, "contact_sheet": made["contact_sheet"], "report": made["report"]} == made
    shown = void("status", made["id"]).stdout
    assert made["folder"] in shown
    assert "done" in shown
    for command in ("quadmask", "segment"):
        rest = [shot / "roto"] if command == "quadmask" else ["--roto", shot / "roto"]
        done = void(command, shot / "plate", *rest, "-o", tmp_path / command, "--json", "--transfer", "upload")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["folder"] == str(tmp_path / command / "v001")


@pytest.mark.parametrize(
    ("words", "code", "kind"),
    [
        (["remove", "nowhere", "roto", "-o", "out", "--json"], 2, "SequenceError"),
        (["quadmask", "--json"], 2, "SettingError"),
        (["remove", "a", "b", "-o", "out", "--json", "--bogus"], 2, "SettingError"),
        (["status", "nobody", "--json"], 2, "UnknownJob"),
        (["jobs", "--json", "--server", "tcp://127.0.0.1:9"], 1, "ServerUnreachable"),
    ],
)
def test_errors_are_json_too_and_keep_their_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = void(*words)
    assert done.returncode == code
    error = json.loads(done.stdout)["error"]
    assert error["kind"] == kind
    assert done.stderr == f"void: {error['message']}\n"


def test_a_job_that_fails_is_named_in_the_json(shot: Path, tmp_path: Path) -> None:
    shutil.copytree(shot / "plate", tmp_path / "plate")
    broken = tmp_path / "plate" / "plate.1006.exr"
    # the header is whole, the pixels are not
    broken.write_bytes(broken.read_bytes()[:2000])
    done = void("remove", tmp_path / "plate", shot / "roto", "-o", tmp_path / "out", "--json")
    said = json.loads(done.stdout)
    # the command was right, or no job would have begun: it is the job that failed
    assert done.returncode == 1
    assert "1006" in said["error"]["message"]
    assert f"void resume {said['id']}" in said["error"]["message"]
    assert said["folder"] == str(tmp_path / "out" / "v001")
    why = json.loads(void("status", said["id"], "--json").stdout)["error"]["message"]
    assert said["error"]["message"].startswith(why)


def test_a_job_that_is_not_there_is_no_server_that_is_down() -> None:
    done = void("resume", "nonsense")
    assert done.returncode == 2
    assert "There is no job 'nonsense'" in done.stderr


def test_a_server_that_the_environment_names_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOID_SERVER", "tcp://127.0.0.1:9")
    done = void("jobs")
    assert done.returncode == 1
    assert "No VOID server answers at tcp://127.0.0.1:9" in done.stderr


def test_the_version() -> None:
    done = void("--version")
    assert (done.returncode, done.stdout) == (0, f"void {void_server.__version__}\n")


def test_every_command_takes_h() -> None:
    for words in ([], ["remove"], ["doctor"], ["keys"], ["keys", "new"], ["farm"], ["farm", "again"]):
        done = void(*words, "-h")
        assert done.returncode == 0
        assert "Usage: " + " ".join(["void", *words]) in done.stdout


def test_shells_complete_commands_and_options() -> None:
    def completed(words: str) -> str:
        shell = {"_VOID_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        return subprocess.check_output(VOID, env={**os.environ, **shell}, text=True)

    assert {"remove", "resume"} <= set(completed("void re").split())
    assert "--second-pass" in completed("void remove --sec")


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, void_server.cli; "
        "print([m for m in ('numpy', 'cv2', 'OpenImageIO', 'torch', 'rich.progress') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_what_is_missing_comes_with_a_command_that_can_be_run() -> None:
    hint = plugins.how_to_install("gemini")
    assert hint.startswith(f'{sys.executable} -m pip install "google-genai>=')
    assert plugins.how_to_install("nothing") == "install the extra nothing of void-nuke"


def test_the_commands_of_the_first_hour_exist_with_their_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of docs/void.md, parsed by the command itself; short ones continue the last whole one."""
    (tmp_path / "FOLDER").mkdir()
    monkeypatch.chdir(tmp_path)
    root = Path(__file__).parents[1]
    page = (root / "docs" / "void.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.+?) \| .+ \|$", page[page.index("## The first hour") :], re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 11))
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    last: list[str] = []
    for _, cell in rows:
        for code in re.findall("`(.+?)`", cell):
            program, *words = shlex.split(code)
            if program in ("python", "idiff"):
                # OpenImageIO's own tools are beside Python
                other = (
                    [sys.executable, root / words[0]]
                    if program == "python"
                    else [Path(sys.executable).with_name(program)]
                )
                helped = subprocess.run([*other, "--help"], capture_output=True, text=True, timeout=240, check=True)
                assert all(word in helped.stdout for word in words if word.startswith("-"))
                continue
            if program == "void":
                last = words
            else:
                words = [*last, program, *words]
            # what cannot be parsed raises; nothing runs
            given = commands[words[0]].make_context(words[0], words[1:]).params
            assert given.get("scene", "knock") in SCENES
