"""How long a pair takes to render, and how much of it need not be rendered.

    python benchmarks/pairs.py [--kind dominoes ...] [--size 672x384] [--frames 61] [--samples 8] [--first N]

Of each pair: minutes, the least that it takes where nobody else uses the machine (its CPU time on all cores), seconds
a frame, what share of the truth's frames is rendered, what share of the pixels of plate and moved things. With --first
only so many frames are rendered, of which the whole pair is estimated.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from void_server.cli.options import size_of
from void_server.pairs import making
from void_server.pairs.kinds import KINDS
from void_server.pairs.renderer import Renderer

KINDS_SHOWN = ("dominoes", "support", "carrying", "passing", "mirror", "lamps")


class Counting(Renderer):
    """A renderer that counts what it is asked for, as shares of whole frames, by state; test renders apart."""

    def __init__(self, *words: Any, **more: Any) -> None:
        super().__init__(*words, **more)
        counts.clear()

    def render(self, state: str, index: int, file: Path, **more: Any) -> None:
        left, bottom, right, top = more.get("border", (0, 0, 1, 1))
        name = state if more.get("percentage", 100) == 100 else "test"
        counts.setdefault(name, []).append((right - left) * (top - bottom))
        begin = time.perf_counter()
        super().render(state, index, file, **more)
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - begin


counts: dict[str, list[float]] = {}
seconds: dict[str, float] = {}


class Enough(Exception):
    """As many frames are rendered as were asked for."""


def measure(kind: str, seed: int, look: making.Look, first: int, folder: Path) -> None:
    seconds.clear()
    begin, cpu = time.perf_counter(), os.times()
    started = done = 0.0

    def follow(what: str, share: float) -> None:
        nonlocal started, done
        if what.startswith("frame"):
            started = started or time.perf_counter()
            done = round(share * look.frames)
            if first and done >= first:
                raise Enough

    try:
        making.make(folder / kind, seed, look, follow, kind=kind)
        done = look.frames
    except Enough:
        pass
    now = time.perf_counter()
    each = (now - started) / done
    whole = started - begin + each * look.frames
    children = os.times()
    used = children.children_user + children.children_system - cpu.children_user - cpu.children_system
    shares = {name: sum(found) / done for name, found in counts.items() if name != "test"}
    parts = "  ".join(f"{name} {share:4.0%}" for name, share in sorted(shares.items()))
    spent = "  ".join(f"{name} {spent / done:.1f}" for name, spent in sorted(seconds.items()))
    # building the scene, which is done once, counts for each frame here: no less than it takes
    quiet = used / done * look.frames / (os.cpu_count() or 1)
    print(
        f"{kind:<15} {whole / 60:5.1f} min, quiet {quiet / 60:.1f} min  {each:5.1f} s a frame ({spent})  "
        f"rendered: {parts}  CPU {used / done:.1f} s a frame"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", action="append", choices=list(KINDS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", default="672x384")
    parser.add_argument("--frames", type=int, default=61)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--first", type=int, default=0)
    asked = parser.parse_args()
    width, height = size_of(asked.size)
    look = making.Look(width, height, asked.frames, 12, asked.samples)
    making.Renderer = Counting  # type: ignore[misc]
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"{width} x {height} x {asked.frames}, {asked.samples} samples, {os.cpu_count()} cores, load {load:.1f}")
    for kind in asked.kind or KINDS_SHOWN:
        with tempfile.TemporaryDirectory() as folder:
            measure(kind, asked.seed, look, asked.first, Path(folder))


if __name__ == "__main__":
    main()
