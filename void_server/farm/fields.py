"""What artists and wranglers say of a job on a farm, whatever the scheduler."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from ..api.errors import SettingError


@dataclass(frozen=True)
class Fields:
    """What people say of a job on a farm. What a scheduler cannot express it refuses.

    ``limits`` are licences and other scarce things by name, and how many of them each GPU task takes. Shots of more
    than ``frames_per_piece`` frames are shared among several GPU tasks, where the engine can do that; 0: never. A task
    that exports plate and roto starts Nuke, and so gets more frames, ``frames_per_export``. With a ``machine_limit`` of
    0 as many machines work as there are, with ``timeout_minutes`` of 0 a task may take as long as it takes. Memory is
    in gigabytes, for each task; GPU tasks ask for ``gpu_task_memory_gb``, and go to ``gpu_pool`` and ``gpu_group``
    where these are set. Raises :class:`SettingError` naming a field whose value has the wrong type or range.
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
    frames_per_export: int = 100
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
        for one in dataclasses.fields(self):
            value = getattr(self, one.name)
            if one.type == "str" and not isinstance(value, str):
                raise SettingError(f"The farm field {one.name} is {value!r}; it must be text.")
            if one.type == "bool" and not isinstance(value, bool):
                raise SettingError(f"The farm field {one.name} is {value!r}; give true or false.")
        check_limits("limits", self.limits)
        ranges = {
            "priority": (0, 100),
            "frames_per_task": (1, 10_000),
            "frames_per_piece": (0, 100_000),
            "frames_per_export": (1, 10_000),
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

    @classmethod
    def from_dict(cls, data: Any) -> Fields:
        """Fields from plain data. Raises :class:`SettingError` for what is unknown or wrong."""
        known = [one.name for one in dataclasses.fields(cls)]
        if not isinstance(data, dict):
            raise SettingError("The fields of a farm job must be names and values.")
        for name in data:
            if name not in known:
                raise SettingError(f"There is no farm field {name!r}; known are {', '.join(known)}.")
        return cls(**data)


def check_limits(what: str, limits: object) -> None:
    """Raise :class:`SettingError` unless these are limits by name and number; ``what`` is where they were said."""
    if not isinstance(limits, dict):
        raise SettingError(f'{what} is {limits!r}; give names with numbers, such as {{"nuke_r": 1}}.')
    for limit, count in limits.items():
        named = isinstance(limit, str) and limit.strip()
        if not named or isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise SettingError(
                f"In {what}, the limit {limit!r} is {count!r}; give a name and a number from 1, as in nuke_r=1."
            )
