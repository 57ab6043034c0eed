"""The first tasks: whether the machines have what a job needs, before anything expensive begins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ... import __version__
from ...api.client import Client
from ...api.errors import JobFailed, SettingError
from ...api.files import write_atomically
from ...api.shot import Shot
from ...api.version import VersionFolder
from ...pipeline import Part, check_part
from ..job import CHECK, FarmJob


def look(job: FarmJob, stage: str, here: Callable[[str], str]) -> tuple[str, ...]:
    """Check a machine of the stage's kind; returns what it found, for the log.

    Raises :class:`SettingError` naming what is missing or different here, NotPermitted where the studio's policy does
    not allow the job, JobFailed where the version cannot be written, ServerUnreachable where its server is not there.
    """
    _check_version(job)
    if job.server:
        with Client(job.server, timeout=30) as client:
            client.hello()
    elif job.pairs:
        from ...pairs import renderer

        renderer.command(job.pairs.blender)
    found: tuple[str, ...] = ()
    if job.shot:
        shot = job.shot.with_paths(here)
        if stage == CHECK and not job.export:
            _check_sees(shot)
        for part in [] if job.server else _parts(job, stage):
            weights = check_part(part, shot)
            found += tuple(f"{name}: SHA-256 {digest}" for name, digest in weights.items())
    # last: who finds this file knows that all is well
    _check_writes(job, stage)
    return (*found, f"void-nuke {__version__}, and all else that the job needs, is here")


def _parts(job: FarmJob, stage: str) -> list[Part]:
    """The parts of a job for which the machines of the stage's kind must have something; new pixels last."""
    kinds = {one.name: one.kind for one in job.stages}
    # an engine without pieces works wherever frames are finished
    model = Part.REMOVE if Part.REMOVE.value in kinds else Part.FINISH
    return [part for part in (Part.QUADMASK, model) if kinds.get(part.value) == job.stage(stage).kind]


def _check_version(job: FarmJob) -> None:
    if job.version != __version__:
        raise SettingError(
            f"void-nuke {__version__} is installed here, but the job was submitted with {job.version}; install the "
            "same version on all machines."
        )


def _check_sees(shot: Shot) -> None:
    """Raise :class:`SettingError` naming the first of the shot's files or folders that this machine does not see."""
    for role, name in shot.paths().items():
        path = Path(name)
        is_pattern = any(sign in path.name for sign in "%#@")
        if not (path.exists() or (is_pattern and path.parent.is_dir())):
            raise SettingError(f"The {role} {path} is not there; mount its disk, or map its path in the farm settings.")


def _check_writes(job: FarmJob, stage: str) -> None:
    # the last task finds no warning in it
    file = VersionFolder(job.folder).warnings(f"{stage}_0")
    try:
        write_atomically(file, "[]", parents=True)
    except OSError as error:
        raise JobFailed(
            f"{job.folder} cannot be written here ({error.strerror}); let the farm's user write there."
        ) from error
