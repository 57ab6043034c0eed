"""The clean plate of a camera at rest: per pixel, what the shot shows there when nothing stands in the way.

A temporal median over all frames in which the pixel is not rewritten. Where the scene was different before it was
touched than afterwards, the time before counts: a ball that the removed object kicks stays where it lay. Where the
light changes over the shot, the median is that of the mean light, and each frame gets its own light back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial, reduce
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ...imaging.exr import FloatImage
from ...imaging.grain import share_of_median
from ...imaging.light import Light, LitScene
from ...imaging.masks import Masks
from ...imaging.parallel import for_each, in_order, results
from ...imaging.temporal import median
from ...imaging.window import Window
from ...quadmask import extent
from ...quadmask.classes import is_affected, is_removed
from .. import NewPixels
from ..clip import Clip
from ..origin import FILLED, RECOVERED
from . import living, states
from .exposure import matched
from .inpaint import nothing_to_fill_from
from .passers import find
from .passing import Passing
from .resting import Resting, anything_moves
from .sampling import Plates, analysed_positions
from .shade import Shade, fill_and_lift, lay_over, shown
from .states import Settled, settle

#: Memory for the samples of one band of rows, in bytes.
_BAND_MEMORY = 160 * 2**20
#: The number of pixels to sort at once.
_PIECE = 20000
_FEWEST_BEFORE = 3
#: Display-referred difference from which two states of the scene count as different.
_OTHER_STATE = 0.05


class _Looks(NamedTuple):
    """All frames' samples of a band's rewritten pixels.

    ``pixels`` are their rows and columns in the band; ``samples`` (frames, pixels, 3); ``seen``, where they show the
    scene, and ``affected``, (frames, pixels).
    """

    pixels: tuple[NDArray[np.intp], NDArray[np.intp]]
    samples: FloatImage
    seen: NDArray[np.bool_]
    affected: NDArray[np.bool_]


def _bands(window: Window, frames: int) -> Iterator[Window]:
    row = window.width * frames * 3 * np.dtype(np.float32).itemsize
    rows = max(16, _BAND_MEMORY // max(row, 1))
    for y in range(window.y, window.bottom, rows):
        yield Window(window.x, y, window.width, min(rows, window.bottom - y))


def _clean(
    samples: FloatImage, seen: NDArray[np.bool_], affected: NDArray[np.bool_]
) -> tuple[FloatImage, NDArray[np.intp]]:
    """The clean pixels, (pixels, 3), and of how many samples each is the median.

    Of (frames, pixels, 3) samples, where they were seen, and where affected.
    """
    everything, count = median(samples, seen), seen.sum(axis=0)
    touched = np.flatnonzero(affected.any(axis=0))
    before = seen[:, touched] & (np.cumsum(affected[:, touched], axis=0) == 0)
    enough = before.sum(axis=0) >= _FEWEST_BEFORE
    touched, before = touched[enough], before[:, enough]
    if len(touched):
        looks = samples[:, touched]
        earlier = median(looks, before)
        noise = median(np.abs(looks - earlier), seen[:, touched])
        differs = np.abs(earlier - everything[touched]) > np.maximum(_OTHER_STATE, 3 * np.minimum(noise, 0.02))
        other = differs.any(axis=-1)
        everything[touched[other]] = earlier[other]
        count[touched[other]] = before.sum(axis=0)[other]
    return everything, count


class CleanPlate(NamedTuple):
    """The clean plate of a window: ``rgb`` (height, width, 3), ``unseen``, which pixels of it no frame ever shows, and
    ``grain``, the share of the plate's grain that it has, both (height, width); ``strengths`` (lamps, height, width,
    3), how strongly a changing light acts on it.

    Pixels that are never rewritten are 0, and not unseen.
    """

    rgb: FloatImage
    unseen: NDArray[np.bool_]
    grain: FloatImage
    strengths: FloatImage


def measure_light(clip: Clip) -> Light:
    """How the light changes over the shot, where nothing is rewritten."""

    def frame(index: int) -> tuple[FloatImage, NDArray[np.bool_]]:
        return clip.footage.small_linear(index), ~clip.small_rewritten(index)

    return Light.measure(len(clip), frame)


def clean_plate(
    clip: Clip, window: Window, light: Light, passing: Passing, settled: Settled, report: Callable[[float], None]
) -> CleanPlate:
    """The clean plate in ``window``, in the mean light, without what is ``passing``; in doubt, it is as ``settled``."""
    shape = window.height, window.width
    plate, grain, unseen = np.zeros((*shape, 3), np.float32), np.zeros(shape, np.float32), np.zeros(shape, bool)
    strengths = np.zeros((light.curves.shape[1], *shape, 3), np.float32)
    for band in _bands(window, len(clip)):
        looks = _look_through(clip, band, passing)
        rows, columns = looks.pixels
        where = window.slices(band)
        # in pieces, as sorting takes several times the memory of the samples
        pieces = [slice(begin, begin + _PIECE) for begin in range(0, len(rows), _PIECE)]
        for piece, (pixels, count, found) in in_order(partial(_in_piece, clip, band, light, settled, looks), pieces):
            at = rows[piece], columns[piece]
            plate[where][at], strengths[:, where[0], where[1]][:, at[0], at[1]] = pixels, found
            grain[where][at], unseen[where][at] = share_of_median(count), count == 0
        report((band.bottom - window.y) / window.height)
    return CleanPlate(plate, unseen, grain, strengths)


def _in_piece(
    clip: Clip, band: Window, light: Light, settled: Settled, looks: _Looks, piece: slice
) -> tuple[FloatImage, NDArray[np.intp], FloatImage]:
    """The clean pixels of some of a band's, of how many samples each is the median, and the lamps' strengths there."""
    samples, seen = looks.samples[:, piece], looks.seen[:, piece]
    strengths = np.zeros((light.curves.shape[1], *samples.shape[1:]), np.float32)
    rows, columns = (along[piece] for along in looks.pixels)
    if light.changes:
        samples, strengths = _in_mean_light(clip, light, samples, seen, _places(clip, band, rows, columns))
    if settled.doubt.any():
        seen = settled.showing(analysed_positions(clip, band)[rows, columns], samples, seen)
    return *_clean(samples, seen, looks.affected[:, piece]), strengths


def _places(clip: Clip, band: Window, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> FloatImage:
    """Where a band's pixels lie in the frame, (..., 2), relative to it."""
    canvas = clip.footage.canvas
    x = (columns + (band.x - canvas.x + 0.5)) / canvas.width
    y = (rows + (band.y - canvas.y + 0.5)) / canvas.height
    return np.stack([x, y], axis=-1).astype(np.float32)


def _in_mean_light(
    clip: Clip, light: Light, samples: FloatImage, seen: NDArray[np.bool_], places: FloatImage
) -> tuple[FloatImage, FloatImage]:
    """Display-referred samples (frames, pixels, 3) as they would be in the mean light, and the lamps' strengths."""
    curve = clip.footage.curve
    linear = curve.to_linear(samples)
    strengths = light.fit(range(len(clip)), linear, seen.astype(np.float32), places)
    for index, rgb in enumerate(linear):
        rgb /= light.gain(index, strengths)
    return curve.to_display(linear), strengths


def _look_through(clip: Clip, band: Window, passing: Passing) -> _Looks:
    # with a margin, so that what is laid over does not depend on where a band ends
    wide = band.grown(clip.margin)
    inner = wide.slices(band)
    masks = list(results(lambda index: clip.rewritten(index, wide), range(len(clip))))
    rows, columns = np.nonzero(extent.blend(reduce(np.logical_or, masks), clip.feather)[inner] > 0)
    at = rows * band.width + columns
    samples = np.empty((len(clip), len(at), 3), np.float32)
    seen, at_rest, affected = np.empty((3, len(clip), len(at)), bool)

    def look(index: int) -> None:
        acted, hidden = (mask.take(at) for mask in passing.covers(clip, index, band))
        samples[index] = clip.pixels(index, band, at)
        affected[index] = is_affected(clip.codes(index, band).take(at))
        seen[index] = ~(masks[index][inner].take(at) | hidden)
        at_rest[index] = seen[index] & ~acted

    for_each(look, range(len(clip)))
    # what is never seen at rest is known only where a shadow that passes is weak
    seen = np.where(at_rest.any(axis=0), at_rest, seen)
    return _Looks((rows, columns), samples, seen, affected)


def prepare(clip: Clip, report: Callable[[float], None]) -> dict[str, NDArray[Any]]:
    """Prepare what all frames need: the clean plate of the whole region, which of it no frame shows, and the light.

    Raises :class:`~void_server.api.errors.SequenceError` where nothing is seen in any frame.
    """
    hidden = Masks.of(clip.small_rewritten(index) for index in range(len(clip)))
    if all(mask.all() for mask in hidden):
        raise nothing_to_fill_from(clip.footage.frames)
    light = measure_light(clip)
    passing, lively = Passing([], hidden, None), living.Living.none()
    settled = Settled.none(clip.footage.small_size, len(clip))
    if anything_moves(clip.footage, hidden):
        own = Masks.of(results(lambda index: _removed(clip, index, hidden[index]), range(len(clip))))
        shot = Resting(clip.footage, hidden, own, light)
        passing, lively = find(shot), living.find(shot)
        settled = settle(shot, passing, lively)
    plate, unseen, grain, strengths = clean_plate(clip, clip.whole_region, light, passing, settled, report)
    filled, shade = _filled(clip, plate, grain > 0, unseen, light) if unseen.any() else (plate, Shade.none())
    scene = {"plate": filled, "unseen": unseen, "grain": grain, "curves": light.curves, "strengths": strengths}
    return {**scene, **shade.arrays(), **passing.arrays(), **lively.arrays(), "doubts": settled.shares}


def _removed(clip: Clip, index: int, hidden: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The regions of a frame's ``hidden`` analysed pixels that hold some of the object itself."""
    canvas, region = clip.footage.canvas, clip.region(index)
    rows, columns = np.nonzero(is_removed(clip.codes(index, region)))
    # those pixels are hidden where they lie
    down = (rows + region.y - canvas.y) * hidden.shape[0] // canvas.height
    across = (columns + region.x - canvas.x) * hidden.shape[1] // canvas.width
    count, regions = cv2.connectedComponents(hidden.astype(np.uint8), connectivity=8)
    held = np.zeros(count, bool)
    held[regions[down, across]] = True
    return held[regions]


def _filled(
    clip: Clip, plate: FloatImage, known: NDArray[np.bool_], unseen: NDArray[np.bool_], light: Light
) -> tuple[FloatImage, Shade]:
    """The clean plate of the whole region, which is ``known``, with what no frame shows filled from around it, and how
    shaded that is.

    What is never rewritten is as one frame shows it, in the mean light.
    """
    canvas, region = clip.footage.canvas, clip.whole_region
    window = region.grown(max(region.width, region.height) // 2).intersection(canvas)
    where = window.slices(region)
    # that frame has the most of its own: the fewest rewritten pixels
    anchor = min(range(len(clip)), key=lambda index: clip.region(index).width * clip.region(index).height)
    image = clip.plate(anchor, window)
    if light.changes:
        places = _places(clip, window, *np.indices(image.shape[:2]))
        image = LitScene(light, light.expected(places), clip.footage.curve).in_mean_light(anchor, image)
    hole = np.zeros(image.shape[:2], bool)
    hole[where] = unseen
    image[where] = np.where(known[..., None], plate, image[where])
    usable = cv2.dilate(hole.astype(np.uint8), np.ones((5, 5), np.uint8)) == 0
    filled, shade = fill_and_lift(clip, image, hole, usable, shown(clip, anchor, window) & hole)
    return filled[where], shade.cut(where)


def synthesise(clip: Clip, arrays: Mapping[str, NDArray[Any]], wanted: Sequence[int]) -> Iterator[NewPixels]:
    """Yield the new pixels of each wanted frame that has any; see the engine."""
    plate, unseen, region = arrays["plate"], arrays["unseen"], clip.whole_region
    light, strengths = Light(arrays["curves"], np.zeros(0, np.float32)), arrays["strengths"]
    plates = Plates(clip)
    passing, lively = Passing.load(arrays, light, clip.footage), living.Living.load(arrays)
    shade = Shade.load(arrays)
    clip.warnings += states.warnings(arrays["doubts"], clip.footage.frames)

    def frame(index: int) -> NewPixels:
        window = clip.region(index)
        where = region.slices(window)
        own = clip.plate(index, window)
        rgb, grain = plate[where].copy(), arrays["grain"][where].copy()
        origin = np.where(unseen[where], FILLED, RECOVERED).astype(np.uint8)
        lively.lay_over(clip, index, window, rgb, grain, origin)
        passing.lay_over(plates, index, window, rgb, grain)
        if light.changes:
            lit = LitScene(light, strengths[:, where[0], where[1]], clip.footage.curve)
            rgb = lit.in_light_of(index, rgb)
        if not shade.empty:
            origin[lay_over(clip, index, window, shade.cut(where), own, rgb, grain)] = RECOVERED
        return matched(clip, NewPixels(index, window, rgb, grain, origin), own)

    yield from results(frame, (index for index in wanted if not clip.region(index).empty))
