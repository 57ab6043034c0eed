"""What people look at before they open EXRs: thumbnails, and a movie of plate and result with words burnt in.

Where ``$VOID_PREVIEW_MOVIE`` names a codec, each version has such a movie in its report, at ``$VOID_PREVIEW_FPS`` (24).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..api.errors import SettingError
from ..api.files import replacing
from ..api.shot import Shot
from ..api.version import PREVIEW_FPS, PREVIEW_MOVIE, VersionFolder
from ..imaging import exr, jpeg, sequence
from ..imaging.colour import ColourSpace, Curve
from ..imaging.exr import FloatImage
from ..imaging.parallel import results
from ..plugins import how_to_install, installed

Picture = NDArray[np.uint8]

_WIDTH, _BAR = 960, 28
_TEXT, _GROUND = (225, 225, 225), (24, 24, 24)


@dataclass(frozen=True)
class Codec:
    """How a movie is written: the encoder, its options and pixels, the container, and what pictures it is given."""

    encoder: str
    options: dict[str, str]
    pixels: str
    container: str
    suffix: str
    given: str
    depth: type[np.unsignedinteger[Any]]


# How far a short form may be from a rate of NTSC, for each frame a second: 23.98 is the roughest.
_ROUNDED = Fraction(1, 4000)

#: The movies that can be written: one for browsers, one for edit and review rooms (ProRes 422 HQ, 10 bits).
CODECS = {
    "h264": Codec("libx264", {"crf": "18", "preset": "medium"}, "yuv420p", "mp4", ".mp4", "rgb24", np.uint8),
    "prores": Codec("prores_ks", {"profile": "hq"}, "yuv422p10le", "mov", ".mov", "rgb48le", np.uint16),
}


@dataclass(frozen=True)
class Look:
    """How frames become pictures: their colour space, the brightest value that shows, and their pixels' shape."""

    colour: ColourSpace
    maximum: float
    pixel_aspect: float = 1.0

    def shown(self, path: Path, width: int = _WIDTH) -> FloatImage:
        """A frame of RGB from 0 to 1 as it looks on a display (sRGB), its format alone, at most so many pixels wide."""
        _, display = exr.windows(path)
        linear = self.colour.to_linear(np.nan_to_num(exr.read_rgb(path, display), posinf=0, neginf=0))
        scale = min(1.0, width / (display.width * self.pixel_aspect))
        # movies want even sizes
        across, down = (
            max(2, round(side * scale / 2) * 2) for side in (display.width * self.pixel_aspect, display.height)
        )
        small: FloatImage = cv2.resize(linear, (across, down), interpolation=cv2.INTER_AREA)
        return np.clip(Curve(max(1.0, self.maximum)).to_display(small), 0, 1)


def look_of(version: VersionFolder, shot: Shot, manifest: Mapping[str, Any]) -> Look:
    """How a version's frames become pictures, by its manifest. Raises ColourError."""
    colour = ColourSpace(manifest["colour"]["space"], shot.ocio)
    first = version.plate(manifest["frames"][0])
    return Look(colour, float(manifest["colour"]["maximum"]), exr.pixel_aspect(first))


def write_thumbnail(path: Path, frame: Path, look: Look) -> None:
    """Write a frame as a JPEG. Raises OSError."""
    picture = jpeg.encoded(np.round(look.shown(frame) * 255).astype(np.uint8), 90)
    with replacing(path, parents=True) as temporary:
        temporary.write_bytes(picture)


def check_movies() -> None:
    """Raise :class:`SettingError` where no movie can be written."""
    if not installed("av"):
        raise SettingError(f"Movies need PyAV, which is not installed: {how_to_install('movies')}")


def rate(text: str, what: str = "fps") -> Fraction:
    """Frames a second, such as 24, 24000/1001, or 23.976, which is the same, as are the others of NTSC.

    Raises :class:`SettingError`, naming ``what`` says it.
    """
    try:
        found = Fraction(text)
        ntsc = Fraction(round(found) * 1000, 1001)
        if found.denominator > 1 and abs(found - ntsc) < _ROUNDED * round(found):
            found = ntsc
        if not 1 <= found <= 1000:
            raise ValueError(text)
    except (ValueError, ZeroDivisionError):
        raise SettingError(f"{what} is {text!r}; give a number from 1 to 1000, such as 24 or 24000/1001.") from None
    return found


def wanted() -> tuple[Codec, Fraction] | None:
    """The movie that each version is to have, and its rate; None for none.

    Raises :class:`SettingError` where it is none that can be written here.
    """
    name = os.environ.get(PREVIEW_MOVIE)
    if not name:
        return None
    if name not in CODECS:
        raise SettingError(f"${PREVIEW_MOVIE} is {name!r}; choose {' or '.join(CODECS)}, or leave it out.")
    check_movies()
    return CODECS[name], rate(os.environ.get(PREVIEW_FPS) or "24", f"${PREVIEW_FPS}")


def write_movie_of(
    version: VersionFolder,
    path: Path,
    shot: Shot,
    manifest: Mapping[str, Any],
    disclosed: Mapping[str, Any],
    codec: Codec,
    fps: Fraction,
) -> None:
    """Write the movie of a version, its name, what made it and its job burnt in.

    Raises as :func:`write_movie`.
    """
    frames = list(manifest["frames"])
    found = sequence.find(shot.plate, "plate")
    # a movie's own frames are not read for it
    before = [] if found.movie else [found.path(frame) for frame in frames]
    words = f"{version.title}  {disclosed['tools'][-1]['title']}  job {manifest['id']}"
    look, after = look_of(version, shot, manifest), [version.plate(frame) for frame in frames]
    write_movie(path, frames, before, after, look, fps, words, codec)


def write_movie(
    path: Path,
    frames: Sequence[int],
    before: Sequence[Path],
    after: Sequence[Path],
    look: Look,
    fps: Fraction,
    words: str,
    codec: Codec = CODECS["h264"],
) -> None:
    """Write a movie: the plate beside the result, or the result alone, with ``words`` and the frame burnt in.

    ``before`` may be empty. Raises :class:`SettingError` without PyAV, OSError where it cannot be written.
    """
    check_movies()
    import av

    with replacing(path, parents=True) as temporary, av.open(str(temporary), "w", format=codec.container) as movie:
        stream = movie.add_stream(codec.encoder, rate=fps, options=codec.options)
        stream.pix_fmt = codec.pixels
        # as browsers and reviewers' players take it
        stream.codec_context.color_range, stream.codec_context.colorspace = 1, 1
        for shown in _pictures(frames, before, after, look, words):
            picture = np.round(shown * np.iinfo(codec.depth).max).astype(codec.depth)
            if not stream.codec_context.is_open:
                stream.height, stream.width = picture.shape[:2]
            image = av.VideoFrame.from_ndarray(picture, format=codec.given).reformat(
                format=codec.pixels, src_colorspace="itu709", dst_colorspace="itu709"
            )
            movie.mux(stream.encode(image))
        movie.mux(stream.encode())


def _pictures(
    frames: Sequence[int], before: Sequence[Path], after: Sequence[Path], look: Look, words: str
) -> Iterator[FloatImage]:
    def picture(index: int) -> FloatImage:
        sides = [look.shown(paths[index]) for paths in (before, after) if paths]
        bar = np.full((_BAR, sum(side.shape[1] for side in sides), 3), _GROUND, np.uint8)
        titles = ("plate", "result") if before else ("result",)
        left = 0
        for side, name in zip(sides, titles, strict=True):
            _write(bar, f"{name} {frames[index]}", left + 8)
            left += side.shape[1]
        below = np.full_like(bar, _GROUND)
        _write(below, words, 8)
        # OpenCV writes letters in 8 bits
        return np.vstack([bar / np.float32(255), np.hstack(sides), below / np.float32(255)])

    yield from results(picture, range(len(frames)))


def _write(picture: Picture, words: str, left: int) -> None:
    # OpenCV's letters are ASCII
    text = words.encode("ascii", "replace").decode()
    cv2.putText(picture, text, (left, _BAR - 9), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _TEXT, 1, cv2.LINE_AA)
