"""A shot's files: found, checked against each other, and brought into one form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .api.errors import SequenceError
from .api.shot import SCENE_LINEAR_REC709, Shot
from .imaging import exr, movie, sequence
from .imaging.colour import ColourSpace
from .imaging.sequence import Sequence
from .imaging.window import Window
from .quadmask import classes

#: What a movie's pixels are taken to be encoded in, unless the shot says otherwise.
_MOVIE_SPACE = "sRGB"


@dataclass(frozen=True)
class Source:
    """The sequences of a shot and the frames to work on; ``canvas`` holds the data windows of all plates.

    Where the roto is still to be made, it is None, or a rough one that need not have all frames.
    """

    plate: Sequence
    roto: Sequence | None
    quadmask: Sequence | None
    frames: tuple[int, ...]
    canvas: Window
    display: Window
    pixel_aspect: float


def open_source(shot: Shot) -> Source:
    """Find the shot's files and check that they belong together.

    Raises :class:`~void_server.api.errors.InputError` naming the sequence, frame or file that is wrong.
    """
    plate = sequence.find(shot.plate, "plate")
    roto = sequence.find(shot.roto, "roto") if shot.roto else None
    rough = to_be_segmented(shot)
    quadmask = sequence.find(shot.quadmask, "quadmask") if shot.quadmask else None
    frames = _frames(shot, plate)
    for frame in frames:
        plate.path(frame)
    for name, other in (("roto", roto), ("quadmask", quadmask)):
        if other is not None and not (rough and other is roto):
            _check_range(name, other, plate, frames)
    canvas, display, aspect = _plate_windows(plate, frames)
    for name, other in (("roto", roto), ("quadmask", quadmask)):
        if other is not None:
            _check_windows(name, other, tuple(frame for frame in frames if frame in other.files), display)
    return Source(plate, roto, quadmask, frames, canvas, display, aspect)


def to_be_segmented(shot: Shot) -> bool:
    """Whether the shot's roto is to be made from prompts or a rough one."""
    return bool(shot.prompts) or shot.settings.only_roto


def _frames(shot: Shot, plate: Sequence) -> tuple[int, ...]:
    if shot.frames:
        return sequence.parse_frames(shot.frames)
    first, last = plate.frames[0], plate.frames[-1]
    gaps = sorted(set(range(first, last + 1)) - set(plate.frames))
    if gaps:
        raise SequenceError(
            f"Frame {gaps[0]} of the plate {plate.name} is missing ({len(gaps)} of {first}-{last}); "
            "render it, or give the range to work on."
        )
    return plate.frames


def _check_range(name: str, other: Sequence, plate: Sequence, frames: tuple[int, ...]) -> None:
    missing = [frame for frame in frames if frame not in other.files]
    if missing:
        have = sequence.format_frames(other.frames)
        raise SequenceError(
            f"The {name} {other.name} has no frame {missing[0]} ({len(missing)} of the {len(frames)} frames of "
            f"{plate.name} are missing); it has {have}. Write it for the same range, or give the range to work on."
        )


def _plate_windows(plate: Sequence, frames: tuple[int, ...]) -> tuple[Window, Window, float]:
    if plate.movie:
        width, height = movie.size(plate.movie)
        window = Window(0, 0, width, height)
        return window, window, 1.0
    canvas, first = Window(0, 0, 0, 0), None
    for frame in frames:
        header = exr.read_header(plate.path(frame))
        first = first or header
        if (header.display_window, header.pixel_aspect) != (first.display_window, first.pixel_aspect):
            raise SequenceError(
                f"Frame {frame} of the plate {plate.name} has another format than frame {frames[0]} "
                f"({_size(header.display_window)}, not {_size(first.display_window)}); write all frames alike."
            )
        canvas = canvas.union(header.data_window)
    assert first is not None, "a shot has frames"
    return canvas, first.display_window, first.pixel_aspect


def _check_windows(name: str, other: Sequence, frames: tuple[int, ...], display: Window) -> None:
    for frame in frames[:1] if other.movie else frames:
        if other.movie:
            format_ = Window(display.x, display.y, *movie.size(other.movie))
        else:
            format_ = exr.windows(other.path(frame))[1]
        if format_[2:] != display[2:]:
            raise SequenceError(
                f"Frame {frame} of the {name} {other.name} is {_size(format_)}, the plate {_size(display)}; "
                "write both in the same format."
            )


def _size(window: Window) -> str:
    return f"{window.width}x{window.height}"


def as_exr(source: Source, shot: Shot, work: Path, report: Callable[[int], None]) -> tuple[Source, ColourSpace]:
    """The source with movies turned into EXR sequences below ``work``, and the colour space of its plates.

    A movie's plate becomes scene-linear Rec.709; from then on that is its colour space.
    """
    colour = ColourSpace(shot.colorspace, shot.ocio)
    plate, roto, quadmask = source.plate, source.roto, source.quadmask
    if plate.movie:
        encoded = colour if shot.colorspace != SCENE_LINEAR_REC709 else ColourSpace(_MOVIE_SPACE, shot.ocio)
        colour = ColourSpace(SCENE_LINEAR_REC709)

        def linear(frame: NDArray[np.uint8]) -> NDArray[np.float16]:
            return encoded.to_linear(frame.astype(np.float32) / np.float32(255)).astype(np.float16)

        plate = _decode(plate, work / "plate", exr.RGB, linear, source, report)
    if roto and roto.movie:
        roto = _decode(roto, work / "roto", ("A",), _luma, source, report)
    if quadmask and quadmask.movie:
        name = quadmask.name

        def codes(frame: NDArray[np.uint8]) -> NDArray[np.float16]:
            found = classes.quantise(frame.astype(np.float32).mean(axis=-1), name)
            return (found[..., None] / np.float32(255)).astype(np.float16)

        quadmask = _decode(quadmask, work / "quadmask", ("Y",), codes, source, report)
    return Source(plate, roto, quadmask, *list(source.__dict__.values())[3:]), colour


def _luma(frame: NDArray[np.uint8]) -> NDArray[np.float16]:
    return (frame.astype(np.float32).mean(axis=-1, keepdims=True) / 255).astype(np.float16)


def _decode(
    sequence_: Sequence,
    folder: Path,
    channels: tuple[str, ...],
    convert: Callable[[NDArray[np.uint8]], NDArray[np.float16]],
    source: Source,
    report: Callable[[int], None],
) -> Sequence:
    assert sequence_.movie is not None
    files = {frame: folder / f"{folder.name}.{frame:04d}.exr" for frame in source.frames}

    def decoded() -> Iterator[tuple[int, NDArray[np.uint8]]]:
        assert sequence_.movie is not None
        return enumerate(movie.read_frames(sequence_.movie), start=1)

    missing = set(files)
    for frame, pixels in decoded():
        if frame in missing:
            if not files[frame].is_file():
                exr.write(files[frame], convert(pixels), channels, data_window=source.display)
                report(frame)
            missing.discard(frame)
    if missing:
        raise SequenceError(f"The movie {sequence_.name} ends before frame {min(missing)}; give a shorter range.")
    return Sequence(sequence_.name, files)
