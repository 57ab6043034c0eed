"""One pair: its recipe is rendered with and without the object, and written as a pair's folder.

Only what changes is rendered: the truth once where it stays the same, and under a camera that rests only within the
part of the frame in which a small test render finds it to differ from the first; plate and moved things only where they
differ from the truth.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..api.errors import JobFailed, SettingError
from ..api.exclusive import alone_in
from ..api.files import is_written, read_json, write_atomically
from ..blender.protocol import SAME
from ..imaging import exr
from ..imaging.exr import FloatImage
from . import masks, preview
from .drawing import draw
from .layout import CHANGE, EFFECTS, GRID, PLATE, QUADMASK, ROTO, TRUTH, PairFolder
from .recipe import TICKS, Recipe
from .renderer import Renderer, command, simulate
from .words import prompt

Report = Callable[[str, float], None]
Border = tuple[float, float, float, float]
_WHOLE: Border = (0.0, 0.0, 1.0, 1.0)

#: The least frames a second: every one of them is also one of twice as many.
SLOWEST = 12
#: The first frame's number.
FIRST = 1001
_SEQUENCES = (PLATE, ROTO, CHANGE, QUADMASK, GRID, EFFECTS)
_WORK, _ORDER, _SIMULATED = "making", "order.json", "simulated"
# a test render is so many pixels wide at least, and a frame of less than twice that is rendered whole at once
_TEST_WIDTH, _TEST_SAMPLES = 168, 4
# what a test render must differ by, as a share of the level, and by how many of its pixels the part is grown
_TEST_STEP, _TEST_FLOOR, _TEST_GROWN = 0.025, 0.02, 3
# how much of a plate may be brighter than display white before the camera is stopped down, and how far it goes
_BRIGHT_SHARE, _LEAST_EXPOSURE = 0.02, 0.125
# a part of more than this share is rendered as a whole frame
_NEARLY_ALL = 0.8


@dataclass(frozen=True)
class Look:
    """How pairs are rendered. ``fps`` is 12 or 24: of the same movements, at the speed of the clock."""

    width: int = 672
    height: int = 384
    frames: int = 61
    fps: int = 12
    samples: int = 8

    def __post_init__(self) -> None:
        if self.fps not in (SLOWEST, 2 * SLOWEST):
            raise SettingError(f"Pairs have 12 or 24 frames a second, and not {self.fps}.")
        if min(self.width, self.height) < 32 or max(self.width, self.height) > 8192:
            raise SettingError(f"A pair of {self.width} x {self.height} cannot be made; take 32 to 8192 pixels.")
        if self.frames < 2 or self.samples < 1:
            raise SettingError("A pair has two frames or more, and one sample a pixel or more.")

    @property
    def per_frame(self) -> int:
        """Ticks of a recipe in a frame."""
        return TICKS // self.fps

    @property
    def seconds(self) -> float:
        """How long a recipe must be: to the end of the last frame."""
        return self.frames / self.fps


def make(
    folder: Path, seed: int, look: Look, report: Report, *, kind: str, blender: str = "", threads: int = 0
) -> PairFolder:
    """Make the pair of a seed in ``folder``, or go on with it; one that is finished is left as it is.

    ``report`` is told what is done and which share of all. Raises :class:`SettingError` where the folder holds another
    pair or there is no Blender, :class:`~void_server.api.errors.JobFailed` where Blender fails, the disk is full, or
    another process makes the pair.
    """
    pair = PairFolder(folder)
    order = {"seed": seed, "kind": kind, **asdict(look)}
    _check_order(pair, order)
    if pair.facts_file.is_file():
        return pair
    # before anything is written
    command(blender)
    # not in the folder of the work, which some disks would keep for the file that is open in it
    with alone_in(folder) as alone:
        if not alone:
            raise JobFailed(f"Another process is making the pair {folder}; wait until it ends, or stop it.")
        try:
            if not pair.facts_file.is_file():
                _make(pair, order, look, report, kind, blender, threads)
                shutil.rmtree(folder / _WORK)
        except OSError as error:
            raise JobFailed(
                f"The pair {folder} cannot be written ({error.strerror or error}); free the disk, then run the same "
                "command again: finished frames are kept.",
                str(error),
            ) from error
    return pair


def _make(
    pair: PairFolder, order: dict[str, Any], look: Look, report: Report, kind: str, blender: str, threads: int
) -> None:
    """Render what is not there yet of a pair, whose folder is this process's alone."""
    report("drawing", 0.0)
    recipe = draw(order["seed"], look.seconds, kind)
    work = pair.folder / _WORK
    write_atomically(work / _ORDER, json.dumps(order), parents=True)
    simulated = work / _SIMULATED
    # a folder of its own: the Blender of a process that was killed may still be writing into the one before
    with TemporaryDirectory(dir=work) as folder:
        scratch = Path(folder)
        if not simulated.is_dir():
            simulate(recipe, scratch / _SIMULATED, blender=blender)
            (scratch / _SIMULATED).rename(simulated)
        with Renderer(
            simulated, scratch, (look.width, look.height), look.per_frame, blender=blender, threads=threads
        ) as renderer:
            shot = Shot(recipe, renderer, look, scratch)
            _write(pair, shot, report)
            facts = {**_facts(recipe, renderer, look, order), "exposure": round(shot.exposure, 4)}
    (pair.folder / "preview.jpg").write_bytes(preview.picture(pair, look.frames, FIRST))
    write_atomically(pair.facts_file, json.dumps(facts, indent=1))


def _check_order(pair: PairFolder, order: dict[str, Any]) -> None:
    """Raise :class:`SettingError` where the folder holds a pair that was ordered otherwise."""
    try:
        if pair.facts_file.is_file():
            there = read_json(pair.facts_file).get("order")
        elif (file := pair.folder / _WORK / _ORDER).is_file():
            there = read_json(file)
        else:
            return
    except (OSError, ValueError) as error:
        raise SettingError(f"{pair.folder} holds what is no pair ({error}); name another folder.") from None
    if there != order:
        raise SettingError(f"{pair.folder} holds a pair of another seed, kind or size; name another folder.")


def _write(pair: PairFolder, shot: Shot, report: Report) -> None:
    """Write all frames of a pair that are not there yet."""
    for index in range(shot.look.frames):
        report(f"frame {FIRST + index}", index / shot.look.frames)
        names = [*_SEQUENCES, *([] if index and shot.single else [TRUTH])]
        if not all(is_written(pair.frame(name, FIRST + index)) for name in names):
            write_frame(pair, FIRST + index, shot.renders(index), with_truth=TRUTH in names)


def write_frame(pair: PairFolder, frame: int, renders: Renders, *, with_truth: bool) -> None:
    """Write pictures and masks of a frame, the plate last."""
    a, b, c, roto = renders.plate, renders.truth, renders.moved, renders.roto
    codes = masks.quadmask(roto, c, b)
    if with_truth:
        exr.write(pair.frame(TRUTH, frame), b.astype(np.float16), exr.RGB)
    exr.write(pair.frame(ROTO, frame), roto.astype(np.float16)[..., None], ("A",))
    change = masks.outside(roto, masks.changed(a, b))
    exr.write(pair.frame(CHANGE, frame), change.astype(np.float16)[..., None], ("Y",))
    for name, found in ((QUADMASK, codes), (GRID, masks.gridded(codes)), (EFFECTS, masks.effects(roto, a, c, b))):
        exr.write(pair.frame(name, frame), (found / np.float32(255)).astype(np.float32)[..., None], ("Y",))
    exr.write(pair.frame(PLATE, frame), a.astype(np.float16), exr.RGB)


def _facts(recipe: Recipe, renderer: Renderer, look: Look, order: dict[str, Any]) -> dict[str, Any]:
    every = slice(0, None, look.per_frame)
    paths = {
        state: {
            name: [[round(c, 5) for c in pose] for pose in path[every][: look.frames]] for name, path in found.items()
        }
        for state, found in renderer.paths.items()
    }
    moving = {
        state: {name: path for name, path in found.items() if any(pose != path[0] for pose in path)}
        for state, found in paths.items()
    }
    return {
        "fps": look.fps,
        "first": FIRST,
        "last": FIRST + look.frames - 1,
        "prompt": prompt(recipe, paths["truth"]),
        "description": recipe.description,
        "removed": recipe.removed,
        "expected": f"No {recipe.removed.removeprefix('the ')}, and nothing of what it does to the scene.",
        "camera": recipe.camera.kind,
        "effects": recipe.effects,
        "colour": "scene-linear Rec.709",
        "kind": recipe.kind,
        "seed": recipe.seed,
        "width": look.width,
        "height": look.height,
        "shutter": recipe.camera.shutter,
        "f_stop": recipe.camera.f_stop,
        "order": order,
        "renderer": renderer.about,
        "generator": f"void {__version__}",
        "licence": "whoever rendered it owns it: no asset of anybody else is in it",
        "paths": moving,
    }


@dataclass(frozen=True)
class Renders:
    """The renders of one frame, (height, width, 3), scene-linear and exposed, and the matte of the removed, 0 to 1."""

    plate: FloatImage
    truth: FloatImage
    #: The physics of the plate, without the removed.
    moved: FloatImage
    roto: NDArray[np.float32]


@dataclass(frozen=True)
class _Truth:
    """The truth of a frame, and a small test render of it; none where the frames themselves are small."""

    index: int
    image: FloatImage
    test: FloatImage | None


class Shot:
    """The frames of one pair as they come from the renderer."""

    def __init__(self, recipe: Recipe, renderer: Renderer, look: Look, work: Path) -> None:
        """``work`` is a folder for what passes between the two."""
        self.recipe, self.renderer, self.look, self.work = recipe, renderer, look, work
        #: For each frame the first one whose truth is also its own.
        self.truths = truths(recipe, renderer.paths["truth"], look.frames, look.per_frame)
        camera = recipe.camera
        self._camera_rests = len(set(camera.poses)) == len(set(camera.lens)) == 1
        self._first: _Truth | None = None
        self._last: _Truth | None = None
        #: What light is multiplied by, so that little of the plate is brighter than display white.
        self.exposure = 1.0
        self.exposure = self._metered()

    def _metered(self) -> float:
        """The exposure by small test renders at the beginning, in the middle and at the end; 1 for what is not bright.

        At moments that 12 and 24 frames a second share, so that both are exposed alike.
        """
        look = self.look
        a_twelfth = look.fps // SLOWEST
        last = (look.frames - 1) // a_twelfth
        levels = [
            self._rendered("plate", moment * a_twelfth, look.samples, percentage=self._test_percentage)[0].max(axis=-1)
            for moment in sorted({0, last // 2, last})
        ]
        bright = float(np.quantile(levels, 1 - _BRIGHT_SHARE))
        return max(_LEAST_EXPOSURE, 1 / bright) if bright > 1 else 1.0

    def _open(self, index: int) -> range:
        """The ticks of a frame, from its beginning to that of the next."""
        return range(index * self.look.per_frame, (index + 1) * self.look.per_frame)

    @property
    def single(self) -> bool:
        """Whether the truth is the same in all frames."""
        return self.truths[-1] == 0

    def renders(self, index: int) -> Renders:
        """Render a frame, counted from 0. Raises :class:`~void_server.api.errors.JobFailed` where Blender fails."""
        truth = self._truth(index)
        plate, roto = self._over("plate", index, self._tested("plate", index), truth)
        moved = truth.image
        if self._differs(index):
            moved, _ = self._over("moved", index, self._tested("moved", index), truth)
        return Renders(plate, truth.image, moved, roto)

    def _truth(self, index: int) -> _Truth:
        source = self.truths[index]
        if self._last is None or self._last.index != source:
            test = self._tested("truth", source)
            under = self._first_truth() if source and self._camera_rests else None
            image, _ = self._over("truth", source, test, under)
            self._last = _Truth(source, image, test)
        return self._last

    def _first_truth(self) -> _Truth:
        if self._first is None:
            self._first = self._truth(0)
        return self._first

    def _differs(self, index: int) -> bool:
        """Whether anything but the removed is elsewhere in the plate than in the truth."""
        plate, truth = self.renderer.paths["plate"], self.renderer.paths["truth"]
        ticks = self._open(index)
        return any(_apart(plate[name][tick], truth[name][tick]) for name in truth for tick in ticks)

    @property
    def _test_percentage(self) -> int:
        return max(1, min(100, round(100 * _TEST_WIDTH / self.look.width)))

    def _tested(self, state: str, index: int) -> FloatImage | None:
        """A small render with noise; none where the frame itself is small."""
        percentage = self._test_percentage
        if percentage > 50:
            return None
        return self._rendered(state, index, _TEST_SAMPLES, percentage=percentage, denoise=False)[0]

    def _over(
        self, state: str, index: int, test: FloatImage | None, under: _Truth | None
    ) -> tuple[FloatImage, NDArray[np.float32]]:
        """A state's render, which by its ``test`` is laid over a truth where it differs, and the matte of the removed.

        Without a test, or a truth, the whole frame is rendered.
        """
        border = _WHOLE
        if test is not None and under is not None and under.test is not None:
            border = part_of(differs(test, under.test))
        image, roto = self._rendered(state, index, self.look.samples, border=border)
        return (laid_over(image, under.image, border) if under and border != _WHOLE else image), roto

    def _rendered(
        self,
        state: str,
        index: int,
        samples: int,
        *,
        percentage: int = 100,
        denoise: bool = True,
        border: Border = _WHOLE,
    ) -> tuple[FloatImage, NDArray[np.float32]]:
        file = self.work / "render.exr"
        self.renderer.render(state, index, file, samples=samples, percentage=percentage, denoise=denoise, border=border)
        window = exr.windows(file)[1]
        names = exr.channel_names(file)
        layer = names[0].partition(".")[0]
        rgb = exr.read_channels(file, [f"{layer}.Combined.{c}" for c in exr.RGB], window)
        matte = next(name for name in names if name.startswith(f"{layer}.removed."))
        return np.minimum(rgb * np.float32(self.exposure), exr.HALF_MAX), np.clip(
            exr.read_channels(file, [matte], window)[..., 0], 0, 1
        )


def _apart(a: Sequence[float], b: Sequence[float]) -> bool:
    return any(abs(x - y) > SAME for x, y in zip(a, b, strict=True))


def truths(recipe: Recipe, paths: dict[str, list[list[float]]], frames: int, per_frame: int) -> list[int]:
    """For each frame the first one whose truth is also its own; ``paths`` are those of the truth.

    Frames are compared with that first one and not with their neighbours: what creeps arrives, too. No camera that
    moves at all rests, as the plate is rendered from where it is.
    """
    drifts = any(body.material.drift for body in recipe.bodies)
    camera = recipe.camera

    def alike(tick: int, other: int) -> bool:
        return (
            not drifts
            and camera.lens[tick] == camera.lens[other]
            and camera.poses[tick] == camera.poses[other]
            and not any(_apart(path[tick], path[other]) for path in paths.values())
        )

    def still(index: int, source: int) -> bool:
        """Whether all ticks of a frame are like the beginning of another."""
        ticks = range(index * per_frame, min((index + 1) * per_frame, recipe.ticks))
        return all(alike(tick, source * per_frame) for tick in ticks)

    found: list[int] = []
    for index in range(frames):
        source = found[-1] if found else index
        found.append(source if still(index, source) and still(source, source) else index)
    return found


def differs(image: FloatImage, other: FloatImage) -> NDArray[np.bool_]:
    """Where two test renders differ: the noise of both is the same, so that what differs is the scene."""
    difference = cv2.blur(np.abs(image - other).max(axis=-1), (5, 5))
    level = cv2.blur(np.maximum(image, other).max(axis=-1), (5, 5))
    return np.asarray(difference > _TEST_STEP * (level + _TEST_FLOOR))


def part_of(differs: NDArray[np.bool_]) -> Border:
    """The rectangle about what differs, with a margin, as shares from the lower left; a pixel where nothing does."""
    height, width = differs.shape
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    if not rows.size:
        return (0.0, 0.0, 2 / width, 2 / height)
    left, right = max(0, columns[0] - _TEST_GROWN), min(width, columns[-1] + 1 + _TEST_GROWN)
    top, bottom = max(0, rows[0] - _TEST_GROWN), min(height, rows[-1] + 1 + _TEST_GROWN)
    if (right - left) * (bottom - top) > _NEARLY_ALL * width * height:
        return _WHOLE
    return (float(left / width), float(1 - bottom / height), float(right / width), float(1 - top / height))


def laid_over(image: FloatImage, under: FloatImage, border: Border) -> FloatImage:
    """The part of ``image`` within ``border`` over another, with soft edges where it does not end with the frame."""
    height, width = under.shape[:2]
    left, right = round(border[0] * width), round(border[2] * width)
    top, bottom = round((1 - border[3]) * height), round((1 - border[1]) * height)
    # how far a pixel lies within each edge that is not the frame's own; one less, as Cycles rounds them its own way
    far = float(width + height)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    edges = [
        x - left if left else far,
        right - 1 - x if right < width else far,
        y - top if top else far,
        bottom - 1 - y if bottom < height else far,
    ]
    inside = np.minimum.reduce(np.broadcast_arrays(*edges))
    share = np.clip(inside / max(4.0, width / 80), 0, 1)[..., None].astype(np.float32)
    return np.where(share > 0, under + share * (image - under), under).astype(np.float32)
