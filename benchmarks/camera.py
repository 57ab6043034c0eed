"""How exactly is a moving camera followed? Tracks rendered pairs, whose camera is known, and prints a table.

    python benchmarks/camera.py PAIR...

PAIR is a folder that `void pairs make` wrote: its seed says how the camera moved. Errors are those of where the
background of the middle frame lies in the others, in pixels of the picture: the mean over the frames of what half of it
is off by, and the worst frame of what nine tenths are. The baseline follows corners from each frame to the next
(Lucas-Kanade, MAGSAC) and chains the homographies.
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from void_server.imaging import exr, sequence
from void_server.imaging.camera import Camera
from void_server.imaging.corners import Anchor, follow, grey
from void_server.imaging.exr import FloatImage
from void_server.imaging.masks import Mask, grown
from void_server.imaging.window import Window
from void_server.pairs import drawing
from void_server.pairs.geometry import turned
from void_server.pairs.recipe import TICKS

Points = NDArray[np.float64]
#: Millimetres across the recipes' sensor; what is far counts as so many times the distance of what is looked at.
_SENSOR, _FAR = 36.0, 1.6


class TrueCamera:
    """The camera of a pair, by the seed in its ``facts``: where points in the world lie in each frame."""

    def __init__(self, facts: dict[str, Any]) -> None:
        order = facts["order"]
        camera = drawing.draw(facts["seed"], order["frames"] / order["fps"], facts["kind"]).camera
        self.kind, self.count, self.size = camera.kind, order["frames"], (facts["width"], facts["height"])
        self._focus = camera.focus
        # the shutter opens at the frame
        at = [
            min((index + camera.shutter / 2) * TICKS / order["fps"], len(camera.poses) - 1)
            for index in range(self.count)
        ]
        poses, ticks = np.array(camera.poses), np.arange(len(camera.poses))
        x, y, z, *turn = (np.interp(at, ticks, values) for values in poses.T)
        self._places = np.stack([x, y, z], axis=-1)
        self._turns = np.stack(turn, axis=-1) / np.linalg.norm(turn, axis=0)[:, None]
        self._lenses = np.interp(at, ticks, camera.lens) / _SENSOR * self.size[0]

    def _projection(self, index: int) -> NDArray[np.float64]:
        """From directions in the world to the picture."""
        (width, height), turn = self.size, tuple(self._turns[index])
        axes = np.array([turned(turn, axis) for axis in ((1, 0, 0), (0, -1, 0), (0, 0, -1))])  # right, down, ahead
        lens = self._lenses[index]
        return np.array([[lens, 0, (width - 1) / 2], [0, lens, (height - 1) / 2], [0, 0, 1]]) @ axes

    def background(self, index: int, pixels: Points) -> Points:
        """Where in the world these pixels, (n, 2), see the floor, or something far, (n, 3)."""
        rays = np.linalg.solve(self._projection(index), np.column_stack([pixels, np.ones(len(pixels))]).T).T
        rays /= np.linalg.norm(rays, axis=1)[:, None]
        down = np.maximum(-rays[:, 2:], 1e-6)
        return self._places[index] + rays * np.minimum(self._places[index, 2] / down, _FAR * self._focus)

    def seen(self, index: int, points: Points) -> Points:
        """Where a frame shows these points, (n, 2)."""
        shown = (points - self._places[index]) @ self._projection(index).T
        return shown[:, :2] / shown[:, 2:]


def frames(pair: Path) -> list[tuple[FloatImage, Mask]]:
    """The plate, display-referred, and what the object hides."""
    plate, roto = (sequence.find(str(pair / name), name).files for name in ("plate", "roto"))
    found = []
    for frame, file in plate.items():
        picture = np.clip(exr.read_rgb(file), 0, 1) ** np.float32(1 / 2.2)
        height, width = picture.shape[:2]
        found.append((picture, grown(exr.read_matte(roto[frame], Window(0, 0, width, height)) > 0.02, 6)))
    return found


def chained(shot: list[tuple[FloatImage, Mask]]) -> Camera:
    """The baseline."""
    matrices = [np.eye(3)]
    for (one, hidden), (other, hidden_there) in pairwise(shot):
        here, there = follow(Anchor(grey(one), ~hidden), grey(other), hidden_there)
        matrix, _ = cv2.findHomography(here, there, cv2.USAC_MAGSAC, 0.8) if len(here) >= 4 else (None, None)
        matrices.append((np.eye(3) if matrix is None else matrix) @ matrices[-1])
    return Camera(matrices)


def errors(true: TrueCamera, camera: Camera) -> tuple[float, float]:
    """The mean error of half the background, and the largest of nine tenths."""
    middle, (width, height) = true.count // 2, true.size
    x, y = np.meshgrid(np.linspace(0, width - 1, 24), np.linspace(0, height - 1, 14))
    pixels = np.stack([x.ravel(), y.ravel()], axis=-1)
    points = true.background(middle, pixels)
    halves, most = [], []
    for index in range(true.count):
        there = true.seen(index, points)
        inside = np.all((there >= 0) & (there < (width, height)), axis=1)
        found = cv2.perspectiveTransform(pixels[:, None], camera.between(middle, index))[:, 0]
        off = np.linalg.norm(found - there, axis=1)[inside]
        halves.append(float(np.median(off)))
        most.append(float(np.quantile(off, 0.9)))
    return float(np.mean(halves)), max(most)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="+", type=Path, metavar="PAIR")
    print(f"{'pair':32}{'camera':10}{'corners':>16}{'void':>16}{'ratio':>8}")
    for pair in parser.parse_args().pairs:
        facts = json.loads((pair / "meta.json").read_text(encoding="utf-8"))
        true, shot = TrueCamera(facts), frames(pair)
        (half, most), (own, own_most) = (errors(true, camera) for camera in (chained(shot), Camera.track(shot)))
        name = f"{facts['kind']} {facts['seed']}"
        print(f"{name:32}{true.kind:10}{half:8.2f}{most:8.2f}{own:8.2f}{own_most:8.2f}{own / half:8.2f}")


if __name__ == "__main__":
    main()
