"""Does the image reasoner hold on shots that it was not made on? Measures it on twins of shots with ground truth.

    python benchmarks/twins.py FOLDER [--only NAME] [--twin NAME ...] [--shots FOLDER]

FOLDER holds shots with plate/, roto/, truth/ and change/ (as `void sample` writes them). A twin is such a shot seen
otherwise: mirrored, three stops brighter or darker, at half the frame rate, from the hand, enlarged. For each twin:
the overlap (intersection over union) of the affected class with what truly changes outside the object, the share of
the other pixels (those within 8 of what changes left out) that the quadmask keeps, and the reasoner's warnings.
--shots says where to keep the twins, so that they are made once.
"""

from __future__ import annotations

import argparse
import math
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from reasoning import agreement, found_in, job, masks

from void_server.api.shot import Settings, Shot
from void_server.imaging import exr, sequence
from void_server.imaging.exr import FloatImage


class Twin(NamedTuple):
    """How a twin comes from its shot: its geometry by frame index, its exposure, and which frames there are of it."""

    geometry: Callable[[FloatImage, int], FloatImage] = lambda image, _: image
    exposure: float = 1.0
    every: int = 1


def mirrored(image: FloatImage, _: int) -> FloatImage:
    return np.ascontiguousarray(image[:, ::-1])


def held_by_hand(image: FloatImage, index: int) -> FloatImage:
    """As a camera sees it that trembles, somewhat nearer so that nothing beyond its edge shows."""
    height, width = image.shape[:2]
    scale = 1.08 + 0.008 * math.sin(index / 5)
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 0.6 * math.sin(index / 7 + 1), scale)
    matrix[:, 2] += height * 0.02 * np.array([math.sin(index / 6), math.sin(index / 4 + 2)])
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def enlarged(image: FloatImage, _: int) -> FloatImage:
    return cv2.resize(image, None, fx=1.5, fy=1.5, interpolation=cv2.INTER_CUBIC)


TWINS = {
    "itself": Twin(),
    "mirrored": Twin(mirrored),
    "3 stops up": Twin(exposure=8),
    "3 stops down": Twin(exposure=1 / 8),
    "half rate": Twin(every=2),
    "by hand": Twin(held_by_hand),
    "1.5x": Twin(enlarged),
}


def write_twin(folder: Path, out: Path, twin: Twin) -> None:
    """Write the twin of the shot in ``folder`` with its truth and what truly changes."""
    plates = sequence.find(str(folder / "plate")).files
    for name, channels in (("plate", exr.RGB), ("truth", exr.RGB), ("roto", ("A",)), ("change", ("Y",))):
        files = sequence.find(str(folder / name)).files
        for index, frame in enumerate(sorted(plates)[:: twin.every]):
            # a truth that is the same throughout is a single frame
            path = files.get(frame) or next(iter(files.values()))
            if channels == exr.RGB:
                image = np.maximum(twin.geometry(exr.read_rgb(path), index) * np.float32(twin.exposure), 0)
            else:
                image = np.clip(twin.geometry(exr.read_matte(path, exr.windows(path)[1]), index), 0, 1)[..., None]
            exr.write(out / name / f"{name}.{1001 + index}.exr", image.astype(np.float16), channels)
    shutil.copy(folder / "meta.json", out)


def measure(shot: Path, work: Path) -> tuple[float, float, list[str]]:
    """IoU, kept, and warnings of the reasoner on a shot."""
    roto, change = masks(shot, "roto"), masks(shot, "change")
    truth = {frame: change[frame] & ~roto[frame] for frame in roto}
    settings = Settings(reasoner="image", until="quadmask")
    version = job(work, Shot(str(shot / "plate"), str(shot / "roto"), settings=settings))
    found = found_in(version, sorted(truth))
    around = {f: cv2.dilate((change[f] | roto[f]).astype(np.uint8), np.ones((17, 17))) > 0 for f in truth}
    kept = sum(int((~around[f] & ~found[f]).sum()) for f in truth) / max(sum(int((~around[f]).sum()) for f in truth), 1)
    return agreement(found, truth), kept, list(version.reasoning().get("warnings", []))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--twin", nargs="*", choices=TWINS, default=list(TWINS))
    parser.add_argument("--shots", type=Path)
    given = parser.parse_args()
    print("| shot | twin | IoU | kept | warnings |\n|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        for folder in sorted(path.parent for path in given.folder.glob("*/meta.json")):
            for name in given.twin if not given.only or folder.name in given.only else ():
                shot = (given.shots or Path(temporary)) / f"{folder.name}-{name.replace(' ', '_')}"
                if not (shot / "meta.json").is_file():
                    write_twin(folder, shot, TWINS[name])
                iou, kept, warnings = measure(shot, Path(temporary) / f"{shot.name}-job")
                print(f"| {folder.name} | {name} | {iou:.3f} | {100 * kept:.2f} | {' '.join(warnings)} |", flush=True)


if __name__ == "__main__":
    main()
