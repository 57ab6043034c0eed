"""How much of the new pixels was recovered, filled or generated: noted as frames are written, summed up at the end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..api.files import write_atomically
from ..engines import origin

#: Below this share of the new pixels, what is filled in is edges that nobody sees.
_NOTABLE = 0.02


def note(folder: Path, frame: int, mattes: NDArray[np.float16]) -> None:
    """Keep in ``folder`` how many pixels of a frame each origin has, from its mattes, (height, width, 3).

    Whoever finishes another frame may do so at the same time.
    """
    counts = np.count_nonzero(mattes, axis=(0, 1)).tolist()
    write_atomically(folder / f"origin_{frame}.json", json.dumps(counts))


def warnings(found: Mapping[str, float]) -> list[str]:
    """A warning where enough of the new pixels is made up to be looked at first."""
    filled = found.get(origin.NAMES[origin.FILLED], 0.0)
    if filled < _NOTABLE:
        return []
    return [
        f"{filled:.0%} of the new pixels are hidden in every frame, so they are filled in from around them; check "
        "these first: view origin in Nuke, or the matte origin.filled."
    ]


def shares(folder: Path) -> dict[str, float]:
    """The share of all new pixels that each origin has, by name; empty where there are none."""
    counts = (
        np.array([json.loads(file.read_text()) for file in folder.glob("origin_*.json")]).reshape(-1, 3).sum(axis=0)
    )
    if not counts.any():
        return {}
    names = origin.NAMES.values()
    return {name: round(float(count / counts.sum()), 5) for name, count in zip(names, counts, strict=True)}
