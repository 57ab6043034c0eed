"""The stage that ends a job: the report for people, the manifest for everything else."""

from __future__ import annotations

import json
import math
import platform
import shutil
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from . import __version__, overshoot
from .api.files import write_atomically
from .api.job import MANIFEST
from .course import REPORTING
from .imaging import exr, sequence
from .imaging.colour import Curve
from .imaging.exr import FloatImage
from .imaging.parallel import in_order
from .overshoot import Overshoot
from .quadmask import classes
from .quadmask.edits import HISTORY
from .quadmask.grid import Grid
from .relevant import relevant
from .report import Cells, Sheet, Thumbnail, peaks, write_report
from .work import Work

SCHEMA = 1
_THUMBNAILS = 6
_PACKAGES = ("numpy", "opencv-python-headless", "OpenImageIO")


def conclude(work: Work, job_id: str) -> None:
    """Write report and manifest, the manifest last; what only the job itself needed goes."""
    results, maximum = work.results, work.footage.survey.maximum
    found = overshoot.noted(results.work)
    work.warnings += overshoot.warnings(found, maximum, work.source.display)
    with work.course.stage(REPORTING):
        manifest = _manifest(work, job_id, found)
        regions = results.told().get("regions", [])
        write_report(results.folder, manifest, _sheet(work, regions, found), relevant(work.shot, work.engine), regions)
    manifest["timings"] = work.course.timings
    write_atomically(results.folder / MANIFEST, json.dumps(manifest, indent=2))
    shutil.rmtree(results.work, ignore_errors=True)


def _sheet(work: Work, regions: list[dict[str, Any]], found: list[Overshoot]) -> Sheet:
    """A few frames, also that with the brightest of the overshoots ``found``."""
    settings, footage, frames = work.shot.settings, work.footage, work.frames
    indices = set(sequence.spread(len(frames), _THUMBNAILS))
    if found:
        indices.add(frames.index(max(found, key=lambda one: one.value).frame))
    stops = 0
    if _has_result(work) and max([footage.survey.maximum, *(one.value for one in found)]) > 1:
        # so that the plate's highlights come below 1
        stops = math.ceil(math.log2(max(footage.curve.maximum, 2)))
    made = in_order(lambda index: _thumbnail(work, index, regions, stops), sorted(indices))
    thumbnails = [thumbnail for _, thumbnail in made]
    return Sheet(thumbnails, None if settings.only_roto else _cells(work), stops)


def _has_result(work: Work) -> bool:
    return not (work.shot.settings.only_quadmask or work.shot.settings.only_roto)


def _thumbnail(work: Work, index: int, regions: list[dict[str, Any]], stops: int) -> Thumbnail:
    footage, frame = work.footage, work.frames[index]
    height, width = footage.small_size
    # what is squeezed on disk is shown as the audience sees it
    size = round(width * work.source.pixel_aspect), height

    def shown(linear: FloatImage) -> FloatImage:
        return np.clip(footage.curve.to_display(cv2.resize(linear, size, interpolation=cv2.INTER_AREA)), 0, 1)

    def underexposed(linear: FloatImage) -> FloatImage:
        return np.clip(Curve(1.0).to_display(peaks(linear, *size) * np.float32(2.0**-stops)), 0, 1)

    plate, result = _linear(work, work.source.plate.path(frame)), None
    if _has_result(work):
        result = _linear(work, work.results.plate(frame))
    roto = None
    if work.shot.settings.only_roto:
        roto = cv2.resize(footage.read_roto(frame, work.source.canvas), size, interpolation=cv2.INTER_AREA)
    return Thumbnail(
        frame,
        shown(plate),
        None if result is None else shown(result),
        classes.resize(_codes(work, frame), *size),
        labels=tuple(
            (region["name"], *region["frames"][str(frame)]["middle"])
            for region in regions
            if str(frame) in region["frames"]
        ),
        roto=roto,
        underexposed=(underexposed(plate), underexposed(result)) if stops and result is not None else None,
    )


def _linear(work: Work, path: Path) -> FloatImage:
    """A plate or a result, scene-linear; what is not finite becomes 0."""
    return work.footage.colour.to_linear(np.nan_to_num(exr.read_rgb(path, work.source.canvas), posinf=0, neginf=0))


def _cells(work: Work) -> Cells:
    """The grid of corrections, relative to the canvas."""
    canvas, display = work.source.canvas, work.source.display
    grid = Grid(display)
    columns = [*(grid.cell(0, number).x for number in range(grid.columns)), display.right]
    rows = [*(grid.cell(number, 0).y for number in range(grid.rows)), display.bottom]
    return Cells(
        tuple((x - canvas.x) / canvas.width for x in columns), tuple((y - canvas.y) / canvas.height for y in rows)
    )


def _codes(work: Work, frame: int) -> classes.Quadmask:
    """The quadmask of a frame, or, where there is only a roto, what that would remove."""
    if not work.shot.settings.only_roto:
        return classes.read(work.results.quadmask(frame), work.source.canvas)
    roto = work.footage.read_roto(frame, work.source.canvas)
    return classes.assemble(roto, np.zeros(roto.shape, bool))


def _manifest(work: Work, job_id: str, found: list[Overshoot]) -> dict[str, Any]:
    told, history = work.results.told(), work.results.folder / HISTORY
    edits = history.read_text(encoding="utf-8").splitlines() if history.is_file() else []

    def shares(frame: int) -> dict[str, float]:
        return classes.shares(_codes(work, frame))

    return {
        "schema": SCHEMA,
        "id": job_id,
        "shot": work.shot.to_dict(),
        "frames": list(work.frames),
        "software": _software(),
        "device": f"{platform.machine()} CPU",
        "engine": work.engine.provenance(work.clip()) if _has_result(work) else {},
        "sent": told.get("asked", []),
        "scene": told.get("scene", ""),
        "edits": [json.loads(line) for line in edits],
        "colour": {
            "space": work.footage.colour.name,
            "maximum": work.footage.survey.maximum,
            "overshoots": [asdict(one) for one in found],
        },
        "timings": dict(work.course.timings),
        "classes": {str(frame): share for frame, share in in_order(shares, work.frames)},
        "warnings": work.warnings,
    }


def _software() -> dict[str, str]:
    versions = {"void-nuke": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "unknown"
    return versions
