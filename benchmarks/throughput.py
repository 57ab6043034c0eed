"""How fast is the main job, and how much CPU time and memory does it need? Prints a table.

    python benchmarks/throughput.py [--scene walkby] [--quick | --size 1920x1080 --frames 16] [--cores 1,2]

The baseline is what can't be saved: reading plate and roto and writing the plate once, in the same run, on the same
disk. CPU is the seconds of all cores a frame, which other programs change less; below each job, those of its stages.
With ``--cores`` the job runs again on so many cores: what one core does alone shows. Aims: at most 6 times the
baseline, below 2 GB at 4K, and no more memory for more frames.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from void_server import pipeline
from void_server.api.job import Progress
from void_server.api.shot import Shot
from void_server.evaluation.suite import peak_memory
from void_server.imaging import exr, sequence
from void_server.imaging.window import Window
from void_server.sample import write_sample

SIZES = {"1080p x 25": (1920, 1080, 25), "1080p x 100": (1920, 1080, 100), "4K x 60": (4096, 2160, 60)}
QUICK = {"540p x 10": (960, 540, 10), "540p x 40": (960, 540, 40)}


def copy(folder: Path, out: Path) -> tuple[float, float]:
    """Seconds, and seconds of all cores, to read plate and roto and to write the plate, unchanged."""
    plate, roto = sequence.find(str(folder / "plate")), sequence.find(str(folder / "roto"))
    begin, busy = time.perf_counter(), time.process_time()
    for frame in plate.frames:
        pixels = exr.read_rgb(plate.path(frame))
        height, width = pixels.shape[:2]
        exr.read_matte(roto.path(frame), Window(0, 0, width, height))
        exr.write(out / f"copy.{frame:04d}.exr", pixels.astype(np.float16), exr.RGB)
    return time.perf_counter() - begin, time.process_time() - busy


def job(folder: Path, out: Path, cores: int) -> tuple[float, Counter[str], float]:
    """Run a job with default settings: seconds, seconds of all cores in each stage, and the peak of memory in MB.

    ``cores`` is on how many, 0 for all.
    """
    if cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    out.mkdir(parents=True)
    stages: Counter[str] = Counter()
    stage, begin, busy = "", time.perf_counter(), time.process_time()

    def at(progress: Progress) -> None:
        nonlocal stage, busy
        now = time.process_time()
        stages[stage or progress.stage] += now - busy
        stage, busy = progress.stage, now

    pipeline.run("benchmark", Shot(str(folder / "plate"), str(folder / "roto")), out, at)
    stages[stage] += time.process_time() - busy
    return time.perf_counter() - begin, stages, peak_memory()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scene", default="walkby")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--size", help="width x height, in place of the usual sizes")
    parser.add_argument("--frames", type=int, default=16, help="with --size")
    parser.add_argument("--cores", default="0", help="how many, such as 1,2; 0 for all")
    arguments = parser.parse_args()
    sizes = QUICK if arguments.quick else SIZES
    if arguments.size:
        width, height = map(int, arguments.size.split("x"))
        sizes = {f"{arguments.size} x {arguments.frames}": (width, height, arguments.frames)}
    print(f"{'shot':<26} {'cores':>5} {'s':>8} {'ratio':>6} {'s/frame':>8} {'CPU':>8} {'MB':>6}", flush=True)
    for name, (width, height, count) in sizes.items():
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "shot"
            write_sample(folder, arguments.scene, (width, height), range(1001, 1001 + count))
            baseline, busy = copy(folder, Path(temporary) / "copy")
            print(
                f"{name:<26} {'':>5} {baseline:>8.1f} {'':>6} {baseline / count:>8.3f} {busy / count:>8.3f}  baseline"
            )
            for cores in map(int, arguments.cores.split(",")):
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    version = Path(temporary) / f"on_{cores}"
                    seconds, stages, memory = pool.apply(job, (folder, version, cores))
                print(
                    f"{name:<26} {cores or 'all':>5} {seconds:>8.1f} {seconds / baseline:>6.2f} "
                    f"{seconds / count:>8.3f} {stages.total() / count:>8.3f} {memory:>6.0f}"
                )
                for stage, spent in stages.items():
                    print(f"  {stage:<24} {'':>5} {'':>8} {'':>6} {'':>8} {spent / count:>8.3f}", flush=True)


if __name__ == "__main__":
    main()
