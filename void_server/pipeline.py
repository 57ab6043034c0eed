"""The way of a shot: reading, reasoning, synthesis, finish, report.

Each stage leaves files in the job's version folder, and takes up what it finds there: a job that was stopped goes on
with the frames that are missing. What only the job itself needs lies in a hidden folder that goes when it is done.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from . import __version__, engines, finish
from .api.errors import SequenceError
from .api.job import Progress, Report
from .api.shot import Shot
from .imaging import exr
from .imaging.colour import ColourSpace
from .imaging.footage import Footage
from .imaging.parallel import in_order
from .imaging.window import Window
from .quadmask import classes, image_reasoner
from .report import Thumbnail, write_report
from .source import Source, as_exr, check_settings, open_source

MANIFEST = "job.json"
SCHEMA = 1
_WORK = ".work"
_THUMBNAILS = 6
_PACKAGES = ("numpy", "opencv-python-headless", "OpenImageIO")
#: The share of a job's time that its stages usually take.
_STAGES = {"Reading the shot": 0.15, "Finding what is affected": 0.3, "Rewriting": 0.5, "Reporting": 0.05}


@dataclass(frozen=True)
class Results:
    """Where a job's results lie in its version folder."""

    folder: Path

    def plate(self, frame: int) -> Path:
        """The counterfactual plate."""
        return self.folder / "plate" / f"void_plate.{frame:04d}.exr"

    def mattes(self, frame: int) -> Path:
        """The mattes of the four classes, and the blend."""
        return self.folder / "mattes" / f"void_mattes.{frame:04d}.exr"

    def quadmask(self, frame: int) -> Path:
        """The quadmask, as code/255."""
        return self.folder / "quadmask" / f"void_quadmask.{frame:04d}.exr"

    @property
    def work(self) -> Path:
        """What only the job itself needs."""
        return self.folder / _WORK


def inspect(shot: Shot) -> None:
    """Check a submission: files, frames, formats, colour space, settings. Raises InputError with what to do."""
    check_settings(shot)
    ColourSpace(shot.colorspace, shot.ocio)
    open_source(shot)


@dataclass
class _Course:
    """Tells how far the job is, and how long each stage took."""

    report: Report
    timings: dict[str, float] = field(default_factory=dict)
    _stage: str = ""
    _done: float = 0.0
    _begin: float = field(default_factory=time.monotonic)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A stage of :data:`_STAGES` begins; it has taken its share when the block ends."""
        self._stage, begin = name, time.monotonic()
        self.at(0.0)
        yield
        self._done += _STAGES[name]
        self.timings[name] = round(time.monotonic() - begin, 3)

    def at(self, share: float, frame: int | None = None) -> None:
        """So much of the stage is done."""
        fraction = min(self._done + share * _STAGES[self._stage], 1.0)
        elapsed = time.monotonic() - self._begin
        left = elapsed / fraction - elapsed if fraction > 0.05 else None
        self.report(Progress(self._stage, frame, fraction, left))


def run(job_id: str, shot: Shot, folder: Path, report: Report) -> tuple[str, ...]:
    """Do the job in its version ``folder`` and return what the artist should be warned of.

    Raises InputError, JobCancelled out of ``report``, or OSError where the disk fails; finished frames stay.
    """
    results, course = Results(folder), _Course(report)
    # what an attempt that was killed had half written
    for left in folder.glob("*/.void_*.exr"):
        left.unlink()
    warnings: list[str] = []
    with course.stage("Reading the shot"):
        source, footage = _read(shot, results, course)
        warnings += _survey_warnings(footage)
    with course.stage("Finding what is affected"):
        warnings += _reason(shot, source, footage, results, course)
    if shot.settings.only_quadmask:
        _write_mattes(shot, source, footage, results)
    else:
        with course.stage("Rewriting"):
            warnings += _rewrite(shot, source, footage, results, course)
    with course.stage("Reporting"):
        manifest = _manifest(job_id, shot, source, footage, results, warnings, course)
        write_report(folder, manifest, _thumbnails(source, footage, results, shot.settings.only_quadmask))
    manifest["timings"] = course.timings
    _write_atomically(folder / MANIFEST, json.dumps(manifest, indent=2))
    shutil.rmtree(results.work, ignore_errors=True)
    return tuple(warnings)


def _write_atomically(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def _read(shot: Shot, results: Results, course: _Course) -> tuple[Source, Footage]:
    source = open_source(shot)
    count = len(source.frames)
    seen: set[int] = set()

    def at(frame: int) -> None:
        seen.add(frame)
        course.at(len(seen) / count, frame)

    source, colour = as_exr(source, shot, results.work, lambda frame: course.at(0.0, frame))
    footage = Footage(source.plate, source.roto, source.frames, colour, source.canvas, results.work)
    footage.look(at)
    removed = footage.survey.removed
    if not any(removed.values()):
        raise SequenceError(
            f"The roto {source.roto.name} is empty in all {count} frames; draw what to remove, into its alpha."
        )
    if min(removed.values()) >= 0.999:
        raise SequenceError(
            f"The roto {source.roto.name} covers everything in all {count} frames; nothing is left to learn from."
        )
    return source, footage


def _survey_warnings(footage: Footage) -> list[str]:
    warnings = []
    for name, broken in (("plate", footage.survey.broken), ("roto", footage.survey.broken_roto)):
        if broken:
            frame, count = next(iter(broken.items()))
            warnings.append(
                f"The {name} has NaN or Inf pixels, {count} in frame {frame} and some in {len(broken)} of "
                f"{len(footage.frames)} frames; they count as 0 and stay as they are where nothing is rewritten. "
                "Clean them before the job if they show."
            )
    return warnings


def _plate_window(source: Source, frame: int) -> Window:
    return exr.read_header(source.plate.path(frame)).data_window


def _reason(shot: Shot, source: Source, footage: Footage, results: Results, course: _Course) -> list[str]:
    """Write the quadmask of every frame that has none yet."""
    kept = results.work / "warnings.json"
    missing = [frame for frame in source.frames if not results.quadmask(frame).is_file()]
    if not missing:
        return list(json.loads(kept.read_text())) if kept.is_file() else []
    warnings: list[str] = []
    if source.quadmask is not None:
        given = source.quadmask

        def codes(frame: int, window: Window) -> classes.Quadmask:
            return classes.read(given.path(frame), window)

    elif shot.settings.reasoner == "image":
        reasoning = image_reasoner.reason(footage, results.work, lambda share: course.at(0.8 * share))
        warnings += reasoning.warnings
        indices = {frame: index for index, frame in enumerate(source.frames)}

        def codes(frame: int, window: Window) -> classes.Quadmask:
            affected = footage.enlarged(reasoning.affected(indices[frame]), window)
            return classes.assemble(footage.read_roto(frame, window), affected)

    else:

        def codes(frame: int, window: Window) -> classes.Quadmask:
            roto = footage.read_roto(frame, window)
            return classes.assemble(roto, np.zeros(roto.shape, bool))

    def write(frame: int) -> None:
        window = _plate_window(source, frame)
        values = (codes(frame, window) / np.float32(255)).astype(np.float16)
        _write_like(source, results.quadmask(frame), values[..., None], ("Y",), window)

    _write_atomically(kept, json.dumps(warnings))
    for done, (frame, _) in enumerate(in_order(write, missing)):
        course.at(0.8 + 0.2 * (done + 1) / len(missing), frame)
    return warnings


def _write_mattes(shot: Shot, source: Source, footage: Footage, results: Results) -> None:
    """Write the mattes of a quadmask that is to be looked at, with the blend that rewriting would use."""
    clip = engines.Clip(footage, results.quadmask, shot, results.work)
    finisher = finish.Finisher(clip, grain=False)

    def write(index: int) -> None:
        frame = source.frames[index]
        data = _plate_window(source, frame)
        _write_like(source, results.mattes(frame), finisher.mattes(index, data), finish.MATTE_CHANNELS, data)

    missing = [index for index, frame in enumerate(source.frames) if not results.mattes(frame).is_file()]
    for _ in in_order(write, missing):
        pass


def _write_like(source: Source, path: Path, pixels: Any, channels: tuple[str, ...], window: Window) -> None:
    exr.write(
        path,
        pixels,
        channels,
        data_window=window,
        display_window=source.display,
        pixel_aspect=source.pixel_aspect,
    )


def _rewrite(shot: Shot, source: Source, footage: Footage, results: Results, course: _Course) -> list[str]:
    """Write the counterfactual plate and the mattes of every frame that has none yet."""
    settings = shot.settings
    clip = engines.Clip(footage, results.quadmask, shot, results.work, pixel_aspect=source.pixel_aspect)
    wanted = [index for index, frame in enumerate(source.frames) if not results.plate(frame).is_file()]
    engine = engines.load(settings)
    finisher = finish.Finisher(clip, grain=settings.grain)

    def new_frames() -> Iterator[tuple[int, Window, exr.FloatImage]]:
        """The engine's frames, and between them those in which there is nothing to rewrite."""
        rest = iter(wanted)
        made = engine.synthesise(clip, wanted, lambda share: course.at(0.4 * share))
        for made_index, window, rgb in made:
            for index in rest:
                if index == made_index:
                    yield index, window, rgb
                    break
                yield index, Window(0, 0, 0, 0), np.zeros((0, 0, 3), np.float32)
        for index in rest:
            yield index, Window(0, 0, 0, 0), np.zeros((0, 0, 3), np.float32)

    def write(item: tuple[int, Window, exr.FloatImage]) -> int:
        index, window, rgb = item
        frame = source.frames[index]
        data = _plate_window(source, frame)
        _write_like(source, results.mattes(frame), finisher.mattes(index, data), finish.MATTE_CHANNELS, data)
        finisher.write_plate(index, window, rgb, results.plate(frame))
        return frame

    for done, (_, frame) in enumerate(in_order(write, new_frames())):
        course.at(0.4 + 0.6 * (done + 1) / len(wanted), frame)
    return clip.warnings


def _thumbnails(source: Source, footage: Footage, results: Results, only_quadmask: bool) -> list[Thumbnail]:
    indices = sorted({round(i) for i in np.linspace(0, len(source.frames) - 1, min(_THUMBNAILS, len(source.frames)))})
    height, width = footage.small_size
    # what is squeezed on disk is shown as the audience sees it
    shown = round(width * source.pixel_aspect), height

    def small(index: int) -> Thumbnail:
        frame = source.frames[index]
        result = None
        if not only_quadmask:
            linear = footage.colour.to_linear(exr.read_rgb(results.plate(frame), source.canvas))
            result = cv2.resize(linear, shown, interpolation=cv2.INTER_AREA)
            result = footage.curve.to_display(np.nan_to_num(result))
        codes = classes.resize(classes.read(results.quadmask(frame), source.canvas), *shown)
        plate = cv2.resize(footage.small_plate(index), shown, interpolation=cv2.INTER_AREA)
        return Thumbnail(frame, np.clip(plate, 0, 1), None if result is None else np.clip(result, 0, 1), codes)

    return [thumbnail for _, thumbnail in in_order(small, indices)]


def _manifest(
    job_id: str,
    shot: Shot,
    source: Source,
    footage: Footage,
    results: Results,
    warnings: list[str],
    course: _Course,
) -> dict[str, Any]:
    def shares(frame: int) -> dict[str, float]:
        return classes.shares(classes.read(results.quadmask(frame), source.canvas))

    return {
        "schema": SCHEMA,
        "id": job_id,
        "shot": shot.to_dict(),
        "frames": list(source.frames),
        "software": _software(),
        "device": f"{platform.machine()} CPU",
        "engine": {} if shot.settings.only_quadmask else engines.load(shot.settings).provenance(shot.settings),
        "colour": {"space": footage.colour.name, "maximum": footage.survey.maximum},
        "timings": dict(course.timings),
        "classes": {str(frame): share for frame, share in in_order(shares, source.frames)},
        "warnings": warnings,
    }


def _software() -> dict[str, str]:
    versions = {"void-nuke": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "unknown"
    return versions
