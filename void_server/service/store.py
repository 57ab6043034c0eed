"""The jobs, in SQLite: everything a restarted server must know."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import asdict, astuple, replace
from functools import lru_cache
from pathlib import Path

import psutil

from ..api.errors import InputError, JobCancelled, ServerRefused, UnknownJob, VoidError, from_dict
from ..api.home import made
from ..api.job import Job, JobState, Progress
from ..api.shot import Shot
from .transfer import Upload

#: Its number changes with the schema, or with what a shot is: another version of VOID keeps a list of its own.
FILE = "jobs_7.sqlite"
_TABLES = {
    "jobs": """
  id text primary key, state text not null, shot text not null, folder text not null,
  created real not null, updated real not null, progress text not null, error text, warnings text not null,
  attempts integer not null default 0, listed integer not null default 1,
  submitter text not null default '', frames integer not null default 0,
  priority integer not null default 50, size integer,
  owner_host text not null, owner_pid integer not null, owner_started real not null, owner_address text not null,
  embedded integer not null
""",
    "uploads": "digest text not null, size integer not null, submitter text not null,"
    " primary key (digest, size, submitter)",
    # those that were taken: none of them is taken twice
    "tokens": "once text primary key, until real not null",
}
_log = logging.getLogger(__name__)

#: Seconds after which changes are brought from the journal into the list itself.
_CHECKPOINT = 5.0
#: The shots that are kept in memory as they were read, of some ten kilobytes each.
_SHOTS = 1024
#: A locked list is waited for so many seconds; who asks is answered in any case.
_PATIENCE = 2.0


class Store:
    """All jobs of one state folder. Several servers may share it; each owns the jobs that it works on.

    The jobs of an ``embedded`` server end with it: what it leaves unfinished is interrupted, and no other server takes
    it over unasked. Raises :class:`ServerRefused` if the folder cannot be written.
    """

    def __init__(self, folder: Path, address: str = "", *, embedded: bool = False) -> None:
        self._file = file = made(folder) / FILE
        self._checkpoint = time.monotonic()
        try:
            # also where others may pass the folder, as workers of another user must
            os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
            self._database = sqlite3.connect(file, timeout=_PATIENCE, isolation_level=None)
            self._open()
        except (sqlite3.OperationalError, OSError) as error:
            raise ServerRefused(
                f"{file} cannot be used ({error}); make it writable, or set $VOID_HOME to another folder."
            ) from error
        except sqlite3.DatabaseError as error:
            raise ServerRefused(
                f"The list of jobs {file} is damaged ({error}); `void doctor --repair` starts a new one and keeps this."
            ) from error
        self._owner = socket.gethostname(), os.getpid(), psutil.Process().create_time(), address, embedded

    def _open(self) -> None:
        self._database.row_factory = sqlite3.Row
        self._database.execute("pragma journal_mode = wal")
        # whoever must outlive a loss of power is flushed by flush(), many at once and in a thread
        self._database.execute("pragma synchronous = normal")
        # checkpoint() brings changes into the list itself, which waits for the disk twice
        self._database.execute("pragma wal_autocheckpoint = 0")
        with self._database:
            # nobody else makes the table meanwhile
            self._database.execute("begin immediate")
            if not self._database.execute("select 1 from sqlite_master where name = 'jobs'").fetchone():
                for table, columns in _TABLES.items():
                    self._database.execute(f"create table {table} ({columns})")

    def flush(self) -> None:
        """Have all that was written so far outlive a loss of power; may be called from any thread. Raises OSError."""
        # where it is gone, another server's end has brought it into the list itself, and flushed that
        with contextlib.suppress(FileNotFoundError), open(f"{self._file}-wal", "rb") as written:
            os.fsync(written.fileno())

    def checkpoint(self) -> None:
        """Bring what was written into the list itself now and then; may be called from any thread."""
        if time.monotonic() - self._checkpoint > _CHECKPOINT:
            self._checkpoint = time.monotonic()
            with contextlib.closing(sqlite3.connect(self._file, timeout=0)) as own, contextlib.suppress(sqlite3.Error):
                # what others use now is left for the next time
                own.execute("pragma wal_checkpoint(passive)")

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def add(self, job: Job, frames: int = 0) -> None:
        """Keep a new job with so many frames, owned by this server."""
        shot = json.dumps(job.shot.to_dict())
        self._database.execute(
            "insert into jobs (id, state, shot, folder, created, updated, progress, warnings, submitter,"
            " priority, frames, owner_host, owner_pid, owner_started, owner_address, embedded)"
            " values (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (
                *(job.id, job.state.value, shot, job.folder, job.created, job.updated, "{}", "[]"),
                *(job.submitter, job.priority, frames),
                *self._owner,
            ),
        )

    def own(self, job_id: str) -> None:
        """Take a job over and list it again; its former owner's attempts no longer count."""
        self._database.execute(
            "update jobs set owner_host = ?, owner_pid = ?, owner_started = ?, owner_address = ?, embedded = ?,"
            " attempts = 0, listed = 1 where id = ?",
            (*self._owner, job_id),
        )

    def find(self, job_id: str) -> Job | None:
        """The job of this id, if there is one. Raises :class:`InputError` if its row cannot be read."""
        row = self._database.execute("select * from jobs where id = ?", (job_id,)).fetchone()
        try:
            return _job(row) if row else None
        except _UNREADABLE as error:
            raise InputError(
                f"What is kept of job {job_id} cannot be read ({error}); submit the shot again."
            ) from error

    def submitter(self, job_id: str) -> str:
        """Who submitted a job, by the name of the key; empty where there was none."""
        row = self._database.execute("select submitter from jobs where id = ?", (job_id,)).fetchone()
        return str(row[0]) if row else ""

    def frames(self, job_id: str) -> int:
        """The number of frames of a job, 0 where nobody knows."""
        row = self._database.execute("select frames from jobs where id = ?", (job_id,)).fetchone()
        return int(row[0]) if row else 0

    def set_priority(self, job_id: str, priority: int) -> None:
        """Change which jobs go before this one."""
        values = priority, time.time(), job_id
        self._database.execute("update jobs set priority = ?, updated = ? where id = ?", values)

    def set_size(self, job_id: str, size: int) -> None:
        """Keep the bytes of a job's result, unless the job has not ended, or was resumed while they were counted."""
        self._database.execute(
            "update jobs set size = ? where id = ? and state not in ('queued', 'running')", (size, job_id)
        )

    def size_of_results(self, submitter: str | None = None) -> int:
        """The bytes of ``submitter``'s results, or of all, as far as they are counted."""
        query = "select coalesce(sum(size), 0) from jobs where submitter = coalesce(?, submitter)"
        return int(self._database.execute(query, (submitter,)).fetchone()[0])

    def results(self, submitter: str | None = None, *, counted: bool) -> list[tuple[str, str]]:
        """Ids and folders of ``submitter``'s ended jobs, or of all, whose results are counted, or are not yet."""
        rows = self._database.execute(
            "select id, folder from jobs where state not in ('queued', 'running') and (size is not null) = ?"
            " and submitter = coalesce(?, submitter)",
            (counted, submitter),
        )
        return [(str(row[0]), str(row[1])) for row in rows]

    def done(self) -> list[tuple[str, str]]:
        """Ids and folders of the jobs that are done, including those cleared from the list."""
        rows = self._database.execute("select id, folder from jobs where state = ?", (JobState.DONE.value,))
        return [(str(row[0]), str(row[1])) for row in rows]

    def size_of_uploads(self) -> int:
        """The bytes of all uploaded files."""
        return int(self._database.execute("select coalesce(sum(size), 0) from uploads").fetchone()[0])

    def note_upload(self, upload: Upload) -> None:
        """Count a file whose upload begins as its sender's."""
        self._database.execute("insert or ignore into uploads values (?, ?, ?)", astuple(upload))

    def knows_upload(self, upload: Upload) -> bool:
        """Whether a file counts as its sender's already."""
        query = "select 1 from uploads where digest = ? and size = ? and submitter = ?"
        return self._database.execute(query, astuple(upload)).fetchone() is not None

    def uploads(self) -> list[Upload]:
        """The files that count, uploaded or begun."""
        return [Upload(*row) for row in self._database.execute("select digest, size, submitter from uploads")]

    def uploaded(self, submitter: str) -> int:
        """The bytes of somebody's uploaded files."""
        query = "select coalesce(sum(size), 0) from uploads where submitter = ?"
        return int(self._database.execute(query, (submitter,)).fetchone()[0])

    def forget_uploads(self, uploads: Iterable[Upload]) -> None:
        """Count these files no more."""
        query = "delete from uploads where digest = ? and size = ? and submitter = ?"
        self._database.executemany(query, map(astuple, uploads))

    def take_token(self, once: str, until: float, now: float) -> bool:
        """Keep ``until`` then that a token was taken; False if it was before. Those until ``now`` are forgotten."""
        self._database.execute("delete from tokens where until < ?", (now,))
        taken = self._database.execute("insert or ignore into tokens values (?, ?)", (once, until))
        return taken.rowcount > 0

    def unfinished_in(self, folder: str) -> str | None:
        """The id of an unfinished job whose result goes to this folder."""
        row = self._database.execute(
            "select id from jobs where folder = ? and state in ('queued', 'running')", (folder,)
        ).fetchone()
        return str(row[0]) if row else None

    def get(self, job_id: str) -> Job:
        """The job of this id. Raises :class:`UnknownJob`."""
        job = self.find(job_id)
        if job is None:
            raise UnknownJob(f"There is no job {job_id!r:.100}; `void jobs` lists the existing ones.")
        return job

    def all(self, limit: int | None = None, skip: int = 0, submitter: str | None = None) -> list[Job]:
        """The jobs on the list, those of one ``submitter`` or of all, the newest first; ``limit`` after ``skip``."""
        # SQLite's word for no limit is -1
        rows = self._database.execute(
            "select * from jobs where listed and submitter = coalesce(?, submitter)"
            " order by created desc, id limit ? offset ?",
            (submitter, -1 if limit is None else limit, skip),
        )
        return _readable(rows)

    def clear(self, submitter: str | None = None) -> int:
        """Clear ended jobs from the list, keeping everything else of them; returns their number."""
        ended = [(job.id,) for job in self.all(submitter=submitter) if job.state.ended]
        self._database.executemany("update jobs set listed = 0 where id = ?", ended)
        return len(ended)

    def ended(self) -> list[Job]:
        """All ended jobs, including those cleared from the list, oldest first."""
        jobs = _readable(self._database.execute("select * from jobs order by updated"))
        return [job for job in jobs if job.state.ended]

    def forget(self, job: Job) -> bool:
        """Delete a job if it is still as given and was not resumed meanwhile; returns whether it was deleted."""
        done = self._database.execute("delete from jobs where id = ? and updated = ?", (job.id, job.updated))
        return done.rowcount > 0

    def cancel(self, job_id: str) -> Job:
        """Cancel a job that no server works on. Raises :class:`InputError` for any other."""
        job = self.get(job_id)
        if job.state is JobState.DONE:
            raise InputError(f"Job {job.id} is already done; its result is in {job.folder}.")
        if job.state is JobState.FAILED:
            raise InputError(f"Job {job.id} has already failed; there is nothing to stop.")
        owner = None if job.state.ended else self.owner(job.id)
        if owner:
            raise InputError(
                f"Job {job.id} belongs to another server; stop it with: void cancel {job.id} --server {owner}"
            )
        return self.update(job.id, state=JobState.CANCELLED, error=stopped())

    def update(
        self,
        job_id: str,
        *,
        state: JobState | None = None,
        progress: Progress | None = None,
        error: VoidError | None = None,
        warnings: Iterable[str] | None = None,
    ) -> Job:
        """Change the given fields; a new state without an error clears the error. Returns the updated job."""
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

    def begin(self, job_id: str) -> Job:
        """Note that an attempt at a job begins. Returns the updated job."""
        job = replace(self.get(job_id), state=JobState.RUNNING, error=None, updated=time.time())
        self._database.execute(
            "update jobs set state = ?, error = null, updated = ?, attempts = attempts + 1, size = null where id = ?",
            (job.state.value, job.updated, job_id),
        )
        return job

    def attempts(self, job_id: str) -> int:
        """The number of attempts at a job."""
        return int(self._database.execute("select attempts from jobs where id = ?", (job_id,)).fetchone()[0])

    def owner(self, job_id: str) -> str | None:
        """The address of the other living server that works on a job; None where there is none."""
        row = self._database.execute("select * from jobs where id = ?", (job_id,)).fetchone()
        if not row or (row["owner_host"], row["owner_pid"], row["owner_started"]) == self._owner[:3]:
            return None
        return str(row["owner_address"]) if _alive(row) else None

    def orphans(self) -> list[Job]:
        """Jobs queued or running on a former server at this address, oldest first."""
        rows = self._database.execute(
            "select * from jobs where state in ('queued', 'running') and owner_host = ? and owner_address = ?"
            " and not embedded order by created",
            (self._owner[0], self._owner[3]),
        )
        return _readable(row for row in rows.fetchall() if not _alive(row))


def repair(folder: Path) -> Path | None:
    """Set a damaged list of jobs aside, and keep in a new one what can be read of it.

    Returns where the damaged one is, None if there is none. No server may use the list meanwhile. Raises
    :class:`ServerRefused` if one does.
    """
    file = folder / FILE
    if not file.is_file() or _is_sound(file):
        return None
    aside = file.with_name(f"{FILE}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.replace(f"{file}{suffix}", f"{aside}{suffix}")
    new = Store(folder)
    old = sqlite3.connect(aside)
    try:
        for table in _TABLES:
            try:
                # an index may be damaged, too
                for row in old.execute(f"select * from {table} not indexed"):
                    new._database.execute(f"insert into {table} values ({','.join('?' * len(row))})", row)
            except sqlite3.DatabaseError as error:
                _log.warning("the rest of the %s in %s cannot be read: %s", table, aside, error)
    finally:
        old.close()
        new.close()
    return aside


def _is_sound(file: Path) -> bool:
    database = sqlite3.connect(file, timeout=_PATIENCE)
    try:
        return bool(database.execute("pragma integrity_check").fetchone()[0] == "ok")
    except sqlite3.OperationalError as error:
        raise ServerRefused(f"{file} is in use ({error}); stop the servers that use it first.") from error
    except sqlite3.DatabaseError:
        return False
    finally:
        database.close()


def stopped() -> JobCancelled:
    """The error of a job that somebody stopped."""
    return JobCancelled("The job was stopped; finished frames are kept, resume to continue.")


def interrupted() -> JobCancelled:
    """The error of a job whose embedded server has ended."""
    return JobCancelled("The command running the job ended; finished frames are kept, resume to continue.")


def _alive(row: sqlite3.Row) -> bool:
    if row["owner_host"] != socket.gethostname():
        # on a home that machines share; nobody here can know
        return True
    try:
        # a process of the same number may be another one by now
        return abs(psutil.Process(row["owner_pid"]).create_time() - row["owner_started"]) < 1
    except psutil.NoSuchProcess:
        return False


#: What reading a row raises that another version wrote, or a fault of the disk.
_UNREADABLE = (VoidError, ValueError, TypeError, KeyError, AttributeError)


def _readable(rows: Iterable[sqlite3.Row]) -> list[Job]:
    """The jobs in those rows that can be read; one that cannot keeps nobody from the others."""
    jobs = []
    for row in rows:
        try:
            jobs.append(_job(row))
        except _UNREADABLE as error:
            _log.warning("what is kept of job %s cannot be read, so it is left alone: %s", row["id"], error)
    return jobs


@lru_cache(maxsize=_SHOTS)
def _shot(text: str) -> Shot:
    """The shot that is kept as this text; reading and checking one takes longer than everything else of a job."""
    return Shot.from_dict(json.loads(text))


def _job(row: sqlite3.Row) -> Job:
    state, told = JobState(row["state"]), row["error"]
    error = from_dict(json.loads(told)) if told else None
    if row["embedded"] and not state.ended and not _alive(row):
        # it was killed, and could not say so
        state, error = JobState.INTERRUPTED, interrupted()
    return Job(
        id=row["id"],
        state=state,
        shot=_shot(row["shot"]),
        folder=row["folder"],
        created=row["created"],
        updated=row["updated"],
        progress=Progress(**json.loads(row["progress"])),
        error=error,
        warnings=tuple(json.loads(row["warnings"])),
        submitter=row["submitter"],
        priority=row["priority"],
    )
