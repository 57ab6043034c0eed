"""Find image sequences and movies, and parse frame ranges."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from fileseq.exceptions import FileSeqException, MaxSizeException
from fileseq.frameset import FrameSet

from ..api.errors import SequenceError
from ..api.files import check_regular, unreadable

MOVIE_SUFFIXES = (".mov", ".mp4", ".mkv", ".avi", ".mxf", ".m4v", ".webm")
IMAGE_SUFFIXES = (".exr", ".png", ".tif", ".tiff", ".jpg", ".jpeg", ".dpx")
#: The limit for a range or a movie; a shot has hundreds.
MOST_FRAMES = 100_000
# A number in a file's name. A dash is its sign after what parts it from the name, and else parts it itself.
_SIGNED = r"(?:(?:(?<=[._ ])|^)-)?\d+"
# A frame's number in a file's name.
_NUMBER = re.compile(rf"{_SIGNED}(?=\.[^.]+$)")
# One that words follow, as in plate.1001.left.exr.
_INNER_NUMBER = re.compile(rf"{_SIGNED}(?=(?:\.[^\W\d]\w*)+$)")
_TO, _ENDS = r"--?\d+(?:[xy:]\d+)?", r"(?=(?:\.\w+)+$)"
_ALSO = rf",-?\d+(?:{_TO})?"
#: A range as Resolve writes it in a file's name, which counts from ``first``.
BRACKETS = re.compile(rf"\[(?P<bracketed>(?P<first>-?\d+)--?\d+)\]{_ENDS}")
# What stands for the number in a file's name. A number alone is no range: names end in one, as in sh02####.exr.
_NOTATION = re.compile(
    rf"{BRACKETS.pattern}|(?:%\d*d|\$F\d*|(?P<range>{_SIGNED}(?:{_TO}(?:{_ALSO})*|(?:{_ALSO})+))?(?:#+|@+)){_ENDS}"
)
# So many sequences are named where one is to be chosen.
_LISTED = 4


@dataclass(frozen=True)
class Sequence:
    """Frames on disk: one file each, or all in one movie, whose frames count from 1.

    ``channels`` are those that hold a matte, empty for the obvious ones; ``notes`` tell the artist how the sequence was
    interpreted.
    """

    name: str
    files: dict[int, Path]
    movie: Path | None = None
    channels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def frames(self) -> tuple[int, ...]:
        """The numbers of all frames, ascending."""
        return tuple(sorted(self.files))

    def path(self, frame: int) -> Path:
        """The file that holds ``frame``. Raises :class:`SequenceError` where it is missing."""
        try:
            return self.files[frame]
        except KeyError:
            have = format_frames(self.frames)
            raise SequenceError(f"Frame {frame} of {self.name} is missing; it has {have}.") from None

    def moved(self, by: int) -> Sequence:
        """The sequence with shifted frame numbers."""
        return replace(self, files={frame + by: path for frame, path in self.files.items()})

    def noting(self, *notes: str) -> Sequence:
        """The sequence with more notes."""
        return replace(self, notes=(*self.notes, *notes))


def spread(count: int, most: int) -> list[int]:
    """The indices of at most ``most`` of ``count`` frames, evenly spread from the first to the last, ascending."""
    return sorted({round(index) for index in np.linspace(0, count - 1, min(most, count))})


def format_frames(frames: Iterable[int]) -> str:
    """Format a range as :func:`parse_frames` reads it, such as ``1001-1010,1020``."""
    return FrameSet.framesToFrameRange(sorted(frames), compress=False)


def parse_frames(text: str) -> tuple[int, ...]:
    """The frames of a range such as ``1001-1032``, ``1-9x2``, ``-3-3``, or of a list of them, ascending.

    Lists are separated by commas or blanks. Raises :class:`SequenceError` if ``text`` is not a range.
    """
    ranges = re.sub(r"(?<=\d)\s+[-\u2013]\s+(?=-?\d)|(?<=\d)\u2013(?=-?\d)", "-", text.strip())
    try:
        chosen = FrameSet(re.sub(r"[\s,;]+", ",", ranges))
        if len(chosen) > MOST_FRAMES:
            raise MaxSizeException
        frames = tuple(sorted({int(frame) for frame in chosen}))
    except MaxSizeException as error:
        raise SequenceError(f"Frame range {text!r} has more than {MOST_FRAMES} frames; give a shorter one.") from error
    except (FileSeqException, ValueError) as error:
        message = f"Frame range {text!r} is not valid; write it like 1001-1032, 1001-1032x2 or 1001,1005."
        raise SequenceError(message) from error
    if not frames:
        raise SequenceError("The frame range is empty; write it like 1001-1032.")
    return frames


def find(text: str, what: str = "sequence") -> Sequence:
    """Find the sequence or movie that an artist named.

    ``text`` is a pattern (``name.%04d.exr``, ``name.####.exr``, ``name.$F4.exr``, ``name.1001-1100#.exr``,
    ``name.[1001-1100].exr``), a folder that holds one sequence or movie, a movie, or one frame, which stands for its
    whole sequence; ``what`` is its part in the shot, for messages. A file's padding does not matter, only its number.
    Raises :class:`~void_server.api.errors.InputError`; nothing but regular files is taken, and none is opened but a
    movie.
    """
    if not text.strip():
        raise SequenceError(f"The {what} is empty; name its files like name.%04d.exr.")
    path = Path(text).expanduser()
    try:
        if path.is_dir():
            return _in_folder(path, what)
        if path.suffix.lower() in MOVIE_SUFFIXES:
            if not os.path.lexists(path):
                raise SequenceError(f"The {what} {path} does not exist.")
            return _movie(path)
        if not path.parent.is_dir():
            raise SequenceError(f"The folder {path.parent} of the {what} does not exist.")
        return _by_pattern(path, what)
    except OSError as error:
        raise unreadable(Path(error.filename or path), error) from error


def _movie(path: Path) -> Sequence:
    from .movie import frame_count  # OpenCV is slow to load, and most shots are EXR

    return Sequence(path.name, dict.fromkeys(range(1, frame_count(path) + 1), path), movie=path)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _is(of_kind: Callable[[], bool]) -> bool:
    """Whether an entry of a folder is of a kind; False if that cannot be read."""
    try:
        return of_kind()
    except OSError:
        return False


def _by_pattern(path: Path, what: str) -> Sequence:
    if (number := _NUMBER.search(path.name) or _INNER_NUMBER.search(path.name)) and os.path.lexists(path):
        return _of_one_frame(path, path.name[: number.start()], path.name[number.end() :], what)
    notation = _NOTATION.search(path.name)
    if not notation:
        there = os.path.lexists(path)
        if there:
            check_regular(path)
        problem = "has no frame number" if there else "does not exist"
        raise SequenceError(f"The {what} {path} {problem}; name a sequence like name.%04d.exr.")
    before, after = path.name[: notation.start()], path.name[notation.end() :]
    whole = Sequence(path.name, _numbered(path, before, after, what))
    limits = notation["bracketed"] or notation["range"]
    if not limits:
        return whole
    return Sequence(path.name, {frame: whole.path(frame) for frame in parse_frames(limits)})


def _numbered(path: Path, before: str, after: str, what: str) -> dict[int, Path]:
    """The files beside ``path`` whose names are a number between these words, by that number."""
    digits = re.compile(rf"{re.escape(_composed(before))}(-?\d+){re.escape(_composed(after))}")
    entries: dict[int, os.DirEntry[str]] = {}
    for entry in _entries(path.parent):
        if match := digits.fullmatch(_composed(entry.name)):
            frame = int(match[1])
            if frame in entries:
                raise SequenceError(
                    f"Frame {frame} of {path.name} exists twice: {entries[frame].name} and {entry.name}; remove one."
                )
            entries[frame] = entry
    if not entries:
        others = ", ".join(sorted(_sequences(_names(path.parent)))[:_LISTED])
        there = f"; there is {others}" if others else ""
        raise SequenceError(f"The {what} {path} does not exist: no file in {path.parent} matches it{there}.")
    for entry in entries.values():
        # most file systems list the type without a stat per file
        if not _is(entry.is_file):
            check_regular(Path(entry.path))
    return {frame: Path(entry.path) for frame, entry in entries.items()}


def _composed(name: str) -> str:
    """A name with letters and accents in one, whichever system wrote it: macOS takes them apart."""
    return unicodedata.normalize("NFC", name)


def _of_one_frame(path: Path, before: str, after: str, what: str) -> Sequence:
    """The sequence that a single file belongs to, such as one dragged in from a file manager."""
    files = _numbered(path, before, after, what)
    name = f"{before}#{after}"
    if len(files) == 1:
        return Sequence(name, files)
    have = format_frames(files)
    note = f"The {what} names one file, {path.name}; the whole sequence is used, {have}. Limit it with --frames."
    return Sequence(name, files, notes=(note,))


def _names(folder: Path) -> list[str]:
    return [entry.name for entry in _entries(folder) if not entry.name.startswith(".") and not _is(entry.is_dir)]


def _sequences(names: Iterable[str]) -> dict[str, str]:
    """The sequences of images among the names of files, as name.#.exr, with the name of one file of each."""
    return {_NUMBER.sub("#", name): name for name in names if name.lower().endswith(IMAGE_SUFFIXES)}


def _in_folder(folder: Path, what: str) -> Sequence:
    names = _names(folder)
    sequences = _sequences(names)
    candidates = sorted(sequences) + [name for name in names if name.lower().endswith(MOVIE_SUFFIXES)]
    if not candidates:
        raise SequenceError(f"The {what} folder {folder} contains no image sequence or movie; name another.")
    if len(candidates) > 1:
        listed = ", ".join(candidates[:_LISTED])
        raise SequenceError(f"The {what} folder {folder} contains several sequences ({listed}); name one of them.")
    (only,) = candidates
    # by one of its files, whose name no notation has to express
    found = find(str(folder / sequences.get(only, only)), what)
    return replace(found, notes=())
