"""Wheels for machines other than this one: which a set of packages needs there, and fetching them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..api.errors import JobFailed, SettingError
from ..interpreter import running
from ..plugins import how_to_install

#: The Pythons that this package runs on.
PYTHONS = ("3.10", "3.11", "3.12", "3.13")


@dataclass(frozen=True)
class System:
    """A kind of machine: the ``tags`` of wheels that fit it, and its ``target``, the name that uv knows it by."""

    target: str
    tags: tuple[str, ...]


def _manylinux(machine: str) -> tuple[str, ...]:
    # glibc 2.28 is that of Rocky Linux 8; pip adds what came before manylinux2014 itself
    return (*(f"manylinux_2_{minor}_{machine}" for minor in range(28, 16, -1)), f"manylinux2014_{machine}")


#: The systems that wheels can be had for, by platform and machine as Python names them.
SYSTEMS: Mapping[str, System] = {
    "linux-x86_64": System("x86_64-manylinux_2_28", _manylinux("x86_64")),
    "linux-aarch64": System("aarch64-manylinux_2_28", _manylinux("aarch64")),
    "windows-amd64": System("x86_64-pc-windows-msvc", ("win_amd64",)),
    "darwin-x86_64": System(
        "x86_64-apple-darwin",
        ("macosx_10_15_universal2", "macosx_10_15_x86_64", "macosx_10_9_x86_64", "macosx_13_0_x86_64"),
    ),
    "darwin-arm64": System(
        "aarch64-apple-darwin", ("macosx_11_0_arm64", "macosx_10_15_universal2", "macosx_13_0_arm64")
    ),
}


def check_python(python: str) -> None:
    """Raise :class:`SettingError` unless it is a version such as 3.11."""
    if not re.fullmatch(r"3\.\d+", python):
        raise SettingError(f"Python {python!r} is not a version; write it like 3.11.")


def check_system(system: str) -> None:
    """Raise :class:`SettingError` unless it is one of :data:`SYSTEMS`."""
    if system not in SYSTEMS:
        raise SettingError(f"System {system!r} is not supported; choose from {', '.join(SYSTEMS)}.")


def resolve(
    requirements: Iterable[str], constraints: Path, python: str, system: str, *, alone: bool = False, hint: str = ""
) -> list[str]:
    """The packages, pinned, that the ``requirements`` come to under that Python on that system, all there as wheels.

    ``alone``: without what they need in turn. Markers count as they do there, which pip cannot do from here. Raises
    :class:`SettingError` without uv, :class:`JobFailed` with what uv says, above all of packages that have no wheel
    there, and a ``hint``.
    """
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if not uv:
        raise SettingError(f"uv has to find out which wheels are needed; get it: {how_to_install('bundle')}")
    command = [uv, "pip", "compile", "-", "--quiet", "--constraint", str(constraints), "--python-version", python]
    command += ["--python-platform", SYSTEMS[system].target, "--only-binary", ":all:", "--no-header", "--no-annotate"]
    command += ["--no-deps"] if alone else []
    done = subprocess.run(command, input="\n".join(requirements), capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join(done.stderr.split())
        raise JobFailed(f"The packages for Python {python} on {system} cannot be had as wheels: {said}{hint}")
    return [line for line in done.stdout.splitlines() if line and not line.startswith(("#", "-"))]


def fetch(requirements: Sequence[str], python: str, tags: Sequence[str], folder: Path, links: Path | None) -> None:
    """Fetch the wheels of these very packages, and not what they need, into ``folder``.

    ``tags`` are the platforms' that fit; none, for those of this machine. With ``links``, a folder of wheels, no
    network is used. Raises :class:`JobFailed` with what pip says.
    """
    command = ["download", "--quiet", "--dest", str(folder), *selection(python, tags, links)]
    pip(command, requirements, f"The wheels for Python {python} cannot be had")


def selection(python: str, tags: Sequence[str], links: Path | None) -> list[str]:
    """The options by which pip takes wheels for that Python and those platforms, without what they need."""
    words = ["--python-version", python, "--implementation", "cp", "--no-deps", "--only-binary", ":all:"]
    words += [word for tag in tags for word in ("--platform", tag)]
    return words + (["--no-index", "--find-links", str(links)] if links is not None else [])


def pip(command: Sequence[str], requirements: Sequence[str], failed: str, hint: str = "") -> None:
    """Have pip do something. Raises :class:`JobFailed`: what ``failed``, with pip's own words, and a ``hint``."""
    words = [*running("pip"), "--disable-pip-version-check", *command, *requirements]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise JobFailed(f"{failed} ({lines[-1] if lines else 'pip said nothing'}){hint}.", done.stderr)


def own(folder: Path, given: Path | None = None) -> Path:
    """The wheel of this very package in ``folder``: the one ``given``, or built where this is a checkout.

    Raises :class:`SettingError` or :class:`JobFailed`.
    """
    if given is not None:
        return Path(shutil.copy(given, folder))
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / "pyproject.toml").is_file():
        raise SettingError("This void was installed from a wheel, so name that wheel with --wheel.")
    # in a folder of its own: the build would take up what is lying there
    with tempfile.TemporaryDirectory() as making:
        pip(["wheel", "--quiet", "--no-deps", "--wheel-dir", making], [str(checkout)], "The wheel cannot be built")
        (made,) = Path(making).glob("*.whl")
        return Path(shutil.copy(made, folder))
