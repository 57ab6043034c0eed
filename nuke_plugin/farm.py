"""Submission of nodes to a render farm, through the command `void`, which knows the engines. Uses nuke."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

from void_server.api.errors import InputError, JobFailed, SettingError

from . import actions, outputs, settings
from . import knobs as k
from .local_server import environment
from .voidnode import VoidNode

# how the command begins what it says of an error
_SENTENCE = "void: "


@dataclass(frozen=True)
class Engines:
    """The farm's engines with the fields that each can express, the one that the site uses, and its fields."""

    expresses: dict[str, list[str]]
    chosen: str
    fields: dict[str, Any]


def check_script() -> Path:
    """The script's file. Raises :class:`InputError` where it has none yet."""
    script = actions.script_path()
    if not script:
        raise InputError("The script has no name yet; save it first: versions and what you choose are kept beside it.")
    return Path(script)


def engines() -> Engines:
    """What the farm's engines are and can. Raises VoidError."""
    said = _void("farm", "engines", "--json", "--script", str(check_script()))
    return Engines(said["expresses"], said["engine"], said["fields"])


def submit(nodes: Sequence[VoidNode], engine: str, fields: dict[str, Any], server: str = "") -> list[str]:
    """Export what the nodes need and hand all of them over as one group; each node then shows its version.

    Returns the version folders. Raises VoidError; nothing is handed over where anything is wrong.
    """
    script = check_script()
    for void in nodes:
        actions.check_ready(void)
    rows: list[dict[str, Any]] = []
    of_rows: list[tuple[VoidNode, Path, str]] = []
    for void in nodes:
        versions = actions.output_folder(void)
        prepared = actions.prepare(void, versions, only_quadmask=not void.has(k.REMOVE))
        for one in prepared.shots:
            name = " ".join(filter(None, [script.stem, void.name, one.view]))
            rows.append({"shot": one.shot.to_dict(), "out": one.out, "fields": {**fields, "name": name}})
            of_rows.append((void, versions, prepared.source))
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "jobs.json"
        table.write_text(json.dumps(rows), encoding="utf-8")
        words = ["farm", "submit", "--jobs", str(table), "--engine", engine, "--json", "--script", str(script)]
        said = _void(*words, *(["--server", server] if server else []))
    folders = [Path(entry["folder"]) for entry in said]
    for (void, versions, source), made in zip(of_rows, folders):
        # with views, the version is the folder above theirs
        version = made if made.parent == versions else made.parents[1]
        result = outputs.result_in(version)
        if result is not None:
            void.show_result(result, source)
            void.show(k.DONE, f"On the farm as {result.name}; frames appear as they are done.", result.name)
    return [str(folder) for folder in folders]


def _void(*words: str) -> Any:
    """What the command says, as data. Raises VoidError with its sentence."""
    server_command = settings.load().server_command
    command = [*(server_command[:-1] or ["void"]), *words]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=environment(),
            check=False,
        )
    except OSError as error:
        raise SettingError(f"{command[0]} cannot be run ({error}); run: void install-nuke") from error
    if done.returncode:
        lines = done.stderr.splitlines() or [f"{command[0]} ended with {done.returncode}."]
        sentence = next((line for line in reversed(lines) if line.startswith(_SENTENCE)), lines[-1])
        raise JobFailed(sentence.removeprefix(_SENTENCE), done.stderr)
    return json.loads(done.stdout)
