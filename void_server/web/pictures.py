"""Pictures for a browser: frames through the display transform, and what lies over them.

All of it runs in processes of its own (:mod:`void_server.web.darkroom`), as it reads files that anybody may have made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..api.errors import SettingError
from ..imaging import exr, jpeg
from ..imaging.colour import ColourSpace, Curve
from ..imaging.exr import FloatImage
from ..imaging.window import Window
from ..quadmask import classes
from ..quadmask.classes import COLOURS

#: Nothing is shown wider, and a preview job works on frames of this width.
WIDTH, PREVIEW_WIDTH = 1280, 960
#: How strongly what lies over a plate covers it, of 255.
_OPACITY = 150
_ORIGIN_COLOURS = {
    "origin.recovered": (46, 160, 92),
    "origin.filled": (240, 170, 40),
    "origin.generated": (200, 70, 200),
}
_BLEND = ("void_blend.A",)
_BLEND_COLOUR = (64, 156, 255)
#: Colours keep their edges: grain and keying are looked at here.
_QUALITY, _SAMPLING = 92, (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
#: What can be laid over a plate: of the mattes, unless it is named after a sequence of its own.
OVERLAYS = ("quadmask", "roto", "blend", "origin")
_DISPLAY = Curve(1.0)


def shown_size(display: Window, aspect: float, width: int = WIDTH) -> tuple[int, int]:
    """Width and height at which a frame is shown: with square pixels, and no wider than ``width``."""
    whole = display.width * aspect
    scale = min(1.0, width / whole)
    return max(1, round(whole * scale)), max(1, round(display.height * scale))


def frame_picture(path: Path, colorspace: str, ocio: str | None, stops: float) -> bytes:
    """A frame as JPEG: through the display transform, ``stops`` brighter."""
    return _jpeg(_displayed(path, ColourSpace(colorspace, ocio), stops))


def overlay_picture(path: Path, what: str) -> bytes:
    """One of :data:`OVERLAYS` of a frame as a PNG that is transparent where there is nothing.

    ``path`` is the file of the quadmask, of the roto, or of the mattes. Raises :class:`SettingError` for another word.
    """
    _, display = exr.windows(path)
    if what == "quadmask":
        codes = classes.read(path, display)
        layers = [((codes == code).astype(np.float32), colour) for code, colour in COLOURS.items()]
    elif what == "roto":
        layers = [(exr.read_matte(path, display), COLOURS[classes.REMOVE])]
    elif what == "blend":
        layers = [(exr.read_channels(path, _BLEND, display)[..., 0], _BLEND_COLOUR)]
    elif what == "origin":
        values = exr.read_channels(path, tuple(_ORIGIN_COLOURS), display)
        layers = [(values[..., index], colour) for index, colour in enumerate(_ORIGIN_COLOURS.values())]
    else:
        raise SettingError(f"{what!r} is nothing that lies over a plate; choose from {', '.join(OVERLAYS)}.")
    return _png(_laid_over(layers, shown_size(display, exr.pixel_aspect(path))))


def preview_plate(path: Path, target: Path, colorspace: str, ocio: str | None) -> float:
    """Write a frame as a small EXR, scene-linear Rec.709; by how much it is smaller, below 1 or 1."""
    _, display = exr.windows(path)
    linear = ColourSpace(colorspace, ocio).to_linear(exr.read_rgb(path, display))
    scale = min(1.0, PREVIEW_WIDTH / display.width)
    if scale < 1:
        size = PREVIEW_WIDTH, max(1, round(display.height * scale))
        linear = cv2.resize(linear, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    small = np.clip(np.nan_to_num(linear), -exr.HALF_MAX, exr.HALF_MAX).astype(np.float16)
    exr.write(target, small, exr.RGB, pixel_aspect=exr.pixel_aspect(path))
    return scale


def movie(paths: Iterable[Path], target: Path, colorspace: str, ocio: str | None, rate: int) -> None:
    """Write frames as an H.264 movie that browsers play, through the display transform.

    Raises :class:`SettingError` without PyAV.
    """
    try:
        import av
    except ImportError as error:
        raise SettingError("Movies need the package av; install void-nuke[web] on this machine.") from error
    colour = ColourSpace(colorspace, ocio)
    with av.open(str(target), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = None
        for path in paths:
            picture = _displayed(path, colour, 0.0)
            # the codec wants even sides
            picture = np.ascontiguousarray(picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2])
            if stream is None:
                stream = container.add_stream("libx264", rate=rate, options={"crf": "16", "preset": "fast"})
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        if stream is not None:
            container.mux(stream.encode())


def _displayed(path: Path, colour: ColourSpace, stops: float) -> NDArray[np.uint8]:
    """A frame as (height, width, 3) RGB of 8 bits, at the size at which it is shown."""
    _, display = exr.windows(path)
    size = shown_size(display, exr.pixel_aspect(path))
    linear = colour.to_linear(exr.read_rgb(path, display))
    linear = np.clip(np.nan_to_num(linear, posinf=exr.HALF_MAX), 0, exr.HALF_MAX)
    if size != (display.width, display.height):
        linear = cv2.resize(linear, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    encoded = _DISPLAY.to_display((linear * np.float32(2.0**stops)).astype(np.float32))
    return np.round(np.clip(encoded, 0, 1) * 255).astype(np.uint8)


def _laid_over(layers: Sequence[tuple[FloatImage, tuple[int, int, int]]], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Mattes in their colours as (height, width, 4) RGBA of 8 bits; where several are, the strongest shows."""
    small = [cv2.resize(np.clip(np.nan_to_num(matte), 0, 1), size, interpolation=cv2.INTER_AREA) for matte, _ in layers]
    values = np.stack(small)
    strongest = values.argmax(axis=0)
    colours = np.array([colour for _, colour in layers], np.uint8)
    alpha = np.round(values.max(axis=0) * _OPACITY).astype(np.uint8)
    return np.dstack([colours[strongest], alpha])


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    return jpeg.encoded(picture, _QUALITY, _SAMPLING)


def _png(picture: NDArray[np.uint8]) -> bytes:
    good, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGBA2BGRA), [cv2.IMWRITE_PNG_COMPRESSION, 3])
    assert good, "PNG takes any 8-bit picture"
    return data.tobytes()
