"""The sample shots are what they say: exact ground truth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from void_server.imaging import exr, sequence
from void_server.imaging.window import Window
from void_server.sample import SCENES, Film, write_sample


@pytest.mark.parametrize("scene", sorted(SCENES))
def test_plate_and_truth_differ_only_where_the_object_acts(scene: str) -> None:
    film = Film(SCENES[scene], 192, 108)
    for moment in (0.1, 0.5, 0.9):
        frame = film.frame(moment, 7)
        differs = (frame.plate != frame.truth).any(axis=-1)
        assert 0.02 < differs.mean() < 0.5
        assert ((frame.change > 0) <= differs).all()
        assert (frame.change[frame.roto >= 0.5] == 0).all()
        assert frame.plate.max() > 5
        assert np.isfinite(frame.plate).all()


def test_without_the_figure_the_ball_rests() -> None:
    film = Film(SCENES["knock"], 192, 108)
    early, late = film.frame(0.05, 7), film.frame(0.95, 7)
    assert np.array_equal(early.truth, late.truth)
    ball = np.s_[82:95, 88:104]
    assert np.abs(late.plate[ball] - late.truth[ball]).mean() > 0.05


def test_without_the_figure_the_blocks_stand_and_with_it_they_fall_one_after_another() -> None:
    film = Film(SCENES["chain"], 192, 108)
    early, middle, late = (film.frame(moment, 7) for moment in (0.05, 0.5, 0.95))
    assert np.array_equal(early.truth, late.truth)
    first, last = np.s_[76:95, 91:96], np.s_[76:95, 138:143]
    moved = [[np.abs(frame.plate - frame.truth)[block].mean() for block in (first, last)] for frame in (middle, late)]
    assert moved[0][0] > 0.05 > moved[0][1]
    assert min(moved[1]) > 0.05


def test_light_that_fades_water_and_a_passer_by_are_in_the_truth_too() -> None:
    for scene, where in (("fade", np.s_[:60, :20]), ("water", np.s_[54:64]), ("passer", np.s_[40:80])):
        film = Film(SCENES[scene], 192, 108, grain=False)
        early, late = film.frame(0.1, 7), film.frame(0.8, 7)
        assert np.abs(early.truth - late.truth)[where].mean() > 0.01


def test_frames_are_the_same_each_time_and_their_grain_differs() -> None:
    one, other = (Film(SCENES["pan"], 96, 54).frame(0.3, 1001) for _ in range(2))
    assert np.array_equal(one.plate, other.plate)
    assert not np.array_equal(one.truth, Film(SCENES["pan"], 96, 54).frame(0.3, 1002).truth)


def test_the_files(tmp_path: Path) -> None:
    write_sample(tmp_path / "shot", "walkby", (64, 36), range(-2, 2))
    for name, channels in (("plate", "BGR"), ("truth", "BGR"), ("roto", "A"), ("change", "Y")):
        found = sequence.find(str(tmp_path / "shot" / name))
        assert found.frames == (-2, -1, 0, 1)
        assert set("".join(exr.channel_names(found.path(-2)))) == set(channels)
        assert exr.windows(found.path(0))[1] == Window(0, 0, 64, 36)
    meta = json.loads((tmp_path / "shot/meta.json").read_text())
    assert (meta["first"], meta["last"], meta["width"], meta["height"]) == (-2, 1, 64, 36)
