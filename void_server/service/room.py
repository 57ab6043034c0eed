"""How much of the server's disks results take, and whether there is room for more."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from functools import partial

from ..api.errors import JobFailed, ServerRefused
from .config import ServerConfig
from .disks import Disks
from .store import Store

_log = logging.getLogger(__name__)

#: Seconds after which everything is counted again, and those after which it is where somebody was refused.
_HOUR, _MINUTE = 3600.0, 60.0
#: What is gone or nobody may see; any other error is the disk's.
_NOT_TO_SEE = (FileNotFoundError, NotADirectoryError, PermissionError)


class Room:
    """Counts the results of ended jobs, beside all requests, and holds users to their share of the disks."""

    def __init__(self, config: ServerConfig, store: Store, disks: Disks) -> None:
        self._config, self._store, self._disks = config, store, disks
        # whose results are to be counted again, None for everybody's; and when they were last
        self._doubtful: set[str | None] = set()
        self._counted: dict[str | None, float] = {None: time.monotonic()}

    def check(self, submitter: str) -> None:
        """Raise :class:`ServerRefused` where ``submitter``, or all together, have as much as the server keeps."""
        limit, total = self._config.result_limit, self._config.disk_limit
        if (used := self._store.size_of_results(submitter)) >= limit:
            self._doubtful.add(submitter)
            raise ServerRefused(
                f"The results of {submitter} on this server have {used / 1e9:.1f} GB, and it keeps {limit / 1e9:.1f} "
                "GB of one user; remove versions that nobody needs, and try again in a minute."
            )
        if total is not None and (used := self._store.size_of_results() + self._store.size_of_uploads()) >= total:
            self._doubtful.add(None)
            raise ServerRefused(
                f"Uploads and results on this server have {used / 1e9:.1f} GB, and it keeps {total / 1e9:.1f} GB in "
                "all; remove versions that nobody needs, and try again in a minute, or ask whoever runs it."
            )

    async def count(self) -> None:
        """Count the results of jobs that have ended, and what is in doubt; called now and then."""
        for job_id, folder in self._store.results(counted=False):
            await self._count(job_id, folder, before=False)
        now = time.monotonic()
        if now - self._counted[None] > _HOUR:
            self._doubtful.add(None)
        for submitter in [one for one in self._doubtful if now - self._counted.get(one, -_MINUTE) >= _MINUTE]:
            self._doubtful.discard(submitter)
            self._counted[submitter] = now
            for job_id, folder in self._store.results(submitter, counted=True):
                await self._count(job_id, folder, before=True)

    async def _count(self, job_id: str, folder: str, *, before: bool) -> None:
        """Count a result, which was counted ``before`` or never; what was counted stands while its disk fails."""
        try:
            size = await self._disks.ask(partial(size_of, folder), whole_files=True)
        except (JobFailed, OSError) as error:
            _log.warning("the result of job %s cannot be counted: %s", job_id, error)
            if before:
                return
            # it is tried again with all others, not each time
            size = 0
        self._store.set_size(job_id, size)


def size_of(folder: str) -> int:
    """The bytes of the files in a folder and those below it, as far as it may be looked at; no links are followed.

    Raises OSError where the disk fails.
    """
    total = 0
    with contextlib.suppress(*_NOT_TO_SEE), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(*_NOT_TO_SEE):
                inner = entry.is_dir(follow_symlinks=False)
                total += size_of(entry.path) if inner else entry.stat(follow_symlinks=False).st_size
    return total
