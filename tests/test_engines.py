"""Engines are found through their entry points; the one in docs/engines.md works as it stands there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from void_server import engines, pipeline, plugins
from void_server.api.errors import SettingError
from void_server.api.shot import Settings, Shot
from void_server.api.version import VersionFolder
from void_server.imaging import exr

GUIDE = Path(__file__).resolve().parents[1] / "docs" / "engines.md"


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide's package, installed."""
    text = GUIDE.read_text()
    (tmp_path / "studio_engines.py").write_text(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0])
    info = tmp_path / "studio_engines-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: studio-engines\nVersion: 1.0\n")
    point = re.search(r'(average = )"(.*?)"', text)
    assert point
    (info / "entry_points.txt").write_text(f"[void_server.engines]\n{point[1]}{point[2]}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
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
        pipeline.inspect(Shot(job.plate, job.roto, settings=Settings(engine="average", steps=3)))


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
