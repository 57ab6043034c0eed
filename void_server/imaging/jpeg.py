"""Pictures as JPEG."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray


def encoded(picture: NDArray[np.uint8], quality: int, options: Sequence[int] = ()) -> bytes:
    """An RGB picture (height, width, 3) of 8 bits as JPEG; with OpenCV's ``options`` beside the ``quality``."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality, *options]
    good, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), flags)
    assert good, "JPEG takes any 8-bit picture"
    return data.tobytes()
