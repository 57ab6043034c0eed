"""Arrays computed once per job and reused by every process that continues it, on this machine or another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..api.files import replacing


def save(path: Path, **arrays: NDArray[Any]) -> None:
    """Write named arrays to an ``.npz`` file that is whole or not there."""
    with replacing(path, parents=True) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)


def load(path: Path) -> dict[str, NDArray[Any]]:
    """Read what :func:`save` wrote. Raises FileNotFoundError if there is nothing."""
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)
