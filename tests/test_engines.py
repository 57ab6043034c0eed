"""Engines are found through their entry points; the one in docs/engines.md works as it stands there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from void_server import engines, pipeline, plugins
from void_server.api import Client
from void_server.api.errors import SettingError
from void_server.api.shot import Settings, Shot, title
from void_server.api.version import VersionFolder
from void_server.cli.declared import settings_of
from void_server.imaging import exr
from void_server.service.embedded import embedded_server

GUIDE = Path(__file__).resolve().parents[1] / "docs" / "engines.md"


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide's package, installed."""
    text = GUIDE.read_text()
    (tmp_path / "studio_engines.py").write_text("\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL)))
    info = tmp_path / "studio_engines-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: studio-engines\nVersion: 1.0\n")
    points = re.findall(r'^(\w+) = "(studio_engines:.*?)"', text, re.MULTILINE)
    (info / "entry_points.txt").write_text("\n".join(["[void_server.engines]", *map(" = ".join, points)]))
    monkeypatch.syspath_prepend(str(tmp_path))
    # for the processes that the test starts
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH")))))
    yield
    sys.modules.pop("studio_engines", None)


@pytest.mark.usefixtures("studio")
def test_the_guides_engine(shot: Path, tmp_path: Path) -> None:
    assert "average" in plugins.engines()
    job = Shot(str(shot / "plate"), str(shot / "roto"), settings=Settings(engine="average", grain=False))
    out = tmp_path / "v001"
    out.mkdir()
    pipeline.inspect(job)
    pipeline.run("0123456789ab", job, out, lambda _: None)
    new = exr.read_rgb(VersionFolder(out).plate(1006))
    plate, truth = (exr.read_rgb(next((shot / part).glob("*.1006.exr"))) for part in ("plate", "truth"))
    changed = (plate != new).any(axis=-1)
    assert np.abs(new - truth)[changed].mean() < 0.3 * np.abs(plate - truth)[changed].mean()
    with pytest.raises(SettingError, match="engine average would ignore steps, set to 3"):
        pipeline.inspect(Shot(job.plate, job.roto, settings=settings_of({"engine": "average", "steps": 3})))


@pytest.mark.usefixtures("studio")
def test_the_settings_of_an_engine_from_another_package_reach_command_server_and_manifest(
    shot: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", "from void_server.cli import main; main()", "remove"]
    wide = {**os.environ, "COLUMNS": "200"}
    shown = subprocess.run([*command, "--help"], env=wide, capture_output=True, text=True, check=True).stdout
    panel = shown[shown.index("Engine lifted") :]
    assert re.search(r"--lift +<float> +Added to the new pixels", panel)

    with embedded_server([shot, tmp_path]) as address, Client(address) as client:
        info = client.hello()
    (lift,) = info.settings["engines"]["lifted"]
    assert (lift.name, lift.type, lift.default, lift.low, lift.high) == ("lift", "float", 0.0, -1, 1)
    assert lift.long_help == "For hidden parts that lie darker."

    words = [str(shot / "plate"), str(shot / "roto"), "--frames", "1001-1003", "--reasoner", "none", "--no-progress"]
    said = ["--engine", "lifted", "--lift", "0.25", "-o", str(tmp_path / "out")]
    done = subprocess.run([*command, *words, *said], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "out/v001/job.json").read_text())
    assert manifest["shot"]["settings"]["engine_settings"] == {"lift": 0.25}
    assert manifest["settings"]["lift"] == 0.25
    assert "steps" not in manifest["settings"]

    for engine, value, why in (
        ("lifted", "2", "lift is 2; give a number from -1 to 1."),
        ("cleanplate", "0.1", "The engine cleanplate would ignore lift, set to 0.1"),
    ):
        said = ["--engine", engine, "--lift", value, "-o", str(tmp_path / "wrong")]
        done = subprocess.run([*command, *words, *said], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert why in done.stderr
    assert not (tmp_path / "wrong").exists()


def test_nothing_heavy_is_loaded_to_read_what_engines_and_reasoners_declare() -> None:
    code = (
        "import sys; from void_server import plugins\n"
        "assert plugins.declared(plugins.ENGINES)['void'] and plugins.declared(plugins.REASONERS)['gemini']\n"
        "print([name for name in ('cv2', 'numpy', 'torch', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_engine_that_is_not_there() -> None:
    with pytest.raises(SettingError, match="engine 'magic' is not installed; choose from cleanplate, void"):
        engines.load(Settings(engine="magic"))


def test_a_damaged_package_of_somebody_else_hides_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[void_server.engines]\nno equals sign\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert {"cleanplate", "void"} <= set(plugins.engines())
    assert engines.find("cleanplate")


def test_artists_have_a_name_for_every_engine_and_reasoner_of_ours() -> None:
    """On the node and in the report; the names themselves are what is saved, sent and typed."""
    assert not [name for name in (*plugins.engines(), *plugins.reasoners()) if title(name) == name]
    assert title("a_studios_own") == "a_studios_own"
