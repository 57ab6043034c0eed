"""The results of jobs, fetched from the server file by file as somebody looks at them."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

from ..api.client import Client, ResultFile
from ..api.errors import InputError
from ..api.job import Job
from ..api.version import VersionFolder
from .asking import Asking

_KEPT_DAYS = 7


class Results:
    """Copies of jobs' results below ``folder``; they go when nobody has looked at them for a week."""

    def __init__(self, asking: Asking, folder: Path) -> None:
        self._asking, self._folder = asking, folder
        self._known: dict[str, list[ResultFile]] = {}
        # of two that want one file, the second finds what the first fetched
        self._locks: dict[str, threading.Lock] = {}

    def folder(self, job_id: str) -> VersionFolder:
        """Where what was fetched of a job lies."""
        return VersionFolder(self._folder / job_id)

    async def listed(self, job: Job) -> list[ResultFile]:
        """The files of a job's result. Raises :class:`~void_server.api.errors.VoidError` where it is not done."""
        # a job that is resumed may have other files
        key = f"{job.id} {job.updated}"
        if key not in self._known:
            self._known[key] = await self._asking.ask(lambda client: client.results(job.id))
        return self._known[key]

    async def file(self, job: Job, path: Path) -> Path:
        """One of a job's files, ``path`` as its :meth:`folder` has it. Raises :class:`InputError` where it has none."""
        name = path.relative_to(self.folder(job.id).folder).as_posix()
        found = await self.files(job, name)
        if not found:
            raise InputError(f"Job {job.id} has made no {name}.")
        return found[0]

    async def files(self, job: Job, begin: str) -> list[Path]:
        """A job's files whose paths begin with ``begin``, in their order."""
        wanted = [file for file in await self.listed(job) if file.path.startswith(begin)]
        return await self._asking.ask(lambda client: [self._fetched(client, job, file) for file in wanted])

    async def approved(self, job: Job) -> VersionFolder:
        """Where the manifest of a job lies, with the approvals that it has now: they come after it is done."""
        version = self.folder(job.id)
        await self.file(job, version.manifest)
        approvals = version.approval("").parent

        def renew(client: Client) -> None:
            with self._locks.setdefault(f"{job.id} {approvals.name}", threading.Lock()):
                shutil.rmtree(approvals, ignore_errors=True)
                for file in client.results(job.id):
                    if file.path.startswith(f"{approvals.name}/"):
                        self._fetched(client, job, file)

        await self._asking.ask(renew)
        return version

    def _fetched(self, client: Client, job: Job, file: ResultFile) -> Path:
        folder = self.folder(job.id).folder
        with self._locks.setdefault(f"{job.id} {file.path}", threading.Lock()):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.utime(folder)
            return Path(client.fetch(job.id, file, str(folder)))

    def clear(self) -> None:
        """Remove copies that nobody has looked at for a week."""
        limit = time.time() - 86400 * _KEPT_DAYS
        for folder in self._folder.glob("*"):
            if folder.stat().st_mtime < limit:
                shutil.rmtree(folder, ignore_errors=True)
