"""Write the mattes, contact sheet and report of a corrected quadmask, as a job does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..api.errors import SettingError
from ..api.files import read_json
from ..api.job import MANIFEST, Progress, new_id
from ..api.shot import QUADMASK, Shot
from ..api.version import VersionFolder
from ..imaging.sequence import find, format_frames
from .inputs import open_source
from .run import Part, run_part


def shot_of(quadmask: str, plate: str = "", roto: str = "") -> Shot:
    """The shot that a quadmask belongs to: of ``plate`` and ``roto``, or that of the job that lies beside it.

    Raises :class:`~void_server.api.errors.InputError` if its files are missing or do not belong together.
    """
    original = find(quadmask, "quadmask")
    if bool(plate) != bool(roto):
        raise SettingError(f"The {'roto' if plate else 'plate'} is missing; give both --plate and --roto, or neither.")
    shot = Shot(plate, roto) if plate else _of_job(next(iter(original.files.values())).parents[1])
    settings = replace(shot.settings, until=QUADMASK)
    shot = replace(shot, quadmask=quadmask, frames=format_frames(original.frames), settings=settings)
    open_source(shot)
    return shot


def _of_job(folder: Path) -> Shot:
    """The shot of the finished job in a version folder, with the roto that it made, if it did."""
    manifest = VersionFolder(folder).manifest
    if not manifest.is_file():
        raise SettingError(f"there is no {MANIFEST} in {folder} that names plate and roto")
    try:
        shot = Shot.from_dict(read_json(manifest)["shot"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingError(f"{manifest} does not describe a job ({error})") from error
    roto_folder = VersionFolder(folder).roto(0).parent
    return replace(shot, roto=str(roto_folder), prompts=()) if roto_folder.is_dir() else shot


def show(shot: Shot, folder: Path) -> tuple[str, ...]:
    """Write mattes, report and manifest for the quadmask in the version ``folder``; returns warnings."""

    def ignore(progress: Progress) -> None:
        del progress

    job_id = new_id()
    run_part(Part.QUADMASK, job_id, shot, folder, ignore)
    return run_part(Part.REPORT, job_id, shot, folder, ignore)
