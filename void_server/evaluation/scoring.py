"""The figures of a result: for all that changes, by where its pixels come from, and by class of the quadmask."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from ..engines import origin
from ..imaging.exr import FloatImage
from ..imaging.flow import flow, luma
from ..imaging.masks import Mask
from ..imaging.runs import runs
from ..imaging.sequence import format_frames
from ..imaging.window import Window
from ..quadmask import classes
from . import learned, motion, perception, seam
from .agreement import overlap
from .fidelity import psnr, squares
from .material import Material
from .pictures import Pictures
from .results import Result
from .structure import slope, ssim

#: A picture's error at each pixel, from result and truth.
ErrorMap = Callable[[FloatImage, FloatImage], FloatImage]

CHANGED = "changed"
LEFT = "not rewritten"
#: What figures are given for, in this order; only a job's own result has origins.
GROUPS = (
    CHANGED,
    *origin.NAMES.values(),
    LEFT,
    *(classes.NAMES[code] for code in classes.NAMES if code != classes.KEEP),
)
#: Measures that are taken of some pixels only; the others are NaN.
_OF_SOME = ("FLIP", "HDR-FLIP")
#: So far from a true change, what is kept is to be the plate's: antialiasing and a feather lie closer.
_FAR = 8
_NEAR = np.ones((3, 3), np.uint8)


@dataclass(frozen=True)
class Measure:
    """A figure: what it is, and with how many digits it is written."""

    name: str
    help: str
    digits: int


MEASURES = (
    Measure("share", "Of all changed pixels, in percent.", 1),
    Measure("psnr", "Peak signal-to-noise ratio, display-referred, in dB.", 2),
    Measure("ssim", "Structural similarity of luma, 1 is the same.", 4),
    Measure("FLIP", "Error as a viewer sees it, display-referred, 0 to 1.", 3),
    Measure("HDR-FLIP", "The same for scene-linear pixels over all exposures, 0 to 1.", 3),
    Measure("LPIPS", "Distance in the features of a trained network.", 4),
    Measure("detail", "Mean gradient over the truth's.", 2),
    Measure("flicker", "Departure of the change from frame to frame from the truth's, in percent.", 3),
    Measure("drift", "Change from frame to frame along the motion (warp error), in percent.", 3),
    Measure("seam", "Mean gradient where new pixels begin, over that nearby.", 2),
    Measure("JOD", "ColorVideoVDP: just-objectionable differences, 10 is no difference.", 2),
    Measure("kept", "Pixels far from every change that are the plate's bit for bit, in percent.", 2),
    Measure("iou", "Overlap of the affected class with the true one.", 2),
    Measure("s/frame", "Seconds a frame, of the whole job.", 3),
    Measure("MB", "The most memory that the job held.", 0),
)
#: Measures that are taken only where a package, or weights, are there.
OPTIONAL: Mapping[str, Callable[[], bool]] = {
    "FLIP": perception.available,
    "HDR-FLIP": perception.available,
    "LPIPS": learned.lpips_available,
    "JOD": learned.cvvdp_available,
}


def installed() -> tuple[str, ...]:
    """The measures that can be taken here."""
    return tuple(one.name for one in MEASURES if OPTIONAL.get(one.name, lambda: True)())


class Sums:
    """Sums of maps over groups of pixels, from which figures are made."""

    def __init__(self) -> None:
        self._of: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(lambda: [0.0, 0.0]))
        self._pixels: dict[str, int] = defaultdict(int)

    def add(self, group: str, name: str, values: FloatImage) -> None:
        """Add the values of a map at a group's pixels, those that were looked at."""
        one = self._of[group][name]
        known = ~np.isnan(values) if name in _OF_SOME else np.ones(values.shape, bool)
        one[0] += float(values.sum(dtype=np.float64, where=known))
        one[1] += int(known.sum())

    def count(self, group: str, pixels: int) -> None:
        """Count a group's pixels."""
        self._pixels[group] += pixels

    def figures(self, group: str = CHANGED) -> dict[str, float]:
        """The figures of a group, those that there are; none without pixels."""
        if not self._pixels[group]:
            return {}
        sums = self._of.get(group, {})

        def mean(name: str) -> float | None:
            total, count = sums.get(name, (0.0, 0.0))
            return total / count if count else None

        def ratio(name: str, other: str) -> float | None:
            one, by = mean(name), mean(other)
            return None if one is None or by is None else one / max(by, 1e-12)

        def percent(name: str) -> float | None:
            value = mean(name)
            return None if value is None else 100 * value

        square = mean("squares")
        found = {
            "share": None if group == CHANGED else 100 * self._pixels[group] / self._pixels[CHANGED],
            "psnr": None if square is None else psnr(square),
            **{name: mean(name) for name in ("ssim", "FLIP", "HDR-FLIP", "LPIPS")},
            "detail": ratio("slope", "true slope"),
            "flicker": percent("flicker"),
            "drift": percent("drift"),
            "seam": ratio("border", "nearby"),
        }
        return {name: value for name, value in found.items() if value is not None}

    @property
    def groups(self) -> list[str]:
        """The groups that have pixels."""
        return [group for group in GROUPS if self._pixels[group]]


@dataclass(frozen=True)
class Score:
    """The figures of one result: by group, of all changed pixels by frame, and the notes for whoever reads them."""

    method: str
    groups: Mapping[str, Mapping[str, float]]
    frames: Mapping[int, Mapping[str, float]]
    notes: tuple[str, ...] = ()
    made_by: Mapping[str, Any] = field(default_factory=dict)

    @property
    def figures(self) -> Mapping[str, float]:
        """Those of all that changes."""
        return self.groups.get(CHANGED, {})

    @property
    def worst(self) -> list[int]:
        """The frames, the worst first: by FLIP where it was measured, else by PSNR; by drift without a truth."""
        for name, sign in (("FLIP", -1), ("psnr", 1), ("drift", -1)):
            having = [frame for frame, figures in self.frames.items() if name in figures]
            if having:
                return sorted(having, key=lambda frame: (sign * self.frames[frame][name], frame))
        return []


def score(material: Material, result: Result, wanted: Iterable[str] = ()) -> Score:
    """Judge a result by the measures ``wanted``, all where none is named; those only that can be taken here."""
    names = {*installed()} & {*(wanted or installed())}
    whole, frames = Sums(), {}
    for index, frame in enumerate(material.frames):
        sums = Sums()
        for group, mask, maps in _measured(material, result, index, names):
            for one in (sums, whole):
                one.count(group, int(mask.sum()))
                for name, values in maps:
                    one.add(group, name, values)
        if figures := sums.figures():
            frames[frame] = figures
    groups = {group: whole.figures(group) for group in whole.groups}
    if CHANGED in groups:
        groups[CHANGED] = {
            **groups[CHANGED],
            **_of_clip(material, result, names),
            **{name: value for name, value in result.cost.items() if name in names},
        }
    notes = [
        f"The {name} of {result.method} is not a number{_where(name, frames)}: it is not given."
        for name in (one.name for one in MEASURES)
        if any(not math.isfinite(figures.get(name, 0)) for figures in (*groups.values(), *frames.values()))
    ]
    return Score(
        result.method,
        {group: _numbers(figures) for group, figures in groups.items()},
        {frame: _numbers(figures) for frame, figures in frames.items()},
        (*result.notes, *notes),
        result.made_by,
    )


def _where(name: str, frames: Mapping[int, Mapping[str, float]]) -> str:
    """The frames in which a figure is not a number, in words; empty where it is one in each."""
    broken = [frame for frame, figures in frames.items() if not math.isfinite(figures.get(name, 0))]
    return f" in {len(broken)} of {len(frames)} frames ({format_frames(broken)})" if broken else ""


def _numbers(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if math.isfinite(value)}


def _measured(
    material: Material, result: Result, index: int, names: set[str]
) -> Iterator[tuple[str, Mask, list[tuple[str, FloatImage]]]]:
    """Each group of a frame: its name, its pixels in the part that is looked at, and what is summed up there."""
    changed = material.changed(index)
    window = _around(changed)
    if window is None:
        return
    part = _frame(changed).slices(window)
    maps = _maps(material, result, index, part, names)
    slopes = _slopes(material, result, index, part) if names & {"detail", "seam"} else {}
    for group, mask in _groups(material, result, index, part):
        found = [(name, values[mask]) for name, values in maps.items()]
        if "detail" in names and "true slope" in slopes:
            inner = cv2.erode(mask.astype(np.uint8), _NEAR) > 0
            found += [(name, values[inner]) for name, values in slopes.items()]
        if "seam" in names and group == CHANGED:
            border, nearby = seam.bands(mask)
            found += [("border", slopes["slope"][border]), ("nearby", slopes["slope"][nearby])]
        yield group, mask, found


def _maps(
    material: Material, result: Result, index: int, part: tuple[slice, slice], names: set[str]
) -> dict[str, FloatImage]:
    """What each pixel of a part of the frame has, by the name that it is summed up under."""
    maps: dict[str, FloatImage] = {}
    raw_truth = material.raw_truth
    if material.truth is not None and raw_truth is not None:
        image, true = result.shown[index][part], material.truth[index][part]
        maps = {_SUMMED.get(name, name): made(image, true) for name, made in _SHOWN.items() if name in names}
        changed = material.changed(index)[part]
        if "FLIP" in names:
            maps["FLIP"] = perception.flip(image, true, changed)
        if "HDR-FLIP" in names:
            linear, true_linear = result.linear(index, part), material.linear(raw_truth[index][part])
            maps["HDR-FLIP"] = perception.hdr_flip(linear, true_linear, changed)
        if "ssim" in names:
            maps["ssim"] = ssim(luma(image), luma(true))
        if "flicker" in names and material.follows(index):
            before = result.shown[index - 1][part], material.truth[index - 1][part]
            maps["flicker"] = motion.flicker(image, before[0], true, before[1])
    if "drift" in names and material.follows(index):
        maps["drift"] = _drift(material, result, index)[part]
    return maps


def _slopes(material: Material, result: Result, index: int, part: tuple[slice, slice]) -> dict[str, FloatImage]:
    found = {"slope": slope(luma(result.shown[index][part]))}
    return found if material.truth is None else {**found, "true slope": slope(luma(material.truth[index][part]))}


_SHOWN: Mapping[str, ErrorMap] = {"psnr": squares, "LPIPS": learned.lpips}
#: What is summed up for a figure that has another name.
_SUMMED = {"psnr": "squares"}


def _around(changed: Mask) -> Window | None:
    """The part of the frame to look at: what changes, and what its measures reach; None where nothing does."""
    if not changed.any():
        return None
    box = Window(*cv2.boundingRect(changed.astype(np.uint8)))
    return box.grown(perception.REACH).intersection(_frame(changed))


def _frame(mask: Mask) -> Window:
    return Window(0, 0, mask.shape[1], mask.shape[0])


def _drift(material: Material, result: Result, index: int) -> FloatImage:
    now, before = (luma(result.shown[at]) for at in (index, index - 1))
    # along the truth's motion; without one, along the result's own
    way = material.flow[index] if material.truth is not None else flow(now, before)
    return motion.warp_error(now, before, way)


def _groups(material: Material, result: Result, index: int, part: tuple[slice, slice]) -> Iterator[tuple[str, Mask]]:
    codes = material.codes[index][part]
    changed = codes != classes.KEEP
    yield CHANGED, changed
    if result.origin is not None:
        origins = result.origin[index][part]
        for code, name in origin.NAMES.items():
            yield name, changed & (origins == code)
        yield LEFT, changed & (origins == 0)
    for code, name in classes.NAMES.items():
        if code != classes.KEEP:
            yield name, codes == code


def _of_clip(material: Material, result: Result, names: set[str]) -> dict[str, float]:
    """The figures that only the whole shot has."""
    found = {}
    if "kept" in names and (kept := _kept(material, result)) is not None:
        found["kept"] = kept
    if "iou" in names and result.quadmask is not None and material.truth is not None:
        theirs = (codes == classes.AFFECTED for codes in result.quadmask)
        found["iou"] = overlap(zip(theirs, (codes == classes.AFFECTED for codes in material.codes), strict=True))
    if "JOD" in names and material.truth is not None:
        found["JOD"] = _jod(material, result, material.truth)
    return found


def _kept(material: Material, result: Result) -> float | None:
    """The percentage of pixels far from every change that are the plate's bit for bit; None where there are none."""
    if material.raw is None or result.raw is None:
        return None
    same = count = 0
    reach = np.ones((2 * _FAR + 1, 2 * _FAR + 1), np.uint8)
    for index in range(len(material.frames)):
        far = cv2.dilate(material.changed(index).astype(np.uint8), reach) == 0
        ours, plate = (np.ascontiguousarray(one[index]).view(np.uint32) for one in (result.raw, material.raw))
        same += int((ours == plate).all(axis=-1)[far].sum())
        count += int(far.sum())
    return 100 * same / count if count else None


def _jod(material: Material, result: Result, truth: Pictures[FloatImage]) -> float:
    """The mean JOD of all runs of frames, by their lengths, of the part in which anything changes.

    It looks at motion and flicker, and across a gap there is none.
    """
    any_changed = np.zeros(material.codes[0].shape, bool)
    for index in range(len(material.frames)):
        any_changed |= material.changed(index)
    window = _around(any_changed)
    assert window is not None, "something changes"
    part = _frame(any_changed).slices(window)
    total = 0.0
    for run in runs(material.frames):
        ours, true = (np.stack([images[index][part] for index in run]) for images in (result.shown, truth))
        total += len(run) * learned.cvvdp(ours, true, material.fps)
    return total / len(material.frames)
