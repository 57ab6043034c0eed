"""From what the page asks for to jobs of the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..api.cells import CellEdit
from ..api.client import Client
from ..api.errors import InputError, SettingError
from ..api.files import new_version_folder
from ..api.job import Job
from ..api.shot import PLATE, QUADMASK, ROTO, SCENE_LINEAR_REC709, Prompt, Settings, Shot
from ..api.version import QUADMASK as QUADMASK_FILES
from ..api.version import VersionFolder
from ..imaging.sequence import format_frames, parse_frames
from .asking import Asking
from .corrections import correct, strokes_of
from .darkroom import Darkroom
from .pictures import preview_plate
from .results import Results
from .shots import Brought, Shots

#: How the server names the files of a shot that is sent to it.
_SENT = "plate.%04d.exr"


class Removal:
    """Submits the jobs of the shots that people brought."""

    def __init__(self, asking: Asking, shots: Shots, results: Results, darkroom: Darkroom) -> None:
        self._asking, self._shots, self._results, self._darkroom = asking, shots, results, darkroom

    async def mask(self, shot: Brought, data: Mapping[str, Any]) -> Job:
        """Have the server show what the points of one frame take for the object: a preview, of a small frame."""
        wanted = Shot.from_dict({"plate": _SENT, **_of(data, "prompts", "colorspace"), "settings": {"until": ROTO}})
        frame = wanted.prompts[0].frame if wanted.prompts else shot.frames[0]
        path = self._frame(shot, frame)
        small = VersionFolder(self._shots.folder(shot.id) / "preview").plate(frame)
        scale = await self._darkroom.develop(preview_plate, path, small, wanted.colorspace, None)
        prompts = tuple(_scaled(prompt, scale) for prompt in wanted.prompts if prompt.frame == frame)
        settings = Settings(until=ROTO, reasoner="none", segmenter=str(data.get("segmenter", "auto")))
        preview = replace(wanted, prompts=prompts, frames=str(frame), settings=settings, colorspace=SCENE_LINEAR_REC709)
        return await self._submit(shot, preview, {"plate": [str(small)]})

    async def remove(self, shot: Brought, data: Mapping[str, Any]) -> Job:
        """Have the server find what the removal affects, or remove the object.

        With ``quadmask_of``, the id of a job, its quadmask is taken, corrected by ``cells`` and ``strokes``.
        """
        fields = _of(data, "prompts", "prompt", "colorspace", "frames")
        settings = Settings.from_dict({"until": PLATE, **_of(data, "settings").get("settings", {})})
        if settings.until not in (PLATE, QUADMASK):
            raise SettingError(f"until is {settings.until!r}; give {QUADMASK} or {PLATE}.")
        frames = parse_frames(fields["frames"]) if fields.get("frames") else shot.frames
        files = {"plate": [str(self._frame(shot, frame)) for frame in frames]}
        if data.get("quadmask_of"):
            folder = await self._quadmask(str(data["quadmask_of"]), data, settings.engine)
            fields = {**fields, "prompts": [], "quadmask": "quadmask.%04d.exr"}
            files["quadmask"] = sorted(str(path) for path in folder.iterdir())
        wanted = Shot.from_dict({"plate": _SENT, **fields, "frames": format_frames(frames)})
        return await self._submit(shot, replace(wanted, settings=settings), files)

    async def _quadmask(self, job_id: str, data: Mapping[str, Any], engine: str) -> Path:
        """The folder with a job's quadmask, corrected if it is to be."""
        job = await self._asking.ask(lambda client: client.status(job_id))
        files = await self._results.files(job, f"{QUADMASK_FILES}/")
        if not files:
            raise InputError(f"Job {job_id} has made no quadmask; press See what is affected first.")
        cells, strokes = data.get("cells", []), strokes_of(data.get("strokes", []))
        if not isinstance(cells, list):
            raise SettingError("The cells are no list; load the page again.")
        words = [str(CellEdit.parse(str(cell))) for cell in cells]
        place = files[0].parent
        if not (words or strokes):
            return place
        out = new_version_folder(self._results.folder(job_id).folder / "corrections")
        return await self._darkroom.develop(correct, place, out, words, strokes, engine)

    def _frame(self, shot: Brought, frame: int) -> Path:
        if frame not in shot.frames:
            raise SettingError(f"The shot has no frame {frame}; it has {format_frames(shot.frames)}.")
        return self._shots.plate(shot.id, frame)

    async def _submit(self, shot: Brought, wanted: Shot, files: Mapping[str, Sequence[str]]) -> Job:
        def submit(client: Client) -> Job:
            return client.submit_files(wanted, files)

        job = await self._asking.ask(submit)
        self._shots.add_job(shot, job.id)
        return job


def _of(data: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Of what the page sent, what has these names."""
    return {name: data[name] for name in names if name in data}


def _scaled(prompt: Prompt, scale: float) -> Prompt:
    return replace(prompt, at=tuple(value * scale for value in prompt.at))
