"""Render frames of pairs as one picture, plate, truth and quadmask, to look a set over before it is made.

    python tools/pair_pictures.py TILES [--count 24] [--seed 1] [--size 448x256] [--out docs/images/pairs.jpg]

Of each pair that `void pairs make --count 24 --seed 1` would make, two moments are rendered. Each becomes a file below
TILES, in a folder of its seed and size; what lies there is not rendered again. The picture has the moment of each at
which most changes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from numpy.typing import NDArray

from void_server.api.files import write_atomically
from void_server.cli.options import size_of
from void_server.imaging import jpeg
from void_server.pairs import masks
from void_server.pairs.drawing import draw, seed_of
from void_server.pairs.making import Look, Renders, Shot
from void_server.pairs.ordering import Order
from void_server.pairs.preview import shown
from void_server.pairs.renderer import Renderer, simulate

COLUMNS, WIDTH, GAP = 2, 320, 4
#: The moments that are rendered, as shares of the pair's length.
MOMENTS = (0.25, 0.55)


def tile(name: str, renders: Renders) -> NDArray[np.uint8]:
    """Plate, truth and quadmask of a frame beside each other, with the pair's name, (height, width, 3)."""
    height, width = renders.roto.shape
    size = (WIDTH, round(WIDTH * height / width))
    codes = masks.quadmask(renders.roto, renders.moved, renders.truth)
    mask = cv2.cvtColor(cv2.resize(codes, size, interpolation=cv2.INTER_NEAREST), cv2.COLOR_GRAY2RGB)
    found = np.hstack([shown(renders.plate, size), shown(renders.truth, size), mask])
    cv2.putText(found, name, (5, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    return np.pad(found, ((0, GAP), (0, GAP), (0, 0)), constant_values=255)


def render(order: Order, number: int, tiles: Path) -> list[Path]:
    """The tiles of a pair, one for each moment; those that are not there yet are rendered."""
    look, kind = order.look, order.kind(number)
    folder = tiles / f"seed{order.seed}_{look.width}x{look.height}"
    moments = [round(share * (look.frames - 1)) for share in MOMENTS]
    files = {index: folder / f"{number + 1:02d}_{kind}.{index:02d}.png" for index in moments}
    if all(file.is_file() for file in files.values()):
        return list(files.values())
    recipe = draw(seed_of(order.seed, number), look.seconds, kind)
    with TemporaryDirectory() as place:
        work = Path(place)
        simulate(recipe, work / "simulated")
        with Renderer(work / "simulated", work, (look.width, look.height), look.per_frame) as renderer:
            shot = Shot(recipe, renderer, look, work)
            for index, file in files.items():
                picture = tile(f"{kind.replace('_', ' ')}, {recipe.camera.kind}", shot.renders(index))
                _, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
                write_atomically(file, data.tobytes(), parents=True)
    return list(files.values())


def telling(files: list[Path]) -> NDArray[np.uint8]:
    """Of the moments of a pair that in which plate and truth differ most."""
    pictures = [cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB) for file in files]
    return np.asarray(max(pictures, key=lambda one: cv2.absdiff(one[:, :WIDTH], one[:, WIDTH : 2 * WIDTH]).mean()))


def main() -> None:
    """Render what is lacking, and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tiles", type=Path)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", default="448x256")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).resolve().parents[1] / "docs" / "images" / "pairs.jpg"
    )
    asked = parser.parse_args()
    width, height = size_of(asked.size)
    order = Order(asked.count, asked.seed, look=Look(width, height))
    found = []
    for number in range(order.count):
        found.append(telling(render(order, number, asked.tiles)))
        print(f"{number + 1} of {order.count}")
    found += [np.full_like(found[0], 255)] * (-len(found) % COLUMNS)
    rows = [np.hstack(found[start : start + COLUMNS]) for start in range(0, len(found), COLUMNS)]
    write_atomically(asked.out, jpeg.encoded(np.vstack(rows), 80), parents=True)


if __name__ == "__main__":
    main()
