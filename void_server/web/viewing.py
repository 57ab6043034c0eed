"""What there is to see of a job: its frames, its layers, and where the files of each are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..api.errors import InputError, VoidError
from ..api.files import read_json
from ..api.job import Job
from ..api.shot import SCENE_LINEAR_REC709, Shot
from ..api.version import MATTES, PATCH, PLATE, QUADMASK, ROTO
from ..imaging.sequence import MOVIE_SUFFIXES, find
from ..publishing.approval import approvals
from .darkroom import Darkroom
from .pictures import frame_picture, overlay_picture
from .results import Results
from .shots import Shots

#: The plate as it was, and the result: what the overlays lie over.
BEFORE, AFTER = "before", "after"
#: Which sequence of a version folder an overlay is read from.
_SEQUENCES = {"quadmask": QUADMASK, "roto": ROTO, "blend": MATTES, "origin": MATTES}
_FRAME = re.compile(r"(\w+)/void_\1\.(-?\d+)\.exr")


class Viewing:
    """Shows jobs. ``local`` says that the server is on this machine: its plates are read where they lie."""

    def __init__(self, shots: Shots, results: Results, darkroom: Darkroom, *, local: bool) -> None:
        self._shots, self._results, self._darkroom, self._local = shots, results, darkroom, local

    async def of(self, job: Job) -> dict[str, Any]:
        """What there is to see of a finished job: frames, layers, downloads, the manifest."""
        listed = [file.path for file in await self._results.listed(job)]
        frames: dict[str, list[int]] = {}
        for path in listed:
            if match := _FRAME.fullmatch(path):
                frames.setdefault(match[1], []).append(int(match[2]))
        layers = [name for name, of in _SEQUENCES.items() if of in frames]
        if PLATE not in frames:
            # nothing is blended yet
            layers = [name for name in layers if name in (QUADMASK, ROTO)]
        version = self._results.folder(job.id)
        manifest = read_json(await self._results.file(job, version.manifest))
        disclosed = version.disclosure.name in listed
        disclosure = read_json(await self._results.file(job, version.disclosure)) if disclosed else {}
        approved = await self._results.approved(job)
        return {
            "frames": sorted({number for numbers in frames.values() for number in numbers}),
            "before": bool(await self._plate(job)),
            "after": PLATE in frames,
            "layers": layers,
            "downloads": [name for name in (PLATE, PATCH, MATTES, QUADMASK, ROTO) if name in frames],
            "disclosure": {name: disclosure.get(name) for name in ("generative", "source_type", "who", "machine")},
            "tools": [f"{one['part']}: {one['title']} {one['model']}".strip() for one in disclosure.get("tools", ())],
            "approvals": [{"by": one.by, "note": one.note} for one in approvals(approved)],
            "manifest": {
                name: manifest.get(name)
                for name in ("scene", "settings", "warnings", "timings", "origin", "device", "software", "classes")
            },
        }

    async def picture(self, job: Job, layer: str, frame: int, stops: float) -> tuple[bytes, str]:
        """A layer of a frame, and the kind of picture it is. Raises :class:`InputError` where there is none."""
        version = self._results.folder(job.id)
        if layer in _SEQUENCES:
            path = await self._results.file(job, version.frame(_SEQUENCES[layer], frame))
            return await self._darkroom.develop(overlay_picture, path, layer), "image/png"
        if layer == BEFORE:
            path = await self._before(job, frame)
        elif layer == AFTER:
            path = await self._results.file(job, version.plate(frame))
        else:
            raise InputError(f"There is no layer {layer!r:.40}; there are before, after, {', '.join(_SEQUENCES)}.")
        picture = await self._darkroom.develop(frame_picture, path, *colour_of(job.shot), stops)
        return picture, "image/jpeg"

    async def _before(self, job: Job, frame: int) -> Path:
        found = await self._plate(job)
        if frame not in found:
            raise InputError(f"Frame {frame} of the plate of job {job.id} is not on the page's machine.")
        return found[frame]

    async def _plate(self, job: Job) -> dict[int, Path]:
        """The plate's files, as far as this machine has them: of a shot that was brought, or of a server beside us."""
        if shot := self._shots.by_job().get(job.id):
            return {frame: self._shots.plate(shot.id, frame) for frame in shot.frames}
        if not self._local or job.shot.plate.lower().endswith(MOVIE_SUFFIXES):
            return {}
        try:
            found = await self._darkroom.develop(_files, job.shot.plate)
        except VoidError:
            # moved, removed, or uploaded by another client and gone since
            return {}
        return found

    async def result_plates(self, job: Job) -> Sequence[Path]:
        """The files of the counterfactual plate. Raises :class:`InputError` where the job made none."""
        files = await self._results.files(job, f"{PLATE}/")
        if not files:
            raise InputError(f"Job {job.id} has made no plate.")
        return files


def colour_of(shot: Shot) -> tuple[str, str | None]:
    """The colour space of a job's plates, and its configuration."""
    if shot.plate.lower().endswith(MOVIE_SUFFIXES):
        return SCENE_LINEAR_REC709, None
    return shot.colorspace, shot.ocio


def _files(plate: str) -> dict[int, Path]:
    found = find(plate, "plate")
    return {} if found.movie else dict(found.files)
