"""The VOID engine on tiny random weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

try:
    import torch  # noqa: F401
    from random_weights import write
except ImportError as error:
    MISSING = str(error)
    collect_ignore_glob = ["test_*.py"]
else:
    MISSING = ""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out, and why."""
    if MISSING:
        terminalreporter.write_line(f"tests/void was NOT run ({MISSING}): make test EXTRAS=dev,void")


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights."""
    return write(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def own_weights(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them that a test may change, and that its jobs use."""
    folder = shutil.copytree(weights, tmp_path / "weights")
    monkeypatch.setenv("VOID_WEIGHTS", str(folder))
    return folder
