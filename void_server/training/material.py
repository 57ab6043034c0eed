"""Pairs to learn from, display-referred, in either of two forms: our folder of a pair, and the published one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property, reduce
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..api.errors import SequenceError
from ..imaging import exr, movie
from ..imaging import sequence as footage
from ..imaging.colour import ColourSpace, Curve
from ..imaging.exr import FloatImage
from ..imaging.footage import curve_up_to
from ..imaging.runs import runs
from ..imaging.window import Window
from ..pairs import PairFolder, pairs_in
from ..pairs.export.published import FULL, MASK, REMOVED, PublishedFolder, published_in
from ..pairs.layout import QUADMASK
from ..pairs.source import of_folder
from ..quadmask import classes
from ..quadmask.classes import Quadmask
from .config import LEAST_FRAMES, Data


class Pair(ABC):
    """A pair: pictures are (height, width, 3), display-referred, quadmasks (height, width).

    ``frames`` are those that are learnt from, ``runs`` the same in parts with no gap in them, each long enough for a
    clip; ``canvas`` is the window that they fill.
    """

    def __init__(self, folder: Path, prompt: str) -> None:
        self.folder, self.prompt = folder, prompt
        self.frames: tuple[int, ...] = ()
        self.runs: tuple[tuple[int, ...], ...] = ()
        self.canvas, self.pixel_aspect = Window(0, 0, 0, 0), 1.0
        #: The name of the files' colour space; empty where they are display-referred.
        self.colour = ""

    def _take(self, frames: tuple[int, ...], fps: float, data: Data) -> None:
        """Learn from these frames, of which ``fps`` are a second. Raises :class:`SequenceError` for too few."""
        step = max(1, round(fps / data.fps)) if data.fps else 1
        parts = [tuple(frames[index] for index in run[::step]) for run in runs(frames)]
        self.runs = tuple(run for run in parts if len(run) >= LEAST_FRAMES)
        self.frames = tuple(frame for run in self.runs for frame in run)
        if not self.runs:
            gaps = f" without a gap, of {footage.format_frames(frames)}" if len(parts) > 1 else ""
            raise SequenceError(
                f"{self.folder} has {max(map(len, parts), default=0)} frames to learn from{gaps}, and {LEAST_FRAMES} "
                "are the least; leave it out, or set data.fps higher."
            )

    @property
    def name(self) -> str:
        """What the log and the page call it."""
        return self.folder.name

    @property
    @abstractmethod
    def files(self) -> list[Path]:
        """All files of the pair that are learnt from."""

    @abstractmethod
    def plate(self, frame: int, window: Window) -> FloatImage:
        """RGB of the plate."""

    @abstractmethod
    def truth(self, frame: int, window: Window) -> FloatImage:
        """The same of the truth."""

    @abstractmethod
    def codes(self, frame: int, window: Window) -> Quadmask:
        """The quadmask."""

    def changing(self, frames: Sequence[int]) -> Window:
        """The smallest window that holds all that is not kept in ``frames``; empty where nothing is."""
        canvas = self.canvas

        def changed(frame: int) -> Window:
            x, y, width, height = cv2.boundingRect((self.codes(frame, canvas) != classes.KEEP).astype(np.uint8))
            return Window(canvas.x + x, canvas.y + y, width, height)

        return reduce(Window.union, map(changed, frames))


class OwnPair(Pair):
    """A pair in our folder, in the colour space that it names: shown by the engine's curve for the plate."""

    def __init__(self, folder: PairFolder, data: Data) -> None:
        given = of_folder(folder)
        super().__init__(folder.folder, given.facts.prompt)
        self._plate, self._truth = given.plate, given.truth
        self._quadmask = folder.sequence(data.quadmask)
        self._take(given.frames, given.facts.fps, data)
        header = exr.read_header(self._plate.path(self.frames[0]))
        self.canvas, self.pixel_aspect = header.display_window, header.pixel_aspect
        for file in self.files:
            if (window := exr.windows(file)[1]) != self.canvas:
                raise SequenceError(
                    f"{file} is {window.width} x {window.height} at {window.x}, {window.y}, and the plate "
                    f"{self.canvas.width} x {self.canvas.height} at {self.canvas.x}, {self.canvas.y}; write all in one "
                    "format."
                )
        self.colour = given.colour
        self._space = ColourSpace(given.colour)

    @property
    def files(self) -> list[Path]:
        """Plates, quadmasks and truths."""
        found = [self._plate.path(f) for f in self.frames] + [self._quadmask.path(f) for f in self.frames]
        # a single one serves all
        return [*found, *dict.fromkeys(self._truth.path(f) for f in self.frames)]

    @cached_property
    def curve(self) -> Curve:
        """As the engine has it for the plate: all of the shot decides."""
        return curve_up_to(max(float(self._linear(self._plate.path(f), self.canvas).max()) for f in self.frames))

    def _linear(self, path: Path, window: Window) -> FloatImage:
        pixels = np.nan_to_num(exr.read_rgb(path, window), nan=0.0, posinf=0.0, neginf=0.0)
        return np.clip(self._space.to_linear(pixels), -exr.HALF_MAX, exr.HALF_MAX)

    def plate(self, frame: int, window: Window) -> FloatImage:
        """By the curve."""
        return self.curve.to_display(self._linear(self._plate.path(frame), window))

    def truth(self, frame: int, window: Window) -> FloatImage:
        """By the plate's curve."""
        return self.curve.to_display(self._linear(self._truth.path(frame), window))

    def codes(self, frame: int, window: Window) -> Quadmask:
        """The quadmask that the settings name."""
        return classes.read(self._quadmask.path(frame), window)


class PublishedPair(Pair):
    """A pair in the published form, whose pictures are display-referred as they are; frames count from 1."""

    def __init__(self, folder: PublishedFolder, data: Data) -> None:
        super().__init__(folder.folder, folder.prompt())
        if data.quadmask != QUADMASK:
            raise SequenceError(
                f"{self.folder} has one mask, as published, and no {data.quadmask}; set data.quadmask to {QUADMASK}."
            )
        self._parts = {role: _Pictures(folder.footage(role)) for role in (FULL, REMOVED, MASK)}
        if len({(part.numbers[-1], part.size) for part in self._parts.values()}) > 1:
            told = ", ".join(
                f"{role} {len(part.numbers)} frames of {part.size[0]} x {part.size[1]}"
                for role, part in self._parts.items()
            )
            raise SequenceError(f"{self.folder} has in {told}; all must be as many and as large.")
        whole = self._parts[FULL]
        for role, part in self._parts.items():
            if lacking := sorted({*whole.numbers} ^ {*part.numbers}):
                raise SequenceError(
                    f"{self.folder} has picture {lacking[0]} in one of {FULL} and {role} only, counted from the first; "
                    "all must have the same."
                )
        self._take(whole.numbers, folder.rate(), data)
        self.canvas = Window(0, 0, *whole.size)

    @property
    def files(self) -> list[Path]:
        """Movies, or images."""
        return [file for part in self._parts.values() for file in part.files(self.frames)]

    def plate(self, frame: int, window: Window) -> FloatImage:
        """As it is stored."""
        return self._shown(FULL, frame, window)

    def truth(self, frame: int, window: Window) -> FloatImage:
        """As it is stored."""
        return self._shown(REMOVED, frame, window)

    def codes(self, frame: int, window: Window) -> Quadmask:
        """The codes that were meant, should a codec have moved them."""
        values = self._shown(MASK, frame, window)[..., 0] * np.float32(255)
        return classes.quantise(values, f"{MASK} of {self.folder}")

    def _shown(self, role: str, frame: int, window: Window) -> FloatImage:
        return self._parts[role][frame][self.canvas.slices(window)]


#: Where a pair lies, in either form.
Folder = PairFolder | PublishedFolder


def folders_in(place: Path) -> list[Folder]:
    """All pairs in a folder, in whichever form: itself, or the folders in it."""
    return [*pairs_in(place), *published_in(place)]


def opened(folder: Folder, data: Data) -> Pair:
    """A pair whose files were found. Raises :class:`~void_server.api.errors.InputError` where one is wrong."""
    return OwnPair(folder, data) if isinstance(folder, PairFolder) else PublishedPair(folder, data)


class _Pictures:
    """Pictures by their number, of a movie or of a folder of images; the first is 1, and one that is missing counts."""

    def __init__(self, found: footage.Sequence) -> None:
        self._found, self._reel = found, _Reel(found.movie) if found.movie else None
        self.numbers = tuple(frame - found.frames[0] + 1 for frame in found.frames)
        first = self._path(1)
        window = exr.windows(first)[1] if self._reel is None else Window(0, 0, *movie.size(first))
        #: Width and height.
        self.size = window.width, window.height

    def _path(self, number: int) -> Path:
        return self._found.path(self._found.frames[0] + number - 1)

    def files(self, numbers: Sequence[int]) -> list[Path]:
        """The files that hold these pictures."""
        return list(dict.fromkeys(map(self._path, numbers)))

    def __getitem__(self, number: int) -> FloatImage:
        """RGB (height, width, 3) in 0..1. Raises :class:`~void_server.api.errors.InputError` for what is damaged."""
        if self._reel is not None:
            return self._reel[number].astype(np.float32) / np.float32(255)
        path = self._path(number)
        names = exr.channel_names(path)
        # a mask may have a single channel
        channels = names[:3] if len(names) >= 3 else names[:1]
        pixels = exr.read_channels(path, channels, exr.windows(path)[1])
        return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


class _Reel:
    """The frames of a movie by number, from 1, decoded as they are asked for: going back begins anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rest: Iterator[NDArray[np.uint8]] = iter(())
        self._number, self._frame = 0, np.zeros((0, 0, 3), np.uint8)

    def __getitem__(self, number: int) -> NDArray[np.uint8]:
        """RGB (height, width, 3). Raises :class:`~void_server.api.errors.InputError` where the movie ends before."""
        if not 0 < self._number <= number:
            self._rest, self._number = movie.read_frames(self._path), 0
        while self._number < number:
            frame = next(self._rest, None)
            if frame is None:
                ended, self._number = self._number, 0
                raise SequenceError(f"{self._path} ends after frame {ended}, though it claims more; write it again.")
            self._number, self._frame = self._number + 1, frame
        return self._frame
