"""A shot to submit, and a site whose tasks run this checkout."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from void_server import pipeline
from void_server.api.shot import Shot
from void_server.api.version import VersionFolder
from void_server.cli.declared import settings_of
from void_server.farm.fields import Fields
from void_server.farm.site import Site
from void_server.farm.submit import Wanted
from void_server.imaging import exr

from . import gated as gate

VOID = (sys.executable, "-c", "from void_server.cli import main; main()")


@pytest.fixture
def site() -> Site:
    return Site(command=VOID)


@pytest.fixture
def gated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A site whose finishing tasks stop in their middle; they go on once :func:`open_gate` was called."""
    monkeypatch.setenv("GATE", str(tmp_path / "gate"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    return Site(command=gate.COMMAND, environment=("GATE", "PYTHONPATH", "VOID_HOME"))


@pytest.fixture
def wanted(shot: Path, tmp_path: Path) -> Callable[..., Wanted]:
    def make(settings: dict[str, Any] | None = None, **fields: Any) -> Wanted:
        asked = Shot(str(shot / "plate"), str(shot / "roto"), settings=settings_of(settings or {}))
        return Wanted(asked, tmp_path / "out", Fields(**{"frames_per_task": 5, **fields}))

    return make


@pytest.fixture(scope="session")
def whole(shot: Path, tmp_path_factory: pytest.TempPathFactory) -> VersionFolder:
    """The same shot, done in one piece."""
    folder = tmp_path_factory.mktemp("whole") / "v001"
    folder.mkdir()
    pipeline.run("0123456789ab", Shot(str(shot / "plate"), str(shot / "roto")), folder, lambda _: None)
    return VersionFolder(folder)


def open_gate(frames: int = 1000) -> None:
    """Let so many more frames be finished."""
    gate = Path(os.environ["GATE"])
    gate.with_suffix(".new").write_text(str(frames))
    gate.with_suffix(".new").replace(gate)


def same(one: VersionFolder, other: VersionFolder) -> bool:
    """Whether all frames of two jobs are equal to the bit, plates, patches and mattes."""
    files = sorted(path.relative_to(one.folder) for path in one.folder.glob("*/void_*.exr"))
    assert files == sorted(path.relative_to(other.folder) for path in other.folder.glob("*/void_*.exr"))
    assert len(files) == 4 * 12
    for file in files:
        names = exr.channel_names(one.folder / file)
        window = exr.windows(one.folder / file)[0]
        pixels = [exr.read_channels(folder / file, names, window) for folder in (one.folder, other.folder)]
        if not np.array_equal(*pixels):
            return False
    return True
