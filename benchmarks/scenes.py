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
(the extra evaluate). The formulas are those of `void evaluate`: docs/evaluation.md.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from void_server import pipeline
from void_server.api.shot import Settings, Shot
from void_server.api.version import VersionFolder
from void_server.evaluation import material, results, scoring, suite
from void_server.evaluation.baselines import BASELINES
from void_server.imaging import exr
from void_server.imaging.exr import FloatImage
from void_server.pairs import PairFolder
from void_server.sample import SCENES, write_sample


def job(folder: Path, out: Path, grain: bool) -> VersionFolder:
    """The result of a job with default settings."""
    shot = Shot(str(folder / "plate"), str(folder / "roto"), settings=Settings(grain=grain))
    out.mkdir(parents=True)
    pipeline.run("benchmark", shot, out, lambda _: None)
    return VersionFolder(out)


#: The methods of the table, in its order.
METHODS = ("truth", "telea", "masked median", "neighbours", *suite.METHODS)


def rows(
    folder: Path, methods: Sequence[str] = METHODS, measures: Collection[str] = ()
) -> Iterator[tuple[str, Mapping[str, float]]]:
    """The figures of methods on a pair: those of the measures, all of the table's where none is named."""
    shot = material.of_pair(PairFolder(folder))
    assert shot.truth is not None
    with tempfile.TemporaryDirectory() as temporary:
        for name in methods:
            if name == "truth":
                yield name, scoring.score(shot, results.of_pictures(shot, name, shot.truth), ("drift",)).figures
                continue
            if name in BASELINES:
                made = results.of_pictures(shot, name, BASELINES[name](shot))
            else:
                made = suite.removed(shot, Path(temporary), Settings(grain=False), name)
            yield name, scoring.score(shot, made, measures or _COLUMNS).figures


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
        made = {name: job(shot, Path(temporary) / name, name == "grain") for name in ("grain", "no grain")}
        figures: dict[tuple[float, str], list[list[float]]] = {}
        brightest = {"plate": 0.0, "grain": 0.0, "no grain": 0.0}
        for frame in frames:
            plate, truth = (exr.read_rgb(shot / name / f"{name}.{frame}.exr") for name in ("plate", "truth"))
            clean = exr.read_rgb(perfect / f"truth/truth.{frame}.exr")
            mattes = made["grain"].mattes(frame)
            new = exr.read_channels(mattes, ["void_blend.A"], exr.windows(mattes)[0])[..., 0] == 1
            images = {name: exr.read_rgb(result.plate(frame)) for name, result in made.items()}
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
                cells = (np.mean(figures[low, name], axis=0) for name in made)
                yield f"{low:g} to {high:g}", "  ".join(f"{ratio:9.2f} {along:11.2f}" for ratio, along in cells)
        over = (brightest[name] / brightest["plate"] for name in made)
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
