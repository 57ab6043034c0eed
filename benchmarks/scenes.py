"""How good is the result? Runs the main job on shots with ground truth and prints a table, baselines beside it.

    python benchmarks/scenes.py FOLDER [--sample] [--only NAME]
    python benchmarks/scenes.py --grain [--only NAME]

FOLDER holds shots with plate/, roto/, truth/ and change/ (as `void sample` writes them). With --sample the shots of
`void sample` are written to a temporary folder and measured too. Every shot is done twice, without added grain: with
the quadmask that the ground truth gives, which judges the engine, and with its own reasoner. The baselines get the
ground truth's region: Telea's inpainting frame by frame, a per-pixel temporal median of what is not masked, and the
nearest of the frames 4 to 25 before and after, aligned by the camera's homography and matched in brightness, as
compositors remove a rig.

With --grain, the shots of `void sample` are done with default settings, and the grain of the new pixels is compared
with the truth's, by brightness: its deviation, its correlation with the pixel beside it (both as ratios, 1 is right),
and the result's maximum over the plate's. Grain is what departs from the same shot on a perfect sensor. The baseline,
in the same run, is the job without added grain.

Figures are taken display-referred inside the truly changed region (roto and change together), except `kept`: the share
of pixels outside that region, grown by 8, that are the plate's bit for bit. `detail` is the mean gradient over the
truth's; `drift` the mean change from frame to frame along the truth's motion, in percent (grain and render noise are in
it, so the truth has one too); `FLIP` the mean error as seen (Andersson et al., 2020), if flip-evaluator is installed
(the dependency group benchmarks).
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from void_server import pipeline
from void_server.api.shot import Settings, Shot
from void_server.api.version import VersionFolder
from void_server.imaging import exr, sequence
from void_server.imaging.camera import Camera
from void_server.imaging.colour import Curve
from void_server.imaging.exr import FloatImage
from void_server.quadmask import classes
from void_server.sample import SCENES, write_sample


@dataclass
class Truth:
    """A shot with its ground truth, all of it: these shots are small."""

    frames: tuple[int, ...]
    curve: Curve
    raw: list[FloatImage]
    plate: list[FloatImage]
    truth: list[FloatImage]
    codes: list[classes.Quadmask]


def load(folder: Path) -> Truth:
    found = {name: sequence.find(str(folder / name), name) for name in ("plate", "roto", "truth", "change")}
    frames = found["plate"].frames
    window = exr.read_header(found["plate"].path(frames[0])).data_window
    raw = [exr.read_rgb(found["plate"].path(f)) for f in frames]
    curve = Curve(max(float(np.nanmax(image)) for image in raw))

    def display(image: FloatImage) -> FloatImage:
        return np.clip(curve.to_display(image), 0, 1)

    # where nothing moves in it, the truth is a single file
    truths = found["truth"]
    truth = [display(exr.read_rgb(truths.files.get(f) or truths.path(truths.frames[0]))) for f in frames]
    codes = []
    for frame in frames:
        roto = exr.read_matte(found["roto"].path(frame), window)
        change = exr.read_matte(found["change"].path(frame), window) >= 0.5
        near = cv2.dilate(change.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        codes.append(classes.assemble(roto, np.where(roto >= 0.5, near, change)))
    return Truth(frames, curve, raw, [display(image) for image in raw], truth, codes)


def peak_memory() -> float:
    """The most memory that this process has held, in MB (Linux)."""
    # not getrusage: it counts what the process that started this one held
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def job(folder: Path, out: Path, quadmask: str | None, grain: bool = False) -> tuple[float, float]:
    """Run the job; seconds, and the peak of memory in MB."""
    shot = Shot(str(folder / "plate"), str(folder / "roto"), quadmask=quadmask, settings=Settings(grain=grain))
    out.mkdir(parents=True)
    begin = time.perf_counter()
    pipeline.run("benchmark", shot, out, lambda _: None)
    return time.perf_counter() - begin, peak_memory()


def ssim(a: FloatImage, b: FloatImage) -> FloatImage:
    """Structural similarity of two grey images at each pixel (Wang et al., 2004)."""

    def mean(image: FloatImage) -> FloatImage:
        return cv2.GaussianBlur(image, (11, 11), 1.5)

    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b, both = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2, mean(a * b) - mean_a * mean_b
    top = (2 * mean_a * mean_b + 1e-4) * (2 * both + 9e-4)
    return top / ((mean_a**2 + mean_b**2 + 1e-4) * (var_a + var_b + 9e-4))


def slope(image: FloatImage) -> FloatImage:
    """The length of the gradient of a grey image at each pixel."""
    x, y = (cv2.Sobel(image, cv2.CV_32F, dx, 1 - dx, ksize=3, scale=1 / 8) for dx in (1, 0))
    return np.hypot(x, y)


def moved_along(image: FloatImage, now: FloatImage, before: FloatImage) -> FloatImage:
    """``image``, a picture of the frame ``before``, along the motion between two grey frames of the truth."""
    one, other = (np.round(grey * 255).astype(np.uint8) for grey in (now, before))
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(one, other, None)
    y, x = np.indices(now.shape, np.float32)
    return cv2.remap(image, x + flow[..., 0], y + flow[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def flip(image: FloatImage, true: FloatImage) -> FloatImage | None:
    """FLIP's error at each pixel; None if flip-evaluator is not installed."""
    if importlib.util.find_spec("flip_evaluator") is None:
        return None
    import flip_evaluator

    pictures = (np.ascontiguousarray(picture, np.float32) for picture in (true, image))
    return flip_evaluator.evaluate(*pictures, "LDR", applyMagma=False, computeMeanError=False)[0][..., 0]


def score(truth: Truth, images: list[FloatImage]) -> dict[str, float]:
    """What display-referred images are like inside the changed region."""
    sums = dict.fromkeys(("squares", "similar", "flicker", "drift", "slope", "true slope", "flip"), 0.0)
    pixels = pairs = 0
    before: list[FloatImage] = []
    for index, (image, true) in enumerate(zip(images, truth.truth, strict=True)):
        region = truth.codes[index] != classes.KEEP
        inner = cv2.erode(region.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        grey = [cv2.cvtColor(np.ascontiguousarray(i), cv2.COLOR_RGB2GRAY) for i in (image, true)]
        sums["squares"] += float(((image - true)[region] ** 2).sum(dtype=np.float64))
        sums["similar"] += float(ssim(*grey)[region].sum(dtype=np.float64))
        for name, picture in zip(("slope", "true slope"), grey, strict=True):
            sums[name] += float(slope(picture)[inner].sum(dtype=np.float64))
        seen = flip(image, true)
        sums["flip"] += float("nan") if seen is None else float(seen[region].sum(dtype=np.float64))
        pixels += int(region.sum())
        if index:
            moved = (image - images[index - 1]) - (true - truth.truth[index - 1])
            sums["flicker"] += float(np.abs(moved[region]).sum(dtype=np.float64))
            drift = grey[0] - moved_along(before[0], grey[1], before[1])
            sums["drift"] += float(np.abs(drift[region]).sum(dtype=np.float64))
            pairs += int(region.sum())
        before = grey
    figures = {
        "psnr": -10 * np.log10(max(sums["squares"] / (3 * pixels), 1e-12)),
        "ssim": sums["similar"] / pixels,
        "FLIP": sums["flip"] / pixels,
        "detail": sums["slope"] / max(sums["true slope"], 1e-9),
        "flicker": 100 * sums["flicker"] / (3 * max(pairs, 1)),
        "drift": 100 * sums["drift"] / max(pairs, 1),
    }
    return {name: value for name, value in figures.items() if not np.isnan(value)}


#: A rig is removed with frames at least and at most so far away.
_NEAREST, _FARTHEST = 4, 25


def neighbours(truth: Truth, unseen: list[FloatImage]) -> list[FloatImage]:
    """The nearest frames that show each pixel, aligned and matched in brightness; where none does, ``unseen``."""
    holes = [
        cv2.dilate((codes != classes.KEEP).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0 for codes in truth.codes
    ]
    camera = Camera.track(zip(truth.plate, holes, strict=True))
    size, images = truth.plate[0].shape[1::-1], []
    for index, plate in enumerate(truth.plate):
        image, missing = plate.copy(), truth.codes[index] != classes.KEEP
        ring = cv2.dilate(holes[index].astype(np.uint8), np.ones((25, 25), np.uint8)) > 0
        for away in sorted(range(-_FARTHEST, _FARTHEST + 1), key=abs):
            source = index + away
            if abs(away) < _NEAREST or not 0 <= source < len(truth.plate) or not missing.any():
                continue
            matrix = camera.between(source, index)
            there = cv2.warpPerspective(truth.plate[source], matrix, size, flags=cv2.INTER_CUBIC)
            hidden = cv2.warpPerspective(holes[source].astype(np.uint8), matrix, size, borderValue=1) > 0
            both = ring & ~holes[index] & ~hidden & (there.min(axis=-1) > 0.02)
            gain = np.median(plate[both] / there[both], axis=0) if both.any() else np.ones(3)
            take = missing & ~hidden
            image[take] = (there * gain)[take]
            missing &= hidden
        image[missing] = unseen[index][missing]
        images.append(np.clip(image, 0, 1).astype(np.float32))
    return images


def telea(truth: Truth) -> list[FloatImage]:
    def fill(plate: FloatImage, codes: classes.Quadmask) -> FloatImage:
        hole = (codes != classes.KEEP).astype(np.uint8)
        image = np.ascontiguousarray(np.round(plate * 255).astype(np.uint8))
        return cv2.inpaint(image, hole, 3, cv2.INPAINT_TELEA).astype(np.float32) / np.float32(255)

    return [fill(plate, codes) for plate, codes in zip(truth.plate, truth.codes, strict=True)]


def masked_median(truth: Truth, unseen: list[FloatImage]) -> list[FloatImage]:
    """The temporal median of unmasked samples; where there are none, ``unseen``."""
    stack = np.stack(truth.plate)
    masked = np.stack(truth.codes) != classes.KEEP
    stack = np.ma.median(np.ma.array(stack, mask=np.repeat(masked[..., None], 3, axis=-1)), axis=0)
    known = ~np.ma.getmaskarray(stack)
    images = []
    for plate, codes, other in zip(truth.plate, truth.codes, unseen, strict=True):
        hole = (codes != classes.KEEP)[..., None]
        images.append(np.where(hole, np.where(known, stack.filled(0), other), plate).astype(np.float32))
    return images


def measured(truth: Truth, folder: Path) -> dict[str, float]:
    results = VersionFolder(folder)
    raw = [exr.read_rgb(results.plate(f)) for f in truth.frames]
    figures = score(truth, [np.clip(truth.curve.to_display(image), 0, 1) for image in raw])
    kept, outside, hits, union = 0, 0, 0, 0
    for index, frame in enumerate(truth.frames):
        region = (truth.codes[index] != classes.KEEP).astype(np.uint8)
        far = cv2.dilate(region, np.ones((17, 17), np.uint8)) == 0
        kept += int((raw[index] == truth.raw[index]).all(axis=-1)[far].sum())
        outside += int(far.sum())
        window = exr.windows(results.quadmask(frame))[0]
        mine = classes.read(results.quadmask(frame), window) == classes.AFFECTED
        true = truth.codes[index] == classes.AFFECTED
        hits += int((mine & true).sum())
        union += int((mine | true).sum())
    return {**figures, "kept": 100 * kept / max(outside, 1), "iou": hits / max(union, 1)}


def rows(folder: Path) -> Iterator[tuple[str, dict[str, float]]]:
    truth = load(folder)
    yield "truth", {"drift": score(truth, truth.truth)["drift"]}
    by_telea = telea(truth)
    yield "telea", score(truth, by_telea)
    yield "masked median", score(truth, masked_median(truth, by_telea))
    yield "neighbours", score(truth, neighbours(truth, by_telea))
    with tempfile.TemporaryDirectory() as temporary:
        given = Path(temporary) / "given"
        for frame, codes in zip(truth.frames, truth.codes, strict=True):
            exr.write(given / f"given.{frame:04d}.exr", (codes / np.float32(255))[..., None], ("Y",))
        for name, quadmask in (("given quadmask", str(given)), ("own reasoner", None)):
            out = Path(temporary) / name
            # a process of its own, so that the peak of memory is the job's
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                seconds, memory = pool.apply(job, (folder, out, quadmask))
            yield name, {**measured(truth, out), "s/frame": seconds / len(truth.frames), "MB": memory}


_BANDS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 1.0, 4.0, 1e4)
#: A band with fewer new pixels than this says nothing.
_FEWEST = 500


def fine(image: FloatImage) -> FloatImage:
    """What varies from pixel to pixel: not what was restored a little too dark."""
    return image - cv2.blur(image, (9, 9))


def deviation(grain: FloatImage) -> float:
    """The standard deviation of most values: by their median size, which an edge that was missed does not change."""
    return 1.4826 * float(np.median(np.abs(grain)))


def beside(grain: FloatImage, where: NDArray[np.bool_]) -> float:
    """The correlation of grain with the pixel to its right."""
    both = where[:, 1:] & where[:, :-1]
    most = 3 * deviation(grain[where])
    return float(np.corrcoef(*np.clip([grain[:, 1:][both], grain[:, :-1][both]], -most, most))[0, 1])


def grain_rows(scene: str) -> Iterator[tuple[str, str]]:
    """For each band of brightness a line of figures: job with grain, and without."""
    with tempfile.TemporaryDirectory() as temporary:
        shot, perfect = Path(temporary) / "shot", Path(temporary) / "perfect"
        frames = range(1001, 1021)
        write_sample(shot, scene, (640, 360), frames)
        write_sample(perfect, scene, (640, 360), frames, grain=False)
        results = {}
        for name, grain in (("grain", True), ("no grain", False)):
            job(shot, Path(temporary) / name, None, grain)
            results[name] = VersionFolder(Path(temporary) / name)
        figures: dict[tuple[float, str], list[list[float]]] = {}
        brightest = {"plate": 0.0, "grain": 0.0, "no grain": 0.0}
        for frame in frames:
            plate, truth = (exr.read_rgb(shot / name / f"{name}.{frame}.exr") for name in ("plate", "truth"))
            clean = exr.read_rgb(perfect / f"truth/truth.{frame}.exr")
            mattes = results["grain"].mattes(frame)
            new = exr.read_channels(mattes, ["void_blend.A"], exr.windows(mattes)[0])[..., 0] == 1
            images = {name: exr.read_rgb(result.plate(frame)) for name, result in results.items()}
            for name, image in {"plate": plate, **images}.items():
                brightest[name] = max(brightest[name], float(image.max()))
            for low, high in pairwise(_BANDS):
                for channel in range(3):
                    band = new & (clean[..., channel] >= low) & (clean[..., channel] < high)
                    if np.count_nonzero(band) < _FEWEST:
                        continue
                    true = fine(truth - clean)[..., channel]
                    for name, image in images.items():
                        mine = fine(image - clean)[..., channel]
                        ratio = deviation(mine[band]) / deviation(true[band])
                        correlation = (1 + beside(mine, band)) / (1 + beside(true, band))
                        figures.setdefault((low, name), []).append([ratio, correlation])
        for low, high in pairwise(_BANDS):
            if (low, "grain") in figures:
                cells = (np.mean(figures[low, name], axis=0) for name in results)
                yield f"{low:g} to {high:g}", "  ".join(f"{ratio:9.2f} {along:11.2f}" for ratio, along in cells)
        over = (brightest[name] / brightest["plate"] for name in results)
        yield "maximum / plate's", "  ".join(f"{ratio:9.2f} {'':>11}" for ratio in over)


_COLUMNS = {
    "psnr": "6.2f",
    "ssim": "6.4f",
    "FLIP": "6.3f",
    "detail": "6.2f",
    "flicker": "7.3f",
    "drift": "6.3f",
    "kept": "6.2f",
    "iou": "5.2f",
    "s/frame": "7.3f",
    "MB": "5.0f",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--sample", action="store_true")
    parser.add_argument("--grain", action="store_true")
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    if arguments.grain:
        print(f"{'':<28}   {'with grain':>21}  {'--no-grain':>21}")
        print(f"{'shot':<10} {'brightness':<17}   {'deviation correlation  ' * 2}", flush=True)
        for scene in SCENES:
            for band, cells in grain_rows(scene) if arguments.only in scene else ():
                print(f"{scene:<10} {band:<17}   {cells}", flush=True)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folders = sorted(p.parent for p in arguments.folder.glob("*/meta.json")) if arguments.folder else []
        if arguments.sample:
            for scene in SCENES:
                write_sample(Path(temporary) / f"sample-{scene}", scene, (640, 360), range(1001, 1041))
            folders += sorted(Path(temporary).iterdir())
        print(f"{'shot':<18} {'method':<15}", *(f"{name:>7}" for name in _COLUMNS), flush=True)
        for folder in folders:
            if arguments.only in folder.name:
                for method, figures in rows(folder):
                    cells = (format(figures[n], f) if n in figures else "-" for n, f in _COLUMNS.items())
                    print(f"{folder.name:<18} {method:<15}", *(f"{cell:>7}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
