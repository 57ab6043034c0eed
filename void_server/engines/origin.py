"""Where an engine's new pixels come from, pixel by pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Seen in another frame; made up from the surroundings; made by a model.
RECOVERED, FILLED, GENERATED = 1, 2, 3
NAMES = {RECOVERED: "recovered", FILLED: "filled", GENERATED: "generated"}
#: The matte of each origin for every number, (numbers, origins).
_MATTES = (np.arange(len(NAMES) + 1)[:, None] == list(NAMES)).astype(np.float16)
CHANNELS = tuple(f"origin.{name}" for name in NAMES.values())


def mattes(origin: NDArray[np.uint8]) -> NDArray[np.float16]:
    """The origins, 0 where no pixel is new, as (height, width, 3) mattes of 0 and 1, in the order of CHANNELS."""
    return np.take(_MATTES, origin, axis=0)
