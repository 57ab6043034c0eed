"""Install the plugin into a Nuke home: a self-contained folder, and a marked block in Nuke's init.py."""

from __future__ import annotations

import filecmp
import json
import os
import re
import shutil
import site
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

from markdown_it import MarkdownIt
from void_nuke.studio.findings import Finding
from void_nuke.studio.packages import NEEDED, this_system
from void_nuke.studio.packages import folder as packages_folder

from ..api.errors import JobFailed, SettingError
from ..api.files import write_atomically
from ..interpreter import running
from .wheels import SYSTEMS, check_python, check_system, pip, selection

#: The Python of each Nuke.
NUKES = {"14": "3.9", "15": "3.10", "16": "3.11", "17": "3.11"}
#: Those, and that of the VFX reference platform 2026 for what comes next.
NUKE_PYTHONS = (*dict.fromkeys(NUKES.values()), "3.13")
_FOLDER = "void"
#: What the plugin needs besides Nuke's own Python.
PACKAGES = ("msgpack>=1.0.5", "pyzmq>=25.1")
_BEGIN, _END = "# >>> VOID for Nuke >>>", "# <<< VOID for Nuke <<<"
_BLOCK = f"""{_BEGIN} (written by `void install-nuke`; removed by `void install-nuke --uninstall`)
import nuke

nuke.pluginAddPath("./{_FOLDER}")
{_END}
"""
_OLD_BLOCK = re.compile(rf"\n?{re.escape(_BEGIN)}.*?{re.escape(_END)}\n?", re.DOTALL)
#: Nuke 14 and 15 also run on systems of the age of CentOS 7, for which newer wheels are none.
_OLD_LINUX, _OLD_LINUX_PYTHONS = ("manylinux_2_17_x86_64", "manylinux2014_x86_64"), ("3.9", "3.10")
_PLUGIN = (
    "init.py",
    "menu.py",
    "gizmos",
    "docs",
    "nuke_plugin/void_nuke",
    "void_server/__init__.py",
    "void_server/api",
)
_STYLE = (
    "<style>body{max-width:50em;margin:2em auto;padding:0 1em;font:16px/1.5 sans-serif;background:#232323;color:#ddd}"
    "img{max-width:100%}code,pre{background:#333;padding:.1em .3em}pre{padding:.8em;overflow:auto}a{color:#8bf}"
    "table{border-collapse:collapse}td,th{border:1px solid #555;padding:.3em .6em;text-align:left}</style>"
)
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


def default_home() -> Path:
    """Where Nuke looks for a user's plugins."""
    return Path.home() / ".nuke"


def shared() -> Path:
    """Where that is which is no package: nodes, guides, the pins; the checkout, or a folder of the installation."""
    packages = Path(__file__).resolve().parents[2]
    # where pip puts a package's data: in an environment, with --target, with --user
    roots = (Path(sysconfig.get_path("data")), packages, Path(site.getuserbase()))
    places = (packages, *(root / "share" / "void-nuke" for root in roots))
    return next((place for place in places if (place / "gizmos").is_dir()), places[1])


def sources() -> Iterator[tuple[str, Path]]:
    """The plugin's files and folders, by their place in its folder: from the checkout, or as installed."""
    packages, share = Path(__file__).resolve().parents[2], shared()
    for name in _PLUGIN:
        # installed, the plugin's package lies beside the others
        places = (packages / name, packages / name.removeprefix("nuke_plugin/"), share / name)
        source = next((place for place in places if place.exists()), None)
        if source is None:
            raise SettingError(f"{name} is missing from this installation of void-nuke; reinstall it.")
        yield name, source


def install(home: Path, pythons: Sequence[str], systems: Sequence[str], wheels: Path | None = None) -> Path:
    """Install into ``home``; returns the plugin's folder. Call it again to update.

    ``pythons`` are versions such as 3.11, ``systems`` such as linux-x86_64. ``wheels`` is a folder of wheels for
    machines without network. Raises :class:`SettingError` or :class:`JobFailed`, leaving everything unchanged.
    """
    _check(pythons, systems)
    target = home / _FOLDER
    part, old = home / f".{_FOLDER}.part", home / f".{_FOLDER}.old"
    try:
        home.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(part, ignore_errors=True)
        for name, source in sources():
            _copy(source, part / name)
        write_pages(part / "docs")
        for python in pythons:
            for system in systems:
                _install_packages(packages_folder(part, _numbers(python), system), python, system, wheels)
        command = {"void_command": _void_command()}
        (part / "installed.json").write_text(json.dumps(command, indent=2), encoding="utf-8")
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            os.replace(target, old)
        os.replace(part, target)
        _write_block(home / "init.py", _BLOCK)
    except OSError as error:
        raise JobFailed(f"{error.filename or home} cannot be written ({error.strerror}); is Nuke open?") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return target


def uninstall(home: Path) -> None:
    """Remove the plugin from ``home``, and nothing else. Raises :class:`JobFailed`."""
    try:
        _write_block(home / "init.py", "")
        if (home / _FOLDER).exists():
            shutil.rmtree(home / _FOLDER)
    except OSError as error:
        raise JobFailed(f"{error.filename or home} cannot be removed ({error.strerror}); is Nuke open?") from error


def check(home: Path, pythons: Sequence[str] = NUKE_PYTHONS) -> list[Finding]:
    """Check an installation, including its packages for these Python versions."""
    target = home / _FOLDER
    if not target.is_dir():
        return [Finding(False, "plugin", f"not in {home}; run: void install-nuke")]
    findings = [_check_block(home), _check_files(target)]
    for python in pythons:
        folder = packages_folder(target, _numbers(python), this_system())
        there = all((folder / name).is_dir() for name in NEEDED)
        detail = str(folder) if there else f"not installed; run: void install-nuke --python {python}"
        findings.append(Finding(there, f"packages for Python {python}", detail))
    return findings


def _check(pythons: Sequence[str], systems: Sequence[str]) -> None:
    for python in pythons:
        check_python(python)
    for system in systems:
        if system != this_system():
            check_system(system)


def write_pages(docs: Path) -> None:
    """Write each guide as an HTML page, as artists have no use for Markdown."""
    markdown = MarkdownIt().enable("table")
    for file in docs.glob("*.md"):
        body = re.sub(r'href="(\w+)\.md"', r'href="\1.html"', markdown.render(file.read_text(encoding="utf-8")))
        page = f"<!doctype html><meta charset='utf-8'><title>{file.stem}</title>{_STYLE}<body>{body}</body>"
        file.with_suffix(".html").write_text(page, encoding="utf-8")


def _numbers(python: str) -> tuple[int, int]:
    major, minor = python.split(".")
    return int(major), int(minor)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=_LEFT_OUT)
    else:
        shutil.copy2(source, target)


def _install_packages(folder: Path, python: str, system: str, wheels: Path | None) -> None:
    tags: Sequence[str] = () if wheels is not None and system == this_system() else tags_of(python, system)
    command = ["install", "--quiet", "--no-warn-conflicts", "--no-compile", "--target", str(folder)]
    command += selection(python, tags, wheels)
    failed = f"pyzmq and msgpack for Python {python} on {system} could not be installed"
    pip(command, PACKAGES, failed, "; without network, give a folder of wheels with --wheels")


def tags_of(python: str, system: str) -> Sequence[str]:
    """The tags of the wheels to take for Nuke's Python on a system; none for those that this machine takes."""
    if system == "linux-x86_64" and python in _OLD_LINUX_PYTHONS:
        return _OLD_LINUX
    return () if system == this_system() else SYSTEMS[system].tags


def _void_command() -> list[str]:
    """The command `void` of this installation."""
    return running("void_server.cli")


def _write_block(file: Path, block: str) -> None:
    """Write the block into an init.py, replacing an earlier one; without a block, remove it."""
    before = file.read_text(encoding="utf-8") if file.is_file() else ""
    rest = _OLD_BLOCK.sub("", before)
    if not block and rest == before:
        return
    after = (f"{rest.rstrip()}\n\n" if rest.strip() else "") + block if block else rest
    if not after.strip():
        file.unlink()
        return
    write_atomically(file, after)


def _check_block(home: Path) -> Finding:
    file = home / "init.py"
    there = file.is_file() and _BLOCK in file.read_text(encoding="utf-8")
    return Finding(there, "init.py", str(file) if there else f"{file} does not load the plugin; run: void install-nuke")


def _check_files(target: Path) -> Finding:
    for name, source in sources():
        files = [source] if source.is_file() else [path for path in source.rglob("*") if path.is_file()]
        for file in files:
            if file.suffix == ".pyc" or file.name.startswith("."):
                continue
            copied = target / name if file == source else target / name / file.relative_to(source)
            if not copied.is_file() or not filecmp.cmp(file, copied, shallow=False):
                return Finding(False, "plugin", f"{copied} belongs to another version; run: void install-nuke")
    return Finding(True, "plugin", str(target))
