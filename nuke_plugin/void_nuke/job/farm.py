"""Submission of nodes to a render farm, through the command `void`, which knows the engines. Uses nuke."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

import nuke

from void_server.api.errors import InputError, JobFailed, SettingError

from ..node import knobs as k
from ..node.node import VoidNode
from ..node.results import output_folder, script_path
from ..node.tile import Tile
from ..node.versions import result_in
from ..studio import settings
from . import prepare
from .local_server import environment

# how the command begins what it says of an error
_SENTENCE = "void: "


@dataclass(frozen=True)
class Engines:
    """The farm's engines with the fields that each can express, the one that the site uses, and its fields.

    ``has_nuke`` says whether the farm has Nuke, and so can export plates and rotos.
    """

    expresses: dict[str, list[str]]
    chosen: str
    fields: dict[str, Any]
    has_nuke: bool


def check_script() -> Path:
    """The script's file. Raises :class:`InputError` where it has none yet."""
    script = script_path()
    if not script:
        raise InputError("The script has no name yet; save it first: versions and what you choose are kept beside it.")
    return Path(script)


def engines() -> Engines:
    """What the farm's engines are and can. Raises VoidError."""
    said = _void("farm", "engines", "--json", "--script", str(check_script()))
    return Engines(said["expresses"], said["engine"], said["fields"], said["nuke"])


def submit(
    nodes: Sequence[VoidNode],
    engine: str,
    fields: dict[str, Any],
    server: str = "",
    *,
    export_there: bool = False,
    said: Sequence[str] = (),
) -> list[str]:
    """Hand nodes over as one group; each then shows its version.

    What they need is exported first, or, with ``export_there``, by Nuke on the farm, from the script as it is now.
    ``said`` are fields as the command line has them, such as priority=60.
    Returns the version folders. Raises VoidError; nothing is handed over where anything is wrong.
    """
    script = check_script()
    for void in nodes:
        prepare.check_ready(void)
    rows: list[dict[str, Any]] = []
    of_rows: list[tuple[VoidNode, Path, str]] = []
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / script.name
        if export_there:
            nuke.scriptSaveToTemp(copy.as_posix())
        for void in nodes:
            out = output_folder(void)
            only_quadmask = not void.has(k.REMOVE)
            prepared = prepare.prepare(void, out, only_quadmask=only_quadmask, written=not export_there)
            for one in prepared.shots:
                # the node's name tells its job from the others; a name that is given to one alone needs no more
                given = fields.get("name", "")
                names = [given, one.view] if given and len(nodes) == 1 else [given or script.stem, void.name, one.view]
                named = {**fields, "name": " ".join(filter(None, names))}
                row = {"shot": one.shot.to_dict(), "out": one.out, "fields": named}
                if export_there:
                    row["export"] = _export(void, copy, script, one)
                rows.append(row)
                of_rows.append((void, out, prepared.source))
        table = Path(temporary) / "jobs.json"
        table.write_text(json.dumps(rows), encoding="utf-8")
        words = ["farm", "submit", "--jobs", str(table), "--engine", engine, "--json", "--script", str(script)]
        words += ["--server", server] if server else []
        made = _void(*words, *(word for text in said for word in ("--set", text)))
    folders = [Path(entry["folder"]) for entry in made["jobs"]]
    for (void, out, source), folder in zip(of_rows, folders):
        # with views, the version is the folder above theirs
        version = folder if folder.parent == out else folder.parents[1]
        result = result_in(version)
        if result is not None:
            void.show_result(result, source)
            status = f"On the farm as {result.name}; frames appear as they are done."
            void.show(k.DONE, status, Tile(version=result.version))
    return [str(folder) for folder in folders]


def _export(void: VoidNode, copy: Path, script: Path, one: prepare.PreparedShot) -> dict[str, Any]:
    """What Nuke on the farm needs to know to export a shot."""
    return {
        "script": copy.as_posix(),
        "name": script.as_posix(),
        "node": void.node.fullName(),
        "view": one.exported_view,
        "patterns": one.exported.patterns,
        "depth": one.exported.plate.depth,
    }


def cancel(folder: str) -> None:
    """Stop a version's job on the farm; its finished frames stay. Raises VoidError."""
    _said("farm", "cancel", folder)


def _void(*words: str) -> Any:
    """What the command says, as data. Raises VoidError with its sentence."""
    return json.loads(_said(*words))


def _said(*words: str) -> str:
    """What the command says. Raises VoidError with its sentence."""
    command = [*(settings.load().void_command or ["void"]), *words]
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
    return done.stdout
