"""The stage that ends a job: the report for people, the manifest for everything else."""

from __future__ import annotations

import json
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import cv2
import numpy as np

from . import __version__
from .api.files import write_atomically
from .api.job import MANIFEST
from .course import REPORTING
from .imaging import exr, sequence
from .imaging.parallel import in_order
from .quadmask import classes
from .report import Thumbnail, write_report
from .work import Work

SCHEMA = 1
_THUMBNAILS = 6
_PACKAGES = ("numpy", "opencv-python-headless", "OpenImageIO")


def conclude(work: Work, job_id: str) -> None:
    """Write report and manifest, the manifest last; what only the job itself needed goes."""
    results = work.results
    with work.course.stage(REPORTING):
        manifest = _manifest(work, job_id)
        regions = results.told().get("regions", [])
        write_report(results.folder, manifest, _thumbnails(work, regions), regions)
    manifest["timings"] = work.course.timings
    write_atomically(results.folder / MANIFEST, json.dumps(manifest, indent=2))
    shutil.rmtree(results.work, ignore_errors=True)


def _thumbnails(work: Work, regions: list[dict[str, Any]]) -> list[Thumbnail]:
    settings, footage, frames = work.shot.settings, work.footage, work.frames
    indices = sequence.spread(len(frames), _THUMBNAILS)
    height, width = footage.small_size
    # what is squeezed on disk is shown as the audience sees it
    shown = round(width * work.source.pixel_aspect), height

    def small(index: int) -> Thumbnail:
        frame = frames[index]
        result = None
        if not (settings.only_quadmask or settings.only_roto):
            linear = footage.colour.to_linear(exr.read_rgb(work.results.plate(frame), work.source.canvas))
            result = cv2.resize(linear, shown, interpolation=cv2.INTER_AREA)
            result = np.clip(footage.curve.to_display(np.nan_to_num(result)), 0, 1)
        codes = classes.resize(_codes(work, frame), *shown)
        plate = np.clip(cv2.resize(footage.small_plate(index), shown, interpolation=cv2.INTER_AREA), 0, 1)
        labels = tuple(
            (region["name"], *region["frames"][str(frame)]["middle"])
            for region in regions
            if str(frame) in region["frames"]
        )
        return Thumbnail(frame, plate, result, codes, labels)

    return [thumbnail for _, thumbnail in in_order(small, indices)]


def _codes(work: Work, frame: int) -> classes.Quadmask:
    """The quadmask of a frame, or, where there is only a roto, what that would remove."""
    if not work.shot.settings.only_roto:
        return classes.read(work.results.quadmask(frame), work.source.canvas)
    roto = work.footage.read_roto(frame, work.source.canvas)
    return classes.assemble(roto, np.zeros(roto.shape, bool))


def _manifest(work: Work, job_id: str) -> dict[str, Any]:
    settings, told = work.shot.settings, work.results.told()

    def shares(frame: int) -> dict[str, float]:
        return classes.shares(_codes(work, frame))

    return {
        "schema": SCHEMA,
        "id": job_id,
        "shot": work.shot.to_dict(),
        "frames": list(work.frames),
        "software": _software(),
        "device": f"{platform.machine()} CPU",
        "engine": {} if settings.only_quadmask or settings.only_roto else work.engine.provenance(work.clip()),
        "sent": told.get("asked", []),
        "scene": told.get("scene", ""),
        "colour": {"space": work.footage.colour.name, "maximum": work.footage.survey.maximum},
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
