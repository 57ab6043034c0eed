"""A job on a farm, whatever the engine: its stages, their tasks, and the fields that artists and wranglers know.

It lies as ``farm.json`` in the version folder, which is made when the job is submitted. Every task is one command that
finds all else there: ``void farm run --job FOLDER/farm.json --stage STAGE --task N``.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import engines
from ..api.errors import SettingError
from ..api.files import new_version_folder, write_atomically
from ..api.shot import Shot
from ..imaging import sequence
from ..pipeline import Part
from ..reason import check_request
from ..segment import check_prompts
from ..source import open_source

FILE = "farm.json"
#: What a task on a farm-side inference server is called; it does all of the job.
SERVE = "serve"
CPU, GPU = "cpu", "gpu"


@dataclass(frozen=True)
class Fields:
    """What people say of a job on a farm. What an engine cannot express it refuses.

    ``limits`` are licences and other scarce things by name, and how many of them each GPU task takes. With a
    ``machine_limit`` of 0 as many machines work as there are, with ``timeout_minutes`` of 0 a task may take as long as
    it takes. Memory is in gigabytes, for each task.
    """

    name: str = ""
    comment: str = ""
    department: str = ""
    user: str = ""
    show: str = ""
    shot: str = ""
    priority: int = 50
    pool: str = ""
    secondary_pool: str = ""
    group: str = ""
    limits: dict[str, int] = field(default_factory=dict)
    frames_per_task: int = 40
    machine_limit: int = 0
    suspended: bool = False
    timeout_minutes: int = 0
    retries: int = 2
    cores: int = 2
    memory_gb: int = 8
    gpus: int = 1
    gpu_memory_gb: int = 24

    def __post_init__(self) -> None:
        ranges = {
            "priority": (0, 100),
            "frames_per_task": (1, 10_000),
            "machine_limit": (0, 100_000),
            "timeout_minutes": (0, 60 * 24 * 30),
            "retries": (0, 100),
            "cores": (1, 1024),
            "memory_gb": (1, 10_000),
            "gpus": (1, 64),
            "gpu_memory_gb": (1, 10_000),
        }
        for name, (least, most) in ranges.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise SettingError(
                    f"{name.replace('_', ' ')} is {value!r}; give a whole number from {least} to {most}."
                )
        for limit, count in self.limits.items():
            if not limit or not isinstance(count, int) or count < 1:
                raise SettingError(f"The limit {limit!r} is {count!r}; write it like nuke_r=1.")

    @classmethod
    def from_dict(cls, data: Any) -> Fields:
        """Fields from plain data. Raises :class:`SettingError` for what is unknown or wrong."""
        known = {f.name: f for f in dataclasses.fields(cls)}
        if not isinstance(data, dict):
            raise SettingError("The fields of a farm job must be names and values.")
        for name, value in data.items():
            if name not in known:
                raise SettingError(f"There is no farm field {name!r}; known are {', '.join(known)}.")
            if str(known[name].type) == "str" and not isinstance(value, str):
                raise SettingError(f"The farm field {name} is {value!r}; it must be text.")
        return cls(**data)


@dataclass(frozen=True)
class Stage:
    """Tasks of one kind, numbered from 0, that may run at the same time, once the stages ``after`` are done.

    ``frames`` are those of each task, where the stage shares them out.
    """

    name: str
    kind: str
    tasks: int
    after: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()


@dataclass(frozen=True)
class FarmJob:
    """All of it. ``server`` is the address of an inference server that does the work, empty for tasks that do it."""

    id: str
    shot: Shot
    fields: Fields
    stages: tuple[Stage, ...]
    folder: Path
    server: str = ""
    frames: tuple[int, ...] = ()

    @property
    def file(self) -> Path:
        """Where the job lies."""
        return self.folder / FILE

    @property
    def title(self) -> str:
        """Its name, or one made of the plate's."""
        return self.fields.name or f"VOID {Path(self.shot.plate).stem.partition('.')[0]} {self.folder.name}"

    def stage(self, name: str) -> Stage:
        """A stage by its name. Raises :class:`SettingError`."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise SettingError(f"{self.file} has no stage {name!r}, only {', '.join(stage.name for stage in self.stages)}.")

    def write(self) -> None:
        """Write ``farm.json``."""
        data = {
            "id": self.id,
            "shot": self.shot.to_dict(),
            "fields": dataclasses.asdict(self.fields),
            "stages": [dataclasses.asdict(stage) for stage in self.stages],
            "server": self.server,
            # with these, Nuke can show the version while it is on its way
            "frames": list(self.frames),
        }
        write_atomically(self.file, json.dumps(data, indent=2))

    @classmethod
    def read(cls, file: Path) -> FarmJob:
        """Read what :meth:`write` wrote; the folder is where the file lies now, whatever it was called elsewhere.

        Raises :class:`SettingError` naming the file.
        """
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
            stages = tuple(
                Stage(s["name"], s["kind"], s["tasks"], tuple(s["after"]), tuple(s["frames"])) for s in data["stages"]
            )
            shot, fields = Shot.from_dict(data["shot"]), Fields.from_dict(data["fields"])
            frames = tuple(data["frames"])
            return cls(data["id"], shot, fields, stages, file.absolute().parent, data["server"], frames)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SettingError(f"{file} is no farm job that can be read: {error}") from error


def plan(shot: Shot, fields: Fields, out: Path, server: str = "") -> FarmJob:
    """The job of a shot, in a new version folder in ``out``; nothing is submitted yet, but ``farm.json`` is written.

    Raises :class:`~void_server.api.errors.InputError` where the shot is wrong, before any folder is made.
    """
    source = open_source(shot)
    check_prompts(shot, source)
    check_request(shot)
    frames = source.frames
    wants_gpu = engines.find(shot.settings.engine).wants_gpu
    if shot.settings.only_roto:
        raise SettingError("A roto alone is no job for a farm; use: void segment")
    stages = _served() if server else _own(shot, frames, fields.frames_per_task, wants_gpu)
    folder = new_version_folder(out)
    job = FarmJob(secrets.token_hex(6), shot, fields, stages, folder, server, frames)
    job.write()
    return job


def _served() -> tuple[Stage, ...]:
    return (Stage(SERVE, CPU, 1),)


def _own(shot: Shot, frames: tuple[int, ...], per_task: int, wants_gpu: bool) -> tuple[Stage, ...]:
    """The stages that a shot needs, each after the ones whose files it takes."""
    # SAM 2 wants a GPU where there is one; GrabCut and the pixels do not
    first = Stage(Part.QUADMASK.value, GPU if shot.prompts and shot.settings.segmenter.startswith("sam2") else CPU, 1)
    stages = [first]
    if not shot.settings.only_quadmask:
        if wants_gpu:
            stages.append(Stage(Part.REMOVE.value, GPU, 1, (stages[-1].name,)))
        chunks = tuple(
            sequence.format_frames(frames[start : start + per_task]) for start in range(0, len(frames), per_task)
        )
        stages.append(Stage(Part.FINISH.value, CPU, len(chunks), (stages[-1].name,), chunks))
    stages.append(Stage(Part.REPORT.value, CPU, 1, (stages[-1].name,)))
    return tuple(stages)
