"""What artists and wranglers say of a job on a farm, whatever the engine."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from ..api.errors import SettingError


@dataclass(frozen=True)
class Fields:
    """What people say of a job on a farm. What an engine cannot express it refuses.

    ``limits`` are licences and other scarce things by name, and how many of them each GPU task takes. Shots of more
    than ``frames_per_piece`` frames are shared among several GPU tasks, where the engine can do that; 0: never. With a
    ``machine_limit`` of 0 as many machines work as there are, with ``timeout_minutes`` of 0 a task may take as long as
    it takes. Memory is in gigabytes, for each task; GPU tasks ask for ``gpu_task_memory_gb``,
    and go to ``gpu_pool`` and ``gpu_group`` where these are set.
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
    frames_per_task: int = 10
    frames_per_piece: int = 405
    machine_limit: int = 0
    suspended: bool = False
    timeout_minutes: int = 0
    retries: int = 2
    cores: int = 2
    memory_gb: int = 8
    gpus: int = 1
    gpu_memory_gb: int = 24
    gpu_pool: str = ""
    gpu_group: str = ""
    gpu_task_memory_gb: int = 48

    def __post_init__(self) -> None:
        ranges = {
            "priority": (0, 100),
            "frames_per_task": (1, 10_000),
            "frames_per_piece": (0, 100_000),
            "machine_limit": (0, 100_000),
            "timeout_minutes": (0, 60 * 24 * 30),
            "retries": (0, 100),
            "cores": (1, 1024),
            "memory_gb": (1, 10_000),
            "gpus": (1, 64),
            "gpu_memory_gb": (1, 10_000),
            "gpu_task_memory_gb": (1, 10_000),
        }
        for name, (least, most) in ranges.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise SettingError(
                    f"{name.replace('_', ' ')} is {value!r}; give a whole number from {least} to {most}."
                )
        if 0 < self.frames_per_piece < 85:
            raise SettingError(
                f"frames per piece is {self.frames_per_piece}; give 0 for the whole shot, or 85 and more, which is the "
                "least that the model takes."
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
