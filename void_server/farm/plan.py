"""From a shot to a farm job: its stages and their tasks, and then the version folder in which they work."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from .. import engines, permission
from ..api.errors import JobFailed, SettingError
from ..api.files import new_version_folder
from ..api.shot import PLATE, ROTO, Prompt, Shot
from ..imaging import sequence
from ..imaging.colour import ColourSpace
from ..pipeline import Part
from ..pipeline.inputs import open_source
from ..pipeline.reason import check_request
from ..pipeline.segment import check_prompts
from .fields import Fields
from .job import CPU, EXPORT, GPU, NUKE, SCRIPT, SERVE, Export, FarmJob, Stage, checked


@dataclass(frozen=True)
class Plan:
    """A shot that was found to be in order, its stages and frames; nothing of it is on any disk yet."""

    shot: Shot
    fields: Fields
    stages: tuple[Stage, ...]
    frames: tuple[int, ...]
    server: str = ""
    export: Export | None = None

    def begin(self, out: Path, batch: str = "") -> FarmJob:
        """The job, in a new version folder in ``out``, as one of a ``batch``: the path of its record.

        The script's copy and ``farm.json`` are written into the folder.
        Raises :class:`JobFailed` where they cannot be written; no folder stays then.
        """
        folder = new_version_folder(out)
        job = FarmJob(
            secrets.token_hex(6),
            self.shot,
            self.fields,
            self.stages,
            folder,
            self.server,
            self.frames,
            self.export,
            batch=batch,
        )
        try:
            if self.export:
                shutil.copyfile(self.export.script, folder / SCRIPT)
            job.write()
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise JobFailed(
                f"{folder} cannot be written ({error}); choose another folder, or free the disk."
            ) from error
        return job


def plan(shot: Shot, fields: Fields, server: str = "", export: Export | None = None) -> Plan:
    """The stages and tasks of a shot; nothing is written.

    Raises :class:`~void_server.api.errors.InputError` where the shot is wrong.
    """
    if shot.settings.until == ROTO:
        raise SettingError("A roto alone is no job for a farm; use: void segment")
    permission.check(shot)
    check_request(shot)
    if not server:
        engines.check_settings(shot.settings)
    frames = sequence.parse_frames(shot.frames or "") if export else _looked_at(shot)
    if export and export.written(frames):
        export = None
    if not server:
        shot = _in_pieces(shot, len(frames), fields.frames_per_piece)
    exported = _chunks(frames, fields.frames_per_export)
    stages = [Stage(EXPORT, NUKE, len(exported), (), exported)] if export else []
    after = tuple(stage.name for stage in stages)
    if server:
        stages.append(Stage(SERVE, CPU, 1, after))
    else:
        stages += _own(shot, frames, _chunks(frames, fields.frames_per_task), after)
    return Plan(shot, fields, checked(stages), frames, server, export)


def _looked_at(shot: Shot) -> tuple[int, ...]:
    """The shot's frames, once its files and its prompts are found to be in order."""
    source = open_source(shot)
    ColourSpace(shot.colorspace, shot.ocio)
    check_prompts(shot, source)
    return source.frames


def _chunks(frames: tuple[int, ...], size: int) -> tuple[str, ...]:
    return tuple(sequence.format_frames(frames[start : start + size]) for start in range(0, len(frames), size))


def _in_pieces(shot: Shot, frames: int, most: int) -> Shot:
    """The shot, to be made in pieces where it is long; unless it says itself how."""
    if not most or frames <= most:
        return shot
    return replace(shot, settings=engines.find(shot.settings.engine).in_pieces(shot.settings, most))


def _own(shot: Shot, frames: tuple[int, ...], chunks: tuple[str, ...], after: tuple[str, ...]) -> list[Stage]:
    """The stages that a shot needs, each after the ones whose files it takes."""
    # SAM wants a GPU where there is one; GrabCut and the pixels do not
    named = any(prompt.kind == Prompt.NAMED for prompt in shot.prompts)
    kind = GPU if named or (shot.prompts and shot.settings.segmenter.startswith("sam2")) else CPU
    stages = [Stage(Part.QUADMASK.value, kind, 1, after)]
    if shot.settings.until == PLATE:
        engine = engines.find(shot.settings.engine)
        if pieces := engine.pieces(shot.settings, frames):
            kind = GPU if engine.wants_gpu else CPU
            stages.append(Stage(Part.REMOVE.value, kind, pieces, (stages[-1].name,)))
        stages.append(Stage(Part.FINISH.value, CPU, len(chunks), (stages[-1].name,), chunks))
    stages.append(Stage(Part.REPORT.value, CPU, 1, (stages[-1].name,)))
    return stages
