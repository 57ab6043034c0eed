"""ftrack, through ftrack-python-api: an asset's version with frames, media and thumbnail, and a note.

Its client cannot be installed beside AYON's, which wants another websocket-client, so it may live in an environment of
its own. It runs in a process of that environment's Python, :mod:`.ftrack_client`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict

from ...api.errors import JobFailed, SettingError
from ...plugins import how_to_install
from ..publication import Publication
from . import Recipe, Target, needed, refused, unknown

#: The Python of the environment that has ftrack's client; by default the one that this runs in.
PYTHON = "FTRACK_PYTHON"
#: The type of the asset that versions belong to, as the site calls it: by default what the page's own uploads have.
ASSET_TYPE = "FTRACK_ASSET_TYPE"
#: How many seconds its client may take to load, also from a slow disk, and to publish, with the movie's upload.
_LOADING, _PUBLISHING = 120.0, 3600.0
_VARIABLES = ("FTRACK_SERVER", "FTRACK_API_KEY", "FTRACK_API_USER")


class Ftrack(Recipe):
    """Needs FTRACK_SERVER (``https://studio.ftrackapp.com``), FTRACK_API_KEY and FTRACK_API_USER, as its client."""

    title, module, extra = "ftrack", "ftrack_api", "ftrack"

    def check(self) -> None:
        """See :class:`Recipe`."""
        if _run("-c", f"import {self.module}", seconds=_LOADING).returncode:
            raise SettingError(
                f"{self.title}'s client does not load in {_python()}: {how_to_install(self.extra)}, or, beside AYON's "
                f"client, install it in an environment of its own and name that one's Python in ${PYTHON}."
            )

    def publish(self, publication: Publication, target: Target) -> str:
        """See :class:`Recipe`."""
        server = needed({name: os.environ.get(name) for name in _VARIABLES}, self.title)["FTRACK_SERVER"]
        said = {
            **asdict(target),
            "type": os.environ.get(ASSET_TYPE) or "Upload",
            "note": publication.note,
            "plates": publication.plates,
            "range": publication.said["range"],
            "thumbnail": str(publication.thumbnail),
            "contact_sheet": str(publication.file("contact_sheet")),
            "movie": str(publication.file("movie")) if publication.said["movie"] else "",
        }
        from . import ftrack_client

        done = _run(ftrack_client.__file__, said=json.dumps(said), seconds=_PUBLISHING)
        *_, last = done.stdout.splitlines() or [""]
        try:
            answer = dict(json.loads(last))
        except (ValueError, TypeError) as error:
            *_, why = done.stderr.splitlines() or [f"exit code {done.returncode}"]
            raise refused(self.title, server, f"its client in {_python()} ended early: {why}") from error
        if "unknown" in answer:
            raise unknown(self.title, *answer["unknown"])
        if "refused" in answer:
            raise refused(self.title, server, answer["refused"])
        return str(answer["told"])


def _python() -> str:
    return os.environ.get(PYTHON) or sys.executable


def _run(*words: str, said: str = "", seconds: float) -> subprocess.CompletedProcess[str]:
    """Run the Python that has ftrack's client, with this on its standard input.

    Raises :class:`SettingError` where it cannot be run, :class:`JobFailed` where it does not end within ``seconds``.
    """
    python = _python()
    # -I: with what is installed there, and nothing that lies about here
    command = [python, "-I", *words]
    try:
        return subprocess.run(
            command, input=said, capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=seconds
        )
    except OSError as error:
        raise SettingError(f"{python} cannot be run ({error.strerror}); correct ${PYTHON}.") from error
    except subprocess.TimeoutExpired:
        # its command is of no use to anybody
        raise JobFailed(
            f"ftrack's client in {python} did not end in {seconds:g} s; look at the network, and at ftrack for what it "
            "has of the version already."
        ) from None


RECIPE = Ftrack
