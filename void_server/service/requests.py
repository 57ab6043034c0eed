"""The requests that a server answers, by their verbs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from .. import __version__, permission, plugins
from ..api.confinement import held_below
from ..api.errors import AccessDenied, InputError, JobCancelled, JobFailed, ProtocolError, ServerRefused, UnknownJob
from ..api.files import new_version_folder, to_disk
from ..api.home import made
from ..api.job import HIGHEST, MANIFEST, NORMAL, Job, JobState
from ..api.messages import PROTOCOL
from ..api.shot import Shot
from . import transfer
from .access import below_roots
from .audit import AuditLog
from .config import ServerConfig
from .disks import Disks
from .durable import Durable
from .inspection import Inspector
from .queue import JobQueue
from .roles import Right, Role
from .room import Room
from .tokens import Tokens

_log = logging.getLogger(__name__)
Kind = TypeVar("Kind")

_JOB_ID = re.compile(r"[0-9a-f]{12}")
#: The limits for one page of a list: so many jobs, and bytes of JSON.
_PAGE, _PAGE_BYTES = 50, 2**20
#: The shots of one user that are looked at at once, fewer than of all.
_INSPECTIONS = 2
#: The pieces of one job's result that are read at once for one user, on however many connections.
_PIECES = 4
_TOO_SLOW = "The submission was given up, as the disk took too long; submit again."


@dataclass(frozen=True)
class Caller:
    """Who sent a message: the connection, the name of the key, the host, and what the key's role may do."""

    connection: bytes
    name: str
    host: str
    role: Role = Role.ADMIN

    def __str__(self) -> str:
        return f"{self.name} ({self.host})"


class Requests:
    """Answers requests: checks them, and has queue, uploads and inspector do what they ask for.

    ``watch(caller, job_id)`` is called for a client that wants to hear of a job.
    """

    def __init__(
        self,
        config: ServerConfig,
        queue: JobQueue,
        uploads: transfer.Uploads,
        inspector: Inspector,
        audit: AuditLog,
        watch: Callable[[Caller, str], None],
        tokens: Tokens,
    ) -> None:
        self._config, self._queue, self._uploads, self._inspector = config, queue, uploads, inspector
        self._audit, self._heed, self._owner_of_work = audit, watch, config.owner_of_work
        self._tokens = tokens
        # looked up once, so that answers are immediate
        self._engines, self._reasoners = plugins.engines(), plugins.reasoners()
        self._settings = {
            word: {name: [one.to_dict() for one in found] for name, found in plugins.declared(kind).items()}
            for word, kind in (("engines", plugins.ENGINES), ("reasoners", plugins.REASONERS))
        }
        self._generative = plugins.saying(plugins.ENGINES, "generative")
        self._cloud = plugins.saying(plugins.REASONERS, "cloud")
        # submissions that are no jobs yet, by job, and those of them that were stopped meanwhile
        self._submitting: Counter[str] = Counter()
        self._submitters: dict[str, str] = {}
        self._withdrawn: set[str] = set()
        self._disks, self._durable = Disks(), Durable(self._flush)
        self._room = Room(config, queue.store, self._disks)
        # by file, as each chunk must follow the one before
        self._uploading: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()
        self._fetching: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()
        self._downloads = transfer.Downloads()
        # by user and job, whose disk may hang
        self._reading: WeakValueDictionary[Hashable, asyncio.Semaphore] = WeakValueDictionary()
        # by user, whose disk may hang
        self._inspecting: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        # by job
        self._accepting: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()
        self._verbs: dict[str, Callable[[Caller, dict[str, Any]], Awaitable[Any]]] = {
            "hello": self._hello,
            "sign_in": self._sign_in,
            "submit": self._submit,
            "status": self._status,
            "watch": self._watch,
            "jobs": self._jobs,
            "jobs.clear": self._jobs_clear,
            "workers": self._workers,
            "cancel": self._cancel,
            "resume": self._resume,
            "prioritise": self._prioritise,
            "upload.offset": self._upload_offset,
            "upload.chunk": self._upload_chunk,
            "result.list": self._result_list,
            "result.chunk": self._result_chunk,
        }

    async def keep(self) -> None:
        """Return once the list of jobs and the record, as they are, outlive a loss of power."""
        await self._durable.flushed()

    def _flush(self) -> None:
        self._queue.store.flush()
        self._audit.flush()

    async def count_results(self) -> None:
        """Count what results take of the disks; called now and then."""
        await self._room.count()

    def find(self, message: dict[str, Any]) -> tuple[str, Callable[[Caller], Awaitable[Any]]]:
        """The verb of a message, and what answers it. Raises :class:`ProtocolError` for an unknown one."""
        verb, body = str(message.get("verb")), message.get("body")
        if verb not in self._verbs or not isinstance(body, dict):
            raise ProtocolError(f"The server does not know the request {verb!r:.100}; update it.")
        return verb, lambda caller: self._verbs[verb](caller, body)

    async def _hello(self, caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
        del body
        return {
            "version": __version__,
            "protocol": PROTOCOL,
            "pid": os.getpid(),
            "roots": [str(root) for root in self._config.roots],
            "engines": self._engines,
            "reasoners": self._reasoners,
            "settings": self._settings,
            "generative": self._generative,
            "cloud": self._cloud,
            "user": caller.name,
            "rights": sorted(right.name.lower() for right in caller.role.rights),
        }

    async def _sign_in(self, caller: Caller, body: dict[str, Any]) -> str:
        """The name of the user that a token, which somebody showed to the page, belongs to."""
        self.check(caller, Right.ACT_FOR)
        client = self._tokens.owner(_field(body, "token", str))
        await asyncio.to_thread(self._audit.add, client.name, str(body.get("host"))[:64], "sign in")
        await self.keep()
        _log.info("%s signed in at %s", client.name, caller)
        return client.name

    async def _submit(self, caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
        job_id = _field(body, "id", str)
        if not _JOB_ID.fullmatch(job_id):
            raise ProtocolError("The job's id is not 12 hexadecimal digits; use a VOID client.")
        self.check(caller, Right.SUBMIT)
        if self._queue.waiting_of(caller.name) >= self._config.queue_limit:
            raise ServerRefused(
                f"{caller.name} has {self._config.queue_limit} jobs waiting, the most that this server takes from one "
                "user; wait for some of them, or cancel some."
            )
        if self._queue.store.find(job_id):
            # the answer to an earlier try was lost on its way
            return self._job_of(caller, body, "id").to_dict()
        self._room.check(caller.name)
        shot = Shot.from_dict(_field(body, "shot", dict))
        # of one that came twice at once, the second waits, and finds what the first did
        with self._withdrawable(caller, job_id):
            async with _lock(self._accepting, job_id):
                if self._queue.store.find(job_id):
                    return self._job_of(caller, body, "id").to_dict()
                try:
                    job = await self._accepted(caller, job_id, shot, body)
                except BaseException:
                    if "files" in body and job_id not in self._queue.unfinished:
                        # what was laid out for it is nobody's
                        await asyncio.to_thread(shutil.rmtree, self._config.uploaded(job_id), ignore_errors=True)
                    raise
        _log.info("job %s submitted by %s: plate %s, into %s", job_id, caller, job.shot.plate, job.folder)
        await self._note(caller, "submit", job, plate=job.shot.plate)
        return job.to_dict()

    async def _accepted(self, caller: Caller, job_id: str, asked: Shot, body: dict[str, Any]) -> Job:
        """The new job of a submission, which waits in the queue. Raises what speaks against it."""
        self._check_wanted(job_id)
        given_up = threading.Event()
        new = _NewFolder(given_up)
        try:
            shot, out, roots = await self._disks.ask(
                lambda: self._admit(job_id, asked, body, caller.name, given_up), whole_files="files" in body
            )
            async with self._inspecting.setdefault(caller.name, asyncio.Semaphore(_INSPECTIONS)):
                frames = await self._inspector.inspect(shot, roots)
            self._check_frames(caller, frames)
            # no folder is made for a job that never begins
            self._check_wanted(job_id)
            reserved = bool(body.get("reserved"))
            folder = await self._disks.ask(
                lambda: _reserved(out, roots) if reserved else new.make(out, roots, self._owner_of_work)
            )
            # from here on nothing is waited for: of two into one folder the second finds the first
            self._check_wanted(job_id)
            if reserved and (other := self._queue.store.unfinished_in(str(out))):
                raise InputError(f"{out} is reserved for job {other}; submit to the folder above it.")
            now = time.time()
            job = Job(job_id, JobState.QUEUED, shot, str(folder), now, now, submitter=caller.name)
            self._queue.add(job, frames)
        except BaseException:
            # a thread that has not ended yet leaves nothing any more
            given_up.set()
            if new.is_made:
                with contextlib.suppress(JobFailed):
                    await self._disks.ask(new.remove)
            raise
        return job

    def _check_frames(self, caller: Caller, frames: int) -> None:
        limit, waiting = self._config.frame_limit, self._queue.frames_of(caller.name)
        # one long shot is always taken
        if waiting and waiting + frames > limit:
            raise ServerRefused(
                f"{caller.name} has {waiting} frames waiting, and this shot has {frames}; this server takes {limit} "
                "from one user. Wait for some jobs, or cancel some."
            )

    @contextlib.contextmanager
    def _withdrawable(self, caller: Caller, job_id: str) -> Iterator[None]:
        """Until a submission is a job, its submitter may stop it. Raises :class:`UnknownJob` where somebody else
        submits one of that id.
        """
        if self._submitters.setdefault(job_id, caller.name) != caller.name:
            raise _no_such_job(job_id)
        self._submitting[job_id] += 1
        try:
            yield
        finally:
            self._submitting[job_id] -= 1
            if not self._submitting[job_id]:
                del self._submitting[job_id], self._submitters[job_id]
                self._withdrawn.discard(job_id)

    def _check_wanted(self, job_id: str) -> None:
        """Raise :class:`JobCancelled` for a submission that was stopped meanwhile."""
        if job_id in self._withdrawn:
            raise JobCancelled("The job was stopped before it began.")

    def _admit(
        self, job_id: str, shot: Shot, body: dict[str, Any], sender: str, given_up: threading.Event
    ) -> tuple[Shot, Path, tuple[Path, ...] | None]:
        """Check a submission, but not its files. Returns the shot with the paths that the server uses, where its
        version folder goes, and the roots that its files must lie below.
        """
        if "files" in body:
            folder = self._config.uploaded(job_id)
            places = self._lay_out(body["files"], folder, sender, given_up)
            if lacking := sorted(set(shot.paths()) - set(places)):
                raise InputError(f"The shot's {lacking[0]} was not uploaded; upload its files too.")
            return Shot.from_dict({**shot.to_dict(), **places}), folder, None
        out = below_roots(_field(body, "out", str), self._config.roots)
        if body.get("reserved") and (not out.is_dir() or (out / MANIFEST).exists()):
            raise InputError(f"{out} is not a version folder waiting for its result; submit to the folder above it.")
        return shot, out, self._config.roots

    def _lay_out(self, files: Any, folder: Path, sender: str, given_up: threading.Event) -> dict[str, str]:
        """Lay out the uploads of a job as ``input`` in its ``folder``; returns the path of each part of the shot.

        Raises :class:`JobCancelled` where that was ``given_up`` meanwhile, as it took too long.

        That folder is the workers' user's, who may have put links there. So they are laid out beside it, where only the
        server comes, and then given their name, which follows no link.
        """
        inputs = folder / "input"
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=made(folder.parent)) as own:
            fresh = Path(own, "input")
            places = self._uploads.place(files, fresh, sender)
            if given_up.is_set():
                raise JobCancelled(_TOO_SLOW)
            made(folder)
            with contextlib.suppress(FileNotFoundError):
                # what an earlier submission laid out goes with the rest
                os.rename(inputs, Path(own, "before"))
            laid_out = os.stat(fresh).st_ino
            os.rename(fresh, inputs)
            if given_up.is_set():
                # nobody takes it away any more, unless it is already another's
                if os.lstat(inputs).st_ino == laid_out:
                    os.rename(inputs, Path(own, "late"))
                raise JobCancelled(_TOO_SLOW)
        for changed in (folder, folder.parent):
            to_disk(changed)
        if self._owner_of_work:
            os.chown(folder, *self._owner_of_work, follow_symlinks=False)
        return {role: str(inputs / place) for role, place in places.items()}

    async def _status(self, caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
        return self._job_of(caller, body).to_dict()

    async def _watch(self, caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
        job = self._job_of(caller, body)
        self._heed(caller, job.id)
        return job.to_dict()

    async def _jobs(self, caller: Caller, body: dict[str, Any]) -> list[dict[str, Any]]:
        """A page of the list: what fits into a message, and costs no time that others would wait for."""
        limit = _PAGE if body.get("limit") is None else min(_PAGE, _count(body, "limit"))
        page, size = [], 0
        for job in self._queue.jobs(limit, _count(body, "skip") if "skip" in body else 0, self._seen_by(caller)):
            page.append(job.to_dict())
            size += len(json.dumps(page[-1]))
            if size > _PAGE_BYTES:
                break
        return page

    async def _jobs_clear(self, caller: Caller, body: dict[str, Any]) -> int:
        del body
        cleared = self._queue.store.clear(None if Right.ADMINISTER in caller.role.rights else caller.name)
        await self._note(caller, "clear", count=cleared)
        _log.info("%d jobs cleared from the list by %s", cleared, caller)
        return cleared

    async def _workers(self, caller: Caller, body: dict[str, Any]) -> list[dict[str, Any]]:
        del body
        seen_by = self._seen_by(caller)
        listed = self._queue.workers.listed()
        for worker in listed:
            if seen_by is not None and self._queue.store.submitter(worker["job"]) != seen_by:
                worker["job"] = ""
        return listed

    async def _cancel(self, caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
        if self._submitters.get(job_id := _field(body, "job", str)) == caller.name:
            # there is no job yet, and there will be none
            self._withdrawn.add(job_id)
        job = self._job_of(caller, body, right=Right.ADMINISTER)
        state = JobState.INTERRUPTED if body.get("interrupted") else JobState.CANCELLED
        await self._note(caller, "cancel", job)
        _log.info("job %s to be %s, requested by %s", job.id, state.value, caller)
        cancelled = self._queue.cancel(job.id, state)
        await self.keep()
        return cancelled.to_dict()

    async def _resume(self, caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
        job = self._job_of(caller, body, right=Right.ADMINISTER)
        await self._check_reach(job)
        if not await self._disks.ask(Path(job.folder).is_dir):
            raise InputError(f"The folder {job.folder} of job {job.id} is gone; submit the shot again.")
        self._room.check(job.submitter)
        # what was allowed when it was submitted may not be any more
        await asyncio.to_thread(permission.check, job.shot)
        await self._note(caller, "resume", job)
        # from here on nothing is waited for: it is taken up once
        job = self._job_of(caller, body)
        resumed = self._queue.resume(job)
        _log.info("job %s resumed by %s", job.id, caller)
        await self.keep()
        return resumed.to_dict()

    async def _prioritise(self, caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
        job, priority = self._job_of(caller, body, right=Right.PRIORITISE), _count(body, "priority")
        if priority > HIGHEST:
            raise InputError(f"The priority is {priority}; give a number from 0 to {HIGHEST}.")
        if priority > max(NORMAL, job.priority):
            self.check(caller, Right.PRIORITISE)
        await self._note(caller, "prioritise", job, priority=priority)
        _log.info("job %s is given the priority %d by %s", job.id, priority, caller)
        changed = self._queue.prioritise(job.id, priority)
        await self.keep()
        return changed.to_dict()

    async def _check_reach(self, job: Job) -> None:
        """Raise :class:`AccessDenied` for a job that this server may not touch: others may share its list of jobs."""
        await self._disks.ask(lambda: _check_reach(job, self._config.roots_of(job)))

    async def _upload_offset(self, caller: Caller, body: dict[str, Any]) -> int:
        self.check(caller, Right.SUBMIT)
        upload = transfer.Upload(_field(body, "digest", str), _count(body, "size"), caller.name)
        async with _lock(self._uploading, upload):
            return await asyncio.to_thread(self._uploads.offset, upload)

    async def _upload_chunk(self, caller: Caller, body: dict[str, Any]) -> int:
        self.check(caller, Right.SUBMIT)
        data, offset = body.get("data"), _count(body, "offset")
        if not isinstance(data, (bytes, memoryview)):
            raise ProtocolError("The request is broken: it has no piece of a file; use a VOID client.")
        upload = transfer.Upload(_field(body, "digest", str), _count(body, "size"), caller.name)
        async with _lock(self._uploading, upload):
            self._check_upload(upload)
            return await asyncio.to_thread(self._uploads.chunk, upload, offset, data)

    def _check_upload(self, upload: transfer.Upload) -> None:
        """Hold a user to the server's limits with the size of a file that is begun. Raises :class:`ServerRefused`."""
        store = self._queue.store
        if store.knows_upload(upload):
            return
        limit, used = self._config.upload_limit, store.uploaded(upload.sender)
        if used + upload.size > limit:
            raise ServerRefused(
                f"{upload.sender} has uploaded {used / 1e9:.1f} GB, and this file has {upload.size / 1e9:.1f} GB; this "
                f"server keeps {limit / 1e9:.1f} GB of one user. Files go {self._config.keep_uploads_days:g} days "
                "after their last use; until then use folders that the server can reach."
            )
        store.note_upload(upload)

    async def clear_uploads(self, older_than: float) -> None:
        """Remove uploads unused for so many seconds, and the inputs of jobs that are done."""
        store, holds = self._queue.store, self._uploads.holds
        noted = store.uploads()
        await asyncio.to_thread(self._uploads.clear, older_than)
        # also what was refused as damaged, or never came
        store.forget_uploads(await asyncio.to_thread(lambda: [one for one in noted if not holds(one)]))
        for job_id, folder in store.done():
            own = self._config.uploaded(job_id)
            if own in Path(folder).parents:
                await asyncio.to_thread(shutil.rmtree, own / "input", ignore_errors=True)

    async def _result_list(self, caller: Caller, body: dict[str, Any]) -> list[dict[str, Any]]:
        job = self._job_of(caller, body)
        await self._check_reach(job)
        listed = await self._disks.ask(lambda: transfer.listing(job), whole_files=True)
        await self._note(caller, "fetch", job)
        _log.info("job %s: result of %d files fetched by %s", job.id, len(listed), caller)
        return listed

    async def _result_chunk(self, caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
        job, path, offset = self._job_of(caller, body), _field(body, "path", str), _count(body, "offset")

        def chunk() -> dict[str, Any]:
            _check_reach(job, self._config.roots_of(job))
            return self._downloads.chunk(caller.connection, job, path, offset)

        turn = self._reading.setdefault((caller.name, job.id), asyncio.Semaphore(_PIECES))
        async with _lock(self._fetching, (caller.connection, job.id, path)), turn:
            return await self._disks.ask(chunk, whole_files=True)

    async def _note(self, caller: Caller, what: str, job: Job | None = None, **about: Any) -> None:
        """Keep in the record what a client had done."""
        of_job = {"job": job.id, "folder": job.folder} if job else {}
        await asyncio.to_thread(self._audit.add, caller.name, caller.host, what, **of_job, **about)
        await self.keep()

    @staticmethod
    def check(caller: Caller, right: Right) -> None:
        """Raise :class:`AccessDenied` for a client without a right."""
        if right not in caller.role.rights:
            raise AccessDenied(f"The key {caller.name} may not {right.value}; ask whoever runs the server.")

    @staticmethod
    def _seen_by(caller: Caller) -> str | None:
        """Whose jobs a client may see: its own, or anybody's."""
        return None if Right.SEE_ALL in caller.role.rights else caller.name

    def _job_of(self, caller: Caller, body: dict[str, Any], field: str = "job", right: Right = Right.SEE_ALL) -> Job:
        """The job that a request is about: the client's own, or anybody's with that right.

        Raises :class:`UnknownJob` also for one of somebody else's, which is not even confirmed to exist.
        """
        job_id = _field(body, field, str)
        others = self._queue.store.submitter(job_id) != caller.name
        if others and Right.SEE_ALL not in caller.role.rights:
            raise _no_such_job(job_id)
        job = self._queue.job(job_id)
        if others:
            self.check(caller, right)
        return job


def _lock(locks: WeakValueDictionary[Hashable, asyncio.Lock], name: Hashable) -> asyncio.Lock:
    """The lock of that name, which is there for as long as somebody holds it or waits for it."""
    return locks.setdefault(name, asyncio.Lock())


def _no_such_job(job_id: str) -> UnknownJob:
    return UnknownJob(f"There is no job {job_id!r:.100} of yours; `void jobs` lists them.")


class _NewFolder:
    """The new version folder of a submission, made in a thread: it goes where that was ``given_up`` meanwhile."""

    def __init__(self, given_up: threading.Event) -> None:
        self._given_up, self._made = given_up, list[tuple[Path, list[Path]]]()

    @property
    def is_made(self) -> bool:
        """Whether it is there. One that comes once the submission was given up goes by itself."""
        return bool(self._made)

    def make(self, out: Path, roots: tuple[Path, ...] | None, owner: tuple[int, int] | None) -> Path:
        """Make it in ``out``, for ``owner``. Raises as :func:`new_version_folder`, and :class:`JobCancelled` where the
        submission was given up meanwhile, as the disk took too long.
        """
        above = _above(out, roots)
        folder = new_version_folder(out, above, owner)
        self._made.append((folder, above))
        if self._given_up.is_set():
            self.remove()
            raise JobCancelled(_TOO_SLOW)
        return folder

    def remove(self) -> None:
        """Remove it, as far as it is empty. Of several threads one does: what has its name after that is another's."""
        with contextlib.suppress(IndexError, OSError, AccessDenied):
            folder, above = self._made.pop()
            with held_below(above, folder.parent) as place:
                (place / folder.name).rmdir()


def _reserved(out: Path, roots: tuple[Path, ...] | None) -> Path:
    """The reserved folder ``out``, which is still there.

    Raises :class:`AccessDenied` where a link was put on the way while the shot's files were looked at.
    """
    with held_below(_above(out, roots), out):
        return out


def _above(out: Path, roots: tuple[Path, ...] | None) -> list[Path]:
    """The folders, links followed, from which ``out`` is reached: the roots, or for uploads its own."""
    return [out.parent] if roots is None else [Path(os.path.realpath(root)) for root in roots]


def _check_reach(job: Job, roots: Sequence[Path]) -> None:
    for path in (job.folder, *job.shot.paths().values()):
        below_roots(path, roots)
    if os.path.realpath(job.folder) != job.folder:
        raise AccessDenied(f"There is a link on the way to {job.folder} that was not there before; remove it.")


def _field(body: dict[str, Any], name: str, kind: type[Kind]) -> Kind:
    """A field of a request. Raises :class:`ProtocolError` if it is missing or of another type."""
    value = body.get(name)
    if not isinstance(value, kind):
        raise ProtocolError(f"The request is broken: its {name} is {type(value).__name__}; use a VOID client.")
    return value


def _count(body: dict[str, Any], name: str) -> int:
    """A field that is a number of bytes."""
    value = _field(body, name, int)
    if not 0 <= value < 2**63:
        raise ProtocolError(f"The request is broken: its {name} is {value}; use a VOID client.")
    return value
