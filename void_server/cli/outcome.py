"""How a command that runs a job ends: the result and its warnings, or the error with the job that it belongs to."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..api.errors import VoidError
from ..api.job import Job
from ..api.version import VersionFolder
from ..interruption import Interrupted
from .frame import failed, print_json

if TYPE_CHECKING:
    from .errand import Errand


@contextmanager
def naming(errand: Errand) -> Iterator[None]:
    """Let an error in here be told with the job's id and folder, once it has them."""
    try:
        yield
    except (VoidError, Interrupted) as error:
        if errand.job is None:
            raise
        raise typer.Exit(failed(error, id=errand.job.id, folder=errand.job.folder)) from error


def conclude(job: Job, folder: Path, as_json: bool = False) -> None:
    """Say where the result of a finished job is, with its warnings."""
    if as_json:
        for warning in job.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        version = VersionFolder(folder)
        files = {"contact_sheet": str(version.contact_sheet), "report": str(version.report)}
        print_json({**job.to_dict(), "folder": str(folder), **files})
        return
    print(f"result         {folder}")
    show(job.warnings, folder)


def show(warnings: Sequence[str], folder: Path) -> None:
    """What there is to look at in a version folder, and what its maker should know."""
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    version = VersionFolder(folder)
    print(f"contact sheet  {version.contact_sheet}")
    print(f"report         {version.report}")
