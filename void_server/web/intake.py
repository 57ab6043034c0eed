"""What people bring: a movie, EXR, or other pictures become a plate that all the rest can work on.

Runs in a process of its own, as :mod:`void_server.web.pictures` does.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..api.errors import SequenceError
from ..api.shot import SCENE_LINEAR_REC709
from ..api.version import VersionFolder
from ..imaging import exr, movie, sequence
from ..imaging.colour import ColourSpace
from ..imaging.parallel import for_each, in_order
from ..imaging.sequence import Sequence
from ..sample import write_sample

#: The colour space of movies and of pictures that are not EXR.
_ENCODED = "sRGB"
#: No shot on the page is longer.
MOST_FRAMES = 2000
_SAMPLE_SIZE, _SAMPLE_FRAMES = (640, 360), range(1001, 1025)


@dataclass(frozen=True)
class Taken:
    """A plate that was taken in: its frames, its format, its pixel aspect, and its colour space where that is known."""

    frames: tuple[int, ...]
    width: int
    height: int
    aspect: float
    colorspace: str | None


def take_in(given: Path, folder: Path) -> Taken:
    """Make the plate in ``folder`` of the movie or the sequence in ``given``.

    EXR frames stay the files that they are; everything else becomes EXR, scene-linear Rec.709.
    Raises :class:`~void_server.api.errors.InputError` for what is neither.
    """
    found = sequence.find(str(given), "shot")
    if len(found.files) > MOST_FRAMES:
        raise SequenceError(
            f"{found.name} has {len(found.files)} frames, and the page takes {MOST_FRAMES}; bring the part with the "
            "object, or use the command `void remove`."
        )
    version = VersionFolder(folder)
    version.plate(0).parent.mkdir(parents=True, exist_ok=True)
    if found.movie:
        frames = _movie_frames(found.movie, version)
        colorspace: str | None = SCENE_LINEAR_REC709
    elif next(iter(found.files.values())).suffix.lower() == ".exr":
        frames, colorspace = _exr_frames(found, version), None
    else:
        frames, colorspace = _picture_frames(found, version), SCENE_LINEAR_REC709
    first = version.plate(frames[0])
    _, display = exr.windows(first)
    return Taken(frames, display.width, display.height, exr.pixel_aspect(first), colorspace)


def take_sample(folder: Path) -> Taken:
    """Write the sample shot, and take its plate in."""
    shot = folder / "sample"
    write_sample(shot, size=_SAMPLE_SIZE, frames=_SAMPLE_FRAMES)
    return take_in(shot / "plate", folder)


def _exr_frames(found: Sequence, version: VersionFolder) -> tuple[int, ...]:
    for frame, path in found.files.items():
        # that it is a plate is known before anything is asked of a server
        exr.read_header(path)
        os.replace(path, version.plate(frame))
    return found.frames


def _picture_frames(found: Sequence, version: VersionFolder) -> tuple[int, ...]:
    colour = ColourSpace(_ENCODED)

    def convert(frame: int) -> None:
        path = found.path(frame)
        names = exr.channel_names(path)
        _, window = exr.windows(path)
        channels = exr.RGB if set(exr.RGB) <= set(names) else names[:1] * 3
        values = exr.read_channels(path, channels, window)
        exr.write(version.plate(frame), colour.to_linear(values).astype(np.float32), exr.RGB)

    for_each(convert, found.frames)
    return found.frames


def _movie_frames(path: Path, version: VersionFolder) -> tuple[int, ...]:
    colour = ColourSpace(_ENCODED)

    def convert(numbered: tuple[int, NDArray[np.uint8]]) -> None:
        frame, picture = numbered
        linear = colour.to_linear(picture.astype(np.float32) / np.float32(255))
        # halves hold more than a movie's eight bits
        exr.write(version.plate(frame), linear.astype(np.float16), exr.RGB)

    frames = tuple(
        frame for (frame, _), _ in in_order(convert, enumerate(islice(movie.read_frames(path), MOST_FRAMES), 1))
    )
    if not frames:
        raise SequenceError(f"{path.name} has no frame that can be read; write the frames as an EXR sequence.")
    return frames
