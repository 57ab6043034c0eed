"""Things that many tests need."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray

from void_server.imaging import exr
from void_server.sample import write_sample

# A shell's background jobs ignore Ctrl-C, and those of nohup SIGHUP; so would all that tests start, but that handlers
# are not inherited.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)

# On a machine that is busy, an example may take longer than Hypothesis' 200 ms.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The engine's tests first: their files take longest, and one that begins last leaves the other cores waiting."""
    items.sort(key=lambda item: item.path.parent.name != "void")


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the state of whoever runs it."""
    monkeypatch.setenv("VOID_HOME", str(tmp_path_factory.mktemp("home")))
    for name in ("VOID_SERVER", "VOID_KEY", "VOID_SERVER_KEY", "VOID_POLICY", "OCIO", "VOID_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def shot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small sample shot of 12 frames: plate, roto, truth, change."""
    folder = tmp_path_factory.mktemp("sample") / "walkby"
    write_sample(folder, "walkby", (192, 108), range(1001, 1013))
    return folder


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of rendered shots and real footage beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not there: rendered scenes and real footage were NOT tested")
    return SHARED


def write_sequence(
    folder: Path,
    frames: range,
    pixels: NDArray[np.floating],
    channels: tuple[str, ...] = exr.RGB,
    name: str = "plate",
) -> Path:
    """Write the same (height, width, channels) picture as every frame; returns the folder."""
    for frame in frames:
        exr.write(folder / f"{name}.{frame:04d}.exr", pixels.astype(np.float16), channels)
    return folder
