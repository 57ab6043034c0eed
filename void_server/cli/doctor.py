"""What this machine can run, what is missing, and how to get it."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import runpy
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from .. import plugins
from ..api.client import Client, default_address
from ..api.errors import ColourError, InputError, SettingError, VoidError
from ..api.home import home
from ..api.shot import Settings
from ..engines.void import MODULES, memory
from ..engines.void.support import lacks_for_float8
from ..engines.void.weights import BASE, ENVIRONMENT, PASSES, SOURCES, Weights
from ..plugins import how_to_install, installed
from ..quadmask import reasoners
from ..quadmask.segmentation import checkpoints, names

_CORE = ("numpy", "opencv-python-headless", "OpenImageIO", "pyzmq", "msgpack", "Fileseq")
_EXTRAS = {
    "void": (MODULES, "for the engine void"),
    "sam2": (("torch", "sam2"), "for rotos from clicks"),
    "gemini": (("google.genai",), "for the reasoner gemini"),
    "local": (("openai",), "for the reasoner local, a language model of your own"),
    "web": (("starlette", "uvicorn", "prometheus_client", "av"), "for the page in the browser"),
    "evaluate": (("flip_evaluator",), "for FLIP in void evaluate"),
    "train": (("torch", "accelerate", "peft", "came_pytorch"), "for void train"),
}


# The oldest cards with bfloat16.
_AMPERE = (8, 0)
# The oldest torch that the extra void takes.
_TORCH = (2, 6)


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    ``needed``: `void remove` cannot run here without it. ``remedy``: what to do about it, ``command``: the shell
    command for that.
    """

    subject: str
    good: bool
    found: str
    remedy: str = ""
    needed: bool = False
    command: str = ""


def examine(server: str | None = None) -> list[Finding]:
    """Run all checks; changes and downloads nothing."""
    return [
        *_machine(),
        *_core(),
        _colour(),
        _state(),
        *_extras(),
        _blender(),
        *_gpu(),
        *_weights(),
        _sam2(),
        _sam3(),
        *_engines(),
        *_reasoners(),
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
            yield Finding(name, False, "missing", needed=True, command=how_to_install())


def _colour() -> Finding:
    from ..imaging.colour import ColourSpace, opencolorio

    try:
        where = ColourSpace("ACEScg").config
    except (ColourError, InputError) as error:
        return Finding("OCIO", False, os.environ.get("OCIO", ""), f"{error} Set $OCIO to a config.ocio, or unset it.")
    return Finding("OCIO", True, f"{where}, OpenColorIO {opencolorio()}")


def _state() -> Finding:
    folder = home()
    existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(existing).free / 2**30
    writable = os.access(existing, os.W_OK)
    remedy = "" if writable else "set $VOID_HOME to a writable folder"
    return Finding("state folder", writable, f"{folder}, {free:.0f} GB free", remedy, needed=True)


def _extras() -> Iterator[Finding]:
    for extra, (modules, purpose) in _EXTRAS.items():
        if absent := [name for name in modules if not installed(name)]:
            state = f"without {', '.join(absent)}"
            yield Finding(f"extra {extra}", False, state, purpose, command=how_to_install(extra))
        else:
            yield Finding(f"extra {extra}", True, "installed")


def _blender() -> Finding:
    from ..pairs import renderer

    try:
        found = renderer.command()[0]
    except SettingError as error:
        return Finding("Blender", False, "none found", str(error))
    return Finding("Blender", True, found)


def _gpu() -> Iterator[Finding]:
    cards = memory.cards()
    if not cards:
        yield Finding("GPU", False, "none found", "the engine cleanplate needs none, the engine void does")
    for card in cards:
        found = f"{card.name}, {card.memory / memory.GIB:.1f} GiB"
        if card.capability < _AMPERE:
            yield Finding(f"GPU {card.index}", False, found, "the engine void needs bfloat16: Ampere (2020) or later")
            continue
        profile = next(
            (p for p in memory.PROFILES.values() if memory.highest(p, guided=True, available=card.memory) >= 384), None
        )
        fits = f"memory {profile.name} fits at 384 lines" if profile else "too small for 384 lines"
        yield Finding(f"GPU {card.index}", profile is not None, f"{found}; {fits}{_fast(card)}")
    if installed("torch"):
        yield from _torch(bool(cards))


def _fast(card: memory.Card) -> str:
    """In which precision a card multiplies with quality fast, where that is known."""
    if not installed("torch"):
        return ""
    lacks = lacks_for_float8(card.capability, version("torch"))
    return f"; fast multiplies in bfloat16, as {lacks}" if lacks else "; fast multiplies in float8"


def _built_for() -> str:
    """The version of CUDA for which torch is built, empty for none; torch itself takes seconds to import."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return ""
    return str(runpy.run_path(str(Path(spec.origin).with_name("version.py"))).get("cuda") or "")


def _torch(gpu: bool) -> Iterator[Finding]:
    """What is known to be wrong with the torch that is installed, and how to find out whether it computes right."""
    release = version("torch")
    built = _built_for()
    if gpu and not built:
        yield Finding("torch", False, release, "it knows no GPU: install a torch that is built for CUDA (pytorch.org)")
        return
    faults = []
    if tuple(map(int, re.findall(r"\d+", release)[:2])) < _TORCH:
        faults.append(f"the engine void needs {'.'.join(map(str, _TORCH))} or later")
    if release.startswith("2.9."):
        faults.append("its Conv3d takes far too much memory in bfloat16 (pytorch issue 166643): use 2.10 or later")
    try:
        cudnn = version(f"nvidia-cudnn-cu{built.partition('.')[0]}")
    except PackageNotFoundError:
        cudnn = ""
    if re.match(r"9\.(8|9|10)\.", cudnn):
        faults.append(f"cuDNN {cudnn} computes Conv3d wrongly in bfloat16 (pytorch issue 163539): use 9.11 or later")
    command = "void parity --quick" + (" --device cuda" if gpu else "")
    yield Finding(
        "torch", not faults, f"{release}, {f'CUDA {built}' if built else 'CPU'}", "; ".join(faults), command=command
    )


def _weights() -> Iterator[Finding]:
    folder = os.environ.get(ENVIRONMENT)
    if not folder:
        yield Finding(
            "weights", False, f"${ENVIRONMENT} is not set", "for the engine void: set it to a folder with these"
        )
        for number, name in {0: BASE, **PASSES}.items():
            yield Finding(f"weights {name}", False, "not found", str(SOURCES[number]))
        return
    weights = Weights(Path(folder).expanduser())
    try:
        absent = [str(path.relative_to(weights.folder)) for path in weights.missing(())]
    except (SettingError, OSError) as error:
        yield Finding(f"weights {BASE}", False, str(error), str(SOURCES[0]))
        return
    state = f"lacks {', '.join(absent)}" if absent else "found"
    yield Finding(f"weights {BASE}", not absent, state, str(SOURCES[0]) if absent else "")
    for number, name in PASSES.items():
        if not weights.checkpoint(number).is_file():
            yield Finding(f"weights {name}", False, f"not in {weights.folder}", str(SOURCES[number]))
            continue
        try:
            weights.check((number,))
        except (SettingError, OSError) as error:
            yield Finding(f"weights {name}", False, str(error), str(SOURCES[number]))
        else:
            yield Finding(f"weights {name}", True, "found")


def _sam2() -> Finding:
    here = checkpoints.available()
    names = [checkpoint.path.name for checkpoint in here]
    if not here:
        remedy = (
            f"${checkpoints.ENVIRONMENT}: a folder with sam2.1_hiera_large.pt or another, from {checkpoints.SOURCE}"
        )
    else:
        remedy = "" if any(one.runs for one in here) else plugins.how_to_install(here[0].extra)
    return Finding("SAM 2 checkpoints", not remedy, ", ".join(names) or "none found", remedy)


def _sam3() -> Finding:
    wrong = names.missing()
    return Finding("SAM 3, finds things by name", not wrong, str(names.folder() or "none found"), wrong)


def _engines() -> Iterator[Finding]:
    from .. import engines

    for name in plugins.engines():
        try:
            engines.load(Settings(engine=name))
        except SettingError as error:
            yield Finding(f"engine {name}", False, "cannot be used", str(error))
        except Exception as error:  # an engine of somebody else's may fail in any way
            yield Finding(f"engine {name}", False, "cannot be loaded", f"{type(error).__name__}: {error}")
        else:
            yield Finding(f"engine {name}", True, "can be used")


def _reasoners() -> Iterator[Finding]:
    for name in plugins.reasoners():
        try:
            found = reasoners.find(name).check(Settings(reasoner=name))
        except SettingError as error:
            yield Finding(f"reasoner {name}", False, "cannot be used", str(error))
        else:
            yield Finding(f"reasoner {name}", True, found)


def _server(address: str | None) -> Finding:
    address = address or default_address()
    try:
        with Client(address, timeout=2) as client:
            info = client.hello()
    except SettingError as error:
        return Finding("server", False, f"none at {address}", str(error))
    except VoidError:
        return Finding("server", False, f"none at {address}", "`void remove` needs none", command="void serve")
    return Finding("server", True, f"{address}, version {info.version}, protocol {info.protocol}")


def ready(findings: Iterable[Finding]) -> bool:
    """Whether `void remove` can run on this machine."""
    return all(finding.good for finding in findings if finding.needed)


def show(findings: Sequence[Finding]) -> None:
    """Print the findings, without wrapping lines, so that names and commands can be copied."""
    from rich.console import Console
    from rich.markup import escape

    console = Console()
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        mark = "[green]ok[/]     " if finding.good else "[red]missing[/]" if finding.needed else "[yellow]-[/]      "
        lines = [f"{mark}  {finding.subject:<{width}}  {escape(finding.found)}"]
        indent = " " * (width + 11)
        lines += [f"{indent}[dim]{escape(finding.remedy)}[/]"] if finding.remedy else []
        lines += [f"{indent}{escape(finding.command)}"] if finding.command else []
        for line in lines:
            console.print(line, soft_wrap=True, highlight=False)
    able = "This machine is ready for `void remove`."
    print(able if ready(findings) else "This machine is not ready for `void remove` yet; see above.")
