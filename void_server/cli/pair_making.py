"""The commands that make pairs and look through them: ``void pairs make``, ``check`` and ``index``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..api.errors import JobFailed, SequenceError, SettingError
from ..interruption import Interrupted
from .farm import FieldsSaid, SchedulerName, fields_of
from .frame import FAILED, print_json
from .options import AsJson, NoProgress, a_folder, size_of
from .pairs import app

Pairs = Annotated[Path, typer.Argument(exists=True, file_okay=False, help="A pair, or a folder of pairs.")]


@app.command("make")
def pairs_make(
    out: Annotated[Path, typer.Argument(callback=a_folder, help="The folder of the set; a pair there is kept.")],
    count: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many pairs.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="From it all is drawn; the same seed gives the same pairs.")] = 1,
    kind: Annotated[
        list[str] | None, typer.Option(help="A kind of scene, such as dominoes; all if not given. Repeat it.")
    ] = None,
    size: Annotated[str, typer.Option(help="Width x height.")] = "672x384",
    frames: Annotated[int, typer.Option(min=2, max=10_000, help="Frames of each pair.")] = 61,
    fps: Annotated[int, typer.Option(help="Frames a second, 12 or 24: of the same movements.")] = 12,
    samples: Annotated[int, typer.Option(min=1, max=4096, help="Samples a pixel, before it is denoised.")] = 8,
    blender: Annotated[str, typer.Option(help="Blender, or a Python with bpy; $VOID_BLENDER or what is found.")] = "",
    threads: Annotated[int, typer.Option(min=0, help="Threads to render with; 0: a thread for each core.")] = 0,
    scheduler: SchedulerName = None,
    fields: FieldsSaid = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --scheduler: say what would be run.")] = False,
    no_progress: NoProgress = False,
) -> None:
    """Render pairs of the same scene with an object and without it. Run again, it goes on where it stopped."""
    from ..pairs.making import Look
    from ..pairs.ordering import Order, look_through

    width, height = size_of(size)
    look = Look(width, height, frames, fps, samples)
    order = Order(count, seed, tuple(kind or ()), look, blender)
    if scheduler:
        _on_farm(order, out, scheduler, fields or [], dry_run=dry_run)
        return
    if fields or dry_run:
        raise SettingError("--set and --dry-run are for a farm; name its --scheduler, too.")
    for number in range(count):
        name = order.folder(out, number).name

        def say(what: str, share: float, name: str = name, number: int = number) -> None:
            if not no_progress:
                print(f"\r{number + 1}/{count}  {name}  {100 * share:3.0f} %  {what:<16}", end="", file=sys.stderr)

        try:
            order.make(out, number, say, threads)
        except Interrupted as stop:
            raise stop.saying("Stopped; finished frames are kept. Run the same command to go on.") from None
        finally:
            if not no_progress:
                print(file=sys.stderr)
    _tell(look_through(out), out)


def _on_farm(order: Any, out: Path, scheduler: str, said: list[str], *, dry_run: bool) -> None:
    """Hand a set over to a farm: a pair is a task."""
    import shlex

    from ..farm import site as sites
    from ..farm.submit import submit_pairs

    site = sites.load()
    job, submission = submit_pairs(order, out, fields_of({}, said), site, scheduler, dry_run=dry_run)
    for command in submission.commands if dry_run or not submission.ids else []:
        print(shlex.join(command))
    print("  ".join([str(job.folder), *(f"{stage}={number}" for stage, number in submission.ids.items())]))


@app.command("check")
def pairs_check(folder: Pairs, as_json: AsJson = False) -> None:
    """Find pairs that nobody should learn from, and say why. Exits with 1 where there are some."""
    from ..pairs import check, pairs_in

    pairs = pairs_in(folder)
    if not pairs:
        raise SequenceError(f"{folder} holds no finished pair: neither it nor a folder in it has a meta.json.")
    found = {pair.name: check.faults(pair) for pair in pairs}
    if as_json:
        print_json({"pairs": found})
    else:
        _tell(found, None)
    if any(found.values()):
        raise typer.Exit(FAILED)


@app.command("index")
def pairs_index(folder: Pairs) -> None:
    """Write a page and a contact sheet of all pairs, with what is wrong with them."""
    from ..pairs.ordering import look_through

    found = look_through(folder)
    if not found:
        raise JobFailed(f"{folder} holds no finished pair; make some with: void pairs make {folder}")
    _tell(found, folder)


def _tell(found: dict[str, list[str]], folder: Path | None) -> None:
    """Say which pairs are bad, and where the page is."""
    for name, faults in found.items():
        for fault in faults:
            print(f"{name}: {fault}")
    bad = sum(map(bool, found.values()))
    print(f"{len(found)} pairs, {bad} with faults" if bad else f"{len(found)} pairs, all good")
    if folder:
        from ..pairs.index import PAGE

        print(folder / PAGE)
