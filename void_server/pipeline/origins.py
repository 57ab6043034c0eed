"""How much of the new pixels was recovered, filled or generated: noted as frames are written, summed up at the end."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..api.files import write_atomically
from ..engines import origin

#: How many pixels each origin has, by frame, in the order of :data:`.origin.NAMES`.
Counts = Mapping[int, Sequence[int]]

#: Below this share of the new pixels, what is filled in is edges that nobody sees.
_NOTABLE = 0.02


def note(folder: Path, frame: int, made: NDArray[np.uint8]) -> None:
    """Keep in ``folder`` how many pixels of a frame each origin has, of the origins of all, (height, width).

    Whoever finishes another frame may do so at the same time.
    """
    counts = np.bincount(made.ravel(), minlength=len(origin.NAMES) + 1)[1:].tolist()
    write_atomically(folder / f"origin_{frame}.json", json.dumps(counts))


def noted(folder: Path) -> Counts:
    """What :func:`note` has kept in ``folder``, by frame."""
    files = {int(file.stem.rpartition("_")[2]): file for file in folder.glob("origin_*.json")}
    return {frame: json.loads(file.read_text()) for frame, file in sorted(files.items())}


def warnings(counts: Counts) -> list[str]:
    """A warning where enough of the new pixels is made up to be looked at first."""
    name = origin.NAMES[origin.FILLED]
    filled = shares(counts).get(name, 0.0)
    if filled < _NOTABLE:
        return []
    worst = max(counts, key=lambda frame: shares({frame: counts[frame]}).get(name, 0.0))
    return [
        f"{filled:.0%} of the new pixels are hidden in every frame, so they are filled in from around them, most of "
        f"all in frame {worst}; check these first: view origin in Nuke, or the matte origin.filled."
    ]


def shares(counts: Counts) -> dict[str, float]:
    """The share of all new pixels that each origin has, by name; empty where there are none."""
    total = np.array(list(counts.values())).reshape(-1, len(origin.NAMES)).sum(axis=0)
    if not total.any():
        return {}
    return {name: round(float(part / total.sum()), 5) for name, part in zip(origin.NAMES.values(), total, strict=True)}
