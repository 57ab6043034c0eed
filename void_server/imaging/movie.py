"""Movie files as frames, through OpenCV."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..api.errors import ImageError
from ..api.files import check_regular, open_regular
from .sequence import MOST_FRAMES

# FFmpeg takes lists of other files and addresses for movies too, unless it is told which formats to take.
os.environ.setdefault(
    "OPENCV_FFMPEG_CAPTURE_OPTIONS",
    "format_whitelist;mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mxf,mpeg,mpegts,mpegvideo,flv,asf|"
    "protocol_whitelist;file",
)


@contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    check_regular(path)
    # other backends take names for patterns of images, and for cameras
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened() or not capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0:
            # raises a more specific error if the file cannot be opened at all
            open_regular(path).close()
            raise ImageError(f"{path} cannot be read as a movie; write the frames as an EXR sequence.")
        yield capture
    finally:
        capture.release()


def frame_count(path: Path) -> int:
    """The number of frames a movie claims. Raises :class:`ImageError` if it cannot be opened, or claims too many."""
    with _opened(path) as capture:
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    if count > MOST_FRAMES:
        raise ImageError(f"{path} claims {count} frames, more than the limit of {MOST_FRAMES}; write a shorter movie.")
    return count


def size(path: Path) -> tuple[int, int]:
    """Width and height of a movie's frames. Raises :class:`ImageError` where it cannot be opened."""
    with _opened(path) as capture:
        return int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))


def read_frames(path: Path) -> Iterator[NDArray[np.uint8]]:
    """All frames of a movie in order, each (height, width, 3) RGB of 8 bits, as encoded.

    Raises :class:`ImageError` where the movie cannot be opened.
    """
    with _opened(path) as capture:
        while True:
            good, frame = capture.read()
            if not good:
                return
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
