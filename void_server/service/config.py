"""What a server is started with."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from ..api.client import DEFAULT_ADDRESS
from ..api.errors import ServerRefused, SettingError
from ..api.home import home
from ..api.job import Job
from ..api.loopback import LOOPBACK
from .sandbox import Sandbox

_ADDRESS = re.compile(r"tcp://(?P<host>\*|[\w.-]+|\[[\w:.%]+\]):(?P<port>\*|\d+)")
#: The bytes of memory without which no worker does a job.
_LEAST_MEMORY = 4 << 30
#: The variable that says which GPU a worker sees.
GPUS = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class ServerConfig:
    """The configuration of a server.

    ``roots`` are the folders below which it may read and write; without any it takes uploads only. It has ``workers``
    workers or, where ``gpus`` are given, one for each of these, which sees no other: each names one GPU, or several for
    the same job, as ``CUDA_VISIBLE_DEVICES`` does. ``state`` keeps
    jobs, keys and uploads. An ``embedded`` server works for the one client that started it, and never takes over
    others' jobs. ``require_keys`` requires keys on this machine too. With ``idle_minutes`` it ends after that long
    without a job or a request. No user may have more than ``queue_limit`` jobs waiting, with ``frame_limit`` frames in
    all, or ``upload_limit`` bytes of uploads, or submits any more from ``result_limit`` bytes of results on; nobody
    does from ``disk_limit`` bytes of all users' uploads and results on, where that is given.

    A worker that uses more than ``worker_memory`` bytes, or says nothing of its job for ``worker_patience`` minutes, is
    ended. Workers run as the system's user ``worker_user``. They have of the server's environment what they need, and
    ``worker_environment``; they read the roots, what they need to run, and the folders ``worker_read``. Those of an
    embedded server are the user's own, and have all of it.

    ``pipeline`` names the module that does the work. What happens is logged to the file ``log``, or to standard error,
    from ``log_level`` on: debug, info, warning, error.
    """

    address: str = DEFAULT_ADDRESS
    roots: tuple[Path, ...] = ()
    state: Path = field(default_factory=home)
    workers: int = 1
    gpus: tuple[str, ...] = ()
    embedded: bool = False
    require_keys: bool = False
    idle_minutes: float | None = None
    queue_limit: int = 1000
    frame_limit: int = 100_000
    upload_limit: int = 500 * 10**9
    result_limit: int = 2000 * 10**9
    disk_limit: int | None = None
    keep_uploads_days: float = 7.0
    worker_memory: int | None = None
    worker_patience: float = 30.0
    worker_user: str | None = None
    worker_environment: tuple[str, ...] = ()
    worker_read: tuple[Path, ...] = ()
    pipeline: str = "void_server.pipeline"
    log: Path | None = None
    log_level: str = "info"

    @property
    def places(self) -> list[dict[str, str]]:
        """What the environment of each worker says beyond the server's own."""
        if not self.gpus:
            return [{} for _ in range(self.workers)]
        # numbered as nvidia-smi numbers them
        return [{"CUDA_DEVICE_ORDER": "PCI_BUS_ID", GPUS: gpu} for gpu in self.gpus]

    @property
    def memory_of_worker(self) -> int:
        """The bytes of memory that a worker may use: by default its share of nine tenths of the machine's."""
        share = psutil.virtual_memory().total * 9 // 10 // len(self.places)
        return max(share, _LEAST_MEMORY) if self.worker_memory is None else self.worker_memory

    @property
    def sandbox(self) -> Sandbox:
        """What a worker may read and write: whatever the jobs of this server may."""
        folders = tuple(str(folder) for folder in (*self.roots, self.state / "jobs"))
        return Sandbox(tuple(map(str, self.worker_read)), folders, self.memory_of_worker, maps_weights=True)

    @property
    def owner_of_work(self) -> tuple[int, int] | None:
        """The numbers of ``worker_user`` and its group, None where workers run as the server's own user.

        Raises :class:`ServerRefused` where the server may not do that, and SettingError for a user that is not there.
        """
        if self.worker_user is None:
            return None
        if not hasattr(os, "geteuid") or os.geteuid() != 0:
            raise ServerRefused(
                "Only a server that runs as root can have its workers run as another user; start it as root, or as "
                "that user without --worker-user."
            )
        import pwd

        try:
            found = pwd.getpwnam(self.worker_user)
        except KeyError:
            raise SettingError(f"There is no user {self.worker_user!r} on this machine; create it first.") from None
        return found.pw_uid, found.pw_gid

    def uploaded(self, job_id: str) -> Path:
        """The folder of a job whose files are uploaded."""
        return self.state / "jobs" / job_id

    def roots_of(self, job: Job) -> list[Path]:
        """The folders that a job may use: its own if its files were uploaded, else the server's roots."""
        own = self.uploaded(job.id)
        return [own] if own in Path(job.folder).parents else list(self.roots)

    @property
    def needs_keys(self) -> bool:
        """Whether clients must have a key. Raises :class:`SettingError` if the address is invalid."""
        match = _ADDRESS.fullmatch(self.address)
        if not match or (match["port"] != "*" and not 0 < int(match["port"]) < 2**16):
            raise SettingError(
                f"{self.address!r} is not an address to listen at; write it like {DEFAULT_ADDRESS}, with a port from "
                "1 to 65535, or tcp://*:5690 for all of this machine's networks."
            )
        return self.require_keys or match["host"] not in LOOPBACK
