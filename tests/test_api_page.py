"""docs/api.md: its example runs as it stands there, and its tables are the code's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tools import api_tables
from void_server.api.settings import declarations
from void_server.api.shot import Settings
from void_server.engines.void.settings import VoidSettings
from void_server.service.embedded import embedded_server


def test_the_pages_example(shot: Path, tmp_path: Path) -> None:
    example = tmp_path / "remove.py"
    example.write_text(re.findall(r"```python\n(.*?)```", api_tables.PAGE.read_text(), re.DOTALL)[0])
    out = tmp_path / "out"

    def run(plate: Path) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, str(example), str(plate), str(shot / "roto"), str(out)]
        variables = {**os.environ, "VOID_SERVER": address, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
        return subprocess.run(words, env=variables, capture_output=True, text=True, check=False, timeout=120)

    with embedded_server([shot, out]) as address:
        done = run(shot / "plate")
        assert done.returncode == 0, done.stderr
        assert "100% done" in done.stdout
        assert done.stdout.splitlines()[-1] == str(out / "v001")
        assert len(list((out / "v001" / "plate").iterdir())) == 4
        wrong = run(shot / "nowhere")
        assert wrong.returncode == 1
        assert wrong.stderr.startswith("correct this: The plate ")
    assert [folder.name for folder in out.iterdir()] == ["v001"]


def test_the_pages_tables_are_the_codes() -> None:
    text = api_tables.PAGE.read_text(encoding="utf-8")
    assert set(re.findall(r"<!-- (\w+) -->", text)) == {*api_tables.tables(), "end"}
    assert api_tables.page(text) == text, "run: python tools/api_tables.py"
    for one in (*declarations(Settings), *declarations(VoidSettings)):
        assert f"| `{one.name}` |" in text
