"""The commands for versions that are handed on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ..api.errors import JobFailed, SettingError
from ..api.version import VersionFolder
from .app import app
from .frame import print_json
from .options import AsJson

Codec = Literal["h264", "prores"]
Version = Annotated[Path, typer.Argument(exists=True, file_okay=False, help="A version's folder, such as out/v001.")]


@app.command()
def verify(
    version: Version,
    inputs: Annotated[
        bool, typer.Option("--inputs", help="Check the plate and whatever else it was made from, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check that a version is as it was made and signed; names the first frame that differs, and exits with 1."""
    from ..publishing import verification

    folder = VersionFolder(version)
    signature = verification.signature_of(folder)
    found = list(verification.differences(folder, inputs=inputs))
    if as_json:
        print_json(
            {
                "signature": signature.to_dict(),
                "differences": [{"path": one.path, "frame": one.frame, "how": one.how} for one in found],
            }
        )
    if found:
        more = f" And {len(found) - 1} more." if found[1:] else ""
        raise JobFailed(f"{version} is not as it was made. {found[0]}{more}")
    if not as_json:
        print(f"{version} is as it was made, signed by {signature.by} with the key {signature.key}")


@app.command()
def approve(
    version: Version, note: Annotated[str, typer.Option(help="A comment, signed together with the rest.")] = ""
) -> None:
    """Approve a version: sign for it with your own key, after checking that it is as it was made."""
    from ..publishing import approval

    signature = approval.approve(VersionFolder(version), note)
    print(f"{version} is approved by {signature.by} with the key {signature.key}")


@app.command()
def publish(
    version: Version,
    movie: Annotated[bool, typer.Option("--movie", help="Add a movie, plate beside result.")] = False,
    codec: Annotated[
        Codec | None,
        typer.Option(help="Of the movie: h264 for browsers, if none is named; prores (422 HQ) for edit and review."),
    ] = None,
    fps: Annotated[str, typer.Option(help="Frames a second, such as 24 or 24000/1001.")] = "24",
    to: Annotated[str | None, typer.Option(help="Also create it in ayon, flow, ftrack, kitsu or openassetio.")] = None,
    project: Annotated[str, typer.Option(help="There: the project's name.")] = "",
    sequence: Annotated[str, typer.Option(help="There: the sequence, or the folders above the shot.")] = "",
    shot: Annotated[str, typer.Option(help="There: the shot.")] = "",
    task: Annotated[str, typer.Option(help="There: the task, or its type.")] = "",
    product: Annotated[str, typer.Option(help="There: what the versions are called.")] = "cleanup",
    as_json: AsJson = False,
) -> None:
    """Publish a version that is as it was made, and approved where it must be: publish.json, pictures, a movie."""
    from ..pipeline import previews
    from ..publishing import publication, recipes

    if codec and not movie:
        raise SettingError("--codec is that of the movie; add --movie, or leave it out.")
    target = recipes.Target(project, shot, task, sequence, product)
    if to and (lacking := [name for name in ("project", "shot", "task") if not getattr(target, name)]):
        raise SettingError(f"The {lacking[0]} in {to} is not named; give --{lacking[0]}.")
    recipe = recipes.find(to) if to else None
    made = publication.publish(VersionFolder(version), movie=codec or "h264" if movie else "", fps=previews.rate(fps))
    told = recipe.publish(made, target) if recipe else ""
    if as_json:
        print_json({"published": str(made.version.publication), "told": told})
        return
    print(made.version.publication)
    if told:
        print(told)


@app.command()
def disclose(
    folders: Annotated[
        list[Path], typer.Argument(exists=True, file_okay=False, help="Folders of a show, shots or versions.")
    ],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="A CSV file to write; else it is printed.")] = None,
) -> None:
    """Table with what each version was made: engines, models, weights, shares of pixels, who, when and where."""
    from ..api.files import write_atomically
    from ..publishing import disclosures

    text = disclosures.table(disclosures.versions_in(folders))
    if out is None:
        print(text, end="")
        return
    write_atomically(out, text)
    print(out)
