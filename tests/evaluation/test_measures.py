"""The measures agree with other people's programs, and say what they are said to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from void_server.evaluation import fidelity, motion, perception, seam
from void_server.evaluation.agreement import overlap
from void_server.evaluation.scoring import CHANGED, Sums
from void_server.evaluation.structure import slope, ssim
from void_server.imaging.exr import FloatImage
from void_server.imaging.flow import flow, luma

ROOT = Path(__file__).resolve().parents[2]


def pattern() -> tuple[FloatImage, FloatImage]:
    """A truth and a result, grey: what the figures of other programs were taken of."""
    y, x = np.indices((72, 96)).astype(np.float64)
    true = (0.5 + 0.4 * np.sin(x / 3) * np.cos(y / 5)).astype(np.float32)
    return true, (true * 0.9 + 0.05 + 0.03 * np.sin(x * 1.7 + y * 2.3)).astype(np.float32)


def coloured() -> tuple[FloatImage, FloatImage]:
    true, image = (np.stack([one, one[::-1], one[:, ::-1]], axis=-1) for one in pattern())
    return true, np.clip(image, 0, 1)


def test_ssim_is_that_of_scikit_image() -> None:
    true, image = pattern()
    # scikit-image 0.26, structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    # data_range=1, full=True); the borders are mirrored otherwise there
    found = ssim(true, image)
    assert found[8:-8, 8:-8].mean() == pytest.approx(0.9683791, abs=1e-5)
    assert found[36, 48] == pytest.approx(0.9751354, abs=2e-5)
    assert found[20, 70] == pytest.approx(0.9663199, abs=2e-5)


def test_psnr_is_that_of_scikit_image() -> None:
    true, image = pattern()
    squares = fidelity.squares(image[..., None], true[..., None])
    # scikit-image 0.26, peak_signal_noise_ratio(data_range=1)
    assert fidelity.psnr(float(squares.mean())) == pytest.approx(30.749003402967535, abs=1e-4)
    assert fidelity.psnr(0.0) == 120


def test_flip_is_what_flip_evaluator_says() -> None:
    flip_evaluator = pytest.importorskip("flip_evaluator", reason="FLIP was NOT tested: flip-evaluator is missing")
    true, image = coloured()
    everywhere = np.ones(true.shape[:2], bool)
    assert perception.flip(image, true, everywhere).mean() == pytest.approx(
        flip_evaluator.evaluate(true, image, "LDR", applyMagma=False)[1], abs=1e-5
    )
    bright = true * 4, image * 4
    assert perception.hdr_flip(bright[1], bright[0], everywhere).mean() == pytest.approx(
        flip_evaluator.evaluate(*bright, "HDR", inputsRGB=False, applyMagma=False)[1], abs=1e-5
    )


def test_flip_of_a_part_is_that_of_the_whole_frame() -> None:
    pytest.importorskip("flip_evaluator", reason="FLIP was NOT tested: flip-evaluator is missing")
    true, image = (np.tile(one, (2, 2, 1)) for one in coloured())
    whole = perception.flip(image, true, np.ones(true.shape[:2], bool))
    inner = np.zeros(true.shape[:2], bool)
    inner[60:70, 80:90] = True
    part = perception.flip(image, true, inner)
    assert part[inner] == pytest.approx(whole[inner], abs=1e-5)
    assert np.isnan(part[~inner]).all()


def large() -> tuple[FloatImage, FloatImage, NDArray[np.bool_]]:
    """A truth and a result of more than one tile, of values above 1, and two places far from each other."""
    true, image = (
        np.tile(one, (5, 6, 1)) * np.geomspace(0.01, 90, 6 * 96, dtype=np.float32)[:, None] for one in coloured()
    )
    where = np.zeros(true.shape[:2], bool)
    where[20:50, 30:40] = where[300:310, 500:560] = True
    return true, image, where


def test_hdr_flip_where_little_changes_is_that_of_the_whole_frame() -> None:
    """Its exposures come from all of the frame, though only tiles of it are looked at."""
    flip_evaluator = pytest.importorskip("flip_evaluator", reason="FLIP was NOT tested: flip-evaluator is missing")
    true, image, where = large()
    whole = flip_evaluator.evaluate(true, image, "HDR", inputsRGB=False, applyMagma=False, computeMeanError=False)
    assert whole[2]["numExposures"] > 2
    assert perception.hdr_flip(image, true, where)[where] == pytest.approx(whole[0][..., 0][where], abs=1e-3)


def test_flip_looks_only_near_what_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes seconds for a million pixels, times the exposures: minutes for a frame of 4K."""
    flip_evaluator = pytest.importorskip("flip_evaluator", reason="FLIP was NOT tested: flip-evaluator is missing")
    evaluate, looked_at = flip_evaluator.evaluate, []

    def counting(true: FloatImage, *given: Any, **options: Any) -> Any:
        looked_at.append(true.shape[0] * true.shape[1])
        return evaluate(true, *given, **options)

    monkeypatch.setattr(flip_evaluator, "evaluate", counting)
    true, image, where = large()
    perception.flip(np.clip(image, 0, 1), np.clip(true, 0, 1), where)
    assert 0 < sum(looked_at) < 0.06 * where.size
    looked_at.clear()
    perception.hdr_flip(image, true, where)
    assert 0 < sum(looked_at) < 0.06 * where.size


def test_where_much_changes_flip_is_of_tiles_spread_over_all(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("flip_evaluator", reason="FLIP was NOT tested: flip-evaluator is missing")
    true, image, where = large()
    true, image, where = np.clip(true, 0, 1), np.clip(image, 0, 1), np.ones_like(where)
    whole = perception.flip(image, true, where)
    monkeypatch.setattr(perception, "MOST", where.size // 3)
    part = perception.flip(image, true, where)
    known = np.isfinite(part)
    assert where.size / 5 < known.sum() <= where.size // 3
    assert all(side.any() for side in (known[:100], known[-100:], known[:, :100], known[:, -100:]))
    assert part[known] == pytest.approx(whole[known], abs=1e-5)
    sums = Sums()
    sums.count(CHANGED, where.size)
    sums.add(CHANGED, "FLIP", part[where])
    assert sums.figures()["FLIP"] == pytest.approx(float(part[known].mean()), abs=1e-6)


def test_a_black_truth_is_judged_at_its_own_exposure() -> None:
    """Of black FLIP derives no exposures, and ends the process."""
    pytest.importorskip("flip_evaluator", reason="FLIP was NOT tested: flip-evaluator is missing")
    script = """
import numpy as np
from void_server.evaluation.perception import hdr_flip
black, everywhere = np.zeros((32, 32, 3), np.float32), np.ones((32, 32), bool)
assert hdr_flip(black, black, everywhere).max() == 0
assert 0.9 < hdr_flip(black + 1, black, everywhere).mean() <= 1
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_moves_as_the_truth_does_neither_drifts_nor_flickers() -> None:
    texture = cv2.GaussianBlur(np.random.default_rng(3).random((64, 96), np.float32), (0, 0), 2)
    texture = (texture - texture.min()) / np.ptp(texture)
    before, now = texture[:, 4:], texture[:, :-4]
    way = flow(now, before)
    middle = (slice(12, -12), slice(12, -12))
    assert np.median(way[middle], axis=(0, 1)) == pytest.approx([-4, 0], abs=0.2)
    assert motion.warp_error(now, before, way)[middle].mean() < 0.02
    # the same picture twice does not move along
    assert motion.warp_error(before, before, way)[middle].mean() > 0.05
    rgb = np.repeat(now[..., None], 3, axis=-1), np.repeat(before[..., None], 3, axis=-1)
    assert motion.flicker(*rgb, *rgb).max() == 0
    assert motion.flicker(rgb[0] + 0.1, rgb[1], *rgb) == pytest.approx(np.full(now.shape, 0.1), abs=1e-6)


def test_a_blurred_result_has_less_detail() -> None:
    image = luma(np.random.default_rng(4).random((64, 64, 3), np.float32))
    assert slope(cv2.GaussianBlur(image, (0, 0), 2)).mean() < 0.3 * slope(image).mean()
    ramp = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (64, 1))
    assert slope(ramp)[:, 1:-1] == pytest.approx(np.full((64, 62), 1 / 63), abs=1e-6)


def test_a_seam_is_steeper_than_what_is_near() -> None:
    region = np.zeros((64, 64), bool)
    region[20:44, 20:44] = True
    border, nearby = seam.bands(region)
    assert border[20, 30]
    assert border[19, 30]
    assert not border[32, 32]
    assert nearby[32, 28]
    assert not (border & nearby).any()
    steep = slope(region.astype(np.float32) * np.float32(0.2) + np.float32(0.4))
    assert steep[border].mean() > 0.05
    assert steep[nearby].max() == 0


def test_the_overlap_of_masks() -> None:
    one, other = np.zeros((2, 4), bool), np.zeros((2, 4), bool)
    one[0], other[:, :2] = True, True
    assert overlap([(one, other)]) == pytest.approx(2 / 6)
    assert overlap([(one, one), (other, ~other)]) == pytest.approx(4 / 12)
    assert overlap([(one & ~one, one & ~one)]) == 0
