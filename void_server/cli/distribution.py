"""The commands for whoever hands VOID on to other machines: an offline bundle of it, and what it is made of."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Annotated

import typer

from .app import app


def _several(text: str | None) -> list[str]:
    """What is written with commas between."""
    return [one.strip() for one in (text or "").split(",") if one.strip()]


@app.command()
def bundle(
    out: Annotated[Path, typer.Option("-o", "--out", help="The archive to write, such as bundle.tar.")],
    python: Annotated[
        str | None, typer.Option(help="The Pythons to run VOID with, such as 3.11,3.12; this one's if not given.")
    ] = None,
    nuke: Annotated[str | None, typer.Option(help="The versions of Nuke to bring the plugin for: 15,16.")] = None,
    gpu: Annotated[
        str, typer.Option(help="The torch for the engine void: cu128 or another build, or cpu. Without: no torch.")
    ] = "",
    extra: Annotated[str | None, typer.Option(help="Further extras of void-nuke: web,studio.")] = None,
    system: Annotated[str | None, typer.Option(help="linux-x86_64, linux-aarch64, ...; this one if not given.")] = None,
    wheel: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="The wheel of void-nuke, if this is not run from a checkout."),
    ] = None,
) -> None:
    """Write a signed bundle that installs VOID where there is no network."""
    from void_nuke.studio.packages import this_system

    from .bundle import Bundle, write

    here = ".".join(platform.python_version_tuple()[:2])
    wanted = Bundle(_several(python) or [here], _several(nuke), gpu, _several(extra), system or this_system())
    key = write(wanted, out.expanduser().absolute(), wheel)
    print(f"{out}: unpack it where it is needed, then run there: python3 install.py --key {key} --target /opt/void")
