"""The command ``void`` itself, to which the modules of commands add theirs."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import __version__
from .frame import App

app = App(help="Remove objects from shots, together with everything they did to the scene.")


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
