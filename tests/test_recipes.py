"""The recipes in packaging/: each as far as its own tool reads it here; what they repeat is as it is declared."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import dockerfile
import pytest
import yaml
from packaging.requirements import Requirement

from void_server import __version__
from void_server.api.client import DEFAULT_ADDRESS
from void_server.cli.wheels import PYTHONS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
RECIPES = ROOT / "packaging"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PORT = DEFAULT_ADDRESS.rpartition(":")[2]
CONTAINERFILE = RECIPES / "containers" / "Containerfile"
UNIT = RECIPES / "systemd" / "void-server.service"
#: Other names of packages for conda.
CONDA = {"msgpack": "msgpack-python", "opencv-python-headless": "py-opencv", "openimageio": "py-openimageio"}


def test_the_package_has_the_version_that_it_says() -> None:
    assert PROJECT["project"]["version"] == __version__


# -- conda


def test_the_conda_recipe_is_of_this_package() -> None:
    recipe = yaml.safe_load((RECIPES / "conda" / "recipe.yaml").read_text())
    project = PROJECT["project"]
    assert (recipe["package"]["name"], recipe["context"]["version"]) == (project["name"], project["version"])
    assert recipe["about"]["summary"] == project["description"]
    assert recipe["build"]["python"]["entry_points"] == [f"void = {project['scripts']['void']}"]
    wanted = {
        CONDA.get(one.name.lower(), one.name.lower()): str(one.specifier)
        for one in map(Requirement, project["dependencies"])
    }
    run = dict(line.split(" ", 1) for line in recipe["requirements"]["run"])
    assert run.pop("python") == project["requires-python"]
    assert run == wanted
    assert set(PROJECT["build-system"]["requires"]) <= {
        line.replace(" ", "") for line in recipe["requirements"]["host"]
    }


def test_rattler_build_reads_and_fills_in_the_conda_recipe() -> None:
    """All of building it that needs no channel."""
    reader = pytest.importorskip(
        "rattler_build", reason="py-rattler-build is not installed: conda's recipe was NOT read"
    )
    (variant,) = reader.Stage0Recipe.from_file(str(RECIPES / "conda" / "recipe.yaml")).render()
    said = variant.recipe.to_dict()
    assert said["package"] == {"name": "void-nuke", "version": __version__}
    assert said["build"]["noarch"] == "python"
    assert (RECIPES / "conda" / said["source"][0]["path"]).resolve() == ROOT


# -- rez


def test_rez_reads_its_package() -> None:
    program = """
import json, sys
from rez.packages import get_developer_package
package = get_developer_package(sys.argv[1])
print(json.dumps([package.name, str(package.version), [str(one) for one in package.requires], package.description]))
"""
    command = [sys.executable, "-c", program, str(RECIPES / "rez")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    name, said, (python,), description = json.loads(ran.stdout)
    assert (name, said) == ("void_nuke", __version__)
    assert python == f"python-{PYTHONS[0]}+<3.{int(PYTHONS[-1][2:]) + 1}"
    assert description == PROJECT["project"]["description"].partition(", from")[0]


@pytest.mark.slow
def test_rez_builds_its_package_and_an_environment_of_it_runs(tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    (tmp_path / "rezconfig.py").write_text(f"packages_path = ['{packages}']\nlocal_packages_path = '{packages}'\n")
    kept = ("PATH", "HOME", "LANG", "SSL_CERT_FILE")
    environment = {name: value for name, value in os.environ.items() if name in kept or name.startswith("PIP_")}
    environment |= {"REZ_CONFIG_FILE": str(tmp_path / "rezconfig.py"), "VOID_HOME": str(tmp_path / "home")}
    # the Python that rez is told of, and so builds with: a whole one, not an environment of one
    environment["PATH"] = os.pathsep.join([str(Path(sys.base_prefix) / "bin"), environment["PATH"]])
    source = shutil.copytree(RECIPES / "rez", tmp_path / "checkout" / "packaging" / "rez")
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md", "constraints.txt", "init.py", "menu.py"):
        shutil.copy(ROOT / name, tmp_path / "checkout")
    for name in ("void_server", "nuke_plugin", "docs", "gizmos"):
        shutil.copytree(ROOT / name, tmp_path / "checkout" / name, ignore=shutil.ignore_patterns("__pycache__"))

    def rez(tool: str, *words: str) -> str:
        command = [sys.executable, "-c", f"from rez.cli._entry_points import {tool}; {tool}()", *words]
        ran = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    for name in ("platform", "arch", "os", "python"):
        rez("run_rez_bind", name)
    rez("run_rez_build", "--install")
    assert f"void {__version__}" in rez("run_rez_env", "void_nuke", "--", "void", "--version")
    (installed,) = (packages / "void_nuke").glob("0.*")
    assert str(installed / "nuke" / "void") in rez("run_rez_env", "void_nuke", "--", "printenv", "NUKE_PATH")
    assert (installed / "nuke" / "void" / "menu.py").is_file()


# -- containers


def instructions() -> list[tuple[str, tuple[str, ...]]]:
    return [(one.cmd.upper(), one.value) for one in dockerfile.parse_file(str(CONTAINERFILE))]


def test_the_container_runs_as_nobody_special_and_says_what_it_offers() -> None:
    found = instructions()
    last = [position for position, (kind, _) in enumerate(found) if kind == "FROM"][-1]
    final = found[last:]
    said = dict(final)
    assert said["USER"] == ("10001",)
    assert said["EXPOSE"] == (PORT,)
    assert set(said["VOLUME"]) == {"/var/lib/void", "/projects"}
    assert f"'127.0.0.1', {PORT}" in said["HEALTHCHECK"][-1]
    assert said["ENTRYPOINT"] == ("void",)
    assert said["CMD"] == ("serve", "--address", f"tcp://*:{PORT}", "--root", "/projects")
    # nothing runs as root after the user is chosen, and what is built stays behind
    kinds = [kind for kind, _ in final]
    assert "RUN" not in kinds[kinds.index("USER") :]
    assert "--from=build" in str(dockerfile.parse_file(str(CONTAINERFILE)))
    assert dict(zip(said["ENV"][::2], said["ENV"][1::2], strict=True))["VOID_HOME"] == "/var/lib/void"


def test_hadolint_finds_nothing_wrong_with_the_container() -> None:
    hadolint = shutil.which("hadolint", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if not hadolint:
        pytest.skip("hadolint is not here: the Containerfile was NOT linted")
    command = [hadolint, "--failure-threshold", "style", str(CONTAINERFILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_both_containers_are_of_the_same_base_and_of_a_python_that_void_runs_on() -> None:
    bases = {value[0] for kind, value in instructions() if kind == "FROM"}
    definition = (RECIPES / "containers" / "void.def").read_text()
    header = configparser.ConfigParser(delimiters=":")
    header.read_string("[header]\n" + definition.partition("\n%")[0])
    assert bases == {header["header"]["from"]}
    (version,) = re.findall(r"^python:(3\.\d+)-", header["header"]["from"])
    assert version in PYTHONS
    sections = re.findall(r"^%(\w+)$", definition, re.MULTILINE)
    known = {"arguments", "setup", "files", "environment", "post", "runscript", "startscript", "test", "labels", "help"}
    assert set(sections) <= known
    assert len(sections) == len(set(sections))
    for section in re.findall(
        r"^%(?:post|runscript|startscript|test|environment)\n((?: .*\n|\n)*)", definition, re.MULTILINE
    ):
        subprocess.run(["sh", "-n"], input=section.replace("{{ EXTRAS }}", "web"), text=True, check=True)


@pytest.mark.parametrize("triton", [True, False])
def test_a_container_with_triton_has_a_c_compiler(tmp_path: Path, triton: bool) -> None:
    """What both recipes run, with a stand-in for apt-get, where Triton is and where it is not."""
    (tmp_path / ("triton" if triton else "other")).mkdir()
    apt, log = tmp_path / "apt-get", tmp_path / "log"
    apt.write_text(f'#!/bin/sh\necho "$@" >> {log}\n')
    apt.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(tmp_path)}
    found = instructions()
    last = [position for position, (kind, _) in enumerate(found) if kind == "FROM"][-1]
    container = "\n".join(value[0] for kind, value in found[last:] if kind == "RUN")
    for recipe in (container, (RECIPES / "containers" / "void.def").read_text()):
        log.write_text("")
        (commands,) = re.findall(r"if /opt/void/bin/python .*?\bfi\b", recipe, re.DOTALL)
        commands = commands.replace("/opt/void/bin/python", f"{sys.executable} -S")
        commands = commands.replace("/var/lib/apt", str(tmp_path))
        subprocess.run(["sh", "-ec", commands], env=environment, check=True)
        installed = re.findall(r"^install .* gcc=\S+ libc6-dev=\S+$", log.read_text(), re.MULTILINE)
        assert bool(installed) == bool(log.read_text()) == triton


def test_extras_that_the_containers_are_built_with_are_there() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    for file in ("Containerfile", "void.def"):
        named = re.findall(r"EXTRAS=([\w,]+)", (RECIPES / "containers" / file).read_text())
        assert named
        assert {one for words in named for one in words.split(",")} <= set(extras)


def test_the_health_check_is_a_program_that_notices() -> None:
    """Run as it stands, against something that listens and against nothing."""
    (check,) = (value for kind, value in instructions() if kind == "HEALTHCHECK")
    program = check[-1]
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        assert subprocess.run([sys.executable, "-c", program.replace(PORT, port)], check=False).returncode == 0
    done = subprocess.run([sys.executable, "-c", program.replace(PORT, port)], capture_output=True, check=False)
    assert done.returncode != 0


# -- systemd


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units with a command that is there."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not here: the units were NOT checked")
    folder = shutil.copytree(UNIT.parent, tmp_path / "units")
    unit = folder / UNIT.name
    unit.write_text(unit.read_text().replace("/opt/void/bin/void", "/bin/true"))
    return folder


def test_systemd_finds_nothing_wrong_with_the_unit(units: Path) -> None:
    command = ["systemd-analyze", "verify", "--man=no", str(units / UNIT.name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wrong = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert not wrong
    assert done.returncode == 0, done.stderr


def test_systemd_rates_the_unit_as_well_confined(units: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(units / UNIT.name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-500:]


def test_the_unit_serves_where_clients_look_and_lets_workers_confine_themselves() -> None:
    said = UNIT.read_text()
    assert f"serve --address tcp://*:{PORT} " in said
    assert "Environment=VOID_HOME=/var/lib/void\n" in said
    assert "StateDirectory=void\n" in said
    for call in ("seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"):
        assert call in said
