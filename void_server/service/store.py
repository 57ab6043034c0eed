"""The jobs, in SQLite: what a server that starts again must know."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil

from ..api.errors import UnknownJob, VoidError, from_dict
from ..api.job import Job, JobState, Progress
from ..api.shot import Shot

_SCHEMA = """
create table if not exists jobs (
  id text primary key, state text not null, shot text not null, folder text not null,
  created real not null, updated real not null, progress text not null, error text, warnings text not null,
  attempts integer not null default 0, owner_pid integer, owner_started real, owner_address text
)
"""


class Store:
    """All jobs of one state folder. Several servers may share it; each owns the jobs that it works on."""

    def __init__(self, folder: Path, address: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(folder / "jobs.sqlite", timeout=30, isolation_level=None)
        self._database.row_factory = sqlite3.Row
        self._database.execute("pragma journal_mode = wal")
        self._database.execute(_SCHEMA)
        self._owner = os.getpid(), psutil.Process().create_time(), address

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def add(self, job: Job) -> None:
        """Keep a new job, owned by this server."""
        self._database.execute(
            "insert into jobs (id, state, shot, folder, created, updated, progress, warnings) values (?,?,?,?,?,?,?,?)",
            (job.id, job.state.value, json.dumps(job.shot.to_dict()), job.folder, job.created, job.updated, "{}", "[]"),
        )
        self.own(job.id)

    def own(self, job_id: str) -> None:
        """Take a job over; the attempts of its former owner no longer count."""
        self._database.execute(
            "update jobs set owner_pid = ?, owner_started = ?, owner_address = ?, attempts = 0 where id = ?",
            (*self._owner, job_id),
        )

    def find(self, job_id: str) -> Job | None:
        """The job of this id, if there is one."""
        row = self._database.execute("select * from jobs where id = ?", (job_id,)).fetchone()
        return _job(row) if row else None

    def get(self, job_id: str) -> Job:
        """The job of this id. Raises :class:`UnknownJob`."""
        job = self.find(job_id)
        if job is None:
            raise UnknownJob(f"There is no job {job_id!r}; `void jobs` lists those that there are.")
        return job

    def all(self) -> list[Job]:
        """All jobs, the newest first."""
        return [_job(row) for row in self._database.execute("select * from jobs order by created desc")]

    def update(
        self,
        job_id: str,
        *,
        state: JobState | None = None,
        progress: Progress | None = None,
        error: VoidError | None = None,
        warnings: Iterable[str] | None = None,
    ) -> Job:
        """Change what is given; a new state without an error clears the error. Returns the job as it is then."""
        job = self.get(job_id)
        job = replace(
            job,
            state=state or job.state,
            progress=progress or job.progress,
            error=error if state or error else job.error,
            warnings=job.warnings if warnings is None else tuple(warnings),
            updated=time.time(),
        )
        self._database.execute(
            "update jobs set state = ?, progress = ?, error = ?, warnings = ?, updated = ? where id = ?",
            (
                job.state.value,
                json.dumps(asdict(job.progress)),
                json.dumps(job.error.to_dict()) if job.error else None,
                json.dumps(job.warnings),
                job.updated,
                job_id,
            ),
        )
        return job

    def attempt(self, job_id: str) -> None:
        """Count one more attempt at a job."""
        self._database.execute("update jobs set attempts = attempts + 1 where id = ?", (job_id,))

    def attempts(self, job_id: str) -> int:
        """How many attempts at a job there have been."""
        return int(self._database.execute("select attempts from jobs where id = ?", (job_id,)).fetchone()[0])

    def owner(self, job_id: str) -> str | None:
        """The address of the living server that works on a job, this one's own included; None where there is none."""
        row = self._database.execute("select * from jobs where id = ?", (job_id,)).fetchone()
        return str(row["owner_address"]) if row and _alive(row) else None

    def orphans(self) -> list[Job]:
        """Jobs that were queued or running, oldest first, whose server is no more."""
        rows = self._database.execute("select * from jobs where state in ('queued', 'running') order by created")
        return [_job(row) for row in rows.fetchall() if not _alive(row)]


def _alive(row: sqlite3.Row) -> bool:
    try:
        # a process of the same number may be another one by now
        return abs(psutil.Process(row["owner_pid"]).create_time() - row["owner_started"]) < 1
    except psutil.NoSuchProcess:
        return False


def _job(row: sqlite3.Row) -> Job:
    error: dict[str, Any] | None = json.loads(row["error"]) if row["error"] else None
    return Job(
        id=row["id"],
        state=JobState(row["state"]),
        shot=Shot.from_dict(json.loads(row["shot"])),
        folder=row["folder"],
        created=row["created"],
        updated=row["updated"],
        progress=Progress(**json.loads(row["progress"])),
        error=from_dict(error) if error else None,
        warnings=tuple(json.loads(row["warnings"])),
    )
