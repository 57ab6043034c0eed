"""What the commands of ``void`` have in common: arguments, options, and the shot that they make."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from ..api.shot import Prompt, Settings, Shot
from .frame import AS_JSON

_DEFAULT = Settings()
_VOID = "Engine void"


def a_folder(path: Path | None) -> Path | None:
    """Check an option that names a folder to write into; it need not be there yet."""
    for place in (path, *path.parents) if path else ():
        if place.exists() and not place.is_dir():
            raise typer.BadParameter(f"{place} is a file; name a folder.")
    return path


Plate = Annotated[
    str, typer.Argument(help="The plate: name.%04d.exr, name.####.exr, a folder with one sequence, a movie.")
]
Roto = Annotated[
    str,
    typer.Argument(
        help="The roto of what to remove, over the same frames; its alpha counts. None with --point, --box, --quadmask."
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        "-o", "--out", callback=a_folder, help="Folder for the results; each job makes v001, v002, ... in it."
    ),
]
RotoOffset = Annotated[int, typer.Option(help="Added to the roto's frame numbers to get the plate's, such as 1000.")]
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
AsJson = Annotated[bool, typer.Option(AS_JSON, help="Print JSON for scripts; progress stays on stderr.")]
JobId = Annotated[str, typer.Argument(help="The job's id, as `void jobs` lists it.")]


def prompts_of(points: list[str] | None, nots: list[str] | None, boxes: list[str] | None) -> tuple[Prompt, ...]:
    """The prompts that were given. Raises SettingError for one that is none."""
    given = ((Prompt.POINT, points), (Prompt.NOT, nots), (Prompt.BOX, boxes))
    return tuple(Prompt.parse(text, kind) for kind, texts in given for text in texts or [])


def absolute(path: str) -> str:
    """A path that means the same wherever it is read."""
    # not resolved: a link is what the artist named, and what a server's roots are checked against
    return str(Path(path).expanduser().absolute())


def shot_of(files: dict[str, str | Path | None], **rest: Any) -> Shot:
    """A shot from the files that were named, those that were."""
    named: dict[str, Any] = {name: absolute(str(path)) for name, path in files.items() if path}
    return Shot(**named, **rest)


def removal_of(
    plate: Plate,
    roto: Roto = "",
    quadmask: Annotated[str | None, typer.Option(help="A quadmask sequence to use instead of reasoning.")] = None,
    prompt: Scene = "",
    frames: Frames = None,
    roto_offset: RotoOffset = 0,
    quadmask_offset: Annotated[int, typer.Option(help="The same for the quadmask's frame numbers.")] = 0,
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
    piece_length: Annotated[
        int, typer.Option(help="Longer shots are made in pieces, as on a farm; 0: never.", rich_help_panel=_VOID)
    ] = _DEFAULT.piece_length,
    strength: Annotated[
        float, typer.Option(help="Below 1 it begins with the plate, so much of it noise.", rich_help_panel=_VOID)
    ] = _DEFAULT.strength,
    checkpoint: Annotated[
        str, typer.Option(help="Another checkpoint in the weights' folder for the first pass.", rich_help_panel=_VOID)
    ] = _DEFAULT.checkpoint,
) -> Shot:
    """The shot that a command's words make, with all that can be said of a removal."""
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
        piece_length=piece_length,
        checkpoint=checkpoint,
    )
    return shot_of(
        {"plate": plate, "roto": roto, "quadmask": quadmask, "ocio": ocio, "analysis": analysis},
        prompts=prompts_of(point, off, box),
        frames=frames,
        roto_offset=roto_offset,
        quadmask_offset=quadmask_offset,
        prompt=prompt,
        colorspace=colorspace,
        settings=settings,
    )


def taking(source: Callable[..., Any], *without: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command the options of ``source`` too, but those that it has itself, and ``without`` some.

    It gets them as keywords. Typer reads a command's options from its signature, so that is what is put together.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = dict(inspect.signature(command).parameters)
        own = {name: one for name, one in own.items() if one.kind is not inspect.Parameter.VAR_KEYWORD}
        taken = {
            name: one
            for name, one in inspect.signature(source).parameters.items()
            if name not in own and name not in without
        }
        hints = {**get_type_hints(source, include_extras=True), **get_type_hints(command, include_extras=True)}

        @functools.wraps(command)
        def run(**words: Any) -> None:
            command(**words)

        # by keyword, so that those with a default may come first
        keywords = [
            one.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name])
            for name, one in {**taken, **own}.items()
        ]
        run.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in keywords}
        del run.__wrapped__
        return run

    return decorate
