"""Find a shot's files, check them against each other, and convert them to one form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..api.errors import InputError, SequenceError
from ..api.shot import ROTO, SCENE_LINEAR_REC709, Shot
from ..imaging import exr, matte, movie, sequence
from ..imaging.channels import largest
from ..imaging.colour import ColourSpace
from ..imaging.matte import check_format
from ..imaging.sequence import Sequence
from ..imaging.window import Window
from ..quadmask import classes

#: Quadmask and roto are compared in so many frames, and the quadmask is looked at in as many first.
_LOOKED_AT = 5
#: The colour space of a movie's pixels, unless the shot names another.
_MOVIE_SPACE = "sRGB"
#: How many pixels the data windows of a plate may cover together: what a header claims, memory is taken for. Overscan
#: may be so many times the format, and anything that is small may be.
_PIXELS, _OVERSCAN, _SMALL = 2**28, 16, 2**24


@dataclass(frozen=True)
class Source:
    """The sequences of a shot and the frames to work on; ``canvas`` holds the data windows of all plates.

    Where the roto is still to be made, it is None, or a rough one that need not have all frames; where the shot names a
    quadmask and no roto, it is None until :func:`as_exr`.
    """

    plate: Sequence
    roto: Sequence | None
    quadmask: Sequence | None
    frames: tuple[int, ...]
    canvas: Window
    display: Window
    pixel_aspect: float

    @property
    def notes(self) -> list[str]:
        """Notes for the artist on how the files were interpreted."""
        named = (self.plate, self.roto, self.quadmask)
        return [note for sequence_ in named if sequence_ for note in sequence_.notes]


class _Files(NamedTuple):
    """A shot's sequences as their folders list them; none of their frames was opened."""

    plate: Sequence
    roto: Sequence | None
    quadmask: Sequence | None
    frames: tuple[int, ...]


def open_source(shot: Shot) -> Source:
    """Find the shot's files, check that they belong together, and decide which channels hold roto and quadmask.

    Every frame's header is read; who goes on with a job takes :func:`reopen_source`.
    Raises :class:`~void_server.api.errors.InputError` naming the sequence, frame or file that is wrong.
    """
    plate, roto, quadmask, frames = _found(shot)
    canvas, display, aspect = _plate_windows(plate, frames)
    for name, other in (("roto", roto), ("quadmask", quadmask)):
        if other is not None:
            check_format(name, other, _shared(other, frames), display)
    if roto is not None and (drawn := _shared(roto, frames)):
        roto = _read_from(roto, plate, drawn, to_be_segmented(shot))
    if quadmask is not None:
        quadmask = classes.chosen(quadmask, frames)
    return Source(plate, roto, quadmask, frames, canvas, display, aspect)


def headers_of(source: Source) -> dict[str, Any]:
    """What only the headers say of an opened source, as plain data for :func:`reopen_source`; no paths."""
    return {
        "canvas": source.canvas,
        "display": source.display,
        "pixel_aspect": source.pixel_aspect,
        **{
            name: {"channels": matte_.channels, "notes": matte_.notes} if matte_ else None
            for name, matte_ in (("roto", source.roto), ("quadmask", source.quadmask))
        },
    }


def reopen_source(shot: Shot, headers: dict[str, Any]) -> Source:
    """The source of :func:`open_source`, from its :func:`headers_of` and the folders alone: no frame is opened.

    Raises :class:`~void_server.api.errors.InputError` where a frame has gone since.
    """
    plate, roto, quadmask, frames = _found(shot)

    def known(other: Sequence | None, name: str) -> Sequence | None:
        if other is None:
            return None
        return replace(other, channels=tuple(headers[name]["channels"]), notes=tuple(headers[name]["notes"]))

    canvas, display = (Window(*headers[name]) for name in ("canvas", "display"))
    roto, quadmask = known(roto, "roto"), known(quadmask, "quadmask")
    return Source(plate, roto, quadmask, frames, canvas, display, headers["pixel_aspect"])


def _found(shot: Shot) -> _Files:
    plate = sequence.find(shot.plate, "plate")
    frames = _frames(shot, plate)
    for frame in frames:
        plate.path(frame)
    roto = quadmask = None
    if shot.roto:
        roto = sequence.find(shot.roto, "roto")
        roto = _aligned(roto, "roto", shot.roto_offset, plate, frames, rough=to_be_segmented(shot))
    if shot.quadmask:
        quadmask = sequence.find(shot.quadmask, "quadmask")
        quadmask = _aligned(quadmask, "quadmask", shot.quadmask_offset, plate, frames)
    return _Files(plate, roto, quadmask, frames)


def check_plate(source: Source) -> None:
    """Read the plate's first frame. Raises :class:`SequenceError` where it holds a matte, not a picture."""
    plate, frame = source.plate, source.frames[0]
    if plate.movie:
        pixels = next(movie.read_frames(plate.movie), np.zeros((1, 1, 3), np.uint8)).astype(np.float32) / np.float32(
            255
        )
    else:
        pixels = exr.read_rgb(plate.path(frame))
    if matte.black_and_white(pixels):
        raise SequenceError(
            f"The plate {plate.name} is all black and white in frame {frame}, like a matte; are plate and roto swapped?"
        )


def check_quadmask(shot: Shot, source: Source) -> None:
    """Read frames of the quadmask until they tell enough, and compare a few with the roto.

    Raises :class:`SequenceError` where it leaves nothing of the picture in any frame, where it is to name the object
    and does not, or where the two contradict each other.
    """
    quadmask = source.quadmask
    if quadmask is None:
        return
    if source.roto is not None:
        _check_against(quadmask, source.roto, source)
    # a few frames tell it of nearly all shots
    few = sequence.spread(len(source.frames), _LOOKED_AT)
    order = dict.fromkeys([*few, *range(len(source.frames))])
    keeps, removes = False, source.roto is not None or to_be_segmented(shot)
    for codes in _quadmasks(quadmask, [source.frames[index] for index in order], source.canvas):
        removed = classes.is_removed(codes)
        keeps, removes = keeps or float(removed.mean()) < 0.999, removes or bool(removed.any())
        if keeps and removes:
            return
    if not keeps:
        raise SequenceError(
            f"The quadmask {quadmask.name} removes the whole picture in all frames, which leaves nothing to tell the "
            "scene by; draw what is kept in white (255)."
        )
    raise SequenceError(
        f"The quadmask {quadmask.name} removes nothing in any of the {len(source.frames)} frames; draw the object in "
        "black (0), or name its roto."
    )


def _check_against(quadmask: Sequence, roto: Sequence, source: Source) -> None:
    """A roto that is taken for a quadmask is the likely mistake: black is the object in one, and nothing in the other.

    Movies are compared in their first frames.
    """
    count = len(source.frames)
    looked_at = range(min(count, _LOOKED_AT)) if quadmask.movie or roto.movie else sequence.spread(count, _LOOKED_AT)
    frames = [source.frames[index] for index in looked_at if source.frames[index] in roto.files]
    shares = []
    for drawn, codes in zip(
        _rotos(roto, frames, source.display), _quadmasks(quadmask, frames, source.display), strict=False
    ):
        if drawn.any() and not drawn.all():
            removed = codes == classes.REMOVE
            shares.append((float(removed[drawn].mean()), float(removed[~drawn].mean())))
    if shares and all(inside < 0.5 < outside for inside, outside in shares):
        raise SequenceError(
            f"The quadmask {quadmask.name} removes what lies around the roto {roto.name}, not what it covers; black "
            "(0) is what is removed, white (255) what is kept. Is it a roto, or inverted?"
        )


def _quadmasks(quadmask: Sequence, frames: Iterable[int], window: Window) -> Iterator[classes.Quadmask]:
    """The quadmask of frames in ``window``; a movie's in its own order, and whole."""
    if quadmask.movie:
        return (_codes(quadmask, pixels) for _, pixels in _pictures(quadmask, frames))
    return (classes.read(quadmask.path(frame), window, quadmask.channels) for frame in frames)


def _rotos(roto: Sequence, frames: Iterable[int], window: Window) -> Iterator[NDArray[np.bool_]]:
    """Where the roto of frames is object, as :func:`_quadmasks`."""
    if roto.movie:
        return (_alpha(roto, pixels) >= matte.OBJECT for _, pixels in _pictures(roto, frames))
    return (exr.read_matte(roto.path(frame), window, roto.channels) >= matte.OBJECT for frame in frames)


def _pictures(sequence_: Sequence, frames: Iterable[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """The frames of a movie that are asked for, with their numbers, in its own order; no more is read."""
    assert sequence_.movie is not None
    wanted = set(frames)
    for frame, pixels in enumerate(movie.read_frames(sequence_.movie), start=sequence_.frames[0]) if wanted else ():
        if frame in wanted:
            yield frame, pixels
            wanted.discard(frame)
        if not wanted:
            return


def _codes(quadmask: Sequence, pixels: NDArray[np.uint8]) -> classes.Quadmask:
    """The quadmask that a frame of a movie holds."""
    return classes.quantise(largest(pixels[..., _rgb(quadmask)]).astype(np.float32), quadmask.name)


def _alpha(roto: Sequence, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The matte that a frame of a movie holds."""
    return largest(pixels[..., _rgb(roto)]) / np.float32(255)


def to_be_segmented(shot: Shot) -> bool:
    """Whether the shot's roto is to be made from prompts or a rough one."""
    return bool(shot.prompts) or shot.settings.until == ROTO


def _shared(other: Sequence, frames: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(frame for frame in frames if frame in other.files)


def _frames(shot: Shot, plate: Sequence) -> tuple[int, ...]:
    if shot.frames is not None:
        return sequence.parse_frames(shot.frames)
    first, last = plate.frames[0], plate.frames[-1]
    # counted, not listed: two files may be a million numbers apart
    lacking = last - first + 1 - len(plate.files)
    if lacking:
        missing = next(frame for frame in range(first, last) if frame not in plate.files)
        raise SequenceError(
            f"Frame {missing} of the plate {plate.name} is missing ({lacking} of {first}-{last}); render it, "
            "or set the frame range."
        )
    return plate.frames


def _aligned(
    other: Sequence, name: str, offset: int, plate: Sequence, frames: tuple[int, ...], *, rough: bool = False
) -> Sequence:
    """Roto or quadmask in the plate's frame numbers.

    A movie counts from 1: if it has as many frames as the plate, or as the frame range, they correspond in order.
    """
    if offset:
        other = other.moved(offset)
    missing = [frame for frame in frames if frame not in other.files]
    if (other.movie or plate.movie) and missing and not offset:
        for numbers in (plate.frames, frames):
            if len(numbers) == len(other.files) == numbers[-1] - numbers[0] + 1 == _span(other):
                by = numbers[0] - other.frames[0]
                return other.moved(by).noting(
                    f"Frame {other.frames[0]} of the {name} {other.name} is aligned with frame {numbers[0]}, "
                    f"as both have {len(numbers)} frames ({_option(name)} {by})."
                )
    if missing and not rough:
        raise SequenceError(
            f"The {name} {other.name} has no frame {missing[0]} ({len(missing)} of the {len(frames)} frames "
            f"of {plate.name} are missing); it has "
            f"{sequence.format_frames(other.frames)}{f' with {_option(name)} {offset}' if offset else ''}. "
            "Write it for the same range, set the frame range, or shift its frame numbers with "
            f"{_option(name)}."
        )
    return other


def _span(other: Sequence) -> int:
    return other.frames[-1] - other.frames[0] + 1


def _option(name: str) -> str:
    return f"--{name}-offset"


def _read_from(roto: Sequence, plate: Sequence, frames: tuple[int, ...], rough: bool) -> Sequence:
    """The roto with the channels that hold it. Raises InputError where it is the plate, and that has no matte."""
    same = roto.path(frames[0]).samefile(plate.path(frames[0]))
    try:
        chosen = matte.choose(roto, "roto", frames, may_be_empty=rough)
    except InputError as error:
        if same:
            raise _plate_again(roto, str(error)) from error
        raise
    if not same:
        return chosen
    if not all(map(exr.is_alpha, chosen.channels)):
        raise _plate_again(roto, "")
    return chosen.noting(f"Plate and roto are the same files, {roto.name}; the alpha is used as the roto.")


def _plate_again(roto: Sequence, why: str) -> SequenceError:
    return SequenceError(
        f"Plate and roto are the same files, {roto.name}, but their alpha holds no roto; name the roto's files.", why
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
                f"Frame {frame} of the plate {plate.name} differs in format from frame {frames[0]} "
                f"({_format(header)}, not {_format(first)}); write all frames in one format."
            )
        canvas = canvas.union(header.data_window)
        display = first.display_window
        whole = canvas.union(display)
        if whole.width * whole.height > min(_PIXELS, max(_SMALL, _OVERSCAN * display.width * display.height)):
            raise SequenceError(
                f"Frame {frame} of the plate {plate.name} has a data window far beyond the format, or a format that is "
                f"far too large: the plate would cover {_size(whole)} pixels, and its format is {_size(display)}; "
                "crop the frame."
            )
    assert first is not None, "a shot has frames"
    return canvas, first.display_window, first.pixel_aspect


def _format(header: exr.Header) -> str:
    window = header.display_window
    place = f" at {window.x},{window.y}" if (window.x, window.y) != (0, 0) else ""
    shape = f", pixel aspect {header.pixel_aspect:g}" if header.pixel_aspect != 1 else ""
    return _size(window) + place + shape


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
    if quadmask and quadmask.movie:
        painted = quadmask

        def codes(frame: NDArray[np.uint8]) -> NDArray[np.float16]:
            return (_codes(painted, frame)[..., None] / np.float32(255)).astype(np.float16)

        quadmask = _decode(quadmask, work / "quadmask", ("Y",), codes, source, report)
    if roto and roto.movie:
        drawn = roto

        def alpha(frame: NDArray[np.uint8]) -> NDArray[np.float16]:
            return _alpha(drawn, frame)[..., None].astype(np.float16)

        roto = _decode(roto, work / "roto", ("A",), alpha, source, report)
    elif roto is None and quadmask is not None and not to_be_segmented(shot):
        roto = _object_of(quadmask, source, work / "roto")
    return replace(source, plate=plate, roto=roto, quadmask=quadmask), colour


def _rgb(movie_: Sequence) -> list[int]:
    return [exr.RGB.index(name) for name in movie_.channels or exr.RGB]


def _object_of(quadmask: Sequence, source: Source, folder: Path) -> Sequence:
    """The roto that a quadmask holds: what is to be removed, alone or together with what is affected."""
    files = {frame: folder / f"{folder.name}.{frame:04d}.exr" for frame in source.frames}
    for frame, file in files.items():
        if not file.is_file():
            codes = classes.read(quadmask.path(frame), source.canvas, quadmask.channels)
            exr.write(
                file,
                classes.is_removed(codes)[..., None].astype(np.float16),
                ("A",),
                data_window=source.canvas,
                display_window=source.display,
            )
    return Sequence(quadmask.name, files)


def _decode(
    sequence_: Sequence,
    folder: Path,
    channels: tuple[str, ...],
    convert: Callable[[NDArray[np.uint8]], NDArray[np.float16]],
    source: Source,
    report: Callable[[int], None],
) -> Sequence:
    files = {frame: folder / f"{folder.name}.{frame:04d}.exr" for frame in source.frames}
    missing = {frame for frame, file in files.items() if not file.is_file()}
    for frame, pixels in _pictures(sequence_, missing):
        exr.write(files[frame], convert(pixels), channels, data_window=source.display)
        report(frame)
        missing.discard(frame)
    if missing:
        raise SequenceError(f"The movie {sequence_.name} ends before frame {min(missing)}; give a shorter range.")
    return Sequence(sequence_.name, files, notes=sequence_.notes)
