"""What the commands of ``void`` have in common: arguments, options, and the shot that they make."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from ..api.errors import SettingError
from ..api.shot import Prompt, Shot
from .declared import settings_of
from .frame import AS_JSON


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
Analysis = Annotated[Path | None, typer.Option(help="An analysis made elsewhere, for --reasoner file.")]
Points = Annotated[
    list[str] | None, typer.Option("--point", help="On the object, such as 1001:640,360, from the top left. Repeat it.")
]
Nots = Annotated[list[str] | None, typer.Option("--not", help="A point that is not on the object.")]
Boxes = Annotated[list[str] | None, typer.Option("--box", help="Around the object, such as 1001:10,20,300,400.")]
Named = Annotated[
    list[str] | None, typer.Option("--named", help="What the object is called, such as 1001:the man in red (SAM 3).")
]
Space = Annotated[str, typer.Option("--colorspace", help="The plate's colour space, such as ACEScg.")]
Ocio = Annotated[Path | None, typer.Option(help="An OCIO configuration; $OCIO or ACES' own for CG if not given.")]
Address = Annotated[str | None, typer.Option("--server", help="A server's address; $VOID_SERVER, else an own one.")]
Transfer = Annotated[str, typer.Option(help="path: the server reads the files itself. upload: send them to it.")]
NoProgress = Annotated[bool, typer.Option("--no-progress", help="Print no progress.")]
AsJson = Annotated[bool, typer.Option(AS_JSON, help="Print JSON for scripts; progress stays on stderr.")]
JobId = Annotated[str, typer.Argument(help="The job's id, as `void jobs` lists it.")]


def size_of(text: str) -> tuple[int, int]:
    """Width and height as they are written on the command line. Raises SettingError for what is none."""
    wanted = re.fullmatch(r"\s*(\d{1,9})\s*[xX\u00d7]\s*(\d{1,9})\s*", text, re.ASCII)
    if not wanted:
        raise SettingError(f"Size {text!r} is not valid; write it like 1280x720.")
    return int(wanted[1]), int(wanted[2])


def prompts_of(
    points: list[str] | None, nots: list[str] | None, boxes: list[str] | None, named: list[str] | None
) -> tuple[Prompt, ...]:
    """The prompts that were given. Raises SettingError for one that is none."""
    given = ((Prompt.POINT, points), (Prompt.NOT, nots), (Prompt.BOX, boxes), (Prompt.NAMED, named))
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
    settings: Mapping[str, Any],
    plate: Plate,
    roto: Roto = "",
    quadmask: Annotated[str | None, typer.Option(help="A quadmask sequence to use instead of reasoning.")] = None,
    prompt: Scene = "",
    frames: Frames = None,
    roto_offset: RotoOffset = 0,
    quadmask_offset: Annotated[int, typer.Option(help="The same for the quadmask's frame numbers.")] = 0,
    analysis: Analysis = None,
    point: Points = None,
    off: Nots = None,
    box: Boxes = None,
    named: Named = None,
    colorspace: Space = Shot.colorspace,
    ocio: Ocio = None,
) -> Shot:
    """The shot that a command's words make, with all that can be said of a removal, and the ``settings`` said."""
    return shot_of(
        {"plate": plate, "roto": roto, "quadmask": quadmask, "ocio": ocio, "analysis": analysis},
        prompts=prompts_of(point, off, box, named),
        frames=frames,
        roto_offset=roto_offset,
        quadmask_offset=quadmask_offset,
        prompt=prompt,
        colorspace=colorspace,
        settings=settings_of(settings),
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
