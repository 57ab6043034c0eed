"""What `void doctor` says of graphics cards, and of the torch that is installed."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from void_server.cli import doctor
from void_server.cli.doctor import Finding
from void_server.engines.void import support
from void_server.engines.void.weights import BASE
from void_server.pairs import renderer


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A machine with cards, as its driver's tool tells of them, and with a torch and its libraries."""

    def make(cards: str, torch: str = "2.13.0", cuda: str = "'12.8'", cudnn: str = "") -> dict[str, Finding]:
        tool = tmp_path / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\nprintf '{cards}'\n")
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        package = tmp_path / "site" / "torch"
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").write_text("raise ImportError('it takes seconds to import')")
        (package / "version.py").write_text(f"cuda = {cuda}\n")
        monkeypatch.syspath_prepend(str(package.parent))
        monkeypatch.delitem(sys.modules, "torch", raising=False)
        found = {"torch": torch, "nvidia-cudnn-cu12": cudnn}

        def version(name: str) -> str:
            if not found.get(name):
                raise PackageNotFoundError(name)
            return found[name]

        monkeypatch.setattr(doctor, "version", version)
        return {finding.subject: finding for finding in doctor._gpu()}

    return make


def test_each_card_is_told_with_the_memory_setting_that_fits(machine) -> None:
    found = machine(
        "0, NVIDIA GeForce RTX 4090, 24564, 8.9\\n1, NVIDIA GeForce RTX 3070, 8192, 8.6\\n2, NVIDIA T1000, 2048, 8.6\\n"
    )
    assert "24.0 GiB; memory exact fits" in found["GPU 0"].found
    assert "8.0 GiB; memory tiled fits" in found["GPU 1"].found
    assert "too small for 384 lines" in found["GPU 2"].found
    assert [found[f"GPU {index}"].good for index in range(3)] == [True, True, False]
    assert found["torch"].good
    assert found["torch"].command == "void parity --quick --device cuda"


def test_each_card_is_told_with_the_precision_of_fast(machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "installed", lambda _: True)
    monkeypatch.setattr(support, "_lacks_to_compile", lambda: "")
    cards = "0, NVIDIA GeForce RTX 4090, 24564, 8.9\\n1, NVIDIA GeForce RTX 3090, 24576, 8.6\\n"
    found = machine(cards)
    assert found["GPU 0"].found.endswith("fast multiplies in float8")
    assert found["GPU 1"].found.endswith("fast multiplies in bfloat16, as the card is older than Ada (2022)")
    assert machine(cards, torch="2.8.0")["GPU 0"].found.endswith("in bfloat16, as torch is older than 2.10")


def test_a_card_without_bfloat16_is_named(machine) -> None:
    found = machine("0, Tesla V100-SXM2-32GB, 32768, 7.0\\n")
    assert not found["GPU 0"].good
    assert "Ampere" in found["GPU 0"].remedy


def test_a_torch_without_cuda_beside_a_card_is_named(machine) -> None:
    found = machine("0, NVIDIA L40S, 46068, 8.9\\n", cuda="None")["torch"]
    assert not found.good
    assert "knows no GPU" in found.remedy


@pytest.mark.parametrize(
    ("torch", "cudnn", "fault"),
    [
        ("2.9.1", "9.12.0.46", "166643"),
        ("2.8.0", "9.10.2.21", "163539"),
        ("2.8.0", "9.8.0.87", "163539"),
        ("2.8.0", "9.7.1.26", ""),
        ("2.13.0", "9.20.0.48", ""),
        ("2.5.1+cu124", "9.1.0.70", "needs 2.6 or later"),
    ],
)
def test_versions_that_compute_wrongly_are_named(machine, torch: str, cudnn: str, fault: str) -> None:
    found = machine("0, NVIDIA L40S, 46068, 8.9\\n", torch, cudnn=cudnn)["torch"]
    assert found.good == (not fault)
    assert fault in found.remedy


def test_where_to_get_the_weights_is_said_before_there_is_a_folder_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOID_WEIGHTS", raising=False)
    said = [f"{found.subject}: {found.remedy}" for found in doctor._weights()]
    assert any("void_pass1.safetensors: netflix/void-model, on Hugging Face" in one for one in said)
    assert any(f"{BASE}: " in one and "on Hugging Face" in one and "licence" in one for one in said)


def test_a_list_of_shards_that_cannot_be_read_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = tmp_path / BASE / "text_encoder" / "model.safetensors.index.json"
    index.parent.mkdir(parents=True)
    index.write_text("{")
    monkeypatch.setenv("VOID_WEIGHTS", str(tmp_path))
    (found,) = doctor._weights()
    assert not found.good
    assert "cannot be read as the list of the text encoder's files" in found.found


def test_a_machine_without_cards_may_have_a_torch_without_cuda(machine) -> None:
    found = machine("", cuda="None")
    assert not found["GPU"].good
    assert found["torch"].good
    assert found["torch"].command == "void parity --quick"


def test_blender_is_looked_for_where_pairs_would_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blender = tmp_path / "blender"
    blender.write_text("#!/bin/sh\n")
    blender.chmod(0o755)
    monkeypatch.setenv("VOID_BLENDER", str(blender))
    found = doctor._blender()
    assert (found.good, found.found, found.needed) == (True, str(blender), False)
    monkeypatch.setenv("VOID_BLENDER", "/nowhere/blender")
    found = doctor._blender()
    assert not found.good
    assert "/nowhere/blender" in found.remedy
    monkeypatch.delenv("VOID_BLENDER")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(renderer, "_BESIDE", str(tmp_path / "none"))
    assert doctor._blender().found == str(blender)
