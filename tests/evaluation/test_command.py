"""``void evaluate`` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ..commands import void

pytestmark = pytest.mark.slow


def test_a_suite_writes_page_figures_and_a_record_that_compares(shot: Path, tmp_path: Path) -> None:
    asked = ["evaluate", "--suite", shot, "--measure", "psnr", "--measure", "kept", "--baseline", "telea"]
    done = void(*asked, "-o", tmp_path / "out", "--record", tmp_path / "record.json")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["shot", "method", "psnr", "kept"]
    assert [line[1] for line in lines[1:4]] == ["given", "own", "telea"]
    version = tmp_path / "out" / "v001"
    data = json.loads((version / "evaluation.json").read_text())
    assert data["shots"][0]["name"] == "walkby"
    assert f"{data['total']['telea']['changed']['psnr']:.2f}" == lines[3][2]
    assert "data:image/jpeg" in (version / "evaluation.html").read_text()
    result = version / "jobs" / "walkby" / "given_quadmask"
    # the finished result is judged again as any other, and the baseline of the record is the same
    again = void(
        "evaluate", result, shot, "--measure", "psnr", "--baseline", "telea", "--compare", tmp_path / "record.json"
    )
    assert again.returncode == 0, again.stderr
    assert "methods, result: only now" in again.stdout
    assert "telea, figures" not in again.stdout
    assert void(*asked, "--record", tmp_path / "record.json").returncode == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "Name the results to judge, or with --suite the pairs to do"),
        (("here", "--seed", "3"), "--seed is for --suite"),
        (("--suite", "here"), "The suite here is no folder"),
        (("--suite", "here", "--quadmask", "q"), "leave --quadmask out"),
        (("here", "--only", "walk"), "--only chooses pairs of a --suite"),
        (("here", "there", "--baseline", "best"), "There is no baseline 'best'"),
        (("here", "there", "--compare", "no.json"), "no.json cannot be read as a record"),
    ],
)
def test_wrong_words_are_refused_before_a_version_is_made(
    words: tuple[str, ...], sentence: str, tmp_path: Path
) -> None:
    done = void("evaluate", *words, "-o", tmp_path / "out")
    assert done.returncode == 2
    assert not list(tmp_path.glob("out/*"))
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
