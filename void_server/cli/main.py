"""The command ``void``, put together. The help lists commands in the order in which their modules are imported."""

# ruff: noqa: I001 -- the order of the help
# Only what is light is imported up here: `void --help` must not wait for OpenCV. Commands import what they use.

from __future__ import annotations

import sys

from . import removal, machine, jobs, evaluation, publishing, distribution, training  # noqa: F401
from .serving import keys_app
from .app import app
from .farm import app as farm_app
from .frame import run
from . import farm_jobs  # noqa: F401
from .pairs import app as pairs_app
from . import pair_making  # noqa: F401

app.add_typer(keys_app, name="keys")
app.add_typer(farm_app, name="farm")
app.add_typer(pairs_app, name="pairs")


def main() -> None:
    """Entry point of the console script: errors become a sentence and an exit code."""
    sys.exit(run(app))
