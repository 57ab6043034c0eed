"""The command that judges results."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import plugins
from ..api.errors import InputError, SettingError
from ..api.shot import SCENE_LINEAR_REC709
from .app import app
from .declared import offering, said, settings_of
from .frame import FAILED, print_json
from .options import AsJson, Frames, NoProgress, Ocio, Space, a_folder

if TYPE_CHECKING:
    from ..evaluation.judging import Judged, Wanted

_BASELINES = ("untouched", "telea", "masked median", "neighbours", "cleanplate")
_SETTINGS = ("engine", "reasoner", "segmenter", "device", "affected_shape", "feather", "seed")


@app.command(cls=offering(*_SETTINGS, kinds=(plugins.ENGINES, plugins.REASONERS)))
def evaluate(
    context: typer.Context,
    results: Annotated[
        Path | None,
        typer.Argument(help="A version folder, a folder of them named as the pairs are, or an EXR sequence."),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Argument(help="A pair, a folder of pairs, or an EXR sequence. None: only what needs no truth."),
    ] = None,
    suite: Annotated[
        Path | None, typer.Option(help="A folder of pairs: have the engine do each, and judge what it makes.")
    ] = None,
    only: Annotated[str, typer.Option(help="With --suite, only pairs with this in their name.")] = "",
    plate: Annotated[str, typer.Option(help="The plate, where results are a plain sequence.")] = "",
    quadmask: Annotated[str, typer.Option(help="What changes, where nothing else says it.")] = "",
    frames: Frames = None,
    colorspace: Space = SCENE_LINEAR_REC709,
    ocio: Ocio = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(help=f"Compare with {', '.join(_BASELINES)} (all by default), an engine, or none. Repeat it."),
    ] = None,
    measure: Annotated[list[str] | None, typer.Option(help="Take only this measure, such as psnr. Repeat it.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", callback=a_folder, help="Write page, figures and results to a new version here."),
    ] = None,
    record: Annotated[Path | None, typer.Option(help="Write a record by which others can repeat this.")] = None,
    compare: Annotated[Path | None, typer.Option(help="Say in what this differs from a record.")] = None,
    no_progress: NoProgress = False,
    as_json: AsJson = False,
) -> None:
    """Judge results against truths, with baselines; or have an engine do a suite of pairs, and judge that."""
    import json
    import tempfile

    from ..api.files import new_version_folder, write_atomically
    from ..evaluation import judging, page
    from ..evaluation import record as records
    from ..imaging.sequence import parse_frames

    asked = said(context)
    if (results is None) == (suite is None):
        raise SettingError("Name the results to judge, or with --suite the pairs to do; one of the two.")
    if asked and suite is None:
        raise SettingError(
            f"--{next(iter(asked)).replace('_', '-')} is for --suite; results that are there have theirs."
        )
    for_files = {"a truth": truth, "--plate": plate, "--quadmask": quadmask}
    if suite is not None and (named := [name for name, said_ in for_files.items() if said_]):
        raise SettingError(f"With --suite the pairs say it all; leave {named[0]} out.")
    if only and suite is None:
        raise SettingError("--only chooses pairs of a --suite; name the result itself.")
    if record is not None and record.exists():
        raise InputError(f"{record} is there already, and no record is overwritten; name another.")
    before = records.load(compare) if compare else None
    names = tuple(baseline or _BASELINES)

    def report(shot: str, method: str) -> None:
        if not no_progress:
            print(f"{shot}: {method}", file=sys.stderr)

    with tempfile.TemporaryDirectory() as temporary:
        folder = new_version_folder(out) if out else None
        wanted = judging.Wanted(
            () if names == ("none",) else names,
            tuple(measure or ()),
            parse_frames(frames) if frames else (),
            (folder or Path(temporary)) / "jobs",
            report,
        )
        try:
            wanted.check()
            judged = _judged(wanted, results, truth, suite, only, asked, (colorspace, ocio), plate, quadmask)
        except InputError:
            # nothing was begun, so nothing is in it
            if folder is not None:
                folder.rmdir()
            raise
        made = records.record(judged, {**asked, "measures": list(wanted.measures)}) if record or before else None
        if folder is not None:
            write_atomically(folder / "evaluation.json", json.dumps(judging.as_data(judged), indent=1))
            write_atomically(folder / "evaluation.html", page.page(judged))
        if record is not None:
            write_atomically(record, json.dumps(made, indent=1))
        differences = records.differences(before, made) if before is not None and made is not None else None
        _show(judged, folder, differences, as_json)
    if any(one.failures for one in judged):
        raise typer.Exit(FAILED)


def _judged(
    wanted: Wanted,
    results: Path | None,
    truth: Path | None,
    suite: Path | None,
    only: str,
    asked: dict[str, Any],
    colour: tuple[str, Path | None],
    plate: str,
    quadmask: str,
) -> list[Judged]:
    from ..evaluation import judging
    from ..imaging.colour import ColourSpace

    if suite is not None:
        return list(judging.suites(suite, settings_of(asked), wanted, only))
    assert results is not None, "one of the two is named"
    space = ColourSpace(colour[0], str(colour[1]) if colour[1] else None)
    return list(judging.given(results, truth, wanted, space, plate=plate, quadmask=quadmask))


def _show(judged: list[Judged], folder: Path | None, differences: list[str] | None, as_json: bool) -> None:
    from ..evaluation.judging import JUDGED, as_data, totals
    from ..evaluation.scoring import CHANGED

    for one in judged:
        for text in (*one.failures, *one.notes):
            print(f"warning: {one.name}: {text}", file=sys.stderr)
    if as_json:
        print_json({**as_data(judged), "folder": str(folder or ""), "differences": differences})
        return
    rows = [((one.name, each.method), each.figures) for one in judged for each in one.scores]
    if len(judged) > 1:
        rows += [(("mean", method), groups.get(CHANGED, {})) for method, groups in totals(judged).items()]
    _table(("shot", "method"), rows)
    parts = [
        ((one.name, f"{each.method}: {group}"), figures)
        for one in judged
        for each in one.scores
        if each.method in JUDGED
        for group, figures in each.groups.items()
        if group != CHANGED
    ]
    _table(("shot", "of which"), parts)
    if folder is not None:
        print(f"page           {folder / 'evaluation.html'}")
        print(f"figures        {folder / 'evaluation.json'}")
    if differences is not None:
        print("\n".join(differences) or "The record is the same.")


def _table(names: tuple[str, ...], rows: Sequence[tuple[tuple[str, ...], Mapping[str, float]]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from ..evaluation.page import cells, columns
    from .console import printer

    if not rows:
        return
    measures = columns(figures for _, figures in rows)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in names:
        table.add_column(name, no_wrap=True)
    for name in measures:
        table.add_column(name, justify="right", no_wrap=True)
    for first, figures in rows:
        table.add_row(*map(escape, first), *cells(figures, measures))
    printer().print(table)
