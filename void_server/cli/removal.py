"""The commands that submit a shot, and the correction of what they make."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import plugins
from ..api.errors import InputError, SettingError
from ..api.job import Job, new_id
from ..api.shot import QUADMASK, ROTO, Shot
from .app import app
from .declared import offering, said
from .options import (
    Address,
    AsJson,
    NoProgress,
    Out,
    Transfer,
    a_folder,
    absolute,
    removal_of,
    taking,
)
from .outcome import conclude, naming, show
from .server import chosen_server, server_for

_VOID = "Engine void"


@app.command(cls=offering(kinds=(plugins.ENGINES, plugins.REASONERS)))
@taking(removal_of, "settings")
def remove(
    context: typer.Context,
    out: Out,
    weights: Annotated[
        Path | None, typer.Option(help="The VOID weights' folder; else $VOID_WEIGHTS.", rich_help_panel=_VOID)
    ] = None,
    server: Address = None,
    transfer: Transfer = "path",
    no_progress: NoProgress = False,
    as_json: AsJson = False,
    **asked: Any,
) -> None:
    """Remove what the roto covers, and all that it did to the scene."""
    _set_weights(weights, server)
    _run(removal_of(said(context), **asked), out, server, transfer, not no_progress, as_json)


@app.command(cls=offering("engine", "reasoner", "affected_shape", "segmenter", "device", kinds=(plugins.REASONERS,)))
@taking(removal_of, "settings", "quadmask", "quadmask_offset")
def quadmask(
    context: typer.Context,
    out: Out,
    server: Address = None,
    transfer: Transfer = "path",
    no_progress: NoProgress = False,
    as_json: AsJson = False,
    **asked: Any,
) -> None:
    """Find what the removal affects, write the quadmask, and stop there."""
    shot = removal_of({**said(context), "until": QUADMASK}, **asked)
    _run(shot, out, server, transfer, not no_progress, as_json)


@app.command(cls=offering("segmenter", "device"))
@taking(removal_of, "settings", "quadmask", "quadmask_offset", "prompt", "analysis")
def segment(
    context: typer.Context,
    out: Out,
    roto: Annotated[str, typer.Option(help="A rough roto of some frames; its empty frames are ignored.")] = "",
    server: Address = None,
    transfer: Transfer = "path",
    no_progress: NoProgress = False,
    as_json: AsJson = False,
    **asked: Any,
) -> None:
    """Make a roto of an object from points, boxes or a rough roto, and stop there."""
    shot = removal_of({**said(context), "reasoner": "none", "until": ROTO}, roto=roto, **asked)
    _run(shot, out, server, transfer, not no_progress, as_json)


@app.command()
def edit(
    quadmask: Annotated[str, typer.Argument(help="The quadmask sequence to correct; it is not modified.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", callback=a_folder, help="Folder for the new version; by default, beside the original."
        ),
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(help="Set cells: 1001-1040:r5c7=affected, r5c7=keep, r2c0-r4c3=keep. Repeatable."),
    ] = None,
    add: Annotated[str | None, typer.Option(help="A matte of more affected pixels.")] = None,
    protect: Annotated[str | None, typer.Option(help="A matte of pixels to keep.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Write the quadmask as it was before its last edit.")] = False,
    why: Annotated[str, typer.Option(help="A comment for the history.")] = "",
    plate: Annotated[str, typer.Option(help="The plate, if the quadmask is not in a job's folder.")] = "",
    roto: Annotated[str, typer.Option(help="The roto, likewise.")] = "",
) -> None:
    """Correct a quadmask: by cells of the grid, eight along the frame's short side, and by mattes."""
    from .. import engines
    from ..api.version import VersionFolder
    from ..pipeline import corrections
    from ..quadmask import edits
    from ..signing import sign_made

    if undo and (grid or add or protect):
        raise SettingError(
            "--undo takes the last edit back; give --grid, --add and --protect in a command of their own."
        )
    place = Path(quadmask).expanduser().absolute()
    # a job's quadmask lies in OUT/v001/quadmask
    beside = place.parents[1] if place.is_dir() else place.parents[2]
    shot, unknown = None, ""
    try:
        shot = corrections.shot_of(str(place), *(absolute(name) if name else "" for name in (plate, roto)))
    except InputError as error:
        if plate or roto:
            raise
        unknown = str(error).rstrip(".")
    rule = shot is not None and engines.find(shot.settings.engine).first_frame_unaffected
    if undo:
        folder, changed = edits.undo(str(place), out or beside, why)
    else:
        folder, changed = edits.edit(
            str(place), out or beside, grid or [], add, protect, why, first_frame_unaffected=rule
        )
    print(f"quadmask       {folder / 'quadmask'}  ({changed} frames changed)")
    print(f"history        {folder / edits.HISTORY}")
    if shot is None:
        print(
            f"warning: Mattes and contact sheet are not written, as {unknown}; give --plate and --roto.",
            file=sys.stderr,
        )
        return
    warnings = corrections.show(shot, folder)
    sign_made(VersionFolder(folder))
    print(f"mattes         {folder / 'mattes'}")
    show(warnings, folder)


def _set_weights(weights: Path | None, server: str | None) -> None:
    """Let the server that this command starts find the weights; any other has its own."""
    import os

    if weights is None:
        return
    if server or os.environ.get("VOID_SERVER"):
        raise SettingError("The weights are the server's: set VOID_WEIGHTS where it runs, and leave --weights out.")
    if not weights.expanduser().is_dir():
        raise SettingError(f"The weights' folder {weights} does not exist; `void doctor` lists what belongs there.")
    os.environ["VOID_WEIGHTS"] = str(weights.expanduser().absolute())


def _run(shot: Shot, out: Path, server: str | None, transfer: str, progress: bool, as_json: bool) -> None:
    """Submit a shot, follow it to its end, and say where the result is."""
    from ..api.client import Client
    from .console import ByteProgress
    from .deliveries import Delivery
    from .errand import Errand

    if transfer not in ("path", "upload"):
        raise SettingError(f"transfer is {transfer!r}; use path or upload.")
    address, folder = chosen_server(server), absolute(str(out))
    delivery = Delivery(new_id(), folder, address) if transfer == "upload" else None
    with server_for(shot, out, address) as used, Client(used) as client:
        errand = Errand(client, delivery.job if delivery else new_id(), progress, address, delivery)

        def begin() -> Job:
            if delivery is None:
                return client.submit(shot, folder, job_id=errand.job_id)
            client.hello()
            files = _files(shot)
            # known before the server knows the job, so that no moment is left in which only the server does
            delivery.keep()
            try:
                with ByteProgress("Uploading", progress) as on_bytes:
                    return client.submit_files(shot, files, on_bytes, job_id=delivery.job)
            except InputError:
                delivery.drop()
                raise

        with naming(errand):
            job, result = errand.run(begin)
    conclude(job, result, as_json)


def _files(shot: Shot) -> dict[str, list[str]]:
    """The files to upload, of the frames that the job needs."""
    from ..imaging import sequence

    wanted = set(sequence.parse_frames(shot.frames)) if shot.frames else None
    files: dict[str, list[str]] = {}
    for role, name in shot.paths().items():
        if role in Shot.FILES:
            files[role] = [name]
        else:
            found = sequence.find(name, role)
            paths = [path for frame, path in sorted(found.files.items()) if wanted is None or frame in wanted]
            files[role] = [str(path) for path in dict.fromkeys(paths)]
    return files
