"""Movie files as frames, through OpenCV."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..api.errors import ImageError


def frame_count(path: Path) -> int:
    """How many frames a movie says it has. Raises :class:`ImageError` where it cannot be opened."""
    capture = cv2.VideoCapture(str(path))
    try:
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
    finally:
        capture.release()
    if count <= 0:
        raise ImageError(f"{path} cannot be read as a movie; write the frames as an EXR sequence.")
    return count


def read_frames(path: Path) -> Iterator[NDArray[np.uint8]]:
    """All frames of a movie in order, each (height, width, 3) RGB of 8 bits, as encoded.

    Raises :class:`ImageError` where the movie cannot be opened.
    """
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise ImageError(f"{path} cannot be read as a movie; write the frames as an EXR sequence.")
    try:
        while True:
            good, frame = capture.read()
            if not good:
                return
            yield np.ascontiguousarray(frame[..., ::-1]).astype(np.uint8)
    finally:
        capture.release()
