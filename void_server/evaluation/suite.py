"""Has an engine do every pair of a suite, so that it can be judged: with the true quadmask, and with its own."""

from __future__ import annotations

import multiprocessing
import signal
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from .. import pipeline
from ..api.errors import JobFailed, SequenceError
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


def _job(outcome: Connection, shot: Shot, folder: Path) -> None:
    """Run a job; sends seconds and the peak of memory in MB, or the error with which it ended."""
    # who started this process ends it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        folder.mkdir(parents=True)
        begin = time.perf_counter()
        pipeline.run(new_id(), shot, folder, lambda _: None)
        outcome.send((time.perf_counter() - begin, peak_memory()))
    except Exception as error:  # whatever it is, it is raised again where the job was asked for
        outcome.send(error)


def _apart(shot: Shot, folder: Path, what: str) -> tuple[float, float]:
    """Run a job in a process of its own; seconds, and the peak of memory in MB, which is the job's alone."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_job, args=(sender, shot, folder))
    process.start()
    sender.close()
    try:
        outcome = receiver.recv()
    except EOFError:
        process.join()
        raise JobFailed(
            f"The process of {what} ended with {process.exitcode} and said nothing, as the system ends one for want of "
            "memory; run it by itself with `void remove` to see more."
        ) from None
    finally:
        process.terminate()
        process.join()
    if isinstance(outcome, Exception):
        raise outcome
    seconds, memory = outcome
    return seconds, memory


def removed(material: Material, work: Path, settings: Settings, method: str) -> Result:
    """What the engine of ``settings`` makes of a pair, in a new version folder in ``work``, named as the ``method``.

    It gets the quadmask that the truth gives, which judges the engine alone; the method OWN has the reasoner's.
    Raises :class:`~void_server.api.errors.VoidError` as a job does.
    """
    out = work / method.replace(" ", "_")
    if missing := [what for what in (layout.PLATE, layout.ROTO) if what not in material.sources]:
        raise SequenceError(f"{method} cannot be run on {material.name}, which has no {missing[0]}.")
    plate, roto = (_pattern(material.sources[what]) for what in (layout.PLATE, layout.ROTO))
    shot = Shot(plate, roto, colorspace=material.colour.name, prompt=material.prompt, settings=settings)
    known = material.sources[layout.PLATE].frames
    if material.frames != tuple(range(known[0], known[-1] + 1)):
        shot = replace(shot, frames=format_frames(material.frames))
    if method != OWN:
        shot = replace(shot, quadmask=str(write_codes(material, out / "quadmask")))
    folder = out / "v001"
    seconds, memory = _apart(shot, folder, f"{method} on {material.name}")
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
