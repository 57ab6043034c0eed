"""Arrays computed once per job and reused by every process that continues it, on this machine or another."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def keep(path: Path, **arrays: NDArray[Any]) -> None:
    """Write named arrays to an ``.npz`` file that is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # several machines may come to the same result at the same time
    part = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.npz")
    try:
        np.savez(part, allow_pickle=False, **arrays)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def kept(path: Path) -> dict[str, NDArray[Any]]:
    """Read what :func:`keep` wrote. Raises FileNotFoundError if there is nothing."""
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)
