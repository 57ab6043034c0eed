"""The four classes of a quadmask, as numbers, as mattes, and as files.

A quadmask is a (height, width) array of 8-bit codes. Nothing here produces a value between two classes.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..api.errors import ImageError
from ..imaging import exr, halves, matte
from ..imaging.channels import largest
from ..imaging.sequence import Sequence
from ..imaging.window import Window

Quadmask = NDArray[np.uint8]

REMOVE, OVERLAP, AFFECTED, KEEP = 0, 63, 127, 255
#: How the classes are shown wherever they are shown, as RGB.
COLOURS = {REMOVE: (226, 62, 62), OVERLAP: (200, 70, 200), AFFECTED: (240, 170, 40)}
NAMES = {REMOVE: "remove", OVERLAP: "overlap", AFFECTED: "affected", KEEP: "keep"}
CHANNELS = tuple(f"quadmask.{name}" for name in NAMES.values())

#: The matte of each class for every code, (codes, classes); a number that is no code has none.
_MATTES = (np.arange(256)[:, None] == list(NAMES)).astype(np.float16)

# Halfway between the codes, as in VOID's own loader.
_THRESHOLDS = (31, 95, 191)
_NEAREST = np.array(list(NAMES), np.uint8)[np.digitize(np.arange(256), _THRESHOLDS)]
# Stands for values that are near no code.
_NO_CODE = np.uint8(1)
# Lossy or limited-range codecs move codes by a few steps; an image that is not a quadmask has far more in between.
_DRIFT = 14
_DRIFTING_SHARE = 0.01


def assemble(roto: NDArray[np.floating], affected: NDArray[np.bool_]) -> Quadmask:
    """The quadmask of a roto (0..1, from 0.5 it is object) and of what the removal affects."""
    removed = roto >= 0.5
    codes = np.full(roto.shape, KEEP, np.uint8)
    codes[affected] = AFFECTED
    codes[removed] = REMOVE
    codes[removed & affected] = OVERLAP
    return codes


def is_removed(codes: Quadmask) -> NDArray[np.bool_]:
    """Where the quadmask is the object, alone or together with what is affected."""
    return (codes == REMOVE) | (codes == OVERLAP)


def is_affected(codes: Quadmask) -> NDArray[np.bool_]:
    """Where the quadmask is what is affected, alone or together with the object."""
    return (codes == AFFECTED) | (codes == OVERLAP)


def unaffected(codes: Quadmask) -> Quadmask:
    """The quadmask without what is affected: of the object and of what is kept alone."""
    return np.where(codes == AFFECTED, KEEP, np.where(codes == OVERLAP, REMOVE, codes)).astype(np.uint8)


def nearest(values: NDArray[np.floating]) -> Quadmask:
    """The code nearest to each value on the scale 0..255."""
    return np.asarray(_NEAREST[np.clip(values, 0, 255).astype(np.uint8)])


def wrong(values: NDArray[np.floating]) -> str:
    """Why values (0..1) are not a quadmask's, in words; empty if they are."""
    scaled = values * 255
    return _fault(scaled, nearest(scaled))


def _fault(values: NDArray[np.floating], codes: Quadmask) -> str:
    return _complaint(values.size - int(np.count_nonzero(_is_near(values, codes))), values.size)


def _is_near(values: NDArray[np.floating], codes: Quadmask) -> NDArray[np.bool_]:
    return np.abs(values - codes) <= _DRIFT


def _complaint(far: int, pixels: int) -> str:
    """What is wrong with so many pixels, so many of which are far from every code; empty where that is few enough."""
    if far <= _DRIFTING_SHARE * pixels:
        return ""
    return (
        f"no quadmask: {far / pixels:.0%} of its pixels are far from 0, 63, 127 and 255; write it without lossy "
        "compression and without a colour transform"
    )


def quantise(values: NDArray[np.floating], source: str = "quadmask") -> Quadmask:
    """Codes from values on the scale 0..255 that may have drifted a little on their way through a codec.

    Raises :class:`ImageError` naming ``source`` where more than a few pixels lie far from every code.
    """
    codes = nearest(values)
    _refuse(_fault(values, codes), source)
    return codes


def _refuse(fault: str, source: str) -> None:
    if fault:
        raise ImageError(f"{source} is {fault}.")


def _scaled(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Values of 0..1 on the scale 0..255; what is not finite is no code."""
    return np.where(np.isfinite(values), values * 255, np.float32(-255))


@cache
def _of_halves() -> tuple[Quadmask, Quadmask]:
    """The code nearest to each half float, by its bits; and the same with :data:`_NO_CODE` where it is far from it."""
    with np.errstate(invalid="ignore"):
        values = _scaled(halves.ALL)
    codes = nearest(values)
    return codes, np.where(_is_near(values, codes), codes, _NO_CODE)


def _quantised(stored: NDArray[np.floating], source: str) -> Quadmask:
    """Codes of the channels of a file, (height, width, channels), as :func:`quantise` finds them in the largest."""
    if stored.dtype != np.float16 or stored.shape[-1] > 1:
        return quantise(_scaled(largest(stored.astype(np.float32, copy=False))), source)
    always, near = _of_halves()
    bits = stored[..., 0].view(np.uint16)
    codes = halves.look_up(near, stored[..., 0])
    far = codes == _NO_CODE
    if far.any():
        _refuse(_complaint(int(np.count_nonzero(far)), far.size), source)
        codes[far] = always[bits[far]]
    return codes


def chosen(sequence: Sequence, frames: tuple[int, ...]) -> Sequence:
    """The quadmask with the channels that hold its codes, decided as :func:`void_server.imaging.matte.choose` does.

    Raises :class:`~void_server.api.errors.InputError` where they are not clear, or hold something else.
    """
    if not sequence.movie and set(CHANNELS) <= set(exr.channel_names(sequence.path(frames[0]))):
        return sequence
    return matte.choose(sequence, "quadmask", frames, wrong, alpha_counts=False, may_be_empty=True)


def read(path: Path, window: Window, channels: tuple[str, ...] = ()) -> Quadmask:
    """Read the quadmask in ``window`` from an image of codes (as code/255) or from an EXR with the four mattes.

    ``channels`` are those that hold the codes, the obvious ones where none are named.

    Pixels beyond the file's data window are kept. Raises :class:`ImageError` where the file holds neither.
    """
    names = exr.channel_names(path)
    inside = exr.windows(path)[0].intersection(window)
    codes = np.full((window.height, window.width), KEEP, np.uint8)
    if inside.empty:
        return codes
    if set(CHANNELS) <= set(names):
        mattes = exr.read_channels(path, CHANNELS, inside)
        # painted mattes need not sum to 1; where no class is set at all, nothing was asked to change
        found = np.array(list(NAMES), np.uint8)[np.argmax(mattes, axis=-1)]
        found[mattes.max(axis=-1) <= 0] = KEEP
    else:
        channels = channels or exr.matte_channels(path, names)[0][:1]
        found = _quantised(exr.read_stored_channels(path, channels, inside), path.name)
    codes[window.slices(inside)] = found
    return codes


def mattes(codes: Quadmask | np.uint8) -> NDArray[np.float16]:
    """The classes as (height, width, 4) mattes of 0 and 1, in the order of :data:`CHANNELS`; they sum to 1."""
    # many times as fast as indexing
    return np.take(_MATTES, codes, axis=0)


def resize(codes: Quadmask, width: int, height: int) -> Quadmask:
    """The quadmask at another size: each pixel takes the class of the nearest one."""
    return cv2.resize(codes, (width, height), interpolation=cv2.INTER_NEAREST_EXACT).astype(np.uint8)


def shares(codes: Quadmask, pixels: int) -> dict[str, float]:
    """The share of a frame of so many ``pixels`` that each class covers, by name; what ``codes`` leave out is kept."""
    counts = {code: int(np.count_nonzero(codes == code)) for code in NAMES if code != KEEP}
    counts[KEEP] = pixels - sum(counts.values())
    return {name: counts[code] / pixels for code, name in NAMES.items()}
