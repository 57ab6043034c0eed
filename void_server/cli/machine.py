"""The commands for this installation: what it can do, Nuke's plug-in, a sample to try it on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..api.errors import SettingError
from .app import app
from .frame import FAILED, print_json
from .options import (
    Address,
    AsJson,
    a_folder,
    size_of,
)


@app.command()
def sample(
    out: Annotated[Path, typer.Argument(callback=a_folder, help="A new folder for the shot.")],
    size: Annotated[str, typer.Option(help="Width x height.")] = "1280x720",
    frames: Annotated[str, typer.Option(help="Frame range.")] = "1001-1040",
    scene: Annotated[
        str,
        typer.Option(help="The scene: walkby, pan, handheld, knock, chain, mirror, stand, passer, fade or water."),
    ] = "walkby",
) -> None:
    """Write a sample shot with exact ground truth: plate, roto, truth."""
    from ..imaging.sequence import parse_frames
    from ..sample import write_sample

    write_sample(out, scene, size_of(size), parse_frames(frames))
    print(out)


@app.command()
def parity(
    folder: Annotated[
        Path | None,
        typer.Argument(
            exists=True,
            file_okay=False,
            help="Contains cases/*.safetensors and model/, the weights they were recorded with.",
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Check this machine instead: a small model of ours, and layers of full size."),
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="float32, for exactness, or bfloat16, as jobs on a GPU use it. --quick checks both.")
    ] = "float32",
    tolerance: Annotated[
        float | None, typer.Option(help="The largest difference allowed; in bfloat16 as a share of the values.")
    ] = None,
) -> None:
    """Compare the VOID engine with recorded outputs of the published pipeline, stage by stage."""
    from ..engines.void import check_installed

    check_installed()
    from ..engines.void.model import choose_device
    from ..engines.void.parity import TOLERANCES, compare, precision_of

    chosen, wanted = choose_device(device), precision_of(precision)
    if quick == bool(folder):
        raise SettingError("Name the folder of recorded cases, or give --quick to check this machine; one of the two.")
    if folder:
        judged = [(found, wanted) for found in compare(folder, chosen, wanted)]
    else:
        from ..engines.void.selftest import examine as examine_card

        judged = list(examine_card(chosen))
    failed = 0
    print(f"{'case':<24} {'stage':<26} {'precision':<10} difference")
    for found, used in judged:
        good = found.within(used, tolerance)
        failed += not good
        number = f"{found.of(used):.1e}" if used == precision_of("float32") else f"{found.of(used):.2%}"
        print(
            f"{found.case:<24} {found.stage:<26} {str(used).rpartition('.')[2]:<10} {found.shape or number}"
            + ("" if good else "  TOO MUCH")
        )
    limit = ", ".join(f"{str(used).rpartition('.')[2]} {tolerance or TOLERANCES[used]:g}" for used in TOLERANCES)
    print(f"{failed} stages differ by more than allowed ({limit})" if failed else f"all within {limit}")
    if failed:
        raise typer.Exit(FAILED)


@app.command()
def doctor(
    server: Address = None,
    repair: Annotated[bool, typer.Option("--repair", help="Set a damaged list of jobs aside first.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what this machine can run, what is missing, and how to get it."""
    from dataclasses import asdict

    from ..api.home import home
    from ..service import store
    from .doctor import examine, ready, show

    if repair and (aside := store.repair(home())):
        print(f"the list of jobs was damaged; it is kept as {aside}", file=sys.stderr)
    findings = examine(server)
    if as_json:
        print_json({"ready": ready(findings), "findings": [asdict(finding) for finding in findings]})
    else:
        show(findings)
    if not ready(findings):
        raise typer.Exit(FAILED)


@app.command("install-nuke")
def install_nuke(
    nuke_home: Annotated[
        Path | None,
        typer.Option(callback=a_folder, help="Nuke's plugin folder: ~/.nuke, or a studio's folder on NUKE_PATH."),
    ] = None,
    python: Annotated[
        list[str] | None, typer.Option(help="Nuke's Python version; 3.9, 3.10, 3.11 and 3.13 by default. Repeatable.")
    ] = None,
    system: Annotated[
        list[str] | None,
        typer.Option(
            help=("The system: linux-x86_64, windows-amd64, darwin-arm64, ...; this one by default. Repeatable.")
        ),
    ] = None,
    wheels: Annotated[
        Path | None,
        typer.Option(
            exists=True, file_okay=False, help="Install from this folder of wheels, for machines without network."
        ),
    ] = None,
    uninstall: Annotated[bool, typer.Option("--uninstall", help="Remove the plugin.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only check that it is complete and up to date.")] = False,
) -> None:
    """Install the nodes into Nuke."""
    from void_nuke.studio.findings import as_text
    from void_nuke.studio.packages import this_system

    from . import install_nuke as installer

    home = (nuke_home or installer.default_home()).expanduser().absolute()
    if uninstall:
        installer.uninstall(home)
        print(f"The plugin is no longer in {home}.")
    elif check:
        findings = installer.check(home, python or installer.NUKE_PYTHONS)
        print(as_text(findings))
        if not all(finding.good for finding in findings):
            raise typer.Exit(FAILED)
    else:
        folder = installer.install(
            home, python or installer.NUKE_PYTHONS, system or [this_system()], wheels and wheels.absolute()
        )
        print(f"installed in {folder}; start Nuke, press Tab in the node graph and type VOID")
