"""Finding image sequences and movies, and frame ranges."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fileseq.exceptions import FileSeqException
from fileseq.filesequence import FileSequence
from fileseq.frameset import FrameSet

from ..api.errors import SequenceError

MOVIE_SUFFIXES = (".mov", ".mp4", ".mkv", ".avi", ".mxf", ".m4v", ".webm")
IMAGE_SUFFIXES = (".exr", ".png", ".tif", ".tiff", ".jpg", ".jpeg", ".dpx")


@dataclass(frozen=True)
class Sequence:
    """Frames on disk: one file each, or all in one movie, whose frames count from 1."""

    name: str
    files: dict[int, Path]
    movie: Path | None = None

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


def spread(count: int, most: int) -> list[int]:
    """The indices of at most ``most`` of ``count`` frames, evenly spread from the first to the last, ascending."""
    return sorted({round(index) for index in np.linspace(0, count - 1, min(most, count))})


def format_frames(frames: Iterable[int]) -> str:
    """A range in words that :func:`parse_frames` understands, such as ``1001-1010,1020``."""
    return FrameSet.framesToFrameRange(sorted(frames), compress=False)


def parse_frames(text: str) -> tuple[int, ...]:
    """The frames of a range such as ``1001-1032``, ``1-9x2`` or ``-3-3``, ascending.

    Raises :class:`SequenceError` where it is no range.
    """
    try:
        frames = tuple(sorted({int(frame) for frame in FrameSet(text)}))
    except (FileSeqException, ValueError) as error:
        message = f"Frame range {text!r} cannot be understood; write it like 1001-1032 or 1001-1032x2."
        raise SequenceError(message) from error
    if not frames:
        raise SequenceError("The frame range is empty; write it like 1001-1032.")
    return frames


def find(text: str, what: str = "sequence") -> Sequence:
    """Find the sequence or movie that an artist named.

    ``text`` is a pattern (``name.%04d.exr``, ``name.####.exr``, ``name.1001-1100#.exr``), a folder that holds one
    sequence or movie, a movie, or one frame; ``what`` is its part in the shot, for messages. Padding is not held
    against a file: what matters is its number. Raises :class:`SequenceError`.
    """
    path = Path(text).expanduser()
    if path.is_dir():
        return _in_folder(path, what)
    if path.suffix.lower() in MOVIE_SUFFIXES:
        if not path.is_file():
            raise SequenceError(f"The {what} {path} does not exist.")
        return _movie(path)
    if not path.parent.is_dir():
        raise SequenceError(f"The folder {path.parent} of the {what} does not exist.")
    return _by_pattern(path, what)


def _movie(path: Path) -> Sequence:
    from .movie import frame_count  # OpenCV is slow to load, and most shots are EXR

    return Sequence(path.name, dict.fromkeys(range(1, frame_count(path) + 1), path), movie=path)


def _by_pattern(path: Path, what: str) -> Sequence:
    try:
        pattern = FileSequence(str(path))
    except FileSeqException as error:
        message = f"{path} is no sequence; write it like name.%04d.exr, name.####.exr or name.1001-1100#.exr."
        raise SequenceError(message) from error
    if not pattern.padding():
        problem = "has no frame number" if path.is_file() else "does not exist"
        raise SequenceError(f"The {what} {path} {problem}; name a sequence like name.%04d.exr.")
    digits = re.compile(rf"{re.escape(pattern.basename())}(-?\d+){re.escape(pattern.extension())}")
    files: dict[int, Path] = {}
    for file in sorted(path.parent.iterdir()):
        if match := digits.fullmatch(file.name):
            frame = int(match[1])
            if frame in files:
                raise SequenceError(
                    f"Frame {frame} of {path.name} is there twice: {files[frame].name} and {file.name}."
                )
            files[frame] = file
    if not files:
        raise SequenceError(f"The {what} {path} does not exist: no file in {path.parent} matches it.")
    wanted = pattern.frameSet()
    found = Sequence(path.name, files)
    if wanted is None:
        return found
    return Sequence(path.name, {int(frame): found.path(int(frame)) for frame in wanted})


def _in_folder(folder: Path, what: str) -> Sequence:
    names = sorted(f.name for f in folder.iterdir() if f.is_file() and not f.name.startswith("."))
    movies = [n for n in names if n.lower().endswith(MOVIE_SUFFIXES)]
    images = [n for n in names if n.lower().endswith(IMAGE_SUFFIXES)]
    patterns = {re.sub(r"-?\d+(?=\.[^.]+$)", "#", name) for name in images}
    candidates = sorted(patterns) + movies
    if not candidates:
        raise SequenceError(f"The {what} folder {folder} holds no image sequence and no movie.")
    if len(candidates) > 1:
        listed = ", ".join(candidates[:4])
        raise SequenceError(
            f"The {what} folder {folder} holds several sequences ({listed}); name the one that you mean."
        )
    return find(str(folder / candidates[0]), what)
