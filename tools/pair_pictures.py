"""Put pairs of a set beside each other as one picture: plate above truth, of the frame in which most changes.

    python tools/pair_pictures.py SET [--count 24] [--out docs/images/pairs.jpg]

The kinds take turns, so that all of them are seen.
"""

from __future__ import annotations

import argparse
from itertools import chain, zip_longest
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from void_server.api.files import write_atomically
from void_server.imaging import exr, jpeg
from void_server.pairs import PairFolder, pairs_in
from void_server.pairs.layout import PLATE, TRUTH
from void_server.pairs.preview import shown

COLUMNS, WIDTH, GAP = 6, 200, 4


def tile(pair: PairFolder) -> NDArray[np.uint8]:
    """Plate and truth of a pair with its kind, (height, width, 3)."""
    plates, truths = pair.sequence(PLATE), pair.sequence(TRUTH)
    pictures = [
        (exr.read_rgb(plates.path(frame)), exr.read_rgb(truths.files.get(frame) or truths.path(truths.frames[0])))
        for frame in plates.frames
    ]
    most = max(pictures, key=lambda both: float(np.abs(both[0] - both[1]).mean()))
    height, width = most[0].shape[:2]
    found = np.vstack([shown(image, (WIDTH, round(WIDTH * height / width))) for image in most])
    cv2.putText(found, kind(pair), (5, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    return np.pad(found, ((0, GAP), (0, GAP), (0, 0)), constant_values=255)


def kind(pair: PairFolder) -> str:
    """The kind of scene that a pair shows."""
    return str((pair.facts().model_extra or {}).get("kind", pair.name)).replace("_", " ")


def chosen(pairs: list[PairFolder], count: int) -> list[PairFolder]:
    """So many pairs, of the kinds in turn."""
    groups: dict[str, list[PairFolder]] = {}
    for pair in pairs:
        groups.setdefault(kind(pair), []).append(pair)
    turns = chain.from_iterable(zip_longest(*(groups[name] for name in sorted(groups))))
    return [pair for pair in turns if pair is not None][:count]


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", type=Path)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).resolve().parents[1] / "docs" / "images" / "pairs.jpg"
    )
    asked = parser.parse_args()
    tiles = [tile(pair) for pair in chosen(pairs_in(asked.set), asked.count)]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % COLUMNS)
    rows = [np.hstack(tiles[start : start + COLUMNS]) for start in range(0, len(tiles), COLUMNS)]
    write_atomically(asked.out, jpeg.encoded(np.vstack(rows), 85), parents=True)


if __name__ == "__main__":
    main()
