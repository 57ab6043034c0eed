"""The form in which VOID's makers published their training pairs, written as their loader reads it, and read.

A folder a pair with ``rgb_full.mp4``, ``rgb_removed.mp4``, ``mask.mp4``, ``prompt.json`` and ``metadata.json``, and a
list of all, ``train_data.json``, for ``--train_data_meta``. The loader (videox_fun/data/dataset_image_video.py) takes
one channel of the mask, inverts it (255 - code), and reads it by thresholds: 63 becomes 192, which is above 191 and
counts as object; 64 would become 191, and count as affected. So every code must come back exactly: all movies are
lossless (FFV1, read by FFmpeg, with which that loader decodes).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from ...api.errors import SequenceError
from ...api.files import read_json, replacing, write_atomically
from ...imaging import exr
from ...imaging.colour import ColourSpace, Curve
from ...imaging.sequence import MOVIE_SUFFIXES, Sequence, find
from ...quadmask import classes
from ..layout import Facts, read_facts
from ..source import PairSource, read_codes

#: Frames a second of the published clips, whatever the real speed of the motion.
RATE = 12
#: The size of the published pairs with people, the largest.
_LARGEST = (1600, 900)
FULL, REMOVED, MASK = "rgb_full", "rgb_removed", "mask"
_PROMPT, _METADATA, _LIST = "prompt.json", "metadata.json", "train_data.json"


class _Prompt(BaseModel):
    """What prompt.json says: the background, as the makers name it."""

    bg: str | None = None


class _Metadata(BaseModel):
    """What is read of metadata.json; there is more in it."""

    frame_rate: float | None = Field(default=None, gt=0, allow_inf_nan=False)


@dataclass(frozen=True)
class PublishedFolder:
    """A pair in this form, whoever wrote it: each of its three parts is a movie, or a folder of images."""

    folder: Path

    @property
    def name(self) -> str:
        """What the log and the page call the pair."""
        return self.folder.name

    def footage(self, role: str) -> Sequence:
        """One of the parts. Raises :class:`~void_server.api.errors.InputError` where there is none."""
        movies = [self.folder / f"{role}{suffix}" for suffix in MOVIE_SUFFIXES]
        there = next((path for path in movies if path.is_file()), self.folder / role)
        if not there.exists():
            raise SequenceError(f"{self.folder} has no {role}: neither {movies[1].name} nor a folder {role}.")
        return find(str(there), role)

    def prompt(self) -> str:
        """The scene after the removal; empty where nobody has written it. Raises as :meth:`rate`."""
        return self._read(_PROMPT, _Prompt).bg or ""

    def rate(self) -> float:
        """Frames a second. Raises :class:`SequenceError` for a file that cannot be read, or holds no such number."""
        return self._read(_METADATA, _Metadata).frame_rate or RATE

    def _read(self, name: str, kind: type[Facts]) -> Facts:
        file = self.folder / name
        return read_facts(file, kind) if file.exists() else kind()


def published_in(folder: Path) -> list[PublishedFolder]:
    """All pairs of this form in ``folder``, by name: itself, or the folders in it."""

    def holds(place: Path) -> bool:
        return any((place / f"{FULL}{suffix}").is_file() for suffix in MOVIE_SUFFIXES) or (place / FULL).is_dir()

    if holds(folder):
        return [PublishedFolder(folder)]
    return [PublishedFolder(place) for place in sorted(folder.glob("*")) if holds(place)]


def write(pair: PairSource, out: Path) -> list[str]:
    """Write a pair to its folder in ``out``; returns notes for whoever exports."""
    folder, masks = out / pair.name, pair.published
    pair.check_steady("a movie would leap over it")
    frames = sampled(pair.frames, pair.facts.fps)
    header = exr.read_header(pair.plate.path(frames[0]))
    window, size = header.data_window, fitting(header.data_window.width, header.data_window.height)
    colour = ColourSpace(pair.colour)

    def linear(path: Path) -> exr.FloatImage:
        return np.nan_to_num(colour.to_linear(np.nan_to_num(exr.read_rgb(path, window), posinf=0, neginf=0)))

    # of the plate, as at inference: highlights keep their places below white
    curve = Curve(max(float(linear(pair.plate.path(frame)).max(initial=0)) for frame in pair.frames))

    def shown(path: Path) -> NDArray[np.uint8]:
        image = np.clip(curve.to_display(linear(path)), 0, 1)
        return np.round(cv2.resize(image, size, interpolation=cv2.INTER_AREA) * 255).astype(np.uint8)

    _movie(folder / f"{FULL}.mp4", size, (shown(pair.plate.path(frame)) for frame in frames))
    _movie(folder / f"{REMOVED}.mp4", size, (shown(pair.truth.path(frame)) for frame in frames))
    _movie(folder / f"{MASK}.mp4", size, (classes.resize(read_codes(masks, frame, window), *size) for frame in frames))
    prompt = pair.facts.prompt or pair.facts.expected
    write_atomically(folder / _PROMPT, json.dumps({"bg": prompt}))
    about = {
        **pair.facts.model_dump(mode="json"),
        "frames": list(frames),
        "frame_rate": RATE,
        "size": list(size),
        "colour": f"sRGB, highlights up to {curve.maximum:.4g} by the curve of VOID for Nuke",
        "mask": list(masks),
    }
    write_atomically(folder / _METADATA, json.dumps(about, indent=1))
    notes = [] if prompt else ["has no prompt: the model learns it as a text that was dropped"]
    if pair.facts.fps < RATE:
        notes.append(f"has {pair.facts.fps:g} frames a second, fewer than {RATE}: its motion seems faster")
    return notes


def write_list(out: Path, names: Iterable[str]) -> None:
    """Write the list of all pairs that the published trainer takes; it has whole paths, as that reads from anywhere."""
    entries = [
        {
            "file_path": str((out / name).absolute()),
            "text": read_json(out / name / _PROMPT)["bg"],
            "type": "video_mask_tuple",
        }
        for name in names
    ]
    write_atomically(out / _LIST, json.dumps(entries, indent=1))


def sampled(frames: tuple[int, ...], rate: float) -> tuple[int, ...]:
    """The frames of a shot at 12 a second: the nearest to each twelfth; all where there are fewer."""
    step = max(rate / RATE, 1.0)
    indices = (round(number * step) for number in range(len(frames)))
    return tuple(frames[index] for index in indices if index < len(frames))


def fitting(width: int, height: int) -> tuple[int, int]:
    """The size at which a plate is written: its own, or what fits the largest published one, even as those are."""
    scale = min(1.0, max(_LARGEST) / max(width, height), min(_LARGEST) / min(width, height))
    wide, high = (max(2, 2 * round(side * scale / 2)) for side in (width, height))
    return wide, high


def _movie(path: Path, size: tuple[int, int], pictures: Iterable[NDArray[np.uint8]]) -> None:
    """Write a lossless movie, of RGB (height, width, 3) or of one channel (height, width)."""
    with replacing(path, parents=True) as temporary:
        writer: cv2.VideoWriter | None = None
        for picture in pictures:
            colour = picture.ndim == 3
            if writer is None:
                codec = cv2.VideoWriter.fourcc(*"FFV1")
                writer = cv2.VideoWriter(str(temporary), cv2.CAP_FFMPEG, codec, RATE, size, colour)
                if not writer.isOpened():
                    raise SequenceError(f"{path} cannot be written: this OpenCV has no encoder for FFV1.")
            writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if colour else np.ascontiguousarray(picture))
        if writer is not None:
            writer.release()
