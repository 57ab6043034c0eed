"""The benchmark of the engine measures what it says, on tiny weights."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch

from void_server.engines.void import fit
from void_server.engines.void.model import Model
from void_server.engines.void.sampling import Conditioning, Sampler, embed, starting_noise
from void_server.engines.void.weights import Weights
from void_server.engines.void.windows import plan

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
STEPS = 8


def benchmark(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    return importlib.import_module(name)


def test_every_row_is_measured(
    weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = benchmark("void_engine", monkeypatch)
    # a quarter of the least, for quickness
    monkeypatch.setattr(fit, "clip_length", lambda _: 21)
    bench.report(Weights(weights), (CPU,), bench.Case(1, 64, 21, STEPS), ["exact"], ["native"], 4, True)
    printed = capsys.readouterr().out
    rows = re.findall(r"^(\w[\w., ]*?) {2,}.* (\d+) +([\d.]+)% +([\d.]+|inf)$", printed, re.MULTILINE)
    found = {name: (int(calls), float(differs), float(psnr)) for name, calls, differs, psnr in rows}
    assert found["exact"] == (STEPS, 0, float("inf"))
    assert found["exact, dpm 4"][0] == 4
    for name in ("exact, float8", "exact, fast"):
        assert 0 < found[name][1] < 2
        assert 40 < found[name][2] < 80
    for name in ("mag 0.06", "mag 0.12", "taylor 3", "taylor 5"):
        assert 0 < found[name][0] < STEPS
        assert found[name][1] > 0
    assert found["NDHWC"][2] > 90
    assert {"exact, cold", "exact, cache", "block 0.05", "block 0.1"} <= set(found)


def test_caches_remember_for_as_long_as_they_should(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = benchmark("step_caches", monkeypatch)
    torch.manual_seed(1)
    model = Model(Weights(weights), CPU)
    transformer = model.transformer(1)
    given = Conditioning(torch.randn(1, 16, 6, 4, 6), torch.randn(1, 16, 6, 4, 6))
    sampler = Sampler(1, plan(6, 22), STEPS, 1.0, embed(model, "a lime falls"))

    def run() -> tuple[torch.Tensor, int]:
        calls = bench.Calls(transformer)
        made = sampler.run(model, starting_noise((1, 6, 16, 4, 6), 1), given, lambda *_: None)
        calls.end()
        return made, calls.count

    exact, count = run()
    assert count == STEPS
    with bench.measuring_ratios(transformer, STEPS) as ratios:
        calibrated, count = run()
    assert count == STEPS
    assert torch.equal(calibrated, exact)
    assert len(ratios) == STEPS
    for name, config in bench.caches(STEPS, ratios).items():
        if name.startswith("block"):
            # random weights change more from step to step than trained ones
            config.threshold = 2.0
        for _ in range(2):
            # the second time it has forgotten the first
            with bench.remembering(transformer, config):
                made, count = run()
            assert 0 < count < STEPS, name
            assert 0 < (made - exact).abs().mean() / exact.abs().mean() < 0.2, name
    made, _ = run()
    assert torch.equal(made, exact)
