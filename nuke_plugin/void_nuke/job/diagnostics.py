"""What support needs to know, and what an artist can check. Uses nuke, on its main thread."""

from __future__ import annotations

import importlib
import platform
import shutil
import tempfile
from typing import Optional

import nuke

import void_server
from void_server.api.client import Client
from void_server.api.errors import VoidError

from ..node import knobs as k
from ..node.node import VoidNode
from ..node.results import output_folder
from ..studio import settings
from ..studio.findings import Finding, as_text
from ..studio.packages import NEEDED, ROOT, folder
from . import local_server

_GIGABYTE = 1e9


def examine(void: Optional[VoidNode] = None) -> list[Finding]:
    """Check packages, settings, output folder and server, for one node or in general."""
    return [_packages(), _settings(), *([_output(void)] if void else []), _server(void)]


def _packages() -> Finding:
    found = []
    for name in NEEDED:
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            return Finding(False, "packages", f"{name} is missing ({error}); run: void install-nuke")
        version = module.__version__ if name == "zmq" else ".".join(map(str, module.version))
        found.append(f"{name} {version}")
    return Finding(True, "packages", ", ".join(found))


def _settings() -> Finding:
    try:
        settings.load()
    except VoidError as error:
        return Finding(False, "settings", str(error))
    used = [str(file) for file in settings.files() if file.is_file()]
    return Finding(True, "settings", ", ".join(used) or "no files; using the defaults")


def _output(void: VoidNode) -> Finding:
    try:
        out = output_folder(void)
    except VoidError as error:
        return Finding(False, "output folder", str(error))
    existing = next(path for path in (out, *out.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return Finding(False, "output folder", f"{out} cannot be written ({error.strerror}); choose another.")
    free = shutil.disk_usage(existing).free / _GIGABYTE
    return Finding(free > 1, "output folder", f"{out}, {free:.0f} GB free")


def _server(void: Optional[VoidNode]) -> Finding:
    now = _loaded()
    address = (void.text(k.SERVER) if void else "") or now.address
    try:
        with Client(address, keys=now.keys, timeout=3) as client:
            info = client.hello()
    except VoidError as error:
        if local_server.can_start(now, address):
            return Finding(True, "server", f"none at {address} yet; the first job starts one")
        return Finding(False, "server", str(error))
    return Finding(True, "server", f"{address}, version {info.version}")


def everything(void: Optional[VoidNode] = None) -> str:
    """All that support needs: versions, settings, findings, and the node's knobs; no keys."""
    lines = [
        f"VOID for Nuke {void_server.__version__} in {ROOT}",
        f"Nuke {nuke.NUKE_VERSION_STRING}, Python {platform.python_version()}, {platform.platform()}",
        f"packages from {folder()}",
        f"server on this machine: {_local_server()}",
        as_text(examine(void)),
    ]
    if void is not None:
        lines.append(f"node {void.name} ({void.kind})")
        own = (k.STATUS, k.STATE, k.ID, k.JOBS, k.FOLDER, k.RESULT, k.FRAMES, k.CUSTOM_RANGE, k.SERVER, k.OUTPUT)
        lines += [f"  {name}: {void.node[name].value()}" for name in own if void.has(name)]
    return "\n".join(lines)


def _local_server() -> str:
    now = _loaded()
    if not now.void_command:
        return "(no void_command in the settings; run: void install-nuke)"
    return " ".join(local_server.command(now, now.address, []))


def _loaded() -> settings.Settings:
    """The settings, or, where they are wrong, which is a finding of its own, the defaults."""
    try:
        return settings.load()
    except VoidError:
        return settings.Settings()
