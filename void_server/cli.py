"""The command ``void``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from .api.errors import InputError, JobCancelled, JobError, ServerUnreachable, SettingError, VoidError
from .api.job import Job, JobState
from .api.shot import Prompt, Settings, Shot

# Only what is light is imported up here: `void --help` must not wait for OpenCV. Commands import what they use.

_DEFAULT = Settings()
_VOID = "Engine void"
FAILED, WRONG_INPUT = 1, 2

app = typer.Typer(
    help="Remove objects from shots, together with everything they did to the scene.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
keys_app = typer.Typer(help="Keys for servers that other machines can reach.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")
farm_app = typer.Typer(help="Jobs on the render farm.", no_args_is_help=True)
app.add_typer(farm_app, name="farm")

Plate = Annotated[
    str, typer.Argument(help="The plate: name.%04d.exr, name.####.exr, a folder with one sequence, a movie.")
]
Roto = Annotated[
    str,
    typer.Argument(
        help="The roto of what to remove, over the same frames; its alpha counts. None with --point, --box."
    ),
]
Out = Annotated[Path, typer.Option("-o", "--out", help="Folder for the results; each job makes v001, v002, ... in it.")]
Frames = Annotated[str | None, typer.Option(help="Frames to work on, such as 1001-1032; all if not given.")]
Scene = Annotated[str, typer.Option(help="The scene after the removal, such as: A lime falls on the table.")]
Reasoner = Annotated[str, typer.Option(help="Finds what the removal affects: image, gemini, local, file, or none.")]
Analysis = Annotated[Path | None, typer.Option(help="An analysis made elsewhere, for --reasoner file.")]
ReasonerModel = Annotated[str, typer.Option(help="The language model to ask; the server's own if not given.")]
Cells = Annotated[str, typer.Option(help="What is affected in whole cells: grid, tight, or auto, by the engine.")]
Points = Annotated[
    list[str] | None, typer.Option("--point", help="On the object, such as 1001:640,360, from the top left. Repeat it.")
]
Nots = Annotated[list[str] | None, typer.Option("--not", help="A point that is not on the object.")]
Boxes = Annotated[list[str] | None, typer.Option("--box", help="Around the object, such as 1001:10,20,300,400.")]
Segmenter = Annotated[str, typer.Option(help="Cuts objects out: sam2, sam2.1_hiera_tiny, ..., grabcut, or auto.")]
Space = Annotated[str, typer.Option("--colorspace", help="The plate's colour space, such as ACEScg.")]
Ocio = Annotated[Path | None, typer.Option(help="An OCIO configuration; $OCIO or a built-in one if not given.")]
Address = Annotated[str | None, typer.Option("--server", help="A server's address; $VOID_SERVER, else an own one.")]
Transfer = Annotated[str, typer.Option(help="path: the server reads the files itself. upload: send them to it.")]
NoProgress = Annotated[bool, typer.Option("--no-progress", help="Print no progress.")]
JobId = Annotated[str, typer.Argument(help="The job's id, as `void jobs` lists it.")]


def main() -> None:
    """Entry point of the console script: errors become a sentence and an exit code."""
    try:
        app()
    except VoidError as error:
        print(f"void: {error}", file=sys.stderr)
        sys.exit(WRONG_INPUT if isinstance(error, InputError) else FAILED)
    except OSError as error:
        print(f"void: {error}", file=sys.stderr)
        sys.exit(FAILED)


@app.command()
def remove(
    plate: Plate,
    out: Out,
    roto: Roto = "",
    quadmask: Annotated[str | None, typer.Option(help="A quadmask sequence to use instead of reasoning.")] = None,
    prompt: Scene = "",
    frames: Frames = None,
    engine: Annotated[str, typer.Option(help="Makes the new pixels.")] = _DEFAULT.engine,
    reasoner: Reasoner = _DEFAULT.reasoner,
    reasoner_model: ReasonerModel = "",
    analysis: Analysis = None,
    cells: Cells = _DEFAULT.cells,
    point: Points = None,
    off: Nots = None,
    box: Boxes = None,
    segmenter: Segmenter = _DEFAULT.segmenter,
    colorspace: Space = Shot.colorspace,
    ocio: Ocio = None,
    feather: Annotated[
        float, typer.Option(help="Pixels over which new pixels fade into the plate.")
    ] = _DEFAULT.feather,
    no_grain: Annotated[bool, typer.Option("--no-grain", help="Do not match the plate's grain.")] = False,
    seed: Annotated[int, typer.Option(help="Decides all randomness.")] = _DEFAULT.seed,
    weights: Annotated[
        Path | None, typer.Option(help="The VOID weights' folder; else $VOID_WEIGHTS.", rich_help_panel=_VOID)
    ] = None,
    steps: Annotated[int, typer.Option(help="0: as published, 30 and 50.", rich_help_panel=_VOID)] = _DEFAULT.steps,
    guidance: Annotated[
        float, typer.Option(help="0: as published, 1 and 6.", rich_help_panel=_VOID)
    ] = _DEFAULT.guidance,
    second_pass: Annotated[
        bool,
        typer.Option("--second-pass", help="Again, over noise that moves along.", rich_help_panel=_VOID),
    ] = False,
    negative_prompt: Annotated[str, typer.Option(help="What it must not be.", rich_help_panel=_VOID)] = "",
    working_height: Annotated[
        int, typer.Option(help="Of the model's frames, which are about 7/4 as wide.", rich_help_panel=_VOID)
    ] = _DEFAULT.working_height,
    memory: Annotated[str, typer.Option(help="auto, full, balanced or low.", rich_help_panel=_VOID)] = _DEFAULT.memory,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.", rich_help_panel=_VOID)] = _DEFAULT.device,
    published: Annotated[
        bool, typer.Option("--published", help="As the published code does it, flaws too.", rich_help_panel=_VOID)
    ] = False,
    quality: Annotated[
        str, typer.Option(help="exact, or fast: steps that change little are made in part.", rich_help_panel=_VOID)
    ] = _DEFAULT.quality,
    attention: Annotated[
        str, typer.Option(help="One of diffusers' attention backends, such as flash or sage.", rich_help_panel=_VOID)
    ] = _DEFAULT.attention,
    compiled: Annotated[
        bool, typer.Option("--compiled", help="Compile the transformer first; for many jobs.", rich_help_panel=_VOID)
    ] = False,
    strength: Annotated[
        float, typer.Option(help="Below 1 it begins with the plate, so much of it noise.", rich_help_panel=_VOID)
    ] = _DEFAULT.strength,
    checkpoint: Annotated[
        str, typer.Option(help="Another checkpoint in the weights' folder for the first pass.", rich_help_panel=_VOID)
    ] = _DEFAULT.checkpoint,
    server: Address = None,
    transfer: Transfer = "path",
    no_progress: NoProgress = False,
) -> None:
    """Remove what the roto covers, and all that it did to the scene."""
    settings = Settings(
        engine=engine,
        reasoner=reasoner,
        reasoner_model=reasoner_model,
        cells=cells,
        segmenter=segmenter,
        feather=feather,
        grain=not no_grain,
        seed=seed,
        steps=steps,
        guidance=guidance,
        second_pass=second_pass,
        negative_prompt=negative_prompt,
        working_height=working_height,
        memory=memory,
        device=device,
        published=published,
        quality=quality,
        attention=attention,
        compiled=compiled,
        strength=strength,
        checkpoint=checkpoint,
    )
    _set_weights(weights, server)
    shot = _shot(
        {"plate": plate, "roto": roto, "quadmask": quadmask, "ocio": ocio, "analysis": analysis},
        prompts=_prompts(point, off, box),
        frames=frames,
        prompt=prompt,
        colorspace=colorspace,
        settings=settings,
    )
    _run(shot, out, server, transfer, not no_progress)


@app.command()
def quadmask(
    plate: Plate,
    out: Out,
    roto: Roto = "",
    prompt: Scene = "",
    frames: Frames = None,
    reasoner: Reasoner = _DEFAULT.reasoner,
    reasoner_model: ReasonerModel = "",
    analysis: Analysis = None,
    cells: Cells = _DEFAULT.cells,
    point: Points = None,
    off: Nots = None,
    box: Boxes = None,
    segmenter: Segmenter = _DEFAULT.segmenter,
    colorspace: Space = Shot.colorspace,
    ocio: Ocio = None,
    server: Address = None,
    transfer: Transfer = "path",
    no_progress: NoProgress = False,
) -> None:
    """Find what the removal affects, write the quadmask, and stop there."""
    settings = Settings(
        reasoner=reasoner, reasoner_model=reasoner_model, cells=cells, segmenter=segmenter, only_quadmask=True
    )
    shot = _shot(
        {"plate": plate, "roto": roto, "ocio": ocio, "analysis": analysis},
        prompts=_prompts(point, off, box),
        frames=frames,
        prompt=prompt,
        colorspace=colorspace,
        settings=settings,
    )
    _run(shot, out, server, transfer, not no_progress)


@app.command()
def segment(
    plate: Plate,
    out: Out,
    point: Points = None,
    off: Nots = None,
    box: Boxes = None,
    roto: Annotated[str, typer.Option(help="A rough roto of some frames; an empty frame of it says nothing.")] = "",
    frames: Frames = None,
    segmenter: Segmenter = _DEFAULT.segmenter,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = _DEFAULT.device,
    colorspace: Space = Shot.colorspace,
    ocio: Ocio = None,
    server: Address = None,
    transfer: Transfer = "path",
    no_progress: NoProgress = False,
) -> None:
    """Make a roto of an object from points, boxes or a rough roto, and stop there."""
    settings = Settings(segmenter=segmenter, device=device, reasoner="none", only_roto=True)
    shot = _shot(
        {"plate": plate, "roto": roto, "ocio": ocio},
        prompts=_prompts(point, off, box),
        frames=frames,
        colorspace=colorspace,
        settings=settings,
    )
    _run(shot, out, server, transfer, not no_progress)


@app.command()
def edit(
    quadmask: Annotated[str, typer.Argument(help="The quadmask sequence to correct; it stays as it is.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for the new version; beside the original's if not given.")
    ] = None,
    grid: Annotated[
        list[str] | None, typer.Option(help="A cell, such as 1001-1040:r5c7=affected, or r5c7=keep. Repeat it.")
    ] = None,
    add: Annotated[str | None, typer.Option(help="A matte of what is affected too.")] = None,
    protect: Annotated[str | None, typer.Option(help="A matte of what must stay as it is.")] = None,
    why: Annotated[str, typer.Option(help="A word on it, for the history.")] = "",
) -> None:
    """Correct a quadmask: by cells of the grid, eight along the frame's short side, and by mattes."""
    from .quadmask.edits import HISTORY
    from .quadmask.edits import edit as edited

    place = Path(quadmask).expanduser().absolute()
    # a job's quadmask lies in OUT/v001/quadmask
    beside = place.parents[1] if place.is_dir() else place.parents[2]
    folder, changed = edited(str(place), out or beside, grid or [], add, protect, why)
    print(f"quadmask  {folder / 'quadmask'}  ({changed} frames changed)")
    print(f"history   {folder / HISTORY}")


def _prompts(points: list[str] | None, nots: list[str] | None, boxes: list[str] | None) -> tuple[Prompt, ...]:
    given = ((Prompt.POINT, points), (Prompt.NOT, nots), (Prompt.BOX, boxes))
    return tuple(Prompt.parse(text, kind) for kind, texts in given for text in texts or [])


def _set_weights(weights: Path | None, server: str | None) -> None:
    """Let the server that this command starts find the weights; any other has its own."""
    import os

    if weights is None:
        return
    if server or os.environ.get("VOID_SERVER"):
        raise SettingError("The weights are the server's: set VOID_WEIGHTS where it runs, and leave --weights out.")
    os.environ["VOID_WEIGHTS"] = str(weights.expanduser().absolute())


def _absolute(path: str) -> str:
    # not resolved: a link is what the artist named, and what a server's roots are checked against
    return str(Path(path).expanduser().absolute())


def _shot(files: dict[str, str | Path | None], **rest: Any) -> Shot:
    named: dict[str, Any] = {name: _absolute(str(path)) for name, path in files.items() if path}
    return Shot(**named, **rest)


def _run(shot: Shot, out: Path, server: str | None, transfer: str, progress: bool) -> None:
    """Submit a shot, follow it to its end, and say where the result is."""
    import os

    from .api.client import Client
    from .console import ByteProgress

    if transfer not in ("path", "upload"):
        raise SettingError(f"transfer is {transfer!r}; take path or upload.")
    address = server or os.environ.get("VOID_SERVER")
    with _server_for(shot, out, address) as used, Client(used) as client:
        if transfer == "path":
            job = client.submit(shot, _absolute(str(out)))
        else:
            with ByteProgress("Uploading", progress) as on_bytes:
                job = client.submit_files(shot, _files(shot), on_bytes)
        job = _follow(client, job, progress, remote=address is not None)
        folder = job.folder
        if transfer == "upload":
            with ByteProgress("Downloading", progress) as on_bytes:
                folder = client.download(job.id, str(out), on_bytes)
    _conclude(job, Path(folder))


@contextmanager
def _server_for(shot: Shot, out: Path, address: str | None) -> Iterator[str]:
    """The server to use; an embedded one, which may use no more than the job's own folders, where none is named."""
    if address:
        yield address
        return
    from .service.embedded import embedded_server

    named = [Path(path) for path in shot.paths().values()]
    with embedded_server(_folders([*named, out.absolute()])) as own:
        yield own


def _folders(paths: Sequence[Path]) -> list[Path]:
    """The folders that hold the files, links followed, as an artist's own files may lie anywhere."""
    folders = {path if path.is_dir() else path.parent for path in paths[:-1]} | {paths[-1]}
    linked = {
        file.resolve().parent for folder in folders if folder.is_dir() for file in folder.iterdir() if file.is_symlink()
    }
    return sorted(folders | linked)


def _files(shot: Shot) -> dict[str, list[str]]:
    """The files to upload, of the frames that the job needs."""
    from .imaging import sequence

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


def _follow(client: Any, job: Job, progress: bool, *, remote: bool) -> Job:
    """Show the job's progress to its end. Raises the error with which it ended; Ctrl-C stops the job."""
    from .console import JobProgress

    with JobProgress(job, progress) as shown:
        try:
            for job in client.watch(job.id):  # noqa: B020 -- the job as it is now
                shown.update(job)
        except KeyboardInterrupt:
            client.cancel(job.id)
            for job in client.watch(job.id):  # noqa: B020
                shown.update(job)
    if job.state is JobState.CANCELLED:
        at = f" --server {client.address}" if remote else ""
        raise JobError(f"Stopped; finished frames are kept in {job.folder}. Go on with: void resume {job.id}{at}")
    if job.error:
        raise job.error
    return job


def _conclude(job: Job, folder: Path) -> None:
    for warning in job.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"result         {folder}")
    print(f"contact sheet  {folder / 'report' / 'contact_sheet.png'}")
    print(f"report         {folder / 'report' / 'report.html'}")


@app.command()
def sample(
    out: Annotated[Path, typer.Argument(help="A new folder for the shot.")],
    size: Annotated[str, typer.Option(help="Width x height.")] = "1280x720",
    frames: Annotated[str, typer.Option(help="Frame range.")] = "1001-1040",
    scene: Annotated[str, typer.Option(help="walkby, pan, handheld or knock.")] = "walkby",
) -> None:
    """Write a sample shot with exact ground truth: plate, roto, truth."""
    from .imaging.sequence import parse_frames
    from .sample import write_sample

    width, _, height = size.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise SettingError(f"Size {size!r} cannot be understood; write it like 1280x720.")
    write_sample(out, scene, (int(width), int(height)), parse_frames(frames))
    print(out)


@app.command()
def serve(
    address: Annotated[str | None, typer.Option(help="Where to listen, such as tcp://*:5690.")] = None,
    root: Annotated[
        list[Path] | None, typer.Option(help="A folder below which jobs may read and write; give it for each.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Jobs worked on at the same time.")] = 1,
    require_keys: Annotated[bool, typer.Option(help="Ask for keys on this machine too.")] = False,
    idle_minutes: Annotated[
        float | None, typer.Option(min=0, help="End after so many minutes without a job or a question.")
    ] = None,
) -> None:
    """Run a server until Ctrl-C. Without --root it takes uploads only."""
    from .api.client import default_address
    from .service.server import ServerConfig
    from .service.server import serve as run

    config = ServerConfig(
        address=address or default_address(),
        roots=tuple(folder.expanduser().absolute() for folder in root or []),
        workers=workers,
        require_keys=require_keys,
        idle_minutes=idle_minutes,
    )
    run(config, lambda bound: print(f"listening at {bound}", flush=True))


@contextmanager
def _client_for(job_id: str | None, server: str | None, *, embed: bool = False) -> Iterator[Any]:
    """A client of the server to ask: the named one, the one that owns the job, or the default one, if it answers.

    With ``embed`` an embedded server takes the job where nothing answers.
    """
    import os

    from .api.client import Client, default_address
    from .api.home import home
    from .service.embedded import embedded_server
    from .service.store import Store

    named = server or os.environ.get("VOID_SERVER")
    store = Store(home())
    owner = store.owner(job_id) if job_id else None
    job = store.find(job_id) if job_id else None
    store.close()
    with Client(named or owner or default_address(), timeout=10 if named else 2) as client:
        try:
            client.hello()
        except ServerUnreachable:
            if not (embed and job and not named):
                raise
        else:
            yield client
            return
    named_paths = [Path(path) for path in job.shot.paths().values()]
    with embedded_server(_folders([*named_paths, Path(job.folder).parent])) as own, Client(own) as client:
        yield client


@app.command()
def jobs(
    server: Address = None,
    watch: Annotated[bool, typer.Option("--watch", help="Keep showing them until Ctrl-C.")] = False,
) -> None:
    """List jobs: those of the server, or, where none answers, those that were done on this machine."""
    import time
    from contextlib import suppress

    from .api.home import home
    from .console import show_jobs
    from .service.store import Store

    def listed() -> list[Job]:
        try:
            with _client_for(None, server) as client:
                return list(client.jobs())
        except ServerUnreachable:
            if server:
                raise
            store = Store(home())
            try:
                return store.all()
            finally:
                store.close()

    show_jobs(listed())
    with suppress(KeyboardInterrupt):
        while watch:
            time.sleep(2)
            show_jobs(listed(), again=True)


@app.command()
def cancel(job_id: JobId, server: Address = None) -> None:
    """Stop a job; its finished frames stay."""
    with _client_for(job_id, server) as client:
        client.cancel(job_id)
        *_, job = client.watch(job_id)
    print(f"{job.id} {job.state.value}; go on with: void resume {job.id}")


@app.command()
def resume(job_id: JobId, server: Address = None, no_progress: NoProgress = False) -> None:
    """Go on with a job that was stopped or failed; finished frames are not made again."""
    with _client_for(job_id, server, embed=True) as client:
        job = _follow(client, client.resume(job_id), not no_progress, remote=server is not None)
    _conclude(job, Path(job.folder))


@app.command()
def parity(
    folder: Annotated[Path, typer.Argument(help="Holds cases/*.safetensors and model/, the weights that made them.")],
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "cpu",
    tolerance: Annotated[float, typer.Option(help="The largest difference that may be.")] = 1e-4,
) -> None:
    """Compare the VOID engine with recorded outputs of the published pipeline, stage by stage."""
    from .engines.void import installed

    installed()
    from .engines.void.model import choose_device
    from .engines.void.parity import compare

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
def doctor(
    server: Address = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs.")] = False,
) -> None:
    """Say what this machine can run, what is missing, and how to get it."""
    from .doctor import examine, show

    findings = examine(server)
    show(findings, as_json)
    if any(finding.needed and not finding.good for finding in findings):
        raise typer.Exit(FAILED)


@app.command("install-nuke")
def install_nuke(
    nuke_home: Annotated[
        Path | None, typer.Option(help="Nuke's folder for plugins; ~/.nuke, or a studio's folder on NUKE_PATH.")
    ] = None,
    python: Annotated[
        list[str] | None, typer.Option(help="A Python version of Nuke's; 3.9, 3.10 and 3.11 if not given.")
    ] = None,
    system: Annotated[
        list[str] | None, typer.Option(help="linux-x86_64, windows-amd64, darwin-arm64, ...; this one if not given.")
    ] = None,
    wheels: Annotated[Path | None, typer.Option(help="A folder of wheels, for machines without network.")] = None,
    uninstall: Annotated[bool, typer.Option("--uninstall", help="Take the plugin out again.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only look whether it is complete and up to date.")] = False,
) -> None:
    """Install the nodes into Nuke."""
    from nuke_plugin.findings import as_text
    from nuke_plugin.packages import this_system

    from . import install_nuke as installer

    home = (nuke_home or installer.default_home()).expanduser().absolute()
    if uninstall:
        installer.uninstall(home)
        print(f"The plugin is not in {home} any more.")
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


Fields_ = Annotated[
    list[str] | None, typer.Option("--set", help="A field, such as priority=60, pool=gpu or limits=void=1. Repeat it.")
]
FarmEngine_ = Annotated[
    str | None,
    typer.Option("--engine", help="local, openjd, deadlinecloud, deadline, opencue, slurm; the site's if not given."),
]
JobFolder = Annotated[Path, typer.Argument(help="The job's version folder.")]


@farm_app.command("submit")
def farm_submit(
    plate: Annotated[str, typer.Argument(help="The plate, as for `void remove`.")] = "",
    roto: Annotated[str, typer.Argument(help="The roto.")] = "",
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for the version folder, made at once.")
    ] = None,
    batch: Annotated[Path | None, typer.Option(help="A CSV table with plate,roto,out and more: one group.")] = None,
    jobs: Annotated[Path | None, typer.Option(help="Shots as JSON, as the Nuke plugin writes them.")] = None,
    script: Annotated[Path | None, typer.Option(help="Beside which the fields are remembered; else the plate.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs.")] = False,
    farm_engine: FarmEngine_ = None,
    fields: Fields_ = None,
    quadmask: Annotated[str | None, typer.Option(help="A quadmask sequence to use instead of reasoning.")] = None,
    prompt: Scene = "",
    frames: Frames = None,
    removal: Annotated[str, typer.Option("--removal", help="The engine that makes the new pixels.")] = _DEFAULT.engine,
    reasoner: Reasoner = _DEFAULT.reasoner,
    colorspace: Space = Shot.colorspace,
    ocio: Ocio = None,
    server: Annotated[str, typer.Option(help="An inference server on the farm that does the work.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write the files, and say what would be run.")] = False,
) -> None:
    """Submit a shot, or a table of shots, to the farm."""
    import json
    import shlex

    from .farm import site as sites
    from .farm.job import Fields
    from .farm.submit import Wanted, submit
    from .farm.submit import batch as read_batch

    site = sites.load()
    if jobs:
        rows = json.loads(jobs.read_text(encoding="utf-8"))
        wanted = [
            Wanted(
                Shot.from_dict(row["shot"]),
                Path(row["out"]),
                Fields.from_dict({**site.fields.__dict__, **row["fields"]}),
            )
            for row in rows
        ]
    else:
        given = {"plate": plate, "roto": roto, "quadmask": quadmask, "prompt": prompt, "frames": frames}
        if not batch and not (plate and out):
            raise SettingError("Name the plate, the roto and -o, or a table with --batch.")
        settings = Settings(engine=removal, reasoner=reasoner)
        one = {**{name: value for name, value in given.items() if value}, "out": str(out)}
        wanted = [
            _wanted(row, site, script, fields or [], settings, colorspace, ocio)
            for row in (read_batch(batch) if batch else [one])
        ]
    made = submit(wanted, site, farm_engine or site.engine, server, dry_run=dry_run)
    for job, submission in made:
        if not dry_run:
            sites.remember(script or Path(job.shot.plate), job.fields)
        if as_json:
            continue
        for command in submission.commands if dry_run or not submission.ids else []:
            print(shlex.join(command))
        numbers = " ".join(f"{stage}={number}" for stage, number in submission.ids.items())
        print(f"{job.folder}  {numbers}".rstrip())
    if as_json:
        print(json.dumps([{"folder": str(job.folder), "ids": submission.ids} for job, submission in made]))


def _wanted(
    row: dict[str, str],
    site: Any,
    script: Path | None,
    said: list[str],
    settings: Settings,
    colorspace: str,
    ocio: Path | None,
) -> Any:
    """A shot to submit, from a row of a table or the command line."""
    from .farm import site as sites
    from .farm.submit import Wanted

    named: dict[str, Any] = {name: row[name] for name in ("name", "shot", "show", "comment") if name in row}
    shot = _shot(
        {"plate": row["plate"], "roto": row.get("roto"), "quadmask": row.get("quadmask"), "ocio": ocio},
        prompt=row.get("prompt", ""),
        frames=row.get("frames"),
        colorspace=row.get("colorspace", colorspace),
        settings=settings,
    )
    remembered = sites.remembered(script or Path(shot.plate))
    chosen = _fields({**site.fields.__dict__, **remembered, **named}, said)
    return Wanted(shot, Path(_absolute(row["out"])), chosen)


@farm_app.command("engines")
def farm_engines(
    script: Annotated[Path | None, typer.Option(help="Whose remembered fields to give.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs.")] = False,
) -> None:
    """List the farm engines, and the fields that each has something for."""
    import json

    from .farm import site as sites
    from .farm.job import Fields
    from .farm.submit import ENGINES

    site = sites.load()
    fields = Fields.from_dict({**site.fields.__dict__, **(sites.remembered(script) if script else {})})
    expresses = {name: sorted(engine.expresses) for name, engine in ENGINES.items()}
    if as_json:
        print(json.dumps({"engine": site.engine, "expresses": expresses, "fields": fields.__dict__}))
        return
    for name, known in expresses.items():
        print(f"{name:<14} {', '.join(known)}" + ("  (the site's)" if name == site.engine else ""))


def _fields(known: dict[str, Any], said: list[str]) -> Any:
    """The fields of a farm job, with what was said on the command line."""
    from .farm.job import Fields

    values = dict(known)
    for text in said:
        name, _, value = text.partition("=")
        before = getattr(Fields(), name, None)
        if before is None or not value:
            raise SettingError(f"{text!r} sets no field; known are {', '.join(Fields().__dict__)}.")
        try:
            if isinstance(before, dict):
                limits = (entry.partition("=") for entry in value.split(","))
                values[name] = {limit: int(count or 1) for limit, _, count in limits}
            elif isinstance(before, bool):
                values[name] = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[value]
            else:
                values[name] = type(before)(value)
        except (ValueError, KeyError):
            raise SettingError(f"{name} is {value!r}; give {_kind(before)}.") from None
    return Fields.from_dict(values)


def _kind(value: object) -> str:
    return {bool: "true or false", int: "a whole number", dict: "names with numbers, such as void=1"}.get(
        type(value), "text"
    )


@farm_app.command("run")
def farm_run(
    job: Annotated[Path, typer.Option(help="The job's farm.json.")],
    stage: Annotated[str, typer.Option(help="The stage.")],
    task: Annotated[int, typer.Option(help="The task's number in it.")] = 0,
    path_map: Annotated[Path | None, typer.Option(help="Rules for paths; else the site's.")] = None,
    progress: Annotated[str, typer.Option(help="How progress is printed: openjd, deadline or plain.")] = "plain",
    retries: Annotated[int, typer.Option(min=0, help="Attempts after the first.")] = 0,
) -> None:
    """Do one task; what farm engines call. Doing it again does no harm."""
    from .farm import pathmap, site
    from .farm.job import FarmJob
    from .farm.run import PROGRESS, STOPPED, printer, run_task

    if progress not in PROGRESS:
        raise SettingError(f"progress is {progress!r}; take {', '.join(PROGRESS)}.")
    rules = pathmap.read(path_map) if path_map else list(site.load().path_map)
    read = FarmJob.read(job)
    try:
        warnings = run_task(read, stage, task, rules, printer(progress), retries=retries)
    except JobCancelled as error:
        print(f"void: {error}", file=sys.stderr, flush=True)
        raise typer.Exit(STOPPED) from None
    except VoidError as error:
        if progress == "openjd":
            print(f"openjd_fail: {error}", flush=True)
        raise
    for warning in warnings:
        print(f"warning: {warning}", flush=True)
    print(f"{stage} {task} done", flush=True)


@farm_app.command("status")
def farm_status(folder: JobFolder) -> None:
    """Say how a job stands: by its files, and by what the engine says."""
    from .farm.job import FILE, FarmJob
    from .farm.run import state
    from .farm.submit import submitted

    job = FarmJob.read(folder / FILE)
    said: dict[str, str] = {}
    try:
        engine, ids = submitted(job)
        said = engine.states(ids)
    except VoidError as error:
        print(f"void: {error}", file=sys.stderr)
    for stage, (done, of) in state(job).items():
        print(f"{stage:<10} {done}/{of} done  {said.get(stage, '')}".rstrip())


@farm_app.command("cancel")
def farm_cancel(folder: JobFolder) -> None:
    """Stop a job; its finished frames stay, and `void farm again` goes on with it."""
    from .farm import site
    from .farm.job import FILE, FarmJob
    from .farm.submit import submitted

    engine, ids = submitted(FarmJob.read(folder / FILE))
    engine.cancel(ids, site.load())
    print(f"{folder} is stopped; go on with: void farm again {folder}")


@farm_app.command("again")
def farm_again(folder: JobFolder, farm_engine: FarmEngine_ = None) -> None:
    """Hand a job over again, after it failed or was stopped; what is finished is not made again."""
    import json

    from .farm import site as sites
    from .farm.engine import Submission
    from .farm.job import FILE, FarmJob
    from .farm.submit import RECORD, hand_over

    site = sites.load()
    job = FarmJob.read(folder / FILE)
    record = folder / RECORD
    before = json.loads(record.read_text(encoding="utf-8"))["engine"] if record.is_file() else site.engine
    submission = Submission()
    hand_over(job, submission, site, farm_engine or before, job.title)
    print(f"{job.folder}  {' '.join(f'{stage}={number}' for stage, number in submission.ids.items())}".rstrip())


@keys_app.command("new")
def keys_new(
    name: Annotated[str, typer.Argument(help="Whose key it is; becomes the files' name.")],
    folder: Annotated[Path, typer.Option(help="Where to put the files.")] = Path(),
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
    print(f"{name} is not allowed any more")


@keys_app.command("list")
def keys_list() -> None:
    """List the clients that are allowed."""
    for name, public in _ring().allowed().items():
        print(f"{name:<24} {public}")


def _ring() -> Any:
    from .api.home import home
    from .service.keys import KeyRing

    return KeyRing(home())
