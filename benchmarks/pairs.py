"""How long a pair takes to render, and how much of it need not be rendered.

    python benchmarks/pairs.py [--kind dominoes ...] [--seed 1] [--size 672x384] [--frames 61] [--spread N]

Of each pair: minutes of CPU time, of which as many cores as there are make minutes of the clock where nobody else uses
the machine; seconds of CPU time to build and simulate, of a frame by Blender and by ours; which share of the frame is
rendered of plate, truth and moved things. With --spread only so many frames are rendered, evenly spread over the pair.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from void_server.cli.options import size_of
from void_server.imaging.sequence import spread
from void_server.pairs import PairFolder
from void_server.pairs.drawing import draw
from void_server.pairs.kinds import KINDS
from void_server.pairs.making import FIRST, Look, Shot, write_frame
from void_server.pairs.renderer import Renderer, simulate

KINDS_SHOWN = ("dominoes", "support", "carrying", "passing", "mirror", "lamps")


class Counting(Renderer):
    """A renderer that counts what it is asked for, as shares of whole frames, by state; test renders apart."""

    def __init__(self, *words: Any, **more: Any) -> None:
        super().__init__(*words, **more)
        self.counts: Counter[str] = Counter()

    def render(self, state: str, index: int, file: Path, **more: Any) -> None:
        left, bottom, right, top = more["border"]
        share = (right - left) * (top - bottom) * (more["percentage"] / 100) ** 2
        self.counts[state if more["percentage"] == 100 else "test"] += share
        super().render(state, index, file, **more)


def blender_cpu() -> float:
    """Seconds of CPU time so far of the processes of Blender, those that have ended as well."""
    us = psutil.Process()
    ended = us.cpu_times()
    running = [one.cpu_times() for one in us.children()]
    return ended.children_user + ended.children_system + sum(one.user + one.system for one in running)


def measure(kind: str, seed: int, look: Look, count: int, folder: Path) -> None:
    recipe = draw(seed, look.seconds, kind)
    own, before = time.process_time(), blender_cpu()
    simulate(recipe, folder / "simulated")
    with Counting(folder / "simulated", folder, (look.width, look.height), look.per_frame) as renderer:
        shot = Shot(recipe, renderer, look, folder)
        built = blender_cpu() - before
        renderer.counts.clear()
        for index in spread(look.frames, count):
            write_frame(PairFolder(folder), FIRST + index, shot.renders(index), with_truth=not index or not shot.single)
        each, ours = (blender_cpu() - before - built) / count, (time.process_time() - own) / count
    shares = "  ".join(f"{state} {share / count:4.0%}" for state, share in sorted(renderer.counts.items()))
    print(
        f"{kind:<15} {recipe.camera.kind:<9} CPU {(built + (each + ours) * look.frames) / 60:5.1f} min: "
        f"{built:.1f} s to build, {each:.1f} + {ours:.1f} s a frame  rendered: {shares}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", action="append", choices=list(KINDS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", default="672x384")
    parser.add_argument("--frames", type=int, default=61)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--spread", type=int, default=0)
    asked = parser.parse_args()
    width, height = size_of(asked.size)
    look = Look(width, height, asked.frames, 12, asked.samples)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"{width} x {height} x {asked.frames}, {asked.samples} samples, {os.cpu_count()} cores, load {load:.1f}")
    for kind in asked.kind or KINDS_SHOWN:
        with tempfile.TemporaryDirectory() as folder:
            measure(kind, asked.seed, look, min(asked.spread or look.frames, look.frames), Path(folder))


if __name__ == "__main__":
    main()
