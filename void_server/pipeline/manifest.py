"""The stage that ends a job: the report for people, the manifest for everything else."""

from __future__ import annotations

import json
import math
import platform
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import cv2
import numpy as np

from .. import __version__
from ..api.files import remove_leftovers, write_atomically
from ..api.settings import declarations
from ..api.shot import Settings, Shot
from ..api.version import PLATE, QUADMASK, ROTO
from ..engines import Engine
from ..imaging import exr, sequence
from ..imaging.channels import largest
from ..imaging.colour import Curve, opencolorio
from ..imaging.exr import FloatImage
from ..imaging.footage import Footage
from ..imaging.parallel import in_order
from ..imaging.window import Window
from ..quadmask import classes, reasoners
from ..quadmask.edits import HISTORY
from ..quadmask.grid import Grid
from . import disclosure, origins, overshoot, previews, provenance
from .context import JobContext
from .inputs import to_be_segmented
from .overshoot import Overshoot
from .progress import REPORTING
from .report import Cells, Sheet, Thumbnail, peaks, write_report

SCHEMA = 1
_THUMBNAILS = 6
_PACKAGES = ("numpy", "opencv-python-headless", "OpenImageIO")


def conclude(context: JobContext, job_id: str) -> None:
    """Write report and manifest, the manifest last, and remove the job's working files."""
    version, maximum = context.version, context.footage.survey.maximum
    overshoots = overshoot.noted(version.intermediate)
    context.warnings += overshoot.warnings(overshoots, maximum, context.source.display)
    made_of = origins.noted(version.intermediate)
    context.warnings += origins.warnings(made_of)
    with context.tracker.stage(REPORTING):
        manifest = _manifest(context, job_id, overshoots, made_of)
        regions = version.reasoning().get("regions", [])
        disclosed = disclosure.describe(context, manifest, made_of)
        disclosure.write(version, disclosed)
        write_report(version, manifest, _sheet(context, regions, overshoots), regions, disclosed)
        if _has_result(context) and (movie := previews.wanted()):
            file = version.preview(movie[0].suffix)
            previews.write_movie_of(version, file, context.shot, manifest, disclosed, *movie)
    # only now, when all that the shot needs is there, does no task of a farm write in the folder any more
    remove_leftovers(version.folder)
    manifest["provenance"] = provenance.write(version, job_id, context.shot)
    manifest["timings"] = context.tracker.timings
    write_atomically(version.manifest, json.dumps(manifest, indent=2))
    shutil.rmtree(version.intermediate, ignore_errors=True)


def relevant(shot: Shot, engine: Engine) -> dict[str, Any]:
    """The settings that affect the result, with their values: those of its stages, its reasoner and its engine."""
    settings, stages = shot.settings, set()
    own: dict[str, Any] = {}
    if to_be_segmented(shot):
        stages.add("roto")
    if settings.until != ROTO:
        stages.add("quadmask")
        if not shot.quadmask:
            reasoner = reasoners.find(settings.reasoner)
            stages |= {"reasoning", "roto"} if reasoner.segments else {"reasoning"}
            own |= asdict(settings.of_reasoner(reasoner.settings))
    if settings.until == PLATE:
        stages |= {"plate", "model"} if engine.wants_gpu else {"plate"}
        own |= asdict(settings.of_engine(engine.settings))
    common = [one for one in declarations(Settings) if not one.stages or stages & {*one.stages}]
    return {**{one.name: getattr(settings, one.name) for one in common}, **own}


def _sheet(context: JobContext, regions: list[dict[str, Any]], overshoots: list[Overshoot]) -> Sheet:
    """A few frames, also that with the brightest of the overshoots ``found``."""
    footage, frames = context.footage, context.frames
    indices = set(sequence.spread(len(frames), _THUMBNAILS))
    if overshoots:
        indices.add(frames.index(max(overshoots, key=lambda one: one.value).frame))
    stops = 0
    if _has_result(context) and max([footage.survey.maximum, *(one.value for one in overshoots)]) > 1:
        # so that the plate's highlights come below 1
        stops = math.ceil(math.log2(max(footage.curve.maximum, 2)))
    made = in_order(lambda index: _thumbnail(context, index, regions, stops), sorted(indices))
    thumbnails = [thumbnail for _, thumbnail in made]
    return Sheet(thumbnails, None if context.shot.settings.until == ROTO else _cells(context), stops)


def _has_result(context: JobContext) -> bool:
    return context.shot.settings.until == PLATE


def _thumbnail(context: JobContext, index: int, regions: list[dict[str, Any]], stops: int) -> Thumbnail:
    footage, frame = context.footage, context.frames[index]
    height, width = footage.small_size
    # show anamorphic frames unsqueezed
    size = round(width * context.source.pixel_aspect), height

    def shown(display: FloatImage) -> FloatImage:
        return np.clip(cv2.resize(display, size, interpolation=cv2.INTER_AREA), 0, 1)

    def underexposed(linear: FloatImage) -> FloatImage:
        return np.clip(Curve(1.0).to_display(peaks(linear, *size) * np.float32(2.0**-stops)), 0, 1)

    plate, result, dark = footage.small_plate(index), None, None
    if _has_result(context):
        # only there it is not the plate, and read
        changed = footage.analysed(exr.windows(context.version.patch(frame))[0])
        window = footage.at_full_size(changed).intersection(context.source.canvas)
        whole = footage.read_linear(frame, context.source.canvas if stops else window)
        before = whole[context.source.canvas.slices(window)] if stops else whole
        after = footage.linear(exr.read_stored_rgb(context.version.plate(frame), window))
        result = _changed(footage, plate, changed, before, after)
        if stops:
            old = underexposed(whole)
            before[:] = after
            dark = old, underexposed(whole)
    roto = None
    if context.shot.settings.until == ROTO:
        roto = cv2.resize(footage.read_roto(frame, context.source.canvas), size, interpolation=cv2.INTER_AREA)
    return Thumbnail(
        frame,
        shown(plate),
        None if result is None else shown(result),
        classes.resize(_codes(context, frame), *size),
        labels=tuple(
            (region["name"], *region["frames"][str(frame)]["middle"])
            for region in regions
            if str(frame) in region["frames"]
        ),
        roto=roto,
        underexposed=dark,
    )


def _changed(footage: Footage, small: FloatImage, part: Window, before: FloatImage, after: FloatImage) -> FloatImage:
    """The analysed frame ``small``, display-referred, with what has changed in a ``part`` of it, scene-linear and at
    full size.
    """
    touched = largest(before != after).astype(np.float32)
    shrunk, share = (
        cv2.resize(image, (part.width, part.height), interpolation=cv2.INTER_AREA) for image in (after, touched)
    )
    result, where = small.copy(), Window(0, 0, small.shape[1], small.shape[0]).slices(part)
    result[where] = np.where(share[..., None] > 0, footage.curve.to_display(shrunk), small[where])
    return result


def _cells(context: JobContext) -> Cells:
    """The grid of corrections, relative to the canvas."""
    canvas, display = context.source.canvas, context.source.display
    grid = Grid(display)
    columns = [*(grid.cell(0, number).x for number in range(grid.columns)), display.right]
    rows = [*(grid.cell(number, 0).y for number in range(grid.rows)), display.bottom]
    return Cells(
        tuple((x - canvas.x) / canvas.width for x in columns), tuple((y - canvas.y) / canvas.height for y in rows)
    )


def _codes(context: JobContext, frame: int) -> classes.Quadmask:
    """The quadmask of a frame, or, where there is only a roto, what that would remove."""
    if context.shot.settings.until != ROTO:
        return classes.read(context.version.quadmask(frame), context.source.canvas)
    roto = context.footage.read_roto(frame, context.source.canvas)
    return classes.assemble(roto, np.zeros(roto.shape, bool))


def _manifest(context: JobContext, job_id: str, overshoots: list[Overshoot], made_of: origins.Counts) -> dict[str, Any]:
    engine = context.engine.provenance(context.clip()) if _has_result(context) else {}
    reasoning, history = context.version.reasoning(), context.version.folder / HISTORY
    edits = history.read_text(encoding="utf-8").splitlines() if history.is_file() else []

    def shares(frame: int) -> dict[str, float]:
        noted, canvas = context.version.class_shares(frame), context.source.canvas
        if noted.is_file():
            return dict(json.loads(noted.read_text(encoding="utf-8")))
        return classes.shares(_codes(context, frame), canvas.width * canvas.height)

    return {
        "schema": SCHEMA,
        "id": job_id,
        "request": provenance.request_of(context.shot),
        "shot": context.shot.to_dict(),
        "settings": relevant(context.shot, context.engine),
        "frames": list(context.frames),
        "software": _software(),
        "device": _devices(context, engine),
        "engine": engine,
        "sent": reasoning.get("asked", []),
        "scene": reasoning.get("scene", ""),
        "edits": [json.loads(line) for line in edits],
        "colour": {
            "space": context.footage.colour.name,
            "config": context.footage.colour.config,
            "maximum": context.footage.survey.maximum,
            "overshoots": [asdict(one) for one in overshoots],
        },
        "timings": dict(context.tracker.timings),
        "origin": origins.shares(made_of),
        "classes": {str(frame): share for frame, share in in_order(shares, context.frames)},
        "warnings": context.warnings,
    }


def _devices(context: JobContext, engine: Mapping[str, str]) -> dict[str, str]:
    """What roto, quadmask and plate were made on: those that the job made. ``engine`` is the engine's provenance."""
    version, cpu = context.version, f"{platform.machine()} CPU"
    devices = {}
    if to_be_segmented(context.shot):
        noted = version.segmenter_device
        devices[ROTO] = (noted.read_text(encoding="utf-8") if noted.is_file() else "") or cpu
    if context.shot.settings.until != ROTO:
        devices[QUADMASK] = version.reasoning().get("device") or cpu
    if _has_result(context):
        devices[PLATE] = engine.get("device") or cpu
    return devices


def _software() -> dict[str, str]:
    versions = {"void-nuke": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "unknown"
    versions["OpenColorIO"] = opencolorio()
    return versions
