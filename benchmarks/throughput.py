"""How fast is the main job, and how much memory does it need? Prints a table.

    python benchmarks/throughput.py [--scene walkby] [--quick]

The baseline is what can't be saved: reading plate and roto and writing the plate once, in the same run, on the same
disk. CPU is the seconds of all cores a frame, which other programs change less. Aims: at most 6 times that, below 2 GB
at 4K, and no more memory for more frames.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np

from void_server import pipeline
from void_server.api.shot import Shot
from void_server.evaluation.suite import peak_memory
from void_server.imaging import exr, sequence
from void_server.imaging.window import Window
from void_server.sample import write_sample

SIZES = {"1080p x 25": (1920, 1080, 25), "1080p x 100": (1920, 1080, 100), "4K x 60": (4096, 2160, 60)}
QUICK = {"540p x 10": (960, 540, 10), "540p x 40": (960, 540, 40)}


def copy(folder: Path, out: Path) -> float:
    """Seconds to read plate and roto and to write the plate, unchanged."""
    plate, roto = sequence.find(str(folder / "plate")), sequence.find(str(folder / "roto"))
    begin = time.perf_counter()
    for frame in plate.frames:
        pixels = exr.read_rgb(plate.path(frame))
        height, width = pixels.shape[:2]
        exr.read_matte(roto.path(frame), Window(0, 0, width, height))
        exr.write(out / f"copy.{frame:04d}.exr", pixels.astype(np.float16), exr.RGB)
    return time.perf_counter() - begin


def job(folder: Path, out: Path) -> tuple[float, float, float]:
    """Run a job with default settings: seconds, seconds of all cores, and the peak of memory in MB."""
    out.mkdir(parents=True)
    begin, busy = time.perf_counter(), time.process_time()
    pipeline.run("benchmark", Shot(str(folder / "plate"), str(folder / "roto")), out, lambda _: None)
    return time.perf_counter() - begin, time.process_time() - busy, peak_memory()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scene", default="walkby")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    print(f"{'shot':<14} {'read+write':>10} {'job':>8} {'ratio':>6} {'s/frame':>8} {'CPU':>8} {'MB':>6}", flush=True)
    for name, (width, height, count) in (QUICK if arguments.quick else SIZES).items():
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "shot"
            write_sample(folder, arguments.scene, (width, height), range(1001, 1001 + count))
            baseline = copy(folder, Path(temporary) / "copy")
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                seconds, busy, memory = pool.apply(job, (folder, Path(temporary) / "v001"))
        ratio = seconds / baseline
        print(
            f"{name:<14} {baseline:>8.1f} s {seconds:>6.1f} s {ratio:>6.2f} "
            f"{seconds / count:>8.3f} {busy / count:>8.3f} {memory:>6.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
