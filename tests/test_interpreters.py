"""What runs inside Nuke, under each of Nuke's Pythons, 3.9 to 3.11, that this machine has."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from void_server.api import Client, Shot
from void_server.cli.install_nuke import _void_command
from void_server.interpreter import running
from void_server.service.embedded import embedded_server

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
NEEDED = ["hypothesis", "msgpack", "numpy", "OpenImageIO", "pytest", "pytest-xdist", "pyzmq"]


def interpreter(minor: int) -> str | None:
    """Python 3.``minor`` of this machine: pyenv's, or one on the path."""
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = sorted(versions.glob(f"3.{minor}.*/bin/python"))
    return str(found[-1]) if found else shutil.which(f"python3.{minor}")


def prepared(minor: int) -> Path:
    """A virtual environment of that Python with what Nuke's would have, kept for the next run."""
    folder = ROOT / ".venv-nuke" / f"py3{minor}"
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    ready = folder / "ready"
    if not ready.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([str(interpreter(minor)), "-m", "venv", str(folder)], check=True)
        command = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *NEEDED]
        subprocess.run(command, check=True)
        ready.touch()
    return python


@pytest.mark.parametrize("minor", [minor for minor in range(9, 12) if minor != sys.version_info.minor])
def test_plugin_and_api(minor: int, tmp_path: Path) -> None:
    if interpreter(minor) is None:
        pytest.skip(f"this machine has no Python 3.{minor}: plugin and api were NOT tested with it")
    command = [str(prepared(minor)), "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider"]
    command += [f"--confcutdir={ROOT / 'tests' / 'nuke'}", f"--basetemp={tmp_path / 'tests'}"]
    # the oldest shows what a newer one does, too; of that it is enough to see that all is there
    quick = [f"tests/nuke/test_{name}.py" for name in ("startup", "nodes", "parts", "text")]
    command += ["-m", "not slow or oldest", *(quick if minor > 9 else ["tests/nuke"]), "tests/test_api.py"]
    # in a folder of its own, so that compiled files of one version do not meet those of another
    environment = {**os.environ, "VOID_TEST_PYTHON": sys.executable, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    print(done.stdout.splitlines()[-1])


def test_nothing_newer_than_python_3_9_is_used_in_nuke() -> None:
    vermin = shutil.which("vermin", path=str(Path(sys.executable).parent))
    assert vermin, "vermin is not installed beside this Python"
    # annotations are never evaluated, as every file has the future import that the second half looks for
    command = [vermin, "--target=3.9-", "--no-tips", "--violations", "--backport", "typing"]
    places = ["init.py", "menu.py", "nuke_plugin", "void_server/api", "void_server/__init__.py"]
    done = subprocess.run([*command, *places], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    for file in [*(ROOT / "nuke_plugin").rglob("*.py"), *(ROOT / "void_server" / "api").glob("*.py")]:
        text = file.read_text()
        assert "from __future__ import annotations" in text or "def " not in text, file


def test_no_process_of_ours_runs_code_of_the_current_folder(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = "import pathlib; pathlib.Path(__file__).with_suffix('.ran').touch(); raise ImportError('not yours')"
    for name in ("msgpack", "psutil", "zmq", "pip"):
        (tmp_path / f"{name}.py").write_text(mine)
    monkeypatch.chdir(tmp_path)
    with embedded_server([shot, tmp_path]) as address, Client(address) as client:
        client.submit(Shot(str(shot / "plate"), str(shot / "roto")), str(tmp_path / "out"))
    commands = [[*_void_command(), "--version"], running("pip", "--version")]
    for command in (*commands, running("void_server.farm.tasks.session", "/nowhere/file")):
        subprocess.run(command, capture_output=True, check=command in commands)
    assert not list(tmp_path.glob("*.ran"))
