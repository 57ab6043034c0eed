"""The jobs of a server: which wait, which run, how far they are, how they end."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..api.errors import InputError, JobCancelled, JobFailed, VoidError
from ..api.errors import from_dict as error_from_dict
from ..api.job import NORMAL, Job, JobState, Progress
from ..signing import account
from .config import ServerConfig
from .log import log_error
from .store import Store, interrupted, stopped
from .workers import WorkerHandle, WorkerPool

_log = logging.getLogger(__name__)

#: The number of attempts at a job whose workers die.
_ATTEMPTS = 3
#: A job of at most so many frames is a preview, which goes ahead of its user's longer jobs.
PREVIEW = 8
#: The number of attempts at a job whose workers hang or grow.
_ATTEMPTS_IF_ENDED = 2
_LEVELS = {JobState.FAILED: logging.ERROR}


@dataclass(frozen=True)
class _Waiting:
    """A job that waits: who submitted it, its priority, and the number of its frames, 0 where nobody knows."""

    submitter: str = ""
    priority: int = NORMAL
    frames: int = 0

    @property
    def is_preview(self) -> bool:
        return 0 < self.frames <= PREVIEW


class JobQueue:
    """Waiting and running jobs, the workers that do them, and the store that keeps them.

    ``announce(job)`` is called whenever a job has changed. Everything runs in the server's loop.
    """

    def __init__(self, config: ServerConfig, address: str, announce: Callable[[Job], None]) -> None:
        self._config, self._announce = config, announce
        self.store = Store(config.state, address, embedded=config.embedded)
        self.workers = WorkerPool(config, self._heard, self._died, self._no_workers)
        # the jobs that wait, the longest first
        self._waiting: dict[str, _Waiting] = {}
        # who had a job begun last, the longest ago first
        self._served: list[str] = []
        self._progress: dict[str, Progress] = {}
        self._stopping: dict[str, JobState] = {}
        # how jobs ended that the store could not be told yet
        self._untold: dict[str, dict[str, Any]] = {}

    def start(self) -> None:
        """Start the workers, and take over the jobs that a former server at this address left."""
        self.workers.start()
        if not self._config.embedded:
            for job in self.store.orphans():
                self.store.own(job.id)
                self.enqueue(job.id)

    async def stop(self) -> None:
        """End the workers; unfinished jobs are interrupted, or left in the queue."""
        self._leave()
        await self.workers.stop()
        self.store.close()

    @property
    def unfinished(self) -> list[str]:
        """The ids of jobs that wait or run."""
        return [*self._waiting, *self.workers.working_on()]

    def waiting_of(self, submitter: str) -> int:
        """The number of somebody's jobs that wait."""
        return sum(one.submitter == submitter for one in self._waiting.values())

    def frames_of(self, submitter: str) -> int:
        """The number of frames of somebody's jobs that wait."""
        return sum(one.frames for one in self._waiting.values() if one.submitter == submitter)

    def look_after(self) -> None:
        """Try again what the store refused; called now and then."""
        self._tell_store()
        self._dispatch()

    def job(self, job_id: str) -> Job:
        """A job as it stands. Raises :class:`~void_server.api.errors.UnknownJob`."""
        self._tell_store()
        return self.with_progress(self.store.get(job_id))

    def jobs(self, limit: int, skip: int, submitter: str | None) -> list[Job]:
        """The jobs on the list, those of one ``submitter`` or of all, the newest first; ``limit`` after ``skip``."""
        return [self.with_progress(job) for job in self.store.all(limit, skip, submitter)]

    def add(self, job: Job, frames: int = 0) -> None:
        """Keep a new job with so many frames, and have it done."""
        self.store.add(job, frames)
        self._waiting[job.id] = _Waiting(job.submitter, job.priority, frames)
        self._announce(job)
        self._dispatch()

    def cancel(self, job_id: str, state: JobState) -> Job:
        """Stop a job; it ends in ``state``. Raises :class:`InputError` for one that has ended."""
        if job_id in self._waiting:
            del self._waiting[job_id]
            self._end(job_id, state, JobCancelled("The job was stopped before it began."))
        elif job_id in self.workers.working_on():
            self._stopping.setdefault(job_id, state)
            self.workers.cancel(job_id)
        else:
            self._announce(self.store.cancel(job_id))
        return self.job(job_id)

    def prioritise(self, job_id: str, priority: int) -> Job:
        """Give a job that has not ended another priority. Raises :class:`InputError` for one that has."""
        if (job := self.job(job_id)).state.ended:
            raise InputError(f"Job {job_id} is {job.state.value}; only jobs that wait have others before them.")
        self.store.set_priority(job_id, priority)
        if job_id in self._waiting:
            self._waiting[job_id] = replace(self._waiting[job_id], priority=priority)
        self._announce(job := self.job(job_id))
        return job

    def resume(self, job: Job) -> Job:
        """Have a stopped or failed job done; a running job is left alone. Raises :class:`InputError` if it cannot."""
        if job.id in self.unfinished:
            return job
        owner = self.store.owner(job.id)
        if job.state is JobState.DONE:
            raise InputError(f"Job {job.id} is done; its result is in {job.folder}.")
        if not job.state.ended and owner:
            raise InputError(
                f"Job {job.id} is already {job.state.value}; follow it with: void resume {job.id} --server {owner}"
            )
        self.store.own(job.id)
        self.enqueue(job.id)
        return self.job(job.id)

    def _leave(self) -> None:
        """Update the unfinished jobs when the server ends: interrupt them, or leave them in the queue."""
        for job_id in self.unfinished:
            if job_id in self._stopping:
                self._end(job_id, self._stopping[job_id], stopped())
            elif self._config.embedded:
                self._end(job_id, JobState.INTERRUPTED, interrupted())
            else:
                with self._trying(f"job {job_id} stays in the queue"):
                    self.store.update(job_id, state=JobState.QUEUED)
                    _log.info("job %s stays in the queue", job_id)

    def with_progress(self, job: Job) -> Job:
        """The job with what its worker last said of its progress."""
        return replace(job, progress=self._progress.get(job.id, job.progress))

    def enqueue(self, job_id: str) -> None:
        """Have a job done as soon as a worker is free."""
        # whatever the store can be told now, the job is not lost
        self._waiting[job_id] = _Waiting()
        with self._trying(f"job {job_id} waits"):
            job = self.store.update(job_id, state=JobState.QUEUED)
            self._waiting[job_id] = _Waiting(job.submitter, job.priority, self.store.frames(job_id))
            self._announce(job)
        self._dispatch()

    def _dispatch(self) -> None:
        """Give jobs to workers that wait for one; a job that the store cannot be told of waits for another try."""
        with self._trying("a job begins"):
            self._give_jobs()

    def _give_jobs(self) -> None:
        while self._waiting and self.workers.idle():
            job_id, submitter = self._next()
            job = self.store.begin(job_id)
            worker = self.workers.idle(job.shot.settings)
            assert worker is not None
            del self._waiting[job_id]
            self._served = [*(one for one in self._served if one != submitter), submitter]
            self.workers.give(worker, job, self._config.roots_of(job), self._who(submitter))
            _log.info("job %s begins, %s, attempt %d", job_id, worker.name, self.store.attempts(job_id))
            self._announce(job)

    def _who(self, submitter: str) -> str:
        """Who is to be named as the one that had a job done: without keys, nobody but this account is known."""
        return submitter if self._config.needs_keys else account()

    def _next(self) -> tuple[str, str]:
        """The job whose turn it is, and who submitted it.

        Of those with the highest priority users take turns; of each one's jobs previews go first, others in order.
        """
        served = {submitter: turn for turn, submitter in enumerate(self._served)}

        def rank(item: tuple[str, _Waiting]) -> tuple[int, int, bool]:
            one = item[1]
            return -one.priority, served.get(one.submitter, -1), not one.is_preview

        # of equals the first, which waits the longest
        job_id, chosen = min(self._waiting.items(), key=rank)
        return job_id, chosen.submitter

    def _end(
        self, job_id: str, state: JobState, error: VoidError | None = None, warnings: list[str] | None = None
    ) -> None:
        progress = self._progress.pop(job_id, None)
        if state is JobState.DONE:
            progress = Progress("done", None, 1.0, 0.0, progress.sending if progress else "")
        self._stopping.pop(job_id, None)
        if error:
            log_error(_log, _LEVELS.get(state, logging.INFO), f"job {job_id} {state.value}", error)
        else:
            _log.info("job %s %s", job_id, state.value)
        self._untold[job_id] = {"state": state, "error": error, "progress": progress, "warnings": warnings}
        self._tell_store()

    def _tell_store(self) -> None:
        """Keep how jobs have ended, as soon as the disk has room and nobody holds the store."""
        for job_id, outcome in list(self._untold.items()):
            with self._trying(f"job {job_id} is {outcome['state'].value}"):
                # somebody may have had it forgotten meanwhile
                job = self.store.find(job_id) and self.store.update(job_id, **outcome)
                del self._untold[job_id]
                if job:
                    self._announce(job)

    @staticmethod
    @contextlib.contextmanager
    def _trying(what: str) -> Iterator[None]:
        """Do what the store may refuse for a while; it is tried again as :meth:`look_after` is called."""
        try:
            yield
        except sqlite3.Error as error:
            _log.error("the list of jobs cannot be told that %s, which is tried again: %s", what, error)

    def _heard(self, worker: WorkerHandle, message: dict[str, Any]) -> None:
        """Handle a worker's message."""
        job_id, kind = worker.job, message["kind"]
        if kind == "progress" and job_id:
            self._progress[job_id] = Progress.from_dict(message["progress"])
            self._announce(self.job(job_id))
            return
        if kind == "sign":
            self.workers.sign(worker, str(message["manifest"]))
            return
        if kind != "ready" and job_id:
            # validate the whole message before acting on it
            stopping = self._stopping.get(job_id, JobState.CANCELLED)
            state = {"done": JobState.DONE, "failed": JobState.FAILED, "cancelled": stopping}[kind]
            error = error_from_dict(message["error"]) if "error" in message else None
            worker.job = None
            self._end(job_id, state, error, message.get("warnings"))
        self._dispatch()

    def _no_workers(self, why: str) -> None:
        """Fail the waiting jobs: workers die on start-up, so none can run until that is fixed."""
        for job_id in list(self._waiting):
            del self._waiting[job_id]
            self._end(
                job_id,
                JobState.FAILED,
                JobFailed(
                    f"The server's workers do not start ({why}); see its log. Run `void doctor` on the "
                    "server, then resume the job."
                ),
            )

    def _died(self, worker: WorkerHandle, code: int) -> None:
        """Handle a worker's death: another continues the job, unless it kills one worker after the other."""
        if worker.job is None:
            return
        attempts = 0
        with self._trying(f"{worker.name} died"):
            attempts = self.store.attempts(worker.job)
        if worker.job in self._stopping:
            self._end(worker.job, self._stopping[worker.job], stopped())
        elif attempts < (_ATTEMPTS_IF_ENDED if worker.ended_for else _ATTEMPTS):
            self.enqueue(worker.job)
        elif worker.ended_for:
            self._end(
                worker.job,
                JobState.FAILED,
                JobFailed(
                    f"The worker {worker.ended_for}, as did the one before, so it was ended; finished frames are kept. "
                    "Use a shorter range, or have the server allow more, then resume.",
                    "\n".join(worker.said),
                ),
            )
        else:
            reason = f"signal {-code}" if code < 0 else f"exit code {code}"
            self._end(
                worker.job,
                JobState.FAILED,
                JobFailed(
                    f"The worker died {_ATTEMPTS} times in this job ({reason}), most likely for lack of "
                    "memory; close other programs or use a shorter range, then resume: finished frames are "
                    "kept.",
                    "\n".join(worker.said),
                ),
            )
