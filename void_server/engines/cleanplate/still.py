"""The clean plate of a camera at rest: per pixel, what the shot shows there when nothing stands in the way.

A temporal median over all frames in which the pixel is not rewritten. Where the scene was different before it was
touched than afterwards, the time before counts: a ball that the removed object kicks stays where it lay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ...imaging.exr import FloatImage
from ...imaging.parallel import in_order
from ...imaging.temporal import median
from ...imaging.window import Window
from ...quadmask import coverage
from ...quadmask.classes import AFFECTED, OVERLAP
from ..clip import Clip
from .inpaint import inpaint

#: Memory for the samples of one band of rows, in bytes.
_BAND_MEMORY = 400 * 2**20
_FEWEST_BEFORE = 3
#: Display-referred difference from which two states of the scene are taken for different ones.
_OTHER_STATE = 0.05


def _bands(window: Window, frames: int) -> Iterator[Window]:
    row = window.width * frames * 3 * np.dtype(np.float32).itemsize
    rows = max(16, _BAND_MEMORY // max(row, 1))
    for y in range(window.y, window.bottom, rows):
        yield Window(window.x, y, window.width, min(rows, window.bottom - y))


def _clean(samples: FloatImage, seen: NDArray[np.bool_], affected: NDArray[np.bool_]) -> FloatImage:
    """The clean pixels, (pixels, 3), of (frames, pixels, 3) samples, where they were seen, and where affected."""
    everything = median(samples, seen)
    before = seen & (np.cumsum(affected, axis=0) == 0)
    touched = affected.any(axis=0) & (before.sum(axis=0) >= _FEWEST_BEFORE)
    if touched.any():
        earlier = median(samples[:, touched], before[:, touched])
        spread = np.where(seen[:, touched, None], np.abs(samples[:, touched] - earlier), np.nan)
        noise = np.nanmedian(spread, axis=0)
        differs = np.abs(earlier - everything[touched]) > np.maximum(_OTHER_STATE, 3 * np.minimum(noise, 0.02))
        indices = np.flatnonzero(touched)[differs.any(axis=-1)]
        everything[indices] = earlier[differs.any(axis=-1)]
    return everything


def clean_plate(clip: Clip, window: Window, report: Callable[[float], None]) -> tuple[FloatImage, NDArray[np.bool_]]:
    """The clean plate in ``window``, (height, width, 3), and which pixels of it no frame ever shows, (height, width).

    Pixels that are never rewritten are left at 0 and count as shown.
    """
    plate = np.zeros((window.height, window.width, 3), np.float32)
    unseen = np.zeros((window.height, window.width), bool)
    for band in _bands(window, len(clip)):
        # with a margin, so that what is laid over does not depend on where a band ends
        wide = band.grown(clip.margin)
        inner = wide.slices(band)

        def look(
            index: int, band: Window = band, wide: Window = wide
        ) -> tuple[FloatImage, NDArray[np.bool_], NDArray[np.bool_]]:
            codes = clip.codes(index, band)
            return clip.plate(index, band), clip.rewritten(index, wide), (codes == AFFECTED) | (codes == OVERLAP)

        looks = [result for _, result in in_order(look, range(len(clip)))]
        ever = np.logical_or.reduce([rewritten for _, rewritten, _ in looks])
        rows, columns = np.nonzero(coverage.blend(ever, clip.feather)[inner] > 0)
        samples = np.stack([rgb[rows, columns] for rgb, _, _ in looks])
        seen = np.stack([~rewritten[inner][rows, columns] for _, rewritten, _ in looks])
        affected = np.stack([touched[rows, columns] for _, _, touched in looks])
        where = window.slices(band)
        plate[where][rows, columns] = _clean(samples, seen, affected)
        unseen[where][rows, columns] = ~seen.any(axis=0)
        report((band.bottom - window.y) / window.height)
    return plate, unseen


def synthesise(
    clip: Clip, region: Window, wanted: Sequence[int], report: Callable[[float], None]
) -> Iterator[tuple[int, Window, FloatImage]]:
    """Yield (index, window, RGB) for each wanted frame that has pixels to rewrite; see the engine."""
    plate, unseen = clean_plate(clip, region, report)
    busy = {index: window for index in range(len(clip)) if not (window := clip.region(index)).empty}
    clip.warn_of_unseen({index: float(np.mean(unseen[region.slices(window)])) for index, window in busy.items()})
    plate = inpaint(plate, unseen)
    for index in wanted:
        window = clip.region(index)
        if not window.empty:
            yield index, window, plate[region.slices(window)]
