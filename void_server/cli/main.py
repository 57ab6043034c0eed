"""The command ``void``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import __version__, plugins
from ..api.errors import InputError, ServerUnreachable, SettingError, VoidError
from ..api.job import Job, JobState, new_id
from ..api.shot import QUADMASK, ROTO, Shot
from ..api.version import VersionFolder
from ..interruption import Interrupted
from .declared import offering, said, settings_of
from .farm import app as farm_app
from .frame import FAILED, App, failed, print_json, run
from .options import (
    Address,
    Analysis,
    AsJson,
    Boxes,
    Frames,
    JobId,
    NoProgress,
    Nots,
    Ocio,
    Out,
    Plate,
    Points,
    Roto,
    RotoOffset,
    Scene,
    Space,
    Transfer,
    a_folder,
    absolute,
    prompts_of,
    removal_of,
    shot_of,
    taking,
)

if TYPE_CHECKING:
    from .errand import Errand

# Only what is light is imported up here: `void --help` must not wait for OpenCV. Commands import what they use.

_VOID = "Engine void"

app = App(help="Remove objects from shots, together with everything they did to the scene.")
keys_app = App(help="Keys for servers that other machines can reach.")
app.add_typer(keys_app, name="keys")
app.add_typer(farm_app, name="farm")


def main() -> None:
    """Entry point of the console script: errors become a sentence and an exit code."""
    sys.exit(run(app))


def _version(asked: bool) -> None:
    if asked:
        print(f"void {__version__}")
        raise typer.Exit


@app.callback()
def _void(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version.")
    ] = False,
) -> None:
    del version


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


@app.command(cls=offering("reasoner", "cells", "segmenter", "device", kinds=(plugins.REASONERS,)))
def quadmask(
    context: typer.Context,
    plate: Plate,
    out: Out,
    roto: Roto = "",
    prompt: Scene = "",
    frames: Frames = None,
    roto_offset: RotoOffset = 0,
    analysis: Analysis = None,
    point: Points = None,
    off: Nots = None,
    box: Boxes = None,
    colorspace: Space = Shot.colorspace,
    ocio: Ocio = None,
    server: Address = None,
    transfer: Transfer = "path",
    no_progress: NoProgress = False,
    as_json: AsJson = False,
) -> None:
    """Find what the removal affects, write the quadmask, and stop there."""
    settings = settings_of(said(context), until=QUADMASK)
    shot = shot_of(
        {"plate": plate, "roto": roto, "ocio": ocio, "analysis": analysis},
        prompts=prompts_of(point, off, box),
        frames=frames,
        roto_offset=roto_offset,
        prompt=prompt,
        colorspace=colorspace,
        settings=settings,
    )
    _run(shot, out, server, transfer, not no_progress, as_json)


@app.command(cls=offering("segmenter", "device"))
def segment(
    context: typer.Context,
    plate: Plate,
    out: Out,
    point: Points = None,
    off: Nots = None,
    box: Boxes = None,
    roto: Annotated[str, typer.Option(help="A rough roto of some frames; its empty frames are ignored.")] = "",
    frames: Frames = None,
    roto_offset: RotoOffset = 0,
    colorspace: Space = Shot.colorspace,
    ocio: Ocio = None,
    server: Address = None,
    transfer: Transfer = "path",
    no_progress: NoProgress = False,
    as_json: AsJson = False,
) -> None:
    """Make a roto of an object from points, boxes or a rough roto, and stop there."""
    settings = settings_of(said(context), reasoner="none", until=ROTO)
    shot = shot_of(
        {"plate": plate, "roto": roto, "ocio": ocio},
        prompts=prompts_of(point, off, box),
        frames=frames,
        roto_offset=roto_offset,
        colorspace=colorspace,
        settings=settings,
    )
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
        list[str] | None, typer.Option(help="Set a cell, such as 1001-1040:r5c7=affected, or r5c7=keep. Repeatable.")
    ] = None,
    add: Annotated[str | None, typer.Option(help="A matte of more affected pixels.")] = None,
    protect: Annotated[str | None, typer.Option(help="A matte of pixels to keep.")] = None,
    why: Annotated[str, typer.Option(help="A comment for the history.")] = "",
    plate: Annotated[str, typer.Option(help="The plate, if the quadmask is not in a job's folder.")] = "",
    roto: Annotated[str, typer.Option(help="The roto, likewise.")] = "",
) -> None:
    """Correct a quadmask: by cells of the grid, eight along the frame's short side, and by mattes."""
    from ..pipeline import corrections
    from ..quadmask.edits import HISTORY
    from ..quadmask.edits import edit as edited

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
    folder, changed = edited(str(place), out or beside, grid or [], add, protect, why)
    print(f"quadmask       {folder / 'quadmask'}  ({changed} frames changed)")
    print(f"history        {folder / HISTORY}")
    if shot is None:
        print(
            f"warning: Mattes and contact sheet are not written, as {unknown}; give --plate and --roto.",
            file=sys.stderr,
        )
        return
    warnings = corrections.show(shot, folder)
    print(f"mattes         {folder / 'mattes'}")
    _say(warnings, folder)


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
    address, folder = _named(server), absolute(str(out))
    delivery = Delivery(new_id(), folder, address) if transfer == "upload" else None
    with _server_for(shot, out, address) as used, Client(used) as client:
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

        with _naming(errand):
            job, result = errand.run(begin)
    _conclude(job, result, as_json)


@contextmanager
def _naming(errand: Errand) -> Iterator[None]:
    """Let an error in here be told with the job's id and folder, once it has them."""
    try:
        yield
    except (VoidError, Interrupted) as error:
        if errand.job is None:
            raise
        raise typer.Exit(failed(error, id=errand.job.id, folder=errand.job.folder)) from error


def _named(server: str | None, job_id: str = "") -> str:
    """The server that the user named, for a job that was uploaded the one that has it; empty where none was."""
    import os

    from . import deliveries

    delivery = deliveries.find(job_id)
    return server or (delivery.server if delivery else "") or os.environ.get("VOID_SERVER", "")


@contextmanager
def _server_for(shot: Shot, out: Path, address: str) -> Iterator[str]:
    """The server to use; an embedded one, which may use no more than the job's own folders, where none is named."""
    if address:
        yield address
        return
    from ..service.embedded import embedded_server

    named = [Path(path) for path in shot.paths().values()]
    with embedded_server(_folders([*named, out.absolute()])) as own:
        yield own


def _folders(paths: Sequence[Path]) -> list[Path]:
    """The folders that hold the files, links followed, as an artist's own files may lie anywhere."""
    import os

    folders = {path if path.is_dir() else path.parent for path in paths[:-1]} | {paths[-1]}
    linked = {
        Path(os.path.realpath(file)).parent
        for folder in folders
        if folder.is_dir() and os.access(folder, os.R_OK)
        for file in folder.iterdir()
        if file.is_symlink()
    }
    return sorted(folders | linked)


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


def _conclude(job: Job, folder: Path, as_json: bool = False) -> None:
    if as_json:
        for warning in job.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        version = VersionFolder(folder)
        files = {"contact_sheet": str(version.contact_sheet), "report": str(version.report)}
        print_json({**job.to_dict(), "folder": str(folder), **files})
        return
    print(f"result         {folder}")
    _say(job.warnings, folder)


def _say(warnings: Sequence[str], folder: Path) -> None:
    """What there is to look at in a version folder, and what its maker should know."""
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    version = VersionFolder(folder)
    print(f"contact sheet  {version.contact_sheet}")
    print(f"report         {version.report}")


@app.command()
def sample(
    out: Annotated[Path, typer.Argument(callback=a_folder, help="A new folder for the shot.")],
    size: Annotated[str, typer.Option(help="Width x height.")] = "1280x720",
    frames: Annotated[str, typer.Option(help="Frame range.")] = "1001-1040",
    scene: Annotated[str, typer.Option(help="The scene: walkby, pan, handheld or knock.")] = "walkby",
) -> None:
    """Write a sample shot with exact ground truth: plate, roto, truth."""
    import re

    from ..imaging.sequence import parse_frames
    from ..sample import write_sample

    wanted = re.fullmatch(r"\s*(\d{1,9})\s*[xX\u00d7]\s*(\d{1,9})\s*", size, re.ASCII)
    if not wanted:
        raise SettingError(f"Size {size!r} is not valid; write it like 1280x720.")
    write_sample(out, scene, (int(wanted[1]), int(wanted[2])), parse_frames(frames))
    print(out)


@app.command()
def serve(
    address: Annotated[str | None, typer.Option(help="Where to listen, such as tcp://*:5690.")] = None,
    root: Annotated[
        list[Path] | None, typer.Option(help="A folder in which jobs may read and write. Repeatable.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="The number of jobs to run at the same time.")] = 1,
    require_keys: Annotated[bool, typer.Option(help="Require keys on this machine too.")] = False,
    idle_minutes: Annotated[
        float | None, typer.Option(min=0, help="Stop after this many minutes without a job or a request.")
    ] = None,
    log: Annotated[Path | None, typer.Option(help="Log to this file instead of standard error.")] = None,
    log_level: Annotated[str, typer.Option(help="What to log: debug, info, warning or error.")] = "info",
) -> None:
    """Run a server until Ctrl-C. Without --root it takes uploads only."""
    import signal

    from ..api.client import default_address
    from ..service.server import ServerConfig
    from ..service.server import serve as run

    config = ServerConfig(
        address=address or default_address(),
        roots=tuple(folder.expanduser().absolute() for folder in root or []),
        workers=workers,
        require_keys=require_keys,
        idle_minutes=idle_minutes,
        log=log.expanduser().absolute() if log else None,
        log_level=log_level,
    )
    ended_by = run(config, lambda bound: print(f"listening at {bound}", flush=True))
    if ended_by == signal.SIGINT:
        raise Interrupted(ended_by, "The server has stopped; its jobs continue when it is started again.")


@contextmanager
def _client_for(job_id: str, server: str | None, *, embed: bool = False) -> Iterator[Any]:
    """A client of the server to ask: the named one, the one that owns the job, or the default one, if it answers.

    With ``embed`` an embedded server takes the job where nothing answers.
    """
    from ..api.client import Client, default_address
    from ..service.embedded import embedded_server

    named = _named(server, job_id)
    owner = job = None
    if not named:
        with _store() as store:
            owner, job = store.owner(job_id), store.find(job_id)
    with Client(named or owner or default_address(), timeout=10 if named else 2) as client:
        try:
            client.hello()
        except ServerUnreachable:
            if not (embed and job):
                if job_id and not named:
                    with _store() as store:
                        store.get(job_id)
                raise
        else:
            yield client
            return
    named_paths = [Path(path) for path in job.shot.paths().values()]
    with embedded_server(_folders([*named_paths, Path(job.folder).parent])) as own, Client(own) as client:
        yield client


@contextmanager
def _store() -> Iterator[Any]:
    """The jobs that are known on this machine."""
    from ..api.home import home
    from ..service.store import Store

    store = Store(home())
    try:
        yield store
    finally:
        store.close()


def _asked(job_id: str, server: str | None, ask: Callable[[Any], Any], of_store: Callable[[Any], Any]) -> Any:
    """What the server says, or, where none is named or answers, what is known on this machine."""
    try:
        with _client_for(job_id, server) as client:
            return ask(client)
    except ServerUnreachable:
        if _named(server, job_id):
            raise
    with _store() as store:
        return of_store(store)


@app.command()
def jobs(
    server: Address = None,
    watch: Annotated[bool, typer.Option("--watch", help="Keep updating the list until Ctrl-C.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Show only this many, newest first.")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Clear ended jobs from the list.")] = False,
    as_json: AsJson = False,
) -> None:
    """List jobs: those of the server, or, where none is named or answers, those that were done on this machine."""
    import time

    from .console import show_jobs

    def listed() -> list[Job]:
        return list(_asked("", server, lambda client: client.jobs(limit), lambda store: store.all(limit)))

    if clear:
        count = _asked("", server, lambda client: client.clear_jobs(), lambda store: store.clear())
        if as_json:
            print_json({"cleared": count})
        else:
            print(f"{count} jobs cleared from the list; their results stay")
        return

    if as_json:
        if watch:
            raise SettingError("--watch is for people, --json for programs; leave one out.")
        print_json({"jobs": [job.to_dict() for job in listed()]})
        return
    show_jobs(listed())
    while watch:
        time.sleep(2)
        show_jobs(listed(), again=True)


@app.command()
def status(job_id: JobId, server: Address = None, as_json: AsJson = False) -> None:
    """Show how a job stands: its state, progress, folder and error."""
    from .console import show_job

    job = _asked(job_id, server, lambda client: client.status(job_id), lambda store: store.get(job_id))
    if as_json:
        print_json(job.to_dict())
    else:
        show_job(job)


@app.command()
def cancel(job_id: JobId, server: Address = None) -> None:
    """Stop a job; its finished frames stay. Where no server has it, none will take it up."""
    named = _named(server, job_id)
    try:
        with _client_for(job_id, server) as client:
            client.cancel(job_id)
            *_, job = client.watch(job_id)
    except ServerUnreachable:
        if named:
            raise
        with _store() as store:
            job = store.cancel(job_id)
    at = f" --server {server}" if server else ""
    go_on = f"; continue with: void resume {job.id}{at}" if job.state.stopped else ""
    print(f"{job.id} {job.state.value}{go_on}")


@app.command()
def resume(job_id: JobId, server: Address = None, no_progress: NoProgress = False) -> None:
    """Go on with a job that was stopped or failed, or follow one that runs; finished frames are not made again."""
    from . import deliveries
    from .errand import Errand

    delivery = deliveries.find(job_id)
    with _client_for(job_id, server, embed=True) as client:
        errand = Errand(client, job_id, not no_progress, _named(server, job_id), delivery)
        job = client.status(job_id)
        if delivery and job.state is JobState.DONE:
            if delivery.folder:
                raise InputError(f"Job {job_id} is done; its result is in {delivery.folder}.")
            result = errand.bring(job)
        else:
            job, result = errand.run(lambda: client.resume(job_id))
    _conclude(job, result)


@app.command()
def fetch(
    job_id: JobId,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for the result; the job's own by default.")
    ] = None,
    server: Address = None,
    no_progress: NoProgress = False,
) -> None:
    """Download the result of a finished job, or go on downloading it."""
    from . import deliveries
    from .errand import Errand

    named, delivery = _named(server, job_id), deliveries.find(job_id)
    with _client_for(job_id, server, embed=True) as client:
        job = client.status(job_id)
        if out:
            delivery = deliveries.Delivery(job_id, absolute(str(out)), named)
            delivery.keep()
        if delivery is None:
            raise InputError(f"Job {job_id} was not uploaded from here; give the folder for its result with -o.")
        if delivery.folder and Path(delivery.folder).is_dir():
            raise InputError(f"The result is in {delivery.folder} already; -o fetches it to another folder.")
        result = Errand(client, job_id, not no_progress, named, delivery).bring(job)
    _conclude(job, result)


@app.command()
def clean(
    older: Annotated[str, typer.Option(help="Remove jobs that ended this long ago: 30d, 12h, 4w.")] = "30d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be removed.")] = False,
) -> None:
    """Remove old jobs that have ended from VOID's own folder, with uploads and results in it; yours stay."""
    from rich.filesize import decimal

    from ..api.home import home
    from . import cleaning

    with _store() as store:
        found = list(cleaning.leftovers(home(), store, cleaning.age(older)))
        freed = cleaning.size(found)
        if not dry_run:
            found = [leftover for leftover in found if cleaning.remove(leftover, store)]
    for leftover in found:
        print(leftover.what)
    print(f"{decimal(freed)} {'would be' if dry_run else 'are'} free in {home()}")


@app.command()
def parity(
    folder: Annotated[
        Path,
        typer.Argument(
            exists=True,
            file_okay=False,
            help="Contains cases/*.safetensors and model/, the weights they were recorded with.",
        ),
    ],
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "cpu",
    tolerance: Annotated[float, typer.Option(help="The largest difference allowed.")] = 1e-4,
) -> None:
    """Compare the VOID engine with recorded outputs of the published pipeline, stage by stage."""
    from ..engines.void import check_installed

    check_installed()
    from ..engines.void.model import choose_device
    from ..engines.void.parity import compare

    failed = 0
    print(f"{'case':<24} {'stage':<26} largest difference")
    for found in compare(folder, choose_device(device)):
        good = found.within(tolerance)
        failed += not good
        print(
            f"{found.case:<24} {found.stage:<26} {found.shape or f'{found.largest:.1e}'}{'' if good else '  TOO MUCH'}"
        )
    print(f"{failed} stages differ by more than {tolerance:g}" if failed else f"all within {tolerance:g}")
    if failed:
        raise typer.Exit(FAILED)


@app.command()
def doctor(server: Address = None, as_json: AsJson = False) -> None:
    """Say what this machine can run, what is missing, and how to get it."""
    from dataclasses import asdict

    from .doctor import examine, ready, show

    findings = examine(server)
    if as_json:
        print_json({"ready": ready(findings), "findings": [asdict(finding) for finding in findings]})
    else:
        show(findings)
    if not ready(findings):
        raise typer.Exit(FAILED)


@app.command("install-nuke")
def install_nuke(
    nuke_home: Annotated[
        Path | None,
        typer.Option(callback=a_folder, help="Nuke's plugin folder: ~/.nuke, or a studio's folder on NUKE_PATH."),
    ] = None,
    python: Annotated[
        list[str] | None, typer.Option(help="Nuke's Python version; 3.9, 3.10 and 3.11 by default. Repeatable.")
    ] = None,
    system: Annotated[
        list[str] | None,
        typer.Option(
            help=("The system: linux-x86_64, windows-amd64, darwin-arm64, ...; this one by default. Repeatable.")
        ),
    ] = None,
    wheels: Annotated[
        Path | None,
        typer.Option(
            exists=True, file_okay=False, help="Install from this folder of wheels, for machines without network."
        ),
    ] = None,
    uninstall: Annotated[bool, typer.Option("--uninstall", help="Remove the plugin.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only check that it is complete and up to date.")] = False,
) -> None:
    """Install the nodes into Nuke."""
    from void_nuke.studio.findings import as_text
    from void_nuke.studio.packages import this_system

    from . import install_nuke as installer

    home = (nuke_home or installer.default_home()).expanduser().absolute()
    if uninstall:
        installer.uninstall(home)
        print(f"The plugin is no longer in {home}.")
    elif check:
        findings = installer.check(home, python or installer.NUKE_PYTHONS)
        print(as_text(findings))
        if not all(finding.good for finding in findings):
            raise typer.Exit(FAILED)
    else:
        folder = installer.install(
            home, python or installer.NUKE_PYTHONS, system or [this_system()], wheels and wheels.absolute()
        )
        print(f"installed in {folder}; start Nuke, press Tab in the node graph and type VOID")


@keys_app.command("new")
def keys_new(
    name: Annotated[str, typer.Argument(help="The client's name; also the name of the files.")],
    folder: Annotated[Path, typer.Option(callback=a_folder, help="Where to put the files.")] = Path(),
) -> None:
    """Make a key pair for a client."""
    public, secret = _ring().new(name, folder)
    print(f"{secret}  keep it, and set VOID_KEY to its path")
    print(f"{public}  give it to whoever runs the server, for: void keys allow {public.name}")


@keys_app.command("allow")
def keys_allow(file: Annotated[Path, typer.Argument(help="The client's public key file.")]) -> None:
    """Let a client use the server of this machine."""
    ring = _ring()
    print(f"{ring.allow(file)} is allowed; the client sets VOID_SERVER_KEY to a copy of {ring.server_public}")


@keys_app.command("revoke")
def keys_revoke(name: Annotated[str, typer.Argument(help="The client's name.")]) -> None:
    """Let a client in no more, from this moment."""
    _ring().revoke(name)
    print(f"{name} is no longer allowed")


@keys_app.command("list")
def keys_list() -> None:
    """List the clients that are allowed."""
    for name, public in _ring().allowed().items():
        print(f"{name:<24} {public}")


def _ring() -> Any:
    from ..api.home import home
    from ..service.keys import KeyRing

    return KeyRing(home())
