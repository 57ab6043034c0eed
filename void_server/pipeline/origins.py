"""How much of the new pixels was recovered, filled or generated: noted as frames are written, summed up at the end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..api.files import write_atomically
from ..engines import origin


def note(folder: Path, frame: int, mattes: NDArray[np.float16]) -> None:
    """Keep in ``folder`` how many pixels of a frame each origin has, from its mattes, (height, width, 3).

    Whoever finishes another frame may do so at the same time.
    """
    counts = np.count_nonzero(mattes, axis=(0, 1)).tolist()
    write_atomically(folder / f"origin_{frame}.json", json.dumps(counts))


def shares(folder: Path) -> dict[str, float]:
    """The share of all new pixels that each origin has, by name; empty where there are none."""
    counts = (
        np.array([json.loads(file.read_text()) for file in folder.glob("origin_*.json")]).reshape(-1, 3).sum(axis=0)
    )
    if not counts.any():
        return {}
    names = origin.NAMES.values()
    return {name: round(float(count / counts.sum()), 5) for name, count in zip(names, counts, strict=True)}
