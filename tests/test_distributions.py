"""Wheel and sdist: the same bytes from the same files wherever and whenever, with everything needed, nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
BUILD = "import sys; from hatchling.build import build_sdist, build_wheel; {}(sys.argv[1])"
LEFT_OUT = shutil.ignore_patterns(".*", "demo", "dist", "build", "*.egg-info", "__pycache__")


def checkout(folder: Path) -> Path:
    """A copy of this checkout, with what is lying about in one."""
    shutil.copytree(ROOT, folder, ignore=LEFT_OUT)
    shutil.copy2(ROOT / ".gitignore", folder)
    (folder / "void_server" / "__pycache__").mkdir()
    (folder / "void_server" / "__pycache__" / "left.cpython-311.pyc").touch()
    (folder / "shared").mkdir()
    (folder / "shared" / "notes.md").touch()
    return folder


def built(kind: str, source: Path, out: Path, umask: int = 0o022) -> Path:
    """The distribution of one kind, of ``source``, built without network."""
    out.mkdir(parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    command = [sys.executable, "-c", BUILD.format(f"build_{kind}"), str(out)]
    subprocess.run(command, cwd=source, env=environment, umask=umask, check=True)
    (made,) = out.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return made


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkout(tmp_path_factory.mktemp("one") / "here")


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("wheel", source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("sdist", source, tmp_path_factory.mktemp("sdist"))


def elsewhere(folder: Path) -> Path:
    """The same files in another folder, of another day, and for their owner alone."""
    copy = checkout(folder)
    for number, path in enumerate(sorted(copy.rglob("*"))):
        if path.is_file():
            path.chmod(0o600)
            os.utime(path, (86400 * number, 86400 * number))
    return copy


def test_two_builds_are_equal_byte_for_byte(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    other = elsewhere(tmp_path / "another folder")
    for kind, before in (("wheel", wheel), ("sdist", sdist)):
        assert built(kind, other, tmp_path / kind, umask=0o077).read_bytes() == before.read_bytes(), kind


def test_the_wheel_of_an_sdist_is_that_of_the_checkout(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    assert built("wheel", unpacked, tmp_path / "out").read_bytes() == wheel.read_bytes()


def below(folder: Path, pattern: str = "*") -> set[str]:
    files = (path for path in folder.rglob(pattern) if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder.parent).as_posix() for path in files}


def test_the_wheel_holds_both_packages_and_what_nuke_loads_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        entries = archive.read(next(n for n in archive.namelist() if n.endswith("entry_points.txt"))).decode()
    share = {name.partition(".data/data/share/void-nuke/")[2] for name in names if ".data/" in name}
    assert {name for name in names if ".data/" not in name} == (
        below(ROOT / "void_server") | below(ROOT / "nuke_plugin" / "void_nuke")
    )
    assert share == below(ROOT / "docs") | below(ROOT / "gizmos") | {"init.py", "menu.py", "constraints.txt"}
    for needed in ("void_server/web/static/index.html", "void_nuke/icons/void.png", "void_server/py.typed"):
        assert needed in names
    assert "void = void_server.cli:main" in entries


def test_the_guides_are_pages_and_pictures_alone() -> None:
    assert {Path(name).suffix for name in below(ROOT / "docs")} == {".md", ".png", ".jpg"}


def test_the_sdist_holds_no_tests_and_nothing_that_lay_about(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    tops = {name.split("/")[0] for name in names}
    assert not tops & {"tests", "shared", "benchmarks", "tools", "demo"}
    assert {"pyproject.toml", "constraints.txt", "CHANGELOG.md", "README.md", "void_server", "nuke_plugin"} <= tops
    assert not any(name.endswith(".pyc") for name in names)
