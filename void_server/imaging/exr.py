"""Reading and writing EXR frames with OpenImageIO.

Pixels are addressed by :class:`~void_server.imaging.window.Window`, in the file's own coordinates: where a frame's data
window does not reach, they are 0. Writing over a plate changes only the given pixels; the others stay bit for bit.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio  # noqa: N813 -- as its own documentation writes it
from numpy.typing import NDArray

from ..api.errors import ImageError
from ..api.files import check_regular, open_regular, replacing, temporary_beside
from . import blocks
from .channels import largest
from .complaint import complaint
from .window import Window

FloatImage = NDArray[np.float32]

HALF_MAX = 65504.0
RGB = ("R", "G", "B")

# A header costs nothing to write, and all memory to read: nothing of more than 16 GB is opened, nor of 1024 channels.
oiio.attribute("limits:imagesize_MB", 16 << 10)
oiio.attribute("limits:channels", 1024)

# Keep colour where alpha is 0: paint programs may draw the matte there.
_AS_WRITTEN = oiio.ImageSpec()
_AS_WRITTEN.attribute("oiio:UnassociatedAlpha", 1)

# Re-encoding a frame with one of these would change untouched pixels.
_LOSSY = ("b44", "dwaa", "dwab", "pxr24")
# Grain hardly packs: higher levels of zip take up to twice the time for files 2 % smaller.
_LEVEL = 1


@dataclass(frozen=True)
class Header:
    """A plate file's header. ``part`` is the number of the part that holds R, G and B, in ``half`` or whole floats."""

    data_window: Window
    display_window: Window
    pixel_aspect: float
    channels: tuple[str, ...]
    part: int = 0
    half: bool = True


@contextmanager
def _opened(path: Path) -> Iterator[oiio.ImageInput]:
    check_regular(path)
    image = oiio.ImageInput.open(str(path), _AS_WRITTEN)
    if image is None:
        reason = complaint(oiio) or "unknown format"
        # raises a more specific error if the file cannot be opened at all
        open_regular(path).close()
        raise ImageError(f"{path} cannot be read as an image; write the frame again.", reason)
    with closing(image):
        try:
            yield image
        except UnicodeDecodeError as error:
            raise ImageError(f"{path} is damaged: its header is not valid text; write the frame again.") from error


def _parts(image: oiio.ImageInput) -> Iterator[tuple[int, oiio.ImageSpec]]:
    part = 0
    while image.seek_subimage(part, 0):
        yield part, image.spec()
        part += 1
    complaint(image)


def _is_half(spec: oiio.ImageSpec) -> bool:
    return bool(spec.channelformat(spec.channelnames.index("R")) == oiio.HALF)


def _data_window(spec: oiio.ImageSpec) -> Window:
    return Window(spec.x, spec.y, spec.width, spec.height)


def _display_window(spec: oiio.ImageSpec) -> Window:
    return Window(spec.full_x, spec.full_y, spec.full_width, spec.full_height)


def _refuse_stereo(path: Path, specs: Sequence[oiio.ImageSpec]) -> None:
    views = {v for spec in specs if (v := spec.getattribute("view"))}
    views.update(v for spec in specs for v in spec.getattribute("multiView") or ())
    if len(views) > 1:
        names = ", ".join(sorted(views))
        raise ImageError(f"{path} holds several views ({names}); write one view per sequence and use one of them.")


def read_header(path: Path) -> Header:
    """Read a plate file's header, without its pixels.

    Raises :class:`ImageError` for a file that is not an EXR, has several views or deep pixels, or lacks R, G or B.
    """
    with _opened(path) as image:
        return _header(path, image)


def _header(path: Path, image: oiio.ImageInput) -> Header:
    if image.format_name() != "openexr":
        raise ImageError(f"{path} is not an EXR; write it as an EXR sequence.")
    parts = list(_parts(image))
    _refuse_stereo(path, [spec for _, spec in parts])
    for part, spec in parts:
        if all(c in spec.channelnames for c in RGB):
            if spec.deep:
                raise ImageError(f"{path} holds deep pixels; flatten it with a DeepToImage before writing.")
            return Header(
                data_window=_data_window(spec),
                display_window=_display_window(spec),
                pixel_aspect=float(spec.getattribute("PixelAspectRatio") or 1.0),
                channels=tuple(spec.channelnames),
                part=part,
                half=_is_half(spec),
            )
    names = ", ".join(dict.fromkeys(c for _, spec in parts for c in spec.channelnames))
    raise ImageError(f"{path} has no channels R, G and B, only {names}; write the plate with its rgb layer.")


def _read_rows(
    path: Path, image: oiio.ImageInput, part: int, rows: tuple[int, int], channels: tuple[int, int], kind: str
) -> NDArray[Any]:
    """Rows [begin, end) of channels [begin, end) across the data window, as (rows, width, channels)."""
    image.seek_subimage(part, 0)
    spec = image.spec()
    whole = rows == (spec.y, spec.y + spec.height)
    if whole:
        pixels = image.read_image(part, 0, *channels, kind)
    elif spec.tile_width:
        # whole tiles, from the first row of the upper ones
        top = rows[0] - (rows[0] - spec.y) % spec.tile_height
        end = min(rows[1] + (spec.y - rows[1]) % spec.tile_height, spec.y + spec.height)
        pixels = image.read_tiles(part, 0, spec.x, spec.x + spec.width, top, end, 0, 1, *channels, kind)
        if pixels is not None:
            pixels = pixels.reshape(end - top, spec.width, -1)[rows[0] - top : rows[1] - top]
    else:
        pixels = image.read_scanlines(part, 0, *rows, 0, *channels, kind)
    # A truncated file may still yield invented pixels: trust the error, not the result.
    reason = complaint(image)
    if pixels is None or reason:
        raise ImageError(f"{path} is damaged or cut short; write the frame again.", reason)
    return np.asarray(pixels)


def _read_window(
    path: Path, image: oiio.ImageInput, part: int, indices: Sequence[int], window: Window
) -> NDArray[np.float16] | FloatImage:
    """Channels in ``window``, as halves where all of the file's are, which reads far quicker than as whole floats."""
    image.seek_subimage(part, 0)
    spec = image.spec()
    first, last = min(indices), max(indices) + 1
    kind = np.float16 if all(spec.channelformat(i) == oiio.HALF for i in range(first, last)) else np.float32
    data = _data_window(spec)
    inner = window.intersection(data)
    if inner.empty:
        return np.zeros((window.height, window.width, len(indices)), kind)
    rows = _read_rows(
        path, image, part, (inner.y, inner.bottom), (first, last), "half" if kind is np.float16 else "float"
    )
    columns = slice(inner.x - data.x, inner.right - data.x)
    if list(indices) != list(range(first, last)):
        rows = rows[..., [i - first for i in indices]]
    if inner == window:
        # what the window leaves out is not kept in memory
        return rows if columns == slice(0, rows.shape[1]) else rows[:, columns].copy()
    result = np.zeros((window.height, window.width, len(indices)), kind)
    result[window.slices(inner)] = rows[:, columns]
    return result


def read_rgb(path: Path, window: Window | None = None) -> FloatImage:
    """Read R, G and B of a plate as (height, width, 3), in the plate's own colour space.

    ``window`` is what to read, the data window where it is None. Raises :class:`ImageError` as :func:`read_header` does
    and for a file that is cut short.
    """
    return read_stored_rgb(path, window).astype(np.float32, copy=False)


def read_stored_rgb(path: Path, window: Window | None = None) -> NDArray[np.float16] | FloatImage:
    """As :func:`read_rgb`, in halves where the file holds halves."""
    with _opened(path) as image:
        header = _header(path, image)
        indices = [header.channels.index(c) for c in RGB]
        return _read_window(path, image, header.part, indices, window or header.data_window)


def is_alpha(name: str) -> bool:
    """Whether a channel is named as an alpha, of the image or of a layer."""
    return name.lower().rpartition(".")[2] in ("a", "alpha")


def matte_channels(path: Path, names: Sequence[str]) -> list[tuple[str, ...]]:
    """The channels that may hold a matte, most obvious first: A, the only channel, the colour, the layers' alphas.

    Raises :class:`ImageError` where there are none.
    """
    colour = tuple(name for name in (*RGB, "Y") if name in names)
    groups: list[tuple[str, ...]] = [("A",)] if "A" in names else []
    groups += [(names[0],)] if len(names) == 1 else [colour] if colour else []
    groups += [(name,) for name in names if is_alpha(name)]
    if not groups:
        raise ImageError(f"{path} has no alpha, only {', '.join(names)}; write the roto to the alpha.")
    return list(dict.fromkeys(groups))


def channel_names(path: Path) -> tuple[str, ...]:
    """The names of the channels in the first part of an image."""
    with _opened(path) as image:
        return tuple(image.spec().channelnames)


def windows(path: Path) -> tuple[Window, Window]:
    """The data window and the display window of an image (EXR, PNG, TIFF, ...), of its first part."""
    with _opened(path) as image:
        specs = [spec for _, spec in _parts(image)]
        _refuse_stereo(path, specs)
        return _data_window(specs[0]), _display_window(specs[0])


def pixel_aspect(path: Path) -> float:
    """The pixel aspect of an image, width by height; 1 if the file has none."""
    with _opened(path) as image:
        return float(image.spec().getattribute("PixelAspectRatio") or 1.0)


def read_channels(path: Path, names: Sequence[str], window: Window) -> FloatImage:
    """Read the named channels of an image's first part in ``window`` as (height, width, channels).

    Integers become 0..1. Raises :class:`ImageError` naming a missing channel.
    """
    return read_stored_channels(path, names, window).astype(np.float32, copy=False)


def read_stored_channels(path: Path, names: Sequence[str], window: Window) -> NDArray[np.float16] | FloatImage:
    """As :func:`read_channels`, in halves where the file holds halves."""
    with _opened(path) as image:
        known = list(image.spec().channelnames)
        if lacking := [name for name in names if name not in known]:
            raise ImageError(
                f"{path} has no channel {lacking[0]}, unlike other frames, only {', '.join(known)}; write "
                "every frame with the same channels."
            )
        return _read_window(path, image, 0, [known.index(name) for name in names], window)


def read_matte(path: Path, window: Window, channels: Sequence[str] = ()) -> FloatImage:
    """Read a matte in ``window`` as (height, width), the most of its ``channels``; by default the first of the most
    obvious of :func:`matte_channels`.
    """
    return read_stored_matte(path, window, channels).astype(np.float32, copy=False)


def read_stored_matte(path: Path, window: Window, channels: Sequence[str] = ()) -> NDArray[np.float16] | FloatImage:
    """As :func:`read_matte`, in halves where the file holds halves."""
    channels = channels or matte_channels(path, channel_names(path))[0][:1]
    stored = read_stored_channels(path, channels, window)
    # the maximum of several halves takes longer than that of floats
    return stored[..., 0] if len(channels) == 1 else largest(stored.astype(np.float32, copy=False))


def _lossless(spec: oiio.ImageSpec) -> oiio.ImageSpec:
    copy = oiio.ImageSpec(spec)
    copy.erase_attribute("openexr:chunkCount")
    compression = str(spec.getattribute("compression")).split(":")[0]
    if compression in _LOSSY:
        compression = "zip"
        copy.erase_attribute("openexr:dwaCompressionLevel")
    if compression in ("zip", "zips"):
        copy.attribute("compression", f"{compression}:{_LEVEL}")
    return copy


def _write_failed(path: Path, output: oiio.ImageOutput | None) -> OSError:
    reason = complaint(output or oiio)
    return OSError(f"{path} could not be written: {reason or 'no reason given'}")


def _check_disk(path: Path, size: int) -> None:
    # before anything is written, as OpenEXR reports a full disk late
    if shutil.disk_usage(path.parent).free < size:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))


def _write_parts(path: Path, parts: Sequence[tuple[oiio.ImageSpec, Any]]) -> None:
    """Write (spec, pixels or an ImageInput set to the part to copy) for each part."""
    _check_disk(path, sum(spec.image_bytes() for spec, _ in parts) // 2)
    output = oiio.ImageOutput.create(str(path))
    if output is None:
        raise _write_failed(path, None)
    specs = tuple(spec for spec, _ in parts)
    with closing(output):
        for number, (spec, pixels) in enumerate(parts):
            if number:
                good = output.open(str(path), spec, "AppendSubimage")
            else:
                good = output.open(str(path), specs) if len(specs) > 1 else output.open(str(path), spec)
            if not good:
                raise _write_failed(path, output)
            if isinstance(pixels, np.ndarray):
                good = output.write_image(np.ascontiguousarray(pixels))
            else:
                pixels.seek_subimage(number, 0)
                good = output.copy_image(pixels)
            if not good:
                raise _write_failed(path, output)
        if not output.close():
            raise _write_failed(path, output)
    _check_end(path)


def _check_end(path: Path) -> None:
    """Raise OSError where the end of a file that was written is not there.

    OpenEXR does not report it where the disk was too full, or a quota used up, for the bytes that it writes last.
    """
    image = oiio.ImageInput.open(str(path), _AS_WRITTEN)
    if image is None:
        raise _write_failed(path, None)
    with closing(image):
        try:
            for part, spec in list(_parts(image)):
                # the last bytes are those of either row, as the rows' order may be turned
                for row in (spec.y, spec.y + spec.height - 1):
                    _read_rows(path, image, part, (row, row + 1), (0, spec.nchannels), "half")
        except ImageError as error:
            raise OSError(errno.ENOSPC, "No space left on device", str(path)) from error


def _lay_over(
    pixels: NDArray[Any],
    data: Window,
    spec: oiio.ImageSpec,
    window: Window,
    where: NDArray[np.bool_],
    new: Callable[[FloatImage], FloatImage],
) -> None:
    """Change R, G and B of ``pixels``, those of the window ``data``, as :func:`rewrite` does."""
    inner, channels = window.intersection(data), [spec.channelnames.index(name) for name in RGB]
    here, there = data.slices(inner), window.slices(inner)
    before = np.zeros((window.height, window.width, len(channels)), np.float32)
    for number, channel in enumerate(channels):
        before[there][..., number] = pixels[here][..., channel]
    rgb, mask = new(before)[there], where[there]
    # other channels may be whole floats, and all were read as such
    if _is_half(spec):
        rgb = np.clip(rgb, -HALF_MAX, HALF_MAX)
    for number, channel in enumerate(channels):
        pixels[here][..., channel][mask] = rgb[..., number][mask]


def rewrite(
    source: Path,
    target: Path,
    window: Window,
    where: NDArray[np.bool_],
    new: Callable[[FloatImage], FloatImage],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Copy the EXR ``source`` to ``target`` with ``new`` RGB inside ``window`` at the pixels ``where``.

    ``where`` is (height, width), of the window's size. ``new`` makes the RGB there, (height, width, 3), of that of the
    source; it is not called where nothing is new. Where the file allows it, only blocks of rows with new pixels are
    packed anew. Every other pixel, channel, part and attribute stays as it was, bit
    for bit; only lossy compression becomes zip, and the part with the new pixels gets the attributes ``metadata``.
    Pixels beyond the data window are 0, and dropped. Raises :class:`ImageError` for a source that cannot be read,
    OSError for a target that cannot be written.
    """
    with _opened(source) as image, replacing(target, parents=True) as temporary:
        header = _header(source, image)
        whole = header.data_window.y, header.data_window.bottom
        touched = _touched_rows(source, header.data_window, window, where)

        def parts(rows: tuple[int, int]) -> list[tuple[oiio.ImageSpec, Any]]:
            made: list[tuple[oiio.ImageSpec, Any]] = []
            for part, spec in list(_parts(image)):
                if part == header.part:
                    made.append(_rewritten(source, image, header, spec, rows, window, where, new))
                    for key, value in (metadata or {}).items():
                        made[-1][0].attribute(key, value)
                else:
                    made.append((_lossless(spec), image))
            return made

        if touched != whole:
            some = temporary_beside(temporary)
            try:
                _write_parts(some, parts(touched))
                _check_disk(temporary, source.stat().st_size)
                if blocks.splice(source, some, temporary):
                    return
            finally:
                some.unlink(missing_ok=True)
        _write_parts(temporary, parts(whole))


def _touched_rows(source: Path, data: Window, window: Window, where: NDArray[np.bool_]) -> tuple[int, int]:
    """The rows [begin, end) of the data window to be written anew: whole blocks of them, where the file has such."""
    found = blocks.find(source)
    if found is None:
        return data.y, data.bottom
    rows = np.flatnonzero(where.any(axis=1)) + window.y
    rows = rows[(rows >= data.y) & (rows < data.bottom)]
    # the header is new in any case
    return found.span(int(rows[0]), int(rows[-1]) + 1) if len(rows) else found.span(data.y, data.y + 1)


def _rewritten(
    source: Path,
    image: oiio.ImageInput,
    header: Header,
    spec: oiio.ImageSpec,
    rows: tuple[int, int],
    window: Window,
    where: NDArray[np.bool_],
    new: Callable[[FloatImage], FloatImage],
) -> tuple[oiio.ImageSpec, NDArray[Any]]:
    """The part with R, G and B in ``rows`` [begin, end), with what is new."""
    formats = {str(f) for f in spec.channelformats} or {str(spec.format)}
    if not formats <= {"half", "float"}:
        raise ImageError(f"{source} mixes R, G, B with integer channels; write those to a part of their own.")
    kind = "half" if formats == {"half"} else "float"
    data = Window(header.data_window.x, rows[0], header.data_window.width, rows[1] - rows[0])
    pixels = _read_rows(source, image, header.part, rows, (0, spec.nchannels), kind)
    if where.any():
        _lay_over(pixels, data, spec, window, where, new)
    written = _lossless(spec)
    written.y, written.height = data.y, data.height
    return written, pixels


def write(
    path: Path,
    pixels: NDArray[Any],
    channels: Sequence[str],
    *,
    data_window: Window | None = None,
    display_window: Window | None = None,
    pixel_aspect: float = 1.0,
    metadata: Mapping[str, str | int | float] | None = None,
    flat: bool = False,
) -> None:
    """Write (height, width, channels) as an EXR: half from float16, float from float32.

    What is mostly ``flat``, as a matte is, is run-length encoded, which takes less time; all else is zipped. The
    windows default to the array's size at 0, 0. Written under a temporary name and renamed. Raises OSError.
    """
    height, width = pixels.shape[:2]
    data = data_window or Window(0, 0, width, height)
    spec = _new(pixels, channels, data, display_window or data, pixel_aspect, metadata)
    spec.attribute("compression", "rle" if flat else f"zip:{_LEVEL}")
    with replacing(path, parents=True) as temporary:
        _write_parts(temporary, [(spec, pixels.reshape(height, width, len(channels)))])


def write_within(
    path: Path,
    pixels: NDArray[Any],
    window: Window,
    beyond: Sequence[float],
    channels: Sequence[str],
    *,
    data_window: Window,
    display_window: Window | None = None,
    pixel_aspect: float = 1.0,
    metadata: Mapping[str, str | int | float] | None = None,
) -> None:
    """As :func:`write` what is flat, and ``beyond`` all over the data window but for ``pixels`` in ``window`` of it.

    Rows without any of them are packed once.
    """
    inner = Window(data_window.x, data_window.y, data_window.width, 0)
    if not window.empty:
        inner = inner._replace(y=window.y, height=window.height)
    rows = np.empty((inner.height + 1, inner.width, len(channels)), pixels.dtype)
    rows[0] = np.array(beyond, pixels.dtype)
    rows[1:] = rows[0]
    if not window.empty:
        rows[inner.slices(window)] = pixels
    spec = _new(rows, channels, inner._replace(height=len(rows)), display_window or data_window, pixel_aspect, metadata)
    spec.attribute("compression", "rle")
    with replacing(path, parents=True) as temporary:
        some = temporary_beside(temporary)
        try:
            _write_parts(some, [(spec, rows)])
            _check_disk(temporary, data_window.height * len(channels) * 64)
            blocks.surround(some, temporary, data_window.y, data_window.bottom - 1)
        finally:
            some.unlink(missing_ok=True)


def _new(
    pixels: NDArray[Any],
    channels: Sequence[str],
    data: Window,
    display: Window,
    pixel_aspect: float,
    metadata: Mapping[str, str | int | float] | None,
) -> oiio.ImageSpec:
    spec = oiio.ImageSpec(data.width, data.height, len(channels), "half" if pixels.dtype == np.float16 else "float")
    spec.channelnames = tuple(channels)
    spec.x, spec.y = data.x, data.y
    spec.full_x, spec.full_y, spec.full_width, spec.full_height = display
    spec.attribute("PixelAspectRatio", float(pixel_aspect))
    for name, value in (metadata or {}).items():
        spec.attribute(name, value)
    return spec
