"""What this machine can run, what is missing, and how to get it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from .api.client import Client, default_address
from .api.errors import ColourError, SettingError, VoidError
from .api.home import home
from .api.shot import Settings
from .capabilities import how_to_install, installed
from .engines.void.weights import BASE, ENVIRONMENT, PASSES, Weights
from .quadmask import analysts
from .quadmask.segmentation import checkpoints

_CORE = ("numpy", "opencv-python-headless", "OpenImageIO", "pyzmq", "msgpack", "Fileseq")
_EXTRAS = {
    "void": (("torch", "diffusers", "transformers", "safetensors"), "the VOID engine"),
    "sam2": (("torch", "sam2"), "rotos from clicks"),
    "gemini": (("google.genai",), "the Gemini reasoner"),
    "local": (("openai",), "the reasoner with a language model of your own"),
}
#: Where weights come from, and under which licence: the base model, then the checkpoints by their pass.
_SOURCES = {
    0: "CogVideoX-Fun-V1.5-5b-InP, on Hugging Face; the CogVideoX licence: register for commercial use",
    1: "netflix/void-model, on Hugging Face; Apache-2.0",
    2: "netflix/void-model, on Hugging Face; Apache-2.0; for the second pass only",
}


@dataclass(frozen=True)
class Finding:
    """One thing looked at. ``needed``: without it the main job cannot run here. ``remedy``: what to do about it."""

    subject: str
    good: bool
    found: str
    remedy: str = ""
    needed: bool = False


def examine(server: str | None = None) -> list[Finding]:
    """Look at everything; touches nothing and downloads nothing."""
    return [
        *_machine(),
        *_core(),
        _colour(),
        _state(),
        *_extras(),
        _gpu(),
        *_weights(),
        _sam2(),
        *_analysts(),
        _server(server),
    ]


def _machine() -> Iterator[Finding]:
    yield Finding("Python", True, platform.python_version())
    memory = psutil.virtual_memory().total / 2**30
    enough = memory > 3.5
    remedy = "" if enough else "4K shots want 4 GB"
    yield Finding("machine", enough, f"{os.cpu_count()} cores, {memory:.0f} GB", remedy)


def _core() -> Iterator[Finding]:
    for name in _CORE:
        try:
            yield Finding(name, True, version(name), needed=True)
        except PackageNotFoundError:
            yield Finding(name, False, "missing", "pip install void-nuke", needed=True)


def _colour() -> Finding:
    from .imaging.colour import ColourSpace

    where = os.environ.get("OCIO") or "OpenImageIO's own"
    try:
        ColourSpace("ACEScg")
    except ColourError as error:
        return Finding("OCIO", False, where, f"{error} Set $OCIO to a config.ocio, or unset it.")
    return Finding("OCIO", True, where)


def _state() -> Finding:
    folder = home()
    existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(existing).free / 2**30
    writable = os.access(existing, os.W_OK)
    remedy = "" if writable else "set $VOID_HOME to a folder that may be written"
    return Finding("state folder", writable, f"{folder}, {free:.0f} GB free", remedy, needed=True)


def _extras() -> Iterator[Finding]:
    for extra, (modules, purpose) in _EXTRAS.items():
        missing = [name for name in modules if not installed(name)]
        remedy = f"for {purpose}: {how_to_install(extra)}" if missing else ""
        yield Finding(
            f"extra {extra}", not missing, f"without {', '.join(missing)}" if missing else "installed", remedy
        )


def _gpu() -> Finding:
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return Finding("GPU", False, "none found", "the cleanplate engine needs none, the VOID engine does")
    return Finding("GPU", True, answer.replace("\n", "; "))


def _weights() -> Iterator[Finding]:
    folder = os.environ.get(ENVIRONMENT)
    if not folder:
        remedy = f"for the VOID engine: set it to a folder with {BASE}/ and {', '.join(PASSES.values())}"
        yield Finding("weights", False, f"${ENVIRONMENT} is not set", remedy)
        return
    weights = Weights(Path(folder).expanduser())
    absent = [str(path.relative_to(weights.folder)) for path in weights.missing(())]
    found = f"lacks {', '.join(absent)}" if absent else "found"
    yield Finding(f"weights {BASE}", not absent, found, _SOURCES[0] if absent else "")
    for number, name in PASSES.items():
        if not weights.checkpoint(number).is_file():
            yield Finding(f"weights {name}", False, f"not in {weights.folder}", _SOURCES[number])
            continue
        try:
            weights.check((number,))
        except (SettingError, OSError) as error:
            yield Finding(f"weights {name}", False, str(error), _SOURCES[number])
        else:
            yield Finding(f"weights {name}", True, "found")


def _sam2() -> Finding:
    found = [checkpoint.name for checkpoint in checkpoints.available()]
    remedy = f"${checkpoints.ENVIRONMENT}: a folder with sam2.1_hiera_large.pt or another, from {checkpoints.SOURCE}"
    return Finding("SAM 2 checkpoints", bool(found), ", ".join(found) or "none found", "" if found else remedy)


def _analysts() -> Iterator[Finding]:
    for name in analysts.NAMES:
        try:
            analyst = analysts.choose(Settings(reasoner=name))
        except SettingError as error:
            yield Finding(f"reasoner {name}", False, "cannot be used", str(error))
        else:
            yield Finding(f"reasoner {name}", True, f"{analyst.model} at {analyst.host}; not asked now")


def _server(address: str | None) -> Finding:
    address = address or default_address()
    try:
        with Client(address, timeout=2) as client:
            info = client.hello()
    except VoidError:
        return Finding("server", False, f"none at {address}", "none is needed for `void remove`; start one: void serve")
    return Finding("server", True, f"{address}, version {info.version}, protocol {info.protocol}")


def show(findings: list[Finding], as_json: bool) -> None:
    """Print the findings, for people or for programs."""
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(4):
        # names of files are what somebody will look for: never cut
        table.add_column(overflow="fold")
    for finding in findings:
        mark = "[green]ok[/]" if finding.good else "[red]missing[/]" if finding.needed else "[yellow]-[/]"
        table.add_row(mark, finding.subject, escape(finding.found), f"[dim]{escape(finding.remedy)}[/]")
    Console().print(table)
    ready = all(finding.good for finding in findings if finding.needed)
    print("The main job runs on this machine." if ready else "The main job cannot run on this machine yet; see above.")
