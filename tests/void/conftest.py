"""The VOID engine on tiny random weights."""

from __future__ import annotations

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
