"""From the model's small frames to full size: better than enlarging them, measured with exact truth."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from void_server import pipeline
from void_server.api.shot import Settings, Shot
from void_server.api.version import VersionFolder
from void_server.engines.void.detail import enlarged, restored
from void_server.imaging import exr
from void_server.imaging.colour import Curve
from void_server.quadmask import classes
from void_server.sample import write_sample

SIZE = (640, 360)
#: 2.8 times smaller, as 1080p is to the published 384 lines.
MODEL = (224, 126)


def psnr(one: np.ndarray, other: np.ndarray, where: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((one - other)[where] ** 2)))


@pytest.mark.parametrize("scene", ["walkby", "pan", "handheld", "knock"])
def test_detail_beats_enlarging_by_3_db(scene: str, tmp_path: Path) -> None:
    write_sample(tmp_path / "s", scene, SIZE, range(1001, 1017))
    shot = Shot(str(tmp_path / "s/plate"), str(tmp_path / "s/roto"), settings=Settings(grain=False, reasoner="image"))
    out = tmp_path / "v001"
    out.mkdir()
    pipeline.run("0123456789ab", shot, out, lambda _: None)
    results = VersionFolder(out)
    light = np.linspace(0.75, 1.1, SIZE[0], dtype=np.float32)[None, :, None]
    measured = []
    for frame in range(1001, 1017, 3):
        linear = [exr.read_rgb(path) for path in (results.plate(frame), *(tmp_path / "s/truth").glob(f"*.{frame}.exr"))]
        curve = Curve(float(max(image.max() for image in linear)))
        clean, truth = map(curve.to_display, linear)
        window = exr.windows(results.quadmask(frame))[0]
        rewritten = classes.read(results.quadmask(frame), window) != classes.KEEP
        if rewritten.mean() < 0.001:
            continue
        # in place of the model's output: the truth, as small as the model works
        row = []
        for wanted in (truth, truth * light):
            small = cv2.resize(wanted, MODEL, interpolation=cv2.INTER_AREA)
            row += [psnr(made, wanted, rewritten) for made in (enlarged(small, *SIZE), restored(small, clean).rgb)]
        measured.append(row)
    lanczos, ours, lanczos_relit, ours_relit = np.mean(measured, axis=0)
    print(f"{scene}: Lanczos {lanczos:.1f} dB, detail restored {ours:.1f} dB", end="; ")
    print(f"relit: Lanczos {lanczos_relit:.1f} dB, detail restored {ours_relit:.1f} dB")
    assert ours - lanczos >= 3
    assert ours_relit - lanczos_relit >= 3


def test_where_the_model_shows_something_else_it_is_right() -> None:
    rng = np.random.default_rng(0)
    clean = cv2.GaussianBlur(rng.random((120, 160, 3), np.float32), (0, 0), 2)
    truth = clean.copy()
    truth[40:80, 60:100] = (0.9, 0.1, 0.1)
    small = cv2.resize(truth, (40, 30), interpolation=cv2.INTER_AREA)
    made = restored(small, clean).rgb
    assert np.abs(made[48:72, 68:92] - truth[48:72, 68:92]).max() < 0.08
    assert np.abs(made[:20] - clean[:20]).max() < 0.02


def test_brightness_follows_the_model() -> None:
    clean = np.full((80, 120, 3), 0.5, np.float32)
    made = restored(np.full((20, 30, 3), 0.53, np.float32), clean).rgb
    assert np.abs(made - 0.53).max() < 0.005
