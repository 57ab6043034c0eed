"""What would frames between the model's frames cost?

    python benchmarks/inbetween.py FOLDER [--only NAME] [--every 2]

VOID was trained at 12 frames a second. Were it given every n-th frame of a shot only, the others would have to be made
from their neighbours. Here the ground truth of the scenes in FOLDER takes the place of the model's output, so that the
figures hold for a perfect model: PSNR, in dB, of the frames between inside the changed region, display-referred.

Four ways: the nearer neighbour, the mean of both, both warped along the optical flow between them (DIS) to the moment
between, and that with detail restored from the plate as the engine does it, where the plate shows the same.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from void_server.engines.void.between import between
from void_server.engines.void.detail import restored
from void_server.evaluation.fidelity import psnr, squares
from void_server.evaluation.material import of_pair
from void_server.imaging.exr import FloatImage
from void_server.pairs import PairFolder
from void_server.quadmask import classes

WAYS = ("nearest", "mean", "warped", "restored")


def ways(first: FloatImage, last: FloatImage, share: float) -> dict[str, FloatImage]:
    """The frame after ``share`` of the way from ``first`` to ``last``, in each way that needs no plate."""
    return {
        "nearest": first if share <= 0.5 else last,
        "mean": (1 - share) * first + share * last,
        "warped": between(first, last, share),
    }


def in_words(errors: list[float]) -> str:
    """PSNR, or that there is nothing to get wrong."""
    mean = float(np.mean(errors))
    return f"{psnr(mean):.1f}" if mean > 1e-9 else "still"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only")
    parser.add_argument("--every", type=int, default=2)
    options = parser.parse_args()
    print(f"{'every ' + str(options.every):<18}" + "".join(f"{way:>10}" for way in WAYS))
    for folder in sorted(options.folder.iterdir()):
        if not (folder / "truth").is_dir() or (options.only and folder.name != options.only):
            continue
        shot = of_pair(PairFolder(folder))
        assert shot.plate is not None
        assert shot.truth is not None
        errors: dict[str, list[float]] = {way: [] for way in WAYS}
        for index in range(len(shot.truth)):
            start = index - index % options.every
            end = start + options.every
            changed = shot.changed(index)
            if index == start or end >= len(shot.truth) or not changed.any():
                continue
            made = ways(shot.truth[start], shot.truth[end], (index - start) / options.every)
            # the plate, and nothing of it where the object is
            clean = np.where((shot.codes[index] <= classes.OVERLAP)[..., None], made["warped"], shot.plate[index])
            made["restored"] = restored(made["warped"], clean.astype(np.float32)).rgb
            for way, image in made.items():
                errors[way].append(float(squares(image, shot.truth[index])[changed].mean()))
        if errors["mean"]:
            print(f"{folder.name:<18}" + "".join(f"{in_words(errors[way]):>10}" for way in WAYS), flush=True)


if __name__ == "__main__":
    main()
