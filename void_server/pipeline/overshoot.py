"""Detect new pixels brighter than anything in the plate: noted as frames are written, reported at the end.

The plate's maximum is that of the whole shot: a lamp that the object hides in one frame is seen in another.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..api.files import write_atomically
from ..imaging.channels import largest
from ..imaging.exr import FloatImage
from ..imaging.window import Window

# New grain may be on top of the brightest pixel.
_TOLERANCE = 1.1


@dataclass(frozen=True)
class Overshoot:
    """The brightest new pixel of a frame: its largest channel, scene-linear, and its column and row in the plate."""

    frame: int
    value: float
    x: int
    y: int


def find(frame: int, new: FloatImage, window: Window, touched: NDArray[np.bool_], maximum: float) -> Overshoot | None:
    """The brightest of the pixels ``touched`` where it exceeds the plate's ``maximum`` by more than grain would.

    ``new`` is scene-linear, (height, width, 3), in ``window``. What is not finite doesn't count.
    """
    peaks = largest(np.where(np.isfinite(new), new, np.float32(-np.inf)))
    peaks[~touched] = -np.inf
    row, column = np.unravel_index(int(np.argmax(peaks)), peaks.shape)
    value = float(peaks[row, column])
    return (
        Overshoot(frame, value, window.x + int(column), window.y + int(row)) if value > _TOLERANCE * maximum else None
    )


def note(folder: Path, overshoot: Overshoot | None) -> None:
    """Keep an overshoot in ``folder``, for :func:`noted`; whoever finishes another frame may do so at the same time."""
    if overshoot:
        write_atomically(folder / f"overshoot_{overshoot.frame}.json", json.dumps(asdict(overshoot)))


def noted(folder: Path) -> list[Overshoot]:
    """The overshoots kept in ``folder``, by frame."""
    overshoots = [Overshoot(**json.loads(file.read_text())) for file in folder.glob("overshoot_*.json")]
    return sorted(overshoots, key=lambda overshoot: overshoot.frame)


def warnings(overshoots: Sequence[Overshoot], maximum: float, display: Window) -> list[str]:
    """The warning about them, if any; a pixel's place is counted from the top left of ``display``."""
    if not overshoots:
        return []
    worst = max(overshoots, key=lambda overshoot: overshoot.value)
    count = f"{len(overshoots)} frames, mostly in frame" if len(overshoots) > 1 else "frame"
    return [
        f"The result is brighter than anything in the plate in {count} {worst.frame}: {worst.value:.4g} at "
        f"{worst.x - display.x},{worst.y - display.y} from the top left, where the plate's maximum is {maximum:.4g}. "
        "Look for fireflies in the underexposed rows of the contact sheet; clamp or paint them there."
    ]
