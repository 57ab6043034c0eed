"""Submission of nodes to a render farm, through the command `void`, which knows the schedulers. Uses nuke."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional, Sequence

import nuke

from void_server.api import policy
from void_server.api.errors import InputError, JobFailed, SettingError
from void_server.api.settings import Declaration
from void_server.api.shot import PLATE, QUADMASK

from ..node import knobs as k
from ..node.node import VoidNode
from ..node.results import output_folder, script_path
from ..node.tile import of_version
from ..node.versions import result_in
from ..studio import settings
from . import prepare
from .local_server import environment

# how the command begins what it says of an error
_SENTENCE = "void: "
#: What a submission may take while Nuke's window waits for it, in seconds: it reads the header of every frame.
SUBMISSION = 600.0
# what anything else may take, and how often the window lives meanwhile
_QUESTION, _GLANCE = 60.0, 0.1
# what a command that was stopped gets to take back what it did
_NOTICE = 30.0


@dataclass(frozen=True)
class Schedulers:
    """The schedulers with the fields that each can express, the one that the site uses, and the site's fields.

    ``declared`` says what each field is. ``run_here`` are those that do the work on this machine while one waits.
    ``has_nuke`` says whether the farm has Nuke, and so can export plates and rotos. ``generative`` are the engines
    whose pixels a model makes, ``cloud`` the reasoners that send frames away.
    """

    expresses: dict[str, list[str]]
    run_here: list[str]
    chosen: str
    fields: dict[str, Any]
    declared: list[Declaration]
    has_nuke: bool
    generative: list[str]
    cloud: list[str]


def check_script() -> Path:
    """The script's file. Raises :class:`InputError` where it has none yet."""
    script = script_path()
    if not script:
        raise InputError("The script has no name yet; save it first: versions and what you choose are kept beside it.")
    return Path(script)


def schedulers(waiting: Callable[[], None] = lambda: None) -> Schedulers:
    """The installed schedulers and what each can express. Raises VoidError; ``waiting`` as in :func:`submit`."""
    said = json.loads(_said("farm", "schedulers", "--json", "--script", str(check_script()), waiting=waiting))
    declared = [Declaration(**one) for one in said["declared"]]
    return Schedulers(
        said["expresses"],
        said["run_here"],
        said["scheduler"],
        said["fields"],
        declared,
        said["nuke"],
        said["generative"],
        said["cloud"],
    )


def submit(
    nodes: Sequence[VoidNode],
    scheduler: str,
    fields: dict[str, Any],
    server: str = "",
    *,
    export_there: bool = False,
    said: Sequence[str] = (),
    limit: Optional[float] = SUBMISSION,
    waiting: Callable[[], None] = lambda: None,
) -> list[str]:
    """Hand nodes over as one group; each then shows its version.

    What they need is exported first, or, with ``export_there``, by Nuke on the farm, from the script as it is now.
    ``said`` are fields as the command line has them, such as priority=60. A submission that takes more than ``limit``
    seconds is stopped, and so is one during which ``waiting``, which is called again and again, raises.
    Returns the version folders. Raises VoidError; nothing is handed over where anything is wrong.
    """
    script = check_script()
    for void in nodes:
        prepare.check_ready(void)
    _check_permitted(nodes, waiting)
    rows: list[dict[str, Any]] = []
    of_rows: list[tuple[VoidNode, Path, str]] = []
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / script.name
        if export_there:
            nuke.scriptSaveToTemp(copy.as_posix())
        for void in nodes:
            out = output_folder(void)
            only_quadmask = not void.has(k.REMOVE)
            # a farm's machines have the artists' disks
            prepared = prepare.prepare(
                void, out, only_quadmask=only_quadmask, written=not export_there, reads=lambda _: True
            )
            for one in prepared.shots:
                # the node's name tells its job from the others; a name that is given to one alone needs no more
                given = fields.get("name", "")
                names = [given, one.view] if given and len(nodes) == 1 else [given or script.stem, void.name, one.view]
                named = {**fields, "name": " ".join(filter(None, names))}
                row = {"shot": one.shot.to_dict(), "out": one.out, "fields": named}
                if export_there and one.exported.patterns:
                    row["export"] = _export(void, copy, script, one)
                rows.append(row)
                of_rows.append((void, out, prepared.source))
        table = Path(temporary) / "jobs.json"
        table.write_text(json.dumps(rows), encoding="utf-8")
        words = ["farm", "submit", "--jobs", str(table), "--scheduler", scheduler, "--json", "--script", str(script)]
        words += ["--server", server] if server else []
        words += [word for text in said for word in ("--set", text)]
        made = json.loads(_said(*words, limit=limit, waiting=waiting))
    folders = [Path(entry["folder"]) for entry in made["jobs"]]
    for (void, out, source), folder in zip(of_rows, folders):
        # with views, the version is the folder above theirs
        version = folder if folder.parent == out else folder.parents[1]
        result = result_in(version)
        if result is not None:
            void.show_result(result, source)
            status = f"On the farm as {result.name}; frames appear as they are done."
            void.show(k.DONE, status, of_version(result))
    return [str(folder) for folder in folders]


def _check_permitted(nodes: Sequence[VoidNode], waiting: Callable[[], None]) -> None:
    """Raise :class:`NotPermitted`, before anything is exported, where the studio's policy forbids a node's job."""
    if not policy.load().file:
        # the command need not be asked
        return
    there = schedulers(waiting)
    for void in nodes:
        prepare.check_permitted(void, PLATE if void.has(k.REMOVE) else QUADMASK, there.generative, there.cloud)


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


def cancel(folder: str, waiting: Callable[[], None] = lambda: None) -> None:
    """Stop a version's job on the farm; finished frames stay. Raises VoidError; ``waiting`` as in :func:`submit`."""
    _said("farm", "cancel", folder, waiting=waiting)


def _said(*words: str, limit: Optional[float] = _QUESTION, waiting: Callable[[], None] = lambda: None) -> str:
    """What the command says. Raises VoidError with its sentence, or where it takes more than ``limit`` seconds.

    ``waiting`` is called meanwhile; where it raises, the command is stopped.
    """
    command = [*(settings.load().void_command or ["void"]), *words]
    pipe = subprocess.PIPE
    try:
        running = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, env=environment()
        )
    except OSError as error:
        raise SettingError(f"{command[0]} cannot be run ({error}); run: void install-nuke") from error
    try:
        output, errors = _communicate(running, " ".join(words[:2]), limit, waiting)
    except BaseException:
        _end(running)
        raise
    if running.returncode:
        lines = errors.splitlines() or [f"{command[0]} ended with {running.returncode}."]
        sentence = next((line for line in reversed(lines) if line.startswith(_SENTENCE)), lines[-1])
        raise JobFailed(sentence.removeprefix(_SENTENCE), errors)
    return output


def _communicate(
    running: subprocess.Popen[str], what: str, limit: Optional[float], waiting: Callable[[], None]
) -> tuple[str, str]:
    """What the command printed, once it has ended. Raises :class:`JobFailed` when the time is up."""
    end = None if limit is None else time.monotonic() + limit
    while True:
        try:
            return running.communicate(timeout=_GLANCE)
        except subprocess.TimeoutExpired:
            waiting()
            if end is not None and time.monotonic() > end:
                raise JobFailed(
                    f"`void {what}` gave no answer within {limit:g} seconds and was stopped; see whether disks and "
                    "scheduler answer, and whether the job is in the queue, before you try again."
                ) from None


def _end(running: subprocess.Popen[str]) -> None:
    """Stop the command; it takes back what it has handed over, where the system lets it."""
    running.terminate()
    try:
        running.communicate(timeout=_NOTICE)
    except subprocess.TimeoutExpired:
        running.kill()
        running.communicate()
