"""How well is it found what a removal affects? Runs the reasoners on shots with ground truth and prints a table.

    python benchmarks/reasoning.py FOLDER [--sample] [--published] [--segmenter NAME]

FOLDER holds shots with plate/, roto/ and change/ (as `void sample` writes them). Three ways are measured, as the
overlap (intersection over union) of what they find with what truly changes outside the object:

image      the pixels alone
analysis   what a language model would add at its best: the true boxes of what changes, in eight frames, as an analysis
boxes      the baseline: those boxes as they are, in each frame those of the nearest that has any

A second table measures rotos: the overlap with the true roto, from its box, or from one point on it, in one frame.

With --published, FOLDER holds the published samples instead (plate.mp4 and quadmask.mp4 in a folder each). Their object
is the roto, and the truth is what their quadmask calls affected, on the object too. The perfect answer names it as
artefacts or as objects, tight or in cells of the grid; the last two columns are the classes that result from objects in
cells, each for itself.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from void_server import pipeline
from void_server.api.shot import Prompt, Settings, Shot
from void_server.api.version import VersionFolder
from void_server.evaluation.agreement import overlap
from void_server.imaging import exr, movie, sequence
from void_server.quadmask import classes
from void_server.sample import SCENES, write_sample

Mask = NDArray[np.bool_]
_SAMPLED = 8


def masks(folder: Path, name: str) -> dict[int, Mask]:
    """The truth of a shot, by frame."""
    found = sequence.find(str(folder / name), name)
    return {f: exr.read_matte(path, exr.windows(path)[1]) >= 0.5 for f, path in found.files.items()}


def boxes(mask: Mask, gap: int = 7) -> Iterator[tuple[float, float, float, float]]:
    """The relative boxes of a mask's pieces that are worth a word, those closer than ``gap`` pixels as one."""
    count, _, found, _ = cv2.connectedComponentsWithStats(cv2.dilate(mask.astype(np.uint8), np.ones((gap, gap))))
    height, width = mask.shape
    for x, y, w, h, area in found[1:count]:
        if area > 0.001 * mask.size:
            yield x / width, y / height, (x + w) / width, (y + h) / height


def job(out: Path, shot: Shot) -> VersionFolder:
    out.mkdir(parents=True)
    pipeline.run("0123456789ab", shot, out, lambda _: None)
    return VersionFolder(out)


def found_in(results: VersionFolder, frames: list[int]) -> dict[int, Mask]:
    window = exr.windows(results.quadmask(frames[0]))[1]
    codes = {frame: classes.read(results.quadmask(frame), window) for frame in frames}
    return {frame: of_frame == classes.AFFECTED for frame, of_frame in codes.items()}


def agreement(found: dict[int, Mask], truth: dict[int, Mask]) -> float:
    return overlap((found[frame], truth[frame]) for frame in truth)


def between(places: dict[int, list[Any]], frame: int, shape: tuple[int, int]) -> Mask:
    """The boxes of the nearest frame that has any: the baseline."""
    mask = np.zeros(shape, bool)
    nearest = min(places, key=lambda other: abs(other - frame))
    for x0, y0, x1, y1 in places[nearest]:
        mask[int(y0 * shape[0]) : int(y1 * shape[0]), int(x0 * shape[1]) : int(x1 * shape[1])] = True
    return mask


def reasoning(folder: Path, work: Path, segmenter: str) -> tuple[float, float, float]:
    roto, change = masks(folder, "roto"), masks(folder, "change")
    truth = {frame: change[frame] & ~roto[frame] for frame in roto}
    frames = sorted(truth)
    sampled = [frames[round(i)] for i in np.linspace(0, len(frames) - 1, _SAMPLED)]
    places = {frame: list(boxes(truth[frame])) for frame in sampled}
    thing = {
        "name": "what changes",
        "places": [{"frame": frame, "box": box} for frame, of_frame in places.items() for box in of_frame],
    }
    file = work / "analysis.json"
    work.mkdir(parents=True)
    file.write_text(json.dumps({"artefacts": [thing] if thing["places"] else []}))
    measured = []
    for reasoner in ("image", "file"):
        settings = Settings(reasoner=reasoner, until="quadmask", segmenter=segmenter)
        shot = Shot(str(folder / "plate"), str(folder / "roto"), analysis=str(file), settings=settings)
        measured.append(agreement(found_in(job(work / reasoner, shot), frames), truth))
    shape = truth[frames[0]].shape
    baseline = {frame: between(places, frame, shape) & ~roto[frame] for frame in frames}
    return measured[0], measured[1], agreement(baseline, truth)


#: The published samples are measured at this width.
_PUBLISHED_WIDTH = 480


def lay_out(sample: Path, shot: Path) -> dict[int, classes.Quadmask]:
    """Write a published sample as a shot with plate/ and roto/; returns its quadmask by frame."""
    codes = {}
    movies = zip(movie.read_frames(sample / "plate.mp4"), movie.read_frames(sample / "quadmask.mp4"), strict=True)
    for frame, (plate, quadmask) in enumerate(movies, 1):
        width = min(_PUBLISHED_WIDTH, plate.shape[1])
        size = width, round(plate.shape[0] * width / plate.shape[1])
        codes[frame] = classes.resize(classes.quantise(quadmask[..., 0].astype(np.float32)), *size)
        roto = np.isin(codes[frame], (classes.REMOVE, classes.OVERLAP)).astype(np.float16)
        display = cv2.resize(plate, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        exr.write(shot / "plate" / f"p.{frame:04d}.exr", (display**2.2).astype(np.float16), exr.RGB)
        exr.write(shot / "roto" / f"r.{frame:04d}.exr", roto[..., None], ("A",))
    return codes


def affected(codes: dict[int, classes.Quadmask]) -> dict[int, Mask]:
    return {frame: np.isin(of_frame, (classes.AFFECTED, classes.OVERLAP)) for frame, of_frame in codes.items()}


def recall_and_precision(ours: dict[int, classes.Quadmask], theirs: dict[int, classes.Quadmask]) -> tuple[float, float]:
    """Shares of what is affected beside the object: of ``theirs`` in ``ours``, and of ``ours`` in ``theirs``."""
    wanted, found = (np.stack([codes[frame] == classes.AFFECTED for frame in theirs]) for codes in (theirs, ours))
    both = np.count_nonzero(wanted & found)
    return both / max(np.count_nonzero(wanted), 1), both / max(np.count_nonzero(found), 1)


def published(sample: Path, work: Path, segmenter: str) -> list[float]:
    shot = work / "shot"
    theirs = lay_out(sample, shot)
    truth, frames = affected(theirs), sorted(theirs)
    sampled = [frames[index] for index in sequence.spread(len(frames), _SAMPLED)]
    # in whole cells, which leave no crumbs
    places = {frame: list(boxes(truth[frame], gap=1)) for frame in sampled}
    thing = {
        "name": "what changes",
        "places": [{"frame": frame, "box": box} for frame, of_frame in places.items() for box in of_frame],
    }

    def found(name: str, group: str, shape: str) -> dict[int, classes.Quadmask]:
        file = work / f"{name}.json"
        file.write_text(json.dumps({group: [thing], "frames": sampled}))
        reasoner = "file" if group else "image"
        settings = Settings(reasoner=reasoner, until="quadmask", segmenter=segmenter, affected_shape=shape)
        analysis = str(file) if group else None
        results = job(work / name, Shot(str(shot / "plate"), str(shot / "roto"), analysis=analysis, settings=settings))
        window = exr.windows(results.quadmask(frames[0]))[1]
        return {frame: classes.read(results.quadmask(frame), window) for frame in frames}

    given = {frame: of_frame for frame, of_frame in places.items() if of_frame}
    baseline = {frame: between(given, frame, theirs[frame].shape) for frame in frames}
    image = found("image in cells", "", "grid")
    ways = [found("image", "", "tight"), image, *(found(group, group, "tight") for group in ("artefacts", "objects"))]
    grid = found("cells", "objects", "grid")
    measured = [agreement(affected(ours), truth) for ours in ways]
    measured[2:2] = recall_and_precision(image, theirs)
    measured += [agreement(baseline, truth), agreement(affected(grid), truth)]
    for code in (classes.OVERLAP, classes.AFFECTED):
        ours, wanted = ({frame: of_frame == code for frame, of_frame in codes.items()} for codes in (grid, theirs))
        measured.append(agreement(ours, wanted))
    return measured


def rotos(folder: Path, work: Path, segmenter: str) -> list[float]:
    truth = masks(folder, "roto")
    frame = max(truth, key=lambda one: truth[one].sum())
    x, y, w, h = cv2.boundingRect(truth[frame].astype(np.uint8))
    depth = cv2.distanceTransform(truth[frame].astype(np.uint8), cv2.DIST_L2, 5)
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    prompts = [
        Prompt(frame, Prompt.BOX, (float(x), float(y), float(x + w), float(y + h))),
        Prompt(frame, Prompt.POINT, (float(column), float(row))),
    ]
    measured = []
    for prompt in prompts:
        settings = Settings(segmenter=segmenter, until="roto", reasoner="none")
        shot = Shot(str(folder / "plate"), prompts=(prompt,), settings=settings)
        results = job(work / prompt.kind, shot)
        window = exr.windows(results.roto(frame))[1]
        found = {f: exr.read_matte(results.roto(f), window) >= 0.5 for f in truth}
        measured.append(agreement(found, truth))
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sample", action="store_true")
    parser.add_argument("--published", action="store_true")
    parser.add_argument("--segmenter", default="auto")
    given = parser.parse_args()
    if given.published:
        image = ("image", "image in cells", "recall", "precision")
        columns = ("sample", *image, "artefacts", "objects", "boxes", "in cells", "overlap", "affected")
        print(f"| {' | '.join(columns)} |\n|{len(columns) * '---|'}")
        with tempfile.TemporaryDirectory() as temporary:
            for sample in sorted(path.parent for path in given.folder.glob("*/quadmask.mp4")):
                work = Path(temporary) / sample.name
                row = " | ".join(f"{value:.2f}" for value in published(sample, work, given.segmenter))
                print(f"| {sample.name} | {row} |", flush=True)
        return
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        shots = sorted(path.parent for path in given.folder.glob("*/plate"))
        if given.sample:
            for scene in SCENES:
                write_sample(work / "shots" / scene, scene, (960, 540), range(1001, 1041))
                shots.append(work / "shots" / scene)
        print("| shot | image | analysis | boxes | analysis / boxes |\n|---|---|---|---|---|")
        for folder in shots:
            image, analysis, baseline = reasoning(folder, work / folder.name, given.segmenter)
            ratio = f"{analysis / baseline:.1f}" if baseline else "-"
            print(f"| {folder.name} | {image:.2f} | {analysis:.2f} | {baseline:.2f} | {ratio} |", flush=True)
        print("\n| shot | roto from a box | roto from a point |\n|---|---|---|")
        for folder in shots:
            box, point = rotos(folder, work / f"{folder.name}-roto", given.segmenter)
            print(f"| {folder.name} | {box:.2f} | {point:.2f} |", flush=True)


if __name__ == "__main__":
    main()
