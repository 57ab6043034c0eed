"""The commands for whoever hands VOID on to other machines: an offline bundle of it, and what it is made of."""

from __future__ import annotations

import platform
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer

from .app import app
from .frame import print_json
from .options import AsJson


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

    from . import bundle_installer
    from .bundle import Bundle, write

    here = ".".join(platform.python_version_tuple()[:2])
    wanted = Bundle(_several(python) or [here], _several(nuke), gpu, _several(extra), system or this_system())
    key = write(wanted, out.expanduser().absolute(), wheel)
    runs = f"python{wanted.pythons[0]} -I install.py --key {key} --target /opt/void"
    print(f"{out}: unpack it where it is needed, compare the SHA-256 of its install.py, then run there: {runs}")
    print(f"{bundle_installer.digest(Path(bundle_installer.__file__))}  install.py")


def _with_terms(licence: str, terms: str) -> str:
    """A licence, and what it comes to where that is worth a look."""
    return f"{licence}  [{terms}]" if terms and terms != licence else licence


@app.command()
def licences(
    as_json: AsJson = False,
    cyclonedx: Annotated[
        bool, typer.Option("--cyclonedx", help="Print a bill of materials (SBOM): CycloneDX 1.6, JSON.")
    ] = False,
) -> None:
    """List the licences of all that is installed here for VOID, by what needs it, and of its weights."""
    from dataclasses import asdict

    from . import licences as licensing

    found = licensing.packages()
    if cyclonedx:
        from .sbom import cyclonedx as bill

        print_json(bill(found, licensing.WEIGHTS))
    elif as_json:
        print_json({"packages": [asdict(one) for one in found], "weights": [asdict(one) for one in licensing.WEIGHTS]})
    else:
        for one in found:
            needed = f"  (for {', '.join(one.extras)})" if one.extras else ""
            print(f"{one.name} {one.version}: {_with_terms(one.licence, one.terms)}{needed}")
            for (licence, terms), libraries in groupby(
                one.bundled, key=lambda library: (library.licence, library.terms)
            ):
                files = ", ".join(library.file for library in libraries)
                print(f"    brings {files}: {_with_terms(licence, terms)}")
        print("\nWeights, which do not come with VOID:")
        for weights in licensing.WEIGHTS:
            print(f"{weights.name}: {weights.licence}  ({weights.source})")
