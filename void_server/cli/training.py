"""The command that fine-tunes VOID on pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..api.errors import SettingError
from ..interruption import Interrupted
from .app import app
from .frame import print_json
from .options import AsJson, NoProgress

#: The packages that a training needs beyond those of the engine.
_MODULES = ("accelerate", "peft", "came_pytorch")


@app.command()
def train(
    config: Annotated[Path | None, typer.Argument(help="The training's configuration, a TOML file.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Train all weights, as if model.full were true.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="List all settings of a configuration.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only check configuration, weights and packages.")] = False,
    as_json: AsJson = False,
    no_progress: NoProgress = False,
) -> None:
    """Adapt the VOID model to pairs of shots. Started again, a training goes on from its last state."""
    from ..training import config as configuration

    if explain:
        _explain()
        return
    if config is None:
        raise SettingError("No configuration was given; name a TOML file, and see: void train --explain")
    wanted = configuration.read(config.expanduser(), full=full)
    _check_installed()
    from ..training import run

    if check:
        run.check(wanted)
        if not as_json:
            print(f"{config} is good; train with: void train {config}")
        return
    from .console import StepProgress

    try:
        with StepProgress(not no_progress) as progress:
            files = run.train(wanted, progress)
    except Interrupted as stop:
        raise stop.saying(f"Stopped; the last state is kept in {wanted.out}. Go on with: void train {config}") from None
    if not files:
        # one of several processes, of which the first tells
        return
    page = wanted.out / "index.html"
    if as_json:
        print_json({"out": str(wanted.out), "page": str(page), "files": [str(file) for file in files]})
        return
    for file in files:
        print(f"result  {file}")
    print(f"page    {page}")


def _explain() -> None:
    from rich.table import Table

    from ..training.config import settings
    from .console import printer

    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("setting", "default", ""):
        table.add_column(title, overflow="fold")
    for row in settings():
        table.add_row(*(part.replace("[", "\\[") for part in row))
    printer().print(table)


def _check_installed() -> None:
    """Raise :class:`SettingError` if a package that training needs is not installed."""
    from ..engines.void import check_installed
    from ..plugins import how_to_install, installed

    check_installed()
    absent = [name for name in _MODULES if not installed(name)]
    if absent:
        raise SettingError(f"Training needs {', '.join(absent)}, not installed here: {how_to_install('train')}")
