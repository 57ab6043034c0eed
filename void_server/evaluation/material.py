"""What results are judged by: a shot's plate, the truth where there is one, and which pixels change between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..api.errors import SequenceError
from ..imaging import exr, sequence
from ..imaging.colour import ColourSpace, Curve
from ..imaging.exr import FloatImage
from ..imaging.flow import flow, luma
from ..imaging.masks import Mask
from ..imaging.runs import runs
from ..imaging.sequence import Sequence
from ..imaging.window import Window
from ..pairs import layout, source
from ..pairs.layout import PairFolder
from ..quadmask import classes
from ..quadmask.classes import Quadmask
from .pictures import Pictures


@dataclass(frozen=True)
class Material:
    """A shot by frame index. All pixels are those of ``window``, the plate's or the truth's data window.

    ``sources`` are its sequences by what they are: ``plate``, ``truth``, and those that say what changes. Without a
    plate nothing tells what was untouched; without a truth results are judged by themselves; where nothing tells what
    changes, ``codes`` calls all of the frame affected.
    """

    name: str
    frames: tuple[int, ...]
    colour: ColourSpace
    window: Window
    display: Window
    sources: Mapping[str, Sequence]
    codes: Pictures[Quadmask]
    #: The file's own pixels, (height, width, 3), before any conversion.
    raw: Pictures[FloatImage] | None
    raw_truth: Pictures[FloatImage] | None
    fps: float = 24.0
    #: The scene after the removal.
    prompt: str = ""
    notes: tuple[str, ...] = ()

    @cached_property
    def curve(self) -> Curve:
        """The shot's own display curve: the brightest value of the plate becomes 1."""
        raw = self.raw or self.raw_truth
        if raw is None:
            return Curve(1.0)
        return Curve(max(float(self.linear(image).max(initial=0)) for image in raw))

    def linear(self, raw: FloatImage) -> FloatImage:
        """A file's pixels as scene-linear Rec.709; what is not finite is 0."""
        return finite(self.colour.to_linear(finite(raw)))

    def shown(self, raw: FloatImage) -> FloatImage:
        """A file's pixels display-referred, 0..1."""
        return np.clip(self.curve.to_display(self.linear(raw)), 0, 1)

    @cached_property
    def plate(self) -> Pictures[FloatImage] | None:
        """The plate, display-referred."""
        raw = self.raw
        return None if raw is None else Pictures(lambda index: self.shown(raw[index]), len(raw))

    @cached_property
    def truth(self) -> Pictures[FloatImage] | None:
        """The truth, display-referred."""
        raw = self.raw_truth
        return None if raw is None else Pictures(lambda index: self.shown(raw[index]), len(raw))

    @cached_property
    def flow(self) -> Pictures[FloatImage]:
        """The truth's motion from each frame to the one before, of the first nothing."""
        assert self.truth is not None, "results without a truth have a motion of their own"
        truth = self.truth
        return Pictures(lambda i: flow(luma(truth[i]), luma(truth[max(i - 1, 0)])), len(truth))

    def follows(self, index: int) -> bool:
        """Whether a frame follows in time the one before it: nothing that moves is judged across a gap."""
        return all(index != run.start for run in runs(self.frames))

    def changed(self, index: int) -> Mask:
        """The pixels that change."""
        return self.codes[index] != classes.KEEP

    def read(self, found: Sequence, what: str) -> Pictures[FloatImage]:
        """The frames of another sequence of this shot, as they are in its files.

        Raises :class:`SequenceError` for one that lacks a frame or has another format.
        """
        check_frames(found, what, self.name, self.frames)
        check_format(found, what, self.name, self.frames, self.display)
        return _pixels(found, self.frames, self.window)


def of_pair(pair: PairFolder, frames: tuple[int, ...] = ()) -> Material:
    """A pair as it lies in its folder, all of it or some ``frames``.

    Raises :class:`~void_server.api.errors.InputError` naming what is wrong.
    """
    given = source.of_folder(pair)
    sources = {layout.PLATE: given.plate, layout.TRUTH: given.truth, **given.changing}
    found = _opened(given.name, sources, frames or given.frames, ColourSpace(given.colour))
    return replace(found, fps=given.facts.fps, prompt=given.facts.prompt)


def of_sequences(
    name: str,
    plate: Sequence | None,
    truth: Sequence | None,
    quadmask: Sequence | None,
    colour: ColourSpace,
    frames: tuple[int, ...] = (),
) -> Material:
    """A shot from single sequences: at least a plate or a truth. Raises as :func:`of_pair`."""
    chosen = quadmask and classes.chosen(quadmask, frames or quadmask.frames)
    given = {layout.PLATE: plate, layout.TRUTH: truth, layout.QUADMASK: chosen}
    sources = {what: found for what, found in given.items() if found is not None}
    first = truth or plate
    assert first is not None, "there is something to judge by"
    return _opened(name, sources, frames or first.frames, colour)


def _opened(name: str, sources: dict[str, Sequence], frames: tuple[int, ...], colour: ColourSpace) -> Material:
    for what, found in sources.items():
        check_frames(found, what, name, frames)
    first = sources.get(layout.PLATE) or sources[layout.TRUTH]
    header = exr.read_header(first.path(frames[0]))
    for what, found in sources.items():
        check_format(found, what, name, frames, header.display_window)
    window = header.data_window
    raw, truth = (
        _pixels(sources[what], frames, window) if what in sources else None for what in (layout.PLATE, layout.TRUTH)
    )
    codes = Pictures(_codes(sources, frames, window), len(frames))
    read = {f"plate of {name}": raw, f"truth of {name}": truth}
    notes = [broken(what, pictures, frames) for what, pictures in read.items() if pictures is not None]
    return Material(
        name,
        frames,
        colour,
        window,
        header.display_window,
        sources,
        codes,
        raw,
        truth,
        notes=tuple(filter(None, notes)),
    )


def _pixels(found: Sequence, frames: tuple[int, ...], window: Window) -> Pictures[FloatImage]:
    return Pictures(lambda index: exr.read_rgb(found.path(frames[index]), window), len(frames))


def _codes(sources: Mapping[str, Sequence], frames: tuple[int, ...], window: Window) -> Callable[[int], Quadmask]:
    """Reads the codes of a frame by its index."""
    masks = {what: found for what, found in sources.items() if what not in (layout.PLATE, layout.TRUTH)}
    if not masks:
        everything = np.full((window.height, window.width), classes.AFFECTED, np.uint8)
        return lambda _: everything
    return lambda index: source.read_codes(masks, frames[index], window)


def check_frames(found: Sequence, what: str, name: str, frames: tuple[int, ...]) -> None:
    """Raise :class:`SequenceError` for a movie, and where a frame is missing."""
    if found.movie:
        raise SequenceError(f"The {what} {found.name} of {name} is a movie; write it as EXR frames, which are exact.")
    if missing := [frame for frame in frames if frame not in found.files]:
        raise SequenceError(
            f"The {what} {found.name} of {name} lacks frame {missing[0]} ({len(missing)} of {len(frames)} in all); it "
            f"has {sequence.format_frames(found.frames)}. Write these frames, or limit both with --frames."
        )


def check_format(found: Sequence, what: str, name: str, frames: tuple[int, ...], display: Window) -> None:
    """Raise :class:`SequenceError` where a frame has another format."""
    for frame in frames:
        theirs = exr.windows(found.path(frame))[1]
        if theirs != display:
            raise SequenceError(
                f"Frame {frame} of the {what} {found.name} of {name} is {_size(theirs)}, the others are "
                f"{_size(display)}; write both in one format."
            )


def _size(window: Window) -> str:
    at = f" at {window.x}, {window.y}" if (window.x, window.y) != (0, 0) else ""
    return f"{window.width} x {window.height}{at}"


def broken(what: str, pictures: Pictures[FloatImage], frames: tuple[int, ...]) -> str:
    """A note where a sequence has NaN or Inf pixels; empty where it has none."""
    counts = {
        frame: int((~np.isfinite(image)).any(axis=-1).sum()) for frame, image in zip(frames, pictures, strict=True)
    }
    bad = {frame: count for frame, count in counts.items() if count}
    if not bad:
        return ""
    frame = max(bad, key=lambda one: bad[one])
    return (
        f"The {what} has NaN or Inf pixels in {len(bad)} of {len(frames)} frames "
        f"({sequence.format_frames(bad)}), most in frame {frame}: {bad[frame]}. They count as 0."
    )


def finite(image: FloatImage) -> FloatImage:
    """The image with 0 where it is not finite."""
    return np.nan_to_num(image, nan=0.0, posinf=0.0, neginf=0.0)
