"""What artists and wranglers say of a job on a farm, whatever the scheduler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..api.errors import SettingError
from ..api.settings import Declared, check, setting


@dataclass(frozen=True)
class Fields(Declared):
    """What people say of a job on a farm. What a scheduler cannot express it refuses.

    ``limits`` are licences and other scarce things by name, and how many of them each GPU task takes. Raises
    :class:`SettingError` naming a field whose value has the wrong type or range.
    """

    name: str = setting("", "Job name; empty: script and node.", label="job name", sticky=False)
    comment: str = setting("", "A note to the wranglers.", sticky=False)
    department: str = setting("", "The department that pays.")
    user: str = setting("", "Who submits it; empty: whoever is logged in.", sticky=False)
    show: str = setting("", "The show.")
    shot: str = setting("", "The shot.")
    priority: int = setting(50, "Higher goes first.", low=0, high=100)
    pool: str = setting("", "Slurm: partition; OpenCue: facility.")
    secondary_pool: str = setting("", "Where tasks may go if the pool is full.")
    group: str = setting("", "Slurm: constraint; OpenCue: tag.")
    limits: dict[str, int] = setting(
        {},
        "Licences and the like, such as void=1,other=2; for each GPU task.",
        give='names with numbers, such as {"nuke_r": 1}',
    )
    frames_per_task: int = setting(10, "Frames per CPU task.", low=1, high=10_000)
    frames_per_piece: int = setting(
        405,
        "Frames per GPU task, where the engine can work in pieces; 0: the whole shot.",
        label="frames per GPU task",
        low=85,
        high=100_000,
        or_zero=True,
        give="0 for the whole shot, or 85 to 100000, as the model takes no fewer",
    )
    frames_per_export: int = setting(
        100,
        "Frames per task that exports plate and roto; each starts Nuke.",
        label="frames per export task",
        low=1,
        high=10_000,
    )
    machine_limit: int = setting(0, "Machines to use at once; 0: all.", low=0, high=100_000)
    suspended: bool = setting(False, "Begin suspended.")
    timeout_minutes: int = setting(
        0, "Longest time for a task; 0: any.", label="task time-out", unit="minutes", low=0, high=60 * 24 * 30
    )
    retries: int = setting(2, "Attempts after the first.", label="retries per task", low=0, high=100)
    cores: int = setting(2, "CPU cores for each task.", label="cores per task", low=1, high=1024)
    memory_gb: int = setting(8, "Memory for each task.", label="memory per task", unit="GB", low=1, high=10_000)
    gpus: int = setting(1, "GPUs for each GPU task.", label="GPUs per GPU task", low=1, high=64)
    gpu_memory_gb: int = setting(
        24, "Memory that each GPU must have.", label="memory of each GPU", unit="GB", low=1, high=10_000
    )
    gpu_pool: str = setting("", "The pool for GPU tasks; empty: the same.", label="pool of GPU tasks")
    gpu_group: str = setting("", "The group for GPU tasks; empty: the same.", label="group of GPU tasks")
    gpu_task_memory_gb: int = setting(
        48, "Memory for each GPU task.", label="memory per GPU task", unit="GB", low=1, high=10_000
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_limits("limits", self.limits)

    @classmethod
    def from_dict(cls, data: Any) -> Fields:
        """Fields from plain data. Raises :class:`SettingError` for what is unknown or wrong."""
        return cls(**check(cls, data, "farm"))


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
