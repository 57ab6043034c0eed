"""``void install-nuke``: what it writes, that it can be done again and undone, and what a fresh Nuke makes of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from void_server.api.errors import JobFailed, SettingError
from void_server.cli import install_nuke

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
SYSTEM = [install_nuke.this_system()]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of wheels, as a studio without network would have it."""
    folder = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    subprocess.run([*command, "-d", str(folder), "pyzmq", "msgpack"], check=True)
    return folder


def files(home: Path) -> dict[str, bytes]:
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def test_a_fresh_nuke_finds_nodes_and_packages(tmp_path: Path, wheels: Path) -> None:
    home = tmp_path / "nuke home"
    home.mkdir()
    (home / "init.py").write_text("mine = 1\n")
    folder = install_nuke.install(home, [HERE], SYSTEM, wheels)
    assert folder == home / "void"
    program = """
import sys
sys.path.insert(0, sys.argv[1])
import nuke
nuke.standin_run(sys.argv[2] + "/init.py")
for folder in nuke.pluginPath():
    nuke.standin_run(folder + "/menu.py")
nuke.menu("Nodes").findItem("VOID").findItem("VOID Remove").invoke()
import void_nuke.buttons, zmq, msgpack
print(void_nuke.__file__, zmq.__file__, msgpack.__file__, nuke.selectedNodes()[0].name(), sep="|")
"""
    # a Python without anything installed, as Nuke's is
    command = [sys.executable, "-S", "-c", program, str(ROOT / "tests" / "nuke_standin"), str(home)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(_render_packages())}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    *modules, node = done.stdout.strip().split("|")
    assert node == "VOID_Remove1"
    for module in modules:
        assert Path(module).is_relative_to(folder)
    assert json.loads((folder / "installed.json").read_text())["void_command"][0] == sys.executable


def _render_packages() -> list[str]:
    """Where the stand-in itself, not the plugin, finds numpy and OpenImageIO."""
    import numpy
    import OpenImageIO

    folder = Path(tempfile.mkdtemp())
    for module in (numpy, OpenImageIO):
        package = Path(str(module.__file__)).parent
        for found in package.parent.glob(f"{package.name}*"):
            if found.is_dir():
                (folder / found.name).symlink_to(found)
    return [str(folder)]


def test_installing_again_changes_nothing(tmp_path: Path, wheels: Path) -> None:
    (tmp_path / "init.py").write_text("import nuke\nnuke.pluginAddPath('./mine')\n")
    install_nuke.install(tmp_path, [HERE], SYSTEM, wheels)
    before = files(tmp_path)
    install_nuke.install(tmp_path, [HERE], SYSTEM, wheels)
    assert {n: b for n, b in files(tmp_path).items() if "RECORD" not in n} == {
        n: b for n, b in before.items() if "RECORD" not in n
    }
    assert before["init.py"].decode().count("VOID for Nuke >>>") == 1
    assert before["init.py"].decode().startswith("import nuke\nnuke.pluginAddPath('./mine')\n")


@pytest.mark.parametrize("python", install_nuke.NUKE_PYTHONS)
def test_packages_for_every_python_of_nuke_load_in_it(tmp_path: Path, python: str) -> None:
    """Those of the package index, in an interpreter of that version where this machine has one."""
    folder = install_nuke.install(tmp_path / "home", [python], SYSTEM)
    packages = folder / "packages" / f"py{python.replace('.', '')}-{SYSTEM[0]}"
    tags = {path.name.split(".", 1)[1] for path in packages.rglob("*.so")}
    fits = f"cpython-{python.replace('.', '')}-"
    assert tags
    assert all(tag.startswith((fits, "abi3.")) for tag in tags), tags
    if SYSTEM == ["linux-x86_64"] and python in ("3.9", "3.10"):
        # Nuke 14 and 15 run on CentOS 7, too
        wheels = [file.read_text() for file in packages.glob("*.dist-info/WHEEL")]
        assert len(wheels) == 2
        assert all("manylinux_2_17_x86_64" in text for text in wheels)
    interpreter = shutil.which(f"python{python}")
    program = "import sys; sys.path[:0] = sys.argv[1:]; import zmq, msgpack, void_nuke.job.monitor; print('loaded')"
    command = [str(interpreter), "-I", "-S", "-c", program, str(packages), str(folder), str(folder / "nuke_plugin")]
    done = subprocess.run(command, capture_output=True, text=True, check=False) if interpreter else None
    # a manager of versions may have a command for a version that it does not have
    if done is None or "not found" in done.stderr or "not installed" in done.stderr:
        pytest.skip(f"there is no Python {python} here: its packages are of the right kind, but were not loaded")
    assert done.stdout.strip() == "loaded", done.stderr


def test_uninstalling_leaves_what_was_there(tmp_path: Path, wheels: Path) -> None:
    (tmp_path / "init.py").write_text("mine = 1\n")
    (tmp_path / "menu.py").write_text("also = 2\n")
    before = files(tmp_path)
    install_nuke.install(tmp_path, [HERE], SYSTEM, wheels)
    install_nuke.uninstall(tmp_path)
    after = files(tmp_path)
    assert after.keys() == before.keys()
    assert after["init.py"].strip() == before["init.py"].strip()
    install_nuke.uninstall(tmp_path)


def test_an_init_file_that_held_nothing_else_goes(tmp_path: Path, wheels: Path) -> None:
    install_nuke.install(tmp_path, [HERE], SYSTEM, wheels)
    install_nuke.uninstall(tmp_path)
    assert not files(tmp_path)


def test_check(tmp_path: Path, wheels: Path) -> None:
    assert [finding.good for finding in install_nuke.check(tmp_path)] == [False]
    install_nuke.install(tmp_path, [HERE], SYSTEM, wheels)
    found = {finding.what: finding for finding in install_nuke.check(tmp_path)}
    assert found["init.py"].good
    assert found["plugin"].good
    for python in install_nuke.NUKE_PYTHONS:
        assert found[f"packages for Python {python}"].good == (python == HERE)
    assert all(finding.good for finding in install_nuke.check(tmp_path, [HERE]))
    gizmo = tmp_path / "void" / "gizmos" / "VOID_Remove.gizmo"
    gizmo.write_text("an older one")
    found = {finding.what: finding for finding in install_nuke.check(tmp_path)}
    assert not found["plugin"].good
    assert str(gizmo) in found["plugin"].detail
    (tmp_path / "init.py").write_text("")
    assert not {f.what: f for f in install_nuke.check(tmp_path)}["init.py"].good


def test_what_fails_leaves_everything_as_it_was(tmp_path: Path, wheels: Path) -> None:
    install_nuke.install(tmp_path, [HERE], SYSTEM, wheels)
    before = files(tmp_path)
    (tmp_path / "none").mkdir()
    with pytest.raises(JobFailed, match="--wheels"):
        install_nuke.install(tmp_path, [HERE], SYSTEM, tmp_path / "none")
    (tmp_path / "none").rmdir()
    assert files(tmp_path) == before


def test_versions_and_systems_that_are_wrong(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="write it like"):
        install_nuke.install(tmp_path, ["14"], SYSTEM)
    with pytest.raises(SettingError, match="choose from linux-x86_64"):
        install_nuke.install(tmp_path, [HERE], ["amiga"])
    assert not files(tmp_path)
