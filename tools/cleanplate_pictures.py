"""Show what the engine cleanplate and the reasoner image make of pairs: plate, result and truth beside each other.

    python tools/cleanplate_pictures.py OUT.jpg PAIR ...

Each PAIR is a folder that `void pairs make` wrote. Its row is the frame in which most of the plate changes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from numpy.typing import NDArray

from void_server.api.files import write_atomically
from void_server.api.shot import Settings
from void_server.evaluation import material
from void_server.evaluation.suite import OWN, removed
from void_server.imaging import jpeg
from void_server.imaging.exr import FloatImage
from void_server.pairs import PairFolder

WIDTH, GAP = 320, 4


def row(folder: Path) -> NDArray[np.uint8]:
    """Plate, result and truth of the telling frame of a pair, (height, width, 3)."""
    pair = material.of_pair(PairFolder(folder))
    assert pair.plate is not None
    assert pair.truth is not None
    telling = max(range(len(pair.frames)), key=lambda index: int(pair.changed(index).sum()))
    with TemporaryDirectory() as work:
        result = removed(pair, Path(work), Settings(), OWN).shown[telling]
    return np.hstack([_small(picture) for picture in (pair.plate[telling], result, pair.truth[telling])])


def _small(shown: FloatImage) -> NDArray[np.uint8]:
    height, width = shown.shape[:2]
    small = cv2.resize(shown, (WIDTH, round(WIDTH * height / width)), interpolation=cv2.INTER_AREA)
    return np.pad(
        np.round(np.clip(small, 0, 1) * 255).astype(np.uint8), ((0, GAP), (0, GAP), (0, 0)), constant_values=255
    )


def main() -> None:
    """Run the jobs and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("pairs", type=Path, nargs="+")
    asked = parser.parse_args()
    write_atomically(asked.out, jpeg.encoded(np.vstack([row(folder) for folder in asked.pairs]), 85), parents=True)


if __name__ == "__main__":
    main()
