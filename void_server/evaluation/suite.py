"""Has an engine do every pair of a suite, so that it can be judged: with the true quadmask, and with its own."""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from .. import pipeline
from ..api.errors import SequenceError
from ..api.job import new_id
from ..api.shot import Settings, Shot
from ..imaging import exr
from ..imaging.sequence import Sequence, format_frames
from ..pairs import layout
from .material import Material
from .results import Result, of_version

GIVEN, OWN = "given quadmask", "own reasoner"
METHODS = (GIVEN, OWN)


def peak_memory() -> float:
    """The most memory that this process has held, in MB; 0 where the system does not tell (Linux does)."""
    # not getrusage: it counts what the process that started this one held
    status = Path("/proc/self/status")
    return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024 if status.is_file() else 0.0


def _job(shot: Shot, folder: Path) -> tuple[float, float]:
    """Run a job; seconds, and the peak of memory in MB."""
    folder.mkdir(parents=True)
    begin = time.perf_counter()
    pipeline.run(new_id(), shot, folder, lambda _: None)
    return time.perf_counter() - begin, peak_memory()


def removed(material: Material, work: Path, settings: Settings, method: str) -> Result:
    """What the engine of ``settings`` makes of a pair, in a new version folder in ``work``, named as the ``method``.

    It gets the quadmask that the truth gives, which judges the engine alone; the method OWN has the reasoner's.
    Raises :class:`~void_server.api.errors.VoidError` as a job does. The job has a process of its own, so that the peak
    of memory is the job's.
    """
    out = work / method.replace(" ", "_")
    if missing := [what for what in (layout.PLATE, layout.ROTO) if what not in material.sources]:
        raise SequenceError(f"{method} cannot be run on {material.name}, which has no {missing[0]}.")
    plate, roto = (_pattern(material.sources[what]) for what in (layout.PLATE, layout.ROTO))
    shot = Shot(plate, roto, colorspace=material.colour.name, prompt=material.prompt, settings=settings)
    if material.frames != material.sources[layout.PLATE].frames:
        shot = replace(shot, frames=format_frames(material.frames))
    if method != OWN:
        shot = replace(shot, quadmask=str(write_codes(material, out / "quadmask")))
    folder = out / "v001"
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        seconds, memory = pool.apply(_job, (shot, folder))
    cost = {"s/frame": seconds / len(material.frames), **({"MB": memory} if memory else {})}
    return of_version(material, folder, method, cost)


def write_codes(material: Material, folder: Path) -> Path:
    """Write the true quadmask of a shot as a job takes it; the folder."""
    for frame, codes in zip(material.frames, material.codes, strict=True):
        exr.write(
            folder / f"{folder.name}.{frame:04d}.exr",
            (codes / np.float32(255))[..., None],
            ("Y",),
            data_window=material.window,
            display_window=material.display,
        )
    return folder


def _pattern(found: Sequence) -> str:
    """The folder that holds a sequence."""
    return str(next(iter(found.files.values())).parent)
