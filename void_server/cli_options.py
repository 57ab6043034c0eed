"""What the commands of ``void`` have in common: arguments, options, and the shot that they make."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .api.shot import Prompt, Shot

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
