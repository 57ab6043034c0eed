"""What moves by itself behind the removed object, on small painted shots whose answer is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from void_server import engines
from void_server.api.shot import SCENE_LINEAR_REC709, Settings, Shot
from void_server.engines import Clip
from void_server.engines.cleanplate.living import Living
from void_server.engines.origin import FILLED
from void_server.imaging import exr, sequence
from void_server.imaging.colour import ColourSpace
from void_server.imaging.exr import FloatImage
from void_server.imaging.footage import Footage
from void_server.imaging.window import Window
from void_server.sample import actors
from void_server.sample.stage import paint

HEIGHT, WIDTH, COUNT = 180, 320, 24


@dataclass(frozen=True)
class Mover:
    """A car that drives behind the object: from x to x in pixels, ``tall`` at the shot's begin and end."""

    begin: float
    end: float
    tall: tuple[float, float] = (24.0, 24.0)
    walks: bool = False

    def over(self, scene: FloatImage, moment: float) -> FloatImage:
        height = round(self.tall[0] + (self.tall[1] - self.tall[0]) * moment)
        x, y = self.begin + (self.end - self.begin) * moment, 0.72 * HEIGHT
        sprite = actors.figure(3 * height, moment * 6) if self.walks else car(120)
        scale = height / (40.0 if not self.walks else 3 * height / 2)
        size = (WIDTH, HEIGHT)
        place = np.array([[scale, 0, x - scale * sprite.shape[1] / 2], [0, scale, y - scale * sprite.shape[0] * 0.9]])
        shown = cv2.warpAffine(sprite, place, size, flags=cv2.INTER_AREA)
        cast = np.array([[scale, 0, x - scale * sprite.shape[1] / 2 + 10], [0, scale * 0.3, y - scale * 26]])
        shadow = cv2.GaussianBlur(cv2.warpAffine(np.ascontiguousarray(sprite[..., 3]), cast, size), (0, 0), 2)
        ground = scene * (1 - np.float32(0.5) * shadow[..., None])
        return ground * (1 - shown[..., 3:]) + shown[..., :3]


def car(size: int) -> FloatImage:
    """A car of several colours, premultiplied (size, size, 4), 40 pixels tall at 120."""
    picture = np.zeros((size, size, 4), np.float32)
    ink = np.random.default_rng(2).uniform(0.7, 1.1, (size, size, 1)).astype(np.float32)
    for (left, top, right, bottom), colour in (
        ((0.1, 0.62, 0.9, 0.8), (0.55, 0.05, 0.04)),
        ((0.35, 0.47, 0.75, 0.62), (0.6, 0.55, 0.3)),
        ((0.15, 0.76, 0.3, 0.9), (0.02, 0.02, 0.03)),
        ((0.65, 0.76, 0.8, 0.9), (0.02, 0.02, 0.03)),
        ((0.1, 0.66, 0.9, 0.68), (0.7, 0.7, 0.7)),
    ):
        part = np.s_[round(top * size) : round(bottom * size), round(left * size) : round(right * size)]
        picture[part] = (*colour, 1)
    picture[..., :3] *= ink
    return cv2.GaussianBlur(picture, (0, 0), 0.8)


@dataclass(frozen=True)
class Made:
    """A shot: what is recovered of it, by frame, beside the truth; all display-referred."""

    clip: Clip
    truth: list[FloatImage]
    new: dict[int, tuple[FloatImage, Window]]

    def error(self, at: Callable[[int], NDArray[np.bool_]] | None = None) -> float:
        """The root mean square error of rewritten pixels."""
        squares: list[FloatImage] = []
        for index, (rgb, window) in self.new.items():
            chosen = self.clip.rewritten(index, window)
            if at is not None:
                chosen = chosen & at(index)[window.y : window.bottom, window.x : window.right]
            squares.append(((rgb - self.truth[index][window.y : window.bottom, window.x : window.right]) ** 2)[chosen])
        return float(np.sqrt(np.concatenate(squares).mean()))


@pytest.fixture(scope="module")
def empty() -> FloatImage:
    return np.clip(paint(HEIGHT, WIDTH, np.random.default_rng(3)), 0.02, 0.8)


Make = Callable[..., Made]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    (tmp_path / "scratch").mkdir()

    def shot(
        backdrop: Callable[[int], FloatImage],
        *,
        wide: int = 26,
        begin: float = 0.25,
        end: float = 0.6,
        gap: int = COUNT,
    ) -> Made:
        """From frame index ``gap`` on, frames are numbered as if a hundred were left out."""
        rng, truths = np.random.default_rng(9), []
        for index in range(COUNT):
            moment = index / (COUNT - 1)
            truth = backdrop(index)
            x = round(WIDTH * (begin + (end - begin) * moment))
            mask = np.zeros((HEIGHT, WIDTH), bool)
            mask[50:160, x : x + wide] = True
            plate = np.where(mask[..., None], np.float32((0.1, 0.4, 0.15)), truth)
            grain = 1 + np.float32(0.01) * rng.standard_normal(plate.shape).astype(np.float32)
            for name, picture in (("plate", plate * grain), ("roto", mask[..., None]), ("q", 1.0 - mask[..., None])):
                channels = exr.RGB if name == "plate" else ("A",) if name == "roto" else ("Y",)
                frame = index + 100 * (index >= gap)
                exr.write(tmp_path / name / f"{name}.{frame:04d}.exr", picture.astype(np.float16), channels)
            truths.append(truth)
        plate_files, roto = (sequence.find(str(tmp_path / name)) for name in ("plate", "roto"))
        canvas = Window(0, 0, WIDTH, HEIGHT)
        colour = ColourSpace(SCENE_LINEAR_REC709)
        footage = Footage(plate_files, roto, plate_files.frames, colour, canvas, tmp_path / "work")
        footage.look(lambda _: None)
        job = Shot(str(tmp_path / "plate"), str(tmp_path / "roto"), quadmask=str(tmp_path / "q"), settings=Settings())
        clip = Clip(footage, lambda frame: tmp_path / f"q/q.{frame:04d}.exr", job, tmp_path / "scratch")
        made = engines.load(job.settings).synthesise(clip, range(COUNT), lambda _: None)
        new = {pixels.index: (pixels.rgb, pixels.window) for pixels in made}
        return Made(clip, [footage.curve.to_display(truth) for truth in truths], new)

    return shot


def beside(made: Made, empty: FloatImage) -> Callable[[int], NDArray[np.bool_]]:
    """Where the truth is not the empty scene."""
    rest = made.clip.footage.curve.to_display(empty)
    return lambda index: np.abs(made.truth[index] - rest).max(axis=-1) > 0.03


@pytest.mark.parametrize(
    "mover",
    [
        Mover(300, 40),
        Mover(20, 300),
        Mover(290, 30, (20, 30)),
        Mover(270, 60, (12, 12)),
    ],
    ids=["left", "right, faster", "nearer", "small, wholly hidden"],
)
def test_a_rigid_thing_that_passes_behind_is_whole(make: Make, empty: FloatImage, mover: Mover) -> None:
    made = make(lambda index: mover.over(empty, index / (COUNT - 1)))
    assert made.error(beside(made, empty)) < 0.05
    assert made.error() < 0.03


def test_it_is_whole_while_the_light_fades(make: Make, empty: FloatImage) -> None:
    mover = Mover(300, 40)
    made = make(lambda index: mover.over(empty, index / (COUNT - 1)) * np.float32(1 - 0.5 * index / COUNT))
    assert made.error() < 0.035


def test_what_is_not_rigid_is_never_worse_than_the_scene_at_rest(make: Make, empty: FloatImage) -> None:
    walker = Mover(300, 40, walks=True)
    made = make(lambda index: walker.over(empty, index / (COUNT - 1)))
    rest = made.clip.footage.curve.to_display(empty)
    at_rest = Made(
        made.clip, made.truth, {i: (rest[w.y : w.bottom, w.x : w.right], w) for i, (_, w) in made.new.items()}
    )
    assert made.error() < 1.02 * at_rest.error()


def test_who_is_seen_in_most_of_the_few_frames_that_show_a_place_leaves_no_ghost(make: Make, empty: FloatImage) -> None:
    """The object stays before a place after four frames, in three of which somebody walks there."""
    places = [*np.linspace(208, 203, 3), *[110] * (COUNT - 3)]
    walker = Mover(0, WIDTH, walks=True)
    made = make(lambda index: walker.over(empty, places[index] / WIDTH), wide=150, begin=0.1, end=0.45)
    later = np.zeros((HEIGHT, WIDTH), bool)
    later[85:140, 202:216] = True
    assert made.error(lambda index: later & (index >= 8)) < 0.01
    (warning,) = made.clip.warnings
    assert "Something that passes behind the object stands before" in warning


def test_what_stops_behind_the_object_for_a_while_is_not_made_to_go_on(make: Make, empty: FloatImage) -> None:
    mover = Mover(20, 300, (12, 12))
    # it waits in the middle, wholly hidden
    moments = np.interp(np.arange(COUNT), [0, 8, 15, COUNT - 1], [0.0, 0.5, 0.5, 1.0])
    made = make(lambda index: mover.over(empty, float(moments[index])), wide=70, begin=0.39, end=0.39)
    poses = np.load(made.clip.kept / "cleanplate.npz")["passing_poses"]
    assert len(poses)
    assert np.isnan(poses[:, 9:14]).all()


@pytest.mark.parametrize("gap", [COUNT // 2, COUNT - 8])
def test_a_thing_that_passes_is_not_followed_across_a_gap(make: Make, empty: FloatImage, gap: int) -> None:
    """Where it was in between, nobody knows; what passes afterwards may be another."""
    mover = Mover(300, 40)
    made = make(lambda index: mover.over(empty, index / (COUNT - 1)), gap=gap)
    poses = np.load(made.clip.kept / "cleanplate.npz")["passing_poses"]
    there = np.isfinite(poses[..., 0, 0])
    assert len(there)
    assert not (there[:, :gap].any(axis=1) & there[:, gap:].any(axis=1)).any()
    rest = made.clip.footage.curve.to_display(empty)
    at_rest = Made(
        made.clip, made.truth, {i: (rest[w.y : w.bottom, w.x : w.right], w) for i, (_, w) in made.new.items()}
    )
    assert made.error() < 1.02 * at_rest.error()


def test_what_is_hidden_only_beyond_a_gap_does_not_pass(make: Make, empty: FloatImage) -> None:
    """It would be hidden two frames later; it need not be the same thing, nor still be there."""
    mover, gap = Mover(300, 40), 9
    made = make(lambda index: mover.over(empty, index / (COUNT - 1)) if index < gap else empty, gap=gap)
    assert not len(np.load(made.clip.kept / "cleanplate.npz")["passing_poses"])


def test_what_swings_back_before_it_comes_free_again_is_whole(make: Make, empty: FloatImage) -> None:
    mover = Mover(60, 120)
    moments = np.sin(np.linspace(0, np.pi, COUNT))
    made = make(lambda index: mover.over(empty, float(moments[index])), wide=30, begin=0.45, end=0.15)
    # nor does any of it stay where no frame shows the scene without it
    assert made.error() < 0.055


@pytest.fixture(scope="module")
def water() -> NDArray[np.float32]:
    """Blobs that boil, (frames, height, width, 3), on the upper part of the frame; 0 below."""
    rng = np.random.default_rng(5)
    noise = rng.standard_normal((COUNT, HEIGHT // 4, WIDTH // 4)).astype(np.float32)
    # one frame tells of the next
    noise = 0.8 * noise + 0.6 * np.roll(noise, 1, axis=0)
    blobs = np.stack([cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) for frame in noise])
    pictures = 0.25 + 0.2 * np.tanh(blobs)[..., None] * np.float32((0.6, 1, 1.2))
    pictures[:, 110:] = 0
    return pictures.astype(np.float32)


def test_water_behind_the_object_moves_on(make: Make, empty: FloatImage, water: NDArray[np.float32]) -> None:
    made = make(lambda index: np.where(water[index] > 0, water[index], empty))
    upper = slice(60, 100)
    truths, news = [], []
    for index, (rgb, window) in made.new.items():
        where = made.clip.rewritten(index, window).copy()
        where[: upper.start - window.y] = where[upper.stop - window.y :] = False
        news.append(rgb[where])
        truths.append(made.truth[index][window.y : window.bottom, window.x : window.right][where])
    # the median over time has less than half of the contrast
    assert 0.65 < np.mean([rgb.std() for rgb in news]) / np.mean([rgb.std() for rgb in truths]) < 1.2
    new, truth = np.concatenate(news), np.concatenate(truths)
    assert truth.min() - 0.05 < new.min()
    assert new.max() < truth.max() + 0.05


def test_where_no_place_lends_its_motion_the_usual_picture_stays_and_is_told_as_it_is(
    make: Make, empty: FloatImage, water: NDArray[np.float32]
) -> None:
    made = make(lambda index: np.where(water[index] > 0, water[index], empty))
    prepared = dict(np.load(made.clip.kept / "cleanplate.npz"))
    window = made.clip.region(8)
    middle = window.x + window.width // 2
    prepared["living_weights"][..., middle:] = 0
    shape = window.height, window.width
    rgb, grain, origin = np.full((*shape, 3), 0.3, np.float32), np.ones(shape, np.float32), np.zeros(shape, np.uint8)
    Living.load(prepared).lay_over(made.clip, 8, window, rgb, grain, origin)
    left, right = np.s_[:, : window.width // 2 - 2], np.s_[:, window.width // 2 + 2 :]
    assert (origin[left] == FILLED).any()
    assert (grain[left] < 1).any()
    assert not (origin[right] == FILLED).any()
    assert (grain[right] == 1).all()


def test_nothing_moves_where_the_scene_rests(make: Make, empty: FloatImage) -> None:
    made = make(lambda _: empty)
    assert not made.clip.warnings
    prepared = np.load(made.clip.kept / "cleanplate.npz")
    assert not len(prepared["passing_poses"])
    assert not len(prepared["living_places"])
    assert made.error() < 0.01
