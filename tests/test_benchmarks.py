"""The benchmark of the server bears what ends while it looks, and names words that it does not know."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import psutil
import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


class Thread(NamedTuple):
    """A thread as psutil lists it."""

    id: int
    user_time: float
    system_time: float


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("server")


def ended() -> psutil.Process:
    """A process that has ended since it was listed."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        return psutil.Process(process.pid)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is needed: NOT tested")
def test_threads_and_children_that_end_while_they_are_counted_do_not_end_the_run(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = ended()
    monkeypatch.setattr(psutil.Process, "threads", lambda _: [Thread(gone.pid, 1.0, 1.0)])
    monkeypatch.setattr(psutil.Process, "children", lambda _: [gone])
    assert set(bench.Cpu(os.getpid()).used()) == {"server", "its loop", "its ZeroMQ", "workers and inspections"}


def test_a_client_that_has_ended_costs_no_processor_time(bench: ModuleType) -> None:
    over = multiprocessing.get_context("spawn").Process(target=print)
    over.start()
    over.join()
    assert bench.cpu_of([over]) == 0


def test_clients_that_the_benchmark_does_not_know_are_named() -> None:
    words = [sys.executable, str(BENCHMARKS / "server.py"), "--bad", "flooding,sleeping"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there is no 'sleeping'; choose from never_reading, flooding, dying" in done.stderr
