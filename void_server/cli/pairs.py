"""The commands ``void pairs``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..api.errors import SettingError
from .frame import App
from .options import a_folder

if TYPE_CHECKING:
    from ..pairs.export import Rights
    from ..pairs.source import PairSource

app = App(help="Counterfactual pairs: the same shot with an object and without it.")

_FORMS = ("void", "copycat", "suite")


@app.command("export")
def pairs_export(
    out: Annotated[Path, typer.Argument(callback=a_folder, help="The data set's folder; what is in it stays.")],
    pairs: Annotated[list[Path] | None, typer.Argument(help="Pairs, and folders of pairs.")] = None,
    form: Annotated[
        str,
        typer.Option(help="void: the published training form. copycat: Input and Ground Truth. suite: to evaluate."),
    ] = "void",
    shots: Annotated[
        Path | None, typer.Option(help="A CSV table of approved shots: name, version, final, licence, approved_by, ...")
    ] = None,
    licence: Annotated[str, typer.Option(help="The licence of pairs that do not state one.")] = "",
    approved_by: Annotated[str, typer.Option(help="Who answers for pairs that do not say it.")] = "",
) -> None:
    """Write a data set from pairs, or from approved shots, with who may use what."""
    from ..pairs.export import export

    if form not in _FORMS:
        raise SettingError(f"There is no form {form!r}; choose from {', '.join(_FORMS)}.")
    named = list(_named(pairs or [], shots, licence, approved_by))
    if not named:
        raise SettingError("Name pairs, a folder of pairs, or with --shots a table of approved shots.")
    if twice := {pair.name for pair, _ in named if sum(pair.name == other.name for other, _ in named) > 1}:
        raise SettingError(f"Several pairs are named {min(twice)}; rename the folder of one.")
    for name, notes in export(out, form, named):
        print(name)
        for note in notes:
            print(f"warning: {name} {note}", file=sys.stderr)
    if form == "copycat":
        print(f"script         {_script(out)}")
    print(f"rights         {out / 'rights.csv'}")


def _named(
    folders: Iterable[Path], shots: Path | None, licence: str, approved_by: str
) -> Iterator[tuple[PairSource, Rights]]:
    from ..api.errors import SequenceError
    from ..pairs import pairs_in
    from ..pairs.export import approved_shots, rights
    from ..pairs.source import of_folder

    for folder in folders:
        found = pairs_in(folder)
        if not found:
            raise SequenceError(f"{folder} holds no pairs: neither it nor a folder in it has a meta.json.")
        for pair in map(of_folder, found):
            yield pair, rights.of_facts(pair, licence, approved_by)
    if shots is not None:
        yield from approved_shots(shots)


def _script(out: Path) -> Path:
    """Write the script for all pairs of a data set, under the next free name; the last one where nothing is new."""
    from void_nuke.node.training_script import TrainingClip, training_script

    from ..api.files import write_atomically
    from ..imaging import sequence
    from ..pairs.export import copycat

    clips = []
    for folder in sorted((out / copycat.INPUT).absolute().iterdir()):
        frames = sequence.find(str(folder)).frames
        seen, true = (
            (out.absolute() / role / folder.name / f"{folder.name}.%04d.exr").as_posix()
            for role in (copycat.INPUT, copycat.GROUND_TRUTH)
        )
        clips.append(TrainingClip(seen, true, frames[0], frames[-1]))
    text = training_script(clips, (out.absolute() / "networks").as_posix())
    scripts = sorted(out.glob("copycat_v[0-9]*.nk"))
    if scripts and scripts[-1].read_text(encoding="utf-8") == text:
        return scripts[-1]
    number = int(scripts[-1].stem.rpartition("v")[2]) + 1 if scripts else 1
    script = out / f"copycat_v{number:03d}.nk"
    write_atomically(script, text)
    (out / "networks").mkdir(exist_ok=True)
    return script
